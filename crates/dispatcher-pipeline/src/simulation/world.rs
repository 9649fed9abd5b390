//! One consumer in virtual time: the real window, health, limiter and steering; a stream, a journal and a receiver that
//! are simulated. The loop is that of `consumer`, with every wait a step of the clock.

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    rc::Rc,
    time::{Duration, Instant},
};

use dispatcher_core::{Failure, Timestamp};
use dispatcher_journal::{Attempt, Pending};

use crate::{
    Backoff, State,
    health::Health,
    limiter::Limiter,
    steering::{self, Rate, Terms},
    window::{Batch, Now, OrderKey, Outcome, Plan, Window, WindowOptions},
    worker::Report,
};

/// How long a call may take: what does not answer is dropped then.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);

/// The most rows of one read.
const PAGE: usize = 512;

/// What a receiver does with one item.
pub(super) enum Answer {
    Take,
    Refuse(Failure),
    /// The sink's own failure, with its wish to be left alone.
    Down(&'static str, Option<Duration>),
    Gone,
    Hang,
}

/// A request, as the receiver sees it.
pub(super) struct Request {
    pub(super) seq: u64,
    pub(super) at: Duration,
    /// How many came before, of all items.
    pub(super) n: usize,
}

/// What happens at a certain time.
#[derive(Clone, Copy)]
pub(super) enum Action {
    Park,
    Resume,
    /// Moves the wall clock by so many milliseconds.
    Jump(i64),
    /// Forgets all that is not in the journal, and starts again.
    Crash,
}

/// What a run is made of.
pub(super) struct Plot {
    pub(super) lanes: usize,
    pub(super) rate: Option<f64>,
    pub(super) options: WindowOptions,
    /// When each item comes, and its key; in order of time.
    pub(super) arrivals: Vec<(Duration, Option<u64>)>,
    pub(super) actions: Vec<(Duration, Action)>,
}

impl Plot {
    /// A sink that takes its events one by one, with the defaults.
    pub(super) fn single(arrivals: Vec<(Duration, Option<u64>)>) -> Plot {
        let options = WindowOptions {
            max_items: 2048,
            max_bytes: 4 << 20,
            batch: 1,
            batch_bytes: 1 << 20,
            max_pending: 10_000,
            attempts: Some(20),
            give_up_after: Some(Duration::from_secs(72 * 3600)),
            backoff: Backoff::default(),
            park_after: Duration::from_secs(1),
            flaw: None,
        };
        Plot { lanes: 16, rate: None, options, arrivals, actions: Vec::new() }
    }
}

/// What came of a run.
#[derive(Default)]
pub(super) struct Story {
    /// Every request: when, which item, and whether it was taken.
    pub(super) requests: Vec<(Duration, u64, bool)>,
    /// When the requests of each item ended that failed by the item's own fault, or worked at last, by the journal.
    pub(super) attempts: BTreeMap<u64, Vec<Attempt>>,
    /// What the journal says is dead, with the reason.
    pub(super) dead: BTreeMap<u64, String>,
    /// The states, and since when.
    pub(super) states: Vec<(Duration, State)>,
}

impl Story {
    /// When an item was taken first.
    pub(super) fn taken(&self) -> BTreeMap<u64, Duration> {
        let mut taken = BTreeMap::new();
        for &(at, seq, is_taken) in &self.requests {
            if is_taken {
                taken.entry(seq).or_insert(at);
            }
        }
        taken
    }

    /// When each attempt ended that was counted and failed, by the journal; only where the clock does not jump.
    pub(super) fn failures(&self) -> impl Iterator<Item = Duration> {
        let failed = self.attempts.values().flatten().filter(|attempt| attempt.error.is_some());
        failed.map(|attempt| attempt.at.since(Timestamp::from_millis(WALL)))
    }

    pub(super) fn was_down(&self) -> bool {
        self.states.iter().any(|(_, state)| matches!(state, State::Down { .. }))
    }
}

struct Lane {
    ends_at: Duration,
    batch: Batch,
    report: Report<()>,
}

struct World<'a, R: FnMut(&Request) -> Answer> {
    plot: &'a Plot,
    receiver: R,
    rng: fastrand::Rng,
    begin: Instant,
    /// Since `begin`, and what has been added to the wall clock by jumps.
    time: Duration,
    jumped: i64,
    arrived: u64,
    actions: VecDeque<(Duration, Action)>,
    window: Window<u64, ()>,
    health: Health,
    rate: Rate,
    lanes: Vec<Lane>,
    commit: Option<(Duration, Plan<()>)>,
    checkpoint: u64,
    pending: BTreeMap<u64, Pending>,
    story: Story,
}

/// Runs until every item is done or dead, and checks what holds for every run: that nothing is lost, that first deliveries
/// are in order per key, and that the journal knows every attempt.
pub(super) fn run(plot: &Plot, seed: u64, receiver: impl FnMut(&Request) -> Answer) -> Story {
    let mut rng = fastrand::Rng::with_seed(seed);
    let begin = Instant::now();
    let health = Health::new(plot.options.backoff, rng.u64(..), None, begin);
    let now = health.now_at(begin, Timestamp::from_millis(WALL));
    let mut world = World {
        plot,
        receiver,
        begin,
        time: Duration::ZERO,
        jumped: 0,
        arrived: 0,
        actions: plot.actions.iter().copied().collect(),
        window: Window::new(plot.options.clone(), 0, Vec::new(), rng.u64(..), now),
        health,
        rate: plot.rate.map(|rate| Rc::new(RefCell::new(Limiter::new(rate, begin)))).into_iter().collect(),
        rng,
        lanes: Vec::new(),
        commit: None,
        checkpoint: 0,
        pending: BTreeMap::new(),
        story: Story::default(),
    };
    // Far more than any of these needs: a run that stands still is a fault.
    for _ in 0..5_000_000 {
        if !world.step() {
            world.check();
            return world.story;
        }
    }
    panic!("seed {seed}: no end at {:?}, and the state is {:?}", world.time, world.health.state());
}

const WALL: i64 = 1_800_000_000_000;

impl<R: FnMut(&Request) -> Answer> World<'_, R> {
    fn now(&self) -> Now {
        let wall = WALL + self.jumped + self.time.as_millis() as i64;
        self.health.now_at(self.begin + self.time, Timestamp::from_millis(wall))
    }

    /// One turn of the loop; false when all is done.
    fn step(&mut self) -> bool {
        while self.actions.front().is_some_and(|(at, _)| *at <= self.time) {
            if let Some((_, action)) = self.actions.pop_front() {
                self.act(action);
            }
        }
        self.arrived += self.plot.arrivals[self.arrived as usize..].partition_point(|(at, _)| *at <= self.time) as u64;
        while let Some(at) = self.lanes.iter().position(|lane| lane.ends_at <= self.time) {
            let Lane { batch, report, .. } = self.lanes.swap_remove(at);
            let now = self.now();
            steering::end(
                &mut self.window,
                &mut self.health,
                batch,
                report,
                Terms { permanent_counts: true, ..Terms::default() },
                now,
            );
            self.note_state();
        }
        if self.commit.as_ref().is_some_and(|(at, _)| *at <= self.time) {
            self.apply();
        }
        let now = self.now();
        self.window.advance(now);
        while self.lanes.len() < self.plot.lanes {
            let Some((batch, tasks)) = steering::take(&mut self.window, &mut self.health, &self.rate, now) else {
                break;
            };
            let seqs = tasks.iter().map(|task| task.seq).collect();
            self.work(batch, seqs);
        }
        if self.commit.is_none()
            && let Some(plan) = self.window.plan(now)
        {
            self.commit = Some((self.time + Duration::from_micros(self.rng.u64(500..5000)), plan));
        }
        if self.read() {
            return true;
        }
        let has_all = self.checkpoint == self.plot.arrivals.len() as u64 && self.pending.is_empty();
        if has_all && self.actions.is_empty() {
            return false;
        }
        self.sleep();
        true
    }

    fn read(&mut self) -> bool {
        if !steering::may_read(&self.window, &self.health) {
            return false;
        }
        let rows = self.window.room().min(PAGE).min((self.arrived - self.window.loaded()) as usize);
        for _ in 0..rows {
            let seq = self.window.loaded() + 1;
            let key = self.plot.arrivals[seq as usize - 1].1.map(key);
            self.window.push(seq, key.as_ref(), 500, seq);
        }
        rows > 0
    }

    /// Where the consumer would wait, time passes.
    fn sleep(&mut self) {
        let is_idle = self.lanes.len() < self.plot.lanes;
        let next_start = is_idle.then(|| steering::next_start(&self.window, &self.health, &self.rate)).flatten();
        let wakes = self.window.next_wake().into_iter().chain(next_start).map(|at| at.duration_since(self.begin));
        let others = [
            self.lanes.iter().map(|lane| lane.ends_at).min(),
            self.commit.as_ref().map(|(at, _)| *at),
            self.plot.arrivals.get(self.arrived as usize).map(|(at, _)| *at),
            self.actions.front().map(|(at, _)| *at),
        ];
        let wake = wakes.chain(others.into_iter().flatten()).min();
        let wake = wake.expect("it sleeps, is not done, and nothing will wake it");
        // A timer may be late, and by how much is nobody's business.
        self.time = self.time.max(wake) + Duration::from_micros(self.rng.u64(0..500));
    }

    fn work(&mut self, batch: Batch, seqs: Vec<u64>) {
        let mut took = Duration::from_millis(self.rng.u64(5..40));
        let mut outcomes = Vec::new();
        let mut report = None;
        for seq in seqs {
            let request = Request { seq, at: self.time, n: self.story.requests.len() };
            let answer = (self.receiver)(&request);
            self.story.requests.push((self.time, seq, matches!(answer, Answer::Take)));
            match answer {
                Answer::Take => outcomes.push(Outcome::Done(())),
                Answer::Refuse(failure) => outcomes.push(Outcome::Failed(failure)),
                Answer::Hang => {
                    took = TIMEOUT;
                    outcomes.push(Outcome::Failed(Failure::retry("no answer in time")));
                }
                Answer::Down(error, wait) => report = Some(Report::Down { error: error.into(), wait, alone: false }),
                Answer::Gone => report = Some(Report::Gone { error: "status 410".into() }),
            }
        }
        let report = report.unwrap_or(Report::Tried(outcomes));
        self.lanes.push(Lane { ends_at: self.time + took, batch, report });
    }

    fn apply(&mut self) {
        let Some((_, plan)) = self.commit.take() else { return };
        self.checkpoint = plan.checkpoint;
        for seq in plan.settled {
            self.pending.remove(&seq);
        }
        for attempt in plan.attempts {
            self.story.attempts.entry(attempt.seq).or_default().push(attempt);
        }
        self.pending.extend(plan.pending.into_iter().map(|row| (row.seq, row)));
        self.story.dead.extend(plan.dead.into_iter().map(|dead| (dead.seq, dead.reason)));
        self.window.committed();
    }

    fn act(&mut self, action: Action) {
        let now = self.now();
        match action {
            Action::Park => _ = self.health.park("paused".into(), now),
            Action::Resume => _ = self.health.resume(now),
            Action::Jump(millis) => self.jumped += millis,
            Action::Crash => {
                self.lanes.clear();
                self.commit = None;
                self.health = Health::new(self.plot.options.backoff, self.rng.u64(..), None, now.instant);
                let (pending, now) = (self.pending.values().cloned().collect(), self.now());
                let (options, seed) = (self.plot.options.clone(), self.rng.u64(..));
                self.window = Window::new(options, self.checkpoint, pending, seed, now);
            }
        }
        self.note_state();
    }

    fn note_state(&mut self) {
        let state = self.health.state();
        if self
            .story
            .states
            .last()
            .is_none_or(|(_, last)| std::mem::discriminant(last) != std::mem::discriminant(state))
        {
            self.story.states.push((self.time, state.clone()));
        }
    }

    fn check(&self) {
        let (story, taken) = (&self.story, self.story.taken());
        let mut last: BTreeMap<u64, Duration> = BTreeMap::new();
        for (seq, (_, key)) in (1..).zip(&self.plot.arrivals) {
            let Some(&at) = taken.get(&seq) else {
                assert!(story.dead.contains_key(&seq), "{seq} is neither delivered nor dead");
                continue;
            };
            assert!(!story.dead.contains_key(&seq), "{seq} was delivered, and is dead");
            if let Some(key) = key {
                let before = last.insert(*key, at);
                assert!(before.is_none_or(|before| before <= at), "{seq} came before an earlier one of its key");
            }
        }
        for (seq, attempts) in &story.attempts {
            assert!((1..).zip(attempts).all(|(n, attempt)| n == attempt.n), "of {seq} is told {attempts:?}");
            let is_done = attempts.last().is_some_and(|last| last.error.is_none());
            assert_eq!(is_done, !story.dead.contains_key(seq), "of {seq} is told {attempts:?}");
        }
    }
}

pub(super) fn key(n: u64) -> OrderKey {
    OrderKey { app: 1, key: format!("group-{n}").as_str().into() }
}
