//! The program with plugins of its own, as a user runs it.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers as well")]

use std::{fs, io::BufRead as _, net::TcpListener, path::Path, process::Command};

use dispatcher_testkit::{Process, Tencent};

#[tokio::test]
async fn its_own_plugins_work_beside_the_bundled_ones() {
    let folder = tempfile::TempDir::new().unwrap();
    let collector = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("dispatcher.toml")).unwrap();
    let text = text
        .replace("127.0.0.1:8081", "127.0.0.1:0")
        .replace("127.0.0.1:5170", &collector.local_addr().unwrap().to_string());
    fs::write(folder.path().join("dispatcher.toml"), text + "\n[log]\nformat = \"human\"\n").unwrap();
    let process = Process::start(env!("CARGO_BIN_EXE_custom-dispatcher"), folder.path());
    let tencent = Tencent::new(process.url(), 1_400_000_001, None);
    let sample = tencent_chat::command("Group.CallbackAfterNewMemberJoin").unwrap().sample;
    tencent.send("Group.CallbackAfterNewMemberJoin", sample).await.expect_ok();

    let (connection, _) = collector.accept().unwrap();
    let line = std::io::BufReader::new(connection).lines().next().unwrap().unwrap();
    let event: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(event["type"], "example.group.member.joined");
    assert!(process.terminate().success());
}

#[test]
fn the_tests_of_its_configuration_pass() {
    let folder = tempfile::TempDir::new().unwrap();
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(env!("CARGO_BIN_EXE_custom-dispatcher"))
        .arg("test")
        .arg(here.join("dispatcher.test.toml"))
        .arg("--config")
        .arg(here.join("dispatcher.toml"))
        .current_dir(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && said.ends_with("4 passed, 0 failed\n"), "{said}");
}

#[test]
fn its_schema_has_its_own_plugins_too() {
    let output = Command::new(env!("CARGO_BIN_EXE_custom-dispatcher")).arg("schema").output().unwrap();
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let sink = &schema["definitions"]["sink.tcp"];
    assert_eq!(sink["properties"]["address"]["type"], "string", "{sink}");
    assert!(sink["properties"]["lanes"].is_object() && sink["additionalProperties"] == false, "{sink}");
    assert!(schema["definitions"]["handler.invitation-policy"]["properties"]["if_late"].is_object());
}
