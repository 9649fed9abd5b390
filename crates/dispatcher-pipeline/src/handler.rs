//! The handler stage: callbacks in, events out.

use std::{
    cell::RefCell,
    rc::Rc,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use dispatcher_cell::{Cell, CellError, Off, Reopening};
use dispatcher_core::{Callback, Failure, HandleContext, Handler, HandlerSettings, Key, OpenContext, Route};
use dispatcher_journal::{CallbackRow, Consumer, DeadPage, Emitted, JournalError, Reader, Row, Stream};
use tokio::{sync::OnceCell, time::timeout};
use tracing::warn;

use crate::{
    source::Replayed,
    window::{OrderKey, Outcome},
    worker::{Report, Worker, guard},
};

/// How long a batch goes on with its next callback. What is left goes back, so that a slow handler's results are
/// committed as they come.
const TURN: Duration = Duration::from_millis(20);

/// Beside the body: what a callback holds, about.
const CALLBACK_BYTES: usize = 512;

/// Calls one handler, which all lanes share, in its cell.
pub(crate) struct HandlerWorker {
    name: Arc<str>,
    settings: Arc<dyn HandlerSettings>,
    route: Route,
    /// Joined with commas, as events carry them.
    sinks: Arc<str>,
    timeout: Duration,
    cells: Reopening,
    /// A new slot each time that the handler has to be opened anew; the lanes that come first share one opening.
    slot: RefCell<Rc<OnceCell<Opened>>>,
}

struct Opened {
    /// `None` only while it is dropped.
    handler: Option<Arc<dyn Handler>>,
    cell: Arc<Cell>,
    generation: u32,
}

impl Drop for Opened {
    fn drop(&mut self) {
        // A handler's own `drop` is its code too.
        self.cell.dispose(self.handler.take());
    }
}

type Made = Option<Emitted>;

impl HandlerWorker {
    pub(crate) fn new(
        name: &str,
        settings: Arc<dyn HandlerSettings>,
        route: Route,
        sinks: &[String],
        timeout: Duration,
        cells: Reopening,
    ) -> HandlerWorker {
        let (name, sinks) = (name.into(), sinks.join(",").into());
        HandlerWorker { name, settings, route, sinks, timeout, cells, slot: RefCell::default() }
    }

    async fn open(&self) -> Result<Opened, Report<Made>> {
        let (cell, generation) = self.cells.cell().map_err(Report::off)?;
        let (settings, cx) = (self.settings.clone(), OpenContext::new(&self.name, 0).with_timeout(self.timeout));
        match cell.run_for(guard(self.timeout), async move { settings.open(&cx).await }).await {
            Ok(Ok(handler)) => Ok(Opened { handler: Some(handler), cell, generation }),
            Ok(Err(err)) => Err(Report::down(format!("it cannot be opened: {err}"))),
            Err(CellError::Stuck) => {
                self.leave(generation).map_err(Report::off)?;
                Err(Report::down(format!("it cannot be opened: {}", CellError::Stuck)))
            }
            Err(err) => Err(Report::down(format!("it cannot be opened: {err}"))),
        }
    }

    fn leave(&self, generation: u32) -> Result<(), Off> {
        if self.cells.leave(generation)? {
            warn!(
                handler = &*self.name,
                "blocks its thread; that was left behind, may still use CPU, and the handler is opened anew"
            );
        }
        Ok(())
    }

    /// Has the handler opened anew for the next batch, unless another lane has seen to that.
    fn reopen(&self, slot: &Rc<OnceCell<Opened>>) {
        let mut current = self.slot.borrow_mut();
        if Rc::ptr_eq(&current, slot) {
            *current = Rc::default();
        }
    }
}

impl Worker for HandlerWorker {
    type Item = CallbackRow;
    type Made = Made;
    type Lane = ();

    const STREAM: Stream = Stream::Callbacks;
    const PERMANENT_COUNTS: bool = false;

    fn lane(&self, _: usize) {}

    fn read(reader: &mut Reader, after: u64, rows: usize, bytes: usize) -> Result<Vec<Row<CallbackRow>>, JournalError> {
        reader.callbacks(after, rows, bytes)
    }

    fn read_one(reader: &mut Reader, seq: u64) -> Result<Row<CallbackRow>, JournalError> {
        reader.callback(seq)
    }

    fn seq(item: &CallbackRow) -> u64 {
        item.seq
    }

    fn key(item: &CallbackRow) -> Option<OrderKey> {
        let app = item.callback.app().sdk_app_id();
        item.callback.key().map(|key| OrderKey { app, key: key.clone() })
    }

    fn bytes(item: &CallbackRow) -> usize {
        CALLBACK_BYTES + item.callback.body_bytes().len() + item.callback.query_and_trace().len()
    }

    fn selects(&self, item: &CallbackRow) -> bool {
        self.route.selects(item.callback.app(), item.callback.command())
    }

    fn selects_for(&self, item: &CallbackRow, _: &Consumer) -> bool {
        self.selects(item)
    }

    fn callback(item: &CallbackRow) -> &Callback {
        &item.callback
    }

    fn own_key(item: &CallbackRow) -> Option<&Key> {
        item.callback.key()
    }

    fn read_dead(reader: &mut Reader, page: &DeadPage<'_>) -> Result<Vec<Row<CallbackRow>>, JournalError> {
        reader.dead_callbacks(page)
    }

    async fn work(
        self: Rc<Self>,
        (): (),
        batch: Vec<(u32, CallbackRow)>,
        replayed: Option<Replayed>,
    ) -> ((), Report<Made>) {
        let slot = self.slot.borrow().clone();
        let open = || async {
            // Another lane has tried with this slot, in vain: once is enough until the next batch.
            if !Rc::ptr_eq(&self.slot.borrow(), &slot) {
                return Err(Report::Untouched);
            }
            self.open().await.inspect_err(|_| self.reopen(&slot))
        };
        let opened = match slot.get_or_try_init(open).await {
            Ok(opened) => opened,
            Err(report) => return ((), report),
        };
        let Some(handler) = opened.handler.clone() else { return ((), Report::Untouched) };
        let progress = Arc::new(Progress::default());
        let turn = Turn {
            handler,
            name: self.name.clone(),
            replay: replayed.is_some(),
            sinks: replayed.and_then(|replayed| replayed.sinks).unwrap_or_else(|| self.sinks.clone()),
            timeout: self.timeout,
            batch,
            progress: progress.clone(),
        };
        let failed_with = match opened.cell.run_for(guard(self.timeout) + TURN, turn.run()).await {
            Ok(Ended::Well) => None,
            Ok(Ended::Panicked) => {
                self.reopen(&slot);
                None
            }
            Ok(Ended::Down(failure)) => {
                let outcomes = progress.take(None);
                // What came before it counts; what it could not do comes again, and says so then.
                if outcomes.is_empty() {
                    return ((), Report::Down { error: failure.to_string(), wait: failure.wait(), alone: false });
                }
                return ((), Report::Tried(outcomes));
            }
            Err(err) => {
                self.reopen(&slot);
                if err == CellError::Stuck
                    && let Err(off) = self.leave(opened.generation)
                {
                    return ((), Report::off(off));
                }
                // Where the cell was closed, another lane found its thread blocked, and this one is not to blame.
                (err != CellError::Closed).then_some(err)
            }
        };
        let outcomes = progress.take(failed_with.as_ref());
        ((), if outcomes.is_empty() { Report::Untouched } else { Report::Tried(outcomes) })
    }

    /// A handler holds nothing that needs flushing.
    async fn close(self: Rc<Self>, (): (), _: Duration) {}

    fn emitted(made: Made) -> Option<Emitted> {
        made
    }
}

/// One batch inside the cell.
struct Turn {
    handler: Arc<dyn Handler>,
    name: Arc<str>,
    replay: bool,
    sinks: Arc<str>,
    timeout: Duration,
    batch: Vec<(u32, CallbackRow)>,
    progress: Arc<Progress>,
}

enum Ended {
    Well,
    /// The handler is in an unknown state.
    Panicked,
    /// The handler's own failure, which is not the callback's that it was at.
    Down(Failure),
}

impl Turn {
    async fn run(self) -> Ended {
        let begin = Instant::now();
        let mut now = begin;
        let mut stopped: Vec<OrderKey> = Vec::new();
        for (attempt, row) in self.batch {
            if now.duration_since(begin) >= TURN {
                break;
            }
            let key = HandlerWorker::key(&row);
            if !stopped.is_empty() && key.as_ref().is_some_and(|key| stopped.contains(key)) {
                self.progress.end(Outcome::NotTried);
                continue;
            }
            self.progress.begin();
            let cx = HandleContext { deadline: now + self.timeout, attempt, replay: self.replay };
            let call = timeout(self.timeout, Cell::catch(self.handler.handle(&row.callback, &cx))).await;
            let mut panicked = false;
            let outcome = match call {
                Ok(Ok(Ok(events))) if events.is_empty() || self.sinks.is_empty() => Outcome::Done(None),
                Ok(Ok(Ok(events))) => Outcome::Done(Some(Emitted {
                    callback_seq: row.seq,
                    callback: row.callback,
                    handler: self.name.clone(),
                    sinks: self.sinks.clone(),
                    events,
                    replay: self.replay,
                })),
                Ok(Ok(Err(err))) if err.is_down() => return Ended::Down(err.into_failure()),
                Ok(Ok(Err(err))) => Outcome::Failed(err.into_failure()),
                Ok(Err(message)) => {
                    panicked = true;
                    Outcome::Failed(Failure::retry(CellError::Panicked(message)))
                }
                Err(_) => Outcome::Failed(Failure::retry(CellError::Late)),
            };
            if let (Outcome::Failed(_), Some(key)) = (&outcome, key) {
                stopped.push(key);
            }
            self.progress.end(outcome);
            if panicked {
                return Ended::Panicked;
            }
            now = Instant::now();
        }
        Ended::Well
    }
}

/// How far a batch got: to be seen from outside when its thread does not come back.
#[derive(Default)]
struct Progress(Mutex<Steps>);

#[derive(Default)]
struct Steps {
    ended: Vec<Outcome<Made>>,
    is_under_way: bool,
}

impl Progress {
    fn begin(&self) {
        self.lock().is_under_way = true;
    }

    fn end(&self, outcome: Outcome<Made>) {
        let mut steps = self.lock();
        steps.is_under_way = false;
        steps.ended.push(outcome);
    }

    /// The outcomes so far; the callback that was under way failed with `err`.
    fn take(&self, err: Option<&CellError>) -> Vec<Outcome<Made>> {
        let mut steps = self.lock();
        let mut ended = std::mem::take(&mut steps.ended);
        if let (true, Some(err)) = (steps.is_under_way, err) {
            ended.push(Outcome::Failed(Failure::retry(err)));
        }
        ended
    }

    fn lock(&self) -> MutexGuard<'_, Steps> {
        // Held for a few instructions that do not panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
