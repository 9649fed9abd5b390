//! Posts each event to a URL: as a CloudEvents 1.0 object, or as the callback that Tencent sent, signed afresh.
//!
//! An event is done once the receiver has answered with a status of 2xx. It may be posted again, after a failure, a lost
//! answer or a crash; `webhook-id`, its idempotency key, stays the same.
//!
//! Not here: attempts, backoff and the timeout, which belong to the dispatcher. What counts as whose failure is in
//! `verdict.rs`; client, addresses and answers are `dispatcher-http`'s.

mod config;
mod sink;
mod verdict;
mod webhook;

inventory::submit! { dispatcher_core::sink!(config::HttpConfig, "http", lanes = 16) }
