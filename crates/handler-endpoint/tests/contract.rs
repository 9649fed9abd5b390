//! What every handler promises, against a real endpoint.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers as well")]

#[path = "endpoint/server.rs"]
#[expect(dead_code, reason = "the other tests use the rest")]
mod server;

use dispatcher_testkit::check_handler;
use handler_endpoint as _;
use serde_json::json;

use crate::server::{Answer, Server};

#[tokio::test]
async fn keeps_the_contract_of_handlers() {
    let server = Server::start(Answer::Allow).await;
    let settings = json!({ "url": server.url("/in"), "allow_networks": ["127.0.0.0/8"] });
    check_handler("endpoint", settings, env!("CARGO_MANIFEST_DIR")).await;
    let n_told = tencent_chat::commands().iter().filter(|info| !info.wants_decision()).count();
    assert!(server.received().len() >= 2 * n_told, "each was posted, at least twice");
}
