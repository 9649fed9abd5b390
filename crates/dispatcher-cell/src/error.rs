//! How a call into a cell can end without a result.

use std::{any::Any, fmt};

/// Why a call into a [`Cell`](crate::Cell) has no result.
///
/// A variant for each thing that the caller does differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CellError {
    /// It panicked, with this message. What it worked on is in an unknown state: open the plugin anew.
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

/// The text of a panic, if it has one: only `panic_any` makes one without.
pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> &str {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (None, Some(text)) => text,
        (None, None) => "a panic without a message",
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
