//! Asks, and tells.

use std::{
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use dispatcher_core::{Callback, DecideContext, Decision, HandleContext, Handler, HandlerError, NewEvent, Purpose};
use tencent_chat::{DecisionRules, decision_rules};
use tokio::time::timeout_at;

use crate::{
    acknowledged::acknowledged,
    breaker::{Asking, Breaker, Turn},
    decided::{Undecided, decided},
    service::Service,
};

/// For how long a verdict that comes too late is waited for, should the dispatcher wait that long.
const LATE_MAX: Duration = Duration::from_secs(60);

/// What is left of a call's time when an answer is given up on, so that the error says who did not answer: a tenth, and no
/// more than this.
const MARGIN_MAX: Duration = Duration::from_millis(100);

/// The handler.
pub(crate) struct Endpoint {
    service: Service,
    breaker: Arc<Breaker>,
}

impl Endpoint {
    /// `timeout`: the longest that a call has, if that is known.
    pub(crate) fn new(service: Service, timeout: Option<Duration>) -> Endpoint {
        let breaker = Breaker::new(service.name.clone(), service.shown(), timeout);
        Endpoint { service, breaker: Arc::new(breaker) }
    }

    /// Asks with a copy of a callback whose own answer is the default by now. The verdict is of no use; that there is one in
    /// time is.
    fn probe(&self, callback: &Callback, rules: &'static DecisionRules, asking: Asking) {
        let (service, callback) = (self.service.clone(), callback.clone());
        tokio::spawn(async move {
            let answer = service.post(&callback, false, asking.deadline().into()).await;
            asking.end(found(&decided(answer, rules, &callback)), Instant::now());
        });
    }
}

#[async_trait]
impl Handler for Endpoint {
    async fn decide(&self, callback: &Callback, cx: &DecideContext) -> Result<Option<Decision>, HandlerError> {
        if cx.purpose == Purpose::Backtest {
            return Err(HandlerError::permanent("asking an endpoint has effects there; a backtest cannot"));
        }
        let Some(rules) = decision_rules(callback.command().as_str()) else { return Ok(None) };
        if cx.time_left().is_zero() {
            return Err(HandlerError::retry(format!("no time was left to ask {}", self.service.shown())));
        }
        let asking = match self.breaker.turn(cx.deadline, Instant::now()) {
            Turn::Ask(asking) => asking,
            Turn::Probe(asking, rest) => {
                self.probe(callback, rules, asking);
                return Err(HandlerError::retry(rest));
            }
            Turn::Rest(rest) => return Err(HandlerError::retry(rest)),
        };
        // Not cut off at the deadline: a verdict that comes late is worth knowing. For the breaker it is a failure by then.
        let mut ask = pin!(async {
            let answer = self.service.post(callback, false, (cx.deadline + LATE_MAX).into()).await;
            decided(answer, rules, callback)
        });
        let decision = match timeout_at(cx.deadline.into(), &mut ask).await {
            Ok(decision) => {
                asking.end(found(&decision), Instant::now());
                decision
            }
            Err(_) => {
                drop(asking);
                ask.await
            }
        };
        decision.map(Some).map_err(|undecided| undecided.error)
    }

    async fn handle(&self, callback: &Callback, cx: &HandleContext) -> Result<Vec<NewEvent>, HandlerError> {
        // It was asked about these; one may still come as a dead letter that is replayed.
        if callback.command().wants_decision() {
            return Ok(vec![]);
        }
        let left = cx.deadline.saturating_duration_since(Instant::now());
        let deadline = Instant::now() + left - MARGIN_MAX.min(left / 10);
        acknowledged(self.service.post(callback, cx.replay, deadline.into()).await)?;
        Ok(vec![])
    }
}

/// What the breaker has to know.
fn found(decision: &Result<Decision, Undecided>) -> Result<(), String> {
    match decision {
        Ok(_) | Err(Undecided { is_there: true, .. }) => Ok(()),
        Err(Undecided { error, .. }) => Err(error.to_string()),
    }
}
