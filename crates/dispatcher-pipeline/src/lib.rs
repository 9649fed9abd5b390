//! The consumer: takes callbacks through handlers and events through sinks, in order per key, at least once.
//!
//! One mechanism used twice. It knows the journal and the contract of plugins, and nothing of what any plugin does.
//!
//! - Starting and ending all of it: [`Pipeline`], with [`HandlerInstance`], [`SinkInstance`] and [`ConsumerOptions`].
//! - How it goes: [`ConsumerStatus`] and [`State`].
//! - The wait between attempts: [`Backoff`].
//!
//! Inside: `window` is the state machine that decides what starts and what is committed, `health` whose failure it is,
//! `consumer` drives both, and `handler` and `sink` are what the two stages have of their own.

mod backoff;
mod consumer;
mod handler;
mod health;
mod pipeline;
mod sink;
mod status;
mod step;
mod window;
mod worker;

pub use backoff::Backoff;
pub use health::State;
pub use pipeline::{ConsumerOptions, HandlerInstance, Pipeline, SinkInstance, StartError};
pub use status::ConsumerStatus;
