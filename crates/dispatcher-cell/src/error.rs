//! How a call into a cell can end without a result.

use std::{any::Any, fmt};

/// Why a call into a [`Cell`](crate::Cell) has no result.
///
/// A variant for each thing that the caller does differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CellError {
    /// It panicked, with this message: its own where that is a fixed text. What it worked on is in an unknown state: open the plugin anew.
    Panicked(String),
    /// It was not back in time, and was dropped at its next `.await`.
    Late,
    /// It was not back in time, and has not come back since: it blocks the cell's thread. Leave the cell and open a new
    /// one.
    Stuck,
    /// The cell was closed before it was back.
    Closed,
}

impl CellError {
    pub(crate) fn panicked(payload: &(dyn Any + Send)) -> CellError {
        CellError::Panicked(panic_message(payload).to_owned())
    }
}

/// What is told of a panic. One whose text was put together may quote what the code worked on, which is people's messages and
/// belongs in no log, no metric and no record; where it happened is for the panic hook to say. A text that stands in the
/// code quotes nobody.
pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> &'static str {
    match payload.downcast_ref::<&'static str>() {
        Some(text) => text,
        None => "its words are left out, since they may quote a callback; the log has the place",
    }
}

impl fmt::Display for CellError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CellError::Panicked(message) => write!(f, "it panicked: {message}"),
            CellError::Late => f.write_str("it did not come back in time"),
            CellError::Stuck => f.write_str("it blocks its thread and did not come back"),
            CellError::Closed => f.write_str("it was closed meanwhile"),
        }
    }
}

impl std::error::Error for CellError {}
