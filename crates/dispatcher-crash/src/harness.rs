//! What all faults share: programs, a folder, a seed, and how they tell how far they are.

use std::{path::PathBuf, time::Instant};

use anyhow::Result;
use fastrand::Rng;

use crate::{
    fault::Fault,
    outcome::Outcome,
    programs::Programs,
    trial::{Trial, TrialOptions},
};

/// Runs faults.
pub struct Harness {
    /// What is under test.
    pub programs: Programs,
    /// Where the folders of trials are made; a disk, not a tmpfs.
    pub dir: PathBuf,
    /// What all that is random is drawn from. The same seed draws the same faults; when they hit, no seed decides.
    pub seed: u64,
    /// Told how far a fault is, a line each time.
    pub progress: fn(&str),
}

impl Harness {
    /// Runs so many rounds of a fault, in trials of a few.
    ///
    /// # Errors
    /// When the harness itself fails, or the dispatcher does not start where it must. What is wrong with the history is in
    /// the outcome.
    pub fn run(&self, fault: Fault, rounds: u64) -> Result<Outcome> {
        let began = Instant::now();
        let mut outcome = Outcome { fault: fault.name().to_owned(), ..Outcome::default() };
        let mut rng = Rng::with_seed(self.seed ^ (fault as u64) << 32);
        let result = fault.run(self, rounds, &mut rng, &mut outcome);
        outcome.seconds = began.elapsed().as_secs_f64();
        result.map(|()| outcome)
    }

    pub(crate) fn trial(&self, rng: &mut Rng, options: TrialOptions) -> Result<Trial<'_>> {
        Trial::new(&self.programs, &self.dir, rng.fork(), options)
    }

    pub(crate) fn progress(&self, outcome: &Outcome, rounds: u64) {
        let Outcome { fault, rounds: done, acknowledged, findings, .. } = outcome;
        let wrong = findings.all().count();
        (self.progress)(&format!("{fault}: {done} of {rounds} rounds, {acknowledged} acknowledged, {wrong} findings"));
    }
}
