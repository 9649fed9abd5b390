//! What the two stages have of their own: handlers work on callbacks, sinks on events.

use std::{future::Future, rc::Rc, time::Duration};

use dispatcher_core::{Callback, Key};
use dispatcher_journal::{Consumer, DeadPage, Emitted, JournalError, Reader, Row, Stream};

use crate::{
    source::Replayed,
    window::{OrderKey, Outcome},
};

/// The longest that a call may be over its deadline before it is dropped: time for a plugin to notice by itself.
const MAX_GRACE: Duration = Duration::from_millis(500);

/// One stage: reads its stream and works on batches of it, in lanes. Everything that is the plugin's runs in its cell.
pub(crate) trait Worker: Sized + 'static {
    /// One row of the stream.
    type Item: Clone + 'static;
    /// What a done item leaves for the commit; by default, nothing.
    type Made: Default + 'static;
    /// What a lane keeps between batches.
    type Lane: 'static;

    /// Which stream.
    const STREAM: Stream;
    /// Whether a permanent failure says something about the plugin's health even if no receiver answered with it. It does of a
    /// sink: one that refuses everything is more likely misconfigured than sent eight bad events in a row.
    const PERMANENT_COUNTS: bool;

    /// A lane that has done nothing yet.
    fn lane(&self, index: usize) -> Self::Lane;

    /// Reads rows after a seq. Blocks for one page.
    fn read(
        reader: &mut Reader,
        after: u64,
        max_rows: usize,
        max_bytes: usize,
    ) -> Result<Vec<Row<Self::Item>>, JournalError>;

    /// Reads one row; one that is not there is damaged. Blocks for one row.
    fn read_one(reader: &mut Reader, seq: u64) -> Result<Row<Self::Item>, JournalError>;

    /// Its seq.
    fn seq(item: &Self::Item) -> u64;

    /// What order is kept within.
    fn key(item: &Self::Item) -> Option<OrderKey>;

    /// About how many bytes it holds.
    fn bytes(item: &Self::Item) -> usize;

    /// Whether it is for this handler or sink.
    fn selects(&self, item: &Self::Item) -> bool;

    /// Whether it was for `consumer`, of the same stage as this one: in a replay it may be worked on by another.
    fn selects_for(&self, item: &Self::Item, consumer: &Consumer) -> bool;

    /// Its callback.
    fn callback(item: &Self::Item) -> &Callback;

    /// The key that it was stored with.
    fn own_key(item: &Self::Item) -> Option<&Key>;

    /// The id of the event that it is, where it is one.
    fn event_id(_: &Self::Item) -> Option<String> {
        None
    }

    /// Reads what dead letters of a consumer keep. Blocks for one page.
    fn read_dead(reader: &mut Reader, page: &DeadPage<'_>) -> Result<Vec<Row<Self::Item>>, JournalError>;

    /// Works on a batch: at least one, in seq order, each with the number of its attempt. `replayed`: it was asked for
    /// again.
    fn work(
        self: Rc<Self>,
        lane: Self::Lane,
        batch: Vec<(u32, Self::Item)>,
        replayed: Option<Replayed>,
    ) -> impl Future<Output = (Self::Lane, Report<Self::Made>)>;

    /// Ends a lane in good order, within a time.
    fn close(self: Rc<Self>, lane: Self::Lane, within: Duration) -> impl Future<Output = ()>;

    /// The events to append for a done item.
    fn emitted(made: Self::Made) -> Option<Emitted>;
}

/// What a worker says of a batch.
#[derive(Debug)]
pub(crate) enum Report<M> {
    /// One outcome per item; those that are missing were not tried.
    Tried(Vec<Outcome<M>>),
    /// The plugin's own failure; no item is to blame.
    Down {
        error: String,
        /// How long it asked to be left alone.
        wait: Option<Duration>,
        /// Whether one of the items may be to blame after all.
        alone: bool,
    },
    /// It never came to the batch, because another lane blocked its thread; that is being dealt with.
    Untouched,
    /// It will not work before a person has done something.
    Gone { error: String },
    /// Its threads were blocked too often.
    Off { error: String },
}

impl<M> Report<M> {
    pub(crate) fn down(error: impl ToString) -> Report<M> {
        Report::Down { error: error.to_string(), wait: None, alone: false }
    }

    pub(crate) fn off(error: impl ToString) -> Report<M> {
        Report::Off { error: error.to_string() }
    }
}

/// How long a call with this deadline is waited for.
pub(crate) fn guard(timeout: Duration) -> Duration {
    timeout + timeout.min(MAX_GRACE)
}
