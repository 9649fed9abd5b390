//! How a handler decides: the keys that only deciders take, and what comes of them.

use std::{num::NonZeroUsize, time::Duration};

use dispatcher_core::{Command, HandlerPlugin, Role, Route, TimeSpan};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{key_path::KeyPath, source::Source};

/// How a handler decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecideSettings {
    /// Deciders of one command are asked in this order, smallest first; equal ones by name.
    pub order: i64,
    /// How many decisions of it may be under way; at least 1.
    pub max_in_flight: usize,
    /// What counts when its decision is not there in time, or it was not reached.
    pub if_late: DefaultDecision,
    /// What counts when it fails, decides what is not legal, or is not there.
    pub if_failed: DefaultDecision,
    /// What counts when too many of its decisions are under way.
    pub if_busy: DefaultDecision,
    /// Whether it runs after the answer, and does not count.
    pub shadow: bool,
    /// How long a decision that is late is waited for after the answer.
    pub late_wait: Duration,
    /// Which of its decisions are events too.
    pub emit: Vec<Emit>,
}

/// What is decided where nobody has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DefaultDecision {
    /// It goes on, as Tencent itself lets it go on without an answer.
    #[default]
    Allow,
    /// It is refused.
    Refuse,
}

impl std::fmt::Display for DefaultDecision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            DefaultDecision::Allow => "allow",
            DefaultDecision::Refuse => "refuse",
        })
    }
}

/// A kind of decisions that are events too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Emit {
    /// It let it go on as it is, or had no opinion.
    Allowed,
    /// It refused, all or some.
    Refused,
    /// It dropped.
    Dropped,
    /// It rewrote, or gave an answer to pass on.
    Rewritten,
    /// Its default was taken: it was late, busy or failing.
    Defaulted,
    /// Its decision came after the answer, and differs.
    Late,
}

/// The keys of `[handlers.<name>]` that only handlers take that decide.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct DecideKeys {
    /// Deciders of one command are asked in this order, smallest first; equal ones by name. Default 0.
    order: i64,
    /// How many decisions of it may be under way at once. Default 1024.
    max_in_flight: NonZeroUsize,
    /// `"allow"` or `"refuse"`: what counts when its decision is not there in time. Default `allow`, as Tencent's own.
    if_late: DefaultDecision,
    /// What counts when it fails or cannot be asked. Default `allow`.
    if_failed: DefaultDecision,
    /// What counts when `max_in_flight` decisions are under way. Default `allow`.
    if_busy: DefaultDecision,
    /// Whether it is asked after the answer, does not count, and what it would have changed is recorded. Default false.
    shadow: bool,
    /// How long a decision that is late is waited for after the answer; one that differs is recorded, and an event. Default
    /// 5 s.
    late_wait: TimeSpan,
    /// Which of its decisions are events for its sinks: any of `"allowed"`, `"refused"`, `"dropped"`, `"rewritten"`,
    /// `"defaulted"`, `"late"`. Sinks that take forwarded callbacks only get none. Default `["late"]`.
    emit: Vec<Emit>,
}

/// The names of the keys of [`DecideKeys`]; a test holds them equal.
pub(crate) const DECIDE_KEYS: [&str; 8] =
    ["emit", "if_busy", "if_failed", "if_late", "late_wait", "max_in_flight", "order", "shadow"];

/// What is awaited for longer is no decision any more.
const LONGEST_LATE_WAIT: Duration = Duration::from_secs(3600);
const MAX_IN_FLIGHT: usize = 1_000_000;

impl Default for DecideKeys {
    fn default() -> DecideKeys {
        DecideKeys {
            order: 0,
            max_in_flight: const { NonZeroUsize::new(1024).expect("not zero") },
            if_late: DefaultDecision::Allow,
            if_failed: DefaultDecision::Allow,
            if_busy: DefaultDecision::Allow,
            shadow: false,
            late_wait: TimeSpan::from_secs(5),
            emit: vec![Emit::Late],
        }
    }
}

impl DecideKeys {
    /// Checks the keys of the section at `path`, and gives what comes of them for a handler that selects `route`.
    pub(crate) fn settings(
        self,
        source: &mut Source,
        path: &KeyPath,
        route: &Route,
        plugin: &HandlerPlugin,
        sinks: &[String],
    ) -> DecideSettings {
        let decides: Vec<_> = tencent_chat::commands()
            .iter()
            .filter(|info| info.wants_decision() && route.selects_command(&Command::new(info.name)))
            .collect();
        if decides.is_empty() && plugin.role == Role::Decide {
            let what = "selects no command that wants a decision; `dispatcher commands` says which do";
            source.warn(&path.key("commands"), what);
        }
        for (key, default) in [("if_late", self.if_late), ("if_failed", self.if_failed), ("if_busy", self.if_busy)] {
            if default == DefaultDecision::Refuse
                && let Some(info) = decides.iter().find(|info| !can_refuse(info.name))
            {
                let what = format!(
                    "{} cannot be refused, and this handler selects it; write \"allow\", or leave that command to another \
                     section with except = [\"{}\"]",
                    info.name, info.name
                );
                source.error(&path.key(key), what);
            }
        }
        if self.late_wait.get() > LONGEST_LATE_WAIT {
            source.error(&path.key("late_wait"), "later than a decision is of use; write \"1h\" at most");
        }
        if self.max_in_flight.get() > MAX_IN_FLIGHT {
            source.error(&path.key("max_in_flight"), format!("more than can be; write {MAX_IN_FLIGHT} at most"));
        }
        if sinks.is_empty() && self.emit.iter().any(|emit| *emit != Emit::Late) {
            source.warn(&path.key("emit"), "there are no sinks for these events; name some in sinks");
        }
        DecideSettings {
            order: self.order,
            max_in_flight: self.max_in_flight.get(),
            if_late: self.if_late,
            if_failed: self.if_failed,
            if_busy: self.if_busy,
            shadow: self.shadow,
            late_wait: self.late_wait.get(),
            emit: self.emit,
        }
    }
}

pub(crate) fn can_refuse(command: &str) -> bool {
    tencent_chat::decision_rules(command).is_some_and(tencent_chat::DecisionRules::can_refuse)
}
