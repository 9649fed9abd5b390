//! Breaks a running dispatcher in every way that a machine can, and checks that nothing acknowledged is lost.
//!
//! The real program, under load over HTTP, with receivers that note what they got. After each few faults one history is
//! checked: see [`check()`]. What the faults are, and what they cannot show, is in the README.

mod archive;
mod callback;
mod check;
mod configuration;
mod disk;
mod fault;
mod faults;
mod harness;
mod history;
mod ledger;
mod load;
mod outcome;
mod preload;
mod process;
mod programs;
mod receiver;
mod trial;
mod wire;

pub use check::{Findings, check};
pub use fault::Fault;
pub use harness::Harness;
pub use history::{Answer, Delivery, Record, Sent};
pub use outcome::{HEAD, Outcome};
pub use programs::Programs;
