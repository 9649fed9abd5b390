//! The lanes of one handler or sink, which its own consumer and its replays share: a file that one lane writes is written
//! by one lane, whoever asks for it.
//!
//! Who finds none idle waits in turn, so that neither a replay nor the flow of new items starves the other.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
};

use tokio::sync::Notify;

pub(crate) struct Pool<L> {
    n_lanes: usize,
    idle: RefCell<Vec<L>>,
    waiting: RefCell<VecDeque<Member>>,
    freed: Notify,
    members: Cell<u64>,
}

/// One consumer that works with the lanes of a pool.
pub(crate) type Member = u64;

impl<L> Pool<L> {
    pub(crate) fn new(lanes: Vec<L>) -> Pool<L> {
        Pool {
            n_lanes: lanes.len(),
            idle: RefCell::new(lanes),
            waiting: RefCell::default(),
            freed: Notify::new(),
            members: Cell::new(0),
        }
    }

    /// How many lanes there are, idle or not.
    pub(crate) fn n_lanes(&self) -> usize {
        self.n_lanes
    }

    pub(crate) fn join(&self) -> Member {
        self.members.set(self.members.get() + 1);
        self.members.get()
    }

    /// Whether `take` would give a lane.
    pub(crate) fn has_for(&self, member: Member) -> bool {
        let waiting = self.waiting.borrow();
        let ahead = waiting.iter().position(|&other| other == member).unwrap_or(waiting.len());
        self.idle.borrow().len() > ahead
    }

    /// An idle lane. Who gets none is in the queue for one from now on, until it takes one or [leaves](Pool::leave).
    pub(crate) fn take(&self, member: Member) -> Option<L> {
        let lane = if self.has_for(member) { self.idle.borrow_mut().pop() } else { None };
        if lane.is_some() {
            self.leave(member);
        } else if !self.waiting.borrow().contains(&member) {
            self.waiting.borrow_mut().push_back(member);
        }
        lane
    }

    /// This member has no use for a lane at the moment, or is gone.
    pub(crate) fn leave(&self, member: Member) {
        let mut waiting = self.waiting.borrow_mut();
        let before = waiting.len();
        waiting.retain(|&other| other != member);
        // Its turn is somebody else's now.
        if waiting.len() < before && !waiting.is_empty() {
            self.freed.notify_waiters();
        }
    }

    /// Gives a lane back.
    pub(crate) fn put(&self, lane: L) {
        self.idle.borrow_mut().push(lane);
        if !self.waiting.borrow().is_empty() {
            self.freed.notify_waiters();
        }
    }

    /// Resolves when a lane may have become free since this was called.
    pub(crate) fn freed(&self) -> impl Future<Output = ()> {
        self.freed.notified()
    }

    /// All idle lanes, for good.
    pub(crate) fn drain(&self) -> Vec<L> {
        self.idle.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_longest_gets_the_next_lane() {
        let pool = Pool::new(vec!['a']);
        let (live, replay) = (pool.join(), pool.join());
        let lane = pool.take(live).unwrap();
        assert!(pool.take(replay).is_none());
        pool.put(lane);
        assert!(!pool.has_for(live), "the replay is before it");
        assert!(pool.take(live).is_none());
        let lane = pool.take(replay).unwrap();
        pool.put(lane);
        assert!(pool.take(replay).is_none(), "now the other is");
        pool.leave(live);
        assert!(pool.take(replay).is_some(), "and has no use for it");
    }
}
