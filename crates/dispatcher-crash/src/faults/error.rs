//! EIO and ENOSPC on the n-th write and sync of each file, once or for a while. Each round ends in a power cut, since what a
//! failed call left in memory is not on the disk.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use fastrand::Rng;

use crate::{
    disk::Disk,
    harness::Harness,
    load::LoadOptions,
    outcome::Outcome,
    preload::Preload,
    trial::{Trial, TrialOptions},
};

const PER_TRIAL: u64 = 12;

/// How long what has to happen may take.
const SOON: Duration = Duration::from_secs(5);

/// What fails, of which file, and what has to become of it.
#[derive(Clone, Copy)]
struct Case {
    error: &'static str,
    call: &'static str,
    file: &'static str,
    /// Up to which call the first that fails may be.
    most: u64,
    expected: Expected,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// Callbacks are refused while it lasts, and accepted again afterwards, by itself.
    Refusals,
    /// Callbacks are refused until the next start, and the log says what to do.
    Poison,
    /// The intake does not notice.
    Nothing,
}

const CASES: [Case; 17] = {
    use Expected::{Nothing, Poison, Refusals};
    const fn case(error: &'static str, call: &'static str, file: &'static str, most: u64, expected: Expected) -> Case {
        Case { error, call, file, most, expected }
    }
    [
        case("eio", "write", "journal.db-wal", 60, Refusals),
        case("enospc", "write", "journal.db-wal", 60, Refusals),
        case("short", "write", "journal.db-wal", 60, Refusals),
        case("eio", "sync", "journal.db-wal", 30, Poison),
        case("enospc", "sync", "journal.db-wal", 30, Poison),
        case("eio", "write", "journal.db", 8, Nothing),
        case("enospc", "write", "journal.db", 8, Nothing),
        case("short", "write", "journal.db", 8, Nothing),
        case("eio", "sync", "journal.db", 2, Poison),
        case("enospc", "sync", "journal.db", 2, Poison),
        // SQLite's own, while a new file is switched to a write-ahead log.
        case("eio", "write", "journal.db-journal", 12, Nothing),
        case("enospc", "sync", "journal.db-journal", 4, Nothing),
        case("eio", "write", "events.jsonl", 20, Nothing),
        case("enospc", "write", "events.jsonl", 20, Nothing),
        case("short", "write", "events.jsonl", 20, Nothing),
        case("eio", "sync", "events.jsonl", 20, Nothing),
        case("enospc", "sync", "events.jsonl", 20, Nothing),
    ]
};

pub(crate) fn run(harness: &Harness, rounds: u64, rng: &mut Rng, outcome: &mut Outcome) -> Result<()> {
    let load = LoadOptions { repeats: false, pause: Duration::from_millis(1) };
    let mut order: Vec<usize> = (0..CASES.len()).collect();
    while outcome.rounds < rounds {
        let mut trial = harness.trial(rng, TrialOptions { load, ..TrialOptions::default() })?;
        for _ in 0..PER_TRIAL.min(rounds - outcome.rounds) {
            let turn = outcome.rounds as usize % CASES.len();
            if turn == 0 {
                rng.shuffle(&mut order);
            }
            outcome.rounds += 1;
            round(harness, &mut trial, CASES[order[turn]], outcome)?;
        }
        trial.finish(outcome)?;
        harness.progress(outcome, rounds);
    }
    Ok(())
}

fn round(harness: &Harness, trial: &mut Trial<'_>, case: Case, outcome: &mut Outcome) -> Result<()> {
    let Case { error, call, file, most, expected } = case;
    let (nth, lasts) = (trial.rng.u64(1..=most), trial.rng.bool());
    let plan = format!("{error}:{call}:{file}:{nth}:{}", if lasts { "*" } else { "1" });
    let data = trial.data();
    let mut disk = Disk::read(&data)?;
    let preload = Preload::new(&harness.programs.faults, trial.folder(), &data, &plan)?;
    let said_before = trial.said().len();
    trial.remark(&plan)?;
    trial.history.forget_refusals();
    trial.load.run(true);
    trial.launch(&harness.programs.dispatcher, preload.environment())?;

    // What fails at the start ends it there: nothing was promised.
    if trial.wait_until_ready()? && fails(trial, &preload)? {
        let mut wrong = match expected {
            Expected::Poison => poisoned(trial, said_before)?,
            Expected::Refusals => refused(trial, &preload, lasts)?,
            Expected::Nothing => unnoticed(trial, &preload)?,
        };
        if trial.process.as_mut().is_none_or(|process| !matches!(process.ended(), Ok(None))) {
            wrong.push(format!("it ended; it said:\n{}", trial.tail()));
        }
        outcome.findings.other.extend(wrong.into_iter().map(|what| format!("{plan}: {what}")));
    }
    outcome.reached += u64::from(preload.n_faults()? > 0);
    trial.kill()?;
    disk.replay(&fs::read(preload.log())?, &mut trial.rng)?;
    trial.cut(disk)
}

/// Waits until something has failed; under load first, then idle, for the file of the journal is written when it is. False
/// if nothing did: there were too few calls.
fn fails(trial: &Trial<'_>, preload: &Preload) -> Result<bool> {
    if within(Duration::from_millis(500), || Ok(preload.n_faults()? > 0))? {
        return Ok(true);
    }
    trial.load.run(false);
    let failed = within(Duration::from_millis(1_500), || Ok(preload.n_faults()? > 0))?;
    trial.load.run(true);
    Ok(failed)
}

fn poisoned(trial: &Trial<'_>, said_before: usize) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    // Since the round began: the refusals may be over before anybody looks.
    if !within(SOON, || Ok(trial.history.has_refused()))? {
        wrong.push("nothing was refused after a failed sync".to_owned());
    }
    thread::sleep(Duration::from_millis(150));
    let n_ok = trial.history.n_ok_after_refusal();
    if n_ok > 0 {
        wrong.push(format!("{n_ok} were acknowledged after a failed sync"));
    }
    if !trial.said().get(said_before..).is_some_and(|said| said.contains("could not sync")) {
        wrong.push("the log does not say that it could not sync".to_owned());
    }
    Ok(wrong)
}

fn refused(trial: &Trial<'_>, preload: &Preload, lasts: bool) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    // A single failure may hit what a consumer commits, which is tried again, and no callback.
    if lasts {
        if !within(SOON, || Ok(trial.history.has_refused()))? {
            wrong.push("nothing was refused while nothing could be written".to_owned());
        }
        thread::sleep(Duration::from_millis(100));
        let n_ok = trial.history.n_ok_after_refusal();
        if n_ok > 0 && preload.n_faults()? > 1 {
            wrong.push(format!("{n_ok} were acknowledged while nothing could be written"));
        }
    }
    preload.release()?;
    wrong.extend(accepts(trial)?);
    Ok(wrong)
}

fn unnoticed(trial: &Trial<'_>, preload: &Preload) -> Result<Vec<String>> {
    let mut wrong = Vec::from_iter(accepts(trial)?);
    if trial.history.has_refused() {
        wrong.push("callbacks were refused, though the journal's log could be written".to_owned());
    }
    preload.release()?;
    wrong.extend(accepts(trial)?);
    Ok(wrong)
}

/// `None` if callbacks are acknowledged from now on.
fn accepts(trial: &Trial<'_>) -> Result<Option<String>> {
    let before = trial.history.n_ok();
    let does = within(SOON, || Ok(trial.history.n_ok() > before))?;
    Ok((!does).then(|| format!("nothing is acknowledged; it said:\n{}", trial.tail())))
}

fn within(limit: Duration, mut is_so: impl FnMut() -> Result<bool>) -> Result<bool> {
    let began = Instant::now();
    while !is_so()? {
        if began.elapsed() > limit {
            return Ok(false);
        }
        thread::sleep(Duration::from_millis(2));
    }
    Ok(true)
}
