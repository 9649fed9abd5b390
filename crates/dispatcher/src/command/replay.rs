//! `dispatcher replay`: deliver or handle again.

use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
};

use clap::{Args, Subcommand};
use dispatcher_control::{Answer, ReplayView, Request};
use dispatcher_pipeline::{ReplayFilter, ReplaySpec};
use tokio::signal::unix::{SignalKind, signal};

use super::{
    access::{self, Needs, Place},
    args::{ConsumerArgs, FilterArgs, rate, usage},
    screen::{Screen, note},
    text,
};
use crate::cli::Asked;

/// Events of a sink are delivered again, callbacks of a handler handled again, with the same ids and marked as replays.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Replay {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    make: Make,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List replays, the newest first
    List(List),
    /// Wait until one is done
    Watch(One),
    /// End one before it is done; what it has delivered stays delivered
    Cancel(One),
}

#[derive(Debug, Args)]
struct Make {
    #[command(flatten)]
    consumer: ConsumerArgs,
    /// Only dead letters; those that are delivered are dead letters no longer
    #[arg(long)]
    dead: bool,
    #[command(flatten)]
    filter: FilterArgs,
    /// Deliver to this sink instead
    #[arg(long, value_name = "NAME")]
    to: Option<String>,
    /// The most per second, minute or hour, such as 100/s
    #[arg(long, value_parser = rate)]
    rate: Option<f64>,
    /// Only say how many it would be
    #[arg(long)]
    dry_run: bool,
    /// Do not wait until it is done
    #[arg(long)]
    detach: bool,
    /// Write JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    asked: Asked,
}

#[derive(Debug, Args)]
struct List {
    /// Write JSON, a line for each
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    asked: Asked,
}

#[derive(Debug, Args)]
struct One {
    /// Its number
    id: u64,
    #[command(flatten)]
    asked: Asked,
}

impl Replay {
    pub(crate) fn asked(&self) -> &Asked {
        match &self.verb {
            None => &self.make.asked,
            Some(Verb::List(args)) => &args.asked,
            Some(Verb::Watch(args) | Verb::Cancel(args)) => &args.asked,
        }
    }

    pub(crate) fn run(&self, place: Place) -> Result<ExitCode, String> {
        match &self.verb {
            None => make(&self.make, place),
            Some(Verb::List(args)) => list(args, place),
            Some(Verb::Watch(args)) => watch(place, &Request::WatchReplay { id: args.id }, false),
            Some(Verb::Cancel(args)) => {
                super::change(place, &Request::CancelReplay { id: args.id }, &format!("replay {} cancelled", args.id))
            }
        }
    }
}

fn make(args: &Make, place: Place) -> Result<ExitCode, String> {
    let Some(of) = args.consumer.name() else { usage("say whose: --sink NAME or --handler NAME") };
    let FilterArgs { since, until, app, command, key } = args.filter.clone();
    let filter = ReplayFilter { since, until, app, command, key, seqs: None };
    let spec = ReplaySpec { of, to: args.to.clone(), dead: args.dead, filter, rate: args.rate };
    if !args.dry_run {
        return watch(place, &Request::Replay { spec, watch: !args.detach }, args.json);
    }
    let mut screen = Screen::with(true, |answer| match answer {
        Answer::ReplayPlan(plan) if args.json => vec![text::json(plan)],
        Answer::ReplayPlan(plan) => {
            vec![format!("it would be {} of {}; nothing was done", text::number(plan.items), plan.of)]
        }
        _ => Vec::new(),
    });
    Ok(access::ask(place, &Request::DryRun { spec }, Needs::Plan, &mut screen)?.exit_code())
}

fn list(args: &List, place: Place) -> Result<ExitCode, String> {
    let mut screen = Screen::with(false, |answer| match answer {
        Answer::Replay(replay) if args.json => vec![text::json(replay)],
        Answer::Replay(replay) => vec![line(replay)],
        _ => Vec::new(),
    });
    let outcome = access::ask(place, &Request::Replays, Needs::Journal, &mut screen)?;
    if outcome.done.as_ref().is_some_and(|done| done.n == 0) {
        note("no replays");
    }
    Ok(outcome.exit_code())
}

/// Asks for replays and shows how they go. Ctrl-C ends the showing, not the replay.
pub(crate) fn watch(place: Place, request: &Request, json: bool) -> Result<ExitCode, String> {
    let interrupted = on_interrupt();
    let mut begun = Vec::new();
    let mut ended = Vec::new();
    let outcome = {
        let mut screen = Screen::with(true, |answer| match answer {
            Answer::ReplayBegun(replay) => {
                begun.push(replay.id);
                vec![if json { text::json(replay) } else { line(replay) }]
            }
            Answer::Replay(replay) => {
                ended.push(replay.clone());
                vec![if json { text::json(replay) } else { line(replay) }]
            }
            _ => Vec::new(),
        });
        access::ask_with(place, request, Needs::Replays, &mut |answer| {
            screen.take(answer) && !interrupted.load(Ordering::Relaxed)
        })?
    };
    let under_way: Vec<u64> = begun.iter().copied().filter(|id| !ended.iter().any(|replay| replay.id == *id)).collect();
    for id in &under_way {
        if outcome.is_running {
            note(&format!("replay {id} goes on in the dispatcher; `dispatcher replay watch {id}` waits for it"));
        } else {
            note(&format!(
                "replay {id} is in the journal and goes on at the next start of the dispatcher, or with \
                 `dispatcher replay watch {id}`"
            ));
        }
    }
    if ended.iter().any(|replay| replay.cancelled) {
        note("it was cancelled before it was done");
    }
    let n_dead: u64 = ended.iter().map(|replay| replay.dead).sum();
    if n_dead > 0 {
        note(&format!("{} could not be delivered; `dispatcher dead-letters list` lists them", text::number(n_dead)));
    }
    if n_dead > 0 || ended.iter().any(|replay| replay.cancelled) {
        return Ok(ExitCode::FAILURE);
    }
    Ok(outcome.exit_code())
}

/// A flag that Ctrl-C sets from when this returns, rather than ending the program.
fn on_interrupt() -> Arc<AtomicBool> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&interrupted);
    let (listening, listens) = mpsc::sync_channel(1);
    // Where this fails, Ctrl-C ends the program at once, and the replay goes on all the same.
    let spawned = thread::Builder::new().name("interrupt".to_owned()).spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else { return };
        runtime.block_on(async {
            let Ok(mut interrupts) = signal(SignalKind::interrupt()) else { return };
            let _ = listening.send(());
            if interrupts.recv().await.is_some() {
                flag.store(true, Ordering::Relaxed);
            }
        });
    });
    if spawned.is_ok() {
        // An error means that nobody listens.
        let _ = listens.recv();
    }
    interrupted
}

/// A replay in one line.
pub(crate) fn line(replay: &ReplayView) -> String {
    let what = if replay.dead_letters { "dead letters of " } else { "" };
    let to = if replay.target == replay.of { String::new() } else { format!(" to {}", replay.target) };
    let mut line = format!("replay {}: {what}{}{to}, ", replay.id, replay.of);
    if replay.first > replay.last {
        line += "nothing";
    } else {
        line += &format!("{}/{} to {}", replay.stream, replay.first, replay.last);
    }
    line += &match (replay.ended_at, replay.cancelled) {
        (None, _) => ", under way".to_owned(),
        (Some(at), false) => format!(", ended {}", text::time(at)),
        (Some(at), true) => format!(", cancelled {}", text::time(at)),
    };
    line + &format!(": {} done, {} dead", text::number(replay.done), text::number(replay.dead))
}
