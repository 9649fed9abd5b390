//! Retention: when which step is taken, and what is said about it.
//!
//! A row may go when it is old enough, every consumer's checkpoint has passed it and none has it pending – consumers that
//! are disabled, no longer configured or replays count like others – and, if it is a callback, no event is left that refers
//! to it. Every few seconds there is a round of steps, each of which holds the writer for some milliseconds; they are taken
//! while nothing waits, and now and then if something always does.

mod blocked;

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use dispatcher_core::Timestamp;
use tracing::{info, warn};

use crate::{
    HeldUp, Overdue, Retention, Stream, WhenBlocked,
    holds::holds,
    meta,
    rules::Rules,
    shared::Shared,
    step::step,
    transaction::Tables,
    trim::{self, Cut, Leave},
    trouble::{Fault, Trouble},
    vacuum,
};

/// Between two rounds, at most and at least.
const ROUND: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(10));
/// For how long a step that is due lets others go first, and how long it then waits between steps.
const STARVED: Duration = Duration::from_secs(10);
const SELDOM: Duration = Duration::from_millis(100);
/// How long after the start those that will run have to say so, before something is taken from those that do not.
const GRACE: Duration = Duration::from_secs(60);
/// Between two rounds while the file is too large.
const SOON: Duration = Duration::from_secs(1);
/// How many rows more are called overdue at a time while the file is too large, at least.
const PRESSED: u64 = 1000;

/// For how long records of what was skipped and of replays stay at least: they are few, and for people.
const RECORDS: Duration = Duration::from_secs(7 * 24 * 3600);

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It did something, and there may be more to do at once.
    Worked,
    /// There is nothing to do until the next round.
    Rest,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Rules,
    Hold,
    Evict,
    Prefix(Stream),
    Sweep(Stream, Duration),
    Restored,
    Size,
    Attempts(Stream),
    Progress,
    Records,
    Dead,
    Vacuum,
}

pub(crate) struct Trimmer {
    retention: Retention,
    rules: Rules,
    /// Whether the file says which rules its cursors looked with.
    has_rules: bool,
    stages: Vec<Stage>,
    /// The stage under way; zero between rounds as well.
    stage: usize,
    every: Duration,
    next: Instant,
    /// Since when a step has been due that was not taken.
    waiting: Option<Instant>,
    last: Instant,
    /// How far each sweep looked.
    cursors: HashMap<(Stream, Duration), u64>,
    /// What the next step leaves where it is, since the last one met a page that cannot be deleted from.
    leave: Leave,
    /// By stream: up to where rows are overdue because the file is too large.
    pressed: [u64; 2],
    held: [Option<HeldUp>; 2],
    /// Dead letters made so far of a consumer that is let go of.
    buried: HashMap<Arc<str>, u64>,
    /// From when on consumers that have not asked for anything count as not running.
    pub(crate) known_from: Instant,
    is_full: bool,
    is_vacuuming: bool,
    is_failing: bool,
}

impl Trimmer {
    pub(crate) fn new(retention: Retention, tables: &Tables<'_>, shared: &Shared) -> Result<Trimmer, Trouble> {
        let rules = Rules::new(retention.clone());
        let shorter = rules.shorter();
        let mut stages = vec![Stage::Rules, Stage::Hold, Stage::Evict];
        for stream in [Stream::Events, Stream::Callbacks] {
            stages.push(Stage::Prefix(stream));
            stages.extend(shorter.iter().map(|&keep| Stage::Sweep(stream, keep)));
        }
        stages.extend([Stage::Restored, Stage::Size]);
        stages.extend([Stage::Attempts(Stream::Callbacks), Stage::Attempts(Stream::Events), Stage::Progress]);
        stages.extend([Stage::Records, Stage::Dead, Stage::Vacuum]);

        // A sweep that looked with other rules has to look again.
        let connection = tables.connection();
        let has_rules = meta::get::<String>(connection, "rules")?.as_deref() == Some(&rules.text());
        let mut cursors = HashMap::new();
        for &keep in &shorter {
            for stream in [Stream::Callbacks, Stream::Events] {
                let stored = meta::number(connection, &trim::cursor_key(stream, keep))?;
                cursors.insert((stream, keep), if has_rules { stored } else { 0 });
            }
        }
        shared.overdue.send_replace(Overdue { policy: retention.when_blocked, ..Overdue::default() });
        let shortest = shorter.first().copied().unwrap_or(rules.longest());
        let now = Instant::now();
        Ok(Trimmer {
            retention,
            rules,
            has_rules,
            stages,
            stage: 0,
            every: (shortest / 20).clamp(ROUND.0, ROUND.1),
            next: now,
            waiting: None,
            last: now,
            cursors,
            leave: Leave::Nothing,
            pressed: [0; 2],
            held: [None, None],
            buried: HashMap::new(),
            known_from: now + GRACE,
            is_full: false,
            is_vacuuming: false,
            is_failing: false,
        })
    }

    /// How long until a step is due; zero if one is.
    pub(crate) fn due_in(&self) -> Duration {
        if self.stage > 0 { Duration::ZERO } else { self.next.saturating_duration_since(Instant::now()) }
    }

    /// Whether a step is to be taken although others wait.
    pub(crate) fn is_starved(&mut self) -> bool {
        if self.due_in() > Duration::ZERO {
            self.waiting = None;
            return false;
        }
        self.waiting.get_or_insert_with(Instant::now).elapsed() >= STARVED && self.last.elapsed() >= SELDOM
    }

    /// Takes a step.
    pub(crate) fn step(&mut self, tables: &mut Tables<'_>, shared: &Shared) -> Result<Step, Trouble> {
        let began = Instant::now();
        self.last = began;
        let outcome = loop {
            let Some(&stage) = self.stages.get(self.stage) else {
                // Whoever is pressed has made room by then.
                let every = if self.pressed == [0; 2] { self.every } else { self.every.min(SOON) };
                (self.stage, self.next, self.waiting) = (0, Instant::now() + every, None);
                vacuum::measure(tables.connection(), shared)?;
                break Ok(Step::Rest);
            };
            match self.take(stage, tables, shared) {
                Ok(true) => {
                    shared.tallies.last_trim.store(Timestamp::now().as_millis(), Ordering::Relaxed);
                    break Ok(Step::Worked);
                }
                Ok(false) => self.stage += 1,
                Err(trouble) => break Err(trouble),
            }
        };
        let took = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        shared.tallies.longest_trim.fetch_max(took, Ordering::Relaxed);
        match &outcome {
            Ok(_) if mem::take(&mut self.is_failing) => info!("retention deletes again"),
            Ok(_) => {}
            Err(trouble) => {
                // From the beginning, a little later: what it was may have passed.
                (self.stage, self.next) = (0, Instant::now() + ROUND.1);
                if trouble.fault != Fault::Sync && !mem::replace(&mut self.is_failing, true) {
                    warn!(reason = %trouble, "retention cannot delete anything for now; it tries again every 10 s");
                }
            }
        }
        outcome
    }

    /// Whether it did anything.
    fn take(&mut self, stage: Stage, tables: &mut Tables<'_>, shared: &Shared) -> Result<bool, Trouble> {
        let count = |of: &std::sync::atomic::AtomicU64, n: u64| of.fetch_add(n, Ordering::Relaxed);
        match stage {
            Stage::Rules if self.has_rules => Ok(false),
            Stage::Rules => {
                // Not at the start: a disk that is full must not keep it from coming up.
                let text = self.rules.text();
                tables.transact(|tables| {
                    tables.begin()?;
                    tables.connection().execute("DELETE FROM meta WHERE key GLOB '*_sweep *'", [])?;
                    Ok(meta::set(tables.connection(), "rules", &text)?)
                })?;
                self.has_rules = true;
                Ok(true)
            }
            Stage::Hold => self.look_for_holds(tables, shared).map(|()| false),
            Stage::Evict => self.evict(tables, shared),
            Stage::Prefix(stream) => {
                let bound = bound(tables, stream)?.min(self.unreferred(tables, stream, None)?);
                let gone = tables.gone[stream as usize];
                let cutoff = Some(before(self.rules.longest()));
                let cut = trim::prefix(tables.connection(), stream, gone, cutoff, bound)?;
                self.cut(cut, tables, shared)
            }
            Stage::Sweep(stream, keep) => self.sweep(stream, keep, tables, shared),
            Stage::Restored => {
                let (deleted, decisions) = tables.cut_restored()?;
                count(&shared.tallies.deleted_decisions, decisions);
                Ok(deleted > 0)
            }
            Stage::Size => self.mind_the_size(tables, shared),
            Stage::Attempts(stream) => Ok(tables.trim_attempts(stream)? > 0),
            Stage::Progress => {
                let consumers: Vec<_> = tables.consumers.iter().map(|(name, stream)| (name.clone(), *stream)).collect();
                for (consumer, stream) in consumers {
                    if tables.trim_progress(&consumer, stream)? > 0 {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Stage::Records => Ok(tables.trim_records(before(self.rules.longest().max(RECORDS)))? > 0),
            Stage::Dead => {
                let Some(keep) = self.retention.keep_dead_for else { return Ok(false) };
                let deleted = tables.trim_dead(before(keep))?;
                count(&shared.tallies.deleted_dead, deleted);
                Ok(deleted > 0)
            }
            Stage::Vacuum => {
                let (pages, free) = vacuum::pages(tables.connection())?;
                // Some room stays for what comes next: it would only grow again.
                let (from, to) = ((pages / 4).max(1024), (pages / 8).max(256));
                self.is_vacuuming = free > if self.is_vacuuming { to } else { from };
                if self.is_vacuuming {
                    step("trim.vacuum");
                    vacuum::some(tables.connection())?;
                    vacuum::measure(tables.connection(), shared)?;
                }
                Ok(self.is_vacuuming)
            }
        }
    }

    fn cut(&mut self, cut: Option<Cut>, tables: &mut Tables<'_>, shared: &Shared) -> Result<bool, Trouble> {
        let Some(cut) = cut else { return Ok(false) };
        step("trim.begin");
        let leave = mem::take(&mut self.leave);
        match tables.cut(&cut, shared, leave) {
            Ok((deleted, decisions)) => {
                shared.tallies.deleted[cut.stream as usize].fetch_add(deleted, Ordering::Relaxed);
                shared.tallies.deleted_decisions.fetch_add(decisions, Ordering::Relaxed);
                step("trim.committed");
                Ok(true)
            }
            Err(trouble) if trouble.fault == Fault::Own => {
                warn!(
                    reason = %trouble, stream = %cut.stream,
                    "a damaged page of the journal keeps rows from being deleted; they are passed over, and their space is lost"
                );
                self.leave = leave.more(cut.stream);
                Ok(true)
            }
            Err(trouble) => Err(trouble),
        }
    }

    fn sweep(
        &mut self,
        stream: Stream,
        keep: Duration,
        tables: &mut Tables<'_>,
        shared: &Shared,
    ) -> Result<bool, Trouble> {
        let gone = tables.gone[stream as usize];
        let before_it = self.cursors.get(&(stream, keep)).copied().unwrap_or(0).max(gone.floor);
        let bound = bound(tables, stream)?.min(self.unreferred(tables, stream, Some(keep))?);
        let cutoff = before(keep);
        let sweep = trim::sweep(tables.connection(), stream, before_it, &self.rules, keep, cutoff, bound)?;
        let worked = self.cut(sweep.cut, tables, shared)?;
        if self.leave == Leave::Nothing {
            self.cursors.insert((stream, keep), sweep.cursor);
        }
        Ok(worked || sweep.cursor > before_it)
    }

    /// Up to where no callback is referred to: by any event, or by one of those that `keep` concerns.
    fn unreferred(&self, tables: &Tables<'_>, stream: Stream, keep: Option<Duration>) -> Result<u64, Trouble> {
        if stream == Stream::Events {
            return Ok(u64::MAX);
        }
        let floor = tables.gone[Stream::Events as usize].floor;
        let swept = keep.and_then(|keep| self.cursors.get(&(Stream::Events, keep))).copied().unwrap_or(0);
        Ok(tables.last_block.unreferred(tables.connection(), floor.max(swept))?)
    }

    /// While the file is too large: what is oldest goes, however young that is.
    fn mind_the_size(&mut self, tables: &mut Tables<'_>, shared: &Shared) -> Result<bool, Trouble> {
        let Some(max_bytes) = self.retention.max_bytes else { return Ok(false) };
        let (pages, free) = vacuum::pages(tables.connection())?;
        let used = (pages - free) * vacuum::page_size(tables.connection())?;
        self.pressed = [0; 2];
        if used <= max_bytes {
            self.is_full = false;
            return Ok(false);
        }
        // Callbacks first: those that may go are older than any event that is left.
        for stream in [Stream::Callbacks, Stream::Events] {
            let free_up_to = bound(tables, stream)?;
            let bound = free_up_to.min(self.unreferred(tables, stream, None)?);
            let cut = trim::prefix(tables.connection(), stream, tables.gone[stream as usize], None, bound)?;
            if self.cut(cut, tables, shared)? {
                return Ok(true);
            }
            // Dead letters take no less room than the rows that they are made of.
            let is_of_use = self.retention.when_blocked != WhenBlocked::DeadLetter;
            if is_of_use && bound == free_up_to && bound < tables.ends().of(stream) {
                let rows = tables.ends().of(stream).saturating_sub(tables.gone[stream as usize].floor);
                let excess = u128::from(rows) * u128::from(used - max_bytes) / u128::from(used.max(1));
                let step = u64::try_from(excess).unwrap_or(u64::MAX).max(PRESSED);
                self.pressed[stream as usize] = bound.saturating_add(step).min(tables.ends().of(stream));
            }
        }
        if self.pressed == [0; 2] && !mem::replace(&mut self.is_full, true) {
            warn!(
                used,
                max_bytes,
                "the journal is larger than it may be, and what is in it is not retention's to delete: look at the dead \
                 letters, or allow more"
            );
        }
        Ok(false)
    }
}

/// Up to where no consumer of a stream needs anything.
fn bound(tables: &Tables<'_>, stream: Stream) -> Result<u64, Trouble> {
    let first = holds(tables.connection(), stream)?.into_iter().next();
    Ok(first.map_or(u64::MAX, |hold| hold.upto).min(tables.ends().of(stream)))
}

fn before(keep: Duration) -> Timestamp {
    let keep = i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(Timestamp::now().as_millis().saturating_sub(keep))
}
