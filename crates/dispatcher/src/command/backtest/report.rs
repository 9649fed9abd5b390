//! What came of a backtest: in counts, with examples.

use std::collections::BTreeMap;

use dispatcher_control::CallbackView;
use dispatcher_core::DecisionResult;
use dispatcher_decider::TriedOut;
use serde::Serialize;
use serde_json::{Value, json};

use super::text;

/// What came of it so far.
pub(super) struct Report {
    handler: String,
    most_examples: usize,
    contents: bool,
    /// How often which answer would have been what.
    changes: BTreeMap<Change, u64>,
    /// Of what was not decided: how often, and why the first time.
    undecided: BTreeMap<&'static str, (u64, String)>,
    /// How long each took, in microseconds.
    took: Vec<u64>,
    /// By seq.
    examples: BTreeMap<u64, Example>,
    /// Whether someone ended it.
    pub(super) is_interrupted: bool,
    /// Whether there are older callbacks than those that were asked about.
    pub(super) is_part: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Change {
    answered: String,
    would_be: &'static str,
    /// Whether the result is the same and the reply is not.
    otherwise: bool,
}

impl Change {
    fn differs(&self) -> bool {
        self.otherwise || self.answered != self.would_be
    }

    fn text(&self) -> String {
        let otherwise = if self.otherwise { ", otherwise" } else { "" };
        format!("{} -> {}{otherwise}", self.answered, self.would_be)
    }
}

/// A callback that would have been answered otherwise.
#[derive(Serialize)]
struct Example {
    #[serde(flatten)]
    callback: CallbackView,
    #[serde(flatten)]
    change: Change,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply: Option<String>,
}

impl Report {
    pub(super) fn new(handler: &str, most_examples: usize, contents: bool) -> Report {
        Report {
            handler: handler.to_owned(),
            most_examples,
            contents,
            changes: BTreeMap::new(),
            undecided: BTreeMap::new(),
            took: Vec::new(),
            examples: BTreeMap::new(),
            is_interrupted: false,
            is_part: false,
        }
    }

    /// Adds what it said about a callback.
    pub(super) fn add(&mut self, mut callback: Box<CallbackView>, tried: &TriedOut) {
        self.took.push(u64::try_from(tried.took.as_micros()).unwrap_or(u64::MAX));
        let (Some(result), Some(reply)) = (tried.result, &tried.reply) else {
            let (n, _) = self.undecided.entry(tried.said).or_insert_with(|| (0, tried.reason.clone()));
            *n += 1;
            return;
        };
        let answer = callback.decisions.iter().find(|decision| decision.is_answer());
        // Where nothing is on record nobody was asked.
        let answered = answer.map_or(DecisionResult::Allowed.as_str(), |answer| &answer.result).to_owned();
        let is_said_otherwise = || {
            let answered = answer.and_then(|answer| serde_json::from_str::<Value>(answer.reply.as_ref()?.get()).ok());
            answered.is_some_and(|answered| Some(answered) != serde_json::from_str(&reply.to_json()).ok())
        };
        let would_be = result.as_str();
        let otherwise = answered == would_be && result != DecisionResult::Allowed && is_said_otherwise();
        let change = Change { answered, would_be, otherwise };
        *self.changes.entry(change.clone()).or_default() += 1;
        if !change.differs() {
            return;
        }
        if !self.contents {
            (callback.body, callback.query) = (None, None);
        }
        callback.decisions.clear();
        let reply = self.contents.then(|| reply.to_json());
        let example = Example { change, reason: tried.reason.clone(), reply, callback: *callback };
        self.examples.insert(example.callback.seq, example);
        if self.examples.len() > self.most_examples {
            self.examples.pop_first();
        }
    }

    pub(super) fn n_asked(&self) -> u64 {
        self.took.len() as u64
    }

    fn n_differ(&self) -> u64 {
        self.changes.iter().filter(|(change, _)| change.differs()).map(|(_, n)| n).sum()
    }

    pub(super) fn json(&self) -> Value {
        let changes = self.changes.iter().map(|(change, n)| {
            let Change { answered, would_be, otherwise } = change;
            json!({ "answered": answered, "would_be": would_be, "otherwise": otherwise, "n": n })
        });
        let undecided = self.undecided.iter().map(|(said, (n, why))| json!({ "said": said, "n": n, "first": why }));
        let took = self.took();
        json!({
            "handler": self.handler,
            "asked": self.n_asked(),
            "differ": self.n_differ(),
            "changes": changes.collect::<Vec<_>>(),
            "undecided": undecided.collect::<Vec<_>>(),
            "took_us": { "p50": took.p50, "p99": took.p99, "max": took.max },
            "examples": self.examples.values().collect::<Vec<_>>(),
            "interrupted": self.is_interrupted,
            "more": self.is_part,
        })
    }

    pub(super) fn lines(&self) -> Vec<String> {
        let asked = text::count(self.n_asked(), "callback");
        let part = match (self.is_interrupted, self.is_part) {
            (true, _) => ", and was interrupted",
            (false, true) => ", the newest; --limit asks about more",
            (false, false) => "",
        };
        let mut lines = vec![format!("asked {} about {asked}{part}", text::clean(&self.handler))];
        if self.took.is_empty() {
            return lines;
        }
        for (change, n) in &self.changes {
            let differs = if change.differs() { "  differs" } else { "" };
            lines.push(format!("  {:<28} {:>10}{differs}", text::clean(&change.text()), text::number(*n)));
        }
        for (said, (n, why)) in &self.undecided {
            let why = if why.is_empty() { String::new() } else { format!("  first: {}", text::clean(why)) };
            lines.push(format!("  {said:<28} {:>10}{why}", text::number(*n)));
        }
        let took = self.took();
        let differ = text::number(self.n_differ());
        lines.push(format!("{differ} would have been answered otherwise"));
        lines.push(format!(
            "time taken: p50 {}, p99 {}, at most {}",
            text::millis(took.p50),
            text::millis(took.p99),
            text::millis(took.max)
        ));
        if !self.examples.is_empty() {
            lines.push(String::new());
            lines.push("examples".to_owned());
        }
        lines.extend(self.examples.values().flat_map(Example::lines));
        lines
    }

    fn took(&self) -> Took {
        let mut took = self.took.clone();
        took.sort_unstable();
        // The nearest that so many do not exceed.
        let at = |percent: usize| {
            let rank = (took.len() * percent).div_ceil(100);
            took.get(rank.saturating_sub(1)).copied().unwrap_or(0)
        };
        Took { p50: at(50), p99: at(99), max: at(100) }
    }
}

struct Took {
    p50: u64,
    p99: u64,
    max: u64,
}

impl Example {
    fn lines(&self) -> Vec<String> {
        let Example { callback, change, reason, reply } = self;
        let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        let what = format!("{} {}: {}{reason}", callback.command, callback.id, change.text());
        let mut lines = vec![format!("  {}  {}", text::time(callback.received_at), text::clean(&what))];
        if let Some(body) = &callback.body {
            lines.push(format!("    body  {}", text::clean(body.get())));
        }
        if let Some(reply) = reply {
            lines.push(format!("    reply {}", text::clean(reply)));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_are_those_that_so_many_do_not_exceed() {
        let mut report = Report::new("h", 0, false);
        assert_eq!(report.took().max, 0);
        report.took = (1..=200).rev().collect();
        let took = report.took();
        assert_eq!((took.p50, took.p99, took.max), (100, 198, 200));
        report.took = vec![7];
        let took = report.took();
        assert_eq!((took.p50, took.p99, took.max), (7, 7, 7));
    }
}
