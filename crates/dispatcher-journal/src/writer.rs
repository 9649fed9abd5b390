//! The one thread that writes: it takes what waits, commits it in one transaction, and tells all who wait.

use std::{
    collections::VecDeque,
    fs::File,
    mem,
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use dispatcher_core::Timestamp;
use rusqlite::{Connection, config::DbConfig};
use tracing::{error, info, warn};

use crate::{
    Appended, CallbackRow, Health, JournalError,
    dedupe::Dedupe,
    port::{AppendOp, Done, weight},
    shared::{Request, Shared, lock},
    step::step,
    tail::Tail,
    transaction::{Fault, Tables, Trouble},
    upkeep::{self, Upkeep},
};

/// How many rows go into one transaction, so that none of them waits long for the others.
const BATCH: usize = 512;
/// How many rows are read at once to remember what was appended before the start.
const RECALL: i64 = 512;
/// How long nothing must wait before the write-ahead log is copied into the file.
const IDLE: Duration = Duration::from_secs(1);

/// Runs until the journal is closed. Owns the connection and the lock until then.
pub(crate) fn run(mut connection: Connection, lock: File, shared: &Arc<Shared>, dedupe: Dedupe, ready: &Ready) {
    let _watch = Watch(shared);
    let upkeep = Upkeep::new(&mut connection);
    let tables = Tables::new(&connection);
    let poisoned = match (tables, upkeep) {
        (Ok(tables), Ok(upkeep)) => {
            let _ = ready.send(Ok(()));
            let mut writer = Writer::new(shared, tables, upkeep, dedupe);
            writer.run();
            writer.poisoned.is_some()
        }
        (Err(err), _) | (_, Err(err)) => {
            let _ = ready.send(Err(err));
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
pub(crate) type Ready = std::sync::mpsc::SyncSender<rusqlite::Result<()>>;

struct Writer<'c> {
    shared: &'c Shared,
    tables: Tables<'c>,
    upkeep: Upkeep,
    dedupe: Dedupe,
    /// The monotonic clock counts from here.
    opened: Instant,
    /// Callbacks before this seq are not yet remembered; `None` when all are that need to be.
    recall_before: Option<u64>,
    poisoned: Option<Arc<str>>,
    /// Why the last write failed, while that lasts, and how many detached callbacks that has cost.
    failing: Option<Arc<str>>,
    unrecorded: u64,
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
    fn new(shared: &'c Shared, tables: Tables<'c>, upkeep: Upkeep, dedupe: Dedupe) -> Writer<'c> {
        let recall_before = dedupe.is_on().then(|| tables.ends().callbacks + 1);
        Writer {
            shared,
            tables,
            upkeep,
            dedupe,
            opened: Instant::now(),
            recall_before,
            poisoned: None,
            failing: None,
            unrecorded: 0,
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
            if self.appends.len() < BATCH {
                self.shared.collect(&mut self.appends, &mut self.requests);
            }
            if !self.appends.is_empty() || !self.requests.is_empty() {
                self.write_batch();
                self.look_after_log(Upkeep::after_commit);
                self.recall();
            } else if self.shared.is_stopping() {
                if mem::replace(&mut sealed, true) {
                    return;
                }
                // Once more, for what was handed over before this.
                self.shared.seal();
            } else if self.recall_before.is_some() {
                self.recall();
            } else {
                self.rest();
            }
        }
    }

    fn rest(&mut self) {
        if !self.upkeep.is_behind() || self.poisoned.is_some() {
            self.shared.sleep(thread::park);
            return;
        }
        let began = Instant::now();
        self.shared.sleep(|| thread::park_timeout(IDLE));
        if began.elapsed() >= IDLE {
            self.look_after_log(Upkeep::when_idle);
        }
    }

    /// Writes the oldest of what waits, and tells all whom it concerns.
    fn write_batch(&mut self) {
        let mut batch = mem::take(&mut self.batch);
        batch.extend(self.appends.drain(..self.appends.len().min(BATCH)));
        let requests = self.next_requests(BATCH.saturating_sub(batch.len()));

        // Whatever fails by its own fault must not take the others with it.
        let whole = self.transact(&batch, &requests);
        let alone = matches!(&whole, Err(trouble) if trouble.fault == Fault::Own)
            && requests.len() + usize::from(!batch.is_empty()) > 1;
        if alone {
            if !batch.is_empty() {
                let outcome = self.transact(&batch, &[]);
                self.finish_appends(&mut batch, outcome.map(drop));
            }
            for request in requests {
                let outcome = self.transact(&[], std::slice::from_ref(&request));
                finish_requests([request], outcome);
            }
        } else {
            self.finish_appends(&mut batch, whole.as_ref().map(drop).map_err(Trouble::clone));
            finish_requests(requests, whole);
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
            let rows = match &request {
                Request::Commit { commit, .. } => {
                    let events: usize = commit.events.iter().map(|emitted| emitted.events.len()).sum();
                    1 + events + commit.pending.len() + commit.settled.len() + commit.dead.len()
                }
                Request::Register { .. } => 1,
                #[cfg(test)]
                Request::Hook(_) => 0,
            };
            if !requests.is_empty() && rows > room {
                self.requests.push_front(request);
                break;
            }
            #[cfg(test)]
            let request = match request {
                Request::Hook(hook) => {
                    let recalled = self.recall_before.is_none();
                    hook(&mut Hooked { tables: &mut self.tables, shared: self.shared, recalled });
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
    /// request is in the result.
    fn transact(&mut self, batch: &[AppendOp], requests: &[Request]) -> Result<Vec<u64>, Trouble> {
        self.appended.clear();
        if let Some(reason) = &self.poisoned {
            return Err(Trouble { fault: Fault::Sync, reason: reason.clone() });
        }
        let now = self.now();
        let first = self.tables.ends().callbacks + 1;
        let (appended, dedupe) = (&mut self.appended, &mut self.dedupe);
        let mut answers = Vec::new();
        let outcome = self.tables.transact(|tables| {
            for append in batch {
                let identity = append.callback.identity();
                if let Some(seq) = identity.and_then(|identity| dedupe.find(identity, now)) {
                    appended.push(Appended::Repeat { seq });
                    continue;
                }
                let seq = tables.append(&append.callback)?;
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
                    Request::Register { consumer, stream, start, .. } => {
                        answers.push(tables.register(consumer, *stream, *start)?);
                    }
                    #[cfg(test)]
                    Request::Hook(_) => answers.push(0),
                }
            }
            Ok(())
        });
        match outcome {
            Ok(written) => {
                if written {
                    self.publish(batch);
                    self.recover();
                }
                Ok(answers)
            }
            Err(trouble) => {
                dedupe.forget_from(first);
                // Whose fault of its own it was is seen when each is tried alone.
                let is_mixed = !batch.is_empty() && !requests.is_empty();
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

    fn finish_appends(&mut self, batch: &mut Vec<AppendOp>, outcome: Result<(), Trouble>) {
        let failure = outcome.err().map(|trouble| JournalError::from(trouble).into());
        // After a failure these are as they were before it.
        let end = self.tables.ends().callbacks;
        let (mut bytes, mut new, mut repeats, mut lost) = (0, 0, 0, 0);
        let mut appended = self.appended.drain(..);
        for append in batch.drain(..) {
            bytes += weight(&append.callback);
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
            if let Some(slot) = append.slot {
                if self.results.len() <= append.port {
                    self.results.resize_with(append.port + 1, Vec::new);
                }
                self.results[append.port].push(Done { slot, result, callback: append.callback });
            }
        }
        drop(appended);
        self.shared.release(bytes);
        self.unrecorded += lost;
        // Counted before anybody is told, so that whoever was told finds it counted.
        let tallies = &self.shared.tallies;
        tallies.appended.fetch_add(new, Ordering::Relaxed);
        tallies.repeats.fetch_add(repeats, Ordering::Relaxed);
        tallies.unrecorded.fetch_add(lost, Ordering::Relaxed);
        self.shared.finish(&mut self.results);
    }

    /// After a transaction that succeeded.
    fn recover(&mut self) {
        if self.failing.take().is_some() {
            self.shared.set_health(Health::Ok);
            info!(unrecorded = mem::take(&mut self.unrecorded), "the journal writes again");
        }
    }

    /// After one that failed. A consumer's own fault is the consumer's to tell.
    fn suffer(&mut self, trouble: &Trouble, has_appends: bool) {
        match trouble.fault {
            Fault::Sync => self.poison(&trouble.reason),
            Fault::Own if !has_appends => {}
            Fault::Disk | Fault::Own => {
                if self.failing.replace(trouble.reason.clone()).is_none() {
                    error!(
                        reason = %trouble,
                        "the journal cannot write, and callbacks are refused until it can; it tries again with each \
                         that comes; free space on its disk, or see to the disk"
                    );
                }
                self.shared.set_health(Health::Failing(trouble.reason.clone()));
            }
        }
    }

    fn poison(&mut self, reason: &Arc<str>) {
        if self.poisoned.is_none() {
            error!(
                %reason,
                "the journal could not sync to its disk, so that nothing more can be promised: callbacks are refused from \
                 now on; look for disk errors in the kernel's log, then restart the dispatcher"
            );
            self.poisoned = Some(reason.clone());
            self.shared.set_health(Health::Poisoned(reason.clone()));
        }
    }

    fn look_after_log(&mut self, upkeep: fn(&mut Upkeep, &Connection) -> rusqlite::Result<()>) {
        if self.poisoned.is_some() {
            return;
        }
        match upkeep(&mut self.upkeep, self.tables.connection()).map_err(Trouble::from) {
            Ok(()) => self.log_failing = false,
            Err(trouble) if trouble.fault == Fault::Sync => self.poison(&trouble.reason),
            Err(trouble) => {
                if !mem::replace(&mut self.log_failing, true) {
                    warn!(
                        reason = %trouble,
                        "the journal's write-ahead log cannot be copied into its file, and grows until it can"
                    );
                }
            }
        }
        self.shared.tallies.wal_bytes.store(self.upkeep.bytes(), Ordering::Relaxed);
    }

    /// Remembers some more of what was appended before the start, newest first.
    fn recall(&mut self) {
        let Some(before) = self.recall_before.take() else { return };
        match self.recall_some(before) {
            Ok(next) => self.recall_before = next,
            Err(err) => warn!(%err, "repeats of callbacks from before the start may be stored again"),
        }
    }

    fn recall_some(&mut self, before: u64) -> rusqlite::Result<Option<u64>> {
        let now = self.now();
        let clock = Timestamp::now();
        let mut statement = self
            .tables
            .connection()
            .prepare_cached("SELECT seq, at, identity FROM callbacks WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2")?;
        let mut rows = statement.query((before.cast_signed(), RECALL))?;
        let mut next = None;
        while let Some(row) = rows.next()? {
            let (seq, at, identity): (i64, i64, Option<[u8; 16]>) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let age = clock.since(Timestamp::from_millis(at)).as_millis();
            let since = now - i64::try_from(age).unwrap_or(i64::MAX / 2);
            let seq = seq.cast_unsigned();
            match identity {
                Some(identity) if !self.dedupe.recall(u128::from_be_bytes(identity), seq, since, now) => {
                    return Ok(None);
                }
                _ => next = Some(seq),
            }
        }
        Ok(next)
    }

    fn now(&self) -> i64 {
        i64::try_from(self.opened.elapsed().as_millis()).unwrap_or(i64::MAX)
    }
}

/// Tells those who asked. A reply that nobody waits for any more is let go.
fn finish_requests(requests: impl IntoIterator<Item = Request>, outcome: Result<Vec<u64>, Trouble>) {
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
            #[cfg(test)]
            Request::Hook(_) => {}
        }
    }
}

/// Fails those who wait, should the writer panic: better a refusal than a reply that never comes.
struct Watch<'a>(&'a Shared);

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            error!("the journal's writer has failed, and callbacks are refused from now on; restart the dispatcher");
            self.0.abort(&"its writer has failed".into());
        }
    }
}

/// What a test may do to the writer.
#[cfg(test)]
pub(crate) struct Hooked<'a, 'c> {
    pub(crate) tables: &'a mut Tables<'c>,
    shared: &'a Shared,
    recalled: bool,
}

#[cfg(test)]
impl Hooked<'_, '_> {
    /// From here on readers have to read the file.
    pub(crate) fn forget_tail(&self) {
        *lock(&self.shared.tail) = Tail::default();
    }

    /// Whether all that is to be remembered of earlier runs is.
    pub(crate) fn has_recalled(&self) -> bool {
        self.recalled
    }

    /// Makes the disk full: the file may have so many more pages than it has now.
    pub(crate) fn limit_pages(&self, more: Option<i64>) {
        let connection = self.tables.connection();
        let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
        let limit = more.map_or(i64::from(u32::MAX) - 1, |more| pages + more);
        connection.pragma_update_and_check(None, "max_page_count", limit, |_| Ok(())).unwrap();
    }
}
