//! What goes on after the answer: verdicts that come late, and those of shadows.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use dispatcher_core::{Callback, DecisionResult, Purpose};
use dispatcher_journal::{DecisionKind, Journal, Place};
use tencent_chat::{DecisionRules, Reply};
use tokio::{task::JoinSet, time::timeout};
use tracing::warn;

use crate::{
    Fallback,
    ask::{DecideCall, Said, Verdict},
    decider::Decider,
    record::Other,
    repair::repair,
};

/// What goes on after an answer; see [`Deciders::go_on`](crate::Deciders::go_on).
pub struct Afterwards {
    pub(crate) rules: &'static DecisionRules,
    pub(crate) callback: Arc<Callback>,
    pub(crate) answered: Reply,
    pub(crate) late: Vec<Late>,
    pub(crate) shadows: Vec<Arc<Decider>>,
    /// How long a shadow may take.
    pub(crate) within: Duration,
}

/// A call that was late.
pub(crate) struct Late {
    pub(crate) decider: Arc<Decider>,
    pub(crate) call: DecideCall,
    /// The callback as it was asked about.
    pub(crate) seen: Arc<Callback>,
    /// What counted instead.
    pub(crate) fallback: Fallback,
    pub(crate) begun: Instant,
}

impl Afterwards {
    /// Waits for all of it at once, and puts on record, beside the callback, what differs from the answer.
    pub(crate) async fn run(self, journal: Option<(Journal, Place)>) {
        let Afterwards { rules, callback, answered, late, shadows, within } = self;
        let result = DecisionResult::of(rules.family, &answered);
        let after = Arc::new(After { rules, callback, result, answered, journal });
        let mut all = JoinSet::new();
        for one in late {
            let after = after.clone();
            all.spawn(async move { after.late(one).await });
        }
        for decider in shadows {
            let after = after.clone();
            all.spawn(async move { after.shadow(&decider, within).await });
        }
        all.join_all().await;
    }

    /// Lets it be, and counts that.
    pub(crate) fn skip(self) {
        for decider in self.late.iter().map(|late| &late.decider).chain(&self.shadows) {
            decider.tally.skipped.fetch_add(1, Relaxed);
        }
    }
}

struct After {
    rules: &'static DecisionRules,
    callback: Arc<Callback>,
    answered: Reply,
    result: DecisionResult,
    /// Where it is put on record, unless the callback itself is not.
    journal: Option<(Journal, Place)>,
}

impl After {
    async fn late(&self, late: Late) {
        let Late { decider, call, seen, fallback, begun } = late;
        // Beyond so many nobody is waited for: they would be ever more.
        let Some(_place) = decider.late_place() else {
            decider.tally.skipped.fetch_add(1, Relaxed);
            return;
        };
        let decided = match timeout(decider.instance.options.late_wait, call).await {
            Ok(Ok(Ok(decided))) => decided,
            Ok(Ok(Err(_))) | Err(_) => return, // That it was late is counted and told.
            Ok(Err(err)) => return decider.note(&err),
        };
        let took = begun.elapsed();
        decider.tally.came_late.fetch_add(1, Relaxed);
        let (said, verdict) = decider.read(decided.as_ref(), self.rules, &seen);
        if let Said::Failed(why) = said {
            return warn!(handler = &*decider.name, "{why}");
        }
        let verdict = verdict.unwrap_or_else(|| Verdict::none(self.rules, seen.body_bytes()));
        let result = DecisionResult::of(self.rules.family, &verdict.reply);
        let is_stopped = |result| matches!(result, DecisionResult::Refused | DecisionResult::Dropped);
        let differs = match fallback {
            // It was refused in its place.
            Fallback::Refuse => !is_stopped(result),
            // What was stopped by another is stopped.
            Fallback::Allow => {
                !is_stopped(self.result)
                    && !self.answered.clone().then(verdict.reply.clone()).says_the_same(&self.answered)
            }
        };
        if differs {
            decider.tally.late_differs.fetch_add(1, Relaxed);
            self.put(DecisionKind::Late, &decider, &verdict, took);
        }
    }

    async fn shadow(&self, decider: &Arc<Decider>, within: Duration) {
        let begun = Instant::now();
        let Some(deadline) = begun.checked_add(within) else { return };
        let asked = decider.ask(self.rules, &self.callback, deadline, Purpose::Shadow, None).await;
        decider.tell(&asked.said, Purpose::Shadow);
        if !asked.said.is_decided() {
            return;
        }
        let verdict = asked.verdict.unwrap_or_else(|| Verdict::none(self.rules, self.callback.body_bytes()));
        decider.tally.shadow.fetch_add(1, Relaxed);
        if !verdict.reply.says_the_same(&self.answered) {
            decider.tally.shadow_differs.fetch_add(1, Relaxed);
            self.put(DecisionKind::Shadow, decider, &verdict, asked.took);
        }
    }

    fn put(&self, kind: DecisionKind, decider: &Decider, verdict: &Verdict, took: Duration) {
        let Some((journal, place)) = &self.journal else { return };
        let reply = &verdict.reply;
        let other = Other {
            kind,
            decider,
            result: DecisionResult::of(self.rules.family, reply),
            reason: &verdict.reason,
            answered: self.result,
            took,
            reply: &reply.to_json(),
            error_code: reply.error_code,
            repair: match kind {
                DecisionKind::Late => repair(self.rules.family, &self.callback, &self.answered, reply),
                _ => serde_json::Value::Null,
            },
        };
        // Should it not be taken, the journal counts it: it takes nothing else either then.
        let _ = journal.attach(place, other.record(), self.callback.clone());
    }
}
