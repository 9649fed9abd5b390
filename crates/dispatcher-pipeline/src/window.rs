//! What a consumer has read and not finished: the state machine behind both stages, without I/O, clock or threads.
//!
//! Items enter in seq order ([`push`](Window::push)), leave in batches to be worked on ([`take`](Window::take)), come
//! back with outcomes ([`finish`](Window::finish), [`give_back`](Window::give_back)) and end in commits
//! ([`plan`](Window::plan), [`committed`](Window::committed)). What retention wants gone is let go of untried
//! ([`evict`](Window::evict)). Every step costs the same however much is held, but for the ordered set of what can start,
//! and for an eviction, which looks at everything once.
//!
//! What it promises, and `model.rs` tries with crashes at every step: each item up to the checkpoint of a commit is done,
//! pending, dead, or in a range that was skipped; no two items of one key are with different batches at once; an item of a
//! key starts only when all earlier ones are done, or durably dead or skipped.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap, VecDeque},
    time::{Duration, Instant},
};

use dispatcher_core::{Failure, Key, Timestamp};
use dispatcher_journal::Pending;

use crate::Backoff;

mod evict;
mod fail;
#[cfg(test)]
mod flaw;
mod line;
mod plan;

pub(crate) use evict::LetGo;
use evict::{Eviction, Record};
use fail::Trouble;
use line::Line;
pub(crate) use plan::Plan;

/// The limits of a window, and what it knows of failures.
#[derive(Clone, Debug)]
pub(crate) struct WindowOptions {
    /// The most items beyond the checkpoint.
    pub(crate) max_items: usize,
    /// The most bytes that they hold.
    pub(crate) max_bytes: usize,
    /// The most items in one batch.
    pub(crate) batch: usize,
    /// The most bytes in one batch; one item is always taken.
    pub(crate) batch_bytes: usize,
    /// The most pending items.
    pub(crate) max_pending: usize,
    /// How often an item is tried before it is given up on; `None`: this is no limit.
    pub(crate) attempts: Option<u32>,
    /// From which age on an item is given up on when it fails; `None`: this is no limit.
    pub(crate) give_up_after: Option<Duration>,
    /// The wait between tries.
    pub(crate) backoff: Backoff,
    /// How long an item may be under way before the checkpoint passes it by.
    pub(crate) park_after: Duration,
    /// What is deliberately wrong, so that the model can show that it notices.
    #[cfg(test)]
    pub(crate) flaw: Option<model::Flaw>,
}

/// A reading of all clocks: waits run on the first, what is stored on the second, the age of items on the third.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) instant: Instant,
    pub(crate) wall: Timestamp,
    /// For how long the consumer has been up: stands still while it is not.
    pub(crate) up: Duration,
}

/// What order is kept within: a key counts within its app.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct OrderKey {
    pub(crate) app: u64,
    pub(crate) key: Key,
}

/// Items that are worked on together, in seq order. Whoever holds it owes the window their outcomes.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Counts up from 1: a batch with a smaller number started earlier.
    pub(crate) number: u64,
    ids: Vec<Id>,
}

impl Batch {
    /// The seq of its first item.
    pub(crate) fn first_seq<P, M>(&self, window: &Window<P, M>) -> Option<u64> {
        self.ids.first().map(|&id| window.entries[id as usize].seq)
    }
}

/// One item of a batch.
#[derive(Debug)]
pub(crate) struct Task<P> {
    pub(crate) seq: u64,
    /// Which attempt this is, from 1.
    pub(crate) attempt: u32,
    /// `None` when it is no longer in memory: read it again.
    pub(crate) item: Option<P>,
}

/// What became of one item of a batch.
#[derive(Debug)]
pub(crate) enum Outcome<M> {
    /// Done, and made this.
    Done(M),
    /// Failed, by its own fault.
    Failed(Failure),
    /// Left alone; takes no attempt.
    NotTried,
}

/// What a batch came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) done: usize,
    pub(crate) failed: Vec<FailedItem>,
}

/// An item that failed by its own fault.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FailedItem {
    pub(crate) seq: u64,
    pub(crate) key: Option<OrderKey>,
    pub(crate) is_permanent: bool,
    /// Whether a receiver said so.
    pub(crate) is_answered: bool,
}

impl FailedItem {
    fn new(seq: u64, key: Option<OrderKey>, failure: &Failure) -> FailedItem {
        FailedItem { seq, key, is_permanent: failure.is_permanent(), is_answered: failure.response().is_some() }
    }
}

/// See the head of this file. `P` is what an item holds, `M` what a done one leaves for the commit.
pub(crate) struct Window<P, M> {
    options: WindowOptions,
    rng: fastrand::Rng,
    entries: Vec<Entry<P, M>>,
    free_entries: Vec<Id>,
    lines: Vec<Line>,
    free_lines: Vec<Id>,
    line_of: HashMap<OrderKey, Id>,
    /// What lies beyond the checkpoint, in seq order. Items that were not selected are not held at all.
    ahead: VecDeque<Id>,
    /// What can start now, by seq.
    ready: BTreeMap<u64, Id>,
    /// What can start later. An entry that has changed since is stepped over.
    due: BinaryHeap<Reverse<(Instant, u64, Id)>>,
    /// Pending items that changed since the last plan.
    changed: Vec<Id>,
    /// What the commit under way says is dead or skipped; it blocks its key until that is durable.
    buried: Vec<Id>,
    /// What has to go untried.
    eviction: Option<Eviction>,
    /// The skipped range that no commit has told yet.
    record: Option<Record>,
    /// Up to where rows were skipped unread, while that is not durable.
    jumped_to: Option<u64>,
    batches: u64,
    loaded: u64,
    checkpoint: u64,
    pending: usize,
    bytes: usize,
    is_committing: bool,
    /// When the checkpoint has waited long enough for something worth a commit.
    idle_until: Option<Instant>,
    /// When the item that holds up the checkpoint has been under way for long enough.
    park_at: Option<Instant>,
    /// What lies before this need not be waited for, since the window is to end.
    pass_to: u64,
    /// The keys of items that a flaw took out of their lines.
    #[cfg(test)]
    flawed: HashMap<u64, OrderKey>,
}

type Id = u32;

/// No entry, no line.
const NONE: Id = Id::MAX;

/// What an item is taken to hold when it has to be read again and its size is not known: 16 to a batch of 1 MiB.
const ASSUMED_BYTES: usize = 64 * 1024;

struct Entry<P, M> {
    seq: u64,
    line: Id,
    /// The next of its key.
    next: Id,
    state: State<M>,
    /// Whether the checkpoint has passed it: it has a row among the pending, or will have with the commit under way.
    is_pending: bool,
    /// Whether it is in `changed`.
    has_changed: bool,
    /// Whether it goes in a batch of its own, because one that it was part of came to grief.
    is_alone: bool,
    attempts: u32,
    bytes: usize,
    /// It is done, its item is gone, and its bytes still count.
    weighs: bool,
    item: Option<P>,
    trouble: Option<Box<Trouble>>,
}

enum State<M> {
    Queued,
    Running {
        since: Instant,
    },
    Failed {
        due: Instant,
        due_at: Timestamp,
    },
    Done(M),
    Dead {
        reason: String,
        /// By an eviction, rather than by its own failure.
        is_evicted: bool,
    },
    Skipped,
    Free,
}

impl<P: Clone, M> Window<P, M> {
    /// A window at `checkpoint`, with the items that are pending there. What is due later than one longest backoff from
    /// now was stored by a clock that has jumped since, or by wish of a receiver, and is brought to that.
    pub(crate) fn new(
        options: WindowOptions,
        checkpoint: u64,
        mut pending: Vec<Pending>,
        seed: u64,
        now: Now,
    ) -> Window<P, M> {
        let mut window = Window {
            options,
            rng: fastrand::Rng::with_seed(seed),
            entries: Vec::new(),
            free_entries: Vec::new(),
            lines: Vec::new(),
            free_lines: Vec::new(),
            line_of: HashMap::new(),
            ahead: VecDeque::new(),
            ready: BTreeMap::new(),
            due: BinaryHeap::new(),
            changed: Vec::new(),
            buried: Vec::new(),
            eviction: None,
            record: None,
            jumped_to: None,
            batches: 0,
            loaded: checkpoint,
            checkpoint,
            pending: pending.len(),
            bytes: 0,
            is_committing: false,
            idle_until: None,
            park_at: None,
            pass_to: 0,
            #[cfg(test)]
            flawed: HashMap::new(),
        };
        pending.sort_unstable_by_key(|row| row.seq);
        for row in pending {
            let wait = row.due.since(now.wall).min(window.options.backoff.max);
            let key = row.key.map(|key| OrderKey { app: row.app, key });
            let id = window.insert(row.seq, key.as_ref(), ASSUMED_BYTES, None);
            let entry = &mut window.entries[id as usize];
            entry.is_pending = true;
            entry.attempts = row.attempt;
            entry.trouble = Some(Box::new(Trouble::restored(row.first_at, row.error, row.age, now)));
            if !wait.is_zero() {
                entry.state = State::Failed { due: now.instant + wait, due_at: now.wall.after(wait) };
            }
            window.offer_if_first(id);
        }
        window
    }

    /// How many more items can be read now.
    pub(crate) fn room(&self) -> usize {
        // Of which keys the rows are that were skipped unread is not known: what comes behind them waits for all.
        if self.jumped_to.is_some() {
            return 0;
        }
        if self.pending >= self.options.max_pending || self.bytes >= self.options.max_bytes {
            return 0;
        }
        self.options.max_items.saturating_sub(self.ahead.len())
    }

    /// How many more bytes can be read now.
    pub(crate) fn room_in_bytes(&self) -> usize {
        self.options.max_bytes.saturating_sub(self.bytes)
    }

    /// The last seq that was read.
    pub(crate) fn loaded(&self) -> u64 {
        self.loaded
    }

    /// Up to where everything is done, pending or dead, once the commit under way is durable.
    pub(crate) fn checkpoint(&self) -> u64 {
        self.checkpoint
    }

    /// How many items are pending, counted in the same way.
    pub(crate) fn pending(&self) -> usize {
        self.pending
    }

    /// Whether everything that was read is done or dead, and durably so.
    pub(crate) fn is_empty(&self) -> bool {
        self.ahead.is_empty() && self.pending == 0 && !self.is_committing
    }

    /// Since when the pending item does that has waited longest. Looks at every item.
    pub(crate) fn oldest_pending(&self) -> Option<Timestamp> {
        let held = self.entries.iter().filter(|entry| entry.is_pending && !matches!(entry.state, State::Free));
        held.filter_map(|entry| entry.trouble.as_ref()).map(|trouble| trouble.first_at).min()
    }

    /// How many items can start, each of another key.
    pub(crate) fn n_ready(&self) -> usize {
        self.ready.len()
    }

    /// Takes the next item that was read. Seqs grow. One that has to go is buried at once.
    pub(crate) fn push(&mut self, seq: u64, key: Option<&OrderKey>, bytes: usize, item: P) {
        debug_assert!(seq > self.loaded, "items are read in seq order, each once");
        let id = self.insert(seq, key, bytes, Some(item));
        self.bytes += bytes;
        self.loaded = seq;
        self.ahead.push_back(id);
        self.offer_if_first(id);
    }

    /// Takes an item that is not for this consumer: it is done.
    pub(crate) fn skip(&mut self, seq: u64) {
        debug_assert!(seq > self.loaded, "items are read in seq order, each once");
        self.loaded = seq;
    }

    /// Takes an item that cannot be read: it is dead.
    pub(crate) fn bury(&mut self, seq: u64, reason: String) {
        debug_assert!(seq > self.loaded, "items are read in seq order, each once");
        let id = self.insert(seq, None, 0, None);
        self.entries[id as usize].state = State::Dead { reason, is_evicted: false };
        self.loaded = seq;
        self.ahead.push_back(id);
    }

    /// Lets those start that have waited long enough.
    pub(crate) fn advance(&mut self, now: Now) {
        while let Some(&Reverse((due, seq, id))) = self.due.peek() {
            if due > now.instant {
                break;
            }
            self.due.pop();
            let entry = &mut self.entries[id as usize];
            if entry.seq == seq && matches!(entry.state, State::Failed { due: its, .. } if its == due) {
                entry.state = State::Queued;
                self.ready.insert(seq, id);
            }
        }
    }

    /// The next batch, of `most` items at most, oldest items first: several of one key only in one batch, in order. An
    /// item that failed before goes alone, so that what is wrong with it cannot touch others.
    pub(crate) fn take(&mut self, most: usize, now: Now) -> Option<(Batch, Vec<Task<P>>)> {
        let first = *self.ready.first_key_value()?.1;
        Some(self.take_from(first, most.clamp(1, self.options.batch), now))
    }

    /// One item, to find out whether anything works again: the oldest after `seq`, else the oldest.
    pub(crate) fn take_probe(&mut self, after: u64, now: Now) -> Option<(Batch, Vec<Task<P>>)> {
        let later = self.ready.range(after.saturating_add(1)..).next();
        let first = *later.or_else(|| self.ready.first_key_value())?.1;
        Some(self.take_from(first, 1, now))
    }

    fn take_from(&mut self, first: Id, most: usize, now: Now) -> (Batch, Vec<Task<P>>) {
        self.batches += 1;
        let number = self.batches;
        let (mut ids, mut tasks, mut bytes) = (Vec::new(), Vec::new(), 0);
        // Became ready only within this batch.
        let mut followers = Vec::new();
        let mut next = Some(first);
        while let Some(id) = next {
            let entry = &mut self.entries[id as usize];
            let goes_alone = entry.is_alone || entry.attempts > 0;
            if !ids.is_empty() && (goes_alone || bytes + entry.bytes > self.options.batch_bytes) {
                break;
            }
            bytes += entry.bytes;
            entry.state = State::Running { since: now.instant };
            tasks.push(Task { seq: entry.seq, attempt: entry.attempts + 1, item: entry.item.clone() });
            let (seq, follower) = (entry.seq, entry.next);
            self.ready.remove(&seq);
            ids.push(id);
            if goes_alone || ids.len() >= most {
                break;
            }
            if follower != NONE && matches!(self.entries[follower as usize].state, State::Queued) {
                self.ready.insert(self.entries[follower as usize].seq, follower);
                followers.push(follower);
            }
            next = self.ready.range(seq..).next().map(|(_, &id)| id);
        }
        for id in followers {
            let entry = &self.entries[id as usize];
            if matches!(entry.state, State::Queued) {
                self.ready.remove(&entry.seq);
            }
        }
        (Batch { number, ids }, tasks)
    }

    /// Takes the outcomes of a batch, one per item.
    pub(crate) fn finish(&mut self, batch: Batch, outcomes: Vec<Outcome<M>>, now: Now) -> Tally {
        let mut tally = Tally::default();
        let outcomes = outcomes.into_iter().chain(std::iter::repeat_with(|| Outcome::NotTried));
        for (id, outcome) in batch.ids.into_iter().zip(outcomes) {
            match outcome {
                Outcome::NotTried => self.requeue(id),
                // Whatever a sink says: after one that is not done, the later ones of its key come again.
                _ if !self.is_first(id) => self.requeue(id),
                Outcome::Done(made) => {
                    tally.done += 1;
                    self.note_success(id, now);
                    // What was made of it is about as large, and stays until it is committed.
                    let entry = &mut self.entries[id as usize];
                    entry.weighs = entry.item.take().is_some();
                    entry.state = State::Done(made);
                    self.note_change(id);
                    self.unlink_first(id);
                }
                Outcome::Failed(failure) => {
                    let (seq, key) = (self.entries[id as usize].seq, self.key(id).cloned());
                    tally.failed.push(FailedItem::new(seq, key, &failure));
                    self.fail(id, &failure, now);
                }
            }
        }
        tally
    }

    /// Takes back a batch that came to nothing, by no fault of its items: they go on waiting, and no attempt is used.
    /// `alone`: one of them may be to blame after all, so each is tried by itself from now on.
    pub(crate) fn give_back(&mut self, batch: Batch, alone: bool) {
        for id in batch.ids {
            self.entries[id as usize].is_alone |= alone;
            self.requeue(id);
        }
    }

    /// When to look again even if nothing else happens.
    pub(crate) fn next_wake(&self) -> Option<Instant> {
        let due = self.due.peek().map(|Reverse((due, ..))| *due);
        // Nothing can be planned before the commit under way is durable, and that is told.
        let plan = [self.park_at, self.idle_until].into_iter().flatten().min().filter(|_| !self.is_committing);
        due.into_iter().chain(plan).min()
    }

    fn requeue(&mut self, id: Id) {
        self.entries[id as usize].state = State::Queued;
        self.offer_if_first(id);
    }

    fn insert(&mut self, seq: u64, key: Option<&OrderKey>, bytes: usize, item: Option<P>) -> Id {
        let entry = Entry {
            seq,
            line: NONE,
            next: NONE,
            state: State::Queued,
            is_pending: false,
            has_changed: false,
            is_alone: false,
            attempts: 0,
            bytes,
            weighs: false,
            item,
            trouble: None,
        };
        let id = place(&mut self.entries, &mut self.free_entries, entry);
        if let Some(key) = key {
            self.link(id, key);
        }
        id
    }

    /// Lets go of what it holds.
    fn release_item(&mut self, id: Id) {
        let entry = &mut self.entries[id as usize];
        if entry.item.take().is_some() {
            self.bytes -= entry.bytes;
        }
    }

    fn note_change(&mut self, id: Id) {
        let entry = &mut self.entries[id as usize];
        if entry.is_pending && !std::mem::replace(&mut entry.has_changed, true) {
            self.changed.push(id);
        }
    }

    fn free(&mut self, id: Id) {
        let entry = &mut self.entries[id as usize];
        entry.state = State::Free;
        entry.trouble = None;
        if std::mem::take(&mut entry.weighs) {
            self.bytes -= entry.bytes;
        }
        self.free_entries.push(id);
    }
}

fn place<T>(slots: &mut Vec<T>, free: &mut Vec<Id>, value: T) -> Id {
    match free.pop() {
        Some(id) => {
            slots[id as usize] = value;
            id
        }
        None => {
            slots.push(value);
            Id::try_from(slots.len() - 1).expect("a window holds some thousands of items")
        }
    }
}

#[cfg(test)]
pub(crate) mod model;
#[cfg(test)]
mod tests;
