//! Flipped bits in the journal's file.
//!
//! A journal with a backlog is made once, stopped in good order so that all of it is in the file, and read. Then each round
//! flips bits in a copy. Every row of it reads as it was, or as damaged; none is missing without a word, none is different.
//! In some rounds a dispatcher is started on the copy, and has to deliver all that is intact.

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use dispatcher_journal::{Consumer, Journal, JournalError, JournalOptions, Reader, Row};
use fastrand::Rng;

use crate::{
    configuration,
    harness::Harness,
    history::Answer,
    load::LoadOptions,
    outcome::Outcome,
    receiver::Mood,
    trial::{HTTP, Trial, TrialOptions},
};

/// In one round of so many the dispatcher is started.
const START_EVERY: u64 = 12;

/// 16 pages of the journal.
const FIRST_PAGES: usize = 16 * 8192;

/// How many callbacks the journal has at least.
const CALLBACKS: u64 = 400;

/// How many rows beyond the true end a damaged number may pretend; reading them one by one would take for ever.
const BEYOND: u64 = 1_000_000;

/// What each row was: callbacks, then events, by seq from 1.
struct Rows {
    callbacks: Vec<Option<String>>,
    events: Vec<Option<String>>,
    /// Id and sinks of each event.
    places: HashMap<String, String>,
    /// How far each consumer got.
    consumers: Vec<Consumer>,
}

pub(crate) fn run(harness: &Harness, rounds: u64, rng: &mut Rng, outcome: &mut Outcome) -> Result<()> {
    let load = LoadOptions { repeats: false, pause: Duration::ZERO };
    let mut trial = harness
        .trial(rng, TrialOptions { load, journal: configuration::Journal { keep_for: "3d", ..Default::default() } })?;
    let pristine = make_journal(&mut trial)?;
    let journal = trial.folder().join("flip").join("journal.db");
    let folder = journal.parent().context("it is in a folder")?;
    let put = |bytes: &[u8]| {
        let _ = fs::remove_dir_all(folder);
        fs::create_dir(folder)?;
        fs::write(&journal, bytes)
    };
    put(&pristine)?;
    let stored = read(&journal)?.context("the journal was not flipped yet")?;
    ensure!(stored.callbacks.len() as u64 >= CALLBACKS, "the journal has only {} rows", stored.callbacks.len());

    let mut readable = 0;
    let (mut refused, mut unchanged, mut damaged_rows, mut misplaced) = (0, 0, 0, 0);
    while outcome.rounds < rounds {
        outcome.rounds += 1;
        let mut flipped = pristine.clone();
        let n_bits = [1, 1, 1, 2, 8][rng.usize(..5)];
        // Now and then among the first pages, where the small tables and the roots of the large ones are.
        let range = if rng.u32(..4) == 0 { FIRST_PAGES } else { flipped.len() };
        let bits: Vec<usize> = (0..n_bits).map(|_| rng.usize(..range * 8)).collect();
        bits.iter().for_each(|bit| flipped[bit / 8] ^= 1 << (bit % 8));
        put(&flipped)?;
        let Some(rows) = read(&journal).with_context(|| format!("with bits {bits:?} flipped"))? else {
            refused += 1;
            continue;
        };
        let damaged = compare(&stored, &rows, &bits, outcome);
        damaged_rows += damaged;
        outcome.reached += u64::from(damaged > 0);
        unchanged += u64::from(damaged == 0);
        if rows.consumers != stored.consumers {
            misplaced += 1;
            for was in &stored.consumers {
                match rows.consumers.iter().find(|is| is.name == was.name) {
                    Some(is) if is.checkpoint > was.checkpoint => outcome.findings.lost.push(format!(
                        "{} is at {} instead of {}; bits {bits:?}",
                        was.name, is.checkpoint, was.checkpoint
                    )),
                    _ => {}
                }
            }
        } else if readable % START_EVERY == 0 {
            start_on(&mut trial, &flipped, &rows, &bits, outcome)?;
        }
        readable += 1;
        if outcome.rounds.is_multiple_of(50) {
            harness.progress(outcome, rounds);
        }
    }
    outcome.notes.push(format!(
        "{refused} refused to open, {unchanged} without effect on any row, {damaged_rows} rows damaged in the others; \
         {misplaced} set a consumer back"
    ));
    Ok(())
}

/// The bytes of a journal whose file sink is done and whose HTTP sinks have done nothing.
fn make_journal(trial: &mut Trial<'_>) -> Result<Vec<u8>> {
    trial.receivers.iter().for_each(|receiver| receiver.set_mood(Mood::Gone));
    trial.start()?;
    trial.load.run(true);
    while trial.history.n_ok() < CALLBACKS {
        thread::sleep(Duration::from_millis(5));
    }
    trial.load.run(false);
    thread::sleep(Duration::from_millis(100));
    let process = trial.process.take().context("it was started")?;
    let status = process.terminate(Duration::from_secs(20))?.context("it does not stop")?;
    ensure!(status.success(), "the stop ended with {status}");
    let data = trial.data();
    ensure!(!data.join("journal.db-wal").exists(), "the write-ahead log is still there after a stop");
    Ok(fs::read(data.join("journal.db"))?)
}

/// Everything in a journal; `None` if it does not open.
fn read(path: &Path) -> Result<Option<Rows>> {
    let Ok(journal) = Journal::open(JournalOptions::new(path)) else { return Ok(None) };
    let ends = *journal.ends().borrow();
    let mut reader = journal.reader()?;
    let callbacks = scan(&mut reader, ends.callbacks, |reader, after| {
        Ok(reader
            .callbacks(after, 512, usize::MAX)?
            .into_iter()
            .map(|row| {
                shown(row, |row| {
                    let callback = &row.callback;
                    (
                        row.seq,
                        format!(
                            "{:?} {} {:?} {:?} {:?} {:?} {} {:?}",
                            callback.id(),
                            callback.query_and_trace(),
                            callback.key(),
                            callback.command(),
                            callback.received_at(),
                            callback.event_time(),
                            callback.app().sdk_app_id(),
                            callback.body_bytes(),
                        ),
                    )
                })
            })
            .collect())
    })?;
    let mut places = HashMap::new();
    let events = scan(&mut reader, ends.events, |reader, after| {
        Ok(reader
            .events(after, 512, usize::MAX)?
            .into_iter()
            .map(|row| {
                shown(row, |row| {
                    places.insert(row.event.id(), row.sinks.to_string());
                    let mut json = Vec::new();
                    row.event.write_json(&mut json);
                    (row.event.seq, format!("{} {} {}", row.callback_seq, row.sinks, String::from_utf8_lossy(&json)))
                })
            })
            .collect())
    })?;
    let consumers = reader.consumers().unwrap_or_default();
    drop(reader);
    journal.close();
    Ok(Some(Rows { callbacks, events, places, consumers }))
}

/// The seq of a row, and what it is; `None` for one that is damaged.
fn shown<T>(row: Row<T>, show: impl FnOnce(T) -> (u64, String)) -> (u64, Option<String>) {
    match row {
        Row::Damaged { seq, .. } => (seq, None),
        Row::Intact(row) => {
            let (seq, text) = show(row);
            (seq, Some(text))
        }
    }
}

type Page = Vec<(u64, Option<String>)>;

fn scan(
    reader: &mut Reader,
    end: u64,
    mut page: impl FnMut(&mut Reader, u64) -> Result<Page, JournalError>,
) -> Result<Vec<Option<String>>> {
    let mut rows = Vec::new();
    while (rows.len() as u64) < end.min(BEYOND) {
        let read = page(reader, rows.len() as u64)?;
        ensure!(!read.is_empty(), "the scan ends after {} rows of {end}", rows.len());
        for (seq, row) in read {
            ensure!(seq == rows.len() as u64 + 1, "row {seq} comes after row {}", rows.len());
            rows.push(row);
        }
    }
    Ok(rows)
}

/// How many rows are damaged. What is worse than that is a finding.
fn compare(stored: &Rows, read: &Rows, bits: &[usize], outcome: &mut Outcome) -> u64 {
    let mut damaged = 0;
    let findings = &mut outcome.findings;
    for (stream, stored, read) in
        [("callback", &stored.callbacks, &read.callbacks), ("event", &stored.events, &read.events)]
    {
        for (seq, was) in (1..).zip(stored) {
            match read.get(seq - 1) {
                None => findings.lost.push(format!("{stream} {seq} is missing without a word; bits {bits:?}")),
                Some(None) => damaged += 1,
                Some(is) if is != was => findings.invented.push(format!("{stream} {seq} differs; bits {bits:?}")),
                Some(_) => {}
            }
        }
        let beyond = &read[stored.len().min(read.len())..];
        if beyond.iter().any(Option::is_some) {
            findings.invented.push(format!("a {stream} beyond the end is intact; bits {bits:?}"));
        }
        if !beyond.is_empty() {
            outcome.notes.push(format!("{} {stream}s beyond the end, all damaged; bits {bits:?}", beyond.len()));
        }
    }
    damaged
}

/// Starts the dispatcher on a flipped journal, with receivers that take everything.
fn start_on(trial: &mut Trial<'_>, flipped: &[u8], rows: &Rows, bits: &[usize], outcome: &mut Outcome) -> Result<()> {
    let data = trial.data();
    fs::remove_dir_all(&data)?;
    fs::create_dir(&data)?;
    fs::write(data.join("journal.db"), flipped)?;
    trial.receivers.iter().for_each(|receiver| receiver.set_mood(Mood::Well));
    let before: HashMap<&str, usize> =
        trial.history.record().delivered.iter().map(|(&name, all)| (name, all.len())).collect();
    let n_ok = trial.history.n_ok();
    trial.launch(trial.dispatcher(), &[])?;
    if !trial.wait_until_ready()? {
        // It read well enough just now.
        outcome.findings.other.push(format!("it does not start with bits {bits:?}; it said:\n{}", trial.tail()));
        return Ok(());
    }
    let wanted: HashSet<(&str, &str)> = rows
        .places
        .iter()
        .flat_map(|(id, sinks)| {
            HTTP.iter().filter(|name| sinks.split(',').any(|sink| sink == **name)).map(|&name| (name, id.as_str()))
        })
        .collect();
    let began = Instant::now();
    let missing = loop {
        let record = trial.history.record();
        let delivered: HashSet<(&str, &str)> = record
            .delivered
            .iter()
            .flat_map(|(&name, all)| {
                all[before.get(name).copied().unwrap_or(0)..].iter().map(move |one| (name, one.event.as_str()))
            })
            .collect();
        let missing = wanted.difference(&delivered).count();
        if missing == 0 || began.elapsed() > Duration::from_secs(20) {
            break missing;
        }
        thread::sleep(Duration::from_millis(20));
    };
    if missing > 0 {
        outcome.findings.lost.push(format!("{missing} intact events did not arrive; bits {bits:?}"));
    }
    trial.load.run(true);
    while trial.history.n_ok() == n_ok && began.elapsed() < Duration::from_secs(30) {
        thread::sleep(Duration::from_millis(2));
    }
    trial.load.run(false);
    if trial.history.n_ok() == n_ok {
        outcome.findings.other.push(format!("it acknowledges nothing; bits {bits:?}"));
    }
    trial.kill()?;
    trial.receivers.iter().for_each(|receiver| receiver.set_mood(Mood::Gone));
    let record = trial.history.record();
    outcome.acknowledged = record.sent.values().filter(|sent| sent.answer == Answer::Ok).count() as u64;
    outcome.delivered = record.delivered.values().map(|all| all.len() as u64).sum();
    Ok(())
}
