//! What is counted of a decider.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use dispatcher_tally::{Distribution, Histogram};
use serde::{Deserialize, Serialize};

use crate::ask::Said;

/// What a decider said so far, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeciderCounts {
    /// It had no opinion.
    pub no_opinion: u64,
    /// It let it go on as it is.
    pub allowed: u64,
    /// It refused all of it.
    pub refused: u64,
    /// It refused some of those it names.
    pub refused_some: u64,
    /// It dropped it.
    pub dropped: u64,
    /// It rewrote it.
    pub rewritten: u64,
    /// It gave an answer to pass on.
    pub answered: u64,
    /// It was not back in time.
    pub late: u64,
    /// It failed, or could not be asked.
    pub failed: u64,
    /// What it decided was not legal; counted among the failed too.
    pub illegal: u64,
    /// Too many of its decisions were under way.
    pub busy: u64,
    /// Time was over before its turn.
    pub unreached: u64,
    /// Of those that were late, those that came while they were waited for.
    pub came_late: u64,
    /// Of those, the ones that differ from what was answered.
    pub late_differs: u64,
    /// Decisions made in shadow.
    pub shadow: u64,
    /// Of those, the ones that differ from what was answered.
    pub shadow_differs: u64,
    /// Late calls that were not waited for and shadows that were not asked, since too many were under way.
    #[serde(default)]
    pub skipped: u64,
    /// The time that all decisions took that were in time, in microseconds.
    pub took_us: u64,
}

/// In microseconds: from a look into a list to Tencent's two seconds.
const TIMES: &[i64] =
    &[100, 500, 1_000, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 1_500_000, 2_000_000];

/// The counters behind [`DeciderCounts`].
pub(crate) struct Tally {
    said: [AtomicU64; Said::KINDS],
    pub(crate) illegal: AtomicU64,
    pub(crate) came_late: AtomicU64,
    pub(crate) late_differs: AtomicU64,
    pub(crate) shadow: AtomicU64,
    pub(crate) shadow_differs: AtomicU64,
    pub(crate) skipped: AtomicU64,
    took_us: AtomicU64,
    took: Histogram,
}

impl Default for Tally {
    fn default() -> Tally {
        Tally {
            said: Default::default(),
            illegal: AtomicU64::default(),
            came_late: AtomicU64::default(),
            late_differs: AtomicU64::default(),
            shadow: AtomicU64::default(),
            shadow_differs: AtomicU64::default(),
            skipped: AtomicU64::default(),
            took_us: AtomicU64::default(),
            took: Histogram::new(TIMES),
        }
    }
}

impl Tally {
    pub(crate) fn count(&self, said: &Said, took: Duration) {
        self.said[said.kind()].fetch_add(1, Relaxed);
        if said.was_waited_for() {
            self.took.record_time(took);
        }
        if said.is_decided() {
            self.took_us.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Relaxed);
        }
    }

    pub(crate) fn took(&self) -> Distribution {
        self.took.read()
    }

    pub(crate) fn counts(&self) -> DeciderCounts {
        let said = self.said.each_ref().map(|count| count.load(Relaxed));
        let [no_opinion, allowed, refused, refused_some, dropped, rewritten, answered, late, failed, busy, unreached] =
            said;
        DeciderCounts {
            no_opinion,
            allowed,
            refused,
            refused_some,
            dropped,
            rewritten,
            answered,
            late,
            failed,
            illegal: self.illegal.load(Relaxed),
            busy,
            unreached,
            came_late: self.came_late.load(Relaxed),
            late_differs: self.late_differs.load(Relaxed),
            shadow: self.shadow.load(Relaxed),
            shadow_differs: self.shadow_differs.load(Relaxed),
            skipped: self.skipped.load(Relaxed),
            took_us: self.took_us.load(Relaxed),
        }
    }
}
