//! Replays: deliveries that someone asked for again.

use std::sync::Arc;

use dispatcher_core::Timestamp;

use crate::{DeadPage, Stream};

/// A replay to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewReplay {
    /// The consumer whose handler or sink does the work, such as `sink:archive`.
    pub target: Arc<str>,
    /// What is replayed.
    pub stream: Stream,
    /// Only the dead letters of this consumer, rather than the stream.
    pub dead_of: Option<Arc<str>>,
    /// The first seq that may be replayed.
    pub first: u64,
    /// The last; never beyond the end of the stream at this moment, which is taken if this is more.
    pub last: u64,
    /// Whatever else is to be known of it – filter, rate – in a form that the journal does not look into.
    pub spec: String,
}

/// A replay that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    /// Its number. Its consumer is called `replay:<id>`, as long as it has not ended.
    pub id: u64,
    /// When it was made.
    pub at: Timestamp,
    /// The consumer whose handler or sink does the work.
    pub target: Arc<str>,
    /// What is replayed.
    pub stream: Stream,
    /// Only the dead letters of this consumer, rather than the stream.
    pub dead_of: Option<Arc<str>>,
    /// The first seq that may be replayed.
    pub first: u64,
    /// The last: fixed when it was made.
    pub last: u64,
    /// Dead letters made after this replay have a larger `place`, and are not part of it.
    pub last_place: u64,
    /// As it was given.
    pub spec: String,
    /// How many items are done.
    pub done: u64,
    /// How many became dead letters (again).
    pub dead: u64,
    /// When it ended, if it has.
    pub ended_at: Option<Timestamp>,
    /// Whether someone stopped it before it was finished.
    pub cancelled: bool,
}

impl Replay {
    /// The first page of the dead letters that it is of, if it is of such.
    #[must_use]
    pub fn dead_page(&self) -> Option<DeadPage<'_>> {
        let consumer = self.dead_of.as_deref()?;
        Some(DeadPage { last: self.last, last_place: self.last_place, ..DeadPage::all(consumer) })
    }

    /// The name of its consumer.
    #[must_use]
    pub fn consumer(&self) -> String {
        format!("replay:{}", self.id)
    }
}
