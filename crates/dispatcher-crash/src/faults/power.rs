//! A power cut: what was not synced may be gone.

use std::{fs, thread, time::Duration};

use anyhow::Result;
use fastrand::Rng;

use crate::{
    configuration::Journal,
    disk::Disk,
    harness::Harness,
    outcome::Outcome,
    preload::Preload,
    trial::{Trial, TrialOptions},
};

/// How many cuts one folder sees before its history is checked. Each reads the whole folder.
const PER_TRIAL: u64 = 12;

/// How many more cuts the negative control makes until one has cost something.
const CONTROL: u64 = 20;

pub(crate) fn run(harness: &Harness, rounds: u64, rng: &mut Rng, outcome: &mut Outcome) -> Result<()> {
    while outcome.rounds < rounds {
        let mut trial = harness.trial(rng, TrialOptions::default())?;
        for _ in 0..PER_TRIAL.min(rounds - outcome.rounds) {
            cut(harness, &mut trial, outcome)?;
        }
        trial.finish(outcome)?;
        harness.progress(outcome, rounds);
    }
    Ok(())
}

/// The negative control: without syncs the same cuts must lose something, or the harness sees nothing.
pub(crate) fn control(harness: &Harness, rounds: u64, rng: &mut Rng, outcome: &mut Outcome) -> Result<()> {
    let mut found = Vec::new();
    // One cut may come too early to cost anything; many in a row do not.
    while outcome.rounds < rounds || (outcome.reached == 0 && outcome.rounds < rounds + CONTROL) {
        let mut trial = harness.trial(
            rng,
            TrialOptions { journal: Journal { sync: "off", ..Journal::default() }, ..TrialOptions::default() },
        )?;
        let mut seen = Outcome::default();
        // The journal may be beyond use after a cut, and then that is what is found.
        let result = cut(harness, &mut trial, &mut seen).and_then(|()| trial.finish(&mut seen));
        outcome.rounds += 1;
        outcome.acknowledged += seen.acknowledged;
        outcome.delivered += seen.delivered;
        match result {
            Ok(()) if seen.findings.lost.is_empty() => {}
            Ok(()) => {
                outcome.reached += 1;
                found.push(format!("{} lost", seen.findings.lost.len()));
            }
            Err(err) => {
                outcome.reached += 1;
                let text = format!("{err:#}");
                found.push(text.lines().last().unwrap_or_default().to_owned());
            }
        }
        seen.kept.iter().try_for_each(fs::remove_dir_all)?;
    }
    if outcome.reached == 0 {
        let what = "without syncs nothing was lost: the harness does not see a loss when there is one";
        outcome.findings.other.push(what.to_owned());
    }
    outcome.notes.push(format!("found, as it must: {}", found.join("; ")));
    harness.progress(outcome, rounds);
    Ok(())
}

/// One round: starts, loads, kills, and leaves the folder as a disk may after the power is back.
fn cut(harness: &Harness, trial: &mut Trial<'_>, outcome: &mut Outcome) -> Result<()> {
    let data = trial.data();
    let mut disk = Disk::read(&data)?;
    let preload = Preload::new(&harness.programs.faults, trial.folder(), &data, "")?;
    trial.load.run(true);
    trial.launch(&harness.programs.dispatcher, preload.environment())?;
    // Now and then while it starts.
    if trial.rng.u32(..8) == 0 {
        thread::sleep(Duration::from_micros(trial.rng.u64(..60_000)));
    } else {
        if !trial.wait_until_ready()? {
            anyhow::bail!("the dispatcher does not start; it said:\n{}", trial.tail());
        }
        thread::sleep(Duration::from_micros(trial.rng.u64(1_000..300_000)));
        // Now and then when it has had time to copy the write-ahead log into the file.
        if trial.rng.u32(..6) == 0 {
            trial.load.run(false);
            thread::sleep(Duration::from_millis(trial.rng.u64(950..1_150)));
            trial.load.run(true);
        }
    }
    outcome.rounds += 1;
    if trial.kill()? {
        outcome.reached += 1;
    } else {
        outcome.findings.other.push(format!("it ended by itself; it said:\n{}", trial.tail()));
    }
    disk.replay(&fs::read(preload.log())?, &mut trial.rng)?;
    trial.cut(disk)
}
