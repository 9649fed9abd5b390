//! Programs with plugins: what is linked, what is missing, and what a plugin cannot do to others.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers as well")]

use std::{fs, path::PathBuf, process::Command};

use dispatcher_testkit::{Process, Tencent};
use serde_json::Value;
use tempfile::TempDir;

const DISPATCHER: &str = env!("CARGO_BIN_EXE_dispatcher");

/// A program of `tests/programs`. Cargo builds it with the tests, as an example of the package.
fn program(name: &str) -> PathBuf {
    let folder = PathBuf::from(DISPATCHER);
    let path = folder.parent().unwrap().join("examples").join(name);
    assert!(path.exists(), "{} is built by `cargo test`, or by `cargo build --examples`", path.display());
    path
}

#[test]
fn a_crate_from_which_nothing_registers_is_named() {
    let output = Command::new(program("forgetful")).arg("plugins").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "nothing registered from the crate tencent_chat; it needs a line such as `inventory::submit! { handler!(…) }` or \
         `sink!(…)`, and the same version of dispatcher-core as this program\n"
    );
}

#[test]
fn every_bundled_plugin_is_listed_with_its_settings() {
    let output = Command::new(DISPATCHER).args(["plugins", "--json"]).output().unwrap();
    let listed: Value = serde_json::from_slice(&output.stdout).unwrap();
    let names = |kind: &str| -> Vec<String> {
        listed[kind].as_array().unwrap().iter().map(|plugin| plugin["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("handlers"), ["endpoint", "forward", "group-attribute-changed", "loop-guard", "word-filter"]);
    assert_eq!(names("sinks"), ["file", "http", "log"]);
    for plugin in listed["handlers"].as_array().unwrap().iter().chain(listed["sinks"].as_array().unwrap()) {
        for member in ["crate", "version", "description"] {
            assert!(plugin[member].as_str().is_some_and(|text| !text.is_empty()), "{member} of {plugin}");
        }
        for (key, property) in plugin["settings"]["properties"].as_object().into_iter().flatten() {
            let described = property.get("description").is_some() || property.get("$ref").is_some();
            assert!(described, "{key} of {} has no help", plugin["name"]);
        }
    }
    let text = Command::new(DISPATCHER).arg("plugins").output().unwrap();
    assert!(String::from_utf8(text.stdout).unwrap().contains("group-attribute-changed"));
}

#[tokio::test]
async fn a_plugin_that_blocks_its_thread_or_panics_harms_itself_alone() {
    let folder = TempDir::new().unwrap();
    let text = r#"
[intake]
listen = "127.0.0.1:0"
drain = "2s"

[[apps]]
sdk_app_id = 1400000001
name = "main"
tokens = ["a-token"]

[journal]
path = "journal.db"

[log]
format = "human"

[handlers.blocks]
type = "misbehaving"
control = "blocks"
behaviour = "block"
timeout = "50ms"
sinks = ["archive"]

[handlers.panics]
type = "misbehaving"
control = "panics"
behaviour = "panic"
attempts = 1
sinks = ["archive"]

[handlers.everything]
type = "forward"
sinks = ["archive", "hangs"]

[sinks.hangs]
type = "misbehaving"
control = "hangs"
behaviour = "hang"
timeout = "50ms"

[sinks.archive]
type = "file"
path = "events.jsonl"
"#;
    fs::write(folder.path().join("dispatcher.toml"), text).unwrap();
    let process = Process::start(program("misbehaving"), folder.path());
    let tencent = Tencent::new(process.url(), 1_400_000_001, Some("a-token"));
    for nth in 0..100 {
        tencent.change_attribute(&format!("group-{}", nth % 10), nth).await;
    }
    let events = folder.path().join("events.jsonl");
    let started = std::time::Instant::now();
    while fs::read_to_string(&events).unwrap_or_default().lines().count() < 100 {
        assert!(started.elapsed() < dispatcher_testkit::PATIENCE, "{}", process.stderr());
        std::thread::yield_now();
    }
    // Three new threads are tried, and then it is off, in words.
    while !process.stderr().contains("blocks") {
        assert!(started.elapsed() < dispatcher_testkit::PATIENCE, "{}", process.stderr());
        std::thread::yield_now();
    }
    tencent.change_attribute("group", 100).await;
}
