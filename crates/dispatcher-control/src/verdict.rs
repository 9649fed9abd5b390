//! What is on record of the decisions about callbacks, as it is shown.

use std::{collections::BTreeMap, time::Duration};

use dispatcher_core::Callback;
use dispatcher_journal::{DecisionKind, DecisionRow, JournalError, Reader};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{Moment, answer::raw};

/// What was decided about a callback: what it was answered, or what somebody said of it that did not count.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DecisionView {
    /// When it was stored.
    pub at: Moment,
    /// `decided`: it was the answer. `late`: it came after that had left. `shadow`: it is of one that does not count.
    pub kind: String,
    /// What it came to: `allowed`, `refused`, `refused-some`, `dropped`, `rewritten` or `answered`.
    pub result: String,
    /// The handler whose word it was; left out where nobody changed anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Why, by its word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Of the answer: whether something counted that was not decided.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub defaulted: bool,
    /// Of what did not count: what was answered instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered: Option<String>,
    /// How long it took, in microseconds.
    pub took_us: u64,
    /// Of the answer: what each said that was asked, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deciders: Vec<Opinion>,
    /// The reply, where it says more than to go on. Only with contents.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply: Option<Box<RawValue>>,
}

/// What one decider said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opinion {
    /// The handler.
    pub name: String,
    /// A result, or `no-opinion`, `late`, `failed`, `busy`, `unreached`.
    pub said: String,
    /// What counted in its place, where it did not decide: `allow` or `refuse`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub then: Option<String>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How long it took, in microseconds.
    pub took_us: u64,
}

/// A record as the deciders write it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Record {
    by: Option<String>,
    reason: Option<String>,
    defaulted: bool,
    answered: Option<String>,
    took_us: u64,
    deciders: Vec<Opinion>,
    reply: Option<String>,
}

impl DecisionView {
    pub(crate) fn new(row: DecisionRow, contents: bool) -> DecisionView {
        // One that cannot be read was written by another version: what its columns say is told all the same.
        let record: Record = serde_json::from_str(&row.record).unwrap_or_default();
        DecisionView {
            at: row.at.into(),
            kind: row.kind.as_str().to_owned(),
            result: row.result,
            by: record.by,
            reason: record.reason,
            defaulted: record.defaulted,
            answered: record.answered,
            took_us: record.took_us,
            deciders: record.deciders,
            reply: record.reply.filter(|_| contents).map(|reply| raw(reply.as_bytes())),
        }
    }

    /// Whether it was the answer.
    #[must_use]
    pub fn is_answer(&self) -> bool {
        self.kind == DecisionKind::Decided.as_str()
    }

    /// Whether it is of one that does not count.
    #[must_use]
    pub fn is_shadow(&self) -> bool {
        self.kind == DecisionKind::Shadow.as_str()
    }

    /// All of it in a line, but for what each decider said.
    #[must_use]
    pub fn text(&self) -> String {
        let reason = self.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
        let took = milliseconds(self.took_us);
        let by = self.by.as_deref().unwrap_or("nobody");
        let answered = self.answered.as_deref().unwrap_or("something else");
        if self.is_shadow() {
            return format!(
                "{by}, a shadow, would have had it {} instead of {answered}, after {took}{reason}",
                self.result
            );
        }
        if !self.is_answer() {
            return format!("{by} was late: {} instead of {answered}, after {took}{reason}", self.result);
        }
        if self.deciders.is_empty() {
            return format!("{}, the default where nobody decides", self.result);
        }
        let by = self.by.as_deref().map(|by| format!(" by {by}")).unwrap_or_default();
        let defaulted = match self.deciders.iter().find(|decider| decider.then.is_some()) {
            Some(decider) => format!(", by default, since {} was {}", decider.name, decider.said),
            None => String::new(),
        };
        format!("{}{by}{defaulted}, after {took}{reason}", self.result)
    }
}

impl Opinion {
    /// All of it in a line.
    #[must_use]
    pub fn text(&self) -> String {
        let Opinion { name, said, then, reason, took_us } = self;
        let then = then.as_deref().map(|then| format!(", so that {then} counted")).unwrap_or_default();
        let reason = reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
        format!("{name}: {said}{then}, after {}{reason}", milliseconds(*took_us))
    }
}

/// Microseconds for people.
fn milliseconds(micros: u64) -> String {
    format!("{:.1} ms", Duration::from_micros(micros).as_secs_f64() * 1e3)
}

/// What is on record of the decisions about some callbacks, by their seqs.
#[derive(Default)]
pub(crate) struct Records {
    by_seq: BTreeMap<u64, Vec<DecisionView>>,
    /// How many records are damaged.
    pub(crate) n_damaged: u64,
}

/// How many ids the records of a callback have; see [`Reader::decisions_page`].
const IDS: u64 = 256;

impl Records {
    /// Those about the callbacks from `first` to `last`: a page of them, as memory has to hold them.
    pub(crate) fn read(reader: &mut Reader, first: u64, last: u64) -> Result<Records, JournalError> {
        let mut records = Records::default();
        let mut after = Some(first.saturating_mul(IDS).saturating_sub(1));
        let end = last.saturating_add(1).saturating_mul(IDS);
        while let Some(from) = after.filter(|after| after.saturating_add(1) < end) {
            let page = reader.decisions_page(from, IDS as usize)?;
            records.n_damaged += page.damaged.iter().filter(|(seq, _)| *seq <= last).count() as u64;
            for row in page.rows.into_iter().filter(|row| row.callback_seq <= last) {
                records.by_seq.entry(row.callback_seq).or_default().push(DecisionView::new(row, false));
            }
            after = page.upto;
        }
        Ok(records)
    }

    pub(crate) fn of(&self, seq: u64) -> &[DecisionView] {
        self.by_seq.get(&seq).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_seq.is_empty()
    }
}

/// How a callback has to be decided to be listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// With this result.
    Result(String),
    /// By default, at least in part.
    Defaulted,
    /// Otherwise than a shadow would have it.
    ShadowDiff,
}

impl Wanted {
    pub(crate) fn lets_through(&self, callback: &Callback, records: &[DecisionView]) -> bool {
        let answer = records.iter().find(|record| record.is_answer());
        match self {
            Wanted::Result(result) => match answer {
                Some(answer) => answer.result == *result,
                // Without a record nobody was asked.
                None => callback.command().wants_decision() && result == "allowed",
            },
            Wanted::Defaulted => answer.is_some_and(|answer| answer.defaulted),
            Wanted::ShadowDiff => records.iter().any(DecisionView::is_shadow),
        }
    }

    /// Whether a callback needs a record to be one.
    pub(crate) fn needs_record(&self) -> bool {
        *self != Wanted::Result("allowed".to_owned())
    }
}

/// How often a shadow would have had it otherwise, in one way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShadowDiff {
    /// The handler.
    pub handler: String,
    /// What was answered.
    pub answered: String,
    /// What it would have been.
    pub would_be: String,
    /// How often.
    pub n: u64,
}

/// Counts [`ShadowDiff`]s.
#[derive(Default)]
pub(crate) struct Tally(BTreeMap<(String, String, String), u64>);

impl Tally {
    pub(crate) fn count(&mut self, records: &[DecisionView]) {
        for record in records.iter().filter(|record| record.is_shadow()) {
            let handler = record.by.clone().unwrap_or_default();
            let answered = record.answered.clone().unwrap_or_default();
            *self.0.entry((handler, answered, record.result.clone())).or_default() += 1;
        }
    }

    pub(crate) fn diffs(self) -> Vec<ShadowDiff> {
        let diff = |((handler, answered, would_be), n)| ShadowDiff { handler, answered, would_be, n };
        self.0.into_iter().map(diff).collect()
    }
}
