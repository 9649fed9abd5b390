//! From the command line to an exit code.

use std::{io::Write as _, path::Path, pin::pin, process::ExitCode, time::Duration};

use clap::{CommandFactory as _, Parser as _};
use dispatcher_config::Config;
use dispatcher_control::Cause;
use dispatcher_core::{Registry, RegistryError};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info, warn};

use crate::{
    Dispatcher, Plugins, bundled,
    cli::{Asked, Cli, ConfigFile, Verb},
    command::{
        access::{self, Place},
        remote::Remote,
    },
    listing, logging, man, owner, panics,
    reload::{self, Source},
    screen, send,
    service::Service,
    spans,
};

/// The configuration is wrong: `EX_CONFIG` of `sysexits.h`.
pub(crate) const EX_CONFIG: u8 = 78;

/// How long a stop goes on exporting spans after all else has ended.
const LAST_SPANS: Duration = Duration::from_secs(2);

/// Runs a dispatcher program with the bundled plugins and `plugins`: reads the command line, does what it says, and gives
/// the exit code for `main` to return. Blocks until the program is to end; called once.
///
/// Exit codes: 0 done; 1 failed; 2 wrong usage; 78 the configuration is wrong.
#[must_use]
pub fn run(plugins: Plugins) -> ExitCode {
    let cli = Cli::parse();
    let registry = match registry(plugins) {
        Ok(registry) => registry,
        Err(errors) => {
            for err in errors {
                complain(&err);
            }
            return ExitCode::FAILURE;
        }
    };
    match cli.verb {
        None => serve(&cli.config.config, &registry),
        Some(Verb::Run(config)) => serve(&config.config, &registry),
        Some(Verb::Check(config)) => check(&config.config, &registry),
        Some(Verb::Config(args)) => args.run(&registry),
        Some(Verb::Test(args)) => args.run(&registry),
        Some(Verb::Plugins(args)) if args.json => print(&format!("{:#}\n", listing::plugins_json(&registry))),
        Some(Verb::Plugins(_)) => print(&listing::plugins(&registry)),
        Some(Verb::Commands(args)) if args.json => print(&format!("{:#}\n", listing::commands_json())),
        Some(Verb::Commands(_)) => print(&listing::commands()),
        Some(Verb::Schema(args)) if args.markdown => print(&dispatcher_config::reference(&registry)),
        Some(Verb::Schema(_)) => print(&format!("{:#}\n", dispatcher_config::schema(&registry))),
        Some(Verb::Completions(args)) => {
            let mut script = Vec::new();
            clap_complete::generate(args.shell, &mut Cli::command(), program_name(), &mut script);
            print(&String::from_utf8_lossy(&script))
        }
        Some(Verb::Man(args)) => manual(args.out.as_deref()),
        Some(Verb::Decode(args)) => args.run(),
        Some(Verb::Send(args)) => match send::send(&args, &registry) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(message) => {
                complain(&message);
                ExitCode::FAILURE
            }
        },
        Some(Verb::Status(args)) => ask(args.asked(), &registry, |place| args.run(place)),
        Some(Verb::Callbacks(args)) => ask(args.asked(), &registry, |place| args.run(place)),
        Some(Verb::Events(args)) => ask(args.asked(), &registry, |place| args.run(place)),
        Some(Verb::Show(args)) => ask(args.asked(), &registry, |place| args.run(place)),
        Some(Verb::DeadLetters(args)) => ask(args.asked(), &registry, |place| args.run(place)),
        Some(Verb::Replay(args)) => ask(args.asked(), &registry, |place| args.run(place)),
        Some(Verb::Handlers(args)) => ask(args.asked(), &registry, |place| args.run(place)),
        Some(Verb::Backtest(args)) => match configured(&args.asked().config, &registry) {
            Ok(config) => ask(args.asked(), &registry, |place| args.run(&config, place)),
            Err(code) => code,
        },
        Some(Verb::Sinks(args)) => ask(args.asked(), &registry, |place| args.run(place)),
        Some(Verb::Consumers(args)) => ask(args.asked(), &registry, |place| args.run(place)),
        Some(Verb::Reload(args)) => ask(args.asked(), &registry, |place| args.run(place)),
        Some(Verb::LogLevel(args)) => ask(args.asked(), &registry, |place| args.run(place)),
        Some(Verb::Journal(args)) => ask(args.asked(), &registry, |place| args.run(place)),
    }
}

/// Prints the page of the program, or writes all pages into a folder.
fn manual(folder: Option<&Path>) -> ExitCode {
    let pages = man::pages(Cli::command(), &program_name()).map_err(|err| err.to_string());
    let written = pages.and_then(|pages| match folder {
        Some(folder) => man::write_to(folder, &pages).map(|()| ExitCode::SUCCESS),
        None => Ok(pages.first().map_or(ExitCode::FAILURE, |page| print(&page.text))),
    });
    written.unwrap_or_else(|message| {
        complain(&message);
        ExitCode::FAILURE
    })
}

/// What this program is called: one with plugins of its own has a name of its own.
fn program_name() -> String {
    let name = std::env::args_os().next().map(std::path::PathBuf::from);
    let name = name.as_deref().and_then(Path::file_name).and_then(|name| name.to_str());
    name.unwrap_or("dispatcher").to_owned()
}

/// Asks the dispatcher elsewhere, or the one that has the journal open, whatever its configuration says by now, or the
/// journal.
fn ask(asked: &Asked, registry: &Registry, run: impl FnOnce(Place) -> Result<ExitCode, String>) -> ExitCode {
    let remote = if asked.journal.is_some() { Ok(None) } else { Remote::wanted(asked) };
    let asked = match remote {
        Ok(Some(remote)) => run(Place::There(remote)),
        Ok(None) => match access::beside(asked) {
            Some(place) => run(place),
            None => match configured(&asked.config, registry) {
                Ok(mut config) => {
                    if let Some(journal) = &asked.journal {
                        config.journal.path.clone_from(journal);
                    }
                    run(Place::Here(Box::new(config)))
                }
                Err(code) => return code,
            },
        },
        Err(message) => Err(message),
    };
    asked.unwrap_or_else(|message| {
        complain(&message);
        ExitCode::FAILURE
    })
}

fn configured(file: &ConfigFile, registry: &Registry) -> Result<Config, ExitCode> {
    Config::load(&file.config, registry).map_err(|findings| {
        complain(&findings);
        ExitCode::from(EX_CONFIG)
    })
}

/// The registry of the bundled plugins and `plugins`, for reading a [`Config`] without a command line.
///
/// # Errors
/// When the plugins do not go together; see [`RegistryError`].
pub fn registry(plugins: Plugins) -> Result<Registry, Vec<RegistryError>> {
    Registry::collect(&bundled::bundled().and(plugins))
}

fn check(path: &Path, registry: &Registry) -> ExitCode {
    match load(path, registry) {
        Ok(config) if config.for_now().next().is_some() => {
            config.for_now().for_each(|finding| complain(finding));
            ExitCode::from(EX_CONFIG)
        }
        Ok(config) => {
            let (handlers, sinks) = (config.handlers.len(), config.sinks.len());
            print(&format!("{}: fine ({handlers} handlers, {sinks} sinks)\n", path.display()))
        }
        Err(code) => code,
    }
}

fn load(path: &Path, registry: &Registry) -> Result<Config, ExitCode> {
    match Config::load(path, registry) {
        Ok(config) => {
            for warning in &config.warnings {
                complain(&format!("warning: {warning}"));
            }
            Ok(config)
        }
        Err(findings) => {
            complain(&findings);
            Err(ExitCode::from(EX_CONFIG))
        }
    }
}

fn serve(path: &Path, registry: &Registry) -> ExitCode {
    let config = match load(path, registry) {
        Ok(config) => config,
        Err(code) => return code,
    };
    for finding in config.for_now() {
        complain(&format!("warning: {finding}; until then the sink is down, and what is for it waits"));
    }
    let spans = match spans::start(&config) {
        Ok(spans) => spans,
        Err(finding) => {
            complain(&finding);
            return ExitCode::FAILURE;
        }
    };
    logging::start(&config.log, spans);
    if let Some(owner) = owner::other_than_root(&config.journal.path) {
        warn!(journal = %config.journal.path.display(), owner, "root runs this on the journal of another user, who cannot write to the files that are made now; run it as that user");
    }
    panics::tell();
    dispatcher_intake::raise_file_limit();
    // Work is done on the threads of intake, journal, handlers and sinks; this one starts and stops them.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(err) => {
            error!(%err, "cannot start");
            return ExitCode::FAILURE;
        }
    };
    let mut last_spans = LAST_SPANS;
    let code = runtime.block_on(async {
        // Before anything is opened: a signal that comes early is not lost.
        let listening = Signals::new().and_then(|signals| Ok((signals, signal(SignalKind::hangup())?)));
        let (mut signals, mut hangups) = match listening {
            Ok(listening) => listening,
            Err(err) => {
                error!(%err, "cannot listen to signals");
                return ExitCode::FAILURE;
            }
        };
        let source = Source { path: path.to_owned(), registry: registry.clone() };
        let dispatcher = match Dispatcher::start_from(Some(source), config.clone()) {
            Ok(dispatcher) => dispatcher,
            Err(err) => {
                complain(&err);
                return ExitCode::FAILURE;
            }
        };
        let facts = screen::facts(&config, path, &dispatcher);
        match logging::format(&config.log) {
            logging::Format::Human => {
                let _ = print(&screen::text(&facts));
            }
            logging::Format::Json => screen::log(&facts),
        }
        let watching = tokio::spawn(reload::watch(dispatcher.running().clone()));
        let service = Service::new();
        service.ready(&format!("answering callbacks at {}", dispatcher.local_addr()));
        let mut alive = pin!(service.live(dispatcher.pulse()));
        let signal = loop {
            tokio::select! {
                signal = signals.next() => break signal,
                never = &mut alive => match never {},
                _ = hangups.recv() => {
                    let running = dispatcher.running().clone();
                    // Beside this, so that a stop does not wait for it; several take their turns.
                    tokio::spawn(async move { reload::reload_for(&running, Cause::Signal).await });
                }
            }
        };
        watching.abort();
        info!(signal, "stopping: finishing what is under way");
        service.stopping();
        let mut drain = Box::pin(dispatcher.drain());
        tokio::select! {
            never = &mut alive => match never {},
            is_clean = &mut drain => {
                if is_clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
            }
            signal = signals.next() => {
                warn!(signal, "stopped without waiting; what was acknowledged is in the journal");
                // To drop what it holds is to wait for threads, of which one may wait for a disk that hangs.
                std::mem::forget(drain);
                last_spans = Duration::ZERO;
                ExitCode::FAILURE
            }
        }
    });
    spans::close(last_spans);
    // Whoever still reads a file of a disk that hangs keeps nobody from ending.
    runtime.shutdown_background();
    code
}

/// SIGINT and SIGTERM.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        let (interrupt, terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        Ok(Signals { interrupt, terminate })
    }

    /// The name of the next one.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}

/// Prints for people and pipes; a reader that has gone, such as `head`, is no failure.
fn print(text: &str) -> ExitCode {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    ExitCode::SUCCESS
}

fn complain(what: &dyn std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "{what}");
}
