//! What a consumer commits: its progress, and all that goes with it.

use std::{sync::Arc, time::Duration};

use dispatcher_core::{Callback, Key, NewEvent, Response, Timestamp};

/// One transaction of one consumer: all of it becomes durable, or nothing.
#[derive(Clone, Default)]
pub struct Commit {
    /// The consumer, as it was registered.
    pub consumer: Arc<str>,
    /// How far it got: everything up to this seq is done, pending or dead. Never falls; `None` leaves it.
    pub checkpoint: Option<u64>,
    /// Events to append, in this order.
    pub events: Vec<Emitted>,
    /// Items to keep for a later attempt; one that is there already is replaced.
    pub pending: Vec<Pending>,
    /// Pending items that ended, by seq.
    pub settled: Vec<u64>,
    /// Items that were given up on.
    pub dead: Vec<Dead>,
    /// Attempts to remember, for those who ask what became of an item.
    pub attempts: Vec<Attempt>,
    /// Items that this consumer let go of untried, because retention was held up by them.
    pub skipped: Option<Skipped>,
    /// For a replay: whose dead letters these are, such as `sink:archive`. `None`: the consumer's own.
    pub in_name_of: Option<Arc<str>>,
    /// For a replay of dead letters: those, by seq, that were delivered after all and are dead no longer.
    pub raised: Vec<u64>,
    /// For a replay: how many items this commit says are done, for its record.
    pub done: u64,
}

/// One try of an item, kept until retention deletes the item's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The item's seq in the consumer's stream.
    pub seq: u64,
    /// Which attempt it was, from 1.
    pub n: u32,
    /// When it ended.
    pub at: Timestamp,
    /// What it failed with; `None` when it succeeded, which is only kept of items that had failed before.
    pub error: Option<String>,
    /// What the receiver answered, if that is known.
    pub response: Option<Response>,
}

/// A range that a consumer let go of untried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The first seq of it.
    pub first: u64,
    /// The last.
    pub last: u64,
    /// Why.
    pub reason: String,
}

/// What a handler returned for one callback.
#[derive(Clone)]
pub struct Emitted {
    /// The callback's seq.
    pub callback_seq: u64,
    /// The callback.
    pub callback: Arc<Callback>,
    /// The handler's name.
    pub handler: Arc<str>,
    /// The names of the sinks that the events are meant for, joined with `,`, as configured now.
    pub sinks: Arc<str>,
    /// The events, in the order in which the handler returned them.
    pub events: Vec<NewEvent>,
    /// Whether the callback was handled again because someone asked for it.
    pub replay: bool,
}

/// An item that waits for its next attempt, or behind one of its key that does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The item's seq in the consumer's stream.
    pub seq: u64,
    /// Its key.
    pub key: Option<Key>,
    /// The SDKAppID of its app, within which the key counts.
    pub app: u64,
    /// How many attempts were made.
    pub attempt: u32,
    /// When the first one was made.
    pub first_at: Timestamp,
    /// For how long, since the first one, its consumer was up. Only that counts against `give_up_after`.
    pub age: Duration,
    /// When the next one is due, by the wall clock.
    pub due: Timestamp,
    /// What the last one ended with; empty when there was none.
    pub error: String,
}

/// An item that was given up on. The journal adds a copy of the row, and of its callback's, that outlives both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dead {
    /// The item's seq in the consumer's stream.
    pub seq: u64,
    /// Why.
    pub reason: String,
    /// How many attempts were made.
    pub attempts: u32,
    /// When the first one was made.
    pub first_at: Timestamp,
}
