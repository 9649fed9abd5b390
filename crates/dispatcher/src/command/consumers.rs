//! `dispatcher consumers` and `dispatcher sinks`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use dispatcher_control::{Answer, Request};

use super::{
    access::{self, Needs, Place},
    args::usage,
    change,
    screen::{Screen, confirm, is_attended, note},
    status, text,
};
use crate::cli::Asked;

#[derive(Debug, Args)]
pub(crate) struct Consumers {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List what the journal keeps a place for: handlers and sinks, configured or not
    List(List),
    /// Give all that one has – its place, its dead letters – to another name; neither may run
    Rename(Rename),
    /// Forget one with all that it has, its dead letters included; it must not run
    Drop(Drop),
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
struct Rename {
    /// The name it has: handler:NAME or sink:NAME
    from: String,
    /// The name it gets
    to: String,
    #[command(flatten)]
    asked: Asked,
}

#[derive(Debug, Args)]
struct Drop {
    /// Its name: handler:NAME or sink:NAME
    name: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    asked: Asked,
}

#[derive(Debug, Args)]
pub(crate) struct Sinks {
    #[command(subcommand)]
    verb: SinkVerb,
}

#[derive(Debug, Subcommand)]
enum SinkVerb {
    /// List them
    List(List),
    /// Deliver nothing more, across restarts, until it is resumed; what is meant for it waits
    Pause(Pause),
    /// Go on delivering, whether a person or the receiver parked it
    Resume(Resume),
}

#[derive(Debug, Args)]
struct Pause {
    /// The sink's name
    name: String,
    /// Why, for those who look at it later
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    asked: Asked,
}

#[derive(Debug, Args)]
struct Resume {
    /// The sink's name
    name: String,
    #[command(flatten)]
    asked: Asked,
}

impl Consumers {
    pub(crate) fn asked(&self) -> &Asked {
        match &self.verb {
            Verb::List(List { asked, .. }) | Verb::Rename(Rename { asked, .. }) | Verb::Drop(Drop { asked, .. }) => {
                asked
            }
        }
    }

    pub(crate) fn run(&self, place: Place) -> Result<ExitCode, String> {
        match &self.verb {
            Verb::List(args) => list(args, place, ""),
            Verb::Rename(Rename { from, to, .. }) => {
                let request = Request::RenameConsumer { from: from.clone(), to: to.clone() };
                change(place, &request, &format!("{from} is {to} now"))
            }
            Verb::Drop(Drop { name, yes, .. }) => {
                if !yes {
                    if !is_attended() {
                        usage("this forgets all that the consumer has for good; say --yes");
                    }
                    if !confirm(&format!("forget {name} with all that it has, for good?")) {
                        note("nothing was dropped");
                        return Ok(ExitCode::FAILURE);
                    }
                }
                change(place, &Request::DropConsumer { consumer: name.clone() }, &format!("{name} is forgotten"))
            }
        }
    }
}

impl Sinks {
    pub(crate) fn asked(&self) -> &Asked {
        match &self.verb {
            SinkVerb::List(List { asked, .. })
            | SinkVerb::Pause(Pause { asked, .. })
            | SinkVerb::Resume(Resume { asked, .. }) => asked,
        }
    }

    pub(crate) fn run(&self, place: Place) -> Result<ExitCode, String> {
        match &self.verb {
            SinkVerb::List(args) => list(args, place, "sink:"),
            SinkVerb::Pause(Pause { name, reason, .. }) => {
                let request = Request::Pause { consumer: sink(name), reason: reason.clone() };
                change(
                    place,
                    &request,
                    &format!("sink {name} is paused; `dispatcher sinks resume {name}` lets it go on"),
                )
            }
            SinkVerb::Resume(Resume { name, .. }) => {
                change(place, &Request::Resume { consumer: sink(name) }, &format!("sink {name} goes on"))
            }
        }
    }
}

/// The whole name of a sink, of which a person may have written only the end.
fn sink(name: &str) -> String {
    if name.starts_with("sink:") { name.to_owned() } else { format!("sink:{name}") }
}

fn list(args: &List, place: Place, prefix: &str) -> Result<ExitCode, String> {
    let mut screen = Screen::with(false, |answer| {
        let Answer::Status(status) = answer else { return Vec::new() };
        let consumers: Vec<_> = status.consumers.iter().filter(|one| one.name.starts_with(prefix)).collect();
        if args.json { consumers.iter().map(text::json).collect() } else { status::consumer_lines(&consumers) }
    });
    Ok(access::ask(place, &Request::Status, Needs::Journal, &mut screen)?.exit_code())
}
