//! The waits in which the machine's host had no part.
//!
//! The host of a virtual machine takes its cores away for milliseconds, on some at almost any time, and whatever is under way
//! then waits: the longest waits of a measurement are those of the host. It counts what it takes (`steal` in `/proc/stat`, in
//! steps of 10 ms). So time is cut into slices, and a slice is calm if the host took nothing in it, nor in the one before,
//! nor in the one after. Where there is no host, all are.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::proc;

const SLICE: Duration = Duration::from_millis(100);

/// The slices of one measurement, and the waits of what was due in them.
pub(crate) struct Slices {
    began: Instant,
    /// What the host had taken when the last of `taken` was over.
    stolen: Duration,
    /// Whether the host took something, of each slice that is over.
    taken: Vec<bool>,
    waits: Vec<Wait>,
}

struct Wait {
    slice: usize,
    part: usize,
    nanos: u64,
}

impl Slices {
    pub(crate) fn begin(began: Instant) -> Result<Self> {
        Ok(Self { began, stolen: proc::stolen()?, taken: Vec::new(), waits: Vec::new() })
    }

    /// To be called often: asks what the host has taken whenever a slice is over.
    pub(crate) fn look(&mut self, now: Instant) -> Result<()> {
        let n_over = self.slice_of(now);
        if n_over > self.taken.len() {
            let stolen = proc::stolen()?;
            self.taken.resize(n_over, stolen > self.stolen);
            self.stolen = stolen;
        }
        Ok(())
    }

    pub(crate) fn count(&mut self, part: usize, due: Instant, nanos: u64) {
        self.waits.push(Wait { slice: self.slice_of(due), part, nanos });
    }

    /// The waits of what was due in calm slices, with the part of each.
    pub(crate) fn calm(&self) -> impl Iterator<Item = (usize, u64)> {
        self.waits.iter().filter(|wait| self.is_calm(wait.slice)).map(|wait| (wait.part, wait.nanos))
    }

    fn slice_of(&self, at: Instant) -> usize {
        (at.saturating_duration_since(self.began).as_millis() / SLICE.as_millis()) as usize
    }

    /// What is not over was not looked at, and is not calm; before the first there was the warm-up.
    fn is_calm(&self, slice: usize) -> bool {
        let around = slice.saturating_sub(1)..=slice + 1;
        self.taken.get(around).is_some_and(|taken| !taken.contains(&true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_is_calm_with_calm_ones_around_it() {
        let mut slices = Slices::begin(Instant::now()).unwrap();
        slices.taken = [false, false, false, true, false, false, false].into();
        let calm: Vec<usize> = (0..9).filter(|&slice| slices.is_calm(slice)).collect();
        assert_eq!(calm, [0, 1, 5]);

        for millis in [0, 99, 250, 399, 500, 650, 5_000] {
            slices.count(1, slices.began + Duration::from_millis(millis), millis);
        }
        assert_eq!(slices.calm().collect::<Vec<_>>(), [(1, 0), (1, 99), (1, 500)]);
    }

    #[test]
    fn each_slice_that_is_over_is_looked_at_once() {
        let mut slices = Slices::begin(Instant::now()).unwrap();
        for (millis, n_over) in [(0, 0), (99, 0), (100, 1), (190, 1), (450, 4)] {
            slices.look(slices.began + Duration::from_millis(millis)).unwrap();
            assert_eq!(slices.taken.len(), n_over, "after {millis} ms");
        }
    }
}
