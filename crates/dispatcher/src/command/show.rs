//! `dispatcher show`: all that is known of one callback, event or dead letter.

use std::process::ExitCode;

use clap::Args;
use dispatcher_control::{Answer, DeadView, EventStory, Outcome, Request, Stage, Story};

use super::{
    access::{self, Needs, Place},
    screen::Screen,
    text,
};
use crate::cli::Asked;

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// A callback's id or its first 8 characters or more, an event's id, callbacks/SEQ, events/SEQ, or a dead letter:
    /// sink:NAME/SEQ, handler:NAME/SEQ
    id: String,
    /// Show body, data and query: what people write to each other
    #[arg(long)]
    contents: bool,
    /// Write JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    asked: Asked,
}

impl Show {
    pub(crate) fn asked(&self) -> &Asked {
        &self.asked
    }

    pub(crate) fn run(&self, place: Place) -> Result<ExitCode, String> {
        let request = Request::Show { id: self.id.clone(), contents: self.contents };
        let mut screen = Screen::with(false, |answer| match (answer, self.json) {
            (Answer::DeadLetter(letter), true) => vec![text::json_pretty(letter)],
            (Answer::Story(story), true) => vec![text::json_pretty(story)],
            (Answer::DeadLetter(letter), false) => dead_lines(letter),
            (Answer::Story(story), false) => story_lines(story),
            _ => Vec::new(),
        });
        Ok(access::ask(place, &request, Needs::Journal, &mut screen)?.exit_code())
    }
}

/// A dead letter, with everything that is kept of it.
pub(crate) fn dead_lines(letter: &DeadView) -> Vec<String> {
    let mut lines = vec![format!("dead letter {}", letter.id)];
    let item = &letter.item;
    let mut say = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            lines.push(format!("  {name:<12} {}", text::clean(&value)));
        }
    };
    say("of", item.item_id.clone());
    say("type", item.event_type.clone());
    say("command", item.command.clone());
    say("app", item.app.clone());
    say("key", item.key.clone());
    say("received", item.received_at.map(|at| at.to_string()));
    say("first tried", Some(letter.first_at.to_string()));
    say("given up on", Some(format!("{}, after {}", letter.at, text::count(letter.attempts.into(), "attempt"))));
    say("reason", Some(letter.reason.clone()));
    for attempt in &letter.history {
        let status = attempt.status.map(|status| format!(", status {status}")).unwrap_or_default();
        let excerpt = attempt.excerpt.as_ref().map(|excerpt| format!(", {excerpt:?}")).unwrap_or_default();
        let error = attempt.error.as_deref().unwrap_or("succeeded");
        say(&format!("attempt {}", attempt.n), Some(format!("{} {error}{status}{excerpt}", attempt.at)));
    }
    if let Some(copy) = &letter.copy {
        lines.push(format!("  {:<12} {}", "copy", text::json(copy)));
    }
    lines.push(String::new());
    lines
}

fn story_lines(story: &Story) -> Vec<String> {
    let callback = &story.callback;
    let mut lines = vec![format!("callback {}", callback.id)];
    let mut say = |name: &str, value: String| lines.push(format!("  {name:<12} {}", text::clean(&value)));
    say("command", format!("{} ({})", callback.command, callback.phase));
    say("app", format!("{} ({})", callback.app, callback.sdk_app_id));
    say("key", callback.key.clone().unwrap_or_else(|| "none".to_owned()));
    say("received", callback.received_at.to_string());
    if let Some(time) = callback.event_time {
        say("happened", time.to_string());
    }
    say("row", format!("callbacks/{}", callback.seq));
    let identity = callback.identity.clone().unwrap_or_else(|| "none: a repeat of it could not be told".to_owned());
    say("identity", identity);
    say("answer", story.answer.clone());
    for decision in &story.decisions {
        for decider in &decision.deciders {
            say("decider", decider.text());
        }
        if !decision.is_answer() {
            say(&decision.kind, decision.text());
        }
        if let Some(reply) = &decision.reply {
            say("reply", reply.get().to_owned());
        }
    }
    if let Some(trace) = &callback.traceparent {
        say("trace", trace.clone());
    }
    say("body", text::count(callback.body_bytes as u64, "byte"));
    if let Some(query) = &callback.query {
        say("query", query.clone());
    }
    if let Some(body) = &callback.body {
        say("contents", body.get().to_owned());
    }
    for stage in &story.handlers {
        say("handler", stage_text(stage));
    }
    for EventStory { event, sinks, .. } in &story.events {
        lines.push(String::new());
        lines.push(format!("event {}", event.id));
        let mut say = |name: &str, value: String| lines.push(format!("  {name:<12} {}", text::clean(&value)));
        say("type", event.event_type.clone());
        say("key", event.key.clone().unwrap_or_else(|| "none".to_owned()));
        say("row", format!("events/{}{}", event.seq, if event.replay { ", made by a replay" } else { "" }));
        say("data", text::count(event.data_bytes as u64, "byte"));
        if let Some(data) = &event.data {
            say("contents", data.get().to_owned());
        }
        for stage in sinks {
            say("sink", stage_text(stage));
        }
    }
    for damaged in &story.damaged {
        lines.push(format!("damaged: {}", text::clean(damaged)));
    }
    for replay in &story.replays {
        let ended = match (replay.ended_at, replay.cancelled) {
            (None, _) => "under way".to_owned(),
            (Some(at), false) => format!("ended {at}"),
            (Some(at), true) => format!("cancelled {at}"),
        };
        lines.push(String::new());
        lines.push(format!("replay {} of {} by {}: made {}, {ended}", replay.id, replay.of, replay.target, replay.at));
    }
    lines.push(String::new());
    lines.push("timeline (UTC)".to_owned());
    let mut day = String::new();
    for happening in &story.timeline {
        let at = happening.at.to_string();
        let date = at.split('T').next().unwrap_or_default().to_owned();
        if date != day {
            lines.push(format!("  {date}"));
            day = date;
        }
        let when = match happening.not_before {
            Some(before) => format!("between {} and {}", before.time_of_day(), happening.at.time_of_day()),
            None => happening.at.time_of_day(),
        };
        lines.push(format!("  {when:<12} {}", text::clean(&happening.what)));
    }
    lines
}

fn stage_text(stage: &Stage) -> String {
    let name = &stage.consumer;
    let reason = stage.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let attempts = text::count(stage.n_attempts.into(), "attempt");
    match stage.outcome {
        Outcome::Done => match stage.events {
            Some(n) => format!("{name}: done, {}", text::count(n, "event")),
            None => format!("{name}: delivered"),
        },
        Outcome::Pending if stage.n_attempts == 0 => format!("{name}: pending, behind another of its key"),
        Outcome::Pending => format!("{name}: pending, {attempts} failed{reason}"),
        Outcome::Dead => format!("{name}: dead letter after {attempts}{reason}"),
        Outcome::Waiting => format!("{name}: has not got to it"),
        Outcome::Skipped => format!("{name}: skipped{reason}"),
        Outcome::Unknown => format!("{name}: not in this journal"),
        Outcome::Settled => {
            format!("{name}: {attempts} failed; no dead letter any more: discarded, replayed, or kept for long enough")
        }
        Outcome::Replayed => format!("{name}: {attempts}"),
    }
}
