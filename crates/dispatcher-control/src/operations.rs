//! What is done for a request: with the journal, and with the pipeline where one runs.
//!
//! A running dispatcher does it for those who ask through its socket; the command line does it by itself when none runs.

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use dispatcher_core::{Callback, Timestamp};
use dispatcher_decider::Deciders;
use dispatcher_journal::{Change, Journal, JournalError, Reader, Stream};
use dispatcher_pipeline::{ControlError, PipelineHandle};

use crate::{
    Answer, AppView, Done, Progress, Reloaded, Request, dead, overview, replay, search, shadow, steering, story, upkeep,
};

/// Who asks.
pub trait Asker {
    /// Gives an answer. May block for as long as the asker takes to read it.
    ///
    /// # Errors
    /// Nobody wants answers any more.
    fn tell(&mut self, answer: Answer) -> Result<(), Gone>;

    /// Waits for this long.
    ///
    /// # Errors
    /// Nobody wants answers any more; this is noticed at once, however long the wait.
    fn wait(&mut self, span: Duration) -> Result<(), Gone>;
}

/// The asker has gone, or the dispatcher stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

/// What is known from the configuration.
#[derive(Clone)]
pub struct Setup {
    /// The program's version.
    pub version: String,
    /// SHA-256 of the configuration that counts, in hexadecimal.
    pub configuration: String,
    /// The journal's file.
    pub journal: PathBuf,
    /// What retention deletes when, in words.
    pub retention: Option<String>,
    /// The dispatcher that runs.
    pub running: Option<Live>,
    /// Handlers, then sinks.
    pub consumers: Vec<Configured>,
    /// Handlers that decide, in the order in which they are asked.
    pub deciders: Vec<ConfiguredDecider>,
}

/// What is known of a dispatcher that runs, beside its pipeline.
#[derive(Clone)]
pub struct Live {
    /// Where it listens.
    pub listen: String,
    /// Where it can be asked over TCP, if anywhere.
    pub admin: Option<String>,
    /// Since when.
    pub since: Timestamp,
    /// Those that decide there.
    pub deciders: Deciders,
    /// Reads what came from each app that is configured.
    pub apps: Arc<dyn Fn() -> Vec<AppView> + Send + Sync>,
    /// Reads how long the slowest answer to a callback took that wanted a decision.
    pub longest_decision: Arc<dyn Fn() -> Duration + Send + Sync>,
    /// Reads the configuration again, and sets the level of the log.
    pub steering: Arc<dyn Steering>,
}

/// What a dispatcher that runs does to itself.
pub trait Steering: Send + Sync {
    /// Reads the configuration again and goes by it. Blocks, for some seconds at most.
    ///
    /// # Errors
    /// Why not; then everything is as it was.
    fn reload(&self) -> Result<Reloaded, NotReloaded>;

    /// Writes the log from this level on.
    ///
    /// # Errors
    /// Why not, and what to write.
    fn set_log_level(&self, level: &str) -> Result<(), String>;
}

/// Why the configuration was not read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotReloaded {
    /// It is wrong: every finding.
    Invalid(Vec<String>),
    /// Something else.
    Failed(String),
}

impl NotReloaded {
    /// What is said of one that is wrong, behind its findings.
    pub(crate) const INVALID: &str = "nothing has changed: the dispatcher goes on with the configuration it has";
}

/// A handler in the configuration that decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfiguredDecider {
    /// Its name.
    pub name: String,
    /// Whether it is switched on.
    pub enabled: bool,
    /// Whether the configuration makes it a shadow, whatever else does.
    pub shadow: bool,
}

/// A handler or sink in the configuration.
#[derive(Clone)]
pub struct Configured {
    /// The whole name of its consumer.
    pub name: String,
    /// What it consumes.
    pub stream: Stream,
    /// Whether it is switched on.
    pub enabled: bool,
    /// Of a handler: whether it selects this callback.
    pub selects: Option<Selects>,
}

/// Whether a handler selects a callback.
pub type Selects = Arc<dyn Fn(&Callback) -> bool + Send + Sync>;

/// Does what requests ask for.
#[derive(Clone)]
pub struct Operations {
    pub(crate) journal: Journal,
    pub(crate) pipeline: Option<PipelineHandle>,
    pub(crate) setup: Arc<Setup>,
    /// The newest, for those who ask from now on.
    newest: Arc<Mutex<Arc<Setup>>>,
    /// Held while a shadow is changed, so that the journal and the decider hear of changes in the same order.
    pub(crate) shadows: Arc<Mutex<()>>,
}

/// Why a request is not done.
pub(crate) enum Stop {
    Gone,
    /// What is wrong, and what to do.
    Failed(String),
}

impl Operations {
    /// For this journal. Without a pipeline, replays are refused.
    #[must_use]
    pub fn new(journal: Journal, pipeline: Option<PipelineHandle>, setup: Setup) -> Operations {
        let setup = Arc::new(setup);
        Operations { journal, pipeline, newest: Arc::new(Mutex::new(setup.clone())), setup, shadows: Arc::default() }
    }

    /// From now on this is known from the configuration, and its deciders are shadows as the journal says: whoever asks for
    /// one later asks it of these. Who is being answered is answered by what was known before.
    ///
    /// # Errors
    /// The journal cannot be read; nothing is replaced.
    pub fn replace(&self, setup: Setup) -> Result<(), JournalError> {
        let _order = self.shadows.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = &setup.running {
            running.deciders.cast_shadows(&self.journal.shadows()?);
        }
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(setup);
        Ok(())
    }

    /// The same with what is known now.
    pub(crate) fn renewed(&self) -> Operations {
        Operations { setup: self.newest(), ..self.clone() }
    }

    pub(crate) fn newest(&self) -> Arc<Setup> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Does what is asked, and tells everything to `asker`; the last answer is `Done` or `Failed`. Blocks, for long where
    /// the request is long; must not be called on a thread of an async runtime.
    ///
    /// # Errors
    /// The asker has gone. Whatever was changed until then stays changed.
    pub fn answer(&self, request: &Request, asker: &mut dyn Asker) -> Result<(), Gone> {
        match self.perform(request, asker) {
            Ok(done) => asker.tell(Answer::Done(done)),
            Err(Stop::Gone) => Err(Gone),
            Err(Stop::Failed(message)) => asker.tell(Answer::Failed(message)),
        }
    }

    fn perform(&self, request: &Request, asker: &mut dyn Asker) -> Result<Done, Stop> {
        match request {
            Request::Callbacks(search) => search::callbacks(&mut self.reader()?, search, asker),
            Request::Events(search) => search::events(&mut self.reader()?, search, asker),
            Request::Show { id, contents } => story::show(self, id, *contents, asker),
            Request::DeadLetters { which, limit, contents } => dead::list(self, which, *limit, *contents, asker),
            Request::Discard(which) => dead::discard(self, which, asker),
            Request::ReplayDead { which, to, rate, watch } => {
                replay::dead(self, which, to.as_deref(), *rate, *watch, asker)
            }
            Request::Replay { spec, watch } => replay::begin(self, spec, *watch, asker),
            Request::DryRun { spec } => replay::plan(self, spec, asker),
            Request::Replays => replay::list(self, asker),
            Request::WatchReplay { id } => replay::watch(self, &[*id], asker),
            Request::CancelReplay { id } => replay::cancel(self, *id),
            Request::Pause { consumer, reason } => overview::pause(self, consumer, reason.as_deref()),
            Request::Resume { consumer } => overview::resume(self, consumer),
            Request::Shadow { handler, until } => shadow::shadow(self, handler, *until),
            Request::Status => overview::status(self, asker),
            Request::RenameConsumer { from, to } => overview::rename(self, from, to),
            Request::DropConsumer { consumer } => overview::drop_consumer(self, consumer),
            Request::Reload => steering::reload(self, asker),
            Request::LogLevel { level } => steering::log_level(self, level),
            Request::Check => upkeep::check(self, asker),
            Request::Backup { to } => upkeep::backup(self, to, asker),
            Request::Compact => upkeep::compact(self, asker),
        }
    }

    pub(crate) fn reader(&self) -> Result<Reader, Stop> {
        Ok(self.journal.reader()?)
    }

    /// Makes a change, and waits until it is durable.
    pub(crate) fn change(&self, change: Change) -> Result<u64, Stop> {
        Ok(wait_for(self.journal.change(change))??)
    }

    pub(crate) fn configured(&self, consumer: &str) -> Option<&Configured> {
        self.setup.consumers.iter().find(|configured| configured.name == consumer)
    }

    /// The size of a file that belongs to the journal; zero if it is not there.
    pub(crate) fn file_size(&self, ending: &str) -> u64 {
        let mut path = self.setup.journal.clone().into_os_string();
        path.push(ending);
        fs::metadata(path).map_or(0, |metadata| metadata.len())
    }
}

/// Waits for the journal or the pipeline, whose own threads do the work.
pub(crate) fn wait_for<T>(work: impl Future<Output = T>) -> Result<T, Stop> {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.map_err(|err| Stop::Failed(format!("cannot wait for the journal: {err}")))?;
    Ok(runtime.block_on(work))
}

impl From<Gone> for Stop {
    fn from(_: Gone) -> Stop {
        Stop::Gone
    }
}

impl From<JournalError> for Stop {
    fn from(err: JournalError) -> Stop {
        Stop::Failed(format!("the journal: {err}"))
    }
}

impl From<ControlError> for Stop {
    fn from(err: ControlError) -> Stop {
        match err {
            ControlError::Journal(err) => err.into(),
            ControlError::Invalid(_) | ControlError::Ended => Stop::Failed(err.to_string()),
        }
    }
}

/// Tells how far long work is, and notices when nobody asks any more.
pub(crate) struct Meter<'a> {
    asker: &'a mut dyn Asker,
    what: &'static str,
    told: Option<std::time::Instant>,
}

impl<'a> Meter<'a> {
    /// How often progress is told.
    const EVERY: Duration = Duration::from_millis(100);

    pub(crate) fn new(what: &'static str, asker: &'a mut dyn Asker) -> Meter<'a> {
        Meter { asker, what, told: None }
    }

    pub(crate) fn at(&mut self, done: u64, total: u64) -> Result<(), Gone> {
        if self.told.get_or_insert_with(std::time::Instant::now).elapsed() < Meter::EVERY {
            return self.asker.wait(Duration::ZERO);
        }
        self.told = Some(std::time::Instant::now());
        self.asker.tell(Answer::Progress(Progress { what: self.what.to_owned(), done, total }))
    }
}
