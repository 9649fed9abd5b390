//! Other handlers and sinks for a pipeline that runs.

use std::{
    convert::Infallible,
    sync::{
        PoisonError,
        mpsc::{self, RecvTimeoutError},
    },
    time::Duration,
};

use crate::{
    HandlerInstance, PipelineHandle, SinkInstance, StartError, State,
    crew::Ready,
    deck::{Changes, Next},
    handle::{Command, Known},
};

/// What became of the handlers and sinks of a pipeline; each is named as its consumer.
#[derive(Debug)]
pub struct Applied {
    /// Those that are new.
    pub added: Vec<String>,
    /// Those whose settings are others, and those that were off and are tried again.
    pub changed: Vec<String>,
    /// Those that are gone. They keep their place in the journal.
    pub removed: Vec<String>,
    /// Those that were parked by their receivers, and are tried again.
    pub resumed: Vec<String>,
    settling: mpsc::Receiver<Infallible>,
}

impl Applied {
    /// Waits until what was under way in those that changed or are gone has ended, and their successors have begun, or until
    /// the pipeline has ended; false if that takes longer than `within`. Blocks.
    #[must_use]
    pub fn settles(&self, within: Duration) -> bool {
        self.settling.recv_timeout(within) == Err(RecvTimeoutError::Disconnected)
    }
}

impl PipelineHandle {
    /// Puts these handlers and sinks to work in place of those that run.
    ///
    /// Whose fingerprint is the same goes on as it is. Who is new begins where the journal knows, or as its options say. Who is
    /// gone starts nothing more, finishes what is under way and keeps its place. Who changed does so too, and its successor
    /// opens once that is done, and goes on where it ended, with its replays. What is under way has as long as the instance's
    /// own timeout; what blocks its thread for longer is left behind, and what it was at is tried again.
    ///
    /// Every event is stored for the sinks of one configuration, that before or that after. Blocks until new consumers are
    /// registered; several calls take their turns.
    ///
    /// # Errors
    /// Nothing has changed: the journal refuses, the system gives no thread, or the pipeline has ended.
    pub fn apply(&self, handlers: Vec<HandlerInstance>, sinks: Vec<SinkInstance>) -> Result<Applied, StartError> {
        let _turn = self.applying.lock().unwrap_or_else(PoisonError::into_inner);
        let (before, after) = (self.known(), Known::new(&handlers, &sinks));
        let (token, settling) = mpsc::channel();
        let mut applied = Applied { added: vec![], changed: vec![], removed: vec![], resumed: vec![], settling };
        let (stopped, parked) = self.out_of_work()?;
        // True for those that are to begin.
        let mut is_next = |consumer: &str, fingerprint: u64| {
            let list = match before.fingerprint(consumer) {
                None => &mut applied.added,
                Some(known) if known != fingerprint || stopped.iter().any(|name| name == consumer) => {
                    &mut applied.changed
                }
                Some(_) if parked.iter().any(|name| name == consumer) => {
                    applied.resumed.push(consumer.to_owned());
                    return false;
                }
                Some(_) => return false,
            };
            list.push(consumer.to_owned());
            true
        };
        let mut next = Vec::new();
        // Sinks first: once a handler runs, every sink is known.
        for sink in sinks {
            if is_next(&format!("sink:{}", sink.name), sink.fingerprint) {
                next.push((sink.options.start, Next::Sink(Ready::sink(sink)?)));
            }
        }
        for handler in handlers {
            if is_next(&format!("handler:{}", handler.name), handler.fingerprint) {
                next.push((handler.options.start, Next::Handler(Ready::handler(handler)?)));
            }
        }
        for (start, one) in &next {
            let registered = self.journal.register(one.consumer(), one.stream(), *start);
            if let Err(source) = registered {
                for added in &applied.added {
                    self.journal.set_running(added, false);
                }
                return Err(StartError::Journal { consumer: one.consumer().to_owned(), source });
            }
        }
        let next = next.into_iter().map(|(_, next)| next).collect();
        let order: Vec<String> = after.fingerprints.iter().map(|(name, _)| name.clone()).collect();
        let is_gone = |name: &&String| after.fingerprint(name).is_none();
        applied.removed = before.fingerprints.iter().map(|(name, _)| name).filter(is_gone).cloned().collect();
        let (removed, resumed) = (applied.removed.clone(), applied.resumed.clone());
        let changes = Changes { next, removed, resumed, order: order.clone(), token };
        self.commands.send(Command::Apply(Box::new(changes))).map_err(|_| StartError::Ended)?;
        self.set_known(after);
        for name in &applied.added {
            let _ = self.statuses.cell(name);
        }
        self.statuses.arrange(&order);
        Ok(applied)
    }

    /// The consumers that are off, and those that are parked though no person said so.
    fn out_of_work(&self) -> Result<(Vec<String>, Vec<String>), StartError> {
        let status = self.status();
        let names = |is: fn(&State) -> bool| -> Vec<String> {
            status.iter().filter(|status| is(&status.state)).map(|status| status.name.clone()).collect()
        };
        let stopped = names(|state| matches!(state, State::Stopped { .. }));
        let mut parked = names(|state| matches!(state, State::Parked { .. }));
        if !parked.is_empty() {
            let failed = |source| StartError::Journal { consumer: "any".to_owned(), source };
            let known = self.journal.reader().map_err(failed)?.consumers().map_err(failed)?;
            parked.retain(|name| known.iter().any(|one| one.name == *name && one.parked.is_none()));
        }
        Ok((stopped, parked))
    }
}
