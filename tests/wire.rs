//! A program whose every word is kept, and requests written by hand, for tests that need headers or what no client sends.

#![allow(dead_code, reason = "each test takes what it needs")]

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};

use crate::commands::eventually;

/// A program that runs in a folder with that folder's configuration, and writes into files beside it. Killed when dropped.
pub(crate) struct Running {
    child: Child,
    said: [PathBuf; 2],
    /// Where it takes callbacks.
    pub(crate) addr: String,
}

impl Running {
    /// Starts it, and waits until it says where it listens. `name` is that of its files.
    #[track_caller]
    pub(crate) fn start(program: &Path, folder: &Path, name: &str, environment: &[(&str, &str)]) -> Running {
        let said = ["out", "err"].map(|which| folder.join(format!("{name}.{which}.txt")));
        let [out, err] = said.each_ref().map(|path| File::create(path).unwrap());
        let mut command = Command::new(program);
        command.current_dir(folder).stdin(Stdio::null()).stdout(out).stderr(err).envs(environment.iter().copied());
        let mut running = Running { child: command.spawn().unwrap(), said, addr: String::new() };
        running.addr = eventually("a start", || {
            let said = running.said();
            assert!(running.child.try_wait().unwrap().is_none(), "it ended: {said}");
            let url = said.split_once("http://")?.1.split_once("/callback")?.0;
            Some(url.to_owned())
        });
        running
    }

    /// All that it has written.
    pub(crate) fn said(&self) -> String {
        self.said.each_ref().map(|path| fs::read_to_string(path).unwrap()).concat()
    }

    /// Sends SIGTERM and waits for the end.
    pub(crate) fn terminate(mut self) -> String {
        assert!(Command::new("kill").arg(self.child.id().to_string()).status().unwrap().success());
        eventually("an end", || self.child.try_wait().unwrap());
        self.said()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The query of a callback, signed now.
pub(crate) fn query(command: &str, token: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    tencent_chat::query_string(1_400_000_001, command, Some("203.0.113.7"), Some("iOS"), Some((token, now)))
}

/// Posts, on a connection of its own, and gives the whole answer.
pub(crate) fn post(addr: &str, target: &str, headers: &str, body: &str) -> String {
    let n = body.len();
    exchange(
        addr,
        &format!(
            "POST {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {n}\r\n{headers}\r\n{body}"
        ),
    )
}

/// Sends these bytes, and gives all that comes back until the other side closes.
pub(crate) fn exchange(addr: &str, bytes: &str) -> String {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.write_all(bytes.as_bytes()).unwrap();
    let mut answer = Vec::new();
    // A peer that has said what is wrong may reset what it has not read.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}
