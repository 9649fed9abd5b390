//! `dispatcher dead-letters`: list, show, replay, discard.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use dispatcher_control::{Answer, DeadFilter, DeadSelection, Request};

use super::{
    access::{self, Needs, Place},
    args::{ConsumerArgs, FilterArgs, rate, usage},
    replay,
    screen::{Screen, confirm, is_attended, note},
    show, text,
};
use crate::cli::Asked;

#[derive(Debug, Args)]
pub(crate) struct DeadLetters {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List them, the newest last; how many there are is always said
    List(List),
    /// Show one, with all its attempts
    Show(Show),
    /// Deliver or handle them again; those that are delivered are dead letters no longer
    Replay(Replay),
    /// Delete them
    Discard(Discard),
}

#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    which: Which,
    /// How many; 0 for all
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: u64,
    /// Show the copies of bodies, data and queries: what people write to each other
    #[arg(long)]
    contents: bool,
    /// Write JSON, a line for each
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    asked: Asked,
}

#[derive(Debug, Args)]
struct Show {
    /// Its id: sink:NAME/SEQ or handler:NAME/SEQ
    id: String,
    /// Show the copies of body, data and query: what people write to each other
    #[arg(long)]
    contents: bool,
    /// Write JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    asked: Asked,
}

/// Which are meant has to be said: by ids, by anything that they have in common, or all.
#[derive(Debug, Args)]
struct Replay {
    #[command(flatten)]
    selection: Selection,
    /// Deliver to this sink instead
    #[arg(long, value_name = "NAME")]
    to: Option<String>,
    /// The most per second, minute or hour, such as 100/s
    #[arg(long, value_parser = rate)]
    rate: Option<f64>,
    /// Do not wait until it is done
    #[arg(long)]
    detach: bool,
    /// Write JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    asked: Asked,
}

/// Which are meant has to be said: by ids, by anything that they have in common, or all.
#[derive(Debug, Args)]
struct Discard {
    #[command(flatten)]
    selection: Selection,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    asked: Asked,
}

#[derive(Debug, Args)]
struct Selection {
    /// Their ids: sink:NAME/SEQ or handler:NAME/SEQ
    ids: Vec<String>,
    /// All there are
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    which: Which,
}

/// Times are those at which they were given up on.
#[derive(Debug, Args)]
struct Which {
    #[command(flatten)]
    consumer: ConsumerArgs,
    #[command(flatten)]
    filter: FilterArgs,
    /// With this text in the reason
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

impl Which {
    fn is_empty(&self) -> bool {
        self.consumer.name().is_none() && self.filter.is_empty() && self.reason.is_none()
    }

    fn filter(&self) -> DeadFilter {
        let FilterArgs { since, until, app, command, key } = self.filter.clone();
        DeadFilter { consumer: self.consumer.name(), since, until, app, command, key, reason: self.reason.clone() }
    }
}

impl Selection {
    /// What was selected; ends the program with a word on usage if that is nothing, or more than one thing.
    fn selected(&self) -> DeadSelection {
        let said = [!self.ids.is_empty(), self.all, !self.which.is_empty()];
        match said.iter().filter(|said| **said).count() {
            1 if said[0] => DeadSelection::Ids(self.ids.clone()),
            1 => DeadSelection::Filter(self.which.filter()),
            0 => usage("say which: ids, --sink, --handler or another filter, or --all"),
            _ => usage("say which in one way: ids, filters or --all"),
        }
    }
}

impl DeadLetters {
    pub(crate) fn asked(&self) -> &Asked {
        match &self.verb {
            Verb::List(List { asked, .. })
            | Verb::Show(Show { asked, .. })
            | Verb::Replay(Replay { asked, .. })
            | Verb::Discard(Discard { asked, .. }) => asked,
        }
    }

    pub(crate) fn run(&self, place: Place) -> Result<ExitCode, String> {
        match &self.verb {
            Verb::List(args) => list(args, place),
            Verb::Show(args) => show_one(args, place),
            Verb::Replay(args) => {
                let request = Request::ReplayDead {
                    which: args.selection.selected(),
                    to: args.to.clone(),
                    rate: args.rate,
                    watch: !args.detach,
                };
                replay::watch(place, &request, args.json)
            }
            Verb::Discard(args) => discard(args, place),
        }
    }
}

fn list(args: &List, place: Place) -> Result<ExitCode, String> {
    let request = Request::DeadLetters { which: args.which.filter(), limit: args.limit, contents: args.contents };
    let mut screen = Screen::with(false, |answer| {
        let Answer::DeadLetter(letter) = answer else { return Vec::new() };
        if args.json {
            return vec![text::json(letter)];
        }
        let item = &letter.item;
        let what = item.event_type.as_deref().or(item.command.as_deref()).unwrap_or("unreadable");
        let mut lines = vec![format!(
            "{}  {:<24}  {:<20}  {what}: {} ({})",
            text::time(letter.at),
            text::clean(&letter.id),
            text::clean(item.key.as_deref().unwrap_or("-")),
            text::cut(&letter.reason, 160),
            text::count(letter.attempts.into(), "attempt")
        )];
        lines.extend(letter.copy.as_ref().map(|copy| format!("    copy  {}", text::json(copy))));
        lines
    });
    let outcome = access::ask(place, &request, Needs::Journal, &mut screen)?;
    if let Some(done) = &outcome.done {
        let of = done.of.unwrap_or(done.n);
        let count = text::count(of, "dead letter");
        match (of, done.more) {
            (0, _) => note("no dead letters"),
            (_, false) => note(&count),
            (_, true) => note(&format!("{count}; these are the newest {}, --limit lists more", text::number(done.n))),
        }
    }
    Ok(outcome.exit_code())
}

fn show_one(args: &Show, place: Place) -> Result<ExitCode, String> {
    if !matches!(args.id.parse(), Ok(dispatcher_control::Id::Dead { .. })) {
        return Err(format!("{:?} is no dead letter's id; write sink:NAME/SEQ or handler:NAME/SEQ", args.id));
    }
    let request = Request::Show { id: args.id.clone(), contents: args.contents };
    let mut screen = Screen::with(false, |answer| match answer {
        Answer::DeadLetter(letter) if args.json => vec![text::json_pretty(letter)],
        Answer::DeadLetter(letter) => show::dead_lines(letter),
        _ => Vec::new(),
    });
    Ok(access::ask(place, &request, Needs::Journal, &mut screen)?.exit_code())
}

fn discard(args: &Discard, place: Place) -> Result<ExitCode, String> {
    let which = args.selection.selected();
    if !args.yes {
        if !is_attended() {
            usage("this deletes dead letters for good; say --yes");
        }
        let n = match &which {
            DeadSelection::Ids(ids) => ids.len() as u64,
            DeadSelection::Filter(filter) => {
                let request = Request::DeadLetters { which: filter.clone(), limit: 1, contents: false };
                let outcome = access::ask(place.clone(), &request, Needs::Journal, &mut Screen::new(false))?;
                let Some(done) = outcome.done else { return Ok(ExitCode::FAILURE) };
                done.of.unwrap_or(0)
            }
        };
        if !confirm(&format!("delete {} for good?", text::count(n, "dead letter"))) {
            note("nothing was discarded");
            return Ok(ExitCode::FAILURE);
        }
    }
    let mut screen = Screen::new(true);
    let outcome = access::ask(place, &Request::Discard(which), Needs::Journal, &mut screen)?;
    if let Some(done) = &outcome.done {
        screen.line(&format!("{} discarded", text::number(done.n)));
    }
    Ok(outcome.exit_code())
}
