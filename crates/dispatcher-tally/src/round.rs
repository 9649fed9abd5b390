//! Whether a thread still comes round.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

/// When a thread that works in rounds began the one under way. The thread writes; anybody reads.
#[derive(Debug)]
pub struct Round {
    made: Instant,
    /// In milliseconds since then, and one more; zero while there is no round under way.
    began: AtomicU64,
}

impl Default for Round {
    fn default() -> Round {
        Round { made: Instant::now(), began: AtomicU64::new(0) }
    }
}

impl Round {
    /// A round begins, and the one before has ended.
    pub fn begin(&self) {
        self.began.store(self.now() + 1, Relaxed);
    }

    /// From now on nothing is expected of the thread, until the next round begins.
    pub fn end(&self) {
        self.began.store(0, Relaxed);
    }

    /// For how long the round under way has lasted; zero if there is none.
    #[must_use]
    pub fn age(&self) -> Duration {
        match self.began.load(Relaxed) {
            0 => Duration::ZERO,
            began => Duration::from_millis((self.now() + 1).saturating_sub(began)),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.made.elapsed().as_millis()).unwrap_or(u64::MAX - 1)
    }
}
