#![doc = include_str!("../README.md")]
//!
//! # Where to read
//!
//! `server` answers; `readiness` says whether callbacks can be answered; `scrape` puts a page together out of what the
//! others know: `intake`, `deciders`, `journal`, `consumers`, `admin`. What a metric is called and means stands in `names`, and
//! `page` writes it.

mod admin;
mod consumers;
mod deciders;
mod intake;
mod journal;
mod names;
mod page;
mod readiness;
mod scrape;
mod server;
mod sources;

pub use server::Observer;
pub use sources::{Reloads, Sources, Spans};
