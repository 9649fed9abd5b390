//! Remembers which callbacks were appended lately, so that a repeat of one is not stored again.
//!
//! Bounded by time and by number, and exact as far as it remembers: at worst a repeat is stored as a callback of its own,
//! never is one dropped that is not a repeat. Times are milliseconds on the monotonic clock since the journal was opened;
//! rows of an earlier run have negative ones.

use std::{collections::VecDeque, time::Duration};

use hashbrown::{HashTable, hash_table::Entry as Slot};

/// Callbacks by identity, in the order of their seqs.
///
/// A ring holds them, oldest first, and a table finds them in it: 37 bytes for each, where a map and a queue of expiry
/// would take twice that.
pub(crate) struct Dedupe {
    window: i64,
    limit: usize,
    ring: VecDeque<Entry>,
    /// Positions in the ring, counted on from `base`, which moves as the ring loses its oldest: modulo 2^32.
    table: HashTable<u32>,
    base: u32,
}

struct Entry {
    identity: [u64; 2],
    seq: u64,
    since: i64,
}

impl Entry {
    fn hash(&self) -> u64 {
        hash(self.identity)
    }
}

impl Dedupe {
    pub(crate) fn new(window: Duration, limit: usize) -> Dedupe {
        Dedupe {
            window: i64::try_from(window.as_millis()).unwrap_or(i64::MAX),
            // Positions are told apart by 32 bits.
            limit: limit.min(1 << 30),
            ring: VecDeque::new(),
            table: HashTable::new(),
            base: 0,
        }
    }

    /// Whether it remembers anything at all.
    pub(crate) fn is_on(&self) -> bool {
        self.window > 0 && self.limit > 0
    }

    /// The seq of an equal callback inside the window, if there is one.
    pub(crate) fn find(&self, identity: u128, now: i64) -> Option<u64> {
        let identity = halves(identity);
        let position = self.table.find(hash(identity), |&at| self.entry(at).identity == identity)?;
        let entry = self.entry(*position);
        (now - entry.since < self.window).then_some(entry.seq)
    }

    /// Remembers a callback with a seq above all others.
    pub(crate) fn remember(&mut self, identity: u128, seq: u64, now: i64) {
        if !self.is_on() {
            return;
        }
        while self.ring.front().is_some_and(|oldest| now - oldest.since >= self.window || self.is_full()) {
            self.forget_oldest();
        }
        self.grow();
        let position = self.base.wrapping_add(len32(&self.ring));
        let entry = Entry { identity: halves(identity), seq, since: now };
        // An equal one that is past the window stays in the ring, where nothing finds it any more.
        self.link(&entry, |found| *found = position, position);
        self.ring.push_back(entry);
    }

    /// Remembers a callback with a seq below all others, from before the journal was opened. `false` when it is too old,
    /// or there is no room: no older one needs to be tried.
    pub(crate) fn recall(&mut self, identity: u128, seq: u64, since: i64, now: i64) -> bool {
        if !self.is_on() || !self.reaches(since, now) {
            return false;
        }
        self.grow();
        let entry = Entry { identity: halves(identity), seq, since };
        let position = self.base.wrapping_sub(1);
        // A newer equal one, stored while this one was unknown, speaks for both.
        self.link(&entry, |_| {}, position);
        self.base = position;
        self.ring.push_front(entry);
        true
    }

    /// Whether anything from then on is still to be remembered.
    pub(crate) fn reaches(&self, since: i64, now: i64) -> bool {
        !self.is_full() && now - since < self.window
    }

    /// Forgets all callbacks from `seq` on: their transaction failed.
    pub(crate) fn forget_from(&mut self, seq: u64) {
        while self.ring.back().is_some_and(|newest| newest.seq >= seq) {
            let position = self.base.wrapping_add(len32(&self.ring).wrapping_sub(1));
            if let Some(entry) = self.ring.pop_back() {
                self.unlink(&entry, position);
            }
        }
    }

    fn forget_oldest(&mut self) {
        let position = self.base;
        if let Some(entry) = self.ring.pop_front() {
            self.base = self.base.wrapping_add(1);
            self.unlink(&entry, position);
        }
    }

    fn unlink(&mut self, entry: &Entry, position: u32) {
        if let Ok(found) = self.table.find_entry(entry.hash(), |&at| at == position) {
            found.remove();
        }
    }

    fn is_full(&self) -> bool {
        self.ring.len() >= self.limit
    }

    fn entry(&self, position: u32) -> &Entry {
        &self.ring[position.wrapping_sub(self.base) as usize]
    }

    /// Makes room for one more. A ring of the usual size is made at once: the memory that it does not use yet is none
    /// that the system gave it, while growing would copy it, and leave holes.
    fn grow(&mut self) {
        const AT_ONCE: usize = 1 << 18;
        if self.ring.len() == self.ring.capacity() {
            let more = self.ring.len().max(AT_ONCE).min(self.limit - self.ring.len());
            self.ring.reserve_exact(more);
        }
    }

    /// Makes `position` that of this entry; where there is an equal one already, `meet` decides about its position.
    fn link(&mut self, entry: &Entry, meet: impl FnOnce(&mut u32), position: u32) {
        let Dedupe { ring, table, base, .. } = self;
        let at = |position: u32| &ring[position.wrapping_sub(*base) as usize];
        match table.entry(entry.hash(), |&other| at(other).identity == entry.identity, |&other| at(other).hash()) {
            Slot::Occupied(mut slot) => meet(slot.get_mut()),
            Slot::Vacant(slot) => {
                slot.insert(position);
            }
        }
    }
}

fn halves(identity: u128) -> [u64; 2] {
    [identity as u64, (identity >> 64) as u64]
}

/// An identity is a piece of a SHA-256: any of its bits serve.
fn hash(identity: [u64; 2]) -> u64 {
    identity[0]
}

fn len32(ring: &VecDeque<Entry>) -> u32 {
    u32::try_from(ring.len()).expect("the limit is below 2^32")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dedupe(entries: usize) -> Dedupe {
        Dedupe::new(Duration::from_millis(100), entries)
    }

    #[test]
    fn remembers_inside_the_window_only() {
        let mut dedupe = dedupe(10);
        dedupe.remember(7, 1, 50);
        for (now, found) in [(50, Some(1)), (149, Some(1)), (150, None)] {
            assert_eq!(dedupe.find(7, now), found, "at {now}");
        }
        dedupe.remember(7, 2, 150);
        assert_eq!(dedupe.find(7, 200), Some(2));
        assert_eq!(dedupe.find(7 << 64, 200), None);
    }

    #[test]
    fn forgets_the_oldest_when_full() {
        let mut dedupe = dedupe(3);
        for seq in 1..=1000 {
            dedupe.remember(u128::from(seq), seq, 0);
        }
        let known: Vec<u64> = (1..=1000).filter(|&seq| dedupe.find(u128::from(seq), 1).is_some()).collect();
        assert_eq!(known, [998, 999, 1000]);
        assert_eq!((dedupe.ring.len(), dedupe.table.len()), (3, 3));
    }

    #[test]
    fn forgets_what_was_not_committed() {
        let mut dedupe = dedupe(10);
        dedupe.remember(1, 1, 0);
        dedupe.remember(2, 2, 0);
        dedupe.remember(3, 3, 0);
        dedupe.forget_from(2);
        assert_eq!([1, 2, 3].map(|identity| dedupe.find(identity, 1)), [Some(1), None, None]);
        dedupe.remember(3, 2, 0);
        assert_eq!(dedupe.find(3, 1), Some(2));
    }

    #[test]
    fn recalls_older_rows_below_newer_ones() {
        let mut dedupe = dedupe(4);
        dedupe.remember(1, 10, 20);
        // Newest first, as they are read back; 1 was stored again before its older row was recalled.
        for (identity, seq, since, taken) in
            [(2, 9, -10, true), (1, 8, -20, true), (3, 7, -90, false), (4, 6, -20, true)]
        {
            assert_eq!(dedupe.recall(identity, seq, since, 20), taken, "seq {seq}");
        }
        assert!(!dedupe.recall(5, 5, -21, 20), "it is full");
        assert_eq!([1, 2, 3, 4].map(|identity| dedupe.find(identity, 20)), [Some(10), Some(9), None, Some(6)]);
        dedupe.remember(6, 11, 80);
        assert_eq!([1, 2, 4, 6].map(|identity| dedupe.find(identity, 80)), [Some(10), Some(9), None, Some(11)]);
    }

    #[test]
    fn two_hundred_thousand_take_less_than_ten_mebibytes() {
        let mut dedupe = Dedupe::new(Duration::from_secs(600), 200_000);
        for seq in 1..=300_000u64 {
            // Spread as the bits of a digest are.
            dedupe.remember(u128::from(seq.wrapping_mul(0x9e37_79b9_7f4a_7c15)), seq, 0);
        }
        let bytes = dedupe.ring.capacity() * size_of::<Entry>() + dedupe.table.allocation_size();
        assert!(bytes < 10 << 20, "{bytes} bytes");
    }
}
