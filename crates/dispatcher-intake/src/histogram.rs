//! How often what was measured lay where. Plain atomics: one worker writes, anybody reads.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

/// Counts of measured times by their size.
#[derive(Clone, Debug, PartialEq)]
pub struct HistogramSnapshot {
    /// The upper bounds of the buckets but the last, in seconds, rising; a time that is equal to one is below it.
    pub bounds: Vec<f64>,
    /// How many times were in each bucket and no lower one: one more than there are bounds.
    pub counts: Vec<u64>,
    /// All of them together, in seconds.
    pub sum: f64,
}

impl HistogramSnapshot {
    /// How many were measured.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// From a request's head to its reply, in microseconds: fine where it should be, and around what Tencent waits.
pub(crate) const ANSWER_TIMES: [i64; 18] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 750_000, 1_000_000, 1_250_000,
    1_500_000, 1_750_000, 1_900_000, 2_000_000,
];

/// By how much a `RequestTime`, which has whole seconds, is behind this machine's clock, in microseconds.
pub(crate) const CLOCK_SKEWS: [i64; 14] = [
    -300_000_000,
    -60_000_000,
    -30_000_000,
    -10_000_000,
    -5_000_000,
    -2_000_000,
    0,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
];

/// The longest list of bounds, and the bucket beyond.
const BUCKETS: usize = 19;

pub(crate) struct Histogram {
    bounds: &'static [i64],
    counts: [AtomicU64; BUCKETS],
    sum: AtomicI64,
}

impl Histogram {
    /// With these bounds, in microseconds.
    pub(crate) const fn new(bounds: &'static [i64]) -> Histogram {
        assert!(bounds.len() < BUCKETS);
        Histogram { bounds, counts: [const { AtomicU64::new(0) }; BUCKETS], sum: AtomicI64::new(0) }
    }

    pub(crate) fn observe(&self, micros: i64) {
        let bucket = self.bounds.partition_point(|&bound| bound < micros);
        self.counts[bucket].fetch_add(1, Relaxed);
        self.sum.fetch_add(micros, Relaxed);
    }
}

/// What several of the same bounds hold together; nothing, where there are none.
pub(crate) fn sum<'h>(histograms: impl Iterator<Item = &'h Histogram>) -> HistogramSnapshot {
    let mut all = HistogramSnapshot { bounds: Vec::new(), counts: Vec::new(), sum: 0.0 };
    for histogram in histograms {
        let bounds = histogram.bounds;
        all.bounds = bounds.iter().map(|&micros| seconds(micros)).collect();
        all.counts.resize(bounds.len() + 1, 0);
        all.counts.iter_mut().zip(&histogram.counts).for_each(|(all, count)| *all += count.load(Relaxed));
        all.sum += seconds(histogram.sum.load(Relaxed));
    }
    all
}

fn seconds(micros: i64) -> f64 {
    micros as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_in_the_first_bucket_that_it_fits_in() {
        let histograms = [Histogram::new(&CLOCK_SKEWS), Histogram::new(&CLOCK_SKEWS)];
        for micros in [-400_000_000, -60_000_000, 0, 1, 1_000_000] {
            histograms[0].observe(micros);
        }
        histograms[1].observe(300_000_001);
        let all = sum(histograms.iter());
        assert_eq!(all.counts, [1, 1, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!((all.count(), all.bounds.len() + 1), (6, all.counts.len()));
        assert!((all.sum + 158.999_998).abs() < 1e-6, "{}", all.sum);
        assert!(ANSWER_TIMES.is_sorted() && CLOCK_SKEWS.is_sorted());
    }
}
