//! What the sink writes to a real log.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers as well")]

use std::{
    io,
    sync::{Arc, Mutex},
};

use dispatcher_testkit::check_sink;
use serde_json::{Value, json};
use sink_log as _;
use tracing_subscriber::{fmt, layer::SubscriberExt as _};

/// A log in memory.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Written {
    fn lines(&self) -> Vec<Value> {
        let bytes = self.0.lock().unwrap();
        bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
    }
}

async fn written(settings: Value) -> Vec<Value> {
    let written = Written::default();
    let writer = written.clone();
    let layer = fmt::layer().json().flatten_event(true).with_writer(move || writer.clone());
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
    let ids = async |_| {
        let events = written.lines().into_iter().filter(|line| line["message"] == "event");
        events.map(|line| line["id"].as_str().unwrap().to_owned()).collect()
    };
    check_sink("log", settings, env!("CARGO_MANIFEST_DIR"), ids).await;
    written.lines()
}

#[tokio::test]
async fn keeps_the_contract_of_sinks_and_leaves_data_out() {
    for line in written(json!({})).await {
        assert!(line.get("data").is_none(), "{line}");
        assert_eq!(line["level"], "INFO");
    }
}

#[tokio::test]
async fn writes_data_where_asked_to() {
    let lines = written(json!({ "include_data": true })).await;
    assert!(lines[0]["data"].as_str().unwrap().contains("\"GroupId\":\"group-0\""), "{}", lines[0]);
    assert_eq!(lines[0]["subject"], "group-0");
    assert_eq!(lines[0]["app"], "main");
}
