//! Jumps of the clock by an hour, while callbacks come and items are pending.

use std::{thread, time::Duration};

use anyhow::Result;
use fastrand::Rng;

use crate::{harness::Harness, outcome::Outcome, preload::Preload, receiver::Mood, trial::TrialOptions};

const PER_TRIAL: u64 = 10;
const HOUR: i64 = 3_600;

/// One round is a jump. At the end of a trial the clock is right again, and what is pending must not wait for an hour: the
/// trial's patience is a minute.
pub(crate) fn run(harness: &Harness, rounds: u64, rng: &mut Rng, outcome: &mut Outcome) -> Result<()> {
    while outcome.rounds < rounds {
        let mut trial = harness.trial(rng, TrialOptions::default())?;
        let preload = Preload::new(&harness.programs.faults, trial.folder(), &trial.data(), "")?;
        let start = |trial: &mut crate::trial::Trial<'_>| {
            trial.launch(&harness.programs.dispatcher, preload.environment())?;
            anyhow::ensure!(trial.wait_until_ready()?, "it does not start; it said:\n{}", trial.tail());
            anyhow::Ok(())
        };
        trial.load.run(true);
        start(&mut trial)?;
        let mut offset = 0;
        for _ in 0..PER_TRIAL.min(rounds - outcome.rounds) {
            trial.receivers[0].set_mood([Mood::Any, Mood::Status(500), Mood::Well][rng.usize(..3)]);
            thread::sleep(Duration::from_millis(rng.u64(50..150)));
            offset = [-HOUR, 0, HOUR].into_iter().filter(|&other| other != offset).nth(rng.usize(..2)).unwrap_or(0);
            preload.shift_clock(offset)?;
            thread::sleep(Duration::from_millis(rng.u64(50..250)));
            let before = trial.history.n_ok();
            outcome.rounds += 1;
            outcome.reached += 1;
            // A stored time is an hour off for the next start, too.
            if rng.u32(..3) == 0 {
                if !trial.kill()? {
                    outcome.findings.other.push(format!("it ended by itself; it said:\n{}", trial.tail()));
                }
                offset = [-HOUR, 0, HOUR][rng.usize(..3)];
                preload.shift_clock(offset)?;
                start(&mut trial)?;
            } else if trial.history.n_ok() == before && trial.history.backlog(&crate::trial::HTTP) == 0 {
                thread::sleep(Duration::from_secs(1));
                if trial.history.n_ok() == before {
                    outcome.findings.other.push(format!("no answer for a second after a jump to {offset} s"));
                }
            }
        }
        trial.finish(outcome)?;
        harness.progress(outcome, rounds);
    }
    Ok(())
}
