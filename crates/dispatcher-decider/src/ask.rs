//! What one decider said when it was asked.

use std::time::Duration;

use bytes::Bytes;
use dispatcher_cell::Call;
use dispatcher_core::{Decision, DecisionResult, HandlerError};
use tencent_chat::{DecisionRules, IllegalReply, Reply};

use crate::{Fallback, options::DeciderOptions};

/// A call of `decide` that is under way.
pub(crate) type DecideCall = Call<Result<Option<Decision>, HandlerError>>;

/// What became of asking one decider.
pub(crate) struct Asked {
    pub(crate) said: Said,
    /// What it decided, where it did; where it had no opinion there is none.
    pub(crate) verdict: Option<Verdict>,
    pub(crate) took: Duration,
    /// The call, where it was late and may still come.
    pub(crate) late: Option<DecideCall>,
}

/// What a decider decided, held against the rules of the command.
#[derive(Default)]
pub(crate) struct Verdict {
    pub(crate) reply: Reply,
    /// The bytes of the reply, where somebody else wrote it.
    pub(crate) raw: Option<Bytes>,
    pub(crate) reason: String,
    /// Whether nobody is asked after it, although it refuses nothing.
    pub(crate) is_final: bool,
}

impl Verdict {
    /// What it is to have no opinion: it goes on as it is.
    pub(crate) fn none(rules: &DecisionRules, request: &[u8]) -> Verdict {
        Verdict { reply: rules.allow(request), ..Verdict::default() }
    }

    /// What a decision on `request` says.
    pub(crate) fn of(decision: &Decision, rules: &DecisionRules, request: &[u8]) -> Result<Verdict, IllegalReply> {
        Ok(Verdict {
            reply: decision.reply(rules, request)?,
            raw: decision.raw_reply().cloned(),
            reason: decision.reason().to_owned(),
            is_final: decision.is_final(),
        })
    }
}

/// What a decider said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    NoOpinion,
    Result(DecisionResult),
    Late,
    Failed(String),
    Busy,
    Unreached,
}

impl Said {
    /// How many kinds there are.
    pub(crate) const KINDS: usize = 11;

    /// Its place among the kinds, in the order of [`DeciderCounts`](crate::DeciderCounts).
    pub(crate) fn kind(&self) -> usize {
        match self {
            Said::NoOpinion => 0,
            Said::Result(result) => 1 + *result as usize,
            Said::Late => 7,
            Said::Failed(_) => 8,
            Said::Busy => 9,
            Said::Unreached => 10,
        }
    }

    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Said::NoOpinion => "no-opinion",
            Said::Result(result) => result.as_str(),
            Said::Late => "late",
            Said::Failed(_) => "failed",
            Said::Busy => "busy",
            Said::Unreached => "unreached",
        }
    }

    pub(crate) fn is_decided(&self) -> bool {
        matches!(self, Said::NoOpinion | Said::Result(_))
    }

    /// Whether it was asked, and had time.
    pub(crate) fn was_waited_for(&self) -> bool {
        !matches!(self, Said::Busy | Said::Unreached)
    }

    /// What counts in its place; `None` where it decided.
    pub(crate) fn fallback(&self, options: &DeciderOptions) -> Option<Fallback> {
        match self {
            Said::NoOpinion | Said::Result(_) => None,
            Said::Late | Said::Unreached => Some(options.if_late),
            Said::Failed(_) => Some(options.if_failed),
            Said::Busy => Some(options.if_busy),
        }
    }

    /// Whether this is to be an event.
    pub(crate) fn is_emitted(&self, options: &DeciderOptions) -> bool {
        let emit = options.emit;
        match self {
            Said::NoOpinion | Said::Result(DecisionResult::Allowed) => emit.allowed,
            Said::Result(DecisionResult::Refused | DecisionResult::RefusedSome) => emit.refused,
            Said::Result(DecisionResult::Dropped) => emit.dropped,
            Said::Result(DecisionResult::Rewritten | DecisionResult::Answered) => emit.rewritten,
            Said::Late | Said::Failed(_) | Said::Busy | Said::Unreached => emit.defaulted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_place_of_its_own() {
        let mut said: Vec<Said> = DecisionResult::ALL.into_iter().map(Said::Result).collect();
        said.extend([Said::NoOpinion, Said::Late, Said::Failed(String::new()), Said::Busy, Said::Unreached]);
        let mut kinds: Vec<usize> = said.iter().map(Said::kind).collect();
        kinds.sort_unstable();
        assert_eq!(kinds, (0..Said::KINDS).collect::<Vec<_>>());
    }
}
