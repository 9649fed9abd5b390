//! Whose failure it is: whether a consumer's plugin is up, down, parked or stopped. Pure, like the window.

use std::time::{Duration, Instant};

use dispatcher_core::Timestamp;

use crate::{
    Backoff,
    backoff::MAX_WISH,
    window::{FailedItem, Now, OrderKey},
};

/// So many different keys failing in a row are no longer the fault of the items.
const STREAK: usize = 8;

/// How a consumer's plugin is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It works.
    Up,
    /// It does not work now. Nothing is read, no attempt is used; its oldest item is tried again after a while.
    Down {
        /// Since when.
        since: Timestamp,
        /// What it said last.
        error: String,
    },
    /// A person said so, or it said itself that it is gone (410): nothing is read and nothing is tried until
    /// `dispatcher sinks resume NAME`.
    Parked {
        /// Since when.
        since: Timestamp,
        /// Why: what it said, or what the person did.
        error: String,
    },
    /// It does not run: it was blocked too often, or the journal takes no more.
    Stopped {
        /// Since when.
        since: Timestamp,
        /// Why.
        error: String,
    },
}

/// What may start now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum May {
    /// Whatever there is room for.
    All,
    /// One item, alone; the oldest after this seq.
    Probe(u64),
    /// Nothing.
    Nothing,
}

pub(crate) struct Health {
    backoff: Backoff,
    rng: fastrand::Rng,
    state: State,
    /// For how long it was up before `up_since`, which is set while it is up.
    up_before: Duration,
    up_since: Option<Instant>,
    streak: Vec<Failing>,
    /// While it is down:
    probe: Probe,
}

#[derive(Default)]
struct Probe {
    /// How many probes failed, and the failure that began it.
    failures: u32,
    /// When the next one starts.
    at: Option<Instant>,
    /// The batch that is one, and its item.
    under_way: Option<u64>,
    last_seq: u64,
}

#[derive(PartialEq, Eq)]
enum Failing {
    Key(OrderKey),
    /// An item without a key is like no other.
    Item(u64),
}

impl Failing {
    fn of(item: &FailedItem) -> Failing {
        item.key.clone().map_or(Failing::Item(item.seq), Failing::Key)
    }
}

impl Health {
    /// `parked`: since when it is parked, and why, if it is from the start.
    pub(crate) fn new(backoff: Backoff, seed: u64, parked: Option<(Timestamp, String)>, at: Instant) -> Health {
        let (state, up_since) = match parked {
            Some((since, error)) => (State::Parked { since, error }, None),
            None => (State::Up, Some(at)),
        };
        Health {
            backoff,
            rng: fastrand::Rng::with_seed(seed),
            state,
            up_before: Duration::ZERO,
            up_since,
            streak: Vec::new(),
            probe: Probe::default(),
        }
    }

    /// What all clocks say.
    pub(crate) fn now(&self) -> Now {
        self.now_at(Instant::now(), Timestamp::now())
    }

    /// The same, with what two of them say.
    pub(crate) fn now_at(&self, instant: Instant, wall: Timestamp) -> Now {
        let since = self.up_since.map_or(Duration::ZERO, |since| instant.saturating_duration_since(since));
        Now { instant, wall, up: self.up_before + since }
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    pub(crate) fn is_up(&self) -> bool {
        self.state == State::Up
    }

    pub(crate) fn is_down(&self) -> bool {
        matches!(self.state, State::Down { .. })
    }

    pub(crate) fn may_start(&self, now: Now) -> May {
        match self.state {
            State::Up => May::All,
            State::Down { .. } => match self.probe.at {
                Some(at) if at <= now.instant && self.probe.under_way.is_none() => May::Probe(self.probe.last_seq),
                _ => May::Nothing,
            },
            State::Parked { .. } | State::Stopped { .. } => May::Nothing,
        }
    }

    /// When the next probe is due, unless one is under way.
    pub(crate) fn next_probe(&self) -> Option<Instant> {
        self.probe.at.filter(|_| self.is_down() && self.probe.under_way.is_none())
    }

    /// A probe has started: this batch, with this item.
    pub(crate) fn probing(&mut self, batch: u64, seq: u64) {
        self.probe.under_way = Some(batch);
        self.probe.last_seq = seq;
    }

    /// Whether this batch is the probe.
    pub(crate) fn is_probe(&self, batch: u64) -> bool {
        self.probe.under_way == Some(batch)
    }

    /// It does not work. Returns whether that is news. A batch that started while it was up and came back later says
    /// nothing new.
    pub(crate) fn down(&mut self, batch: u64, error: String, wait: Option<Duration>, now: Now) -> bool {
        let is_news = match &mut self.state {
            State::Up => {
                self.leave(State::Down { since: now.wall, error }, now);
                true
            }
            State::Down { error: last, .. } if self.probe.under_way == Some(batch) => {
                *last = error;
                self.probe.under_way = None;
                false
            }
            State::Down { .. } | State::Parked { .. } | State::Stopped { .. } => return false,
        };
        self.probe.failures += 1;
        let backoff = self.backoff.wait(self.probe.failures, &mut self.rng);
        let wait = wait.map_or(backoff, |wait| wait.min(MAX_WISH).max(backoff));
        self.probe.at = Some(now.instant + wait);
        is_news
    }

    /// The probe could not start, by no fault of the plugin: another may at once.
    pub(crate) fn skip_probe(&mut self, now: Now) {
        self.probe.under_way = None;
        self.probe.at = Some(now.instant);
    }

    /// The probe worked.
    pub(crate) fn up(&mut self, now: Now) {
        self.leave(State::Up, now);
    }

    /// It is not to be tried any more. Returns whether that is news.
    pub(crate) fn park(&mut self, error: String, now: Now) -> bool {
        let is_news = matches!(self.state, State::Up | State::Down { .. });
        if is_news {
            self.leave(State::Parked { since: now.wall, error }, now);
        }
        is_news
    }

    /// It is to be tried again, as if it had never failed: one that is parked, or one that is down, at once. Returns
    /// whether that is news.
    pub(crate) fn resume(&mut self, now: Now) -> bool {
        let is_news = matches!(self.state, State::Parked { .. } | State::Down { .. });
        if is_news {
            self.leave(State::Up, now);
        }
        is_news
    }

    /// It does not run any more. Returns whether that is news.
    pub(crate) fn stop(&mut self, error: String, now: Now) -> bool {
        let is_news = !matches!(self.state, State::Stopped { .. });
        if is_news {
            self.leave(State::Stopped { since: now.wall, error }, now);
        }
        is_news
    }

    /// Changes the state, and forgets what belonged to the last one.
    fn leave(&mut self, state: State, now: Now) {
        self.up_before = now.up;
        self.up_since = (state == State::Up).then_some(now.instant);
        self.state = state;
        self.streak.clear();
        self.probe = Probe::default();
    }

    /// Something worked.
    pub(crate) fn succeeded(&mut self) {
        self.streak.clear();
    }

    /// Whether something of another key than this item's has failed, and nothing worked since.
    pub(crate) fn others_fail(&self, item: &FailedItem) -> bool {
        let failing = Failing::of(item);
        self.streak.iter().any(|other| *other != failing)
    }

    /// An item failed by its own fault; true when too many different ones have done so in a row.
    pub(crate) fn failed(&mut self, item: &FailedItem) -> bool {
        let failing = Failing::of(item);
        if !self.streak.contains(&failing) {
            self.streak.push(failing);
        }
        self.streak.len() >= STREAK
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health() -> (Health, Now) {
        let backoff = Backoff { first: Duration::from_secs(1), max: Duration::from_secs(60), factor: 2.0 };
        let health = Health::new(backoff, 1, None, Instant::now());
        let now = health.now_at(Instant::now(), Timestamp::from_millis(0));
        (health, now)
    }

    fn later(now: Now, span: Duration) -> Now {
        Now { instant: now.instant + span, wall: now.wall.after(span), up: now.up }
    }

    #[test]
    fn eight_different_keys_in_a_row_are_the_sinks_failure() {
        let (mut health, _) = health();
        let item = |seq, key: Option<u64>| FailedItem {
            seq,
            key: key.map(|key| OrderKey { app: key, key: "k".into() }),
            is_permanent: false,
            is_answered: false,
        };
        assert!((1..20).all(|seq| !health.failed(&item(seq, Some(1)))), "one key is one key");
        assert!((2..8).all(|key| !health.failed(&item(key, Some(key)))));
        health.succeeded();
        assert!((1..8).all(|seq| !health.failed(&item(seq, None))));
        assert!(health.failed(&item(8, None)));
    }

    #[test]
    fn a_sink_that_is_down_is_probed_one_item_at_a_time_until_one_works() {
        let (mut health, now) = health();
        assert!(health.down(4, "refused".into(), None, now), "news");
        assert!(!health.down(3, "refused".into(), None, now), "a lane that was under way");
        assert_eq!(health.may_start(later(now, Duration::from_secs(1))), May::Probe(0));
        health.probing(5, 77);
        let now = later(now, Duration::from_secs(1));
        assert_eq!(health.may_start(now), May::Nothing, "one probe at a time");
        assert!(!health.down(5, "still refused".into(), None, now));
        assert_eq!(health.may_start(later(now, Duration::from_secs(2))), May::Probe(77));
        health.up(now);
        assert_eq!(health.may_start(now), May::All);
    }

    #[test]
    fn a_wish_to_be_left_alone_is_followed_up_to_an_hour() {
        for (wish, secs) in [(90, 90), (100_000, 3600)] {
            let (mut health, now) = health();
            health.down(1, "busy".into(), Some(Duration::from_secs(wish)), now);
            assert_eq!(health.next_probe(), Some(now.instant + Duration::from_secs(secs)));
        }
    }

    #[test]
    fn a_parked_sink_stays_parked_until_it_is_resumed() {
        let (mut health, now) = health();
        health.down(1, "refused".into(), None, now);
        health.probing(2, 7);
        assert!(health.park("gone".into(), now));
        assert!(!health.park("gone again".into(), now));
        assert!(!health.down(2, "refused".into(), None, now));
        assert_eq!(health.may_start(later(now, MAX_WISH)), May::Nothing);
        assert!(health.resume(now));
        assert!(!health.resume(now), "once");
        assert_eq!(health.may_start(now), May::All);
        health.down(3, "refused".into(), None, now);
        let after = later(now, Duration::from_secs(2));
        assert_eq!(health.may_start(after), May::Probe(0), "the probe from before is forgotten");
    }

    #[test]
    fn it_can_start_parked_and_what_is_stopped_is_not_resumed() {
        let parked = Some((Timestamp::from_millis(5), "paused".to_owned()));
        let mut health = Health::new(Backoff::default(), 1, parked, Instant::now());
        let now = health.now();
        assert_eq!(health.state(), &State::Parked { since: Timestamp::from_millis(5), error: "paused".into() });
        assert_eq!(health.may_start(now), May::Nothing);
        health.stop("poisoned".into(), now);
        assert!(!health.resume(now));
    }

    #[test]
    fn the_up_clock_stands_still_while_it_is_not_up() {
        let (mut health, begin) = health();
        let at = |health: &Health, secs| health.now_at(begin.instant + Duration::from_secs(secs), begin.wall);
        let up = |health: &Health, secs| at(health, secs).up.saturating_sub(begin.up);
        assert_eq!(up(&health, 10), Duration::from_secs(10));
        health.down(1, "refused".into(), None, at(&health, 10));
        assert_eq!(up(&health, 100), Duration::from_secs(10));
        health.up(at(&health, 100));
        health.park("gone".into(), at(&health, 105));
        health.resume(at(&health, 1000));
        assert_eq!(up(&health, 1001), Duration::from_secs(16));
    }
}
