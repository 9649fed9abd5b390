//! What people change beside the flow of items: parking, consumers, dead letters, shadows, replays.

use std::sync::Arc;

use dispatcher_core::Timestamp;

use crate::NewReplay;

/// One change, made durable in a transaction of its own or together with what else waits.
#[derive(Clone, Debug)]
pub enum Change {
    /// Parks a consumer with a reason, or, with `None`, lets it go on; kept across restarts. The running consumer has to
    /// be told by whoever asks for this.
    Park {
        /// The consumer.
        consumer: Arc<str>,
        /// Why; `None` lets it go on.
        reason: Option<String>,
    },
    /// Gives all that a consumer has – checkpoint, pending items, dead letters, attempts – to another name. Neither may
    /// be running, and the new name must not be known yet.
    Rename {
        /// The name it has.
        from: Arc<str>,
        /// The name it gets.
        to: Arc<str>,
    },
    /// Forgets a consumer with all that it has, its dead letters included. It must not be running.
    Drop {
        /// The consumer.
        consumer: Arc<str>,
    },
    /// Deletes dead letters of a consumer.
    Discard {
        /// The consumer.
        consumer: Arc<str>,
        /// Their seqs. What is not there is passed over.
        seqs: Vec<u64>,
    },
    /// Makes a handler a shadow until then: kept across restarts, and replaced by the next word on it. `None`, or a moment
    /// that has passed, lets it count again. Whoever asks for this has to tell the running handler. Shadows whose time is up
    /// are forgotten.
    Shadow {
        /// Its name in the configuration.
        handler: Arc<str>,
        /// The moment from which on it counts again.
        until: Option<Timestamp>,
    },
    /// Makes a replay, which has an upper end from now on; the answer is its id.
    BeginReplay(NewReplay),
    /// Ends a replay, finished or not: its consumer is forgotten with what it has pending. Its record stays.
    EndReplay {
        /// The replay.
        id: u64,
        /// Whether someone stopped it before it was finished.
        cancelled: bool,
    },
}
