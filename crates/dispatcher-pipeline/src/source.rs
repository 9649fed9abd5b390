//! Where a consumer's items come from: its stream as it grows, or a replay with an end.

use std::sync::Arc;

use dispatcher_journal::{Consumer, DeadPage, JournalError, Reader, Replay, Row};

use crate::{replay::Filter, worker::Worker};

pub(crate) enum Source {
    /// The stream, from the checkpoint on.
    Live,
    /// What someone asked for again.
    Replay(Box<Replaying>),
}

/// A replay under way.
pub(crate) struct Replaying {
    pub(crate) replay: Replay,
    /// Whose items.
    pub(crate) of: Consumer,
    pub(crate) filter: Filter,
    /// The most items per second, if that was asked for.
    pub(crate) rate: Option<f64>,
    pub(crate) replayed: Replayed,
}

/// What a worker is told of items that are replayed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Replayed {
    /// Where the events go that a handler makes of them, unless where all of its go: names joined with commas.
    pub(crate) sinks: Option<Arc<str>>,
}

/// Rows in seq order.
pub(crate) struct Page<T> {
    pub(crate) rows: Vec<Row<T>>,
    /// Whether there is nothing more for this consumer behind them.
    pub(crate) is_last: bool,
}

impl Source {
    pub(crate) fn replayed(&self) -> Option<Replayed> {
        match self {
            Source::Live => None,
            Source::Replay(replaying) => Some(replaying.replayed.clone()),
        }
    }

    /// The last seq that there is for it, where the stream ends at `end`.
    pub(crate) fn end(&self, end: u64) -> u64 {
        match self {
            Source::Live => end,
            Source::Replay(replaying) => replaying.replay.last.min(end),
        }
    }

    /// Whether nothing comes after `loaded`.
    pub(crate) fn is_exhausted(&self, loaded: u64) -> bool {
        match self {
            Source::Live => false,
            Source::Replay(replaying) => loaded >= replaying.replay.last,
        }
    }

    /// The most items per second, beside what its sink may be given.
    pub(crate) fn rate(&self) -> Option<f64> {
        match self {
            Source::Live => None,
            Source::Replay(replaying) => replaying.rate,
        }
    }

    /// Whether its items are dead letters, which may be discarded at any time.
    pub(crate) fn is_of_dead(&self) -> bool {
        self.replay().is_some_and(|replay| replay.dead_of.is_some())
    }

    pub(crate) fn replay(&self) -> Option<&Replay> {
        match self {
            Source::Live => None,
            Source::Replay(replaying) => Some(&replaying.replay),
        }
    }

    /// Whether this item is for the consumer.
    pub(crate) fn selects<W: Worker>(&self, worker: &W, item: &W::Item) -> bool {
        match self {
            Source::Live => worker.selects(item),
            Source::Replay(replaying) => {
                (replaying.replay.dead_of.is_some() || worker.selects_for(item, &replaying.of))
                    && replaying.filter.lets_through(W::seq(item), W::callback(item), W::own_key(item))
            }
        }
    }

    /// Rows behind `after`.
    pub(crate) fn read<W: Worker>(
        &self,
        reader: &mut Reader,
        after: u64,
        rows: usize,
        bytes: usize,
    ) -> Result<Page<W::Item>, JournalError> {
        let replay = self.replay();
        let mut page = match replay.and_then(Replay::dead_page) {
            Some(dead) => W::read_dead(reader, &DeadPage { after, max_rows: rows, max_bytes: bytes, ..dead })?,
            None => W::read(reader, after, rows, bytes)?,
        };
        let n_read = page.len();
        if let Some(replay) = replay {
            page.retain(|row| row.seq_with(W::seq) <= replay.last);
        }
        // An empty page means that whatever there was has been deleted.
        Ok(Page { is_last: page.len() < n_read || n_read == 0, rows: page })
    }

    /// One item again; `None` when it is none any more, as a dead letter that was discarded.
    pub(crate) fn read_one<W: Worker>(
        &self,
        reader: &mut Reader,
        seq: u64,
    ) -> Result<Option<Row<W::Item>>, JournalError> {
        if let Some(dead) = self.replay().and_then(Replay::dead_page) {
            let rows = W::read_dead(reader, &DeadPage { after: seq - 1, last: seq, max_rows: 1, ..dead })?;
            return Ok(rows.into_iter().next());
        }
        W::read_one(reader, seq).map(Some)
    }
}
