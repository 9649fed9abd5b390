#![doc = include_str!("../README.md")]
//!
//! # Where to read
//!
//! `accept` takes connections and hands them to the threads of `worker`; `proxied` is what a proxy may say first; `connection` drives one, on a `socket` that
//! keeps its `clock`; `routes` is the way of one request, with `verify` before its `body` is read and `policy` and
//! `identity` after; `refusal` is what it is answered otherwise. `rules` is all of that which is configured.

mod accept;
mod app_counts;
mod body;
mod clock;
mod connection;
mod counters;
mod depth;
mod files;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod identity;
mod intake;
mod line;
mod options;
mod places;
mod policy;
mod proxied;
mod refusal;
mod replay_window;
mod routes;
mod rules;
mod socket;
mod source;
mod stream;
mod told;
mod verify;
mod worker;

pub use app_counts::{AppCount, CallbackOutcome, CommandCount};
pub use counters::{Counters, Outcome, Road};
pub use files::raise_file_limit;
pub use intake::{DrainReport, Intake, Prepared, StartError};
pub use options::{CommandRule, IntakeApp, IntakeOptions, JournalRule, PathRule, SignaturePolicy, WhenNotDurable};
pub use refusal::Refusal;
