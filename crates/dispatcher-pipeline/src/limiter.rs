//! How many items may start: a bucket of tokens that fills at a rate. Pure, like the window.

use std::time::{Duration, Instant};

/// The longest that anything is told to wait before it asks again.
const MAX_WAIT: Duration = Duration::from_secs(3600);

/// Whose wait is over may start at least what came in this time: a wake-up for each item would cost more than the item.
const PACE: f64 = 0.01;

/// Lets `rate` items a second start, and after a pause at most a tenth of a second's worth, but one, at once.
///
/// One may be shared by several who start things: what one takes, the others do not get.
#[derive(Debug)]
pub(crate) struct Limiter {
    rate: f64,
    burst: f64,
    tokens: f64,
    at: Instant,
}

impl Limiter {
    /// `rate`: items per second, more than 0. It starts full.
    pub(crate) fn new(rate: f64, now: Instant) -> Limiter {
        debug_assert!(rate > 0.0, "a rate is more than 0");
        let burst = (rate / 10.0).max(1.0);
        Limiter { rate, burst, tokens: burst, at: now }
    }

    /// How many may start now.
    pub(crate) fn may_start(&mut self, now: Instant) -> usize {
        let span = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + span * self.rate).min(self.burst);
        self.at = self.at.max(now);
        // What was waited for in full counts as a whole one, however the fractions add up.
        (self.tokens + 1e-6) as usize
    }

    /// So many have started: no more than might.
    pub(crate) fn started(&mut self, n: usize) {
        self.tokens -= n as f64;
    }

    /// When to ask again; `None` when something may start at the time of the last call of `may_start`.
    pub(crate) fn next(&self) -> Option<Instant> {
        if self.tokens + 1e-6 >= 1.0 {
            return None;
        }
        let wanted = (self.rate * PACE).clamp(1.0, self.burst);
        let wait = Duration::try_from_secs_f64((wanted - self.tokens) / self.rate).unwrap_or(MAX_WAIT);
        // Rounded up to what timers can tell.
        Some(self.at + wait.min(MAX_WAIT) + Duration::from_nanos(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Starts all that may, whenever something may, for so many seconds; returns the counts by second.
    fn run(rate: f64, secs: u64) -> Vec<usize> {
        let begin = Instant::now();
        let mut limiter = Limiter::new(rate, begin);
        let mut counts = vec![0; secs as usize];
        let mut now = begin;
        loop {
            let second = now.duration_since(begin).as_secs() as usize;
            if second >= counts.len() {
                return counts;
            }
            let n = limiter.may_start(now);
            limiter.started(n);
            counts[second] += n;
            let next = limiter.next().expect("all that may start has");
            assert!(next > now);
            now = next;
        }
    }

    #[test]
    fn keeps_to_its_rate() {
        for (rate, first, later) in [(1.0, 1, 1), (10.0, 10, 10), (100.0, 109, 100), (20_000.0, 21_999, 20_000)] {
            let counts = run(rate, 5);
            assert!(counts[0].abs_diff(first) <= first / 50 + 1, "{rate}: {counts:?}");
            assert!(counts[1..].iter().all(|count| count.abs_diff(later) <= later / 50 + 1), "{rate}: {counts:?}");
        }
        assert_eq!(run(0.2, 26).iter().sum::<usize>(), 6, "one at once, and one every five seconds");
    }

    #[test]
    fn a_pause_earns_a_tenth_of_a_second_and_no_more() {
        for (rate, burst) in [(0.5, 1), (5.0, 1), (100.0, 10), (1000.0, 100)] {
            let now = Instant::now();
            let mut limiter = Limiter::new(rate, now);
            let later = now + Duration::from_secs(1000);
            assert_eq!((limiter.may_start(now), limiter.may_start(later)), (burst, burst));
            limiter.started(burst);
            assert_eq!(limiter.may_start(later), 0);
        }
    }

    #[test]
    fn a_tiny_rate_and_a_clock_that_stands_still_harm_nobody() {
        let now = Instant::now();
        let mut limiter = Limiter::new(f64::MIN_POSITIVE, now);
        assert_eq!(limiter.may_start(now), 1);
        limiter.started(1);
        assert_eq!(limiter.next(), Some(now + MAX_WAIT + Duration::from_nanos(1)));
        assert_eq!(limiter.may_start(now - Duration::from_secs(5)), 0);
    }
}
