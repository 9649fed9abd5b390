//! `kill -9` at a random moment.

use std::{thread, time::Duration};

use anyhow::Result;
use fastrand::Rng;

use crate::{harness::Harness, outcome::Outcome, trial::TrialOptions};

/// How many kills one folder sees before its history is checked.
const PER_TRIAL: u64 = 40;

pub(crate) fn run(harness: &Harness, rounds: u64, rng: &mut Rng, outcome: &mut Outcome) -> Result<()> {
    while outcome.rounds < rounds {
        let mut trial = harness.trial(rng, TrialOptions::default())?;
        trial.load.run(true);
        for _ in 0..PER_TRIAL.min(rounds - outcome.rounds) {
            // Now and then while it starts.
            if rng.u32(..8) == 0 {
                trial.launch(&harness.programs.dispatcher, &[])?;
                thread::sleep(Duration::from_micros(rng.u64(..40_000)));
            } else {
                trial.start()?;
                thread::sleep(Duration::from_micros(rng.u64(1_000..200_000)));
            }
            outcome.rounds += 1;
            if trial.kill()? {
                outcome.reached += 1;
            } else {
                outcome.findings.other.push(format!("it ended by itself; it said:\n{}", trial.tail()));
            }
        }
        trial.finish(outcome)?;
        harness.progress(outcome, rounds);
    }
    Ok(())
}
