//! The endpoint handler as the dispatcher sees it, against an endpoint on a real socket.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

mod decide;
mod dispatcher;
mod handle;
mod server;
mod settings;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use dispatcher_core::{
    Callback, DecideContext, Decision, HandleContext, Handler, HandlerError, HandlerSettings, OpenContext, Purpose,
    Registry,
};
use dispatcher_testkit::PATIENCE;
use handler_endpoint as _;
use serde_json::{Value, json};

const MESSAGE: &str = "C2C.CallbackBeforeSendMsg";

fn settings(section: &Value) -> Arc<dyn HandlerSettings> {
    let plugin = Registry::collect(&[]).unwrap().handler("endpoint").unwrap();
    plugin.decode(section).map_err(|err| err.to_string()).unwrap()
}

/// Opens one that may connect to this machine.
async fn open(mut section: Value) -> Arc<dyn Handler> {
    section["allow_networks"] = json!(["127.0.0.0/8"]);
    settings(&section).open(&OpenContext::new("moderation", 0)).await.unwrap()
}

async fn decide(handler: &dyn Handler, callback: &Callback) -> Result<Decision, HandlerError> {
    decide_within(handler, callback, PATIENCE).await
}

async fn decide_within(handler: &dyn Handler, callback: &Callback, time: Duration) -> Result<Decision, HandlerError> {
    let cx = DecideContext { deadline: Instant::now() + time, purpose: Purpose::Answer };
    handler.decide(callback, &cx).await.map(|decision| decision.expect("it always has an opinion"))
}

async fn handle(handler: &dyn Handler, callback: &Callback) -> Result<(), HandlerError> {
    handle_within(handler, callback, PATIENCE).await
}

async fn handle_within(handler: &dyn Handler, callback: &Callback, time: Duration) -> Result<(), HandlerError> {
    let cx = HandleContext { deadline: Instant::now() + time, attempt: 1, replay: false };
    handler.handle(callback, &cx).await.map(|events| assert!(events.is_empty(), "it makes no events"))
}
