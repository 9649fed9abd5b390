//! `dispatcher status`: how everything is.

use std::process::ExitCode;

use clap::Args;
use dispatcher_config::Config;
use dispatcher_control::{Answer, ConsumerState, ConsumerView, JournalStatus, Request, Status as View, StreamStatus};

use super::{
    access::{self, Needs},
    replay,
    screen::Screen,
    text,
};
use crate::cli::ConfigFile;

/// How wide the table may be.
const WIDTH: usize = 100;

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Write JSON; crates/dispatcher-control/README.md says what each member means
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigFile,
}

impl Status {
    pub(crate) fn config(&self) -> &ConfigFile {
        &self.config
    }

    pub(crate) fn run(&self, config: Config) -> Result<ExitCode, String> {
        let mut screen = Screen::with(false, |answer| match answer {
            Answer::Status(status) if self.json => vec![text::json_pretty(status)],
            Answer::Status(status) => lines(status),
            _ => Vec::new(),
        });
        Ok(access::ask(config, &Request::Status, Needs::Journal, &mut screen)?.exit_code())
    }
}

fn lines(status: &View) -> Vec<String> {
    let mut lines = Vec::new();
    match &status.running {
        Some(running) => lines.push(format!(
            "dispatcher {} runs as process {} for {}, listening on {}",
            status.version,
            running.pid,
            text::span(running.uptime_secs),
            running.listen
        )),
        None => lines.push("no dispatcher runs; this is what the journal knows".to_owned()),
    }
    lines.push(String::new());
    lines.extend(journal_lines(&status.journal));
    lines.push(String::new());
    lines.extend(consumer_lines(&status.consumers.iter().collect::<Vec<_>>()));
    lines.push(String::new());
    lines.push(match status.dead_letters {
        0 => "no dead letters".to_owned(),
        n => format!("{}; `dispatcher dead-letters list` lists them", text::count(n, "dead letter")),
    });
    lines.extend(status.replays.iter().map(replay::line));
    lines.into_iter().map(|line| text::cut(&line, WIDTH)).collect()
}

/// The journal, a line for each thing.
pub(crate) fn journal_lines(journal: &JournalStatus) -> Vec<String> {
    let mut lines = vec![format!("journal      {}", journal.path)];
    let mut say = |name: &str, value: String| lines.push(format!("  {name:<10} {value}"));
    let reason = journal.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
    say("health", format!("{}{reason}", journal.health));
    say("size", format!("{}, and {} in the write-ahead log", text::size(journal.bytes), text::size(journal.wal_bytes)));
    say("callbacks", stream(&journal.callbacks));
    say("events", stream(&journal.events));
    if journal.stored + journal.repeats + journal.unrecorded > 0 {
        let mut since = format!("{} stored", text::number(journal.stored));
        since += &format!(", {} repeats", text::number(journal.repeats));
        if journal.unrecorded > 0 {
            since += &format!(", {} answered and not stored", text::number(journal.unrecorded));
        }
        say("this run", since);
    }
    let deleted = journal.deleted_callbacks + journal.deleted_events + journal.deleted_dead_letters;
    if deleted > 0 {
        say(
            "deleted",
            format!(
                "{} callbacks, {} events, {} dead letters by retention, this run",
                text::number(journal.deleted_callbacks),
                text::number(journal.deleted_events),
                text::number(journal.deleted_dead_letters)
            ),
        );
    }
    if let Some(retention) = &journal.retention {
        say("kept", retention.clone());
    }
    if let Some(held) = &journal.held_up {
        let rows = text::number(held.rows);
        say(
            "held up",
            format!("by {} since {}: {rows} rows that are due to go", held.consumer, text::time(held.since)),
        );
    }
    for skipped in &journal.skipped {
        let at = text::time(skipped.at);
        say("skipped", format!("{} let go of {} to {} at {at}", skipped.consumer, skipped.first, skipped.last));
    }
    lines
}

fn stream(stream: &StreamStatus) -> String {
    if stream.first == 0 {
        return format!("none; the last was {}", stream.last);
    }
    let oldest = stream.oldest.map(|at| format!(", the oldest of {}", text::time(at))).unwrap_or_default();
    format!("{} to {}{oldest}", stream.first, stream.last)
}

/// A table of consumers, with a line below for what needs one.
pub(crate) fn consumer_lines(consumers: &[&ConsumerView]) -> Vec<String> {
    let mut lines = vec![row(["consumer", "state", "backlog", "pending", "under way", "done", "failed", "dead"])];
    for consumer in consumers {
        let work = consumer.work.as_ref();
        let n = |count: Option<u64>| count.map_or("-".to_owned(), text::short);
        lines.push(row([
            &text::cut(&consumer.name, 34),
            state(consumer.state),
            &text::short(consumer.backlog),
            &text::short(consumer.pending),
            &n(work.map(|work| work.under_way)),
            &n(work.map(|work| work.done)),
            &n(work.map(|work| work.failed)),
            &text::short(consumer.dead_letters),
        ]));
        let mut say = |what: String| lines.push(format!("    {}", text::cut(&what, WIDTH - 4)));
        if let Some(reason) = &consumer.reason {
            let since = consumer.since.map(|at| format!("since {}: ", text::time(at))).unwrap_or_default();
            say(format!("{since}{reason}"));
        } else if let Some(error) = work.and_then(|work| work.last_error.as_ref()) {
            say(format!("last error: {error}"));
        }
        let keys = work.map(|work| work.longest_keys.as_slice()).unwrap_or_default();
        if let Some(longest) = keys.first().filter(|key| key.waiting > 1) {
            let others = keys.len() - 1;
            let others = if others == 0 { String::new() } else { format!(", and {others} more keys in --json") };
            say(format!("longest key: {} items of {}/{}{others}", longest.waiting, longest.sdk_app_id, longest.key));
        }
        let name = &consumer.name;
        match consumer.state {
            ConsumerState::Unconfigured => say(format!(
                "not in the configuration; `dispatcher consumers rename {name} NEW` or `drop {name}` ends it"
            )),
            ConsumerState::Parked if name.starts_with("sink:") => {
                say(format!("`dispatcher sinks resume {}` lets it go on", name.trim_start_matches("sink:")));
            }
            _ => {}
        }
    }
    lines
}

fn row([name, state, backlog, pending, under_way, done, failed, dead]: [&str; 8]) -> String {
    format!("{name:<34} {state:<12}{backlog:>8}{pending:>8}{under_way:>10}{done:>8}{failed:>8}{dead:>8}")
}

fn state(state: ConsumerState) -> &'static str {
    match state {
        ConsumerState::Up => "up",
        ConsumerState::Down => "down",
        ConsumerState::Parked => "parked",
        ConsumerState::Stopped => "stopped",
        ConsumerState::NotRunning => "not running",
        ConsumerState::SwitchedOff => "switched off",
        ConsumerState::Unconfigured => "unconfigured",
    }
}
