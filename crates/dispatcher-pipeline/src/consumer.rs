//! One consumer: reads its stream into the window, keeps the lanes busy, commits what is finished.
//!
//! It waits for whatever comes first – rows, a lane, a commit, a time, the end – and then does everything that can be
//! done. One commit is under way at a time; what finishes meanwhile goes into the next, so that batches grow with the
//! load.

use std::{
    cell::RefCell,
    collections::HashSet,
    future::{Future, pending},
    pin::Pin,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use dispatcher_core::{Failure, Timestamp};
use dispatcher_journal::{Attempt, Change, Commit, Ends, Journal, JournalError, Overdue, Reader, Row, WhenBlocked};
use tokio::{
    sync::watch,
    task::{JoinError, JoinSet, yield_now},
    time::{sleep, sleep_until},
};
use tracing::{error, info, warn};

use crate::{
    State,
    attempt::Attempts,
    health::Health,
    pool::{Member, Pool},
    source::{Page, Source},
    status::StatusCell,
    steering::{self, PROBES, Rate, Terms, Verdict},
    step::step,
    window::{Batch, LetGo, Now, Outcome, Plan, Task, Window},
    worker::{Report, Worker},
};

/// The most rows that one read takes: the journal's page.
const PAGE: usize = 512;

/// How long a consumer that has read everything lets new rows gather. Whoever was idle for longer reads at once, so this
/// delays nothing but what follows closely; under load it makes one hop, one commit and one sync of many.
const PACE: Duration = Duration::from_millis(5);

/// How long the journal is left alone after it could not be read or written.
const JOURNAL_WAIT: Duration = Duration::from_secs(1);

/// How often a consumer follows retention: its wishes may grow with every second, and each takes a line of the log and a
/// record.
const EVICT_PACE: Duration = Duration::from_secs(10);

/// How often it is looked what waits longest, and how many keys are told.
const LOOK_PACE: Duration = Duration::from_secs(1);
const LONGEST_KEYS: usize = 5;

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

/// What people want of a consumer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Orders {
    /// Why it is to leave its plugin alone, if it is.
    pub(crate) parked: Option<String>,
    /// Whether it is to end: only a replay can.
    pub(crate) is_cancelled: bool,
    /// Set when its plugin is replaced or removed: what is under way may finish until then, and the place that it leaves is
    /// where the next one goes on.
    pub(crate) retire_by: Option<Instant>,
}

/// What a consumer shares with its neighbours, and how it is told to end.
pub(crate) struct Surroundings {
    pub(crate) orders: watch::Receiver<Orders>,
    pub(crate) journal: Journal,
    /// One for all consumers: they live on one thread, and one page cache costs less than a dozen.
    pub(crate) reader: Rc<RefCell<Reader>>,
    /// What retention wants gone.
    pub(crate) overdue: watch::Receiver<Overdue>,
    pub(crate) phase: watch::Receiver<Phase>,
    pub(crate) status: StatusCell,
}

/// What a consumer does, and with what.
pub(crate) struct Duty<W: Worker> {
    pub(crate) source: Source,
    pub(crate) worker: Rc<W>,
    /// Shared with others who use the same plugin.
    pub(crate) pool: Rc<Pool<W::Lane>>,
    /// May be shared with them, too.
    pub(crate) rate: Rate,
    /// Whether order is kept within keys.
    pub(crate) ordered: bool,
}

pub(crate) struct Consumer<W: Worker> {
    name: Arc<str>,
    worker: Rc<W>,
    journal: Journal,
    reader: Rc<RefCell<Reader>>,
    ends: watch::Receiver<Ends>,
    overdue: watch::Receiver<Overdue>,
    phase: watch::Receiver<Phase>,
    rate: Rate,
    ordered: bool,
    window: Window<W::Item, W::Made>,
    health: Health,
    source: Source,
    /// Lanes without work, and as whom this takes one. Those with work of this consumer are in `lanes`.
    pool: Rc<Pool<W::Lane>>,
    member: Member,
    lanes: JoinSet<Ended<W>>,
    orders: watch::Receiver<Orders>,
    commit: Option<Committing>,
    /// Dead letters that were none any more when their turn came: done, but not by this.
    gone: HashSet<u64>,
    /// Whether its orders have not been looked at, and the last of them.
    is_new: bool,
    is_cancelled: bool,
    retire_by: Option<Instant>,
    /// When to read again: after the journal could not be read, or, for a while, after all of it was.
    read_again_at: Option<Instant>,
    /// Up to where retention was followed, and when it is again.
    evicted: u64,
    evict_at: Option<Instant>,
    evict_pace: Duration,
    /// From when on it is worth looking what waits longest, and whether something happened since that was done.
    look_at: Instant,
    is_stale: bool,
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
    /// How many of its dead letters are worth a line of the log each; they come first.
    n_told: usize,
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
        duty: Duty<W>,
        window: Window<W::Item, W::Made>,
        health: Health,
        surroundings: Surroundings,
    ) -> Consumer<W> {
        let Duty { source, worker, pool, rate, ordered } = duty;
        let Surroundings { orders, journal, reader, overdue, phase, status } = surroundings;
        Consumer {
            name,
            source,
            member: pool.join(),
            pool,
            worker,
            orders,
            ends: journal.ends(),
            overdue,
            journal,
            reader,
            phase,
            rate,
            ordered,
            window,
            health,
            lanes: JoinSet::new(),
            commit: None,
            gone: HashSet::new(),
            is_new: true,
            is_cancelled: false,
            retire_by: None,
            read_again_at: None,
            evicted: 0,
            evict_at: None,
            evict_pace: EVICT_PACE,
            look_at: Instant::now(),
            is_stale: false,
            status,
        }
    }

    /// Runs until the pipeline ends, or, as a replay, until everything is delivered.
    pub(crate) async fn run(mut self) {
        let drain_until = loop {
            while let Some(ended) = self.lanes.try_join_next() {
                self.end_lane(ended);
            }
            let now = self.health.now();
            let is_cancelled = self.obey(now);
            let phase = self.phase_now();
            self.window.advance(now);
            match phase {
                Phase::Running if is_cancelled && self.lanes.is_empty() => return self.end_replay(true).await,
                Phase::Running if is_cancelled => {}
                Phase::Running => {
                    self.evict(now);
                    self.start_lanes(now);
                }
                Phase::Draining(until) if self.lanes.is_empty() || until <= now.instant => break until,
                Phase::Draining(_) => {}
                Phase::Stopped => return,
            }
            self.begin_commit(now);
            self.publish(now);
            if self.source.is_exhausted(self.window.loaded()) && self.window.is_empty() {
                return self.end_replay(false).await;
            }
            if phase == Phase::Running && !is_cancelled && self.read(now) {
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

    /// The phase of the pipeline, or that of this consumer alone, which is retired.
    fn phase_now(&mut self) -> Phase {
        match (*self.phase.borrow_and_update(), self.retire_by) {
            (Phase::Running, Some(until)) => Phase::Draining(until),
            (phase, _) => phase,
        }
    }

    /// The end of a drain: commits what there is, and closes the lanes.
    async fn finish(mut self, until: Instant) {
        // What still runs stays beyond the checkpoint or pending, and comes again after the next start.
        self.lanes.abort_all();
        self.pool.leave(self.member);
        if self.retire_by.is_some() {
            // Who goes on from the place that this leaves must not read it before it is stored.
            let phase = self.phase.clone();
            tokio::select! {
                () = self.commit_rest() => {}
                () = given_up(phase) => {}
            }
        }
        let deadline = until.max(Instant::now()) + LAST_COMMIT;
        if tokio::time::timeout_at(deadline.into(), self.commit_rest()).await.is_err() {
            warn!(consumer = &*self.name, "the last commit did not end in time; what it says will be repeated");
        }
        self.publish(self.health.now());
        let within = deadline.saturating_duration_since(Instant::now());
        let mut closing = JoinSet::new();
        // Whichever consumer of the pool comes last closes what the others had under way.
        for lane in self.pool.drain() {
            closing.spawn_local(self.worker.clone().close(lane, within));
        }
        let closed = async { while closing.join_next().await.is_some() {} };
        // A sink that blocks its thread has had its time; no event depends on it.
        let _ = tokio::time::timeout_at(deadline.into(), closed).await;
    }

    /// Commits what is finished, all of it.
    async fn commit_rest(&mut self) {
        loop {
            if self.commit.is_none() {
                let Some(plan) = self.window.last_plan(self.health.now()) else { return };
                self.send(plan);
            }
            let result = committed(&mut self.commit).await;
            self.end_commit(result);
            if matches!(self.health.state(), State::Stopped { .. }) {
                return;
            }
        }
    }

    /// The end of a replay: everything is delivered or dead, or someone does not want the rest any more. Where that cannot be
    /// stored before the pipeline ends, the next start finds it finished, or goes on with it.
    async fn end_replay(mut self, cancelled: bool) {
        self.pool.leave(self.member);
        let phase = self.phase.clone();
        tokio::select! {
            () = self.store_end(cancelled) => {}
            () = given_up(phase) => {}
        }
    }

    async fn store_end(&mut self, cancelled: bool) {
        self.commit_rest().await;
        let Some(id) = self.source.replay().map(|replay| replay.id) else { return };
        loop {
            match self.journal.change(Change::EndReplay { id, cancelled }).await {
                Ok(_) => break,
                Err(JournalError::Failed(reason)) => {
                    warn!(replay = id, %reason, "its end cannot be stored; trying again");
                    sleep(JOURNAL_WAIT).await;
                }
                Err(JournalError::Poisoned(_) | JournalError::Closed) => return,
            }
        }
        let status = self.status.read();
        let what = if cancelled { "cancelled" } else { "finished" };
        info!(replay = id, done = status.done, dead = status.dead, "replay {what}");
    }

    /// Follows what people want of it; true if it is to end.
    fn obey(&mut self, now: Now) -> bool {
        if !self.orders.has_changed().unwrap_or(false) && !self.is_new {
            return self.is_cancelled;
        }
        self.is_new = false;
        let Orders { parked, is_cancelled, retire_by } = self.orders.borrow_and_update().clone();
        self.is_cancelled = is_cancelled;
        self.retire_by = retire_by;
        if retire_by.is_some() {
            // Whether its plugin is to be left alone is its successor's affair.
            return is_cancelled;
        }
        match parked {
            Some(reason) => {
                if self.health.park(reason.clone(), now) {
                    info!(consumer = &*self.name, reason, "parked; what is for it waits");
                }
            }
            None => {
                if self.health.resume(now) {
                    info!(consumer = &*self.name, "resumed");
                }
            }
        }
        is_cancelled
    }

    async fn wait(&mut self, phase: Phase) -> Event<W> {
        let may_read = phase == Phase::Running && steering::may_read(&self.window, &self.health);
        let read_again_at = self.read_again_at.filter(|_| may_read);
        let is_reading = may_read && self.window.room() > 0 && read_again_at.is_none();
        let drain_until = match phase {
            Phase::Draining(until) => Some(until),
            Phase::Running | Phase::Stopped => None,
        };
        let can_start = phase == Phase::Running && !self.is_cancelled && self.may_use_more();
        let now = self.health.now();
        let next_start = can_start.then(|| steering::next_start(&self.window, &self.health, &self.rate)).flatten();
        // Without a use for a lane it gives up its turn for one; with one, it is told when its turn comes.
        let wants_lane = can_start && steering::wants(&self.window, &self.health, &self.rate, now);
        if !wants_lane {
            self.pool.leave(self.member);
        } else if self.pool.has_for(self.member) {
            // What it waited for has come since it last looked.
            return Event::Other;
        }
        let freed = self.pool.freed();
        // A time that is over brings nothing new: what it is waited for now is a lane.
        let next_start = next_start.filter(|at| *at > now.instant);
        let evict_at = self.evict_at.filter(|_| phase == Phase::Running);
        let look_at = self.is_stale.then_some(self.look_at);
        let wakes = [self.window.next_wake(), next_start, read_again_at, drain_until, evict_at, look_at];
        let wake = wakes.into_iter().flatten().min();
        tokio::select! {
            Some(ended) = self.lanes.join_next() => Event::Lane(ended),
            result = committed(&mut self.commit) => Event::Committed(result),
            // An error means that the journal is closed; the next commit says so.
            Ok(()) = self.ends.changed(), if is_reading => Event::Other,
            Ok(()) = self.overdue.changed(), if phase == Phase::Running => Event::Other,
            () = wake_at(wake) => Event::Other,
            () = freed, if wants_lane => Event::Other,
            Ok(()) = self.orders.changed() => {
                self.is_new = true;
                Event::Other
            }
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
        while self.may_use_more() && steering::wants(&self.window, &self.health, &self.rate, now) {
            let Some(lane) = self.pool.take(self.member) else { return };
            let taken = steering::take(&mut self.window, &mut self.health, &self.rate, now);
            let Some((batch, tasks)) = taken else { return self.pool.put(lane) };
            self.start(lane, batch, tasks, now);
        }
    }

    /// Whether it may have one more lane at work. A replay leaves half of them to what comes new.
    fn may_use_more(&self) -> bool {
        match self.source {
            Source::Live => true,
            Source::Replay(_) => self.lanes.len() < self.pool.n_lanes().div_ceil(2),
        }
    }

    fn start(&mut self, lane: W::Lane, batch: Batch, tasks: Vec<Task<W::Item>>, now: Now) {
        let mut work = Vec::with_capacity(tasks.len());
        for task in tasks {
            // A dead letter may have been discarded since it was read.
            let item = match task.item.filter(|_| !self.source.is_of_dead()) {
                Some(item) => item,
                // Pending for long, or from before the start. It is alone in its batch, or the first of few.
                None => match self.read_one(task.seq) {
                    Ok(Some(Row::Intact(item))) => item,
                    // What was read so far is worked on; this one, and what is behind it, comes again, then as the first.
                    Ok(None | Some(Row::Damaged { .. })) if !work.is_empty() => break,
                    Ok(gone_or_damaged) => {
                        self.pool.put(lane);
                        let damage = gone_or_damaged.map(|row| match row {
                            Row::Damaged { reason, .. } => reason,
                            Row::Intact(_) => String::new(),
                        });
                        return self.end_unread(batch, damage.as_deref(), now);
                    }
                    Err(err) => {
                        self.pool.put(lane);
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
        step("deliver.started");
        let attempts = Attempts::begin::<W>(&self.name, &work);
        let working = self.worker.clone().work(lane, work, self.source.replayed());
        self.lanes.spawn_local(async move {
            let (lane, report) = working.await;
            if let Some(attempts) = attempts {
                attempts.end(&report);
            }
            Ended { lane, batch, report }
        });
    }

    /// The first item of a batch that has not started cannot be read, or, without `damage`, is none any more.
    fn end_unread(&mut self, batch: Batch, damage: Option<&str>, now: Now) {
        let outcomes = vec![match damage {
            Some(reason) => Outcome::Failed(Failure::permanent(format!("its row is damaged: {reason}"))),
            None => {
                self.gone.extend(batch.first_seq(&self.window));
                Outcome::Done(W::Made::default())
            }
        }];
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
            Err(err) => self.stop(&format!("a lane failed: {err}")),
        }
    }

    fn end_batch(&mut self, ended: Ended<W>) {
        step("deliver.ended");
        let Ended { lane, batch, report } = ended;
        self.pool.put(lane);
        let (window, health) = (&mut self.window, &mut self.health);
        let now = health.now();
        let end = self.source.end(self.ends.borrow().of(W::STREAM));
        let terms = Terms {
            permanent_counts: W::PERMANENT_COUNTS,
            is_replay: self.source.replay().is_some(),
            is_exhausted: window.loaded() >= end,
        };
        let verdict = steering::end(window, health, batch, report, terms, now);
        self.tell(verdict);
    }

    fn go_down(&mut self, batch: u64, error: String, wait: Option<Duration>, now: Now) {
        let has_changed = self.health.down(batch, error.clone(), wait, now);
        self.tell(Verdict { error: Some(error), has_changed, ..Verdict::default() });
    }

    fn stop(&mut self, reason: &str) {
        let has_changed = self.health.stop(reason.to_owned(), self.health.now());
        self.tell(Verdict { has_changed, ..Verdict::default() });
    }

    /// Counts what a batch came to, and says so where the state is another now.
    fn tell(&self, verdict: Verdict) {
        let Verdict { tally, error, has_changed } = verdict;
        self.status.update(|status| {
            status.done += tally.done as u64;
            status.failed += tally.failed.len() as u64;
            status.failures.count(&tally, error.is_some());
            if error.is_some() {
                status.last_error = error;
            }
        });
        if !has_changed {
            return;
        }
        let consumer = &*self.name;
        match self.health.state() {
            State::Up => info!(consumer, "up again"),
            State::Down { error, .. } => warn!(
                consumer,
                error, "down: nothing is lost and no attempt is used; its oldest item is tried until that works"
            ),
            State::Parked { error, .. } => error!(
                consumer,
                error, "parked: nothing is lost, and nothing is tried until someone mends it and resumes it"
            ),
            State::Stopped { error, .. } => error!(consumer, error, "stopped: nothing is lost, and nothing goes on"),
        }
    }

    /// Lets go of what retention wants gone, however the plugin is.
    fn evict(&mut self, now: Now) {
        let overdue = *self.overdue.borrow_and_update();
        let upto = overdue.of(W::STREAM);
        let (how, policy) = match overdue.policy {
            WhenBlocked::Block => return,
            // What is replayed was done with before.
            WhenBlocked::DeadLetter if self.source.replay().is_some() => (LetGo::Skip, "skip"),
            WhenBlocked::DeadLetter => (LetGo::Bury, "dead-letter"),
            WhenBlocked::Skip => (LetGo::Skip, "skip"),
        };
        self.evict_at = self.evict_at.filter(|&at| now.instant < at);
        if upto <= self.evicted || self.evict_at.is_some() {
            return;
        }
        self.evicted = upto;
        let reason = format!("retention let go of it before it was done (when_blocked = {policy:?})");
        if let Some((first, last)) = self.window.evict(upto, how, &reason) {
            self.evict_at = Some(now.instant + self.evict_pace);
            warn!(
                consumer = &*self.name,
                first, last, policy, "is behind what retention keeps: what is not done in this range is let go of"
            );
        }
    }

    /// Reads a page, if there is room and something to read; true if it did.
    fn read(&mut self, now: Now) -> bool {
        if self.read_again_at.is_some_and(|at| now.instant < at) || !steering::may_read(&self.window, &self.health) {
            return false;
        }
        self.read_again_at = None;
        let (rows, after) = (self.window.room().min(PAGE), self.window.loaded());
        // Less than a page is not worth a read while there is work for the lanes.
        let has_work = self.window.n_ready() >= PROBES && !self.window.has_to_read();
        let is_full = rows == 0 || (rows < PAGE / 4 && has_work);
        let end = self.source.end(self.ends.borrow_and_update().of(W::STREAM));
        if is_full || end <= after {
            return false;
        }
        let page = self.source.read::<W>(&mut self.reader.borrow_mut(), after, rows, self.window.room_in_bytes());
        match page {
            Ok(Page { rows: page, is_last }) => {
                let is_some = !page.is_empty() || is_last;
                if page.len() < rows {
                    self.read_again_at = Some(now.instant + PACE);
                }
                for row in page {
                    self.take_row(row);
                }
                if is_last && end > self.window.loaded() {
                    self.window.skip(end);
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

    fn read_one(&self, seq: u64) -> Result<Option<Row<W::Item>>, JournalError> {
        self.source.read_one::<W>(&mut self.reader.borrow_mut(), seq)
    }

    fn take_row(&mut self, row: Row<W::Item>) {
        match row {
            Row::Intact(item) if !self.source.selects(&*self.worker, &item) => self.window.skip(W::seq(&item)),
            Row::Intact(item) => {
                let key = if self.ordered { W::key(&item) } else { None };
                let (seq, bytes) = (W::seq(&item), W::bytes(&item));
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
        let Plan { checkpoint, made, pending, settled, mut dead, mut evicted, skipped, mut attempts } = plan;
        let n_told = dead.len();
        dead.append(&mut evicted);
        let replay = self.source.replay();
        let is_of_dead = self.source.is_of_dead();
        let n_gone = made.iter().filter(|(seq, _)| self.gone.contains(seq)).count() as u64;
        if replay.is_some() {
            // Nothing else would tell that it was delivered again.
            let at = Timestamp::now();
            let told: HashSet<u64> = attempts.iter().map(|attempt| attempt.seq).collect();
            let untold = made.iter().filter(|(seq, _)| !told.contains(seq) && !self.gone.contains(seq));
            attempts.extend(untold.map(|(seq, _)| Attempt { seq: *seq, n: 1, at, error: None, response: None }));
        }
        let commit = Commit {
            consumer: self.name.clone(),
            checkpoint: Some(checkpoint),
            in_name_of: replay.map(|replay| replay.dead_of.clone().unwrap_or_else(|| replay.target.clone())),
            raised: if is_of_dead { made.iter().map(|(seq, _)| *seq).collect() } else { Vec::new() },
            done: made.len() as u64 - n_gone,
            events: made.into_iter().filter_map(|(_, made)| W::emitted(made)).collect(),
            pending,
            settled,
            dead,
            attempts,
            skipped,
        };
        step("consumer.committing");
        let (journal, sent) = (self.journal.clone(), commit.clone());
        self.commit = Some(Committing { commit, n_told, done: Box::pin(async move { journal.commit(sent).await }) });
    }

    fn end_commit(&mut self, result: Result<(), JournalError>) {
        let Some(Committing { commit, n_told, .. }) = self.commit.take() else { return };
        match result {
            Ok(()) => {
                step("consumer.committed");
                self.window.committed();
                for dead in commit.dead.iter().take(n_told) {
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
                self.commit = Some(Committing { commit, n_told, done });
            }
            Err(err @ (JournalError::Poisoned(_) | JournalError::Closed)) => self.stop(&err.to_string()),
        }
    }

    fn publish(&mut self, now: Now) {
        self.is_stale = now.instant < self.look_at;
        let looked = (!self.is_stale).then(|| {
            self.look_at = now.instant + LOOK_PACE;
            (self.window.longest_keys(LONGEST_KEYS), self.window.oldest_pending())
        });
        let end = self.source.end(self.ends.borrow().of(W::STREAM));
        self.status.update(|status| {
            status.checkpoint = self.window.checkpoint();
            status.backlog = end.saturating_sub(status.checkpoint);
            status.pending = self.window.pending();
            status.under_way = self.lanes.len();
            if let Some((keys, oldest)) = looked {
                status.longest_keys = keys.into_iter().map(|(key, len)| (key.app, key.key, len)).collect();
                status.oldest_pending = oldest;
            }
            // Compared first: a clone of the error's text each time would cost more than all else here.
            if status.state != *self.health.state() {
                status.state = self.health.state().clone();
            }
        });
    }
}

/// Resolves when a pipeline that ends waits no longer.
async fn given_up(mut phase: watch::Receiver<Phase>) {
    // An error means that the pipeline is gone.
    let Ok(ending) = phase.wait_for(|phase| *phase != Phase::Running).await.map(|phase| *phase) else { return };
    if let Phase::Draining(until) = ending {
        let stopped = async { _ = phase.wait_for(|phase| *phase == Phase::Stopped).await };
        let _ = tokio::time::timeout_at((until + LAST_COMMIT).into(), stopped).await;
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

#[cfg(test)]
mod tests;
