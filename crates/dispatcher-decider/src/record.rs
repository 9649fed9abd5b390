//! What is put on record, and what is told to sinks, of a decision. Neither has what people write to each other but for the
//! reply, where that rewrites.

use std::{sync::Arc, time::Duration};

use dispatcher_core::{DecisionResult, HandlerError, NewEvent};
use dispatcher_journal::{DecisionEvents, DecisionKind, DecisionRecord};
use serde::Serialize;

use crate::{Fallback, ask::Said, decider::Decider};

/// One decider's part in an answer.
pub(crate) struct Step {
    pub(crate) decider: Arc<Decider>,
    pub(crate) said: Said,
    pub(crate) then: Option<Fallback>,
    pub(crate) reason: String,
    pub(crate) error_code: i64,
    pub(crate) took: Duration,
}

/// The record of an answer, as JSON: what `dispatcher show` tells.
#[derive(Serialize)]
struct Answered<'a> {
    result: DecisionResult,
    /// The decider whose word it was; none if nobody changed anything, or there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<&'a str>,
    /// Why, by its word.
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'a str,
    /// Whether somebody's fallback, or the command's default, was part of it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    defaulted: bool,
    took_us: u64,
    deciders: Vec<AnsweredStep<'a>>,
    /// The reply, where it says more than to go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    reply: Option<&'a str>,
}

#[derive(Serialize)]
struct AnsweredStep<'a> {
    name: &'a str,
    said: &'static str,
    /// What counted in place of a decision.
    #[serde(skip_serializing_if = "Option::is_none")]
    then: Option<&'static str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'a str,
    took_us: u64,
}

pub(crate) fn answered(
    result: DecisionResult,
    by: Option<usize>,
    took: Duration,
    steps: &[Step],
    reply: Option<&str>,
) -> DecisionRecord {
    let by = by.and_then(|by| steps.get(by));
    let record = Answered {
        result,
        by: by.map(|step| &*step.decider.name),
        reason: by.map_or("", |step| &step.reason),
        // Without a decider it is the command's default.
        defaulted: steps.is_empty() || steps.iter().any(|step| step.then.is_some()),
        took_us: micros(took),
        deciders: steps
            .iter()
            .map(|step| AnsweredStep {
                name: &step.decider.name,
                said: step.said.as_str(),
                then: step.then.map(Fallback::as_str),
                reason: &step.reason,
                took_us: micros(step.took),
            })
            .collect(),
        reply,
    };
    let events = steps.iter().filter_map(|step| event(result, step)).collect();
    DecisionRecord { kind: DecisionKind::Decided, result: result.as_str().into(), record: json(&record), events }
}

/// The data of `tencent-chat.decision`.
#[derive(Serialize)]
struct Told<'a> {
    /// The handler that this is about.
    handler: &'a str,
    /// What it said.
    said: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    then: Option<&'static str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'a str,
    /// The code that it gave, if it refused with one.
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<i64>,
    took_us: u64,
    /// What was answered in the end, by all.
    answered: DecisionResult,
}

fn event(answered: DecisionResult, step: &Step) -> Option<DecisionEvents> {
    let options = &step.decider.instance.options;
    if options.sinks.is_empty() || !step.said.is_emitted(options) {
        return None;
    }
    let told = Told {
        handler: &step.decider.name,
        said: step.said.as_str(),
        then: step.then.map(Fallback::as_str),
        reason: &step.reason,
        error_code: (step.error_code != 0).then_some(step.error_code),
        took_us: micros(step.took),
        answered,
    };
    events(&step.decider, NewEvent::new("tencent-chat.decision", &told))
}

/// The record of a verdict that did not count, as JSON: one that came late, or one of a shadow.
#[derive(Serialize)]
struct OtherRecord<'a> {
    result: DecisionResult,
    by: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'a str,
    /// What was answered.
    answered: DecisionResult,
    took_us: u64,
    reply: &'a str,
}

/// A verdict that did not count.
pub(crate) struct Other<'a> {
    pub(crate) kind: DecisionKind,
    pub(crate) decider: &'a Decider,
    pub(crate) result: DecisionResult,
    pub(crate) reason: &'a str,
    pub(crate) answered: DecisionResult,
    pub(crate) took: Duration,
    pub(crate) reply: &'a str,
    pub(crate) error_code: i64,
    /// What it takes to make good what was answered instead.
    pub(crate) repair: serde_json::Value,
}

/// The data of `tencent-chat.decision.late`.
#[derive(Serialize)]
struct ToldLate<'a> {
    handler: &'a str,
    /// What it would have been.
    result: DecisionResult,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<i64>,
    /// What was answered.
    answered: DecisionResult,
    took_us: u64,
    repair: &'a serde_json::Value,
}

impl Other<'_> {
    pub(crate) fn record(&self) -> DecisionRecord {
        let record = OtherRecord {
            result: self.result,
            by: &self.decider.name,
            reason: self.reason,
            answered: self.answered,
            took_us: micros(self.took),
            reply: self.reply,
        };
        let options = &self.decider.instance.options;
        let is_told = self.kind == DecisionKind::Late && options.emit.late && !options.sinks.is_empty();
        let told = is_told.then(|| {
            let told = ToldLate {
                handler: &self.decider.name,
                result: self.result,
                reason: self.reason,
                error_code: (self.error_code != 0).then_some(self.error_code),
                answered: self.answered,
                took_us: micros(self.took),
                repair: &self.repair,
            };
            events(self.decider, NewEvent::new("tencent-chat.decision.late", &told))
        });
        DecisionRecord {
            kind: self.kind,
            result: self.result.as_str().into(),
            record: json(&record),
            events: told.flatten().into_iter().collect(),
        }
    }
}

fn events(decider: &Decider, event: Result<NewEvent, HandlerError>) -> Option<DecisionEvents> {
    let event = event.expect("strings and numbers are always JSON");
    Some(DecisionEvents { handler: decider.name.clone(), sinks: decider.instance.options.sinks.clone(), event })
}

fn json(record: &impl Serialize) -> String {
    serde_json::to_string(record).expect("strings and numbers are always JSON")
}

pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
