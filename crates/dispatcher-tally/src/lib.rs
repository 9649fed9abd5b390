//! Histograms that are read while they are written, for those who measure: intake, journal, deciders.
//!
//! Writing is two additions to plain atomics, without a lock or an allocation. What is measured is a whole number of a
//! unit that the owner chooses: microseconds, rows.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// How many values lay where between fixed bounds.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [u64],
    /// One more than there are bounds: the last is for what lies above all.
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

impl Histogram {
    /// An empty one with these bounds, which rise. A value that equals a bound lies below it.
    #[must_use]
    pub fn new(bounds: &'static [u64]) -> Histogram {
        debug_assert!(bounds.is_sorted());
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Histogram { bounds, counts, sum: AtomicU64::new(0) }
    }

    /// Counts a value.
    pub fn record(&self, value: u64) {
        let place = self.bounds.partition_point(|bound| *bound < value);
        self.counts[place].fetch_add(1, Relaxed);
        self.sum.fetch_add(value, Relaxed);
    }

    /// Counts a time, in microseconds.
    pub fn record_time(&self, time: Duration) {
        self.record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    /// What was counted so far. What is recorded meanwhile is in it, or not yet, or with its count alone.
    #[must_use]
    pub fn read(&self) -> Distribution {
        Distribution {
            bounds: self.bounds,
            counts: self.counts.iter().map(|count| count.load(Relaxed)).collect(),
            sum: self.sum.load(Relaxed),
        }
    }
}

/// What a [`Histogram`] had counted when it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distribution {
    /// The bounds, in the histogram's unit.
    pub bounds: &'static [u64],
    /// How many values lay up to each bound and above the one before it; the last, above all bounds.
    pub counts: Vec<u64>,
    /// The sum of all values.
    pub sum: u64,
}

impl Distribution {
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
        let histogram = Histogram::new(&[10, 20]);
        for value in [0, 10, 11, 20, 21, 1000] {
            histogram.record(value);
        }
        histogram.record_time(Duration::from_micros(15));
        let read = histogram.read();
        assert_eq!((read.counts.as_slice(), read.sum, read.count()), (&[2, 3, 2][..], 1077, 7));
    }

    #[test]
    fn distributions_add_up() {
        let histogram = Histogram::new(&[10]);
        histogram.record(3);
        histogram.record(30);
        let mut sum = Distribution::default();
        sum.add(&histogram.read());
        sum.add(&histogram.read());
        assert_eq!((sum.bounds, sum.counts.as_slice(), sum.sum), (&[10][..], &[2, 2][..], 66));
    }
}
