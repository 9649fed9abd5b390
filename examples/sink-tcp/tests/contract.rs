//! The sink, against a collector that listens for lines.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers as well")]

use std::sync::{Arc, Mutex};

use dispatcher_testkit::check_sink;
use serde_json::{Value, json};
use sink_tcp as _;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::TcpListener,
    sync::Notify,
};

#[tokio::test]
async fn keeps_the_contract_of_sinks() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let lines: Arc<Mutex<Vec<String>>> = Arc::default();
    let more = Arc::new(Notify::new());
    let (of_collector, of_test) = ((lines.clone(), more.clone()), (lines, more));
    tokio::spawn(async move {
        let (lines, more) = of_collector;
        loop {
            let (connection, _) = listener.accept().await.unwrap();
            let mut reader = BufReader::new(connection).lines();
            while let Some(line) = reader.next_line().await.unwrap() {
                lines.lock().unwrap().push(line);
                more.notify_one();
            }
        }
    });
    let (lines, more) = of_test;
    let arrived = async |n: usize| loop {
        let got = lines.lock().unwrap().clone();
        if got.len() >= n {
            let id = |line: &String| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned();
            return got.iter().map(id).collect();
        }
        more.notified().await;
    };
    check_sink("tcp", json!({ "address": address }), env!("CARGO_MANIFEST_DIR"), arrived).await;
}
