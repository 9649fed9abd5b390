//! Receivers on a bad day, and kills on top.

use std::{thread, time::Duration};

use anyhow::Result;
use fastrand::Rng;

use crate::{harness::Harness, outcome::Outcome, receiver::Mood, trial::TrialOptions};

const PER_TRIAL: u64 = 12;

/// One round is some hundred milliseconds with a mood for each receiver, and in every third a kill at its end.
pub(crate) fn run(harness: &Harness, rounds: u64, rng: &mut Rng, outcome: &mut Outcome) -> Result<()> {
    while outcome.rounds < rounds {
        let mut trial = harness.trial(rng, TrialOptions::default())?;
        trial.load.run(true);
        trial.start()?;
        for _ in 0..PER_TRIAL.min(rounds - outcome.rounds) {
            for receiver in &trial.receivers {
                let mood = if rng.u32(..3) == 0 { Mood::Well } else { Mood::BAD[rng.usize(..Mood::BAD.len())] };
                receiver.set_mood(mood);
            }
            thread::sleep(Duration::from_millis(rng.u64(50..400)));
            outcome.rounds += 1;
            outcome.reached += 1;
            if rng.u32(..3) == 0 {
                if !trial.kill()? {
                    outcome.findings.other.push(format!("it ended by itself; it said:\n{}", trial.tail()));
                }
                trial.start()?;
            }
        }
        trial.finish(outcome)?;
        harness.progress(outcome, rounds);
    }
    Ok(())
}
