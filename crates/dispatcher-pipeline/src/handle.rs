//! How a running pipeline is asked for pauses and replays.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use dispatcher_core::Route;
use dispatcher_journal::{Change, Consumer, DeadPage, Journal, JournalError, NewReplay, Reader, Replay, Row, Stream};
use tokio::sync::{mpsc, oneshot};

use crate::{
    ConsumerStatus, HandlerInstance, ReplaySpec, SinkInstance,
    deck::Changes,
    replay::{Filter, named},
    status::Statuses,
};

/// How long is waited for a replay to end that was cancelled, and how often is looked.
const ENDS: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(20);

/// What the pipeline's thread is asked for.
pub(crate) enum Command {
    /// Start a replay that the journal has.
    Replay(Box<Replay>),
    /// Leave a plugin alone, or, without a reason, go on.
    Park { consumer: String, reason: Option<String> },
    /// End a replay. The answer is whether it runs.
    Cancel { consumer: String, done: oneshot::Sender<bool> },
    /// Put others to work.
    Apply(Box<Changes>),
}

/// The handlers and sinks that run.
#[derive(Default)]
pub(crate) struct Known {
    routes: BTreeMap<String, Route>,
    sinks: Vec<String>,
    /// Of the consumers of both, in order.
    pub(crate) fingerprints: Vec<(String, u64)>,
}

impl Known {
    pub(crate) fn new(handlers: &[HandlerInstance], sinks: &[SinkInstance]) -> Known {
        Known {
            routes: handlers.iter().map(|handler| (handler.name.clone(), handler.route.clone())).collect(),
            sinks: sinks.iter().map(|sink| sink.name.clone()).collect(),
            fingerprints: handlers
                .iter()
                .map(|handler| (format!("handler:{}", handler.name), handler.fingerprint))
                .chain(sinks.iter().map(|sink| (format!("sink:{}", sink.name), sink.fingerprint)))
                .collect(),
        }
    }

    pub(crate) fn fingerprint(&self, consumer: &str) -> Option<u64> {
        self.fingerprints.iter().find(|(name, _)| name == consumer).map(|(_, fingerprint)| *fingerprint)
    }
}

/// Asks a running pipeline for pauses and replays. Cheap to clone; of no use once the pipeline has ended.
#[derive(Clone)]
pub struct PipelineHandle {
    pub(crate) journal: Journal,
    pub(crate) commands: mpsc::UnboundedSender<Command>,
    pub(crate) statuses: Statuses,
    known: Arc<Mutex<Arc<Known>>>,
    /// Held while others are put to work.
    pub(crate) applying: Arc<Mutex<()>>,
}

/// Why a pipeline did not do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlError {
    /// What was asked for cannot be; the text says why, and what there is instead.
    Invalid(String),
    /// The journal could not.
    Journal(JournalError),
    /// The pipeline has ended.
    Ended,
}

impl PipelineHandle {
    pub(crate) fn new(
        journal: Journal,
        commands: mpsc::UnboundedSender<Command>,
        statuses: Statuses,
        known: Known,
    ) -> PipelineHandle {
        let known = Arc::new(Mutex::new(Arc::new(known)));
        PipelineHandle { journal, commands, statuses, known, applying: Arc::default() }
    }

    /// Who runs.
    pub(crate) fn known(&self) -> Arc<Known> {
        // Held for a clone, or an assignment.
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_known(&self, known: Known) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(known);
    }

    /// How each consumer is: handlers first, then sinks, each in the order in which they were given, then replays.
    #[must_use]
    pub fn status(&self) -> Vec<ConsumerStatus> {
        self.statuses.read()
    }

    /// Parks a sink or handler, `sink:NAME` or `handler:NAME`, with its replays: nothing more is started for it, here and
    /// after restarts, until it is resumed. What is under way ends. Doing so again changes the reason.
    ///
    /// # Errors
    /// When nothing of that name runs, or the journal cannot store it.
    pub async fn park(&self, consumer: &str, reason: &str) -> Result<(), ControlError> {
        self.change_parking(consumer, Some(reason.to_owned())).await
    }

    /// Lets a parked sink or handler go on, whether a person or its receiver parked it. Without effect on one that is not
    /// parked.
    ///
    /// # Errors
    /// When nothing of that name runs, or the journal cannot store it.
    pub async fn resume(&self, consumer: &str) -> Result<(), ControlError> {
        self.change_parking(consumer, None).await
    }

    async fn change_parking(&self, consumer: &str, reason: Option<String>) -> Result<(), ControlError> {
        self.stream_of(consumer)?;
        self.journal.change(Change::Park { consumer: consumer.into(), reason: reason.clone() }).await?;
        let command = Command::Park { consumer: consumer.to_owned(), reason };
        self.commands.send(command).map_err(|_| ControlError::Ended)
    }

    /// Whether a replay could be made. Blocks for a few disk accesses.
    ///
    /// # Errors
    /// As [`replay`](PipelineHandle::replay).
    pub fn check(&self, spec: &ReplaySpec) -> Result<(), ControlError> {
        self.plan(spec).map(drop)
    }

    /// Makes a replay and starts it. It is durable when this returns, and goes on after a restart. Blocks for a few disk
    /// accesses.
    ///
    /// # Errors
    /// When the spec names what does not run or contradicts itself, or the journal cannot store it.
    pub async fn replay(&self, spec: &ReplaySpec) -> Result<Replay, ControlError> {
        let new = self.plan(spec)?;
        let id = self.journal.change(Change::BeginReplay(new)).await?;
        let replays = self.journal.reader()?.replays()?;
        let replay = replays.into_iter().find(|replay| replay.id == id).ok_or(ControlError::Ended)?;
        // Where the pipeline has just ended, it goes on at the next start.
        let _ = self.commands.send(Command::Replay(Box::new(replay.clone())));
        Ok(replay)
    }

    /// Ends a replay before it is finished; what it has delivered stays delivered. False if there is none of this id under
    /// way. Blocks until its end is stored, for some seconds at most: run it on a thread that may.
    ///
    /// # Errors
    /// When the journal cannot store it, or what it has under way does not end in time.
    pub async fn cancel_replay(&self, id: u64) -> Result<bool, ControlError> {
        let replays = self.journal.reader()?.replays()?;
        let Some(replay) = replays.into_iter().find(|replay| replay.id == id && replay.ended_at.is_none()) else {
            return Ok(false);
        };
        let (done, answer) = oneshot::channel();
        let cancel = Command::Cancel { consumer: replay.consumer(), done };
        self.commands.send(cancel).map_err(|_| ControlError::Ended)?;
        if !answer.await.map_err(|_| ControlError::Ended)? {
            // It waits for something that does not run.
            self.journal.change(Change::EndReplay { id, cancelled: true }).await?;
            return Ok(true);
        }
        let started = Instant::now();
        while started.elapsed() < ENDS {
            let replays = self.journal.reader()?.replays()?;
            if replays.iter().any(|replay| replay.id == id && replay.ended_at.is_some()) {
                return Ok(true);
            }
            thread::sleep(LOOK);
        }
        Err(ControlError::Invalid(format!(
            "replay {id} starts nothing more, and ends when what it has under way does; `dispatcher replay list` shows it"
        )))
    }

    /// How many items a replay would deliver, or handle, again. Blocks while it reads them: run it on a thread that may.
    /// `tell` is given how far it got and how far there is to go, both in rows; it returns whether to go on.
    ///
    /// # Errors
    /// As [`replay`](PipelineHandle::replay).
    pub fn count(&self, spec: &ReplaySpec, mut tell: impl FnMut(u64, u64) -> bool) -> Result<u64, ControlError> {
        let new = self.plan(spec)?;
        let filter = spec.filter.parse().map_err(ControlError::Invalid)?;
        let mut reader = self.journal.reader()?;
        let of = named(&reader.consumers()?, &spec.of, new.stream);
        let last = new.last.min(reader.end(new.stream));
        let known = self.known();
        let mut counting = Counting { after: new.first.saturating_sub(1), last, n: 0 };
        while counting.after < last {
            match new.stream {
                Stream::Events => counting.events(&mut reader, &new, &filter, &of)?,
                Stream::Callbacks => counting.callbacks(&mut reader, &new, &filter, &known, &spec.of)?,
            }
            if !tell(counting.after.saturating_sub(new.first.saturating_sub(1)), last - new.first.saturating_sub(1)) {
                break;
            }
        }
        Ok(counting.n)
    }

    /// What the journal is to make of a spec.
    fn plan(&self, spec: &ReplaySpec) -> Result<NewReplay, ControlError> {
        let invalid = |text: String| Err(ControlError::Invalid(text));
        let filter = spec.filter.parse().map_err(ControlError::Invalid)?;
        // Dead letters may be of something that no longer runs, as long as something else is to get them.
        let stream = match spec.of.split_once(':') {
            Some(("sink", _)) if spec.to.is_some() => Stream::Events,
            _ => self.stream_of(&spec.of)?,
        };
        if let Some(to) = &spec.to {
            self.stream_of(&format!("sink:{to}"))?;
        }
        if spec.rate.is_some_and(|rate| !rate.is_finite() || rate <= 0.0) {
            return invalid("the rate has to be more than nothing".to_owned());
        }
        let (mut first, last) = filter.range();
        if let (Some(since), false) = (filter.since(), spec.dead) {
            // An event is stored after its callback was received.
            first = self.journal.reader()?.first_at(stream, since)?.unwrap_or(u64::MAX).max(first);
        }
        let target = match (&spec.to, stream) {
            (Some(to), Stream::Events) => format!("sink:{to}"),
            _ => spec.of.clone(),
        };
        let text = serde_json::to_string(spec).map_err(|err| ControlError::Invalid(err.to_string()))?;
        let dead_of = spec.dead.then(|| spec.of.as_str().into());
        Ok(NewReplay { target: target.into(), stream, dead_of, first, last, spec: text })
    }

    /// The stream of a consumer that runs.
    fn stream_of(&self, consumer: &str) -> Result<Stream, ControlError> {
        let known = self.known();
        let Known { routes, sinks, .. } = &*known;
        match consumer.split_once(':') {
            Some(("handler", name)) if routes.contains_key(name) => Ok(Stream::Callbacks),
            Some(("sink", name)) if sinks.iter().any(|known| known == name) => Ok(Stream::Events),
            Some((kind @ "handler", name)) => Err(unknown(kind, name, routes.keys())),
            Some((kind @ "sink", name)) => Err(unknown(kind, name, sinks)),
            _ => Err(ControlError::Invalid(format!("{consumer:?} is neither handler:NAME nor sink:NAME"))),
        }
    }
}

fn unknown<'a>(kind: &str, name: &str, known: impl IntoIterator<Item = &'a String>) -> ControlError {
    let known: Vec<&str> = known.into_iter().map(String::as_str).collect();
    let known =
        if known.is_empty() { "none runs".to_owned() } else { format!("those that run are {}", known.join(", ")) };
    ControlError::Invalid(format!("no {kind} {name:?} runs; {known}"))
}

/// A dry run under way.
struct Counting {
    after: u64,
    last: u64,
    n: u64,
}

/// How many rows, and bytes, one page of it has.
const PAGE: usize = 512;
const PAGE_BYTES: usize = 4 << 20;

impl Counting {
    fn events(
        &mut self,
        reader: &mut Reader,
        new: &NewReplay,
        filter: &Filter,
        of: &Consumer,
    ) -> Result<(), JournalError> {
        let page = match &new.dead_of {
            Some(dead_of) => reader.dead_events(&self.dead_page(dead_of))?,
            None => reader.events(self.after, PAGE, PAGE_BYTES)?,
        };
        self.page(
            page,
            |row| row.event.seq,
            |row| {
                let is_its = new.dead_of.is_some() || of.is_named(&row.sinks, row.event.seq);
                is_its && filter.lets_through(row.event.seq, &row.event.callback, row.event.key.as_ref())
            },
        );
        Ok(())
    }

    fn callbacks(
        &mut self,
        reader: &mut Reader,
        new: &NewReplay,
        filter: &Filter,
        known: &Known,
        of: &str,
    ) -> Result<(), JournalError> {
        let page = match &new.dead_of {
            Some(dead_of) => reader.dead_callbacks(&self.dead_page(dead_of))?,
            None => reader.callbacks(self.after, PAGE, PAGE_BYTES)?,
        };
        let route = known.routes.get(of.strip_prefix("handler:").unwrap_or(of));
        self.page(
            page,
            |row| row.seq,
            |row| {
                let callback = &row.callback;
                let is_its = new.dead_of.is_some()
                    || route.is_some_and(|route| route.selects(callback.app(), callback.command()));
                is_its && filter.lets_through(row.seq, callback, callback.key())
            },
        );
        Ok(())
    }

    fn dead_page<'a>(&self, consumer: &'a str) -> DeadPage<'a> {
        let Counting { after, last, .. } = *self;
        DeadPage { after, last, max_rows: PAGE, max_bytes: PAGE_BYTES, ..DeadPage::all(consumer) }
    }

    fn page<T>(&mut self, page: Vec<Row<T>>, seq: impl Fn(&T) -> u64, counts: impl Fn(&T) -> bool) {
        let before = self.after;
        for row in page {
            let seq = row.seq_with(&seq);
            if seq > self.last {
                break;
            }
            self.after = seq;
            self.n += u64::from(row.intact().is_some_and(|row| counts(&row)));
        }
        if self.after == before {
            // Nothing more of it lies before the end.
            self.after = self.last;
        }
    }
}

impl From<JournalError> for ControlError {
    fn from(err: JournalError) -> ControlError {
        ControlError::Journal(err)
    }
}

impl fmt::Display for ControlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ControlError::Invalid(text) => f.write_str(text),
            ControlError::Journal(err) => err.fmt(f),
            ControlError::Ended => f.write_str("the dispatcher is stopping"),
        }
    }
}

impl std::error::Error for ControlError {}
