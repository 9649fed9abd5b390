//! The sink stage: events in, deliveries out.

use std::{
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use dispatcher_cell::{Cell, CellError, Off, Reopening};
use dispatcher_core::{Callback, DeliverContext, Event, EventData, Failure, Key, OpenContext, Sink, SinkSettings};
use dispatcher_journal::{Consumer, DeadPage, Emitted, EventRow, JournalError, Reader, Row, Stream};
use tracing::warn;

use crate::{
    source::Replayed,
    window::{OrderKey, Outcome},
    worker::{Report, Worker, guard},
};

/// Beside its data: what an event and its callback hold, about.
const EVENT_BYTES: usize = 768;

/// Hands events to one sink per lane, in the cell that they share.
pub(crate) struct SinkWorker {
    name: String,
    /// As the journal knows it: events name it by what it was called when they were made.
    known: Consumer,
    settings: Arc<dyn SinkSettings>,
    timeout: Duration,
    cells: Reopening,
}

/// One lane with the sink that was opened for it.
pub(crate) struct SinkLane {
    index: usize,
    opened: Option<Opened>,
}

struct Opened {
    /// `None` while it is with a call, and while it is dropped.
    sink: Option<Box<dyn Sink>>,
    cell: Arc<Cell>,
    generation: u32,
}

impl Drop for Opened {
    fn drop(&mut self) {
        // A sink's own `drop` is its code too.
        if let Some(sink) = self.sink.take() {
            self.cell.dispose(sink);
        }
    }
}

impl SinkWorker {
    /// `known`: what the journal knows of its consumer.
    pub(crate) fn new(
        name: &str,
        known: Consumer,
        settings: Arc<dyn SinkSettings>,
        timeout: Duration,
        cells: Reopening,
    ) -> SinkWorker {
        SinkWorker { name: name.to_owned(), known, settings, timeout, cells }
    }

    /// The lane's sink: the one it has, unless that one belongs to a cell that was left behind.
    async fn opened(&self, lane: &mut SinkLane) -> Result<Opened, Report<()>> {
        let (cell, generation) = self.cells.cell().map_err(Report::off)?;
        match lane.opened.take() {
            Some(opened) if opened.generation == generation => return Ok(opened),
            // Its cell is blocked, or gone; either way it is not to be dropped here.
            Some(mut orphan) => cell.dispose(orphan.sink.take()),
            None => {}
        }
        let (settings, cx) =
            (self.settings.clone(), OpenContext::new(&self.name, lane.index).with_timeout(self.timeout));
        match cell.run_for(guard(self.timeout), async move { settings.open(&cx).await }).await {
            Ok(Ok(sink)) => Ok(Opened { sink: Some(sink), cell, generation }),
            Ok(Err(err)) => Err(Report::down(format!("it cannot be opened: {err}"))),
            Err(err) => {
                if err == CellError::Stuck {
                    self.leave(generation).map_err(Report::off)?;
                }
                Err(Report::down(format!("it cannot be opened: {err}")))
            }
        }
    }

    fn leave(&self, generation: u32) -> Result<(), Off> {
        if self.cells.leave(generation)? {
            warn!(
                sink = self.name,
                "blocks its thread; that was left behind, may still use CPU, and the sink is opened anew"
            );
        }
        Ok(())
    }

    async fn deliver(&self, lane: &mut SinkLane, batch: Vec<(u32, EventRow)>) -> Report<()> {
        let mut opened = match self.opened(lane).await {
            Ok(opened) => opened,
            Err(report) => return report,
        };
        let Some(mut sink) = opened.sink.take() else { return Report::Untouched };
        let cx = DeliverContext {
            deadline: Instant::now() + self.timeout,
            attempt: batch.first().map_or(1, |(attempt, _)| *attempt),
        };
        let events: Vec<Event> = batch.into_iter().map(|(_, row)| row.event).collect();
        let n_events = events.len();
        let has_begun = Arc::new(AtomicBool::new(false));
        let begins = has_begun.clone();
        // The events stay in the cell: dropping them there costs the consumers' thread nothing.
        let call = async move {
            begins.store(true, Ordering::Relaxed);
            let result = sink.deliver(&events, &cx).await;
            (sink, result)
        };
        let err = match opened.cell.run_for(guard(self.timeout), call).await {
            Ok((sink, result)) => {
                opened.sink = Some(sink);
                lane.opened = Some(opened);
                return match result {
                    Ok(outcomes) => Report::Tried(outcomes.into_vec(n_events).into_iter().map(Into::into).collect()),
                    Err(err) if err.is_gone() => Report::Gone { error: err.to_string() },
                    Err(err) => Report::Down { error: err.to_string(), wait: err.wait(), alone: false },
                };
            }
            Err(err) => err,
        };
        // The sink went with the call. The next batch opens another.
        if err == CellError::Stuck
            && let Err(off) = self.leave(opened.generation)
        {
            return Report::off(off);
        }
        // Another lane blocks the thread, or did, and the cell was closed for that.
        if err == CellError::Closed || !has_begun.load(Ordering::Relaxed) {
            return Report::Untouched;
        }
        if n_events == 1 {
            return Report::Tried(vec![Outcome::Failed(Failure::retry(err))]);
        }
        Report::Down { error: err.to_string(), wait: None, alone: true }
    }
}

impl Worker for SinkWorker {
    type Item = EventRow;
    type Made = ();
    type Lane = SinkLane;

    const STREAM: Stream = Stream::Events;
    const PERMANENT_COUNTS: bool = true;

    fn lane(&self, index: usize) -> SinkLane {
        SinkLane { index, opened: None }
    }

    fn read(reader: &mut Reader, after: u64, rows: usize, bytes: usize) -> Result<Vec<Row<EventRow>>, JournalError> {
        reader.events(after, rows, bytes)
    }

    fn read_one(reader: &mut Reader, seq: u64) -> Result<Row<EventRow>, JournalError> {
        reader.event(seq)
    }

    fn seq(item: &EventRow) -> u64 {
        item.event.seq
    }

    fn key(item: &EventRow) -> Option<OrderKey> {
        let app = item.event.callback.app().sdk_app_id();
        item.event.key.as_ref().map(|key| OrderKey { app, key: key.clone() })
    }

    fn bytes(item: &EventRow) -> usize {
        let data = match &item.event.data {
            EventData::Json(json) => json.len(),
            EventData::Callback => 0,
        };
        EVENT_BYTES + data + item.event.callback.body_bytes().len()
    }

    fn selects(&self, item: &EventRow) -> bool {
        self.selects_for(item, &self.known)
    }

    fn selects_for(&self, item: &EventRow, consumer: &Consumer) -> bool {
        consumer.is_named(&item.sinks, item.event.seq)
    }

    fn callback(item: &EventRow) -> &Callback {
        &item.event.callback
    }

    fn own_key(item: &EventRow) -> Option<&Key> {
        item.event.key.as_ref()
    }

    fn event_id(item: &EventRow) -> Option<String> {
        Some(item.event.id())
    }

    fn read_dead(reader: &mut Reader, page: &DeadPage<'_>) -> Result<Vec<Row<EventRow>>, JournalError> {
        reader.dead_events(page)
    }

    async fn work(
        self: Rc<Self>,
        mut lane: SinkLane,
        mut batch: Vec<(u32, EventRow)>,
        replayed: Option<Replayed>,
    ) -> (SinkLane, Report<()>) {
        if replayed.is_some() {
            batch.iter_mut().for_each(|(_, row)| row.event.replay = true);
        }
        let report = self.deliver(&mut lane, batch).await;
        (lane, report)
    }

    async fn close(self: Rc<Self>, lane: SinkLane, within: Duration) {
        let Some(mut opened) = lane.opened else { return };
        let Some(mut sink) = opened.sink.take() else { return };
        let closed = opened.cell.run_for(within, async move { sink.close().await }).await;
        let error = match closed {
            Ok(Ok(())) => return,
            Ok(Err(err)) => err.to_string(),
            Err(err) => err.to_string(),
        };
        warn!(sink = self.name, error, "could not be closed in good order; every event it confirmed is safe");
    }

    fn emitted((): ()) -> Option<Emitted> {
        None
    }
}

impl From<dispatcher_core::Outcome> for Outcome<()> {
    fn from(outcome: dispatcher_core::Outcome) -> Outcome<()> {
        match outcome {
            dispatcher_core::Outcome::Done => Outcome::Done(()),
            dispatcher_core::Outcome::Failed(failure) => Outcome::Failed(failure),
            dispatcher_core::Outcome::NotTried => Outcome::NotTried,
        }
    }
}
