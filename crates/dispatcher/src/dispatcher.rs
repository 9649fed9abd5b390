//! The dispatcher as a whole: journal, handlers, sinks and intake, started in this order and stopped in the other.

use std::{fmt, net::SocketAddr, net::TcpListener, time::Duration};

use dispatcher_config::{Config, Finding, JournalRule, SignaturePolicy, Sync};
use dispatcher_core::App;
use dispatcher_intake::{Intake, IntakeApp, IntakeOptions, PathRule};
use dispatcher_journal::{Journal, JournalError, JournalOptions, Start, Stream};
use dispatcher_pipeline::{Backoff, ConsumerOptions, ConsumerStatus, HandlerInstance, Pipeline, SinkInstance};
use tokio::time::Instant;
use tracing::{info, warn};

/// What the pipeline takes beyond its limit for its last commit, and to close sinks.
const LAST_COMMIT: Duration = Duration::from_secs(2);

/// A running dispatcher. Stop it with [`drain`](Dispatcher::drain); dropped without, it stops as a crash would, and what
/// it had acknowledged is in the journal.
pub struct Dispatcher {
    intake: Intake,
    pipeline: Pipeline,
    journal: Journal,
    drain: Duration,
}

impl Dispatcher {
    /// Starts what `config` describes. When this returns, callbacks are answered. Blocks
    /// shortly while the journal is opened.
    ///
    /// # Errors
    /// When the address is taken, the journal cannot be opened, or the machine gives no threads. A sink or handler that
    /// cannot be opened is no error: it is down, and tried again.
    pub fn start(config: Config) -> Result<Dispatcher, StartError> {
        // The address first: when another dispatcher runs already, this says so before the journal is touched.
        let listen = config.intake.listen;
        let listener = TcpListener::bind(listen).map_err(|err| {
            let what = format!("cannot listen on {listen}: {err}; stop the other program or choose another port");
            StartError(config.finding("intake.listen", what))
        })?;
        let journal = Journal::open(journal_options(&config))
            .map_err(|err| StartError(config.finding("journal.path", err.to_string())))?;
        keep_places(&config, &journal).map_err(|err| StartError(config.finding("journal.path", err.to_string())))?;
        let pipeline = Pipeline::start(&journal, handlers(&config), sinks(&config))
            .map_err(|err| StartError(config.finding("", err.to_string())))?;
        name_the_unconfigured(&config, &journal);
        let intake = Intake::start(listener, intake_options(&config), apps(&config), rules(&config), &journal)
            .map_err(|err| StartError(config.finding("intake", err.to_string())))?;
        Ok(Dispatcher { intake, pipeline, journal, drain: config.intake.drain.get() })
    }

    /// Where it listens: the configured address, with the port that the system chose if that was 0.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.intake.local_addr()
    }

    /// How each handler and sink fares.
    #[must_use]
    pub fn status(&self) -> Vec<ConsumerStatus> {
        self.pipeline.status()
    }

    /// Stops accepting, finishes what is in flight, commits, and closes the journal, within `[intake] drain`. True if
    /// every request was answered. What handlers and sinks did not finish is in the journal and goes on at the next start.
    pub async fn drain(self) -> bool {
        let until = Instant::now() + self.drain;
        let counters = self.intake.counters();
        // The intake leaves some of the time to those behind it.
        let report = self.intake.drain(self.drain.saturating_sub(LAST_COMMIT).max(self.drain / 2)).await;
        if report.n_cut > 0 {
            warn!(connections = report.n_cut, "cut connections whose requests were not finished in time");
        }
        let left = until.saturating_duration_since(Instant::now());
        self.pipeline.drain(left.saturating_sub(LAST_COMMIT)).await;
        let journal = self.journal;
        // Closing waits for the last commit, which is a matter of the disk.
        let closed = tokio::task::spawn_blocking(move || journal.close()).await;
        for (outcome, count) in counters.snapshot().into_iter().filter(|(_, count)| *count > 0) {
            info!(outcome, count, "callbacks since the start");
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

/// What is switched off gets its place in the journal all the same: switched on later, it goes on from here.
fn keep_places(config: &Config, journal: &Journal) -> Result<(), JournalError> {
    for handler in config.handlers.iter().filter(|handler| !handler.enabled) {
        journal.register(&format!("handler:{}", handler.name), Stream::Callbacks, Start::End)?;
    }
    for sink in config.sinks.iter().filter(|sink| !sink.enabled) {
        journal.register(&format!("sink:{}", sink.name), Stream::Events, Start::End)?;
    }
    Ok(())
}

/// A handler or sink that is no longer configured, or is switched off, keeps its place; a person should know.
fn name_the_unconfigured(config: &Config, journal: &Journal) {
    let handlers =
        config.handlers.iter().filter(|handler| handler.enabled).map(|handler| format!("handler:{}", handler.name));
    let sinks = config.sinks.iter().filter(|sink| sink.enabled).map(|sink| format!("sink:{}", sink.name));
    let running: Vec<String> = handlers.chain(sinks).collect();
    let Ok(known) = journal.consumers() else { return };
    for consumer in known.iter().filter(|consumer| !running.contains(&consumer.name)) {
        warn!(
            consumer = consumer.name,
            checkpoint = consumer.checkpoint,
            "is in the journal but does not run; what is there for it waits"
        );
    }
}

fn journal_options(config: &Config) -> JournalOptions {
    let mut options = JournalOptions::new(&config.journal.path);
    options.sync = match config.journal.sync {
        Sync::Always => dispatcher_journal::Sync::Always,
        Sync::Off => dispatcher_journal::Sync::Off,
    };
    options.dedupe_window = config.journal.dedupe.window.get();
    options.dedupe_entries = config.journal.dedupe.entries;
    options
}

fn intake_options(config: &Config) -> IntakeOptions {
    let intake = &config.intake;
    let mut options = IntakeOptions {
        path: if intake.path == "*" { PathRule::Any } else { PathRule::Exact(intake.path.clone()) },
        answer_within: intake.answer_within.get(),
        body_limit: intake.body_limit.as_usize(),
        freshness: intake.freshness.get(),
        header_within: intake.header_within.get(),
        idle: intake.idle.get(),
        max_connections: intake.max_connections.get(),
        ..IntakeOptions::default()
    };
    if let Some(threads) = intake.threads {
        options.threads = threads.get();
    }
    options
}

fn apps(config: &Config) -> Vec<IntakeApp> {
    let app = |section: &dispatcher_config::AppSection| IntakeApp {
        app: App::new(section.sdk_app_id, &section.name),
        tokens: section.tokens.clone(),
        signature: match section.signature {
            SignaturePolicy::Required => dispatcher_intake::SignaturePolicy::Required,
            SignaturePolicy::Optional => dispatcher_intake::SignaturePolicy::Optional,
            SignaturePolicy::Off => dispatcher_intake::SignaturePolicy::Off,
        },
    };
    config.apps.iter().map(app).collect()
}

fn rules(config: &Config) -> Vec<dispatcher_intake::CommandRule> {
    let rule = |rule: &dispatcher_config::CommandRule| dispatcher_intake::CommandRule {
        commands: rule.pattern.clone(),
        journal: match rule.journal {
            JournalRule::Always => dispatcher_intake::JournalRule::Always,
            JournalRule::Never => dispatcher_intake::JournalRule::Never,
        },
    };
    config.commands.iter().map(rule).collect()
}

fn handlers(config: &Config) -> Vec<HandlerInstance> {
    let enabled = config.handlers.iter().filter(|handler| handler.enabled);
    enabled
        .map(|handler| HandlerInstance {
            name: handler.name.clone(),
            settings: handler.settings.clone(),
            route: handler.route.clone(),
            sinks: handler.sinks.clone(),
            threads: handler.run.threads,
            options: options(&handler.run),
        })
        .collect()
}

fn sinks(config: &Config) -> Vec<SinkInstance> {
    let enabled = config.sinks.iter().filter(|sink| sink.enabled);
    enabled
        .map(|sink| SinkInstance {
            name: sink.name.clone(),
            settings: sink.settings.clone(),
            threads: sink.run.threads,
            options: options(&sink.run),
        })
        .collect()
}

fn options(run: &dispatcher_config::RunSettings) -> ConsumerOptions {
    ConsumerOptions {
        lanes: run.lanes,
        batch: run.batch,
        attempts: Some(run.attempts),
        backoff: Backoff { first: run.backoff.first, max: run.backoff.max, factor: run.backoff.factor },
        timeout: run.timeout,
        ..ConsumerOptions::handler()
    }
}
