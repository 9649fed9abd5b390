//! How a consumer works.

use std::time::Duration;

use dispatcher_journal::Start;

use crate::Backoff;

/// How a consumer works.
#[derive(Clone, Debug)]
pub struct ConsumerOptions {
    /// How many batches are under way at most, and with how many keys at once.
    pub lanes: usize,
    /// The most items that one call of the plugin, or one hop to it, gets.
    pub batch: usize,
    /// The most bytes of them, about. One item is always handed over.
    pub batch_bytes: usize,
    /// How often an item is tried before it becomes a dead letter. `None`: that is no reason.
    pub attempts: Option<u32>,
    /// How long an item is tried before it becomes a dead letter: from its first failure on, counting only while the
    /// plugin is up, and looked at when it fails again. `None`: that is no reason.
    pub give_up_after: Option<Duration>,
    /// How many items may start in a second, on all lanes together; more than 0. `None`: as many as there are.
    pub rate: Option<f64>,
    /// Whether items of one key are worked on one after the other. If not, each stands for itself.
    pub ordered: bool,
    /// The wait between attempts, and between probes of a plugin that is down.
    pub backoff: Backoff,
    /// How long a call may take: for a callback in a handler, for a batch in a sink, and for opening either.
    pub timeout: Duration,
    /// How long an item may be under way before the checkpoint passes it by.
    pub park_after: Duration,
    /// The most items that are pending; then nothing more is read.
    pub max_pending: usize,
    /// The most items in memory beyond the checkpoint.
    pub window: usize,
    /// The most bytes that these hold, about. At least one page is read at a time.
    pub window_bytes: usize,
    /// Where it starts if the journal has not seen it before.
    pub start: Start,
}

impl ConsumerOptions {
    /// The defaults of a handler: four lanes, 64 callbacks a hop.
    #[must_use]
    pub fn handler() -> ConsumerOptions {
        ConsumerOptions {
            lanes: 4,
            batch: 64,
            batch_bytes: 1 << 20,
            attempts: Some(20),
            give_up_after: Some(Duration::from_secs(72 * 3600)),
            rate: None,
            ordered: true,
            backoff: Backoff::default(),
            timeout: Duration::from_secs(10),
            park_after: Duration::from_secs(1),
            max_pending: 10_000,
            window: 2048,
            window_bytes: 4 << 20,
            start: Start::End,
        }
    }

    /// The defaults of a sink that takes its events one by one, such as http.
    #[must_use]
    pub fn single(lanes: usize) -> ConsumerOptions {
        ConsumerOptions { lanes, batch: 1, ..ConsumerOptions::handler() }
    }

    /// The defaults of a sink with one lane and large batches, such as a file.
    #[must_use]
    pub fn batched() -> ConsumerOptions {
        ConsumerOptions { lanes: 1, batch: 512, ..ConsumerOptions::handler() }
    }
}
