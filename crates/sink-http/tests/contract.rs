//! What every sink promises, against a real receiver.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers as well")]

use dispatcher_testkit::{Receiver, check_sink};
use serde_json::{Value, json};
use sink_http as _;

#[tokio::test]
async fn keeps_the_contract_of_sinks() {
    let receiver = Receiver::start().await;
    let settings = json!({ "url": receiver.url(), "allow_networks": ["127.0.0.0/8"] });
    let arrived = async |n| {
        let id = |body: &[u8]| serde_json::from_slice::<Value>(body).unwrap()["id"].as_str().unwrap().to_owned();
        receiver.wait_for(n).await.iter().map(|one| id(&one.body)).collect()
    };
    check_sink("http", settings, env!("CARGO_MANIFEST_DIR"), arrived).await;
}
