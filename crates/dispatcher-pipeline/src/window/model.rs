//! A window against a simple model of its surroundings – a stream, a journal, lanes, receivers – with crashes at every
//! step.
//!
//! A crash forgets all memory and keeps what was committed; the commit under way may or may not have been applied, and
//! any part of what was under way may have been delivered. The model knows nothing of how a window works: it looks at
//! what starts, what is delivered and what is committed.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    time::{Duration, Instant},
};

use dispatcher_core::{Failure, Timestamp};
use dispatcher_journal::Pending;

use super::{Batch, Now, OrderKey, Outcome, Plan, Task, Window, WindowOptions};
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
}

impl Flaw {
    pub(super) fn frees_key(self, is_dead: bool) -> bool {
        match self {
            Flaw::FailureFreesItsKey => !is_dead,
            Flaw::DeathFreesItsKey => is_dead,
            Flaw::PassesWhatRuns => false,
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
}

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
    chaos: bool,
    run: Run,
}

fn simulate(seed: u64, flaw: Option<Flaw>) -> Result<Run, String> {
    let mut world = World::new(seed, flaw);
    for _ in 0..world.rng.usize(200..1500) {
        match world.rng.u32(0..100) {
            0..1 => world.crash()?,
            1..20 => world.read()?,
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
    world.chaos = false;
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
            attempts: rng.u32(1..6),
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
        let items = items.collect();
        let now = Now { instant: Instant::now(), wall: Timestamp::from_millis(1_000_000) };
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
            self.window.take(self.now)
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
                0..15 => Outcome::Failed(Failure::retry("try again")),
                15..18 => Outcome::Failed(Failure::permanent("no")),
                18..25 => Outcome::NotTried,
                _ if is_poison => Outcome::Failed(Failure::retry("poison")),
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

    fn deliver(&mut self, seq: u64) -> Result<(), String> {
        ensure(!self.durable.dead.contains(&seq), || format!("{seq} is delivered after it became a dead letter"))?;
        ensure(!self.durable.made.contains(&seq), || format!("{seq} is delivered after it was committed as done"))?;
        if let Some(key) = &self.item(seq).key {
            let earlier = (1..seq).filter(|&earlier| self.item(earlier).key.as_ref() == Some(key));
            for earlier in earlier.filter(|&earlier| self.item(earlier).is_selected) {
                let is_over = self.delivered.contains(&earlier) || self.durable.dead.contains(&earlier);
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
        self.window.finish(batch, outcomes, self.now);
        Ok(())
    }

    fn plan(&mut self) -> Result<(), String> {
        if self.commit.is_none() {
            self.commit = self.window.plan(self.now);
        }
        Ok(())
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
        let durable = &mut self.durable;
        ensure(plan.checkpoint >= durable.checkpoint, || "the checkpoint falls".into())?;
        for seq in &plan.settled {
            ensure(durable.pending.remove(seq).is_some(), || format!("{seq} is settled, and was not pending"))?;
        }
        for dead in &plan.dead {
            ensure(durable.dead.insert(dead.seq), || format!("{} is dead twice", dead.seq))?;
        }
        for row in plan.pending {
            ensure(!durable.made.contains(&row.seq), || format!("{} is pending after it was done", row.seq))?;
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
        self.run.most_pending = self.run.most_pending.max(durable.pending.len());
        ensure(durable.pending.len() <= self.options.max_pending, || "more is pending than may be".into())?;
        for seq in before + 1..=durable.checkpoint {
            let homes = [durable.made.contains(&seq), durable.pending.contains_key(&seq), durable.dead.contains(&seq)];
            let n_homes = homes.iter().filter(|home| **home).count();
            let expected = usize::from(self.item(seq).is_selected);
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
        let pending = self.durable.pending.values().cloned().collect();
        self.window = Window::new(self.options.clone(), self.durable.checkpoint, pending, self.rng.u64(..), self.now);
        Ok(())
    }

    fn pass_time(&mut self, span: Duration) {
        self.now = Now { instant: self.now.instant + span, wall: self.now.wall.after(span) };
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
        self.run.dead = self.durable.dead.len();
        let is_over = |seq: u64| self.durable.made.contains(&seq) || self.durable.dead.contains(&seq);
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
    let (mut crashes, mut commits, mut dead, mut pending) = (0, 0, 0, 0);
    for seed in 0..800 {
        let run = simulate(seed, None).unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
        crashes += run.crashes;
        commits += run.commits;
        dead += run.dead;
        pending = pending.max(run.most_pending);
    }
    // A model in which nothing happens would find nothing.
    assert!(crashes > 2000 && commits > 30_000 && dead > 1000 && pending > 5, "{crashes} {commits} {dead} {pending}");
}

#[test]
fn the_model_notices_what_is_broken() {
    for (flaw, what) in [
        (Flaw::FailureFreesItsKey, "overtakes"),
        (Flaw::DeathFreesItsKey, "overtakes"),
        (Flaw::PassesWhatRuns, "up to the checkpoint"),
    ] {
        let violations: Vec<String> = (0..100).filter_map(|seed| simulate(seed, Some(flaw)).err()).collect();
        assert!(violations.iter().any(|found| found.contains(what)), "{flaw:?}: {violations:?}");
    }
}
