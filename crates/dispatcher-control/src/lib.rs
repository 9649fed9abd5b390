//! Asks a dispatcher, running or not, what is in its journal and how it is, and tells it what to do.
//!
//! - What can be asked, and what is answered: [`Request`] and [`Answer`].
//! - What people type for a callback, an event, a row, a dead letter: [`Id`].
//! - Asking the dispatcher that runs, through the socket beside its journal: [`Client`].
//! - Answering there: [`Server`]; and over TCP, where it is asked for: [`Admin`].
//! - Who did what: [`Audit`].
//! - What is done for a request: [`Operations`]. The server uses it, and so does the command line when no dispatcher runs:
//!   there is one way to do each thing.
//!
//! Bodies, data and queries are what people write to each other: they are in no answer unless the request asks for
//! contents, and in no log line. It knows no command line and no configuration.

mod admin;
mod answer;
mod answers;
mod audit;
mod caller;
mod client;
mod counters;
mod dead;
mod door;
mod find;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod id;
mod moment;
mod operations;
mod overview;
mod replay;
mod request;
mod search;
mod server;
mod shadow;
mod socket;
mod status;
mod steering;
mod story;
mod upkeep;
mod verdict;
mod wire;

pub use admin::Admin;
pub use answer::{
    Answer, AttemptView, BackedUp, CallbackView, Checked, Compacted, DamagedView, DeadItem, DeadView, Done, EventView,
    Progress, Reloaded, ReplayPlan, ReplayView,
};
pub use audit::{Audit, Cause};
pub use client::{Client, ClientError};
pub use counters::AdminCounters;
pub use door::{AdminOptions, Admission};
pub use id::{Id, IdPrefix, InvalidId};
pub use moment::Moment;
pub use operations::{
    Asker, Configured, ConfiguredDecider, Gone, Live, NotReloaded, Operations, Selects, Setup, Steering,
};
pub use overview::next_of;
pub use request::{DeadFilter, DeadSelection, Request, Search};
pub use server::Server;
pub use status::{
    AppView, ConsumerState, ConsumerView, DeciderState, DeciderView, DeciderWork, HeldUpView, JournalStatus, KeyView,
    Running, SkippedView, Status, StreamStatus, WorkView,
};
pub use story::{EventStory, Happening, Outcome, Stage, Story};
pub use verdict::{DecisionView, Opinion, ShadowDiff};
pub use wire::{CONTROL_PATH, request_line, socket_path};
