//! One line of the log for each request, at debug: how it ended, and all that is known of it but what people wrote.

use std::{net::SocketAddr, time::Instant};

use dispatcher_core::{CallbackId, Command, DecisionResult, TraceParent};
use tracing::{Level, debug, enabled};

use crate::{IntakeApp, Outcome, refusal::Refused};

/// The target, so that these lines can be told from others.
const TARGET: &str = "dispatcher::callback";

/// What its line says of a request. It is written when this is dropped, also where the sender went away before there was an
/// answer; below debug that costs one look at the log's level.
pub(crate) struct Line<'c> {
    pub(crate) peer: SocketAddr,
    /// When the request's head was there.
    pub(crate) begun: Instant,
    pub(crate) traceparent: Option<TraceParent>,
    pub(crate) app: Option<&'c IntakeApp>,
    /// Of a callback that is verified: what strangers write is in no line.
    pub(crate) command: Option<Command>,
    pub(crate) id: Option<CallbackId>,
    /// How long its body is, once it is read.
    pub(crate) body_bytes: Option<usize>,
    pub(crate) decision: Option<DecisionResult>,
    pub(crate) ended: Option<Result<Outcome, Refused>>,
}

impl Line<'_> {
    /// Of a request of which nothing is known yet.
    pub(crate) fn new(peer: SocketAddr, traceparent: Option<TraceParent>) -> Self {
        Line {
            peer,
            begun: Instant::now(),
            traceparent,
            app: None,
            command: None,
            id: None,
            body_bytes: None,
            decision: None,
            ended: None,
        }
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        if !enabled!(target: TARGET, Level::DEBUG) {
            return;
        }
        let (outcome, refused) = match &self.ended {
            Some(Ok(outcome)) => (outcome.name(), None),
            Some(Err(refused)) => ("refused", Some(refused)),
            None => ("gone", None),
        };
        debug!(
            target: TARGET,
            outcome,
            refusal = refused.map(|refused| refused.refusal.name()),
            cause = refused.map(|refused| &*refused.info),
            id = self.id.map(tracing::field::display),
            app = self.app.map(|app| app.app.sdk_app_id()),
            command = self.command.as_ref().map(Command::as_str),
            decision = self.decision.map(DecisionResult::as_str),
            peer = %self.peer,
            body_bytes = self.body_bytes,
            micros = u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX),
            traceparent = self.traceparent.as_ref().map(TraceParent::as_str),
            "request ended"
        );
    }
}
