#![doc = include_str!("../README.md")]
//!
//! # Where to read
//!
//! `layer` takes the lines of the log that are about callbacks, as they arise, and hands them to `exporter`, whose thread makes
//! spans of them (`span`, with the ids of `trace`) and posts these. `options` are its settings.

mod exporter;
mod layer;
mod options;
mod span;
mod trace;

pub use exporter::{Counts, Exporter};
pub use layer::{SpanLayer, TARGETS};
pub use options::Options;
