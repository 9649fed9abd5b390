//! The intake over real sockets, with the real journal in a temporary folder.

#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests; clippy does not take what they call for one.

mod client;
mod connections;
mod limits;
mod names;
mod proxied;
mod refusals;
mod replacing;
mod roads;
mod running;
mod signatures;
mod tls;
