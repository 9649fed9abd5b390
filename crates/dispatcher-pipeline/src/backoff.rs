//! How long to wait between attempts.

use std::time::Duration;

/// The longest that a wish to be left alone is followed.
pub(crate) const MAX_WISH: Duration = Duration::from_secs(3600);

/// The wait between attempts: grows by `factor` from `first` to `max`, and each wait is anywhere between nothing and
/// that ("full jitter"), so that what failed together does not come back together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// The longest wait after the first attempt.
    pub first: Duration,
    /// The longest wait at all.
    pub max: Duration,
    /// What each longest wait is multiplied by to give the next; at least 1.
    pub factor: f64,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff { first: Duration::from_secs(1), max: Duration::from_secs(600), factor: 2.0 }
    }
}

impl Backoff {
    /// The longest wait after `attempts` attempts.
    pub(crate) fn longest(&self, attempts: u32) -> Duration {
        let power = i32::try_from(attempts.saturating_sub(1)).unwrap_or(i32::MAX);
        let secs = self.first.as_secs_f64() * self.factor.max(1.0).powi(power);
        // Not `from_secs_f64`, which panics on what does not fit.
        Duration::try_from_secs_f64(secs).unwrap_or(self.max).min(self.max)
    }

    /// A wait after `attempts` attempts.
    pub(crate) fn wait(&self, attempts: u32, rng: &mut fastrand::Rng) -> Duration {
        self.longest(attempts).mul_f64(rng.f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_its_limit_and_stays_there() {
        let backoff = Backoff::default();
        for (attempts, secs) in [(0, 1), (1, 1), (2, 2), (5, 16), (10, 512), (11, 600), (u32::MAX, 600)] {
            assert_eq!(backoff.longest(attempts), Duration::from_secs(secs), "after {attempts}");
        }
        let mut rng = fastrand::Rng::with_seed(7);
        assert!((0..1000).all(|_| backoff.wait(3, &mut rng) <= Duration::from_secs(4)));
    }
}
