//! From one callback to its answer: its deciders one after the other, under one deadline.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use dispatcher_cell::Caller;
use dispatcher_core::{Callback, DecisionResult, Purpose};
use dispatcher_journal::DecisionRecord;
use tencent_chat::{DecisionRules, Reply, ReplyFamily};
use tracing::trace;

use crate::{
    Fallback,
    after::{Afterwards, Late},
    ask::{Asked, Said},
    decider::Decider,
    record::{self, Step},
};

/// The target of events at level trace: one for each decider that is asked, and one for the answer.
const TARGET: &str = "dispatcher::decision";

/// What is answered to a callback that wants a decision.
pub struct Answer {
    /// The reply.
    pub reply: Bytes,
    /// What it comes to.
    pub result: DecisionResult,
    /// What is to be stored with the callback; `None` where nobody was asked and nothing but to go on was answered.
    pub record: Option<DecisionRecord>,
    /// What goes on after the answer, if anything does.
    pub afterwards: Option<Afterwards>,
}

/// The answer in the making.
pub(crate) struct Chain<'a> {
    rules: &'static DecisionRules,
    callback: &'a Arc<Callback>,
    /// The callback as the last decider saw it.
    seen: Arc<Callback>,
    /// Whether the reply has changed since.
    is_stale: bool,
    reply: Reply,
    /// The bytes of a reply that somebody else wrote and nobody has changed.
    raw: Option<Bytes>,
    /// The place of the step whose word the reply is.
    by: Option<usize>,
    is_over: bool,
    steps: Vec<Step>,
    late: Vec<Late>,
    begun: Instant,
}

impl<'a> Chain<'a> {
    pub(crate) fn new(rules: &'static DecisionRules, callback: &'a Arc<Callback>) -> Chain<'a> {
        Chain {
            rules,
            callback,
            seen: callback.clone(),
            is_stale: false,
            reply: rules.allow(callback.body_bytes()),
            raw: None,
            by: None,
            is_over: false,
            steps: Vec::new(),
            late: Vec::new(),
            begun: Instant::now(),
        }
    }

    /// Asks the next one.
    pub(crate) async fn ask(&mut self, decider: &Arc<Decider>, deadline: Instant, caller: Option<&Caller>) {
        // Not before somebody is to see it: it costs a parse.
        if std::mem::take(&mut self.is_stale)
            && let Some(body) = self.reply.apply(self.rules.family, self.callback.body_bytes())
        {
            self.seen = Arc::new(self.callback.with_body(body.into()));
        }
        let asked = decider.ask(self.rules, &self.seen, deadline, Purpose::Answer, caller).await;
        self.take(decider, asked);
    }

    /// Whether nobody else needs to be asked.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }

    /// What the command's default says, where there is nobody to ask.
    pub(crate) fn default(&mut self, decision: Fallback) {
        if decision == Fallback::Refuse
            && let Ok(refusal) = self.rules.refuse(self.callback.body_bytes(), None, None)
        {
            self.reply = refusal;
        }
    }

    fn take(&mut self, decider: &Arc<Decider>, asked: Asked) {
        let Asked { said, verdict, took, late } = asked;
        let (mut reason, mut error_code) = (String::new(), 0);
        if let Some(verdict) = verdict {
            (reason, error_code) = (verdict.reason, verdict.reply.error_code);
            self.is_over |= verdict.is_final;
            self.merge(verdict.reply, verdict.raw);
        }
        if let Said::Failed(why) = &said {
            reason.clone_from(why);
        }
        decider.tally.count(&said, took);
        decider.tell(&said, Purpose::Answer);
        let then = said.fallback(&decider.instance.options);
        self.tell_step(decider, &said, then, took);
        // It can be refused: the configuration was checked.
        if then == Some(Fallback::Refuse)
            && let Ok(refusal) = self.rules.refuse(self.callback.body_bytes(), None, None)
        {
            self.merge(refusal, None);
        }
        if let Some(call) = late {
            let (seen, fallback) = (self.seen.clone(), then.unwrap_or_default());
            self.late.push(Late { decider: decider.clone(), call, seen, fallback, begun: Instant::now() - took });
        }
        self.steps.push(Step { decider: decider.clone(), said, then, reason, error_code, took });
    }

    /// Adds what the next one says.
    fn merge(&mut self, reply: Reply, raw: Option<Bytes>) {
        let family = self.rules.family;
        let is_first = self.reply.is_plain_allow();
        if reply.is_plain_allow() {
            // Says nothing that is not said; but somebody else's words for it are passed on where they are all there is.
            if is_first && raw.is_some() {
                self.raw = raw;
            }
            return;
        }
        self.raw = raw.filter(|_| is_first);
        self.by = Some(self.steps.len());
        self.is_stale = true;
        self.reply = std::mem::take(&mut self.reply).then(reply);
        let result = DecisionResult::of(family, &self.reply);
        self.is_over |= matches!(result, DecisionResult::Refused | DecisionResult::Dropped | DecisionResult::Answered);
    }

    /// Tells those who trace callbacks of one decider's part; costs a look at an atomic where there are none.
    fn tell_step(&self, decider: &Decider, said: &Said, then: Option<Fallback>, took: Duration) {
        trace!(
            target: TARGET,
            handler = &*decider.name,
            said = said.as_str(),
            then = then.map(Fallback::as_str),
            id = %self.callback.id(),
            app = self.callback.app().sdk_app_id(),
            command = self.callback.command().as_str(),
            micros = record::micros(took),
            traceparent = self.callback.traceparent(),
            "decider asked"
        );
    }

    /// The same of all of it, where somebody was asked.
    fn tell(&self, result: DecisionResult) {
        if self.steps.is_empty() {
            return;
        }
        trace!(
            target: TARGET,
            decision = result.as_str(),
            by = self.by.and_then(|by| self.steps.get(by)).map(|step| &*step.decider.name),
            id = %self.callback.id(),
            app = self.callback.app().sdk_app_id(),
            command = self.callback.command().as_str(),
            micros = record::micros(self.begun.elapsed()),
            traceparent = self.callback.traceparent(),
            "decided"
        );
    }

    pub(crate) fn answer(self, shadows: Vec<Arc<Decider>>, within: Duration) -> Answer {
        let result = DecisionResult::of(self.rules.family, &self.reply);
        self.tell(result);
        let has_more = matches!(self.rules.family, ReplyFamily::FriendRequest | ReplyFamily::Signal);
        let reply = self.raw.unwrap_or_else(|| match result {
            DecisionResult::Allowed if !has_more => Bytes::from_static(tencent_chat::OK.as_bytes()),
            _ => self.reply.to_json().into(),
        });
        // With something to come after it, too: that is put beside it.
        let is_recorded = !self.steps.is_empty() || !shadows.is_empty() || result != DecisionResult::Allowed;
        let record = is_recorded.then(|| {
            let text = (result != DecisionResult::Allowed).then(|| std::str::from_utf8(&reply).unwrap_or_default());
            record::answered(result, self.by, self.begun.elapsed(), &self.steps, text)
        });
        let afterwards = (!self.late.is_empty() || !shadows.is_empty()).then(|| Afterwards {
            rules: self.rules,
            callback: self.callback.clone(),
            answered: self.reply,
            late: self.late,
            shadows,
            within,
        });
        Answer { reply, result, record, afterwards }
    }
}
