//! What a decider is told: whom it decides for, in what order, and what counts when it does not.

use std::{sync::Arc, time::Duration};

use dispatcher_core::{CommandPattern, HandlerSettings, Route};

/// A handler that decides.
#[derive(Clone)]
pub struct DeciderInstance {
    /// The handler's name.
    pub name: String,
    /// Its plugin's settings.
    pub settings: Arc<dyn HandlerSettings>,
    /// The callbacks it selects; of those it is asked about the ones whose reply is a decision.
    pub route: Route,
    /// Threads of its own; at least 1.
    pub threads: usize,
    /// How it is asked.
    pub options: DeciderOptions,
    /// The same as long as all of this but the options' sinks is the same: see [`Deciders::succeed`](crate::Deciders::succeed).
    pub fingerprint: u64,
}

/// How a decider is asked.
#[derive(Clone, Debug)]
pub struct DeciderOptions {
    /// Deciders of one command are asked in this order, smallest first; equal ones by name.
    pub order: i64,
    /// How long it may take, beside the time that Tencent leaves.
    pub timeout: Duration,
    /// How many of its decisions may be under way; at least 1. As many again may be late and waited for.
    pub max_in_flight: usize,
    /// What counts when it is late, or not reached.
    pub if_late: Fallback,
    /// What counts when it fails, decides what is not legal, or is not there.
    pub if_failed: Fallback,
    /// What counts when too many of its decisions are under way.
    pub if_busy: Fallback,
    /// Whether it is asked after the answer, and does not count.
    pub shadow: bool,
    /// How long a decision that is late is waited for.
    pub late_wait: Duration,
    /// Which of its decisions are events.
    pub emit: Emit,
    /// The names of the sinks of those, joined with `,`; without any there are no events.
    pub sinks: Arc<str>,
}

impl Default for DeciderOptions {
    fn default() -> DeciderOptions {
        DeciderOptions {
            order: 0,
            timeout: Duration::from_secs(30),
            max_in_flight: 1024,
            if_late: Fallback::Allow,
            if_failed: Fallback::Allow,
            if_busy: Fallback::Allow,
            shadow: false,
            late_wait: Duration::from_secs(5),
            emit: Emit { late: true, ..Emit::default() },
            sinks: "".into(),
        }
    }
}

/// Which decisions are events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a word of the configuration")]
pub struct Emit {
    /// Those that change nothing.
    pub allowed: bool,
    /// Refusals, of all or of some.
    pub refused: bool,
    /// Drops.
    pub dropped: bool,
    /// Rewrites, and answers to pass on.
    pub rewritten: bool,
    /// Those that were not made, so that a fallback counted.
    pub defaulted: bool,
    /// Those that came after the answer, and differ from it.
    pub late: bool,
}

/// What counts in place of a decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fallback {
    /// It goes on, with what others changed.
    #[default]
    Allow,
    /// It is refused.
    Refuse,
}

impl Fallback {
    /// Its name, as in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Fallback::Allow => "allow",
            Fallback::Refuse => "refuse",
        }
    }
}

/// What is decided on the commands of a pattern where no decider is. Of several, the narrowest speaks; of equally narrow ones,
/// the last.
#[derive(Clone, Debug)]
pub struct DefaultRule {
    /// The commands.
    pub commands: CommandPattern,
    /// What is decided.
    pub decision: Fallback,
}
