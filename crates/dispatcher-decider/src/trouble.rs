//! A log line when something stops working, and one when it works again; however often it fails in between.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use dispatcher_core::Purpose;
use tracing::{info, warn};

/// How long it has to work before it counts as mended, and how often it is told meanwhile.
const QUIET: Duration = Duration::from_secs(60);

/// Whether something fails, and since when that was last told.
#[derive(Default)]
pub(crate) struct Trouble {
    is_failing: std::sync::atomic::AtomicBool,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    at: Option<Instant>,
    failed_at: Option<Instant>,
    failures: u64,
}

impl Trouble {
    pub(crate) fn fails(&self, handler: &str, why: &str, purpose: Purpose) {
        let now = Instant::now();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.failures += 1;
        told.failed_at = Some(now);
        self.is_failing.store(true, std::sync::atomic::Ordering::Relaxed);
        if told.at.is_none_or(|at| now.duration_since(at) >= QUIET) {
            told.at = Some(now);
            let failures = std::mem::take(&mut told.failures);
            match purpose {
                Purpose::Answer => {
                    warn!(
                        handler,
                        failures, "the decider did not decide, and what counts in its place was answered: {why}"
                    );
                }
                Purpose::Shadow | Purpose::Backtest => {
                    warn!(handler, failures, "the decider, which does not count at present, did not decide: {why}");
                }
            }
        }
    }

    pub(crate) fn works(&self, handler: &str) {
        // Nearly always the end of it: nobody else writes there, so that it costs nothing.
        if !self.is_failing.load(std::sync::atomic::Ordering::Relaxed) {
            return;
        }
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.failed_at.is_some_and(|at| at.elapsed() >= QUIET) {
            self.is_failing.store(false, std::sync::atomic::Ordering::Relaxed);
            info!(handler, failures = told.failures, "the decider decides again");
            *told = Told::default();
        }
    }
}
