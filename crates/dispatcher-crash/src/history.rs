//! One history of a trial: what was sent and how it was answered, and what each receiver got, in order.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// The best answer that a callback got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Answer {
    /// None, or a broken one: it may be stored or not.
    None,
    /// A refusal because time ran out, as on a slow machine: as below, and nothing has failed.
    Late,
    /// A refusal: it may be stored or not, and a later one may be stored before it.
    Refused,
    /// It was acknowledged: it must not be lost.
    Ok,
}

/// A callback that was sent. Its number is its own in the whole trial, and grows within a key.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The key, one of few.
    pub key: usize,
    /// What was answered.
    pub answer: Answer,
    /// Whether it was sent more than once.
    pub is_repeated: bool,
    /// How many starts of the dispatcher there were before it was sent first, and after it was last answered. Where the two
    /// are the same, a repeat must have been recognised.
    pub starts: (u64, u64),
}

/// A callback as it arrived at the far end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The number that it carries.
    pub number: u64,
    /// The key that it carries.
    pub key: usize,
    /// The id of its event.
    pub event: String,
    /// Whether the receiver took it: it must not be lost from then on.
    pub is_taken: bool,
    /// Whether it is there by chance: a power cut has left it in a file, though nobody was told that it is safe. It says
    /// nothing of the order in which things were delivered.
    pub is_chance: bool,
}

/// Everything that happened, as the far ends saw it.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// By number.
    pub sent: HashMap<u64, Sent>,
    /// By receiver, in order of arrival.
    pub delivered: HashMap<&'static str, Vec<Delivery>>,
    /// What receivers got and could not make sense of.
    pub nonsense: Vec<String>,
}

/// The history while it is being made, by several threads.
pub(crate) struct History {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    record: Record,
    next: u64,
    starts: u64,
    n_ok: u64,
    /// When a refusal was first received, since someone last asked to be told.
    refused_at: Option<Instant>,
    /// Callbacks that were sent after that, and acknowledged all the same.
    n_ok_after_refusal: u64,
    /// Numbers that each receiver has taken.
    taken: HashMap<&'static str, HashSet<u64>>,
    last_delivery: Option<Instant>,
}

impl History {
    pub(crate) fn new(first_number: u64) -> History {
        History { inner: Mutex::new(Inner { next: first_number, ..Inner::default() }) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new callback of this key is about to be sent.
    pub(crate) fn send(&self, key: usize) -> u64 {
        let mut inner = self.lock();
        let number = inner.next;
        inner.next += 1;
        let starts = inner.starts;
        inner
            .record
            .sent
            .insert(number, Sent { key, answer: Answer::None, is_repeated: false, starts: (starts, starts) });
        number
    }

    /// A callback is about to be sent again.
    pub(crate) fn repeat(&self, number: u64) {
        if let Some(sent) = self.lock().record.sent.get_mut(&number) {
            sent.is_repeated = true;
        }
    }

    /// What was answered to a callback that was sent at this moment, first or again.
    pub(crate) fn answered(&self, number: u64, sent_at: Instant, answer: Answer) {
        let mut inner = self.lock();
        match answer {
            Answer::Ok => {
                inner.n_ok += 1;
                if inner.refused_at.is_some_and(|refused_at| refused_at < sent_at) {
                    inner.n_ok_after_refusal += 1;
                }
            }
            Answer::Refused => {
                inner.refused_at.get_or_insert_with(Instant::now);
            }
            Answer::None | Answer::Late => {}
        }
        let starts = inner.starts;
        if let Some(sent) = inner.record.sent.get_mut(&number) {
            sent.answer = sent.answer.max(answer);
            sent.starts.1 = starts;
        }
    }

    /// The dispatcher is about to be started.
    pub(crate) fn starting(&self) {
        self.lock().starts += 1;
    }

    pub(crate) fn delivered(&self, receiver: &'static str, delivery: Delivery) {
        let mut inner = self.lock();
        inner.last_delivery = Some(Instant::now());
        if delivery.is_taken {
            inner.taken.entry(receiver).or_default().insert(delivery.number);
        }
        inner.record.delivered.entry(receiver).or_default().push(delivery);
    }

    pub(crate) fn nonsense(&self, what: String) {
        self.lock().record.nonsense.push(what);
    }

    /// OKs so far, those of repeats counted as well.
    pub(crate) fn n_ok(&self) -> u64 {
        self.lock().n_ok
    }

    /// Watches for OKs after a refusal from now on.
    pub(crate) fn forget_refusals(&self) {
        let mut inner = self.lock();
        inner.refused_at = None;
        inner.n_ok_after_refusal = 0;
    }

    /// Whether something was refused since.
    pub(crate) fn has_refused(&self) -> bool {
        self.lock().refused_at.is_some()
    }

    pub(crate) fn n_ok_after_refusal(&self) -> u64 {
        self.lock().n_ok_after_refusal
    }

    /// About how many callbacks are acknowledged and not yet taken by the slowest of these receivers.
    pub(crate) fn backlog(&self, receivers: &[&'static str]) -> u64 {
        let inner = self.lock();
        let taken = |receiver: &&'static str| inner.taken.get(receiver).map_or(0, |taken| taken.len() as u64);
        inner.n_ok.saturating_sub(receivers.iter().map(taken).min().unwrap_or(0))
    }

    /// How many acknowledged callbacks one of these receivers has not taken yet.
    pub(crate) fn missing(&self, receivers: &[&'static str]) -> usize {
        let inner = self.lock();
        let is_missing = |number: &u64| {
            receivers.iter().any(|receiver| !inner.taken.get(receiver).is_some_and(|taken| taken.contains(number)))
        };
        inner.record.sent.iter().filter(|(number, sent)| sent.answer == Answer::Ok && is_missing(number)).count()
    }

    /// How long ago something arrived last.
    pub(crate) fn quiet_for(&self) -> Duration {
        self.lock().last_delivery.map_or(Duration::MAX, |at| at.elapsed())
    }

    pub(crate) fn record(&self) -> Record {
        self.lock().record.clone()
    }
}
