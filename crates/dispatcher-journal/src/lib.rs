//! The embedded store: callbacks and events that survive a power cut, and how far each consumer got.
//!
//! One SQLite file, one writer thread that commits what waits in one transaction, and readers with connections of their
//! own. It knows nothing of HTTP or plugins.
//!
//! - Opening, closing and commits of consumers: [`Journal`], with its [`JournalOptions`].
//! - Appending callbacks: a [`Port`] for each intake thread.
//! - What was decided: a [`DecisionRecord`] with its callback, or later by way of a [`Place`].
//! - What a consumer commits: [`Commit`], with [`Emitted`], [`Pending`] and [`Dead`].
//! - Reading back: [`Reader`], with a [`Row`] for every seq, intact or damaged.
//! - Changing what is beside the flow of items: [`Journal::change`] with a [`Change`].
//! - Deleting what is old: [`Retention`], [`Overdue`], [`Journal::held_up`].
//! - For people: [`Reader::check`], [`Reader::backup`], [`Journal::compact`].
//!
//! Inside, the file: `schema` opens it, `filesystem` judges where it lies, `migration` has its formats, `safety_copy` keeps
//! what an older one was, `mend` and `row` have the checksums, `last_row` and `meta` see that no flipped bit moves the end.
//! Reading: `reader` has the rows, `records` and `letters` what consumers left, `find` and `lookup` the way to a time or an
//! id, `copy` what a dead letter keeps. Decisions: `decision` has their records, `decisions` writes and reads them, `place`
//! keeps what comes before its callback is there, `shadow` has the handlers that do not count for a while. The writer: `writer` is the thread, `transaction` and `changes`
//! what it does to the tables, `dedupe` the memory of repeats, `upkeep` the write-ahead log, `tail` the newest rows in memory.
//! Retention: `trimmer` decides when, `trim` and `sundries` delete, `blocks` knows which callbacks are referred to, `holds`
//! what consumers need, `evict` lets go of what those who do not run never did, `gone` is what readers pass over.

mod backup;
mod blocks;
mod change;
mod changes;
mod check;
mod commit;
mod commit_times;
mod compact;
mod copy;
mod decision;
mod decisions;
mod dedupe;
mod error;
mod evict;
mod filesystem;
mod find;
mod gone;
mod holds;
mod journal;
mod last_row;
mod letters;
mod lookup;
mod mend;
mod meta;
mod migration;
mod options;
mod place;
mod port;
mod reader;
mod records;
mod replay;
mod row;
mod rules;
mod safety_copy;
mod schema;
mod shadow;
mod shared;
mod step;
mod sundries;
mod tail;
mod transaction;
mod trim;
mod trimmer;
mod trouble;
mod upkeep;
mod vacuum;
mod writer;

#[cfg(test)]
mod tests;

pub use backup::Backup;
pub use change::Change;
pub use check::{Check, Checked, DamagedRange, Progress};
pub use commit::{Attempt, Commit, Dead, Emitted, Pending, Skipped};
pub use commit_times::Commits;
pub use decision::{DecisionEvents, DecisionKind, DecisionRecord, DecisionRow};
pub use decisions::DecisionPage;
pub use error::{AppendError, Health, JournalError, OpenError};
pub use journal::Journal;
pub use letters::{DeadLetter, DeadPage};
pub use lookup::Found;
pub use options::{HeldUp, JournalOptions, Overdue, Retention, Start, Stream, Sync, WhenBlocked};
pub use place::Place;
pub use port::{Append, Port};
pub use reader::Reader;
pub use records::{Consumer, Parked};
pub use replay::{NewReplay, Replay};
pub use row::{CallbackRow, EventRow, Row};
pub use shared::{Appended, Counts, Ends};
