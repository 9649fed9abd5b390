//! What is on record of a decision: what was decided about a callback, what came too late, what a shadow would have done.
//!
//! A record lies beside its callback, in the table `decisions`. Its id is the callback's seq times 256 and its place among
//! the callback's records: so the records of one callback, or of a range of callbacks, are a range of ids, and no index is
//! needed. The journal does not look into what a record says.

use std::{borrow::Cow, fmt, sync::Arc};

use dispatcher_core::{Event, EventData, NewEvent, Timestamp};
use rusqlite::types::ValueRef;

use crate::row::{Damage, integer, number, string, text, timestamp, verify};

/// What kind of verdict a record is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DecisionKind {
    /// It was the answer.
    Decided,
    /// It came after the answer had left.
    Late,
    /// It would have been the answer, or part of it, if it counted.
    Shadow,
}

impl DecisionKind {
    /// Its name, as it is stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            DecisionKind::Decided => "decided",
            DecisionKind::Late => "late",
            DecisionKind::Shadow => "shadow",
        }
    }

    fn from_name(name: &str) -> Option<DecisionKind> {
        [DecisionKind::Decided, DecisionKind::Late, DecisionKind::Shadow].into_iter().find(|kind| kind.as_str() == name)
    }

    /// Which [`n`](Event::n) the events of such a record have.
    pub(crate) fn event_n(self) -> u32 {
        match self {
            DecisionKind::Decided => Event::DECISION,
            DecisionKind::Late | DecisionKind::Shadow => Event::LATE,
        }
    }
}

impl fmt::Display for DecisionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A record to be stored beside a callback.
#[derive(Clone, Debug)]
pub struct DecisionRecord {
    /// What kind of verdict it is of.
    pub kind: DecisionKind,
    /// What it came to, in a word, such as `allowed` or `refused`: for those who search.
    pub result: Cow<'static, str>,
    /// All of it, as JSON text.
    pub record: String,
    /// Events to store with it: each of another handler, so that their ids differ.
    pub events: Vec<DecisionEvents>,
}

/// An event that tells sinks of a decision.
///
/// Where a callback comes again and is decided about again, that is told as well: by an event of its own, with a seq of its own.
/// Its id and its [idempotency key](Event::idempotency_key) are those of the earlier one, since both are of one callback, one
/// handler and one `n`: a receiver that drops repeats keeps the first of them, whatever the second says. All of them are in
/// the records.
#[derive(Clone, Debug)]
pub struct DecisionEvents {
    /// The handler that decided; the event's id names it.
    pub handler: Arc<str>,
    /// The names of the sinks that it is meant for, joined with `,`, as configured now.
    pub sinks: Arc<str>,
    /// The event. Its `n` is [`Event::DECISION`] if it tells of the answer, else [`Event::LATE`].
    pub event: NewEvent,
}

impl DecisionRecord {
    /// What it takes of the queue's room.
    pub(crate) fn weight(&self) -> usize {
        // The struct, and what the allocator adds.
        const REST: usize = 128;
        const EVENT: usize = 192;
        let data = |event: &NewEvent| match event.data() {
            EventData::Json(json) => json.len(),
            EventData::Callback => 0,
        };
        let events: usize = self.events.iter().map(|events| data(&events.event) + EVENT).sum();
        self.record.len() + self.result.len() + events + REST
    }

    /// How many rows it is at most.
    pub(crate) fn rows(&self) -> usize {
        1 + self.events.len()
    }
}

/// A record as it was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecisionRow {
    /// The seq of its callback.
    pub callback_seq: u64,
    /// Its place among the records of its callback: 0 is what was answered, unless that is not on record; verdicts that came
    /// later follow in the order in which they came.
    pub n: u8,
    /// When it was stored.
    pub at: Timestamp,
    /// What kind of verdict it is of.
    pub kind: DecisionKind,
    /// What it came to, in a word.
    pub result: String,
    /// All of it, as JSON text.
    pub record: String,
}

impl DecisionRow {
    /// Its id, by which pages go on: it grows with the callback's seq and with `n`.
    #[must_use]
    pub fn id(&self) -> u64 {
        id(self.callback_seq, self.n)
    }
}

/// How many ids each callback has.
pub(crate) const IDS: u64 = 256;

/// The id of a record.
pub(crate) fn id(callback_seq: u64, n: u8) -> u64 {
    callback_seq.saturating_mul(IDS).saturating_add(u64::from(n))
}

/// The first id and the last that the records of callbacks from `first` to `last` can have, as SQLite takes them.
pub(crate) fn ids(first: u64, last: u64) -> (i64, i64) {
    // As far as SQLite's integers go.
    let within = |id: u64| i64::try_from(id).unwrap_or(i64::MAX);
    (within(id(first, 0)), within(id(last, u8::MAX)))
}

/// The columns of `decisions` that the checksum covers, in order; `crc` comes after them.
pub(crate) const DECISION_COLUMNS: &str = "id, at, kind, result, record";
/// How many those are.
pub(crate) const DECISION_WIDTH: usize = 5;

/// The columns of a record, borrowed from it.
pub(crate) fn decision_values(id: u64, at: Timestamp, record: &DecisionRecord) -> [ValueRef<'_>; DECISION_WIDTH] {
    [
        integer(id),
        ValueRef::Integer(at.as_millis()),
        text(record.kind.as_str()),
        text(&record.result),
        text(&record.record),
    ]
}

/// The record in these columns, if they are what the checksum was made of.
pub(crate) fn read_decision(values: &[ValueRef<'_>; DECISION_WIDTH], crc: ValueRef<'_>) -> Result<DecisionRow, Damage> {
    verify(values, crc)?;
    let [id, at, kind, result, record] = values;
    let id = number(id)?;
    Ok(DecisionRow {
        callback_seq: id / IDS,
        n: (id % IDS) as u8,
        at: timestamp(at)?,
        kind: DecisionKind::from_name(string(kind)?).ok_or(Damage::Form)?,
        result: string(result)?.to_owned(),
        record: string(record)?.to_owned(),
    })
}
