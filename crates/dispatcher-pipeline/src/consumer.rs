//! One consumer: reads its stream into the window, keeps the lanes busy, commits what is finished.
//!
//! It waits for whatever comes first – rows, a lane, a commit, a time, the end – and then does everything that can be
//! done. One commit is under way at a time; what finishes meanwhile goes into the next, so that batches grow with the
//! load.

use std::{
    cell::RefCell,
    future::{Future, pending},
    pin::Pin,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use dispatcher_core::Failure;
use dispatcher_journal::{Commit, Ends, Journal, JournalError, Reader, Row};
use tokio::{
    sync::watch,
    task::{JoinError, JoinSet, yield_now},
    time::{sleep, sleep_until},
};
use tracing::{error, info, warn};

use crate::{
    State,
    health::{Health, May},
    status::StatusCell,
    step::step,
    window::{Batch, Now, Outcome, Plan, Tally, Task, Window},
    worker::{Report, Worker},
};

/// The most rows that one read takes: the journal's page.
const PAGE: usize = 512;

/// With how many items, each of another key, a plugin that is down can be tried. Two, so that one that fails by its own
/// fault does not keep it down.
const PROBES: usize = 2;

/// How long a consumer that has read everything lets new rows gather. Whoever was idle for longer reads at once, so this
/// delays nothing but what follows closely; under load it makes one hop, one commit and one sync of many.
const PACE: Duration = Duration::from_millis(5);

/// How long the journal is left alone after it could not be read or written.
const JOURNAL_WAIT: Duration = Duration::from_secs(1);

/// What is left for the last commit when a drain's deadline has come.
const LAST_COMMIT: Duration = Duration::from_secs(2);

/// Whether the pipeline runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It does.
    Running,
    /// Nothing starts any more; what is under way may finish until this moment.
    Draining(Instant),
    /// It ends at once, like a crash.
    Stopped,
}

/// What a consumer shares with its neighbours, and how it is told to end.
pub(crate) struct Surroundings {
    pub(crate) journal: Journal,
    /// One for all consumers: they live on one thread, and one page cache costs less than a dozen.
    pub(crate) reader: Rc<RefCell<Reader>>,
    pub(crate) phase: watch::Receiver<Phase>,
    pub(crate) status: StatusCell,
}

pub(crate) struct Consumer<W: Worker> {
    name: Arc<str>,
    worker: Rc<W>,
    journal: Journal,
    reader: Rc<RefCell<Reader>>,
    ends: watch::Receiver<Ends>,
    phase: watch::Receiver<Phase>,
    window: Window<W::Item, W::Made>,
    health: Health,
    /// Lanes without work. Those with work are in `lanes`.
    idle: Vec<W::Lane>,
    lanes: JoinSet<Ended<W>>,
    commit: Option<Committing>,
    /// When to read again: after the journal could not be read, or, for a while, after all of it was.
    read_again_at: Option<Instant>,
    status: StatusCell,
}

/// A batch that came back.
struct Ended<W: Worker> {
    lane: W::Lane,
    batch: Batch,
    report: Report<W::Made>,
}

struct Committing {
    /// To be tried again if the journal could not.
    commit: Commit,
    done: Pin<Box<dyn Future<Output = Result<(), JournalError>>>>,
}

/// What happened while a consumer waited.
enum Event<W: Worker> {
    Lane(Result<Ended<W>, JoinError>),
    Committed(Result<(), JournalError>),
    Other,
}

impl<W: Worker> Consumer<W> {
    pub(crate) fn new(
        name: Arc<str>,
        worker: W,
        n_lanes: usize,
        window: Window<W::Item, W::Made>,
        health: Health,
        surroundings: Surroundings,
    ) -> Consumer<W> {
        let Surroundings { journal, reader, phase, status } = surroundings;
        Consumer {
            name,
            // The last is taken first.
            idle: (0..n_lanes.max(1)).rev().map(|index| worker.lane(index)).collect(),
            worker: Rc::new(worker),
            ends: journal.ends(),
            journal,
            reader,
            phase,
            window,
            health,
            lanes: JoinSet::new(),
            commit: None,
            read_again_at: None,
            status,
        }
    }

    /// Runs until the pipeline ends.
    pub(crate) async fn run(mut self) {
        let drain_until = loop {
            while let Some(ended) = self.lanes.try_join_next() {
                self.end_lane(ended);
            }
            let phase = *self.phase.borrow_and_update();
            let now = Now::read();
            self.window.advance(now);
            match phase {
                Phase::Running => self.start_lanes(now),
                Phase::Draining(until) if self.lanes.is_empty() || until <= now.instant => break until,
                Phase::Draining(_) => {}
                Phase::Stopped => return,
            }
            self.begin_commit(now);
            self.publish();
            if phase == Phase::Running && self.read(now) {
                // The neighbours on this thread get their turn between two pages.
                yield_now().await;
                continue;
            }
            match self.wait(phase).await {
                Event::Lane(ended) => self.end_lane(ended),
                Event::Committed(result) => self.end_commit(result),
                Event::Other => {}
            }
        };
        self.finish(drain_until).await;
    }

    /// The end of a drain: commits what there is, and closes the lanes.
    async fn finish(mut self, until: Instant) {
        // What still runs stays beyond the checkpoint or pending, and comes again after the next start.
        self.lanes.abort_all();
        let deadline = until.max(Instant::now()) + LAST_COMMIT;
        loop {
            if self.commit.is_none() {
                let Some(plan) = self.window.last_plan(Now::read()) else { break };
                self.send(plan);
            }
            match tokio::time::timeout_at(deadline.into(), committed(&mut self.commit)).await {
                Ok(result) => self.end_commit(result),
                Err(_) => {
                    warn!(consumer = &*self.name, "the last commit did not end in time; what it says will be repeated");
                    break;
                }
            }
            if matches!(self.health.state(), State::Stopped { .. }) {
                break;
            }
        }
        self.publish();
        let within = deadline.saturating_duration_since(Instant::now());
        let mut closing = JoinSet::new();
        for lane in self.idle {
            closing.spawn_local(self.worker.clone().close(lane, within));
        }
        let closed = async { while closing.join_next().await.is_some() {} };
        // A sink that blocks its thread has had its time; no event depends on it.
        let _ = tokio::time::timeout_at(deadline.into(), closed).await;
    }

    async fn wait(&mut self, phase: Phase) -> Event<W> {
        let may_read = phase == Phase::Running && self.may_read();
        let read_again_at = self.read_again_at.filter(|_| may_read);
        let is_reading = may_read && self.window.room() > 0 && read_again_at.is_none();
        let drain_until = match phase {
            Phase::Draining(until) => Some(until),
            Phase::Running | Phase::Stopped => None,
        };
        // A time that nobody would act upon is not waited for: once it is over, there would be no waiting at all.
        let can_start = phase == Phase::Running && self.window.n_ready() > 0 && !self.idle.is_empty();
        let next_probe = self.health.next_probe().filter(|_| can_start);
        let wakes = [self.window.next_wake(), next_probe, read_again_at, drain_until];
        let wake = wakes.into_iter().flatten().min();
        tokio::select! {
            Some(ended) = self.lanes.join_next() => Event::Lane(ended),
            result = committed(&mut self.commit) => Event::Committed(result),
            // An error means that the journal is closed; the next commit says so.
            Ok(()) = self.ends.changed(), if is_reading => Event::Other,
            () = wake_at(wake) => Event::Other,
            ended = self.phase.changed() => {
                if ended.is_err() {
                    // The pipeline is gone without a word. It tells every consumer to stop, so this cannot last.
                    pending::<()>().await;
                }
                Event::Other
            }
        }
    }

    /// Gives idle lanes what may start.
    fn start_lanes(&mut self, now: Now) {
        while !self.idle.is_empty() {
            let taken = match self.health.may_start(now) {
                May::All => self.window.take(now),
                May::Probe(after) => self.window.take_probe(after, now),
                May::Nothing => None,
            };
            let Some((batch, tasks)) = taken else { return };
            if self.health.is_down()
                && let Some(task) = tasks.first()
            {
                self.health.probing(batch.number, task.seq);
            }
            self.start(batch, tasks, now);
        }
    }

    fn start(&mut self, batch: Batch, tasks: Vec<Task<W::Item>>, now: Now) {
        let mut work = Vec::with_capacity(tasks.len());
        for task in tasks {
            let item = match task.item {
                Some(item) => item,
                // Pending for long, or from before the start. It is alone in its batch, or the first of few.
                None => match self.read_one(task.seq) {
                    Ok(Row::Intact(item)) => item,
                    // What was read so far is worked on; this one, and what is behind it, comes again, then as the first.
                    Ok(Row::Damaged { .. }) if !work.is_empty() => break,
                    Ok(Row::Damaged { reason, .. }) => return self.fail_damaged(batch, &reason, now),
                    Err(err) => {
                        let number = batch.number;
                        self.window.give_back(batch, false);
                        return self.go_down(
                            number,
                            format!("the journal cannot be read: {err}"),
                            Some(JOURNAL_WAIT),
                            now,
                        );
                    }
                },
            };
            work.push((task.attempt, item));
        }
        let Some(lane) = self.idle.pop() else { return self.window.give_back(batch, false) };
        step("deliver.started");
        let working = self.worker.clone().work(lane, work);
        self.lanes.spawn_local(async move {
            let (lane, report) = working.await;
            Ended { lane, batch, report }
        });
    }

    /// The first item of a batch that has not started cannot be read.
    fn fail_damaged(&mut self, batch: Batch, reason: &str, now: Now) {
        let outcomes = vec![Outcome::Failed(Failure::permanent(format!("its row is damaged: {reason}")))];
        if self.health.is_probe(batch.number) {
            // Says nothing of the plugin: it is asked with the next item at once.
            self.health.skip_probe(now);
        }
        self.window.finish(batch, outcomes, now);
    }

    fn end_lane(&mut self, ended: Result<Ended<W>, JoinError>) {
        match ended {
            Ok(ended) => self.end_batch(ended),
            // Not the plugin, whose panics stay in its cell: a fault of ours, and the batch is lost to this run.
            Err(err) => self.stop(&format!("a lane failed: {err}"), Now::read()),
        }
    }

    fn end_batch(&mut self, ended: Ended<W>) {
        step("deliver.ended");
        let Ended { lane, batch, report } = ended;
        self.idle.push(lane);
        let (number, now) = (batch.number, Now::read());
        match report {
            Report::Tried(outcomes) => self.end_tried(batch, outcomes, now),
            Report::Down { error, wait, alone } => {
                self.window.give_back(batch, alone);
                self.go_down(number, error, wait, now);
            }
            Report::Untouched => {
                self.window.give_back(batch, false);
                if self.health.is_probe(number) {
                    self.health.skip_probe(now);
                }
            }
            Report::Gone { error } => {
                self.window.give_back(batch, false);
                if self.health.park(error.clone(), now) {
                    error!(
                        consumer = &*self.name,
                        error, "parked: it will not work until someone mends it; then start the dispatcher again"
                    );
                }
            }
            Report::Off { error } => {
                self.window.give_back(batch, false);
                self.stop(&error, now);
            }
        }
    }

    fn end_tried(&mut self, batch: Batch, outcomes: Vec<Outcome<W::Made>>, now: Now) {
        let number = batch.number;
        let is_tried = |outcome: &Outcome<_>| !matches!(outcome, Outcome::NotTried);
        if !outcomes.iter().any(is_tried) {
            self.window.give_back(batch, false);
            return self.go_down(number, "it tried none of the items that it was given".to_owned(), None, now);
        }
        if self.health.is_probe(number) {
            if let Some(failure) = outcomes.iter().find_map(|outcome| match outcome {
                Outcome::Failed(failure) if W::PERMANENT_COUNTS || !failure.is_permanent() => Some(failure),
                _ => None,
            }) {
                // Attempts count only while it is up. The next probe is another item, should this one be to blame; where
                // no other can be had, because all that has room is of its key, the failure is its own after all.
                let error = failure.to_string();
                if self.window.n_ready() == 0 && self.window.room() == 0 {
                    let tally = self.window.finish(batch, outcomes, now);
                    self.count(&tally, Some(&error));
                } else {
                    self.window.give_back(batch, false);
                }
                return self.go_down(number, error, None, now);
            }
            self.health.up();
            info!(consumer = &*self.name, "up again");
        }
        let last_failure = outcomes.iter().rev().find_map(|outcome| match outcome {
            Outcome::Failed(failure) => Some(failure.to_string()),
            Outcome::Done(_) | Outcome::NotTried => None,
        });
        let tally = self.window.finish(batch, outcomes, now);
        self.count(&tally, last_failure.as_deref());
        if !self.health.is_up() {
            return;
        }
        if tally.done > 0 {
            return self.health.succeeded();
        }
        let mut is_streak = false;
        for item in tally.failed.iter().filter(|item| W::PERMANENT_COUNTS || !item.is_permanent) {
            is_streak |= self.health.failed(item);
        }
        if is_streak && let Some(error) = last_failure {
            self.go_down(number, format!("everything it is given fails; the last: {error}"), None, now);
        }
    }

    fn count(&self, tally: &Tally, last_failure: Option<&str>) {
        self.status.update(|status| {
            status.done += tally.done as u64;
            status.failed += tally.failed.len() as u64;
            if let Some(error) = last_failure {
                status.last_error = Some(error.to_owned());
            }
        });
    }

    fn go_down(&mut self, batch: u64, error: String, wait: Option<Duration>, now: Now) {
        self.status.update(|status| status.last_error = Some(error.clone()));
        if self.health.down(batch, error.clone(), wait, now) {
            warn!(
                consumer = &*self.name,
                error, "down: nothing is lost and no attempt is used; its oldest item is tried until that works"
            );
        }
    }

    fn stop(&mut self, reason: &str, now: Now) {
        if self.health.stop(reason.to_owned(), now) {
            error!(consumer = &*self.name, error = reason, "stopped: nothing is lost, and nothing goes on");
        }
    }

    /// Whether more rows are of use: always while it is up, and while it is down until there are two items to try it with.
    fn may_read(&self) -> bool {
        self.health.is_up() || (self.health.is_down() && self.window.n_ready() < PROBES)
    }

    /// Reads a page, if there is room and something to read; true if it did.
    fn read(&mut self, now: Now) -> bool {
        if self.read_again_at.is_some_and(|at| now.instant < at) || !self.may_read() {
            return false;
        }
        self.read_again_at = None;
        let (rows, after) = (self.window.room().min(PAGE), self.window.loaded());
        // Less than a page is not worth a read while there is work for the lanes.
        let is_full = rows == 0 || (rows < PAGE / 4 && self.window.n_ready() >= PROBES);
        if is_full || self.ends.borrow_and_update().of(W::STREAM) <= after {
            return false;
        }
        let page = W::read(&mut self.reader.borrow_mut(), after, rows, self.window.room_in_bytes());
        match page {
            Ok(page) => {
                let is_some = !page.is_empty();
                if page.len() < rows {
                    self.read_again_at = Some(now.instant + PACE);
                }
                for row in page {
                    self.take_row(row);
                }
                return is_some;
            }
            Err(err) => {
                self.read_again_at = Some(now.instant + JOURNAL_WAIT);
                warn!(consumer = &*self.name, %err, "the journal cannot be read; trying again");
            }
        }
        false
    }

    fn read_one(&self, seq: u64) -> Result<Row<W::Item>, JournalError> {
        W::read_one(&mut self.reader.borrow_mut(), seq)
    }

    fn take_row(&mut self, row: Row<W::Item>) {
        match row {
            Row::Intact(item) if !self.worker.selects(&item) => self.window.skip(W::seq(&item)),
            Row::Intact(item) => {
                let (seq, key, bytes) = (W::seq(&item), W::key(&item), W::bytes(&item));
                self.window.push(seq, key.as_ref(), bytes, item);
            }
            Row::Damaged { seq, reason } => self.window.bury(seq, format!("its row is damaged: {reason}")),
        }
    }

    fn begin_commit(&mut self, now: Now) {
        // Also when it is stopped: what was done before is. After a commit that cannot be, the window plans no other.
        if self.commit.is_none()
            && let Some(plan) = self.window.plan(now)
        {
            self.send(plan);
        }
    }

    fn send(&mut self, plan: Plan<W::Made>) {
        let Plan { checkpoint, made, pending, settled, dead } = plan;
        let commit = Commit {
            consumer: self.name.clone(),
            checkpoint: Some(checkpoint),
            events: made.into_iter().filter_map(|(_, made)| W::emitted(made)).collect(),
            pending,
            settled,
            dead,
        };
        step("consumer.committing");
        let (journal, sent) = (self.journal.clone(), commit.clone());
        self.commit = Some(Committing { commit, done: Box::pin(async move { journal.commit(sent).await }) });
    }

    fn end_commit(&mut self, result: Result<(), JournalError>) {
        let Some(Committing { commit, .. }) = self.commit.take() else { return };
        match result {
            Ok(()) => {
                step("consumer.committed");
                self.window.committed();
                for dead in &commit.dead {
                    error!(
                        consumer = &*self.name,
                        seq = dead.seq,
                        attempts = dead.attempts,
                        reason = dead.reason,
                        "gave up on it; kept as a dead letter"
                    );
                }
                self.status.update(|status| status.dead += commit.dead.len() as u64);
            }
            Err(JournalError::Failed(reason)) => {
                warn!(consumer = &*self.name, %reason, "a commit failed; trying it again");
                let (journal, sent) = (self.journal.clone(), commit.clone());
                let done = Box::pin(async move {
                    sleep(JOURNAL_WAIT).await;
                    journal.commit(sent).await
                });
                self.commit = Some(Committing { commit, done });
            }
            Err(err @ (JournalError::Poisoned(_) | JournalError::Closed)) => self.stop(&err.to_string(), Now::read()),
        }
    }

    fn publish(&self) {
        let end = self.ends.borrow().of(W::STREAM);
        self.status.update(|status| {
            status.checkpoint = self.window.checkpoint();
            status.backlog = end.saturating_sub(status.checkpoint);
            status.pending = self.window.pending();
            status.under_way = self.lanes.len();
            // Compared first: a clone of the error's text each time would cost more than all else here.
            if status.state != *self.health.state() {
                status.state = self.health.state().clone();
            }
        });
    }
}

/// The end of the commit under way; never, if there is none. Dropping this and calling it again loses nothing.
async fn committed(commit: &mut Option<Committing>) -> Result<(), JournalError> {
    match commit {
        Some(committing) => committing.done.as_mut().await,
        None => pending().await,
    }
}

async fn wake_at(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at.into()).await,
        None => pending().await,
    }
}
