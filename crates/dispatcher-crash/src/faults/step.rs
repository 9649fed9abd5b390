//! `kill -9` at named steps, and around the writes and syncs of each file.
//!
//! Which steps there are is found out: a first run notes all that it passes, so that a new one is tried without being
//! listed anywhere. A few that must be among them are.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::process::ExitStatusExt as _,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use fastrand::Rng;

use crate::{
    harness::Harness,
    outcome::Outcome,
    preload::Preload,
    trial::{Trial, TrialOptions},
};

const PER_TRIAL: u64 = 16;

/// Steps without which the list of steps would not be worth its name.
const REQUIRED: [&str; 19] = [
    "commit.begun",
    "commit.before",
    "commit.after",
    "commit.answered",
    "wal.before",
    "wal.after",
    "wal.emptying",
    "wal.emptied",
    "deliver.started",
    "deliver.ended",
    "consumer.committing",
    "consumer.committed",
    "file.writing",
    "file.written",
    "file.synced",
    "rotation.set-aside",
    "trim.begin",
    "trim.before_commit",
    "trim.committed",
];

const FILES: [&str; 3] = ["journal.db-wal", "journal.db", "events.jsonl"];

/// How long a round waits under load, then idle: long enough for the idle journal to copy its write-ahead log.
const UNDER_LOAD: Duration = Duration::from_millis(700);
const IDLE: Duration = Duration::from_millis(1_300);
/// How many callbacks pass every step, and fill more than one file.
const ENOUGH: u64 = 300;
const STOP: Duration = Duration::from_secs(20);

/// Where a round ends.
#[derive(Clone)]
enum Target {
    Step(String),
    /// Action, call and file of a plan.
    Call(String),
}

pub(crate) fn run(harness: &Harness, rounds: u64, rng: &mut Rng, outcome: &mut Outcome) -> Result<()> {
    let steps = discover(harness, rng, outcome)?;
    let missing: Vec<&str> = REQUIRED.into_iter().filter(|&required| !steps.contains(required)).collect();
    if !missing.is_empty() {
        outcome.findings.other.push(format!("steps that have to be there were not passed: {}", missing.join(", ")));
    }
    let mut targets: Vec<Target> = steps.iter().cloned().map(Target::Step).collect();
    for file in FILES {
        for call in ["write", "sync"] {
            targets.extend(["kill-before", "kill-after"].map(|when| Target::Call(format!("{when}:{call}:{file}"))));
        }
    }
    // Every step and call at least once.
    let rounds = rounds.max(targets.len() as u64);
    let mut tried = BTreeSet::new();
    let mut reached = BTreeSet::new();
    while outcome.rounds < rounds {
        let mut trial = harness.trial(rng, TrialOptions::default())?;
        for _ in 0..PER_TRIAL.min(rounds - outcome.rounds) {
            let (turn, pass) = (outcome.rounds as usize % targets.len(), outcome.rounds as usize / targets.len());
            if turn == 0 {
                rng.shuffle(&mut targets);
            }
            // First the first time, then some time.
            let nth = if pass == 0 { 1 } else { rng.u64(1..40) };
            let name = match &targets[turn] {
                Target::Step(name) | Target::Call(name) => name.clone(),
            };
            outcome.rounds += 1;
            tried.insert(name.clone());
            if round(harness, &mut trial, &targets[turn], nth)? {
                outcome.reached += 1;
                reached.insert(name);
            }
        }
        trial.finish(outcome)?;
        harness.progress(outcome, rounds);
    }
    let unreached: Vec<_> = tried.difference(&reached).cloned().collect();
    let all = targets.len();
    outcome.notes.push(format!("{} steps and calls of {all} were tried, {} were reached", tried.len(), reached.len()));
    if !unreached.is_empty() {
        outcome.notes.push(format!("never reached: {}", unreached.join(", ")));
    }
    Ok(())
}

/// Every step that a run passes, from its start under load to its end.
fn discover(harness: &Harness, rng: &mut Rng, outcome: &mut Outcome) -> Result<BTreeSet<String>> {
    let mut trial = harness.trial(rng, TrialOptions::default())?;
    let seen = trial.folder().join("steps.txt");
    trial.launch(&harness.programs.stepping, &[("DISPATCHER_STEPS_SEEN", seen.display().to_string())])?;
    ensure!(trial.wait_until_ready()?, "it does not start; it said:\n{}", trial.tail());
    trial.load.run(true);
    let began = Instant::now();
    while trial.history.n_ok() < ENOUGH && began.elapsed() < STOP {
        thread::sleep(Duration::from_millis(5));
    }
    trial.load.run(false);
    thread::sleep(IDLE);
    let process = trial.process.take().context("it was started")?;
    process.terminate(STOP)?;
    let steps = fs::read_to_string(&seen).context("no step was seen")?;
    trial.finish(outcome)?;
    Ok(steps.lines().map(str::to_owned).collect())
}

/// Runs until the step kills it. False if it did not come to that.
fn round(harness: &Harness, trial: &mut Trial<'_>, target: &Target, nth: u64) -> Result<bool> {
    match target {
        Target::Step(step) => {
            trial.launch(&harness.programs.stepping, &[("DISPATCHER_STEP", format!("{step}:{nth}"))])?;
        }
        Target::Call(call) => {
            let plan = format!("{call}:{nth}");
            let preload = Preload::new(&harness.programs.faults, trial.folder(), &trial.data(), &plan)?;
            trial.launch(&harness.programs.dispatcher, preload.environment())?;
        }
    }
    trial.load.run(true);
    let mut process = trial.process.take().context("it was started")?;
    let mut status = process.wait(UNDER_LOAD)?;
    if status.is_none() {
        trial.load.run(false);
        status = process.wait(IDLE)?;
    }
    let status = match status {
        Some(status) => Some(status),
        None => process.terminate(STOP)?,
    };
    Ok(status.is_some_and(|status| status.signal() == Some(9)))
}
