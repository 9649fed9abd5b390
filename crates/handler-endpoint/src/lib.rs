//! An endpoint that the team already has, behind the dispatcher.
//!
//! Callbacks that want a decision are asked of it while Tencent waits; a legal reply passes on byte for byte. After callbacks
//! are delivered to it from the journal, with the handler's lanes and attempts, until it says `ErrorCode` 0. Either way it gets
//! what Tencent would have sent it, signed afresh.
//!
//! What an answer means is in `decided.rs` and `acknowledged.rs`; when an endpoint that fails is left alone, and how it is
//! tried again, in `breaker.rs`. Not here: attempts, backoff, deadlines and defaults, which belong to the dispatcher.

mod acknowledged;
mod breaker;
mod config;
mod decided;
mod handler;
mod service;

inventory::submit! {
    dispatcher_core::handler!(config::EndpointConfig, "endpoint", ["*"], role = both, lanes = 16)
}
