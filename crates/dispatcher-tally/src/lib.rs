//! Histograms that are read while they are written, for those who measure: intake, journal, deciders.
//!
//! Writing is two additions to plain atomics, without a lock or an allocation. What is measured is a whole number of a
//! unit that the owner chooses – microseconds, rows – and may lie below zero, as one clock may be ahead of another.

mod round;

use std::{
    sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

pub use round::Round;

/// One more than the most bounds that a histogram can have.
const PLACES: usize = 20;

/// How many values lay where between fixed bounds.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [i64],
    /// Of these, one more is used than there are bounds: the last is for what lies above all. Within the histogram, so that
    /// they share no cache line with what another thread counts, if their owner does not.
    counts: [AtomicU64; PLACES],
    sum: AtomicI64,
}

impl Histogram {
    /// An empty one with these bounds, 19 at most, which rise. A value that equals a bound lies below it.
    ///
    /// # Panics
    /// When there are more bounds.
    #[must_use]
    pub const fn new(bounds: &'static [i64]) -> Histogram {
        assert!(bounds.len() < PLACES, "too many bounds");
        Histogram { bounds, counts: [const { AtomicU64::new(0) }; PLACES], sum: AtomicI64::new(0) }
    }

    /// Counts a value.
    pub fn record(&self, value: i64) {
        let place = self.bounds.partition_point(|bound| *bound < value);
        self.counts[place].fetch_add(1, Relaxed);
        self.sum.fetch_add(value, Relaxed);
    }

    /// Counts a time, in microseconds.
    pub fn record_time(&self, time: Duration) {
        self.record(i64::try_from(time.as_micros()).unwrap_or(i64::MAX));
    }

    /// What was counted so far. What is recorded meanwhile is in it, or not yet, or with its count alone.
    #[must_use]
    pub fn read(&self) -> Distribution {
        Distribution {
            bounds: self.bounds,
            counts: self.counts[..=self.bounds.len()].iter().map(|count| count.load(Relaxed)).collect(),
            sum: self.sum.load(Relaxed),
        }
    }
}

/// What a [`Histogram`] had counted when it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distribution {
    /// The bounds, in the histogram's unit.
    pub bounds: &'static [i64],
    /// How many values lay up to each bound and above the one before it; the last, above all bounds.
    pub counts: Vec<u64>,
    /// The sum of all values.
    pub sum: i64,
}

impl Distribution {
    /// What several histograms with the same bounds counted together.
    pub fn of<'h>(histograms: impl IntoIterator<Item = &'h Histogram>) -> Distribution {
        let mut sum = Distribution::default();
        histograms.into_iter().for_each(|histogram| sum.add(&histogram.read()));
        sum
    }

    /// How many values there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Adds what another histogram with the same bounds counted. An empty distribution takes over its bounds.
    pub fn add(&mut self, other: &Distribution) {
        if self.counts.is_empty() {
            self.clone_from(other);
            return;
        }
        debug_assert_eq!(self.bounds, other.bounds);
        self.counts.iter_mut().zip(&other.counts).for_each(|(sum, count)| *sum += count);
        self.sum += other.sum;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_lies_below_the_first_bound_that_it_does_not_exceed() {
        let histogram = Histogram::new(&[-10, 0, 20]);
        for value in [-11, -10, -9, 0, 1, 20, 21, 1000] {
            histogram.record(value);
        }
        histogram.record_time(Duration::from_micros(15));
        let read = histogram.read();
        assert_eq!((read.counts.as_slice(), read.sum, read.count()), (&[2, 2, 3, 2][..], 1027, 9));
    }

    #[test]
    fn distributions_add_up() {
        let histograms = [Histogram::new(&[10]), Histogram::new(&[10])];
        for histogram in &histograms {
            histogram.record(3);
            histogram.record(30);
        }
        let sum = Distribution::of(&histograms);
        assert_eq!((sum.bounds, sum.counts.as_slice(), sum.sum), (&[10][..], &[2, 2][..], 66));
    }
}
