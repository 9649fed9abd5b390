//! What a service manager is told, over a real socket.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers as well")]

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, net::UnixDatagram},
    time::Duration,
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
