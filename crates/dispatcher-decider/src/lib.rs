//! Decides about callbacks in time.
//!
//! [`Deciders`] asks the handlers that decide about a command, one after the other, and is back at the deadline whatever they
//! do: each lives in a cell of its own, and nobody waits for it longer than Tencent may be kept. What they say is held against
//! the rules of the command before it is sent; what they say too late is put on record, and told to sinks where it differs
//! from the answer.
//!
//! Inside: `decider` is one of them, `answer` the way from a callback to its reply, `after` what goes on once that has left,
//! `record` what is kept of it all.

mod after;
mod answer;
mod ask;
mod decider;
mod deciders;
mod options;
mod record;
mod repair;
mod tally;
mod trouble;

pub use after::Afterwards;
pub use answer::Answer;
pub use decider::State;
pub use deciders::{CommandPlan, DeciderStatus, Deciders, Succession, TriedOut};
pub use options::{DeciderInstance, DeciderOptions, DefaultRule, Emit, Fallback};
pub use tally::DeciderCounts;
