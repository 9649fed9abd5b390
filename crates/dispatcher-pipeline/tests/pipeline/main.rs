//! The pipeline over a real journal, with handlers and sinks that refuse, hang, block and panic.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

mod failures;
mod limits;
mod order;
mod plugins;
mod reload;
mod replay;
mod restart;
mod throughput;
