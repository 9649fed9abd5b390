//! `dispatcher backtest`: what a handler would have decided about callbacks that are in the journal.
//!
//! The handler runs in this process, as the configuration has it, and nobody gets its answers; the journal is read, through
//! the dispatcher that runs or by itself, and nothing is written.

mod report;

use std::{process::ExitCode, sync::Arc, thread};

use clap::Args;
use dispatcher_config::{Config, HandlerInstance};
use dispatcher_control::{Answer, CallbackView, Progress, Request, Search};
use dispatcher_core::{App, Callback, CallbackId, CallbackParts, Command, CommandPattern, Purpose};
use dispatcher_decider::{DeciderInstance, Deciders, Emit, State, TriedOut};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    task::JoinSet,
};

use super::{
    access::{self, Needs, Place},
    args::FilterArgs,
    progress::Meter,
    screen::{Screen, note},
    text,
};
use crate::{cli::Asked, wiring};
use report::Report;

/// How many are asked at once, if the handler takes so many.
const AT_ONCE: usize = 16;

/// The handler is opened as the configuration has it, switched on or not, in a process of its own, and asked about callbacks
/// that were answered already. Nobody gets what it says, and nothing is written.
#[derive(Debug, Args)]
pub(crate) struct Backtest {
    /// The handler: one that decides
    #[arg(long, value_name = "NAME")]
    handler: String,
    #[command(flatten)]
    which: FilterArgs,
    /// How many, the newest of them; 0 for all
    #[arg(long, value_name = "N", default_value_t = 0)]
    limit: u64,
    /// How many examples of what differs are shown, the newest
    #[arg(long, value_name = "N", default_value_t = 10)]
    examples: usize,
    /// Show the bodies and replies of examples: what people write to each other
    #[arg(long)]
    contents: bool,
    /// Write JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    asked: Asked,
}

/// What the journal says.
enum Read {
    /// How many callbacks there will be.
    Total(u64),
    Callback(Box<CallbackView>),
    /// What a person should know.
    Note(String),
    /// There are more than were asked for.
    More,
    Failed(String),
}

impl Backtest {
    pub(crate) fn asked(&self) -> &Asked {
        &self.asked
    }

    /// The handler is that of `config`; the callbacks are from `place`.
    pub(crate) fn run(&self, config: &Config, place: Place) -> Result<ExitCode, String> {
        let handler = self.handler(config)?;
        let Some(decider) = wiring::decider(config, handler) else {
            return Err(format!(
                "the handler {} does not decide; `dispatcher handlers list` says which do",
                self.handler
            ));
        };
        let request = Request::Callbacks(self.search(handler)?);
        let at_once = AT_ONCE.min(decider.options.max_in_flight);
        let deciders = open(decider, config)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|err| format!("cannot ask the handler: {err}"))?;
        let report = runtime.block_on(self.ask(&deciders, at_once, place, request))?;
        let mut screen = Screen::new(false);
        if self.json {
            screen.line(&text::json(&report.json()));
        } else {
            report.lines().iter().for_each(|line| screen.line(line));
        }
        Ok(if report.is_interrupted { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    fn handler<'a>(&self, config: &'a Config) -> Result<&'a HandlerInstance, String> {
        config.handlers.iter().find(|handler| handler.name == self.handler).ok_or_else(|| {
            let names = config.handlers.iter().filter(|handler| handler.decide.is_some());
            let names: Vec<&str> = names.map(|handler| handler.name.as_str()).collect();
            let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            format!(
                "no handler {:?} in {}; those that decide: {names}",
                self.handler,
                self.asked.config.config.display()
            )
        })
    }

    /// The callbacks that the handler is asked about.
    fn search(&self, handler: &HandlerInstance) -> Result<Search, String> {
        let FilterArgs { since, until, app, command, key } = self.which.clone();
        let pattern = command.as_deref().map(CommandPattern::new).transpose().map_err(|err| err.to_string())?;
        let selects = |info: &&tencent_chat::CommandInfo| {
            info.wants_decision()
                && handler.route.selects_command(&Command::new(info.name))
                && pattern.as_ref().is_none_or(|pattern| pattern.selects(info.name))
        };
        let commands: Vec<String> =
            tencent_chat::commands().iter().filter(selects).map(|info| info.name.into()).collect();
        if commands.is_empty() {
            return Err(format!("the handler {} decides about no such command", self.handler));
        }
        let apps = handler.route.apps.clone().unwrap_or_default();
        let limit = self.limit;
        let (decisions, contents) = (true, true);
        Ok(Search { since, until, app, apps, commands, key, limit, decisions, contents, ..Search::default() })
    }

    /// Asks about everything, until that is done or someone interrupts it.
    async fn ask(&self, deciders: &Deciders, at_once: usize, place: Place, request: Request) -> Result<Report, String> {
        let mut interrupts =
            signal(SignalKind::interrupt()).map_err(|err| format!("cannot listen to signals: {err}"))?;
        let (send, mut reads) = mpsc::channel(at_once);
        let reader = thread::Builder::new().name("reader".to_owned());
        let reader = reader.spawn(move || read(place, &request, &send));
        let reader = reader.map_err(|err| format!("cannot read the journal: {err}"))?;
        let mut report = Report::new(&self.handler, self.examples, self.contents);
        let (mut meter, mut total) = (Meter::new(true), 0);
        let progress = |done, total| Progress { what: format!("asking {}", self.handler), done, total };
        let (mut tries, mut is_read) = (JoinSet::new(), false);
        while !is_read || !tries.is_empty() {
            tokio::select! {
                _ = interrupts.recv() => {
                    report.is_interrupted = true;
                    break;
                }
                Some(tried) = tries.join_next(), if !tries.is_empty() => {
                    // A plugin that panics does so in its cell.
                    if let Ok((callback, Some(tried))) = tried {
                        report.add(callback, &tried);
                        meter.show(&progress(report.n_asked(), total));
                    }
                }
                read = reads.recv(), if !is_read && tries.len() < at_once => match read {
                    None => is_read = true,
                    Some(Read::Total(n)) => {
                        total = n;
                        meter.show(&progress(0, total));
                    }
                    Some(Read::Callback(view)) => {
                        tries.spawn(try_out(deciders.clone(), self.handler.clone(), view));
                    }
                    Some(Read::Note(what)) => {
                        meter.hide();
                        note(&what);
                    }
                    Some(Read::More) => report.is_part = true,
                    Some(Read::Failed(why)) => return Err(why),
                },
            }
        }
        meter.hide();
        // Whoever still reads notices that nobody wants more.
        drop(reads);
        match reader.join() {
            Ok(Err(why)) => Err(why),
            _ => Ok(report),
        }
    }
}

/// Opens one handler, alone.
fn open(mut decider: DeciderInstance, config: &Config) -> Result<Deciders, String> {
    decider.options.shadow = false;
    decider.options.emit = Emit::default();
    decider.options.sinks = "".into();
    let name = decider.name.clone();
    let cannot = |why: &str| format!("cannot open the handler {name}: {why}");
    let within = config.intake.answer_within.get();
    let deciders = Deciders::start(vec![decider], &[], within).map_err(|err| cannot(&err.to_string()))?;
    match deciders.status().into_iter().next().map(|status| status.state) {
        Some(State::Up) => Ok(deciders),
        Some(State::Down(why) | State::Off(why)) => Err(cannot(&why)),
        _ => Err(cannot("it takes too long")),
    }
}

/// Reads the journal, for as long as somebody wants what is read.
fn read(place: Place, request: &Request, send: &mpsc::Sender<Read>) -> Result<(), String> {
    let outcome = access::ask_with(place, request, Needs::Journal, &mut |answer| {
        let read = match answer {
            Answer::Callback(view) => Read::Callback(Box::new(view.clone())),
            Answer::Damaged(damaged) => {
                Read::Note(format!("{}/{} {}", damaged.stream, damaged.seq, text::clean(&damaged.damaged)))
            }
            Answer::Progress(progress) if progress.what == "reading" => Read::Total(progress.total),
            Answer::Done(done) if done.more => Read::More,
            Answer::Done(done) => match &done.note {
                Some(what) => Read::Note(what.clone()),
                None => return true,
            },
            Answer::Failed(why) => Read::Failed(text::clean(why)),
            _ => return !send.is_closed(),
        };
        send.blocking_send(read).is_ok()
    });
    outcome.map(|_| ())
}

async fn try_out(
    deciders: Deciders,
    handler: String,
    view: Box<CallbackView>,
) -> (Box<CallbackView>, Option<TriedOut>) {
    let tried = match callback(&view) {
        Some(callback) => deciders.try_out(&handler, &Arc::new(callback), Purpose::Backtest).await,
        None => None,
    };
    (view, tried)
}

/// The callback as it came; `None` if the answer lacks what makes one.
fn callback(view: &CallbackView) -> Option<Callback> {
    let id = u128::from_str_radix(&view.id.replace('-', ""), 16).ok()?;
    Some(Callback::new(CallbackParts {
        id: CallbackId::from_bytes(id.to_be_bytes()),
        app: App::new(view.sdk_app_id, &view.app),
        command: Command::new(&view.command),
        query: view.query.as_deref()?.into(),
        body: view.body.as_ref()?.get().to_owned().into(),
        received_at: view.received_at.0,
        event_time: view.event_time.map(|time| time.0),
        key: view.key.as_deref().map(Into::into),
        identity: view.identity.as_deref().and_then(|identity| u128::from_str_radix(identity, 16).ok()),
    }))
}
