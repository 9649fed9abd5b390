//! Tells of each attempt at an item, for those who trace callbacks: an event of `dispatcher::attempt` at level trace for each.

use std::{sync::Arc, time::Instant};

use dispatcher_core::Callback;
use tracing::{Level, enabled, trace};

use crate::{
    window::Outcome,
    worker::{Report, Worker},
};

const TARGET: &str = "dispatcher::attempt";

/// A batch that is about to be tried.
pub(crate) struct Attempts {
    consumer: Arc<str>,
    begun: Instant,
    items: Vec<Tried>,
}

/// What is told of an item; its body is not kept for that.
struct Tried {
    attempt: u32,
    seq: u64,
    id: String,
    app: u64,
    command: String,
    traceparent: Option<String>,
    event: Option<String>,
}

impl Attempts {
    /// Notes what is tried, where somebody listens. Otherwise that costs one look at an atomic.
    pub(crate) fn begin<W: Worker>(consumer: &Arc<str>, work: &[(u32, W::Item)]) -> Option<Attempts> {
        if !enabled!(target: TARGET, Level::TRACE) {
            return None;
        }
        let tried = |(attempt, item): &(u32, W::Item)| {
            let callback: &Callback = W::callback(item);
            Tried {
                attempt: *attempt,
                seq: W::seq(item),
                id: callback.id().to_string(),
                app: callback.app().sdk_app_id(),
                command: callback.command().as_str().to_owned(),
                traceparent: callback.traceparent().map(str::to_owned),
                event: W::event_id(item),
            }
        };
        Some(Attempts { consumer: consumer.clone(), begun: Instant::now(), items: work.iter().map(tried).collect() })
    }

    /// Tells what came of it. Each item has the time of its batch; what was not tried is not told.
    pub(crate) fn end<M>(self, report: &Report<M>) {
        let micros = u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        for (idx, item) in self.items.iter().enumerate() {
            let Some((outcome, error)) = told(report, idx) else { continue };
            trace!(
                target: TARGET,
                consumer = &*self.consumer,
                seq = item.seq,
                attempt = item.attempt,
                outcome,
                error,
                id = item.id,
                event = item.event,
                app = item.app,
                command = item.command,
                micros,
                traceparent = item.traceparent,
                "attempt ended"
            );
        }
    }
}

/// In a word what became of an item, and the error, if there is one.
fn told<M>(report: &Report<M>, idx: usize) -> Option<(&'static str, Option<String>)> {
    match report {
        Report::Tried(outcomes) => match outcomes.get(idx)? {
            Outcome::Done(_) => Some(("done", None)),
            Outcome::Failed(failure) => Some(("failed", Some(failure.to_string()))),
            Outcome::NotTried => None,
        },
        Report::Down { error, .. } => Some(("down", Some(error.clone()))),
        Report::Gone { error } => Some(("gone", Some(error.clone()))),
        Report::Untouched | Report::Off { .. } => None,
    }
}
