//! A configuration that is read again while the dispatcher runs: checked whole, then applied, or not at all.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use dispatcher_config::{Config, Finding, Findings, SinkInstance, contents_of};
use dispatcher_control::{Admission, Audit, Cause, Live, NotReloaded, Operations, Reloaded, Steering};
use dispatcher_core::{Registry, TimeSpan, Timestamp};
use dispatcher_decider::Deciders;
use dispatcher_intake::Intake;
use dispatcher_journal::Journal;
use dispatcher_observe::Reloads;
use dispatcher_pipeline::{Applied, PipelineHandle};
use tokio::time::sleep;
use tracing::{error, info, warn};

use crate::{
    admin,
    dispatcher::keep_places,
    logging,
    setup::setup,
    wiring::{apps, deciders, default_decisions, handlers, intake_options, rules, sinks},
};

/// Where a configuration comes from.
#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) registry: Registry,
}

/// What a reload changes, and what it needs for that. Shared by the dispatcher and those who ask for one.
pub(crate) struct Running {
    /// Where it came from; `None` where a program around it made it up.
    source: Option<Source>,
    /// `None` once it is stopping.
    intake: Mutex<Option<Intake>>,
    pipeline: PipelineHandle,
    journal: Journal,
    /// What it was started with: what only a restart can change is as it says.
    started: Config,
    /// What counts now. Held for moments.
    now: Mutex<Now>,
    /// Held while a configuration is read and applied, so that the one that was read last is the one that counts.
    turn: Mutex<()>,
    /// What is told to those who ask, once there is somebody who answers them.
    control: Mutex<Option<Control>>,
    /// What stood in the files when they were last read.
    seen: AtomicU64,
    /// Why what was last read does not count, if it does not.
    trouble: Mutex<Option<String>>,
    counts: Arc<Counts>,
}

/// What came of reloads.
pub(crate) struct Counts {
    applied: AtomicU64,
    invalid: AtomicU64,
    failed: AtomicU64,
    last: AtomicI64, // In milliseconds of the epoch.
}

/// What those who ask are answered by.
#[derive(Clone)]
pub(crate) struct Control {
    pub(crate) operations: Operations,
    pub(crate) live: Live,
    pub(crate) audit: Audit,
    pub(crate) admission: Admission,
}

/// What counts now.
#[derive(Clone)]
struct Now {
    config: Config,
    deciders: Deciders,
}

/// Why a configuration was not applied; everything is as it was.
#[derive(Debug)]
pub enum ReloadError {
    /// It is wrong.
    Invalid(Findings),
    /// It could not be applied, or there is none to be read.
    Failed(String),
}

impl Running {
    pub(crate) fn new(
        source: Option<Source>,
        config: Config,
        intake: Intake,
        pipeline: PipelineHandle,
        journal: Journal,
        deciders: Deciders,
    ) -> Running {
        let seen = source.as_ref().map_or(0, |source| look(&source.path, &config.files));
        Running {
            source,
            intake: Mutex::new(Some(intake)),
            pipeline,
            journal,
            started: config.clone(),
            now: Mutex::new(Now { config, deciders }),
            turn: Mutex::default(),
            control: Mutex::default(),
            seen: AtomicU64::new(seen),
            trouble: Mutex::default(),
            counts: Arc::new(Counts::new()),
        }
    }

    /// Has these told what changes.
    pub(crate) fn tell(&self, control: Control) {
        *lock(&self.control) = Some(control);
    }

    pub(crate) fn deciders(&self) -> Deciders {
        lock(&self.now).deciders.clone()
    }

    pub(crate) fn drain_within(&self) -> Duration {
        lock(&self.now).config.intake.drain.get()
    }

    /// What does not work with `key` of the present configuration.
    pub(crate) fn finding(&self, key: &str, message: impl Into<String>) -> Finding {
        lock(&self.now).config.finding(key, message)
    }

    /// How long it goes on answering before it stops.
    pub(crate) fn linger(&self) -> Duration {
        lock(&self.now).config.intake.linger.get()
    }

    /// From now on each answer is the last of its connection.
    pub(crate) fn begin_linger(&self) {
        if let Some(intake) = &*lock(&self.intake) {
            intake.linger();
        }
    }

    /// Takes the intake out: from now on it is stopping, and nothing is reloaded.
    pub(crate) fn stop(&self) -> Option<Intake> {
        lock(&self.intake).take()
    }

    /// What came of reloads, to be read when someone asks.
    pub(crate) fn reloads(&self) -> Arc<Counts> {
        self.counts.clone()
    }

    /// Goes by this configuration from now on, and counts whether it does. Blocks until those who are new are open, or have
    /// failed to, and until what is under way with those who change has ended, for some seconds at most.
    pub(crate) fn apply(&self, config: Config) -> Result<Reloaded, ReloadError> {
        let turn = lock(&self.turn);
        let changed = self.change_to(config);
        drop(turn);
        self.note(changed.as_ref().map(drop));
        let outcome = changed.map(Changed::settle);
        self.record(Cause::Program, &outcome);
        outcome
    }

    /// Reads the file again, and goes by it. Blocks like [`apply`](Running::apply).
    pub(crate) fn reload(&self) -> Result<Reloaded, ReloadError> {
        let changed = self.read_and_change();
        self.note(changed.as_ref().map(drop));
        Ok(changed?.settle())
    }

    fn read_and_change(&self) -> Result<Changed, ReloadError> {
        let _turn = lock(&self.turn);
        self.change_to(self.read()?)
    }

    /// Whoever calls this has the turn.
    fn change_to(&self, config: Config) -> Result<Changed, ReloadError> {
        let before = lock(&self.now).clone();
        let (mut config, started) = (config, &self.started);
        let mut reloaded = Reloaded {
            configuration_before: before.config.sha256.clone(),
            configuration: config.sha256.clone(),
            settings: config.changed_since(&before.config),
            needs_restart: needs_restart(started, &config),
            warnings: config.warnings.iter().chain(config.for_now()).map(ToString::to_string).collect(),
            ..Reloaded::default()
        };
        reloaded.settings.retain(|key| !reloaded.needs_restart.contains(key));
        let has_level = reloaded.settings.iter().any(|key| key == "log.level");
        // What needs a restart stays as it was started, for all who ask as well.
        config.journal = started.journal.clone();
        config.intake.listen = started.intake.listen;
        if config.admin.listen != started.admin.listen {
            // What is right for another address may be plain HTTP, and wrong for the one that is still listened on.
            config.admin.listen = started.admin.listen;
            config.admin_tls = before.config.admin_tls.clone();
        }
        config.check_signatures().map_err(ReloadError::Invalid)?;
        check_new_sinks(&before.config, &config).map_err(ReloadError::Invalid)?;
        let within = config.intake.answer_within.get();
        let failed = |what: &str, err: &dyn fmt::Display| ReloadError::Failed(format!("{what}: {err}"));
        let stopping = || ReloadError::Failed("the dispatcher is stopping".to_owned());
        if lock(&self.intake).is_none() {
            return Err(stopping());
        }
        let (successor, succession) = before
            .deciders
            .succeed(deciders(&config), &default_decisions(&config), within)
            .map_err(|err| failed("the deciders", &err))?;
        let change = || {
            let prepared = lock(&self.intake)
                .as_ref()
                .ok_or_else(stopping)?
                .prepare(intake_options(&config), apps(&config), rules(&config), successor.clone())
                .map_err(|err| failed("the intake", &err))?;
            keep_places(&config, &self.journal).map_err(|err| failed("the journal", &err))?;
            let shadows = self.journal.shadows().map_err(|err| failed("the journal", &err))?;
            let applied = self
                .pipeline
                .apply(handlers(&config), sinks(&config))
                .map_err(|err| failed("handlers and sinks", &err))?;
            // From here on nothing fails but what is stopping. Who is a shadow is one before it is asked.
            let control = lock(&self.control).clone();
            let replaced = control.map(|control| {
                control.audit.replace(config.audit_path());
                control.admission.replace(admin::options(&config));
                let live = Live { deciders: successor.clone(), ..control.live };
                control.operations.replace(setup(&config, Some(live)))
            });
            if !matches!(replaced, Some(Ok(()))) {
                successor.cast_shadows(&shadows);
            }
            // The last, so that whatever it lets in is handled and delivered.
            lock(&self.intake).as_ref().ok_or_else(stopping)?.go_by(prepared);
            Ok(applied)
        };
        let applied = change().inspect_err(|_| successor.retire(&before.deciders))?;
        before.deciders.retire(&successor);
        if has_level {
            // Only in a program whose log is another's does this fail.
            let _ = logging::set_level(config.log.level);
        }
        *lock(&self.now) = Now { config, deciders: successor };
        reloaded.added = union(&applied.added, &succession.added);
        reloaded.changed = union(&applied.changed, &succession.changed);
        reloaded.removed = union(&applied.removed, &succession.removed);
        reloaded.resumed = applied.resumed.clone();
        Ok(Changed { reloaded, applied })
    }

    fn read(&self) -> Result<Config, ReloadError> {
        let Some(source) = &self.source else {
            return Err(ReloadError::Failed(
                "this dispatcher was not started from a file that could be read again".into(),
            ));
        };
        if fs::metadata(&source.path).is_ok_and(|metadata| !metadata.is_file()) {
            // A pipe, say, which is empty by now, and whoever reads it waits for ever.
            return Err(ReloadError::Failed(format!("{}: is no file that could be read again", source.path.display())));
        }
        let files = lock(&self.now).config.files.clone();
        let before = look(&source.path, &files);
        let loaded = Config::load(&source.path, &source.registry);
        let now_seen = match &loaded {
            // What changed while it was read is news to the next look.
            Ok(config) if look(&source.path, &files) == before => look(&source.path, &config.files),
            _ => before,
        };
        self.seen.store(now_seen, Relaxed);
        loaded.map_err(ReloadError::Invalid)
    }

    /// Counts what came of it, and remembers why it does not count.
    fn note(&self, outcome: Result<(), &ReloadError>) {
        *lock(&self.trouble) = outcome.err().map(ToString::to_string);
        self.counts.count(outcome);
    }

    /// The same for nobody in particular: what comes of it is in the log, and on record.
    pub(crate) fn reload_for(&self, cause: Cause) {
        let outcome = self.reload();
        self.record(cause, &outcome);
        match outcome {
            Ok(reloaded) if reloaded.is_nothing() => {
                info!(%cause, "the configuration was read again: nothing has changed")
            }
            Ok(_) => {}
            Err(err) => error!(%cause, "the configuration was not reloaded, and everything goes on as it was: {err}"),
        }
    }

    /// Writes down what came of what nobody asked for.
    fn record(&self, cause: Cause, outcome: &Result<Reloaded, ReloadError>) {
        let Some(control) = lock(&self.control).clone() else { return };
        let configuration = lock(&self.now).config.sha256.clone();
        let outcome = outcome.as_ref().map_err(NotReloaded::from);
        control.audit.reload(cause, &configuration, outcome.as_ref().copied());
    }

    /// Whether what was last read does not count.
    fn has_trouble(&self) -> bool {
        self.source.is_some() && lock(&self.trouble).is_some()
    }

    /// Tries again what failed, in case the cause is gone. Neither counted nor told while it is the same.
    fn retry(&self) {
        let changed = self.read_and_change();
        let trouble = changed.as_ref().err().map(ToString::to_string);
        if trouble.is_some() && *lock(&self.trouble) == trouble {
            return;
        }
        self.note(changed.as_ref().map(drop));
        let outcome = changed.map(Changed::settle);
        self.record(Cause::Watch, &outcome);
        match outcome {
            Ok(_) => info!("what kept the configuration from being reloaded is gone: it counts now"),
            Err(err) => error!("the configuration is still not reloaded, for another reason: {err}"),
        }
    }

    /// How often it is to be looked whether the files say something else, and whether they do.
    pub(crate) fn watch(&self) -> Option<Duration> {
        lock(&self.now).config.reload.watch.get().map(TimeSpan::get)
    }

    /// What stands in the files now, if it is not what was last read. Blocks on the disk.
    pub(crate) fn news(&self) -> Option<u64> {
        let source = self.source.as_ref()?;
        // Nobody waits for the disk to learn what counts.
        let files = lock(&self.now).config.files.clone();
        let now = look(&source.path, &files);
        (now != self.seen.load(Relaxed)).then_some(now)
    }
}

impl Counts {
    fn new() -> Counts {
        let [applied, invalid, failed] = [const { AtomicU64::new(0) }; 3];
        Counts { applied, invalid, failed, last: AtomicI64::new(Timestamp::now().as_millis()) }
    }

    fn count(&self, outcome: Result<(), &ReloadError>) {
        let count = match outcome {
            Ok(()) => {
                self.last.store(Timestamp::now().as_millis(), Relaxed);
                &self.applied
            }
            Err(ReloadError::Invalid(_)) => &self.invalid,
            Err(ReloadError::Failed(_)) => &self.failed,
        };
        count.fetch_add(1, Relaxed);
    }

    pub(crate) fn read(&self) -> Reloads {
        Reloads {
            applied: self.applied.load(Relaxed),
            invalid: self.invalid.load(Relaxed),
            failed: self.failed.load(Relaxed),
            last: Timestamp::from_millis(self.last.load(Relaxed)),
        }
    }
}

impl Steering for Running {
    fn reload(&self) -> Result<Reloaded, NotReloaded> {
        Running::reload(self).map_err(|err| NotReloaded::from(&err))
    }

    fn set_log_level(&self, level: &str) -> Result<(), String> {
        logging::set_level(logging::level(level)?)
    }
}

fn look(path: &Path, files: &[PathBuf]) -> u64 {
    contents_of(std::iter::once(path).chain(files.iter().map(PathBuf::as_path)))
}

/// Whether the sinks that are to be opened can be. One that stays as it is may be down: that keeps nobody from changing others.
fn check_new_sinks(before: &Config, config: &Config) -> Result<(), Findings> {
    let stays = |sink: &SinkInstance| {
        before.sinks.iter().any(|old| old.enabled && (&old.name, old.fingerprint) == (&sink.name, sink.fingerprint))
    };
    let news = config.sinks.iter().filter(|sink| sink.enabled && !stays(sink));
    let errors: Vec<_> = news.flat_map(|sink| sink.for_now.clone()).collect();
    if errors.is_empty() { Ok(()) } else { Err(Findings { errors, warnings: Vec::new() }) }
}

/// The keys that are others than at the start, and count only after the next.
fn needs_restart(started: &Config, config: &Config) -> Vec<String> {
    let of_start = |key: &String| {
        key.starts_with("journal.")
            || ["admin.listen", "intake.listen", "log.format", "observe.listen", "observe.otlp"].contains(&key.as_str())
    };
    let mut keys: Vec<String> = config.changed_since(started).into_iter().filter(of_start).collect();
    let threads = intake_options(started).needs_restart(&intake_options(config));
    keys.extend(threads.into_iter().map(|key| format!("intake.{key}")));
    let kept = |config: &Config| -> Vec<(String, Option<Duration>)> {
        config
            .commands
            .iter()
            .map(|rule| (rule.pattern.to_string(), rule.keep_for))
            .filter(|(_, kept)| kept.is_some())
            .collect()
    };
    if kept(started) != kept(config) {
        keys.push("commands.keep_for".to_owned());
    }
    keys
}

/// Both, each name once; handlers that decide by the names of their consumers.
fn union(consumers: &[String], deciders: &[String]) -> Vec<String> {
    let mut names = consumers.to_vec();
    for decider in deciders.iter().map(|name| format!("handler:{name}")) {
        if !names.contains(&decider) {
            names.push(decider);
        }
    }
    names
}

/// What was changed, and is not through with it yet.
struct Changed {
    reloaded: Reloaded,
    applied: Applied,
}

impl Changed {
    /// Waits until those who change have ended what they had under way, as long as one may, and says in the log what became
    /// of all.
    fn settle(self) -> Reloaded {
        const WAIT: Duration = Duration::from_secs(5);
        let Changed { mut reloaded, applied } = self;
        reloaded.finishing = !applied.settles(WAIT);
        tell(&reloaded);
        reloaded
    }
}

fn tell(reloaded: &Reloaded) {
    for warning in &reloaded.warnings {
        warn!("{warning}");
    }
    if reloaded.is_nothing() {
        return;
    }
    let Reloaded { added, changed, removed, resumed, settings, needs_restart, .. } = reloaded;
    info!(?added, ?changed, ?removed, ?resumed, ?settings, "the configuration was reloaded");
    if !needs_restart.is_empty() {
        warn!(?needs_restart, "these settings are others than those that count: they need a restart");
    }
    if reloaded.finishing {
        info!("some that changed or are gone still finish what is under way");
    }
}

// A std mutex: but for turns it is held for moments, and never across an await.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Display for ReloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReloadError::Invalid(findings) => findings.fmt(f),
            ReloadError::Failed(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for ReloadError {}

impl From<&ReloadError> for NotReloaded {
    fn from(err: &ReloadError) -> NotReloaded {
        match err {
            ReloadError::Invalid(findings) => {
                NotReloaded::Invalid(findings.errors.iter().map(ToString::to_string).collect())
            }
            ReloadError::Failed(why) => NotReloaded::Failed(why.clone()),
        }
    }
}

/// Reloads for `cause` on a thread that may block.
pub(crate) async fn reload_for(running: &Arc<Running>, cause: Cause) {
    blocking(running, move |running| running.reload_for(cause)).await;
}

/// Reloads when the files say something else, as the configuration has it, for as long as the process runs. What failed is
/// tried again from time to time: a file that was missing may come, and the machine may have threads again.
pub(crate) async fn watch(running: Arc<Running>) {
    /// How often it is looked whether the configuration has another word on it.
    const STEP: Duration = Duration::from_secs(1);
    /// Who writes a file takes a moment: what is read has to be the same for so long.
    const MOMENT: Duration = Duration::from_millis(500);
    /// The waits before what failed is tried again.
    const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
    let (mut looked, mut wait, mut tried) = (Instant::now(), BACKOFF.0, Instant::now());
    loop {
        let left = running.watch().map_or(STEP, |every| every.saturating_sub(looked.elapsed()));
        sleep(left.min(STEP)).await;
        let Some(every) = running.watch().filter(|every| looked.elapsed() >= *every) else { continue };
        let news = news(&running).await;
        looked = Instant::now();
        if news.is_some() {
            sleep(every.min(MOMENT)).await;
            // Half-written: the next look finds it.
            if self::news(&running).await == news {
                reload_for(&running, Cause::Watch).await;
                (wait, tried) = (BACKOFF.0, Instant::now());
            }
        } else if running.has_trouble() && tried.elapsed() >= wait {
            blocking(&running, Running::retry).await;
            (wait, tried) = ((wait * 2).min(BACKOFF.1), Instant::now());
        }
    }
}

async fn news(running: &Arc<Running>) -> Option<u64> {
    blocking(running, Running::news).await.flatten()
}

/// On a thread that may block; `None` if it panicked, and has said so.
async fn blocking<T: Send + 'static>(
    running: &Arc<Running>,
    work: impl FnOnce(&Running) -> T + Send + 'static,
) -> Option<T> {
    let running = running.clone();
    tokio::task::spawn_blocking(move || work(&running)).await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reloads_are_counted_by_what_came_of_them() {
        let counts = Counts::new();
        counts.last.store(0, Relaxed);
        let findings = Findings { errors: vec![], warnings: vec![] };
        let (invalid, failed) = (ReloadError::Invalid(findings), ReloadError::Failed(String::new()));
        for outcome in [Err(&invalid), Err(&failed), Err(&invalid)] {
            counts.count(outcome);
        }
        let expected = Reloads { applied: 0, invalid: 2, failed: 1, last: Timestamp::from_millis(0) };
        assert_eq!(counts.read(), expected, "only what was applied counts from then on");
        counts.count(Ok(()));
        assert!(counts.read().applied == 1 && counts.read().last != expected.last);
    }
}
