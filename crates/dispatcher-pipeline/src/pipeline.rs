//! All consumers of a dispatcher, on one thread.
//!
//! One thread for all, and one reader: what runs here is short – a page from the journal, bookkeeping, a hop – and no
//! plugin code, which has cells of its own. A thread and a connection for each of a dozen consumers would cost megabytes
//! and make nothing faster on a machine whose other cores are busy with plugins and intake.

use std::{
    cell::RefCell,
    fmt, io,
    rc::Rc,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use dispatcher_cell::Reopening;
use dispatcher_core::{HandlerSettings, Route, SinkSettings};
use dispatcher_journal::{Journal, JournalError, Pending, Reader, Start};
use tokio::{
    sync::{oneshot, watch},
    task::{JoinSet, LocalSet},
};
use tracing::error;

use crate::{
    Backoff, ConsumerStatus,
    consumer::{Consumer, Pace, Phase, Surroundings},
    handler::HandlerWorker,
    health::Health,
    limiter::Limiter,
    sink::SinkWorker,
    status::StatusCell,
    window::{Window, WindowOptions},
    worker::Worker,
};

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

/// A configured handler.
pub struct HandlerInstance {
    /// Its name; the consumer's is `handler:<name>`.
    pub name: String,
    /// Its decoded settings.
    pub settings: Arc<dyn HandlerSettings>,
    /// What it selects.
    pub route: Route,
    /// The names of the sinks that its events go to. Without any, its events are not stored.
    pub sinks: Vec<String>,
    /// How many threads its cell has.
    pub threads: usize,
    /// How its consumer works.
    pub options: ConsumerOptions,
}

/// A configured sink.
pub struct SinkInstance {
    /// Its name; the consumer's is `sink:<name>`.
    pub name: String,
    /// Its decoded settings.
    pub settings: Arc<dyn SinkSettings>,
    /// How many threads its cell has.
    pub threads: usize,
    /// How its consumer works.
    pub options: ConsumerOptions,
}

/// Why a pipeline could not start.
#[derive(Debug)]
pub enum StartError {
    /// The journal could not register or read a consumer.
    Journal {
        /// The consumer.
        consumer: String,
        /// What the journal said.
        source: JournalError,
    },
    /// The system gave no thread.
    Thread(io::Error),
}

/// The consumers of all handlers and sinks, at work.
///
/// [`drain`](Pipeline::drain) ends it in good order. Dropping it stops it like a crash would: what was not committed is
/// done again after the next start.
pub struct Pipeline {
    phase: watch::Sender<Phase>,
    status: Vec<StatusCell>,
    ended: oneshot::Receiver<()>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Pipeline {
    /// Registers all consumers with the journal and starts them. A callback that is appended after this returns reaches
    /// every handler that selects it. Blocks for some disk accesses; plugins are opened later, with their first item.
    ///
    /// # Errors
    /// When the journal refuses, or the system gives no thread.
    pub fn start(
        journal: &Journal,
        handlers: Vec<HandlerInstance>,
        sinks: Vec<SinkInstance>,
    ) -> Result<Pipeline, StartError> {
        let (phase, watch_phase) = watch::channel(Phase::Running);
        let mut reader =
            journal.reader().map_err(|source| StartError::Journal { consumer: "any".to_owned(), source })?;
        // Sinks first: once a handler runs, every sink is known.
        let mut ready_sinks = Vec::new();
        for SinkInstance { name, settings, threads, options } in sinks {
            let ready = Ready::new::<SinkWorker>(format!("sink:{name}"), options, threads, journal, &mut reader)?;
            ready_sinks.push((ready, name, settings));
        }
        let mut ready_handlers = Vec::new();
        for HandlerInstance { name, settings, route, sinks, threads, options } in handlers {
            let ready = Ready::new::<HandlerWorker>(format!("handler:{name}"), options, threads, journal, &mut reader)?;
            ready_handlers.push((ready, name, settings, route, sinks));
        }
        let status = ready_handlers.iter().map(|(ready, ..)| ready.status.clone());
        let status = status.chain(ready_sinks.iter().map(|(ready, ..)| ready.status.clone())).collect();

        let (journal, (ending, ended)) = (journal.clone(), oneshot::channel());
        let run = move |runtime: tokio::runtime::Runtime| {
            let (shared, reader) = (Shared { journal, phase: watch_phase }, Rc::new(RefCell::new(reader)));
            let mut consumers = JoinSet::new();
            let local = LocalSet::new();
            for (ready, name, settings) in ready_sinks {
                let timeout = ready.options.timeout;
                let consumer =
                    ready.consumer(&shared, &reader, |cells| SinkWorker::new(&name, settings, timeout, cells));
                consumers.spawn_local_on(consumer.run(), &local);
            }
            for (ready, name, settings, route, sinks) in ready_handlers {
                let timeout = ready.options.timeout;
                let consumer = ready.consumer(&shared, &reader, |cells| {
                    HandlerWorker::new(&name, settings, route, &sinks, timeout, cells)
                });
                consumers.spawn_local_on(consumer.run(), &local);
            }
            local.block_on(&runtime, async {
                while let Some(ended) = consumers.join_next().await {
                    if let Err(err) = ended {
                        error!(%err, "a consumer failed; nothing is lost, and it goes on at the next start");
                    }
                }
            });
            // Before the word goes out: whoever waits for it may close the journal.
            drop((consumers, local, shared, reader, runtime));
            // An error means that nobody waits.
            let _ = ending.send(());
        };
        let (built, is_built) = mpsc::sync_channel(1);
        let thread = thread::Builder::new().name("pipeline".to_owned()).spawn(move || {
            match tokio::runtime::Builder::new_current_thread().enable_time().build() {
                Ok(runtime) => {
                    let _ = built.send(Ok(()));
                    run(runtime);
                }
                Err(err) => _ = built.send(Err(err)),
            }
        });
        let thread = thread.map_err(StartError::Thread)?;
        match is_built.recv() {
            Ok(Ok(())) => Ok(Pipeline { phase, status, ended, thread: Some(thread) }),
            Ok(Err(err)) => Err(StartError::Thread(err)),
            Err(_) => Err(StartError::Thread(io::Error::other("the thread ended at once"))),
        }
    }

    /// Starts nothing more, lets what is under way finish for at most `limit`, commits it, closes the sinks. The last
    /// commit and the closing have two more seconds.
    pub async fn drain(mut self, limit: Duration) {
        self.phase.send_replace(Phase::Draining(Instant::now() + limit));
        // An error means that the thread is gone, which is the same.
        let _ = (&mut self.ended).await;
    }

    /// How each consumer is: handlers first, in the order in which they were given.
    #[must_use]
    pub fn status(&self) -> Vec<ConsumerStatus> {
        self.status.iter().map(StatusCell::read).collect()
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        self.phase.send_replace(Phase::Stopped);
        if let Some(thread) = self.thread.take() {
            // Blocks for one page at most: the thread runs no plugin. Should it have panicked, it has said so.
            let _ = thread.join();
        }
    }
}

/// A consumer that is registered, and can move to the pipeline's thread.
struct Ready {
    name: Arc<str>,
    options: ConsumerOptions,
    cells: Reopening,
    checkpoint: u64,
    pending: Vec<Pending>,
    status: StatusCell,
}

/// What all consumers get.
struct Shared {
    journal: Journal,
    phase: watch::Receiver<Phase>,
}

impl Ready {
    fn new<W: Worker>(
        name: String,
        options: ConsumerOptions,
        threads: usize,
        journal: &Journal,
        reader: &mut Reader,
    ) -> Result<Ready, StartError> {
        let failed = |source| StartError::Journal { consumer: name.clone(), source };
        let checkpoint = journal.register(&name, W::STREAM, options.start).map_err(failed)?;
        let pending = reader.pending(&name).map_err(failed)?;
        let cells = Reopening::open(&name, threads).map_err(StartError::Thread)?;
        let status = StatusCell::new(&name);
        status.update(|status| {
            status.checkpoint = checkpoint;
            status.pending = pending.len();
        });
        Ok(Ready { name: name.into(), options, cells, checkpoint, pending, status })
    }

    fn consumer<W: Worker>(
        self,
        shared: &Shared,
        reader: &Rc<RefCell<Reader>>,
        worker: impl FnOnce(Reopening) -> W,
    ) -> Consumer<W> {
        let Ready { name, options, cells, checkpoint, mut pending, status } = self;
        if !options.ordered {
            // They may be from a time when order was kept.
            pending.iter_mut().for_each(|row| row.key = None);
        }
        let window_options = WindowOptions {
            max_items: options.window,
            max_bytes: options.window_bytes,
            batch: options.batch.max(1),
            batch_bytes: options.batch_bytes,
            max_pending: options.max_pending.max(1),
            attempts: options.attempts,
            give_up_after: options.give_up_after,
            backoff: options.backoff,
            park_after: options.park_after,
            #[cfg(test)]
            flaw: None,
        };
        let mut seeds = fastrand::Rng::new();
        let health = Health::new(options.backoff, seeds.u64(..), None, Instant::now());
        let now = health.now();
        let window = Window::new(window_options, checkpoint, pending, seeds.u64(..), now);
        let rate = options.rate.map(|rate| Rc::new(RefCell::new(Limiter::new(rate, now.instant))));
        let pace = Pace { lanes: options.lanes, rate, ordered: options.ordered };
        let (journal, phase) = (shared.journal.clone(), shared.phase.clone());
        let overdue = journal.overdue();
        let surroundings = Surroundings { journal, reader: reader.clone(), overdue, phase, status };
        Consumer::new(name, worker(cells), pace, window, health, surroundings)
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Journal { consumer, source } => write!(f, "consumer {consumer:?} cannot start: {source}"),
            StartError::Thread(err) => write!(f, "cannot start a thread: {err}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StartError::Journal { source, .. } => Some(source),
            StartError::Thread(err) => Some(err),
        }
    }
}
