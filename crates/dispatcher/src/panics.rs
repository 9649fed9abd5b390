//! What a panic leaves in the log: where it happened, and its words only where they stand in the code.
//!
//! What is put together when it happens may quote what the code worked on – `unwrap` quotes an error, a slice of text the whole
//! text – and that is what people wrote to each other. Commands that a person runs over contents say all of it, as any
//! program does.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    panic, thread,
};

use tracing::error;

/// Panics go to the log from now on. With `RUST_BACKTRACE` they have a backtrace there, which names code and quotes nothing.
pub(crate) fn tell() {
    panic::set_hook(Box::new(|panic| {
        let thread = thread::current();
        let backtrace = Backtrace::capture();
        let is_captured = backtrace.status() == BacktraceStatus::Captured;
        error!(
            thread = thread.name(),
            at = panic.location().map(tracing::field::display),
            words = panic.payload().downcast_ref::<&'static str>(),
            backtrace = is_captured.then(|| tracing::field::display(&backtrace)),
            "a panic; words that may quote a callback are left out"
        );
    }));
}
