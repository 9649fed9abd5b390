//! The embedded store: callbacks and events that survive a power cut, and how far each consumer got.
//!
//! One SQLite file, one writer thread that commits what waits in one transaction, and readers with connections of their
//! own. It knows nothing of HTTP or plugins.
//!
//! - Opening, closing and commits of consumers: [`Journal`], with its [`JournalOptions`].
//! - Appending callbacks: a [`Port`] for each intake thread.
//! - What a consumer commits: [`Commit`], with [`Emitted`], [`Pending`] and [`Dead`].
//! - Reading back: [`Reader`], with a [`Row`] for every seq, intact or damaged.
//!
//! Inside: `schema` opens the file, `writer` is the thread, `transaction` what it does to the tables, `row` the format
//! of a row and its checksum, `dedupe` the memory of repeats, `upkeep` the write-ahead log, `tail` the newest rows in
//! memory.

mod commit;
mod copy;
mod dedupe;
mod error;
mod journal;
mod options;
mod port;
mod reader;
mod row;
mod schema;
mod shared;
mod step;
mod tail;
mod transaction;
mod upkeep;
mod writer;

#[cfg(test)]
mod tests;

pub use commit::{Commit, Dead, Emitted, Pending};
pub use error::{AppendError, Health, JournalError, OpenError};
pub use journal::Journal;
pub use options::{JournalOptions, Start, Stream, Sync};
pub use port::{Append, Port};
pub use reader::{Consumer, DeadLetter, Reader};
pub use row::{CallbackRow, EventRow, Row};
pub use shared::{Appended, Counts, Ends};
