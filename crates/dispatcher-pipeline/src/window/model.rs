//! A window against a simple model of its surroundings – a stream, a journal, lanes, receivers – with crashes at every
//! step.
//!
//! A crash forgets all memory and keeps what was committed; the commit under way may or may not have been applied, and
//! any part of what was under way may have been delivered. The model knows nothing of how a window works: it looks at
//! what starts, what is delivered, what is committed, and whether that tells every attempt.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    time::{Duration, Instant},
};

use dispatcher_core::{Failure, Timestamp};
use dispatcher_journal::Pending;

use super::{Batch, LetGo, Now, OrderKey, Outcome, Plan, Task, Window, WindowOptions, fail::MAX_UNTOLD};
use crate::Backoff;

/// What can be broken on purpose, to show that the model notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// The next item of a key may start between a failure and the commit that stores it.
    FailureFreesItsKey,
    /// The next item of a key may start before a dead letter is durable.
    DeathFreesItsKey,
    /// The checkpoint passes an item that is under way, without a row for it.
    PassesWhatRuns,
    /// The next item of a key may start before it is durable that an earlier one was let go of.
    EvictionFreesItsKey,
    /// What is read behind rows that were skipped unread may start before that is durable.
    JumpFreesAllKeys,
}

impl Flaw {
    pub(super) fn frees_key(self, is_dead: bool) -> bool {
        match self {
            Flaw::FailureFreesItsKey => !is_dead,
            Flaw::DeathFreesItsKey => is_dead,
            Flaw::PassesWhatRuns | Flaw::EvictionFreesItsKey | Flaw::JumpFreesAllKeys => false,
        }
    }
}

/// What a run came to.
#[derive(Debug, Default)]
struct Run {
    crashes: u32,
    commits: u32,
    dead: usize,
    most_pending: usize,
    /// Items that were let go of: skipped, and buried.
    skipped: usize,
    buried: usize,
    /// Attempts that commits told, and items given up on for their age.
    told: usize,
    aged: usize,
}

/// An attempt as the model saw it: which, and what it ended with.
type Seen = (u32, Option<String>);

/// One item of the stream; its seq is its place, from 1.
struct Item {
    key: Option<OrderKey>,
    is_selected: bool,
    /// An item that is beyond help: it never succeeds.
    is_poison: bool,
}

/// What survives a crash.
#[derive(Default)]
struct Durable {
    checkpoint: u64,
    pending: BTreeMap<u64, Pending>,
    dead: BTreeSet<u64>,
    made: BTreeSet<u64>,
    /// Ranges that were skipped.
    skipped: Vec<(u64, u64)>,
    /// The last attempt that was told of each item.
    told: HashMap<u64, u32>,
}

impl Durable {
    /// Whether it was let go of, and a record says so.
    fn is_skipped(&self, seq: u64) -> bool {
        seq <= self.checkpoint
            && !self.pending.contains_key(&seq)
            && !self.made.contains(&seq)
            && !self.dead.contains(&seq)
            && self.skipped.iter().any(|&(first, last)| (first..=last).contains(&seq))
    }
}

struct World {
    rng: fastrand::Rng,
    options: WindowOptions,
    lanes: usize,
    items: Vec<Item>,
    durable: Durable,
    /// What receivers have seen at least once.
    delivered: HashSet<u64>,
    window: Window<u64, u64>,
    busy: Vec<(Batch, Vec<Task<u64>>)>,
    commit: Option<Plan<u64>>,
    now: Now,
    is_up: bool,
    /// What retention does, if it does anything.
    how: Option<LetGo>,
    /// Up to where things have to go.
    overdue: u64,
    /// Attempts that were seen and that no plan has told.
    untold: HashMap<u64, Vec<Seen>>,
    /// For how long it has been up, in all lives; and what that was when an item failed for the first time.
    up: Duration,
    failing_since: HashMap<u64, Duration>,
    failures: u64,
    chaos: bool,
    run: Run,
}

fn simulate(seed: u64, flaw: Option<Flaw>) -> Result<Run, String> {
    let mut world = World::new(seed, flaw);
    for _ in 0..world.rng.usize(200..1500) {
        match world.rng.u32(0..100) {
            0..1 => world.crash()?,
            1..2 => world.evict(),
            2..3 => world.is_up = !world.is_up,
            3..20 => world.read()?,
            20..45 => world.start()?,
            45..70 => world.end_batch()?,
            70..80 => world.commit_step()?,
            80..97 => world.plan()?,
            _ => {
                let span = Duration::from_millis(world.rng.u64(0..200));
                world.pass_time(span);
            }
        }
    }
    (world.chaos, world.is_up) = (false, true);
    for _ in 0..200_000 {
        if world.is_finished() {
            return Ok(world.run);
        }
        world.calm_step()?;
    }
    Err("no progress: it did not finish".into())
}

impl World {
    fn new(seed: u64, flaw: Option<Flaw>) -> World {
        let mut rng = fastrand::Rng::with_seed(seed);
        let options = WindowOptions {
            max_items: rng.usize(1..40),
            max_bytes: rng.usize(50..2000),
            batch: rng.usize(1..9),
            batch_bytes: rng.usize(1..500),
            max_pending: rng.usize(1..12),
            attempts: (rng.u32(0..8) > 0).then(|| rng.u32(1..6)),
            give_up_after: rng.bool().then(|| Duration::from_millis(rng.u64(0..1500))),
            backoff: Backoff { first: Duration::from_millis(10), max: Duration::from_millis(300), factor: 2.0 },
            park_after: Duration::from_millis(rng.u64(0..100)),
            flaw,
        };
        let (keys, keyless) = (rng.u32(1..8), rng.f64() * 0.3);
        let items = (0..rng.usize(20..250)).map(|_| Item {
            key: (rng.f64() >= keyless)
                .then(|| OrderKey { app: rng.u64(1..3), key: format!("k{}", rng.u32(0..keys)).into() }),
            is_selected: rng.f64() < 0.8,
            is_poison: rng.f64() < 0.02,
        });
        let items: Vec<Item> = items.collect();
        let how = [None, Some(LetGo::Skip), Some(LetGo::Bury)][rng.usize(0..3)];
        // Poison that no limit ends would never end.
        let give_up_after = options.give_up_after.or(options.attempts.is_none().then_some(Duration::from_secs(2)));
        let options = WindowOptions { give_up_after, ..options };
        let now = Now { instant: Instant::now(), wall: Timestamp::from_millis(1_000_000), up: Duration::ZERO };
        let window = Window::new(options.clone(), 0, Vec::new(), seed, now);
        World {
            lanes: rng.usize(1..6),
            rng,
            options,
            items,
            durable: Durable::default(),
            delivered: HashSet::new(),
            window,
            busy: Vec::new(),
            commit: None,
            now,
            is_up: true,
            how,
            overdue: 0,
            untold: HashMap::new(),
            up: Duration::ZERO,
            failing_since: HashMap::new(),
            failures: 0,
            chaos: true,
            run: Run::default(),
        }
    }

    fn item(&self, seq: u64) -> &Item {
        &self.items[seq as usize - 1]
    }

    fn read(&mut self) -> Result<(), String> {
        let rows = self.rng.usize(1..10).min(self.window.room());
        for _ in 0..rows {
            let seq = self.window.loaded() + 1;
            let Some(item) = self.items.get(seq as usize - 1) else { break };
            if item.is_selected {
                self.window.push(seq, item.key.as_ref(), 10 + seq as usize % 90, seq);
            } else {
                self.window.skip(seq);
            }
        }
        ensure(self.window.ahead.len() <= self.options.max_items, || "the window holds more than it may".into())
    }

    fn start(&mut self) -> Result<(), String> {
        if self.busy.len() >= self.lanes {
            return Ok(());
        }
        self.window.advance(self.now);
        let taken = if self.rng.u32(0..10) == 0 {
            self.window.take_probe(self.rng.u64(0..self.items.len() as u64), self.now)
        } else {
            self.window.take(self.rng.usize(1..12), self.now)
        };
        let Some((batch, tasks)) = taken else { return Ok(()) };
        ensure(tasks.len() <= self.options.batch, || "a batch is larger than it may be".into())?;
        ensure(tasks.is_sorted_by(|a, b| a.seq < b.seq), || format!("a batch is out of order: {tasks:?}"))?;
        for task in &tasks {
            let same = |other: &Task<u64>| {
                other.seq == task.seq
                    || (self.item(task.seq).key.is_some() && self.item(other.seq).key == self.item(task.seq).key)
            };
            let overlap = self.busy.iter().flat_map(|(_, tasks)| tasks).find(|other| same(other));
            ensure(overlap.is_none(), || format!("{} runs beside {overlap:?} of its key", task.seq))?;
        }
        self.busy.push((batch, tasks));
        Ok(())
    }

    /// What a receiver makes of a batch. It keeps the contract of a sink: after an item that is not done, later ones of
    /// its key are left alone.
    fn receive(&mut self, tasks: &[Task<u64>]) -> Result<Vec<Outcome<u64>>, String> {
        let mut stopped = HashSet::new();
        let mut outcomes = Vec::new();
        for task in tasks {
            let key = self.item(task.seq).key.clone();
            let dice = if self.chaos { self.rng.u32(0..100) } else { 99 };
            let is_poison = self.item(task.seq).is_poison;
            let outcome = match dice {
                _ if key.as_ref().is_some_and(|key| stopped.contains(key)) => Outcome::NotTried,
                0..15 => Outcome::Failed(Failure::retry(self.error())),
                15..18 => Outcome::Failed(Failure::permanent(self.error())),
                18..25 => Outcome::NotTried,
                _ if is_poison => Outcome::Failed(Failure::retry(self.error())),
                _ => {
                    self.deliver(task.seq)?;
                    Outcome::Done(task.seq)
                }
            };
            if let (Some(key), false) = (key, matches!(outcome, Outcome::Done(_))) {
                stopped.insert(key);
            }
            outcomes.push(outcome);
        }
        Ok(outcomes)
    }

    /// An error that is like no other.
    fn error(&mut self) -> String {
        self.failures += 1;
        format!("failure {}", self.failures)
    }

    fn deliver(&mut self, seq: u64) -> Result<(), String> {
        ensure(!self.durable.dead.contains(&seq), || format!("{seq} is delivered after it became a dead letter"))?;
        ensure(!self.durable.made.contains(&seq), || format!("{seq} is delivered after it was committed as done"))?;
        ensure(!self.durable.is_skipped(seq), || format!("{seq} is delivered after it was skipped"))?;
        if let Some(key) = &self.item(seq).key {
            let earlier = (1..seq).filter(|&earlier| self.item(earlier).key.as_ref() == Some(key));
            for earlier in earlier.filter(|&earlier| self.item(earlier).is_selected) {
                let is_over = self.delivered.contains(&earlier)
                    || self.durable.dead.contains(&earlier)
                    || self.durable.is_skipped(earlier);
                ensure(is_over, || format!("{seq} overtakes {earlier} of its key"))?;
            }
        }
        self.delivered.insert(seq);
        Ok(())
    }

    fn end_batch(&mut self) -> Result<(), String> {
        if self.busy.is_empty() {
            return Ok(());
        }
        let (batch, tasks) = self.busy.swap_remove(self.rng.usize(0..self.busy.len()));
        if self.chaos && self.rng.u32(0..10) == 0 {
            // The sink's own failure: part of the batch may have arrived all the same.
            let part = self.rng.usize(0..=tasks.len());
            self.receive(&tasks[..part])?;
            self.window.give_back(batch, self.rng.bool());
            return Ok(());
        }
        let outcomes = self.receive(&tasks)?;
        let ended: Vec<(u64, u32, Option<String>)> = tasks
            .iter()
            .zip(&outcomes)
            .filter_map(|(task, outcome)| match outcome {
                Outcome::Failed(failure) => Some((task.seq, task.attempt, Some(failure.to_string()))),
                Outcome::Done(_) if task.attempt > 1 => Some((task.seq, task.attempt, None)),
                Outcome::Done(_) | Outcome::NotTried => None,
            })
            .collect();
        let tally = self.window.finish(batch, outcomes, self.now);
        for (seq, attempt, error) in ended {
            let is_counted = error.is_none() || tally.failed.iter().any(|failed| failed.seq == seq);
            ensure(is_counted, || format!("the failure of {seq} was not counted"))?;
            self.failing_since.entry(seq).or_insert(self.up);
            self.untold.entry(seq).or_default().push((attempt, error));
        }
        Ok(())
    }

    fn evict(&mut self) {
        let Some(how) = self.how else { return };
        // As far as to rows that have not been read.
        let next = (self.overdue + self.rng.u64(0..30)).min(self.window.loaded() + 20);
        self.overdue = self.overdue.max(next.min(self.items.len() as u64));
        self.window.evict(self.overdue, how, "it is overdue");
    }

    fn plan(&mut self) -> Result<(), String> {
        if self.commit.is_some() {
            return Ok(());
        }
        self.commit = self.window.plan(self.now);
        let Some(plan) = &self.commit else { return Ok(()) };
        // What it tells of each item is all there was since it was told of last, or the end of that.
        let mut told: BTreeMap<u64, Vec<Seen>> = BTreeMap::new();
        for attempt in &plan.attempts {
            told.entry(attempt.seq).or_default().push((attempt.n, attempt.error.clone()));
        }
        for (seq, told) in told {
            let seen = self.untold.remove(&seq).unwrap_or_default();
            let before = self.durable.told.get(&seq).copied().unwrap_or(0);
            let is_whole = (before + 1..).zip(&seen).all(|(n, seen)| n == seen.0);
            ensure(is_whole, || format!("told of {seq} were {before} attempts, and then come {seen:?}"))?;
            let last = &seen[seen.len().saturating_sub(MAX_UNTOLD)..];
            ensure(told == last, || format!("the attempts of {seq} are told as {told:?}, and were {seen:?}"))?;
        }
        let checkpoint = plan.checkpoint;
        let forgotten = self.untold.iter().find(|&(&seq, _)| seq <= checkpoint);
        ensure(forgotten.is_none(), || format!("the checkpoint is {checkpoint}, and untold is {forgotten:?}"))
    }

    fn commit_step(&mut self) -> Result<(), String> {
        if let Some(plan) = self.commit.take() {
            self.apply(plan)?;
            self.window.committed();
        }
        Ok(())
    }

    /// One transaction.
    fn apply(&mut self, plan: Plan<u64>) -> Result<(), String> {
        self.run.commits += 1;
        let up = self.up;
        let durable = &mut self.durable;
        ensure(plan.checkpoint >= durable.checkpoint, || "the checkpoint falls".into())?;
        for attempt in plan.attempts {
            let last = durable.told.insert(attempt.seq, attempt.n).unwrap_or(0);
            ensure(last < attempt.n, || format!("attempt {} of {} after {last}", attempt.n, attempt.seq))?;
            self.run.told += 1;
        }
        if let Some(skipped) = plan.skipped {
            ensure(skipped.last <= self.overdue, || format!("{skipped:?} is more than has to go"))?;
            durable.skipped.push((skipped.first, skipped.last));
        }
        for dead in &plan.evicted {
            ensure(dead.seq <= self.overdue, || format!("{} is let go of, and need not go", dead.seq))?;
            self.run.buried += 1;
        }
        for seq in &plan.settled {
            ensure(durable.pending.remove(seq).is_some(), || format!("{seq} is settled, and was not pending"))?;
        }
        for dead in plan.dead.iter().filter(|dead| dead.reason.contains("of failing")) {
            let (since, limit) = (self.failing_since[&dead.seq], self.options.give_up_after);
            let is_old = limit.is_some_and(|limit| up.saturating_sub(since) >= limit);
            ensure(is_old, || format!("{} is given up on too early: {dead:?}", dead.seq))?;
            self.run.aged += 1;
        }
        for dead in plan.dead.iter().chain(&plan.evicted) {
            ensure(durable.dead.insert(dead.seq), || format!("{} is dead twice", dead.seq))?;
        }
        for row in plan.pending {
            ensure(!durable.made.contains(&row.seq), || format!("{} is pending after it was done", row.seq))?;
            let since = self.failing_since.get(&row.seq);
            let oldest = since.map_or(Duration::ZERO, |&since| up.saturating_sub(since));
            ensure(row.age <= oldest, || format!("{row:?} is older than {oldest:?}"))?;
            ensure(row.attempt == durable.told.get(&row.seq).copied().unwrap_or(0), || {
                format!("{row:?}, and told is {:?}", durable.told.get(&row.seq))
            })?;
            durable.pending.insert(row.seq, row);
        }
        let before = durable.checkpoint;
        durable.checkpoint = plan.checkpoint;
        for (seq, made) in plan.made {
            ensure(made == seq, || format!("{seq} made what {made} should"))?;
            ensure(self.durable.made.insert(seq), || format!("the events of {seq} are appended twice"))?;
            if let Some(key) = &self.item(seq).key {
                let later =
                    self.durable.made.range(seq + 1..).find(|&&later| self.item(later).key.as_ref() == Some(key));
                ensure(later.is_none(), || format!("the events of {seq} come after those of {later:?}"))?;
            }
        }
        let durable = &self.durable;
        for &seq in &plan.settled {
            let is_over = durable.made.contains(&seq) || durable.dead.contains(&seq) || durable.is_skipped(seq);
            ensure(is_over, || format!("{seq} is settled, and nowhere"))?;
        }
        self.run.most_pending = self.run.most_pending.max(durable.pending.len());
        ensure(durable.pending.len() <= self.options.max_pending, || "more is pending than may be".into())?;
        for seq in before + 1..=durable.checkpoint {
            let homes = [durable.made.contains(&seq), durable.pending.contains_key(&seq), durable.dead.contains(&seq)];
            let n_homes = homes.iter().filter(|home| **home).count();
            let expected = usize::from(self.item(seq).is_selected && !durable.is_skipped(seq));
            ensure(n_homes == expected, || {
                format!("{seq} is up to the checkpoint, and (done, pending, dead) is {homes:?}")
            })?;
        }
        Ok(())
    }

    fn crash(&mut self) -> Result<(), String> {
        self.run.crashes += 1;
        if let Some(plan) = self.commit.take()
            && self.rng.bool()
        {
            self.apply(plan)?;
        }
        // The receivers may have got any part of what was under way.
        for (_, tasks) in std::mem::take(&mut self.busy) {
            let part = self.rng.usize(0..=tasks.len());
            self.receive(&tasks[..part])?;
        }
        self.untold.clear();
        // Its clock starts anew, and failures that were not stored never were.
        self.now.up = Duration::ZERO;
        let pending = &self.durable.pending;
        self.failing_since.retain(|seq, _| pending.get(seq).is_some_and(|row| row.attempt > 0));
        let pending = pending.values().cloned().collect();
        self.window = Window::new(self.options.clone(), self.durable.checkpoint, pending, self.rng.u64(..), self.now);
        if self.rng.bool() {
            self.evict();
        }
        Ok(())
    }

    fn pass_time(&mut self, span: Duration) {
        let Now { instant, wall, up } = self.now;
        let risen = if self.is_up { span } else { Duration::ZERO };
        self.up += risen;
        self.now = Now { instant: instant + span, wall: wall.after(span), up: up + risen };
    }

    /// One round of what the consumer does, without failures; where it would sleep, time passes.
    fn calm_step(&mut self) -> Result<(), String> {
        let before = (self.busy.len(), self.window.loaded(), self.run.commits);
        self.read()?;
        while self.busy.len() < self.lanes && self.window.n_ready() > 0 {
            self.start()?;
        }
        let had_busy = !self.busy.is_empty();
        self.end_batch()?;
        self.window.advance(self.now);
        self.plan()?;
        self.commit_step()?;
        let idle = !had_busy && before == (self.busy.len(), self.window.loaded(), self.run.commits);
        if idle && !self.is_finished() && self.window.n_ready() == 0 {
            let wake = self.window.next_wake().ok_or("no progress: nothing is under way, and no wake-up is set")?;
            self.pass_time(wake.saturating_duration_since(self.now.instant) + Duration::from_millis(1));
        }
        Ok(())
    }

    fn is_finished(&mut self) -> bool {
        let durable = &self.durable;
        self.run.dead = durable.dead.len();
        self.run.skipped =
            (1..=durable.checkpoint).filter(|&seq| self.item(seq).is_selected && durable.is_skipped(seq)).count();
        let is_over = |seq: u64| durable.made.contains(&seq) || durable.dead.contains(&seq) || durable.is_skipped(seq);
        self.durable.checkpoint == self.items.len() as u64
            && self.durable.pending.is_empty()
            && (1..=self.items.len() as u64).all(|seq| is_over(seq) || !self.item(seq).is_selected)
    }
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

#[test]
fn keeps_its_promises_through_crashes() {
    let mut total = Run::default();
    for seed in 0..seeds() {
        let run = simulate(seed, None).unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
        total.crashes += run.crashes;
        total.commits += run.commits;
        total.dead += run.dead;
        total.skipped += run.skipped;
        total.buried += run.buried;
        total.told += run.told;
        total.aged += run.aged;
        total.most_pending = total.most_pending.max(run.most_pending);
    }
    println!("{total:?}");
    // A model in which nothing happens would find nothing.
    assert!(total.crashes > 2000 && total.commits > 25_000 && total.dead > 1000, "{total:?}");
    assert!(total.skipped > 1000 && total.buried > 1000 && total.most_pending > 5, "{total:?}");
    assert!(total.told > 5000 && total.aged > 50, "{total:?}");
}

/// How many runs: more than usual by hand, with `MODEL_SEEDS=20000`.
fn seeds() -> u64 {
    std::env::var("MODEL_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(800)
}

#[test]
fn the_model_notices_what_is_broken() {
    for (flaw, what) in [
        (Flaw::FailureFreesItsKey, "overtakes"),
        (Flaw::DeathFreesItsKey, "overtakes"),
        (Flaw::PassesWhatRuns, "up to the checkpoint"),
        (Flaw::EvictionFreesItsKey, "overtakes"),
        (Flaw::JumpFreesAllKeys, "overtakes"),
    ] {
        let violations: Vec<String> = (0..100).filter_map(|seed| simulate(seed, Some(flaw)).err()).collect();
        assert!(violations.iter().any(|found| found.contains(what)), "{flaw:?}: {violations:?}");
    }
}
