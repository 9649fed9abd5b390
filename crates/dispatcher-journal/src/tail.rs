//! The newest rows in memory, so that a consumer which keeps up does not read back what was just written.
//!
//! Bounded by bytes, and only kept while there are readers. What is here was committed; what is not here is in the file.

use std::collections::VecDeque;

use crate::{CallbackRow, EventRow, port::weight};

/// How much of each stream is kept (2 MiB).
const BYTES: usize = 2 << 20;

/// The newest rows of both streams.
#[derive(Default)]
pub(crate) struct Tail {
    pub(crate) callbacks: Ring<CallbackRow>,
    pub(crate) events: Ring<EventRow>,
}

/// The newest rows of one stream, with dense seqs.
pub(crate) struct Ring<T> {
    rows: VecDeque<T>,
    bytes: usize,
}

impl<T> Default for Ring<T> {
    fn default() -> Ring<T> {
        Ring { rows: VecDeque::new(), bytes: 0 }
    }
}

/// A row that knows its seq and what it takes.
pub(crate) trait Held: Clone {
    fn seq(&self) -> u64;

    /// What it holds in memory, and what it counts for in a page.
    fn bytes(&self) -> usize;
}

impl Held for CallbackRow {
    fn seq(&self) -> u64 {
        self.seq
    }

    fn bytes(&self) -> usize {
        weight(&self.callback)
    }
}

impl Held for EventRow {
    fn seq(&self) -> u64 {
        self.event.seq
    }

    fn bytes(&self) -> usize {
        // It may be the last to hold its callback.
        self.event.data_json().len() + weight(&self.event.callback)
    }
}

impl<T: Held> Ring<T> {
    /// Adds the row that follows the last one.
    pub(crate) fn push(&mut self, row: T) {
        self.bytes += row.bytes();
        self.rows.push_back(row);
        while self.bytes > BYTES
            && let Some(oldest) = self.rows.pop_front()
        {
            self.bytes -= oldest.bytes();
        }
    }

    /// Rows from `seq` on, up to `end` and these limits; `None` when `seq` is not here.
    pub(crate) fn page(&self, seq: u64, end: u64, max_rows: usize, max_bytes: usize) -> Option<Vec<T>> {
        let first = self.rows.front()?.seq();
        let start = usize::try_from(seq.checked_sub(first)?).ok().filter(|&start| start < self.rows.len())?;
        let mut bytes = 0;
        let rows = self.rows.range(start..).take(max_rows).take_while(|row| {
            let within = bytes < max_bytes && row.seq() <= end;
            bytes += row.bytes();
            within
        });
        Some(rows.cloned().collect())
    }
}
