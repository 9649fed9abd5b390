//! Whose failure it is: whether a consumer's plugin is up, down, parked or stopped. Pure, like the window.

use std::time::{Duration, Instant};

use dispatcher_core::Timestamp;

use crate::{
    Backoff,
    window::{FailedItem, Now, OrderKey},
};

/// So many different keys failing in a row are no longer the fault of the items.
const STREAK: usize = 8;

/// The longest that a plugin's wish to be left alone is followed.
const MAX_WAIT: Duration = Duration::from_secs(3600);

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
    /// It will not work until a person does something; it is tried again at the next start.
    Parked {
        /// Since when.
        since: Timestamp,
        /// What it said.
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

impl Health {
    pub(crate) fn new(backoff: Backoff, seed: u64) -> Health {
        let rng = fastrand::Rng::with_seed(seed);
        Health { backoff, rng, state: State::Up, streak: Vec::new(), probe: Probe::default() }
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
                self.state = State::Down { since: now.wall, error };
                self.probe = Probe::default();
                self.streak.clear();
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
        let wait = wait.map_or(backoff, |wait| wait.min(MAX_WAIT).max(backoff));
        self.probe.at = Some(now.instant + wait);
        is_news
    }

    /// The probe could not start, by no fault of the plugin: another may at once.
    pub(crate) fn skip_probe(&mut self, now: Now) {
        self.probe.under_way = None;
        self.probe.at = Some(now.instant);
    }

    /// The probe worked.
    pub(crate) fn up(&mut self) {
        self.state = State::Up;
        self.streak.clear();
        self.probe = Probe::default();
    }

    pub(crate) fn park(&mut self, error: String, now: Now) -> bool {
        let is_news = matches!(self.state, State::Up | State::Down { .. });
        if is_news {
            self.state = State::Parked { since: now.wall, error };
        }
        is_news
    }

    /// Someone says that it may work again.
    pub(crate) fn resume(&mut self) -> bool {
        let is_news = matches!(self.state, State::Parked { .. });
        if is_news {
            self.up();
        }
        is_news
    }

    pub(crate) fn stop(&mut self, error: String, now: Now) -> bool {
        let is_news = !matches!(self.state, State::Stopped { .. });
        if is_news {
            self.state = State::Stopped { since: now.wall, error };
        }
        is_news
    }

    /// Something worked.
    pub(crate) fn succeeded(&mut self) {
        self.streak.clear();
    }

    /// An item failed by its own fault; true when too many different ones have done so in a row.
    pub(crate) fn failed(&mut self, item: &FailedItem) -> bool {
        let failing = item.key.clone().map_or(Failing::Item(item.seq), Failing::Key);
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
        (Health::new(backoff, 1), Now { instant: Instant::now(), wall: Timestamp::from_millis(0) })
    }

    fn later(now: Now, span: Duration) -> Now {
        Now { instant: now.instant + span, wall: now.wall.after(span) }
    }

    #[test]
    fn eight_different_keys_in_a_row_are_the_sinks_failure() {
        let (mut health, _) = health();
        let item = |seq, key: Option<u64>| FailedItem {
            seq,
            key: key.map(|key| OrderKey { app: key, key: "k".into() }),
            is_permanent: false,
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
        health.up();
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
    fn a_parked_sink_stays_parked() {
        let (mut health, now) = health();
        assert!(health.park("gone".into(), now));
        assert!(!health.down(1, "refused".into(), None, now));
        assert_eq!(health.may_start(later(now, MAX_WAIT)), May::Nothing);
    }
}
