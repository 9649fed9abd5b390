//! What a consumer commits: its progress, and all that goes with it.

use std::sync::Arc;

use dispatcher_core::{Callback, Key, NewEvent, Timestamp};

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
