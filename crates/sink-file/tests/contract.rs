//! What every sink promises, on a real disk.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers as well")]

use std::fs;

use dispatcher_testkit::check_sink;
use serde_json::{Value, json};
use sink_file as _;

#[tokio::test]
async fn keeps_the_contract_of_sinks() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("events.jsonl");
    let arrived = async |_| {
        let text = fs::read_to_string(&path).unwrap();
        let id = |line| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned();
        text.lines().map(id).collect()
    };
    check_sink("file", json!({ "path": path }), env!("CARGO_MANIFEST_DIR"), arrived).await;
}
