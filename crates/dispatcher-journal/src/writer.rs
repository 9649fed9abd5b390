//! The one thread that writes: it takes what waits, commits it in one transaction, and tells all who wait.

mod between;
mod health;
#[cfg(test)]
mod hooked;
mod recall;

use std::{
    collections::VecDeque,
    fs::File,
    mem,
    sync::{Arc, atomic::Ordering},
    thread,
    time::Instant,
};

use rusqlite::{Connection, config::DbConfig};
use tracing::{error, warn};

use crate::{
    Appended, CallbackRow, Change, JournalError, Retention,
    dedupe::Dedupe,
    place::{Attachment, Seat},
    port::{AppendOp, Done},
    shared::{Request, Shared, lock},
    step::step,
    tail::Tail,
    transaction::Tables,
    trimmer::Trimmer,
    trouble::{Fault, Trouble},
    upkeep::{self, Upkeep},
    vacuum,
};

/// How many rows go into one transaction, so that none of them waits long for the others.
const BATCH: usize = 512;

#[cfg(test)]
pub(crate) use hooked::Hooked;

/// Runs until the journal is closed. Owns the connection and the lock until then.
pub(crate) fn run(
    mut connection: Connection,
    lock: File,
    shared: &Arc<Shared>,
    dedupe: Dedupe,
    retention: Option<Retention>,
    ready: &Ready,
) {
    let _watch = Watch(shared);
    let upkeep = Upkeep::new(&mut connection);
    let poisoned = match upkeep.map_err(Trouble::from).and_then(|upkeep| {
        let tables = Tables::new(&connection)?;
        let trimmer = retention.map(|retention| Trimmer::new(retention, &tables, shared)).transpose()?;
        vacuum::measure(&connection, shared)?;
        Ok(Writer::new(shared, tables, upkeep, trimmer, dedupe))
    }) {
        Ok(mut writer) => {
            let _ = ready.send(Ok(()));
            writer.run();
            shared.round.end(); // Closing takes what the disk takes.
            writer.poisoned.is_some()
        }
        Err(trouble) => {
            let _ = ready.send(Err(trouble));
            return;
        }
    };
    // After a failed sync the log's pages in memory may not be those on disk: nothing of them may reach the file. The
    // next start reads the log with its checksums.
    let emptied = if poisoned {
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map(drop)
    } else {
        upkeep::empty(&connection)
    };
    if let Err(err) = emptied.and_then(|()| connection.close().map_err(|(_, err)| err)) {
        // What was committed is in the log, and the next start copies it.
        warn!(%err, "the journal was closed with its log not emptied");
    }
    drop(lock);
}

/// Where the thread says whether it could start.
pub(crate) type Ready = std::sync::mpsc::SyncSender<Result<(), Trouble>>;

struct Writer<'c> {
    shared: &'c Shared,
    tables: Tables<'c>,
    upkeep: Upkeep,
    trimmer: Option<Trimmer>,
    dedupe: Dedupe,
    /// The monotonic clock counts from here.
    opened: Instant,
    /// When the last batch was done, or the log was last copied for want of one.
    busy_at: Instant,
    /// Callbacks before this seq are not yet remembered; `None` when all are that need to be.
    recall_before: Option<u64>,
    poisoned: Option<Arc<str>>,
    /// Why the last write failed, while that lasts, and how many detached callbacks that has cost.
    failing: Option<Arc<str>>,
    unrecorded: u64,
    /// Whether the last record of a decision was lost.
    loses_decisions: bool,
    /// Why the log could last not be copied into the file.
    log_failing: bool,
    appends: VecDeque<AppendOp>,
    requests: VecDeque<Request>,
    /// Whether there is anything in the tail.
    has_tail: bool,
    /// Of the batch under way, kept between batches: a steady load allocates nothing here.
    batch: Vec<AppendOp>,
    appended: Vec<Appended>,
    /// By port.
    results: Vec<Vec<Done>>,
}

impl<'c> Writer<'c> {
    fn new(
        shared: &'c Shared,
        tables: Tables<'c>,
        upkeep: Upkeep,
        trimmer: Option<Trimmer>,
        dedupe: Dedupe,
    ) -> Writer<'c> {
        let recall_before = dedupe.is_on().then(|| tables.ends().callbacks + 1);
        Writer {
            shared,
            tables,
            upkeep,
            trimmer,
            dedupe,
            opened: Instant::now(),
            busy_at: Instant::now(),
            recall_before,
            poisoned: None,
            failing: None,
            unrecorded: 0,
            loses_decisions: false,
            log_failing: false,
            appends: VecDeque::new(),
            requests: VecDeque::new(),
            has_tail: false,
            batch: Vec::new(),
            appended: Vec::new(),
            results: Vec::new(),
        }
    }

    fn run(&mut self) {
        // Whatever an earlier run left in the log. A disk that cannot take it now is no reason not to start.
        self.look_after_log(Upkeep::when_idle);
        let mut sealed = false;
        loop {
            self.shared.round.begin();
            if self.appends.len() < BATCH {
                self.shared.collect(&mut self.appends, &mut self.requests);
            }
            if !self.appends.is_empty() || !self.requests.is_empty() {
                self.write_batch();
                self.busy_at = Instant::now();
                self.look_after_log(Upkeep::after_commit);
                self.recall();
                if self.trimmer.as_mut().is_some_and(Trimmer::is_starved) {
                    self.trim();
                }
            } else if self.shared.is_stopping() {
                if mem::replace(&mut sealed, true) {
                    return;
                }
                // Once more, for what was handed over before this.
                self.shared.seal();
            } else if self.recall_before.is_some() {
                self.recall();
            } else if !self.trim() {
                self.rest();
            }
        }
    }

    /// Writes the oldest of what waits, and tells all whom it concerns.
    fn write_batch(&mut self) {
        let mut batch = mem::take(&mut self.batch);
        batch.extend(self.appends.drain(..self.appends.len().min(BATCH)));
        let requests = self.next_requests(BATCH.saturating_sub(batch.len()));

        // Whatever fails by its own fault must not take the others with it: requests are tried one by one then, and
        // callbacks without what was decided about them.
        let is_own = |outcome: &Result<_, Trouble>| matches!(outcome, Err(trouble) if trouble.fault == Fault::Own);
        let has_decisions = batch.iter().any(|append| append.decided.is_some());
        let whole = self.transact(&batch, &requests, true);
        let alone = is_own(&whole) && (requests.len() + usize::from(!batch.is_empty()) > 1 || has_decisions);
        if alone {
            if !batch.is_empty() {
                let mut outcome = self.transact(&batch, &[], true);
                let leave_out = has_decisions && is_own(&outcome);
                if leave_out {
                    outcome = self.transact(&batch, &[], false);
                }
                self.finish_appends(&mut batch, outcome.map(drop), leave_out);
            }
            for request in requests {
                let outcome = self.transact(&[], std::slice::from_ref(&request), true);
                self.finish_requests([request], outcome);
            }
        } else {
            self.finish_appends(&mut batch, whole.as_ref().map(drop).map_err(Trouble::clone), false);
            self.finish_requests(requests, whole);
        }
        self.batch = batch;
        step("commit.answered");
        self.shared.ends.send_if_modified(|ends| {
            let now = self.tables.ends();
            mem::replace(ends, now) != now
        });
    }

    /// The oldest requests: one, and as many more as have room for their rows.
    fn next_requests(&mut self, mut room: usize) -> Vec<Request> {
        let mut requests = Vec::new();
        while let Some(request) = self.requests.pop_front() {
            if let Request::Compact { begins, reply } = request {
                let _ = reply.send(self.compact(begins).map_err(JournalError::from));
                continue;
            }
            let rows = match &request {
                Request::Commit { commit, .. } => {
                    let events: usize = commit.events.iter().map(|emitted| emitted.events.len()).sum();
                    let items = commit.pending.len() + commit.settled.len() + commit.dead.len() + commit.attempts.len();
                    1 + events + items
                }
                Request::Register { .. } => 1,
                Request::Change { change: Change::Discard { seqs, .. }, .. } => seqs.len(),
                Request::Change { .. } => 1,
                Request::Attach(attachment) => attachment.record.rows(),
                Request::Runs { .. } | Request::Compact { .. } => 0,
                #[cfg(test)]
                Request::Hook(_) => 0,
            };
            // Who runs is kept in memory alone, and after what was asked before: no transaction that fails takes it along.
            let waits = matches!(request, Request::Runs { .. });
            if !requests.is_empty() && (waits || rows > room) {
                self.requests.push_front(request);
                break;
            }
            if let Request::Runs { consumer, runs } = &request {
                self.tables.set_running(consumer, *runs);
                continue;
            }
            #[cfg(test)]
            let request = match request {
                Request::Hook(hook) => {
                    let recalled = self.recall_before.is_none();
                    let trimmer = self.trimmer.as_mut();
                    hook(&mut Hooked { tables: &mut self.tables, trimmer, shared: self.shared, recalled });
                    continue;
                }
                other => other,
            };
            room = room.saturating_sub(rows);
            requests.push(request);
        }
        requests
    }

    /// One transaction. `appended` then has what became, or would have become, of each callback; the answer to each
    /// request is in the result. Only `with_decisions` is stored what was decided about the callbacks.
    fn transact(
        &mut self,
        batch: &[AppendOp],
        requests: &[Request],
        with_decisions: bool,
    ) -> Result<Vec<u64>, Trouble> {
        self.appended.clear();
        if let Some(reason) = &self.poisoned {
            return Err(Trouble { fault: Fault::Sync, reason: reason.clone() });
        }
        let now = self.now();
        let first = self.tables.ends().callbacks + 1;
        let (appended, dedupe) = (&mut self.appended, &mut self.dedupe);
        let mut answers = Vec::new();
        let (mut decisions, mut lost) = (0, 0);
        let begun = Instant::now();
        let outcome = self.tables.transact(|tables| {
            for append in batch {
                let identity = append.callback.identity();
                let decided = append.decided.as_deref().filter(|_| with_decisions).map(|decided| &decided.record);
                decisions += u64::from(decided.is_some());
                if let Some(seq) = identity.and_then(|identity| dedupe.find(identity, now)) {
                    appended.push(Appended::Repeat { seq });
                    if let Some(record) = decided {
                        let seat = Seat { seq, is_repeat: true };
                        lost += u64::from(!tables.attach(seat, &append.callback, record)?);
                    }
                    continue;
                }
                let seq = tables.append(&append.callback)?;
                if let Some(record) = decided {
                    tables.decide(seq, &append.callback, record)?;
                }
                if let Some(identity) = identity {
                    dedupe.remember(identity, seq, now);
                }
                appended.push(Appended::New { seq });
            }
            for request in requests {
                match request {
                    Request::Commit { commit, .. } => {
                        tables.commit(commit)?;
                        answers.push(0);
                    }
                    Request::Register { consumer, stream, start, runs, .. } => {
                        answers.push(tables.register(consumer, *stream, *start, *runs)?);
                    }
                    Request::Change { change, .. } => answers.push(tables.change(change)?),
                    Request::Attach(attachment) => {
                        let Attachment { seat, callback, record, .. } = &**attachment;
                        answers.push(u64::from(tables.attach(*seat, callback, record)?));
                    }
                    Request::Runs { .. } | Request::Compact { .. } => answers.push(0),
                    #[cfg(test)]
                    Request::Hook(_) => answers.push(0),
                }
            }
            Ok(())
        });
        match outcome {
            Ok(written) => {
                if written {
                    self.shared.tallies.commits.record(begun.elapsed(), batch.len());
                    self.publish(batch);
                    self.recover();
                }
                self.lose_decisions(lost);
                if decisions > lost {
                    self.loses_decisions = false;
                }
                Ok(answers)
            }
            Err(trouble) => {
                dedupe.forget_from(first);
                // Whose fault of its own it was is seen when each is tried alone.
                let is_mixed = !batch.is_empty() && (!requests.is_empty() || decisions > 0);
                if trouble.fault != Fault::Own || !is_mixed {
                    self.suffer(&trouble, !batch.is_empty());
                }
                Err(trouble)
            }
        }
    }

    /// Lets readers see what was committed.
    fn publish(&mut self, batch: &[AppendOp]) {
        let events = self.tables.take_events();
        if self.shared.readers.load(Ordering::Relaxed) > 0 {
            let mut tail = lock(&self.shared.tail);
            for (append, appended) in batch.iter().zip(&self.appended) {
                if let Appended::New { seq } = *appended {
                    tail.callbacks.push(CallbackRow { seq, callback: append.callback.clone() });
                }
            }
            events.for_each(|event| tail.events.push(event));
            self.has_tail = true;
        } else {
            drop(events);
            if mem::take(&mut self.has_tail) {
                // What comes next would not follow on what is there.
                *lock(&self.shared.tail) = Tail::default();
            }
        }
        self.shared.show(self.tables.ends());
        let tallies = &self.shared.tallies;
        tallies.batches.fetch_add(1, Ordering::Relaxed);
        tallies.wal_bytes.store(self.upkeep.bytes(), Ordering::Relaxed);
    }

    /// `left_out`: what was decided about the callbacks is not stored with them.
    fn finish_appends(&mut self, batch: &mut Vec<AppendOp>, outcome: Result<(), Trouble>, left_out: bool) {
        let failure = outcome.err().map(|trouble| JournalError::from(trouble).into());
        // After a failure these are as they were before it.
        let end = self.tables.ends().callbacks;
        let (mut bytes, mut new, mut repeats, mut lost, mut lost_decisions) = (0, 0, 0, 0, 0);
        let mut appended = self.appended.drain(..);
        for append in batch.drain(..) {
            bytes += append.weight();
            let result = match (&failure, appended.next()) {
                (None, Some(appended)) => Ok(appended),
                // What repeats an earlier commit's row is durable all the same.
                (Some(_), Some(repeat @ Appended::Repeat { seq })) if seq <= end => Ok(repeat),
                (Some(failure), _) => Err(Clone::clone(failure)),
                (None, None) => unreachable!("a transaction that succeeds says of each callback what became of it"),
            };
            match (&result, append.slot) {
                (Ok(Appended::New { .. }), _) => new += 1,
                (Ok(Appended::Repeat { .. }), _) => repeats += 1,
                (Err(_), None) => lost += 1,
                (Err(_), Some(_)) => {}
            }
            if let Some(decided) = append.decided {
                lost_decisions += u64::from(result.is_ok() && (left_out || failure.is_some()));
                if let Some(place) = decided.place {
                    let seat = result.as_ref().ok().map(|&appended| Seat::from(appended));
                    self.requests.extend(place.settle(seat).into_iter().filter_map(|mut attachment| {
                        attachment.seat = seat?;
                        Some(Request::Attach(Box::new(attachment)))
                    }));
                }
            }
            if let Some(slot) = append.slot {
                if self.results.len() <= append.port {
                    self.results.resize_with(append.port + 1, Vec::new);
                }
                self.results[append.port].push(Done { slot, result, callback: append.callback });
            }
        }
        drop(appended);
        self.lose_decisions(lost_decisions);
        self.shared.release(bytes);
        self.unrecorded += lost;
        // Counted before anybody is told, so that whoever was told finds it counted.
        let tallies = &self.shared.tallies;
        tallies.appended.fetch_add(new, Ordering::Relaxed);
        tallies.repeats.fetch_add(repeats, Ordering::Relaxed);
        tallies.unrecorded.fetch_add(lost, Ordering::Relaxed);
        self.shared.finish(&mut self.results);
    }

    /// Tells those who asked. A reply that nobody waits for any more is let go.
    fn finish_requests(&mut self, requests: impl IntoIterator<Item = Request>, outcome: Result<Vec<u64>, Trouble>) {
        for (idx, request) in requests.into_iter().enumerate() {
            let answer = match &outcome {
                Ok(answers) => Ok(answers[idx]),
                Err(trouble) => Err(JournalError::from(trouble.clone())),
            };
            match request {
                Request::Commit { reply, .. } => {
                    let _ = reply.send(answer.map(drop));
                }
                Request::Register { reply, .. } => {
                    let _ = reply.try_send(answer);
                }
                Request::Change { reply, .. } => {
                    let _ = reply.send(answer);
                }
                Request::Attach(mut attachment) => {
                    attachment.is_accounted_for = true;
                    match answer {
                        Ok(1) => self.loses_decisions = false,
                        _ => self.lose_decisions(1),
                    }
                }
                // Done before they came into a batch.
                Request::Runs { .. } | Request::Compact { .. } => {}
                #[cfg(test)]
                Request::Hook(_) => {}
            }
        }
    }

    fn now(&self) -> i64 {
        i64::try_from(self.opened.elapsed().as_millis()).unwrap_or(i64::MAX)
    }
}

/// Fails those who wait, should the writer panic: better a refusal than a reply that never comes.
struct Watch<'a>(&'a Shared);

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.0.round.end();
        if thread::panicking() {
            error!("the journal's writer has failed, and callbacks are refused from now on; restart the dispatcher");
            self.0.abort(&"its writer has failed".into());
        }
    }
}
