//! Looks through everything that the journal has, beside the writer.

use std::ops::ControlFlow;

use crate::{JournalError, Reader, Row, Stream, decision::IDS, mend};

/// How far long work has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What it is at.
    pub at: &'static str,
    /// How much is done, in rows or pages.
    pub done: u64,
    /// Of how much.
    pub of: u64,
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Check {
    /// In the callbacks.
    pub callbacks: Checked,
    /// In the events.
    pub events: Checked,
    /// Of the records of decisions, by the seqs of their callbacks; several of one callback are counted one by one.
    pub decisions: Checked,
    /// How many dead letters there are.
    pub dead: u64,
    /// How many items are pending.
    pub pending: u64,
    /// What is wrong beside the rows of the two streams, a sentence each.
    pub problems: Vec<String>,
}

impl Check {
    /// Whether all is as it was stored.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let parts = [&self.callbacks, &self.events, &self.decisions];
        parts.iter().all(|checked| checked.damaged.is_empty()) && self.problems.is_empty()
    }
}

/// What a check found in one stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// How many rows are as they were stored.
    pub intact: u64,
    /// How many seqs retention has deleted.
    pub deleted: u64,
    /// What is damaged, in order. Neighbours with one reason are one range.
    pub damaged: Vec<DamagedRange>,
}

/// Seqs that are damaged for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedRange {
    /// The first.
    pub first: u64,
    /// The last.
    pub last: u64,
    /// What is wrong with them.
    pub reason: String,
}

/// How many rows, and how many bytes of them, are read at once.
const ROWS: usize = 512;
const BYTES: usize = 4 << 20;

/// Tables that are small enough for SQLite to look through in one go. It has no way to do that in steps; of the two streams,
/// the dead letters and the attempts every page with rows is read here all the same.
const SMALL: [&str; 9] =
    ["checkpoint", "pending", "meta", "skipped", "replays", "blocks", "restored", "former_names", "shadows"];

impl Reader {
    /// Looks through everything: every row of both streams with its checksum, what is missing, the dead letters, and the
    /// small tables. Reads past what is damaged, in steps of one page, while the writer goes on. `progress` is told after each
    /// step, and ends the check when it breaks.
    ///
    /// Blocks for as long as it takes to read the file once.
    ///
    /// # Errors
    /// When something could not be read now that is not damaged, or `progress` broke.
    pub fn check(&mut self, mut progress: impl FnMut(Progress) -> ControlFlow<()>) -> Result<Check, JournalError> {
        let callbacks = self.check_stream(Stream::Callbacks, &mut progress)?;
        let events = self.check_stream(Stream::Events, &mut progress)?;
        let mut problems = Vec::new();
        let decisions = self.check_decisions(&mut problems, &mut progress)?;
        let mut check = Check { callbacks, events, decisions, problems, ..Check::default() };
        // What cannot be read there is a finding, and no reason not to report the others.
        if let Err(JournalError::Failed(reason)) = self.check_records(&mut check) {
            check.problems.push(format!("the records of consumers cannot all be read: {reason}"));
        }
        match self.check_dead(&mut check, &mut progress) {
            Err(JournalError::Failed(reason)) if &*reason != STOPPED => {
                check.problems.push(format!("the dead letters cannot all be read: {reason}"));
            }
            outcome => outcome?,
        }
        Ok(check)
    }

    fn check_stream(
        &mut self,
        stream: Stream,
        progress: &mut impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Checked, JournalError> {
        let end = self.end(stream);
        let start = self.floor(stream);
        let (mut checked, mut after) = (Checked { deleted: start, ..Checked::default() }, start);
        loop {
            let seqs: Vec<(u64, Option<String>)> = match stream {
                Stream::Callbacks => {
                    let rows = self.stored_callbacks(after, end, ROWS, BYTES)?;
                    rows.into_iter().map(|row| outcome(row, |row| row.seq)).collect()
                }
                Stream::Events => {
                    let rows = self.stored_events(after, end, ROWS, BYTES)?;
                    rows.into_iter().map(|row| outcome(row, |row| row.event.seq)).collect()
                }
            };
            let Some(&(last, _)) = seqs.last() else { break };
            for (seq, damage) in seqs {
                checked.deleted += seq - after - 1;
                after = seq;
                match damage {
                    None => checked.intact += 1,
                    Some(reason) => add(&mut checked.damaged, seq, reason),
                }
            }
            go_on(progress(Progress { at: stream.as_str(), done: last - start, of: end.saturating_sub(start) }))?;
        }
        checked.deleted += end.saturating_sub(after);
        Ok(checked)
    }

    fn check_decisions(
        &mut self,
        problems: &mut Vec<String>,
        progress: &mut impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Checked, JournalError> {
        let end = self.end(Stream::Callbacks);
        let start = self.floor(Stream::Callbacks);
        let (mut checked, mut after) = (Checked::default(), 0);
        loop {
            let page = self.decisions_page(after, ROWS)?;
            checked.intact += page.rows.len() as u64;
            for (seq, reason) in page.damaged {
                add(&mut checked.damaged, seq, reason);
            }
            let Some(upto) = page.upto else { break };
            after = upto;
            let seq = (upto / IDS).min(end);
            let done = seq.saturating_sub(start);
            go_on(progress(Progress { at: "decisions", done, of: end.saturating_sub(start).max(1) }))?;
        }
        // An id that none can have yet: a bit of it has flipped.
        for id in self.stray_decisions(end)? {
            problems.push(format!("a record of a decision has the number {id}, and fails its checksum"));
        }
        Ok(checked)
    }

    fn check_records(&mut self, check: &mut Check) -> Result<(), JournalError> {
        let problems = &mut check.problems;
        problems.extend(mend::damaged(&self.connection)?);
        for table in SMALL {
            let mut statement = self.connection.prepare(&format!("PRAGMA quick_check({table})"))?;
            let mut said = statement.query([])?;
            while let Some(row) = said.next()? {
                let text: String = row.get(0)?;
                if text != "ok" {
                    problems.push(format!("table {table}: {text}"));
                }
            }
        }
        let consumers = self.consumers()?;
        for known in &consumers {
            let (name, end) = (&known.name, self.end(known.stream));
            if known.checkpoint > end {
                let stream = known.stream;
                problems.push(format!("{name} is at {}, and the {stream} end at {end}", known.checkpoint));
            }
            let pending = self.pending(name)?;
            check.pending += pending.len() as u64;
            let ahead = pending.iter().filter(|pending| pending.seq > known.checkpoint).count();
            if ahead > 0 {
                problems.push(format!("{ahead} pending items of {name} lie behind its checkpoint"));
            }
        }
        for table in ["pending", "dead"] {
            let sql = format!("SELECT DISTINCT consumer FROM {table}");
            let mut statement = self.connection.prepare(&sql)?;
            for name in statement.query_map([], |row| row.get::<_, String>(0))? {
                let name = name?;
                if !consumers.iter().any(|known| known.name == name) {
                    problems.push(format!("there are rows in {table} of {name:?}, which is no consumer"));
                }
            }
        }
        for replay in self.replays()? {
            let consumer = replay.consumer();
            if replay.ended_at.is_none() && !consumers.iter().any(|known| known.name == consumer) {
                problems.push(format!("replay {} has not ended, and has no checkpoint", replay.id));
            }
        }
        Ok(())
    }

    fn check_dead(
        &mut self,
        check: &mut Check,
        progress: &mut impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<(), JournalError> {
        let counts = self.dead_counts()?;
        let of = counts.values().sum();
        for consumer in counts.keys() {
            let mut after = 0;
            loop {
                let letters = self.dead(consumer, after, 100)?;
                let Some(last) = letters.last() else { break };
                after = last.seq;
                check.dead += letters.len() as u64;
                let damaged = letters.iter().filter(|letter| letter.damaged);
                check.problems.extend(
                    damaged.map(|letter| format!("the dead letter {consumer}/{} fails its checksum", letter.seq)),
                );
                go_on(progress(Progress { at: "dead letters", done: check.dead, of }))?;
            }
        }
        Ok(())
    }
}

fn outcome<T>(row: Row<T>, seq: impl Fn(&T) -> u64) -> (u64, Option<String>) {
    match row {
        Row::Intact(row) => (seq(&row), None),
        Row::Damaged { seq, reason } => (seq, Some(reason)),
    }
}

fn add(ranges: &mut Vec<DamagedRange>, seq: u64, reason: String) {
    match ranges.last_mut() {
        Some(range) if range.last.abs_diff(seq) <= 1 && range.reason == reason => range.last = seq,
        _ => ranges.push(DamagedRange { first: seq, last: seq, reason }),
    }
}

/// What an error says when someone did not want to go on.
const STOPPED: &str = "it was stopped";

pub(crate) fn go_on(told: ControlFlow<()>) -> Result<(), JournalError> {
    match told {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(JournalError::Failed(STOPPED.into())),
    }
}
