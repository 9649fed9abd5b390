//! All consumers of a dispatcher, on one thread.
//!
//! One thread for all, and one reader: what runs here is short – a page from the journal, bookkeeping, a hop – and no
//! plugin code, which has cells of its own. A thread and a connection for each of a dozen consumers would cost megabytes
//! and make nothing faster on a machine whose other cores are busy with plugins and intake.

use std::{
    fmt, io,
    sync::{Arc, mpsc as std_mpsc},
    thread,
    time::{Duration, Instant},
};

use dispatcher_core::{HandlerSettings, Route, SinkSettings};
use dispatcher_journal::{Journal, JournalError};
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    ConsumerOptions, ConsumerStatus, PipelineHandle, consumer::Phase, crew::Crew, handle::Known, status::Statuses,
};

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
    /// The same as long as all of this is the same: a reload leaves an instance alone whose fingerprint it knows.
    pub fingerprint: u64,
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
    /// The same as long as all of this is the same: a reload leaves an instance alone whose fingerprint it knows.
    pub fingerprint: u64,
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
    /// The pipeline that was to change has ended.
    Ended,
}

/// The consumers of all handlers and sinks, at work.
///
/// [`drain`](Pipeline::drain) ends it in good order. Dropping it stops it like a crash would: what was not committed is
/// done again after the next start.
pub struct Pipeline {
    phase: watch::Sender<Phase>,
    handle: PipelineHandle,
    ended: oneshot::Receiver<()>,
    thread: Option<thread::JoinHandle<()>>,
}

/// What a pipeline works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Whatever comes, and replays.
    Everything,
    /// Replays alone.
    Replays,
}

impl Pipeline {
    /// Registers all consumers with the journal and starts them, with the replays that were under way. A callback that is
    /// appended after this returns reaches every handler that selects it. Blocks for some disk accesses; plugins are opened
    /// later, with their first item.
    ///
    /// # Errors
    /// When the journal refuses, or the system gives no thread.
    pub fn start(
        journal: &Journal,
        handlers: Vec<HandlerInstance>,
        sinks: Vec<SinkInstance>,
    ) -> Result<Pipeline, StartError> {
        Pipeline::start_with(journal, handlers, sinks, Scope::Everything)
    }

    /// Starts replays alone, those that were under way and those that are asked for: nobody else's place in the journal
    /// moves. For a journal whose dispatcher does not run.
    ///
    /// # Errors
    /// As [`start`](Pipeline::start).
    pub fn start_replays(
        journal: &Journal,
        handlers: Vec<HandlerInstance>,
        sinks: Vec<SinkInstance>,
    ) -> Result<Pipeline, StartError> {
        Pipeline::start_with(journal, handlers, sinks, Scope::Replays)
    }

    /// A handle for dry runs alone: what these handlers and sinks would replay. Nothing runs, so that everything else that
    /// is asked of it fails.
    #[must_use]
    pub fn planning(journal: &Journal, handlers: &[HandlerInstance], sinks: &[SinkInstance]) -> PipelineHandle {
        let (commands, _) = mpsc::unbounded_channel();
        PipelineHandle::new(journal.clone(), commands, Statuses::default(), Known::new(handlers, sinks))
    }

    fn start_with(
        journal: &Journal,
        handlers: Vec<HandlerInstance>,
        sinks: Vec<SinkInstance>,
        scope: Scope,
    ) -> Result<Pipeline, StartError> {
        let (phase, watch_phase) = watch::channel(Phase::Running);
        let (commands, receive) = mpsc::unbounded_channel();
        let statuses = Statuses::default();
        let known = Known::new(&handlers, &sinks);
        let crew = Crew::new(journal, handlers, sinks, scope, watch_phase, receive, statuses.clone())?;
        let handle = PipelineHandle::new(journal.clone(), commands, statuses, known);
        let (ending, ended) = oneshot::channel();
        let (built, is_built) = std_mpsc::sync_channel(1);
        let thread = thread::Builder::new().name("pipeline".to_owned()).spawn(move || {
            match tokio::runtime::Builder::new_current_thread().enable_time().build() {
                Ok(runtime) => {
                    let _ = built.send(Ok(()));
                    crew.run(runtime);
                    // After everything of it is gone: whoever waits for it may close the journal. An error means that
                    // nobody waits.
                    let _ = ending.send(());
                }
                Err(err) => _ = built.send(Err(err)),
            }
        });
        let thread = thread.map_err(StartError::Thread)?;
        match is_built.recv() {
            Ok(Ok(())) => Ok(Pipeline { phase, handle, ended, thread: Some(thread) }),
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

    /// How each consumer is: handlers first, then sinks, each in the order in which they were given, then replays.
    #[must_use]
    pub fn status(&self) -> Vec<ConsumerStatus> {
        self.handle.status()
    }

    /// A handle to ask for pauses and replays, for as long as the pipeline runs.
    #[must_use]
    pub fn handle(&self) -> PipelineHandle {
        self.handle.clone()
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

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Journal { consumer, source } => write!(f, "consumer {consumer:?} cannot start: {source}"),
            StartError::Thread(err) => write!(f, "cannot start a thread: {err}"),
            StartError::Ended => f.write_str("the dispatcher is stopping"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StartError::Journal { source, .. } => Some(source),
            StartError::Thread(err) => Some(err),
            StartError::Ended => None,
        }
    }
}
