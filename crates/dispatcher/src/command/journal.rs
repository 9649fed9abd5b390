//! `dispatcher journal`: the journal as a file.

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};
use dispatcher_control::{Answer, Request};

use super::{
    access::{self, Needs, Place},
    screen::Screen,
    status, text,
};
use crate::cli::Asked;

#[derive(Debug, Args)]
pub(crate) struct Journal {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show how it is
    Status(Plain),
    /// Read all of it, and say what is damaged
    ///
    /// Exits with 1 if anything is.
    Check(Plain),
    /// Copy it into a new file, which a dispatcher can use as its journal; the dispatcher need not stop
    Backup(Backup),
    /// Give the space of what was deleted back to the file system
    Compact(Plain),
}

#[derive(Debug, Args)]
struct Plain {
    /// Write JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    asked: Asked,
}

#[derive(Debug, Args)]
struct Backup {
    /// The new file; with --admin on the dispatcher's machine
    to: PathBuf,
    #[command(flatten)]
    plain: Plain,
}

impl Journal {
    pub(crate) fn asked(&self) -> &Asked {
        match &self.verb {
            Verb::Status(plain) | Verb::Check(plain) | Verb::Compact(plain) => &plain.asked,
            Verb::Backup(backup) => &backup.plain.asked,
        }
    }

    pub(crate) fn run(&self, place: Place) -> Result<ExitCode, String> {
        let (request, json) = match &self.verb {
            Verb::Status(plain) => (Request::Status, plain.json),
            Verb::Check(plain) => (Request::Check, plain.json),
            Verb::Compact(plain) => (Request::Compact, plain.json),
            Verb::Backup(backup) => {
                if matches!(place, Place::There(_)) && !backup.to.is_absolute() {
                    let what = "the copy is made where the dispatcher is; write an absolute path there";
                    return Err(format!("{}: {what}", backup.to.display()));
                }
                let to = std::path::absolute(&backup.to).map_err(|err| format!("{}: {err}", backup.to.display()))?;
                (Request::Backup { to }, backup.plain.json)
            }
        };
        let mut is_damaged = false;
        let outcome = {
            let mut screen = Screen::with(true, |answer| {
                is_damaged |= matches!(answer, Answer::Checked(checked) if !checked.damage.is_empty());
                lines(answer, json)
            });
            access::ask(place, &request, Needs::Journal, &mut screen)?
        };
        Ok(if is_damaged { ExitCode::FAILURE } else { outcome.exit_code() })
    }
}

fn lines(answer: &Answer, json: bool) -> Vec<String> {
    match answer {
        Answer::Status(status) if json => vec![text::json_pretty(&status.journal)],
        Answer::Status(status) => status::journal_lines(&status.journal),
        Answer::Checked(checked) if json => vec![text::json_pretty(checked)],
        Answer::Checked(checked) => {
            let (callbacks, events) = (text::number(checked.callbacks), text::number(checked.events));
            let mut lines: Vec<String> = checked.damage.iter().map(|damage| text::clean(damage)).collect();
            let verdict = match lines.len() {
                0 => "nothing is damaged".to_owned(),
                n => format!("{} damaged, above", text::number(n as u64)),
            };
            lines.push(format!("{callbacks} callbacks and {events} events are intact; {verdict}"));
            lines
        }
        Answer::BackedUp(copy) if json => vec![text::json_pretty(copy)],
        Answer::BackedUp(copy) => vec![format!(
            "{}: {} callbacks, {} events and {} dead letters, {}",
            copy.to,
            text::number(copy.callbacks),
            text::number(copy.events),
            text::number(copy.dead_letters),
            text::size(copy.bytes)
        )],
        Answer::Compacted(sizes) if json => vec![text::json_pretty(sizes)],
        Answer::Compacted(sizes) => {
            vec![format!("{} returned; the file has {} now", text::size(sizes.returned), text::size(sizes.bytes))]
        }
        _ => Vec::new(),
    }
}
