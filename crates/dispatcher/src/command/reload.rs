//! `dispatcher reload` and `dispatcher log-level`: what the dispatcher that runs does to itself.

use std::process::ExitCode;

use clap::Args;
use dispatcher_control::{Answer, Reloaded, Request};

use super::{
    access::{self, Needs, Place},
    change,
    screen::Screen,
    text,
};
use crate::{cli::Asked, run::EX_CONFIG};

#[derive(Debug, Args)]
pub(crate) struct Reload {
    /// Write JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    asked: Asked,
}

#[derive(Debug, Args)]
pub(crate) struct LogLevel {
    /// error, warn, info, debug or trace
    level: String,
    #[command(flatten)]
    asked: Asked,
}

impl Reload {
    pub(crate) fn asked(&self) -> &Asked {
        &self.asked
    }

    pub(crate) fn run(&self, place: Place) -> Result<ExitCode, String> {
        let mut is_invalid = false;
        let show = |answer: &Answer| match answer {
            Answer::Reloaded(reloaded) if self.json => vec![text::json_pretty(reloaded)],
            Answer::Reloaded(reloaded) => lines(reloaded),
            Answer::Invalid(findings) => {
                is_invalid = true;
                findings.iter().for_each(|finding| eprintln!("{}", text::clean(finding)));
                Vec::new()
            }
            _ => Vec::new(),
        };
        let outcome = access::ask(place, &Request::Reload, Needs::Journal, &mut Screen::with(false, show))?;
        Ok(if is_invalid { ExitCode::from(EX_CONFIG) } else { outcome.exit_code() })
    }
}

impl LogLevel {
    pub(crate) fn asked(&self) -> &Asked {
        &self.asked
    }

    pub(crate) fn run(&self, place: Place) -> Result<ExitCode, String> {
        let request = Request::LogLevel { level: self.level.clone() };
        change(place, &request, &format!("the log is written from {} on", self.level))
    }
}

/// What became of it, a line for each kind of change.
fn lines(reloaded: &Reloaded) -> Vec<String> {
    let Reloaded { added, changed, removed, resumed, settings, needs_restart, finishing, warnings, .. } = reloaded;
    let kinds = [
        ("added", added),
        ("changed", changed),
        ("removed, with their places in the journal kept", removed),
        ("tried again", resumed),
        ("settings", settings),
        ("needs a restart", needs_restart),
    ];
    let kinds = kinds.into_iter().filter(|(_, names)| !names.is_empty());
    let mut lines: Vec<String> = kinds.map(|(kind, names)| format!("{kind}: {}", names.join(", "))).collect();
    if reloaded.is_nothing() {
        lines.push("nothing has changed".to_owned());
    }
    if *finishing {
        lines.push("some that changed or are gone still finish what is under way".to_owned());
    }
    lines.extend(warnings.iter().map(|warning| format!("warning: {}", text::clean(warning))));
    lines
}
