//! What a consumer commits next: the contiguous prefix rule.

use std::time::{Duration, Instant};

use dispatcher_journal::{Attempt, Dead, Pending, Skipped};

use super::{Id, NONE, Now, State, Trouble, Window};

/// A checkpoint that only passed items of others is committed when it has gone this far…
const IDLE_ROWS: u64 = 256;

/// …or waited this long. What a crash costs is reading them again.
const IDLE_WAIT: Duration = Duration::from_secs(1);

/// The most dead letters of one commit: each takes a copy of its row, and the journal's writer serves others too.
const MAX_DEAD: usize = 128;

/// The next commit of a consumer. It is to become durable as a whole, and then [`Window::committed`] is to be told.
#[derive(Debug)]
pub(crate) struct Plan<M> {
    /// The new checkpoint.
    pub(crate) checkpoint: u64,
    /// What done items made, in seq order.
    pub(crate) made: Vec<(u64, M)>,
    /// Items that become pending, or change as such.
    pub(crate) pending: Vec<Pending>,
    /// Pending items that ended, dead ones included.
    pub(crate) settled: Vec<u64>,
    /// Dead letters.
    pub(crate) dead: Vec<Dead>,
    /// Dead letters that an eviction made.
    pub(crate) evicted: Vec<Dead>,
    /// A range that an eviction skipped: told once, with the first of it that is let go of.
    pub(crate) skipped: Option<Skipped>,
    /// The attempts that led here, of each item in their order: those that failed, and the one that worked at last.
    pub(crate) attempts: Vec<Attempt>,
}

impl<M> Plan<M> {
    fn n_dead(&self) -> usize {
        self.dead.len() + self.evicted.len()
    }
}

impl<P: Clone, M> Window<P, M> {
    /// What to commit now, if anything is worth a commit and none is under way.
    ///
    /// The checkpoint moves over everything up to the first item that has to be waited for. What it moves over and is
    /// not done becomes pending: an item that failed, one that has been under way for long, one behind a pending item of
    /// its key.
    pub(crate) fn plan(&mut self, now: Now) -> Option<Plan<M>> {
        self.plan_if(now, false)
    }

    /// The same, however little it is, for the end of a drain: so that nothing that is done is done again, what lies before it
    /// becomes pending, tried or not.
    pub(crate) fn last_plan(&mut self, now: Now) -> Option<Plan<M>> {
        let is_done = |id: &&Id| matches!(self.entries[**id as usize].state, State::Done(_));
        self.pass_to = self.ahead.iter().rev().find(is_done).map_or(0, |&id| self.entries[id as usize].seq);
        self.plan_if(now, true)
    }

    /// The plan has become durable: what is dead or skipped no longer holds up its key.
    pub(crate) fn committed(&mut self) {
        self.is_committing = false;
        self.jumped_to = self.jumped_to.filter(|&upto| self.checkpoint < upto);
        let mut buried = std::mem::take(&mut self.buried);
        // Of one key, the first goes first.
        buried.sort_unstable_by_key(|&id| self.entries[id as usize].seq);
        for id in buried {
            self.unlink_first(id);
            self.free(id);
        }
    }

    fn plan_if(&mut self, now: Now, at_any_rate: bool) -> Option<Plan<M>> {
        if self.is_committing {
            return None;
        }
        let mut plan = Plan {
            checkpoint: self.checkpoint,
            made: Vec::new(),
            pending: Vec::new(),
            settled: Vec::new(),
            dead: Vec::new(),
            evicted: Vec::new(),
            skipped: None,
            attempts: Vec::new(),
        };
        let mut skips = false;
        let has_changed = !self.changed.is_empty();
        for id in std::mem::take(&mut self.changed) {
            let entry = &mut self.entries[id as usize];
            if plan.n_dead() >= MAX_DEAD && matches!(entry.state, State::Dead { .. }) {
                self.changed.push(id);
                continue;
            }
            skips |= matches!(entry.state, State::Skipped);
            entry.has_changed = false;
            self.plan_change(id, &mut plan, now);
        }
        let n_ahead = self.ahead.len();
        self.park_at = None;
        while let Some(&id) = self.ahead.front() {
            skips |= matches!(self.entries[id as usize].state, State::Skipped);
            if !self.pass(id, &mut plan, now) {
                break;
            }
            self.ahead.pop_front();
        }
        plan.checkpoint = match self.ahead.front() {
            Some(&id) => self.entries[id as usize].seq - 1,
            None => self.loaded,
        };
        let has_passed = self.ahead.len() < n_ahead;
        let tells = self.record.as_ref().is_some_and(|record| skips || plan.checkpoint >= record.unread_from);
        if !has_changed && !has_passed && !tells && !self.is_overdue(plan.checkpoint, now.instant, at_any_rate) {
            return None;
        }
        if tells {
            plan.skipped = self.record.take().map(|record| record.skipped);
        }
        self.idle_until = None;
        self.checkpoint = plan.checkpoint;
        self.is_committing = true;
        // Events of one key must enter the journal in its order, and the pending ones that ended come from anywhere.
        if has_changed {
            plan.made.sort_unstable_by_key(|(seq, _)| *seq);
        }
        Some(plan)
    }

    /// Whether a checkpoint that passed nothing of ours has waited for long enough.
    fn is_overdue(&mut self, checkpoint: u64, now: Instant, at_any_rate: bool) -> bool {
        let rows = checkpoint - self.checkpoint;
        if rows == 0 {
            return false;
        }
        let until = *self.idle_until.get_or_insert(now + IDLE_WAIT);
        at_any_rate || rows >= IDLE_ROWS || now >= until
    }

    /// What became of a pending item.
    fn plan_change(&mut self, id: Id, plan: &mut Plan<M>, now: Now) {
        let entry = &mut self.entries[id as usize];
        match std::mem::replace(&mut entry.state, State::Free) {
            State::Done(made) => {
                tell_attempts(&mut entry.trouble, plan);
                plan.settled.push(entry.seq);
                plan.made.push((entry.seq, made));
                self.pending -= 1;
                self.free(id);
            }
            State::Dead { reason, is_evicted } => {
                plan.settled.push(entry.seq);
                self.pending -= 1;
                self.plan_dead(id, reason, is_evicted, plan, now);
            }
            State::Skipped => {
                plan.settled.push(entry.seq);
                self.pending -= 1;
                self.plan_skipped(id, plan);
            }
            state @ (State::Queued | State::Running { .. } | State::Failed { .. } | State::Free) => {
                entry.state = state;
                self.row(id, plan, now);
            }
        }
    }

    /// Moves the checkpoint over the first item beyond it, if that need not be waited for.
    fn pass(&mut self, id: Id, plan: &mut Plan<M>, now: Now) -> bool {
        let is_behind_pending = self.is_behind_pending(id);
        let entry = &mut self.entries[id as usize];
        let becomes_pending = match &entry.state {
            State::Done(_) => {
                let State::Done(made) = std::mem::replace(&mut entry.state, State::Free) else { return false };
                tell_attempts(&mut entry.trouble, plan);
                plan.made.push((entry.seq, made));
                self.free(id);
                return true;
            }
            State::Dead { .. } if plan.n_dead() >= MAX_DEAD => return false,
            State::Dead { .. } => {
                let state = std::mem::replace(&mut entry.state, State::Free);
                let State::Dead { reason, is_evicted } = state else { return false };
                self.plan_dead(id, reason, is_evicted, plan, now);
                return true;
            }
            State::Skipped => {
                self.plan_skipped(id, plan);
                return true;
            }
            State::Failed { .. } => true,
            State::Running { since } => {
                let park_at = *since + self.options.park_after;
                self.park_at = Some(park_at);
                park_at <= now.instant || entry.seq < self.pass_to
            }
            State::Queued => entry.attempts > 0 || is_behind_pending || entry.seq < self.pass_to,
            State::Free => false,
        };
        #[cfg(test)]
        if self.options.flaw == Some(super::model::Flaw::PassesWhatRuns) && matches!(entry.state, State::Running { .. })
        {
            return true;
        }
        if !becomes_pending {
            return false;
        }
        // Where there is no room among the pending, waiting for a certain time does not help.
        self.park_at = None;
        if self.pending >= self.options.max_pending {
            return false;
        }
        self.pending += 1;
        self.entries[id as usize].is_pending = true;
        // Ten thousand of these may wait for long: their bodies are read again when they start.
        self.release_item(id);
        #[cfg(test)]
        self.mend_flaw(id);
        self.row(id, plan, now);
        true
    }

    fn is_behind_pending(&self, id: Id) -> bool {
        let line = self.entries[id as usize].line;
        if line == NONE {
            return false;
        }
        let head = self.lines[line as usize].head;
        head != id && self.entries[head as usize].is_pending
    }

    /// Writes a dead letter. The item blocks its key until that is durable: should a crash take it back, the item would be
    /// tried again, and later ones of its key must not have overtaken it.
    fn plan_dead(&mut self, id: Id, reason: String, is_evicted: bool, plan: &mut Plan<M>, now: Now) {
        let entry = &mut self.entries[id as usize];
        let first_at = entry.trouble.as_ref().map_or(now.wall, |trouble| trouble.first_at);
        let dead = Dead { seq: entry.seq, reason, attempts: entry.attempts, first_at };
        if is_evicted { &mut plan.evicted } else { &mut plan.dead }.push(dead);
        tell_attempts(&mut entry.trouble, plan);
        entry.state = State::Dead { reason: String::new(), is_evicted };
        self.buried.push(id);
    }

    /// Skips it; it blocks its key in the same way.
    fn plan_skipped(&mut self, id: Id, plan: &mut Plan<M>) {
        let entry = &mut self.entries[id as usize];
        tell_attempts(&mut entry.trouble, plan);
        entry.state = State::Skipped;
        self.buried.push(id);
    }

    fn row(&mut self, id: Id, plan: &mut Plan<M>, now: Now) {
        let key = self.key(id).cloned();
        let entry = &mut self.entries[id as usize];
        tell_attempts(&mut entry.trouble, plan);
        let trouble = entry.trouble.get_or_insert_with(|| Box::new(Trouble::new(now)));
        let due = match entry.state {
            State::Failed { due_at, .. } => due_at,
            _ => now.wall,
        };
        let age = if entry.attempts == 0 { Duration::ZERO } else { trouble.age(now) };
        let (first_at, error) = (trouble.first_at, trouble.error.clone());
        let (seq, attempt) = (entry.seq, entry.attempts);
        let (app, key) = key.map_or((0, None), |key| (key.app, Some(key.key)));
        plan.pending.push(Pending { seq, key, app, attempt, first_at, age, due, error });
    }
}

fn tell_attempts<M>(trouble: &mut Option<Box<Trouble>>, plan: &mut Plan<M>) {
    if let Some(trouble) = trouble {
        plan.attempts.append(&mut trouble.untold);
    }
}
