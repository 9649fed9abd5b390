//! Runs plugin code so that it can harm nobody but itself.
//!
//! A [`Cell`] is one plugin instance's thread with a runtime of its own. Code that panics, awaits for ever or blocks its
//! thread is noticed from outside by the one who waits, and nobody else waits: see [`CellError`].
//!
//! What a cell cannot contain: the CPU time of a thread that was left behind, a stack overflow, an abort.

mod call;
mod caller;
mod cell;
mod error;
mod reopening;

pub use call::Call;
pub use caller::Caller;
pub use cell::Cell;
pub use error::CellError;
pub use reopening::{Off, Reopening};
