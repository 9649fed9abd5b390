//! The consumer: takes callbacks through handlers and events through sinks, in order per key, at least once.
//!
//! One mechanism used twice. It knows the journal and the contract of plugins, and nothing of what any plugin does.
//!
//! - Starting and ending all of it: [`Pipeline`], with [`HandlerInstance`], [`SinkInstance`] and [`ConsumerOptions`].
//! - Pauses and replays while it runs, and other handlers and sinks: [`PipelineHandle`], with [`ReplaySpec`] and [`Applied`].
//! - How it goes: [`ConsumerStatus`] and [`State`].
//! - The wait between attempts: [`Backoff`].
//!
//! Inside: `window` is the state machine that decides what starts and what is committed, `health` whose failure it is,
//! `limiter` how fast things start, and `steering` joins them; `consumer` drives that, and `handler` and `sink` are what
//! the two stages have of their own. `crew` is the thread of all consumers, `deck` who works there, `apply` what others are
//! put in their place by, `pool` the lanes that a sink's consumer shares
//! with its replays, `source` where items come from.

mod apply;
mod attempt;
mod backoff;
mod consumer;
mod crew;
mod deck;
mod failures;
mod handle;
mod handler;
mod health;
mod limiter;
mod options;
mod pipeline;
mod pool;
mod replay;
#[cfg(test)]
mod simulation;
mod sink;
mod source;
mod status;
mod steering;
mod step;
mod window;
mod worker;

pub use apply::Applied;
pub use backoff::Backoff;
pub use failures::Failures;
pub use handle::{ControlError, PipelineHandle};
pub use health::State;
pub use options::ConsumerOptions;
pub use pipeline::{HandlerInstance, Pipeline, SinkInstance, StartError};
pub use replay::{ReplayFilter, ReplaySpec};
pub use status::ConsumerStatus;
