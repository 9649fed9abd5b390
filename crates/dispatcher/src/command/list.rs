//! `dispatcher callbacks` and `dispatcher events`.

use std::process::ExitCode;

use clap::Args;
use dispatcher_control::{Answer, CallbackView, EventView, Request, Search, ShadowDiff};

use super::{
    access::{self, Needs, Place},
    args::FilterArgs,
    screen::{Screen, note},
    text,
};
use crate::cli::Asked;

/// What a callback can have been answered.
const DECISIONS: [&str; 7] = ["allowed", "refused", "refused-some", "dropped", "rewritten", "answered", "defaulted"];

/// The newest that match are listed, the oldest of them first; `--limit` says how many.
#[derive(Debug, Args)]
pub(crate) struct Callbacks {
    #[command(flatten)]
    which: FilterArgs,
    /// Answered so: allowed, refused, refused-some, dropped, rewritten, answered; or defaulted, whatever the answer
    #[arg(long, value_name = "RESULT", value_parser = DECISIONS, conflicts_with = "shadow_diff")]
    decision: Option<String>,
    /// That a shadow would have had otherwise; all of those are counted at the end, listed or not
    #[arg(long, conflicts_with = "follow")]
    shadow_diff: bool,
    #[command(flatten)]
    how: How,
}

/// The newest that match are listed, the oldest of them first; `--limit` says how many.
#[derive(Debug, Args)]
pub(crate) struct Events {
    #[command(flatten)]
    which: FilterArgs,
    /// Meant for this sink
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,
    /// Made by this handler
    #[arg(long, value_name = "NAME")]
    handler: Option<String>,
    /// Of this type
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
struct How {
    /// With this text in the body or the data, as it stands in the JSON
    #[arg(long)]
    text: Option<String>,
    /// How many; 0 for all
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: u64,
    /// The oldest that match, rather than the newest
    #[arg(long)]
    oldest: bool,
    /// Go on with what comes, until Ctrl-C
    #[arg(long, conflicts_with_all = ["until", "oldest"])]
    follow: bool,
    /// Show bodies, data and queries: what people write to each other
    #[arg(long)]
    contents: bool,
    /// Write JSON, a line for each
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    asked: Asked,
}

impl Callbacks {
    pub(crate) fn asked(&self) -> &Asked {
        &self.how.asked
    }

    pub(crate) fn run(&self, place: Place) -> Result<ExitCode, String> {
        let search =
            Search { decision: self.decision.clone(), shadow_diff: self.shadow_diff, ..search(&self.which, &self.how) };
        list(place, &Request::Callbacks(search), &self.how)
    }
}

impl Events {
    pub(crate) fn asked(&self) -> &Asked {
        &self.how.asked
    }

    pub(crate) fn run(&self, place: Place) -> Result<ExitCode, String> {
        let search = Search {
            handler: self.handler.clone(),
            sink: self.sink.clone(),
            event_type: self.event_type.clone(),
            ..search(&self.which, &self.how)
        };
        list(place, &Request::Events(search), &self.how)
    }
}

fn search(which: &FilterArgs, how: &How) -> Search {
    let FilterArgs { since, until, app, command, key } = which.clone();
    let How { text, limit, oldest, follow, contents, .. } = how;
    Search {
        since,
        until,
        app,
        command,
        key,
        text: text.clone(),
        limit: *limit,
        oldest: *oldest,
        follow: *follow,
        contents: *contents,
        ..Search::default()
    }
}

fn list(place: Place, request: &Request, how: &How) -> Result<ExitCode, String> {
    let mut is_first = true;
    let mut screen = Screen::with(false, |answer| {
        if how.json {
            return match answer {
                Answer::Callback(callback) => vec![text::json(callback)],
                Answer::Event(event) => vec![text::json(event)],
                Answer::ShadowDiffs(diffs) => vec![text::json(&serde_json::json!({ "shadow_diffs": diffs }))],
                _ => Vec::new(),
            };
        }
        let mut lines = match answer {
            Answer::Callback(callback) => callback_lines(callback),
            Answer::Event(event) => event_lines(event),
            Answer::ShadowDiffs(diffs) => return diff_lines(diffs),
            _ => return Vec::new(),
        };
        if std::mem::take(&mut is_first) {
            let last = if matches!(answer, Answer::Callback(_)) { "id" } else { "type, id and sinks" };
            lines.insert(0, row(["received (UTC)", "row", "app", "command", "key", last]));
        }
        lines
    });
    let outcome = access::ask(place, request, Needs::Journal, &mut screen)?;
    if let Some(done) = &outcome.done {
        if done.n == 0 {
            note("nothing matches");
        } else if done.more {
            let which = if how.oldest { "oldest" } else { "newest" };
            note(&format!("these are the {which} {}; --limit lists more", text::number(done.n)));
        }
    }
    Ok(outcome.exit_code())
}

fn callback_lines(callback: &CallbackView) -> Vec<String> {
    let place = format!("callbacks/{}", callback.seq);
    let (app, command) = (text::clean(&callback.app), text::clean(&callback.command));
    let key = text::clean(callback.key.as_deref().unwrap_or("-"));
    let mut lines = vec![row([&text::time(callback.received_at), &place, &app, &command, &key, &callback.id])];
    for decision in &callback.decisions {
        lines.push(format!("    {}", text::clean(&decision.text())));
        if let Some(reply) = &decision.reply {
            lines.push(format!("    reply {}", text::clean(reply.get())));
        }
    }
    if let Some(query) = &callback.query {
        lines.push(format!("    query {}", text::clean(query)));
    }
    if let Some(body) = &callback.body {
        lines.push(format!("    body  {}", text::clean(body.get())));
    }
    lines
}

fn diff_lines(diffs: &[ShadowDiff]) -> Vec<String> {
    let line = |diff: &ShadowDiff| {
        let ShadowDiff { handler, answered, would_be, n } = diff;
        text::clean(&format!("{handler}: {answered} -> {would_be}, {}", text::count(*n, "time")))
    };
    diffs.iter().map(line).collect()
}

fn event_lines(event: &EventView) -> Vec<String> {
    let place = format!("events/{}", event.seq);
    let (app, command) = (text::clean(&event.app), text::clean(&event.command));
    let key = text::clean(event.key.as_deref().unwrap_or("-"));
    let sinks = if event.sinks.is_empty() { "no sink".to_owned() } else { event.sinks.join(", ") };
    let replay = if event.replay { " (replay)" } else { "" };
    let last = format!("{} {} -> {sinks}{replay}", text::clean(&event.event_type), event.id);
    let mut lines = vec![row([&text::time(event.received_at), &place, &app, &command, &key, &last])];
    if let Some(data) = &event.data {
        lines.push(format!("    data  {}", text::clean(data.get())));
    }
    lines
}

fn row([received, place, app, command, key, last]: [&str; 6]) -> String {
    format!("{received:<19}  {place:<14}  {app:<8}  {command:<36}  {key:<20}  {last}")
}
