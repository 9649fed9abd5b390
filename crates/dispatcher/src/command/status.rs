//! `dispatcher status`: how everything is.

use std::process::ExitCode;

use clap::Args;
use dispatcher_control::{
    Answer, AppView, ConsumerState, ConsumerView, DeciderState, DeciderView, DeciderWork, JournalStatus, Request,
    Status as View, StreamStatus,
};

use super::{
    access::{self, Needs, Place},
    replay,
    screen::Screen,
    text,
};
use crate::cli::Asked;

/// How wide the table may be.
const WIDTH: usize = 100;
/// From how many seconds on it is worth a line how old the oldest is that a consumer has yet to finish.
const BEHIND: u64 = 10;

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Write JSON; crates/dispatcher-control/README.md says what each member means
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    asked: Asked,
}

impl Status {
    pub(crate) fn asked(&self) -> &Asked {
        &self.asked
    }

    pub(crate) fn run(&self, place: Place) -> Result<ExitCode, String> {
        // Of a dispatcher elsewhere, the file is not here.
        let sha256 = place.sha256();
        let mut screen = Screen::with(false, |answer| match answer {
            Answer::Status(status) if self.json => vec![text::json_pretty(status)],
            Answer::Status(status) => lines(status, sha256.as_deref()),
            _ => Vec::new(),
        });
        Ok(access::ask(place, &Request::Status, Needs::Journal, &mut screen)?.exit_code())
    }
}

/// All of it; `sha256` is of the configuration file as it is now, if that is here.
fn lines(status: &View, sha256: Option<&str>) -> Vec<String> {
    let mut lines = Vec::new();
    match &status.running {
        Some(running) => {
            lines.push(format!(
                "dispatcher {} runs as process {} for {}, listening on {}",
                status.version,
                running.pid,
                text::span(running.uptime_secs),
                running.listen
            ));
            let short: String = running.configuration.chars().take(12).collect();
            let news = if sha256.is_none_or(|sha256| running.configuration == sha256) {
                ""
            } else {
                "; the file is another by now: `dispatcher reload` puts it to use"
            };
            lines.push(format!("configuration {short}{news}"));
            lines.extend(running.apps.iter().map(app_line));
        }
        None => lines.push("no dispatcher runs; this is what the journal knows".to_owned()),
    }
    lines.push(String::new());
    lines.extend(journal_lines(&status.journal));
    lines.push(String::new());
    lines.extend(consumer_lines(&status.consumers.iter().collect::<Vec<_>>()));
    lines.push(String::new());
    if !status.deciders.is_empty() {
        lines.extend(decider_lines(&status.deciders));
        if let Some(longest) = status.running.as_ref().and_then(|running| running.longest_decision_us) {
            lines.push(format!("the slowest decision was answered after {}", text::millis(longest)));
        }
        lines.push(String::new());
    }
    lines.push(match status.dead_letters {
        0 => "no dead letters".to_owned(),
        n => format!("{}; `dispatcher dead-letters list` lists them", text::count(n, "dead letter")),
    });
    lines.extend(status.replays.iter().map(replay::line));
    lines.into_iter().map(|line| text::cut(&line, WIDTH)).collect()
}

fn app_line(app: &AppView) -> String {
    let last = match app.secs_since_last {
        Some(secs) => format!("{}, the last {} ago", text::count(app.callbacks, "callback"), text::span(secs)),
        None => "no callback yet".to_owned(),
    };
    format!("app {} ({}): {last}", app.name, app.sdk_app_id)
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
        if journal.unrecorded_decisions > 0 {
            since += &format!(", {} late verdicts not stored", text::number(journal.unrecorded_decisions));
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
        if let Some(secs) = consumer.oldest_secs.filter(|&secs| secs >= BEHIND) {
            say(format!("the oldest that it has yet to finish came in {} ago", text::span(secs)));
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

/// A table of handlers that decide, with a line below for what needs one.
fn decider_lines(deciders: &[DeciderView]) -> Vec<String> {
    let mut lines =
        vec![decider_row(["decider", "state", "allowed", "refused", "changed", "late", "failed", "busy", "under way"])];
    for decider in deciders {
        let n = |count: fn(&DeciderWork) -> u64| {
            decider.work.as_ref().map_or("-".to_owned(), |work| text::short(count(work)))
        };
        lines.push(decider_row([
            &text::cut(&decider.name, 24),
            decider_state(decider.state),
            &n(|work| work.counts.no_opinion + work.counts.allowed),
            &n(|work| work.counts.refused + work.counts.refused_some + work.counts.dropped),
            &n(|work| work.counts.rewritten + work.counts.answered),
            &n(|work| work.counts.late + work.counts.unreached),
            &n(|work| work.counts.failed),
            &n(|work| work.counts.busy),
            &n(|work| work.in_flight),
        ]));
        let mut say = |what: String| lines.push(format!("    {}", text::cut(&what, WIDTH - 4)));
        if let Some(reason) = &decider.reason {
            say(reason.clone());
        }
        if let Some(shadow) = shadow_text(decider) {
            say(shadow);
        }
    }
    lines
}

/// That a handler is a shadow, and what came of it.
pub(crate) fn shadow_text(decider: &DeciderView) -> Option<String> {
    let mut text = match decider.shadow_until {
        _ if !decider.shadow => return None,
        Some(until) => format!("a shadow until {}", text::time(until)),
        None => "a shadow, as configured".to_owned(),
    };
    if let Some(work) = &decider.work {
        let counts = &work.counts;
        let (differ, made) = (text::number(counts.shadow_differs), text::count(counts.shadow, "verdict"));
        text += &format!(": {differ} of {made} differ from the answer");
    }
    Some(text)
}

fn decider_row([name, state, allowed, refused, changed, late, failed, busy, under_way]: [&str; 9]) -> String {
    format!("{name:<24} {state:<12}{allowed:>8}{refused:>8}{changed:>8}{late:>8}{failed:>8}{busy:>8}{under_way:>11}")
}

/// The state of a handler that decides, in words.
pub(crate) fn decider_state(state: DeciderState) -> &'static str {
    match state {
        DeciderState::Up => "up",
        DeciderState::Opening => "opening",
        DeciderState::Down => "down",
        DeciderState::Blocked => "blocked",
        DeciderState::Off => "off",
        DeciderState::NotRunning => "not running",
        DeciderState::SwitchedOff => "switched off",
    }
}

fn row([name, state, backlog, pending, under_way, done, failed, dead]: [&str; 8]) -> String {
    format!("{name:<34} {state:<12}{backlog:>8}{pending:>8}{under_way:>10}{done:>8}{failed:>8}{dead:>8}")
}

/// The state of a consumer, in words.
pub(crate) fn state(state: ConsumerState) -> &'static str {
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
