//! Passes callbacks on as events: any command reaches any sink with configuration alone.
//!
//! The event's data is the callback's body, byte for byte; in the journal it is a reference to the callback's row, not a
//! second copy.

use std::borrow::Cow;

use async_trait::async_trait;
use dispatcher_core::{
    Callback, HandleContext, Handler, HandlerConfig, HandlerError, NewEvent, OpenContext, OpenError, handler,
};
use schemars::JsonSchema;
use serde::Deserialize;

// `after` by default: of a message that is sent, the before and the after callback would both arrive.
inventory::submit! { handler!(ForwardConfig, "forward", ["*"], phase = after) }

/// `[handlers.<name>]` with `type = "forward"`: there is nothing to set beyond what every handler has.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ForwardConfig {}

#[async_trait]
impl HandlerConfig for ForwardConfig {
    type Handler = Forward;

    fn forwards(&self) -> bool {
        true
    }

    async fn open(&self, _: &OpenContext) -> Result<Forward, OpenError> {
        Ok(Forward)
    }
}

struct Forward;

#[async_trait]
impl Handler for Forward {
    async fn handle(&self, callback: &Callback, _: &HandleContext) -> Result<Vec<NewEvent>, HandlerError> {
        let event_type = Cow::Owned(format!("tencent-chat.callback.{}", callback.command()));
        Ok(vec![NewEvent::forwarding(event_type)])
    }
}
