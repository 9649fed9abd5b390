//! Whether a signature came with another callback before.
//!
//! A signature covers the time in whole seconds, and nothing of what is signed: who has seen one can send anything with it
//! until it is stale. Of each signature the first callback is remembered, in a table of fixed size without locks. Where it
//! is full, the oldest second is forgotten.

use std::{
    hash::{BuildHasher, Hash, RandomState},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

/// Seconds after which the same bucket comes again.
const BUCKETS: u64 = 1 << 13;
const SLOTS: usize = 4;
/// The bits of a slot, from the lowest: what was signed, when, by whom. Half a year goes by until a time comes again.
const WHAT: u64 = (1 << 28) - 1;
const WHEN: u64 = (1 << 24) - 1;
/// The golden ratio of 64 bits: neighbours times this are far apart.
const SCATTER: u64 = 0x9e37_79b9_7f4a_7c15;
/// What is signed for later than this is from half a year ago.
const AHEAD: u64 = 2 * 3600;

/// The first callback of each signature of late.
pub(crate) struct ReplayWindow {
    buckets: Box<[[AtomicU64; SLOTS]]>,
    keys: RandomState, // So that nobody can make two callbacks look alike.
}

impl ReplayWindow {
    pub(crate) fn new() -> ReplayWindow {
        let buckets = (0..BUCKETS).map(|_| [const { AtomicU64::new(0) }; SLOTS]).collect();
        ReplayWindow { buckets, keys: RandomState::new() }
    }

    /// Whether what `signer` signed at this second came first with another callback than this; if it is the first, that is
    /// noted. Which of two at the same instant is the first is open; that one of them is another is not.
    pub(crate) fn is_another(&self, signer: (u64, usize), second: u64, callback: impl Hash) -> bool {
        // Strangers choose neither the app nor the token: to scatter them is enough. The upper bits are scattered best.
        let signer = (signer.0 << 1 ^ signer.1 as u64).wrapping_mul(SCATTER);
        let what = self.keys.hash_one(callback) & WHAT;
        let place = second.wrapping_add(signer >> 51) % BUCKETS;
        let tag = (signer >> 39 & 0xfff | 1) << 52 | (second & WHEN) << 28;
        let bucket = &self.buckets[place as usize];
        loop {
            let slots = bucket.each_ref().map(|slot| slot.load(Relaxed));
            if let Some(slot) = slots.iter().find(|&slot| slot & !WHAT == tag) {
                return slot & WHAT != what;
            }
            let oldest = (0..SLOTS).max_by_key(|&idx| match second.wrapping_sub(slots[idx] >> 28) & WHEN {
                _ if slots[idx] == 0 => u64::MAX,
                age if age > WHEN - AHEAD => 0,
                age => age,
            });
            let idx = oldest.unwrap_or_default();
            if bucket[idx].compare_exchange(slots[idx], tag | what, Relaxed, Relaxed).is_ok() {
                return false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    #[test]
    fn the_first_callback_of_a_signature_is_the_only_one() {
        let window = ReplayWindow::new();
        for (signer, second, callback, another) in [
            ((1, 0), NOW, "a", false),
            ((1, 0), NOW, "a", false),
            ((1, 0), NOW, "b", true),
            ((1, 0), NOW, "a", false),
            ((1, 0), NOW + 1, "b", false),
            ((1, 1), NOW, "b", false),
            ((2, 0), NOW, "b", false),
            ((1, 1), NOW, "a", true),
        ] {
            assert_eq!(window.is_another(signer, second, callback), another, "{signer:?} at {second}: {callback}");
        }
    }

    #[test]
    fn two_minutes_of_a_hundred_signers_are_remembered_nearly_all() {
        let window = ReplayWindow::new();
        let signed = || (0..100).flat_map(|app| (NOW..NOW + 120).map(move |second| ((app, 0), second)));
        // A day of signatures before does no harm.
        (NOW - 86_400..NOW).for_each(|second| assert!(!window.is_another((7, 0), second, "old")));
        let n_early = signed().filter(|&(signer, second)| window.is_another(signer, second, "a")).count();
        let n_seen = signed().filter(|&(signer, second)| window.is_another(signer, second, "b")).count();
        assert_eq!(n_early, 0);
        assert!(n_seen > 11_400, "of 12,000 only {n_seen} are remembered");
    }

    #[test]
    fn of_two_at_once_one_is_another() {
        let window = ReplayWindow::new();
        for second in NOW..NOW + 200 {
            let gate = std::sync::Barrier::new(2);
            let try_out = |callback: &'static str| {
                gate.wait();
                window.is_another((1, 0), second, callback)
            };
            let n_other = std::thread::scope(|scope| {
                let other = scope.spawn(|| try_out("b"));
                usize::from(try_out("a")) + usize::from(other.join().unwrap())
            });
            assert_eq!(n_other, 1);
        }
    }
}
