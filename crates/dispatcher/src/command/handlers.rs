//! `dispatcher handlers`: what they are, and trying one that decides as a shadow.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use dispatcher_control::{Answer, ConsumerView, DeciderView, Moment, Request, Status};
use dispatcher_core::{TimeSpan, Timestamp};
use serde::Serialize;

use super::{
    access::{self, Needs, Place},
    change,
    screen::Screen,
    status, text,
};
use crate::cli::Asked;

#[derive(Debug, Args)]
pub(crate) struct Handlers {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List them: whether they decide, handle or both, how they are, and what they did since the start
    List(List),
    /// Ask one that decides after the answer for a while, across restarts: it does not count, and what differs is recorded
    Shadow(Shadow),
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
struct Shadow {
    /// The handler's name
    name: String,
    /// For how long, such as 1h
    #[arg(long = "for", value_name = "TIME", value_parser = span, required_unless_present = "off", conflicts_with = "off")]
    span: Option<TimeSpan>,
    /// Let it count again
    #[arg(long)]
    off: bool,
    #[command(flatten)]
    asked: Asked,
}

impl Handlers {
    pub(crate) fn asked(&self) -> &Asked {
        match &self.verb {
            Verb::List(List { asked, .. }) | Verb::Shadow(Shadow { asked, .. }) => asked,
        }
    }

    pub(crate) fn run(&self, place: Place) -> Result<ExitCode, String> {
        match &self.verb {
            Verb::List(args) => list(args, place),
            Verb::Shadow(args) => shadow(args, place),
        }
    }
}

/// Reads how long a shadow is one.
fn span(text: &str) -> Result<TimeSpan, String> {
    let span: TimeSpan = text.parse().map_err(|err| format!("{err}"))?;
    if span.get().is_zero() { Err("write how long, such as 1h; --off ends it".to_owned()) } else { Ok(span) }
}

fn shadow(args: &Shadow, place: Place) -> Result<ExitCode, String> {
    let (name, until) = (&args.name, args.span.map(|span| Timestamp::now().after(span.get())));
    let done = match until {
        Some(until) => format!(
            "handler {name} is a shadow until {}; `dispatcher callbacks --shadow-diff` lists what it would have had otherwise",
            text::time(Moment(until))
        ),
        None => format!("handler {name} is no shadow by anybody's word any more"),
    };
    change(place, &Request::Shadow { handler: name.clone(), until: until.map(Timestamp::as_millis) }, &done)
}

/// A handler, as it is shown.
#[derive(Serialize)]
struct HandlerView<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    decider: Option<&'a DeciderView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    consumer: Option<&'a ConsumerView>,
}

fn list(args: &List, place: Place) -> Result<ExitCode, String> {
    let mut screen = Screen::with(false, |answer| {
        let Answer::Status(status) = answer else { return Vec::new() };
        let handlers = handlers(status);
        if args.json {
            handlers.iter().map(text::json).collect()
        } else {
            handlers.iter().flat_map(HandlerView::lines).collect()
        }
    });
    Ok(access::ask(place, &Request::Status, Needs::Journal, &mut screen)?.exit_code())
}

/// Those that decide in the order in which they are asked, then those that only handle.
fn handlers(status: &Status) -> Vec<HandlerView<'_>> {
    let consumer = |name: &str| status.consumers.iter().find(|one| one.name.strip_prefix("handler:") == Some(name));
    let deciders = status.deciders.iter().map(|decider| HandlerView {
        name: &decider.name,
        decider: Some(decider),
        consumer: consumer(&decider.name),
    });
    let others = status.consumers.iter().filter_map(|one| Some((one.name.strip_prefix("handler:")?, one)));
    let others = others
        .filter(|(name, _)| !status.deciders.iter().any(|decider| decider.name == *name))
        .map(|(name, consumer)| HandlerView { name, decider: None, consumer: Some(consumer) });
    deciders.chain(others).collect()
}

impl HandlerView<'_> {
    fn lines(&self) -> Vec<String> {
        let mut lines = vec![text::clean(self.name)];
        let mut say = |what: &str, value: String| lines.push(format!("  {what:<8} {}", text::clean(&value)));
        if let Some(decider) = self.decider {
            let reason = decider.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
            say("decides", format!("{}{reason}{}", status::decider_state(decider.state), said(decider)));
            if let Some(shadow) = status::shadow_text(decider) {
                say("shadow", shadow);
            }
        }
        if let Some(consumer) = self.consumer {
            let reason = consumer.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
            let n = |count: u64, what: &str| format!("; {} {what}", text::number(count));
            let mut value = format!("{}{reason}", status::state(consumer.state));
            if let Some(work) = &consumer.work {
                value += &(n(work.done, "done") + &n(work.failed, "failed"));
            }
            let rest = [(consumer.backlog, "behind"), (consumer.pending, "pending"), (consumer.dead_letters, "dead")];
            value.extend(rest.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| n(count, what)));
            say("handles", value);
        }
        lines
    }
}

/// What it said since the start: all kinds that there were.
fn said(decider: &DeciderView) -> String {
    let Some(work) = &decider.work else { return String::new() };
    let counts = &work.counts;
    let decided = [
        (counts.no_opinion, "without opinion"),
        (counts.allowed, "allowed"),
        (counts.refused, "refused"),
        (counts.refused_some, "refused some"),
        (counts.dropped, "dropped"),
        (counts.rewritten, "rewritten"),
        (counts.answered, "answered"),
    ];
    let others = [
        (counts.late, "late"),
        (counts.failed, "failed"),
        (counts.busy, "busy"),
        (counts.unreached, "not reached"),
        (work.in_flight, "under way"),
    ];
    let n_decided: u64 = decided.iter().map(|(count, _)| count).sum();
    let all = decided.into_iter().chain(others).filter(|(count, _)| *count > 0);
    let mut text: String = all.map(|(count, what)| format!("; {} {what}", text::number(count))).collect();
    if let Some(average) = counts.took_us.checked_div(n_decided) {
        text += &format!("; {} each", text::millis(average));
    }
    text
}
