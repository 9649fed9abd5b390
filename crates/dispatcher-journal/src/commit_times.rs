//! How long commits take, and how much goes into one.

use std::time::Duration;

use dispatcher_tally::{Distribution, Histogram};

/// In microseconds: from a disk that answers from memory to one that keeps Tencent from its answer.
const TIMES: &[i64] =
    &[250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000];
/// A transaction takes 512 at most.
const SIZES: &[i64] = &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512];

/// How commits went since the journal was opened; those that failed are not among them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commits {
    /// How long each took, from its first row until it was on the disk, in microseconds.
    pub took: Distribution,
    /// How many callbacks each of those had that had any.
    pub callbacks: Distribution,
}

/// The histograms behind [`Commits`].
pub(crate) struct CommitTimes {
    took: Histogram,
    callbacks: Histogram,
}

impl CommitTimes {
    pub(crate) fn record(&self, took: Duration, n_callbacks: usize) {
        self.took.record_time(took);
        if n_callbacks > 0 {
            self.callbacks.record(i64::try_from(n_callbacks).unwrap_or(i64::MAX));
        }
    }

    pub(crate) fn read(&self) -> Commits {
        Commits { took: self.took.read(), callbacks: self.callbacks.read() }
    }
}

impl Default for CommitTimes {
    fn default() -> CommitTimes {
        CommitTimes { took: Histogram::new(TIMES), callbacks: Histogram::new(SIZES) }
    }
}
