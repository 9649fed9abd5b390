//! How many requests ended how.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use dispatcher_tally::{Distribution, Histogram, Round};
use dispatcher_tls::{Certificate, Tls};

use crate::{
    AppCount, Refusal,
    app_counts::{self, Apps},
    places::Places,
};

/// From a request's head to its reply, in microseconds: fine where it should be, and around what Tencent waits.
const ANSWER_TIMES: [i64; 18] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 750_000, 1_000_000, 1_250_000,
    1_500_000, 1_750_000, 1_900_000, 2_000_000,
];

/// By how much a `RequestTime`, which has whole seconds, is behind this machine's clock, in microseconds.
const CLOCK_SKEWS: [i64; 14] = [
    -300_000_000,
    -60_000_000,
    -30_000_000,
    -10_000_000,
    -5_000_000,
    -2_000_000,
    0,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
];

/// What the intake has counted since it started. Each worker counts for itself, and reading adds up.
pub struct Counters {
    workers: Vec<Arc<Tally>>,
    places: Arc<Places>,
    tls: ArcSwapOption<Tls>, // What connections speak TLS with from now on.
}

/// How a request or a connection ended, unless it was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// A callback was answered OK once it was durable.
    Accepted,
    /// A callback that wants a decision was answered.
    Decided,
    /// Of the callback just counted as `Decided`, the journal did not take the record.
    Unrecorded,
    /// A callback could not be stored in time, and its request was kept open past what Tencent waits.
    Held,
    /// Of a callback that is also counted otherwise: its signature came with another callback before.
    SignatureReused,
    /// A callback was answered OK and not stored, as its command's rule says.
    NotJournaled,
    /// A console tried out the URL.
    Probe,
    /// A connection was opened.
    Connection,
    /// As many connections were open as may be, so that the next had to wait.
    Full,
    /// A connection was closed because its address has as many as it may.
    AddressFull,
    /// A connection was closed because the head of a request took too long.
    HeadLate,
    /// A connection was closed because it was idle for too long.
    Idle,
    /// A connection was closed because the peer did not read its reply.
    ReplyUnread,
    /// A connection was closed because what it sent was not HTTP.
    NotHttp,
    /// A connection was closed because a request's head was too large, or had too many lines.
    HeadTooLarge,
    /// A connection was closed because its TLS handshake failed: not TLS, an old version, no or a wrong certificate.
    TlsFailed,
    /// A connection was closed because it should begin with a PROXY header, and its peer is none of the proxies.
    ProxyUnknown,
    /// A connection of a proxy was closed because it began with no PROXY header, or with one that is malformed or too long.
    ProxyHeader,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Outcome; 18] = [
        Outcome::Accepted,
        Outcome::Decided,
        Outcome::Unrecorded,
        Outcome::Held,
        Outcome::SignatureReused,
        Outcome::NotJournaled,
        Outcome::Probe,
        Outcome::Connection,
        Outcome::Full,
        Outcome::AddressFull,
        Outcome::HeadLate,
        Outcome::Idle,
        Outcome::ReplyUnread,
        Outcome::NotHttp,
        Outcome::HeadTooLarge,
        Outcome::TlsFailed,
        Outcome::ProxyUnknown,
        Outcome::ProxyHeader,
    ];

    /// Its name in a snapshot.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Accepted => "accepted",
            Outcome::Decided => "decided",
            Outcome::Unrecorded => "unrecorded",
            Outcome::Held => "held",
            Outcome::SignatureReused => "signatures_reused",
            Outcome::NotJournaled => "not_journaled",
            Outcome::Probe => "probes",
            Outcome::Connection => "connections",
            Outcome::Full => "full",
            Outcome::AddressFull => "address_full",
            Outcome::HeadLate => "head_late",
            Outcome::Idle => "idle",
            Outcome::ReplyUnread => "reply_unread",
            Outcome::NotHttp => "not_http",
            Outcome::HeadTooLarge => "head_too_large",
            Outcome::TlsFailed => "tls_failed",
            Outcome::ProxyUnknown => "proxy_unknown",
            Outcome::ProxyHeader => "proxy_header",
        }
    }
}

/// What an answer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Road {
    /// A decision.
    Before,
    /// That the callback is durable.
    After,
}

impl Counters {
    pub(crate) fn new(workers: Vec<Arc<Tally>>, places: Arc<Places>) -> Counters {
        Counters { workers, places, tls: ArcSwapOption::empty() }
    }

    /// Notes what connections speak TLS with from now on.
    pub(crate) fn set_tls(&self, tls: Option<&Tls>) {
        self.tls.store(tls.cloned().map(Arc::new));
    }

    /// The certificates that are shown, everybody's first; none without TLS.
    #[must_use]
    pub fn certificates(&self) -> Vec<Certificate> {
        self.tls.load().as_ref().map(|tls| tls.certificates().to_vec()).unwrap_or_default()
    }

    /// How often this happened.
    #[must_use]
    pub fn count(&self, outcome: Outcome) -> u64 {
        self.workers.iter().map(|tally| tally.outcomes[outcome as usize].load(Relaxed)).sum()
    }

    /// How many connections are open.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.workers.iter().map(|tally| tally.n_connections.load(Relaxed)).sum()
    }

    /// How many may be open: what is configured, or fewer where the system allows fewer open files.
    #[must_use]
    pub fn max_connections(&self) -> usize {
        self.places.limit()
    }

    /// What came from each app that was ever configured since the start, by name.
    #[must_use]
    pub fn apps(&self) -> Vec<AppCount> {
        app_counts::sum(self.workers.iter().map(|tally| &tally.apps))
    }

    /// How long ago the thread came round that has done so least recently; each does every tenth of a second at least, whatever
    /// it has to do. Zero once they have ended. Much more means that one of them hangs, and its connections with it.
    #[must_use]
    pub fn longest_silence(&self) -> Duration {
        self.workers.iter().map(|tally| tally.round.age()).max().unwrap_or_default()
    }

    /// How many requests were refused for this.
    #[must_use]
    pub fn refused(&self, refusal: Refusal) -> u64 {
        self.workers.iter().map(|tally| tally.refusals[place(refusal)].load(Relaxed)).sum()
    }

    /// How long the slowest answer to a callback that wants a decision took, from the request's head to the reply.
    #[must_use]
    pub fn longest_decision(&self) -> Duration {
        Duration::from_micros(self.workers.iter().map(|tally| tally.longest_decision.load(Relaxed)).max().unwrap_or(0))
    }

    /// How long the answers to verified callbacks took, from a request's head to its reply, in microseconds; those that were
    /// refused are among them.
    #[must_use]
    pub fn snapshot_answer_times(&self, road: Road) -> Distribution {
        Distribution::of(self.workers.iter().map(|tally| &tally.answer_times[road as usize]))
    }

    /// How many of those took longer than Tencent waits, which is two seconds.
    #[must_use]
    pub fn late_answers(&self, road: Road) -> u64 {
        self.snapshot_answer_times(road).counts.last().copied().unwrap_or_default()
    }

    /// By how much the `RequestTime` of rightly signed requests was behind this machine's clock, in microseconds; ahead of
    /// it, where that is less than nothing. Stale ones are among them.
    #[must_use]
    pub fn snapshot_clock_skew(&self) -> Distribution {
        Distribution::of(self.workers.iter().map(|tally| &tally.clock_skew))
    }

    /// All counts by name, outcomes first.
    #[must_use]
    pub fn snapshot(&self) -> Vec<(&'static str, u64)> {
        let outcomes = Outcome::ALL.iter().map(|&outcome| (outcome.name(), self.count(outcome)));
        let refusals = Refusal::ALL.iter().map(|&refusal| (refusal.name(), self.refused(refusal)));
        outcomes.chain(refusals).collect()
    }
}

/// One worker's counts. On cache lines of its own, so that workers do not slow each other down.
#[repr(align(128))]
pub(crate) struct Tally {
    outcomes: [AtomicU64; Outcome::ALL.len()],
    refusals: [AtomicU64; Refusal::ALL.len()],
    longest_decision: AtomicU64,  // In microseconds.
    answer_times: [Histogram; 2], // By road.
    clock_skew: Histogram,
    pub(crate) n_connections: AtomicUsize,
    pub(crate) apps: Apps,
    pub(crate) round: Round,
}

impl Default for Tally {
    fn default() -> Tally {
        Tally {
            outcomes: Default::default(),
            refusals: Default::default(),
            longest_decision: AtomicU64::new(0),
            answer_times: [Histogram::new(&ANSWER_TIMES), Histogram::new(&ANSWER_TIMES)],
            clock_skew: Histogram::new(&CLOCK_SKEWS),
            n_connections: AtomicUsize::new(0),
            apps: Apps::default(),
            round: Round::default(),
        }
    }
}

impl Tally {
    pub(crate) fn count(&self, outcome: Outcome) {
        self.outcomes[outcome as usize].fetch_add(1, Relaxed);
    }

    /// Notes how long an answer took.
    pub(crate) fn answered_in(&self, road: Road, time: Duration) {
        self.answer_times[road as usize].record_time(time);
    }

    /// Notes by how many milliseconds a `RequestTime` is behind.
    pub(crate) fn skewed_by(&self, millis: i64) {
        self.clock_skew.record(millis.saturating_mul(1000));
    }

    /// Notes how long an answer to a callback that wants a decision took.
    pub(crate) fn decided_in(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        // Only this worker writes here.
        if micros > self.longest_decision.load(Relaxed) {
            self.longest_decision.store(micros, Relaxed);
        }
    }

    pub(crate) fn refuse(&self, refusal: Refusal) {
        self.refusals[place(refusal)].fetch_add(1, Relaxed);
    }
}

fn place(refusal: Refusal) -> usize {
    Refusal::ALL.iter().position(|&one| one == refusal).expect("ALL has every refusal")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_up_what_the_workers_counted() {
        let workers = vec![Arc::new(Tally::default()), Arc::new(Tally::default())];
        for tally in &workers {
            Outcome::ALL.into_iter().for_each(|outcome| tally.count(outcome));
            Refusal::ALL.into_iter().for_each(|refusal| tally.refuse(refusal));
        }
        let places = Arc::new(Places::new(&crate::IntakeOptions::default()));
        let snapshot = Counters::new(workers, places).snapshot();
        assert_eq!(snapshot.len(), Outcome::ALL.len() + Refusal::ALL.len());
        assert!(snapshot.iter().all(|&(_, count)| count == 2), "{snapshot:?}");
    }
}
