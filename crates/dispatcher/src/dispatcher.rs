//! The dispatcher as a whole: journal, handlers, sinks and intake, started in this order and stopped in the other.

use std::{collections::BTreeMap, fmt, io, net::SocketAddr, net::TcpListener, sync::Arc, time::Duration};

use dispatcher_config::{Config, Finding};
use dispatcher_control::{
    Admin, Admission, AppView, Audit, Live, NotReloaded, Operations, Reloaded, Server, Steering, socket_path,
};
use dispatcher_core::Timestamp;
use dispatcher_decider::Deciders;
use dispatcher_intake::{Counters, Intake};
use dispatcher_journal::{Journal, JournalError, Stream};
use dispatcher_observe::Observer;
use dispatcher_pipeline::{ConsumerStatus, Pipeline};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::{
    admin, observing,
    reload::{Control, ReloadError, Running, Source},
    setup::setup,
    wiring::{apps, deciders, default_decisions, handlers, intake_options, journal_options, rules, sinks, start},
};

/// What the pipeline takes beyond its limit for its last commit, and to close sinks.
const LAST_COMMIT: Duration = Duration::from_secs(2);

/// No thread has to come round sooner: a busy machine may keep it waiting.
const SECOND: Duration = Duration::from_secs(1);
/// How long the journal's writer may take for what it does at once.
const WRITING: Duration = Duration::from_secs(60);

/// A running dispatcher. Stop it with [`drain`](Dispatcher::drain); dropped without, it stops as a crash would, and what
/// it had acknowledged is in the journal.
pub struct Dispatcher {
    /// First, so that nobody asks for what is being dropped.
    control: Option<Server>,
    admin: Option<Admin>,
    observer: Option<Observer>,
    running: Arc<Running>,
    local_addr: SocketAddr,
    counters: Arc<Counters>,
    pipeline: Pipeline,
    journal: Journal,
}

impl Dispatcher {
    /// Starts what `config` describes. When this returns, callbacks are answered. Blocks
    /// shortly while the journal is opened.
    ///
    /// # Errors
    /// When the address is taken, the journal cannot be opened, or the machine gives no threads. A sink or handler that
    /// cannot be opened is no error: it is down, and tried again.
    pub fn start(config: Config) -> Result<Dispatcher, StartError> {
        Dispatcher::start_from(None, config)
    }

    /// The same, with the file that a reload reads again.
    pub(crate) fn start_from(source: Option<Source>, config: Config) -> Result<Dispatcher, StartError> {
        // The address first: when another dispatcher runs already, this says so before the journal is touched.
        let listener = listen(&config, "intake.listen", config.intake.listen)?;
        let observe = config.observe.listen.map(|address| listen(&config, "observe.listen", address)).transpose()?;
        let admin = config.admin.listen.map(|address| listen(&config, "admin.listen", address)).transpose()?;
        let journal = Journal::open(journal_options(&config))
            .map_err(|err| StartError(config.finding("journal.path", err.to_string())))?;
        keep_places(&config, &journal).map_err(|err| StartError(config.finding("journal.path", err.to_string())))?;
        let pipeline = Pipeline::start(&journal, handlers(&config), sinks(&config))
            .map_err(|err| StartError(config.finding("", err.to_string())))?;
        name_the_unconfigured(&config, &journal);
        let within = config.intake.answer_within.get();
        let deciders = Deciders::start(deciders(&config), &default_decisions(&config), within)
            .map_err(|err| StartError(config.finding("handlers", format!("cannot start the deciders: {err}"))))?;
        let shadows = journal.shadows().map_err(|err| StartError(config.finding("journal.path", err.to_string())))?;
        deciders.cast_shadows(&shadows);
        let decides = |name: &str| deciders.status().iter().any(|decider| decider.name == name);
        for (handler, until) in shadows.iter().filter(|(handler, _)| decides(handler)) {
            info!(handler, %until, "is a shadow for a while: it is asked after the answer, and does not count");
        }
        let (options, apps, rules) = (intake_options(&config), apps(&config), rules(&config));
        let intake = Intake::start(listener, options, apps, rules, &journal, deciders.clone())
            .map_err(|err| StartError(config.finding("intake", err.to_string())))?;
        let (local_addr, counters) = (intake.local_addr(), intake.counters());
        let path = config.journal.path.clone();
        let of_setup = config.clone();
        let running = Running::new(source, config, intake, pipeline.handle(), journal.clone(), deciders.clone());
        let running = Arc::new(running);
        let (longest, counted) = (counters.clone(), counters.clone());
        let admission = Admission::new(admin::options(&of_setup));
        let of_admin = admission.counters();
        let observer = observe
            .map(|listener| observing::start(&running, listener, counters.clone(), of_admin, &journal, &pipeline))
            .transpose()
            .map_err(StartError)?;
        let live = Live {
            listen: local_addr.to_string(),
            admin: admin.as_ref().and_then(|listener| listener.local_addr().ok()).map(|addr| addr.to_string()),
            since: Timestamp::now(),
            deciders,
            apps: Arc::new(move || apps_of(&counted)),
            longest_decision: Arc::new(move || longest.longest_decision()),
            steering: Arc::new(Weak(Arc::downgrade(&running))),
        };
        let operations =
            Operations::new(journal.clone(), Some(pipeline.handle()), setup(&of_setup, Some(live.clone())));
        let audit = Audit::new(of_setup.audit_path());
        running.tell(Control {
            operations: operations.clone(),
            live,
            audit: audit.clone(),
            admission: admission.clone(),
        });
        let admin = admin
            .map(|listener| admin::start(&of_setup, listener, admission, operations.clone(), audit.clone()))
            .transpose()
            .map_err(StartError)?;
        let control = Server::start(&path, operations, audit).inspect_err(|err| {
            let socket = socket_path(&path);
            warn!(%err, socket = %socket.display(), "the command line cannot ask this dispatcher; all else works");
        });
        Ok(Dispatcher { control: control.ok(), admin, observer, running, local_addr, counters, pipeline, journal })
    }

    /// Goes by this configuration from now on, without a restart: apps, tokens, limits, handlers, sinks, decisions. Requests
    /// that have begun keep what they began with. Handlers and sinks whose settings are the same are left alone; those that
    /// changed or are gone finish what is under way. What only a restart can change is named in the answer, and stays as it
    /// is. Blocks, for some seconds at most: call it on a thread that may.
    ///
    /// # Errors
    /// Nothing has changed, or the dispatcher is stopping.
    pub fn reload(&self, config: Config) -> Result<Reloaded, ReloadError> {
        self.running.apply(config)
    }

    /// What can be reloaded.
    pub(crate) fn running(&self) -> &Arc<Running> {
        &self.running
    }

    /// Whether all threads that callbacks hang on come round, each within the time that is given, or a second if that is less; the
    /// journal's writer within a minute, since a restart mends no disk.
    pub(crate) fn pulse(&self) -> impl Fn(Duration) -> bool + use<> {
        let (counters, journal) = (self.counters.clone(), self.journal.clone());
        move |within| counters.longest_silence() < within.max(SECOND) && journal.busy_for() < WRITING
    }

    /// Where it listens: the configured address, with the port that the system chose if that was 0.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Where metrics and health are, if `[observe] listen` says so.
    #[must_use]
    pub fn observe_addr(&self) -> Option<SocketAddr> {
        self.observer.as_ref().map(Observer::local_addr)
    }

    /// Where it can be asked and steered, if `[admin] listen` says so.
    #[must_use]
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(Admin::local_addr)
    }

    /// Those that decide.
    pub(crate) fn deciders(&self) -> Deciders {
        self.running.deciders()
    }

    /// How each handler and sink fares.
    #[must_use]
    pub fn status(&self) -> Vec<ConsumerStatus> {
        self.pipeline.status()
    }

    /// Answers for `[intake] linger` more, each answer the last of its connection. Then stops accepting, finishes what is in
    /// flight, commits, and closes the journal, within `[intake] drain`. True if
    /// every request was answered. What handlers and sinks did not finish is in the journal and goes on at the next start.
    pub async fn drain(self) -> bool {
        self.observer.iter().for_each(Observer::drain);
        let linger = self.running.linger();
        if !linger.is_zero() {
            self.running.begin_linger();
            tokio::time::sleep(linger).await;
        }
        let drain = self.running.drain_within();
        let until = Instant::now() + drain;
        let Some(intake) = self.running.stop() else { return false };
        // The intake leaves some of the time to those behind it.
        let report = intake.drain(drain.saturating_sub(LAST_COMMIT).max(drain / 2)).await;
        if report.n_cut > 0 {
            warn!(connections = report.n_cut, "cut connections whose requests were not finished in time");
        }
        let left = until.saturating_duration_since(Instant::now());
        // Verdicts that come late are worth less than what handlers and sinks have under way.
        self.running.deciders().drain(left.saturating_sub(LAST_COMMIT) / 2).await;
        let left = until.saturating_duration_since(Instant::now());
        self.pipeline.drain(left.saturating_sub(LAST_COMMIT)).await;
        let (journal, control, admin, observer) = (self.journal, self.control, self.admin, self.observer);
        // Closing waits for the last commit, which is a matter of the disk. Until then it can be asked how it is.
        let closed = tokio::task::spawn_blocking(move || {
            drop((control, admin, observer));
            journal.close();
        });
        let closed = closed.await;
        for (outcome, count) in self.counters.snapshot().into_iter().filter(|(_, count)| *count > 0) {
            info!(outcome, count, "callbacks since the start");
        }
        let longest = self.counters.longest_decision();
        if !longest.is_zero() {
            let longest_decision_us = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX);
            info!(longest_decision_us, "how long the slowest answer to a callback that wants a decision took");
        }
        info!("stopped");
        report.n_cut == 0 && closed.is_ok()
    }
}

/// Why a dispatcher does not start: the setting that does not work, and what to do.
#[derive(Debug)]
pub struct StartError(Finding);

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl std::error::Error for StartError {}

/// A socket on the address that `key` names.
fn listen(config: &Config, key: &str, address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).map_err(|err| {
        let remedy = match err.kind() {
            io::ErrorKind::PermissionDenied => {
                "choose a port from 1024 on, or give the program the capability CAP_NET_BIND_SERVICE"
            }
            io::ErrorKind::AddrNotAvailable => "choose an address that this machine has",
            _ => "stop the other program or choose another port",
        };
        let what = format!("cannot listen on {address}: {err}; {remedy}");
        StartError(config.finding(key, what))
    })
}

/// What came from the apps that are configured, by name.
fn apps_of(counters: &Counters) -> Vec<AppView> {
    let now = Timestamp::now();
    let configured = counters.apps().into_iter().filter(|app| app.is_configured);
    configured
        .map(|app| AppView {
            sdk_app_id: app.app.sdk_app_id(),
            name: app.app.name().to_owned(),
            callbacks: app.commands.iter().map(|command| command.count).sum(),
            last: app.last.map(Into::into),
            secs_since_last: app.last.map(|last| now.since(last).as_secs()),
        })
        .collect()
}

/// The dispatcher that those who ask know of does not live for their sake.
struct Weak(std::sync::Weak<Running>);

impl Steering for Weak {
    fn reload(&self) -> Result<Reloaded, NotReloaded> {
        match self.0.upgrade() {
            Some(running) => Steering::reload(&*running),
            None => Err(NotReloaded::Failed("the dispatcher is stopping".to_owned())),
        }
    }

    fn set_log_level(&self, level: &str) -> Result<(), String> {
        self.0.upgrade().map_or(Err("the dispatcher is stopping".to_owned()), |running| running.set_log_level(level))
    }
}

/// What is switched off gets its place in the journal all the same: switched on later, it goes on from here.
pub(crate) fn keep_places(config: &Config, journal: &Journal) -> Result<(), JournalError> {
    for handler in config.handlers.iter().filter(|handler| !handler.enabled && handler.plugin.role.handles()) {
        journal.reserve(&format!("handler:{}", handler.name), Stream::Callbacks, start(handler.run.start))?;
    }
    for sink in config.sinks.iter().filter(|sink| !sink.enabled) {
        journal.reserve(&format!("sink:{}", sink.name), Stream::Events, start(sink.run.start))?;
    }
    Ok(())
}

/// A handler or sink that is no longer configured, or is switched off, keeps its place; a person should know.
fn name_the_unconfigured(config: &Config, journal: &Journal) {
    let handlers = config.handlers.iter().filter(|handler| handler.plugin.role.handles());
    let handlers = handlers.map(|handler| (format!("handler:{}", handler.name), handler.enabled));
    let sinks = config.sinks.iter().map(|sink| (format!("sink:{}", sink.name), sink.enabled));
    let configured: BTreeMap<String, bool> = handlers.chain(sinks).collect();
    let Ok(mut reader) = journal.reader() else { return };
    let (Ok(known), Ok(dead)) = (reader.consumers(), reader.dead_counts()) else { return };
    for consumer in known.iter().filter(|consumer| !consumer.name.starts_with("replay:")) {
        let what = match configured.get(&consumer.name) {
            Some(true) => continue,
            Some(false) => "is switched off; what is for it waits",
            None => {
                "is in the journal and not in the configuration; what is for it waits, until `dispatcher consumers rename` \
                 gives it a new name – before the first start with that name – or `dispatcher consumers drop` ends it"
            }
        };
        let backlog = reader.end(consumer.stream).saturating_sub(consumer.checkpoint);
        let dead_letters = dead.get(&consumer.name).copied().unwrap_or(0);
        warn!(consumer = consumer.name, backlog, dead_letters, "{what}");
    }
}
