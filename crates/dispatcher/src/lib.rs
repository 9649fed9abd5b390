//! A dispatcher for the callbacks of Tencent Cloud Chat, as a program and as a library for programs of your own.
//!
//! A program with plugin crates of your own is one line, beside the `Cargo.toml` that names them:
//!
//! ```no_run
//! fn main() -> std::process::ExitCode {
//!     dispatcher::run(dispatcher::plugins! { /* handler_mine, sink_mine */ })
//! }
//! ```
//!
//! The bundled handlers and sinks are always there. [`Dispatcher`] is the part that runs, for tests that start one inside
//! their own process.

mod admin;
mod bundled;
mod cli;
mod command;
mod decisions;
mod decode;
mod dispatcher;
mod effective;
mod listing;
mod logging;
mod man;
mod observing;
mod owner;
mod panics;
mod plugins;
mod reload;
mod run;
mod screen;
mod send;
mod service;
mod setup;
mod spans;
mod wiring;

pub use dispatcher::{Dispatcher, StartError};
pub use dispatcher_control::Reloaded;
pub use plugins::Plugins;
pub use reload::ReloadError;
pub use run::{registry, run};

use run::EX_CONFIG;
