//! What a service manager is told, over a real socket.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers as well")]

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    os::unix::{fs::PermissionsExt as _, net::UnixDatagram},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use dispatcher_testkit::Process;
use tempfile::TempDir;

const CONFIGURATION: &str = "\
[intake]
listen = \"127.0.0.1:0\"
[[apps]]
sdk_app_id = 1
name = \"main\"
signature = \"off\"
[log]
format = \"human\"
";

/// The next that is told.
fn next(manager: &UnixDatagram) -> String {
    let mut message = [0; 4096];
    let length = manager.recv(&mut message).unwrap();
    String::from_utf8(message[..length].to_vec()).unwrap()
}

#[test]
fn a_service_manager_is_told_of_start_life_and_stop() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("dispatcher.toml"), CONFIGURATION).unwrap();
    let socket = folder.path().join("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let environment = [("NOTIFY_SOCKET", socket.to_str().unwrap()), ("WATCHDOG_USEC", "100000")];
    let process = Process::start_with(env!("CARGO_BIN_EXE_dispatcher"), folder.path(), &environment);
    let ready = next(&manager);
    assert!(ready.starts_with("READY=1\nSTATUS=answering callbacks at 127.0.0.1:"), "{ready}");
    for _ in 0..3 {
        assert_eq!(next(&manager).trim_end(), "WATCHDOG=1");
    }
    // Its last words wait in the socket.
    assert!(process.terminate().success());
    let last = std::iter::repeat_with(|| next(&manager)).find(|told| told.trim_end() != "WATCHDOG=1").unwrap();
    assert!(last.starts_with("STOPPING=1\n"), "{last}");
}

#[test]
fn without_a_service_manager_nobody_is_told() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("dispatcher.toml"), CONFIGURATION).unwrap();
    let process = Process::start(env!("CARGO_BIN_EXE_dispatcher"), folder.path());
    assert!(!process.stderr().contains("service manager"), "{}", process.stderr());
    assert!(process.terminate().success());
}

#[test]
fn connections_are_as_many_as_the_system_allows_files() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("dispatcher.toml"), CONFIGURATION).unwrap();
    let limited = folder.path().join("limited.sh");
    let text =
        format!("#!/bin/sh\nulimit -Sn 300\nulimit -Hn 1000\nexec {} \"$@\"\n", env!("CARGO_BIN_EXE_dispatcher"));
    fs::write(&limited, text).unwrap();
    fs::set_permissions(&limited, fs::Permissions::from_mode(0o700)).unwrap();
    let process = Process::start(&limited, folder.path());
    let said = process.stderr();
    assert!(said.contains("raise the limit of open files") && said.contains("counts_as=744"), "{said}");
    let limits = fs::read_to_string(format!("/proc/{}/limits", process.id())).unwrap();
    let of_files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(of_files.matches("1000").count(), 2, "{of_files}");
}

/// The log goes into a pipe that nobody reads: whoever logs hangs. The main thread has nothing to say meanwhile, and comes round.
#[test]
fn an_intake_thread_that_hangs_ends_the_signs_of_life() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("dispatcher.toml"), format!("{CONFIGURATION}level = \"debug\"\n")).unwrap();
    let socket = folder.path().join("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_dispatcher"));
    command.current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.envs([("NOTIFY_SOCKET", socket.to_str().unwrap()), ("WATCHDOG_USEC", "100000")]);
    let mut child = command.spawn().unwrap();
    let ready = next(&manager);
    let addr = ready.trim_end().rsplit(' ').next().unwrap().to_owned();
    assert_eq!(next(&manager).trim_end(), "WATCHDOG=1");

    // Each is refused, with a line in the log. The pipe holds 64 KiB.
    let mut silent = false;
    let until = Instant::now() + Duration::from_secs(120);
    while !silent && Instant::now() < until {
        for _ in 0..200 {
            let Ok(mut stream) = TcpStream::connect(&addr) else { break };
            let _ = stream.write_all(
                b"POST /callback?SdkAppid=1&CallbackCommand=x HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\n0",
            );
            stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
            let mut line = String::new();
            if BufReader::new(stream).read_line(&mut line).is_err() {
                break; // It hangs.
            }
        }
        // What waits in the socket first; then, ten periods and more without a word.
        manager.set_read_timeout(Some(Duration::from_secs(4))).unwrap();
        let began = Instant::now();
        silent = loop {
            match manager.recv(&mut [0; 64]) {
                Err(_) => break true,
                Ok(_) if began.elapsed() > Duration::from_secs(10) => break false,
                Ok(_) => {}
            }
        };
    }
    let is_running = child.try_wait().unwrap().is_none();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(silent && is_running, "signs of life from a dispatcher that hangs");
}
