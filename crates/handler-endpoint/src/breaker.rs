//! When an endpoint that fails is left alone, and how it is found to work again.
//!
//! After five failures in a row nobody is asked about: Tencent would only wait for the default. From time to time one callback
//! is copied to the endpoint all the same, while its own answer leaves at once; when such a copy gets a reply in time, all are
//! asked about again. Nothing is invented, and no user waits for a trial.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tracing::warn;

/// So many failures in a row are enough.
const FAILURES: u32 = 5;

/// How long it is left alone at first. Each copy that fails doubles it, up to the longest.
const WAIT_FIRST: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Counts across all callbacks.
pub(crate) struct Breaker {
    /// The handler's name.
    handler: Arc<str>,
    /// Where the endpoint is, as people may see it.
    endpoint: String,
    /// The longest that a call has, if that is known.
    timeout: Option<Duration>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Grows with each change, so that what was asked before it says nothing after it.
    epoch: u64,
    /// In a row.
    failures: u32,
    rest: Option<Rest>,
}

struct Rest {
    wait: Duration,
    /// When the next copy may be sent.
    probe_at: Instant,
    is_probing: bool,
    /// What failed last.
    error: String,
}

/// What to do with a callback.
pub(crate) enum Turn {
    /// Ask about it.
    Ask(Asking),
    /// Send a copy, and wait for nothing: why it is left alone.
    Probe(Asking, String),
    /// Nothing: why it is left alone.
    Rest(String),
}

/// A question under way. Dropped before it has ended, it counts as failed if its time was up, or if it was a trial.
pub(crate) struct Asking {
    breaker: Arc<Breaker>,
    epoch: u64,
    deadline: Instant,
    /// Whether it has so little time that being late says nothing about the endpoint.
    is_hurried: bool,
    is_probe: bool,
    has_ended: bool,
}

impl Breaker {
    pub(crate) fn new(handler: Arc<str>, endpoint: String, timeout: Option<Duration>) -> Breaker {
        Breaker { handler, endpoint, timeout, state: Mutex::default() }
    }

    /// What to do with a callback that has to be decided by `deadline`. A copy has all the time that a call can have, since
    /// nobody waits for it.
    pub(crate) fn turn(self: &Arc<Breaker>, deadline: Instant, now: Instant) -> Turn {
        let mut state = self.lock();
        let (epoch, failures) = (state.epoch, state.failures);
        let asking = |deadline: Instant, is_probe| {
            let left = deadline.saturating_duration_since(now);
            let is_hurried = self.timeout.is_some_and(|timeout| left < timeout / 2);
            Asking { breaker: self.clone(), epoch, deadline, is_hurried, is_probe, has_ended: false }
        };
        let Some(rest) = &mut state.rest else { return Turn::Ask(asking(deadline, false)) };
        let text = format!(
            "{} failed {failures} times in a row, the last: {}; it is asked again by itself in the background",
            self.endpoint, rest.error
        );
        if rest.is_probing || now < rest.probe_at {
            return Turn::Rest(text);
        }
        rest.is_probing = true;
        let whole = self.timeout.map_or(deadline, |timeout| now + timeout);
        Turn::Probe(asking(whole, true), text)
    }

    fn end(&self, epoch: u64, result: Result<(), String>, now: Instant) {
        let mut state = self.lock();
        if state.epoch != epoch {
            return;
        }
        let Some(error) = result.err() else {
            state.failures = 0;
            if state.rest.take().is_some() {
                state.epoch += 1;
                warn!(handler = &*self.handler, "{} works again: callbacks are asked of it", self.endpoint);
            }
            return;
        };
        state.failures = state.failures.saturating_add(1);
        if state.failures < FAILURES {
            return;
        }
        let wait = match &state.rest {
            Some(rest) => (rest.wait * 2).min(WAIT_MAX),
            None => {
                state.epoch += 1;
                warn!(
                    handler = &*self.handler,
                    "{} failed {FAILURES} times in a row, the last: {error}; until it works again what counts when it fails is \
                     answered at once",
                    self.endpoint
                );
                WAIT_FIRST
            }
        };
        state.rest = Some(Rest { wait, probe_at: now + wait, is_probing: false, error });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Held for a few instructions that do not panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Asking {
    /// By when there has to be a reply.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// A reply came that shows it at work, or why none did. One that comes too late is none.
    pub(crate) fn end(mut self, result: Result<(), String>, now: Instant) {
        self.has_ended = true;
        if now < self.deadline {
            self.breaker.end(self.epoch, result, now);
        } else {
            self.late(now);
        }
    }

    /// Its time is up.
    fn late(&self, now: Instant) {
        if !self.is_hurried {
            let late = format!("no answer from {} in time", self.breaker.endpoint);
            self.breaker.end(self.epoch, Err(late), now);
        }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        let now = Instant::now();
        if !mem::replace(&mut self.has_ended, true) && (self.is_probe || self.deadline <= now) {
            self.late(now);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers as well")]

    use super::*;

    /// A breaker, and a time at which it begins. All questions have an hour.
    struct Bench {
        breaker: Arc<Breaker>,
        begin: Instant,
    }

    impl Bench {
        fn new() -> Bench {
            Bench::named("moderation")
        }

        fn named(handler: &str) -> Bench {
            Bench {
                breaker: Arc::new(Breaker::new(handler.into(), "http://here/".into(), None)),
                begin: Instant::now() + Duration::from_secs(3600),
            }
        }

        fn turn(&self, millis: u64) -> Turn {
            let now = self.begin + Duration::from_millis(millis);
            self.breaker.turn(now + Duration::from_secs(3600), now)
        }

        #[track_caller]
        fn ask(&self, millis: u64) -> Asking {
            match self.turn(millis) {
                Turn::Ask(asking) => asking,
                Turn::Probe(..) | Turn::Rest(_) => panic!("not asked at {millis}"),
            }
        }

        #[track_caller]
        fn probe(&self, millis: u64) -> Asking {
            match self.turn(millis) {
                Turn::Probe(asking, _) => asking,
                Turn::Ask(_) | Turn::Rest(_) => panic!("no trial at {millis}"),
            }
        }

        #[track_caller]
        fn rest(&self, millis: u64) -> String {
            match self.turn(millis) {
                Turn::Rest(text) => text,
                Turn::Ask(_) | Turn::Probe(..) => panic!("no rest at {millis}"),
            }
        }

        fn end(&self, asking: Asking, works: bool, millis: u64) {
            let result = if works { Ok(()) } else { Err("status 500".to_owned()) };
            asking.end(result, self.begin + Duration::from_millis(millis));
        }

        fn fail(&self, times: u32) {
            for _ in 0..times {
                self.end(self.ask(0), false, 0);
            }
        }
    }

    #[test]
    fn only_failures_in_a_row_open_it() {
        let bench = Bench::new();
        for _ in 0..3 {
            bench.fail(FAILURES - 1);
            bench.end(bench.ask(0), true, 0);
        }
        bench.fail(FAILURES);
        assert_eq!(
            bench.rest(0),
            "http://here/ failed 5 times in a row, the last: status 500; it is asked again by itself in the background"
        );
    }

    #[test]
    fn one_copy_at_a_time_finds_out_ever_less_often() {
        let bench = Bench::new();
        bench.fail(FAILURES);
        bench.rest(999);
        let mut at = 1000;
        for wait in [2, 4, 8, 16, 30, 30] {
            let probe = bench.probe(at);
            bench.rest(at + 1_000_000);
            bench.end(probe, false, at);
            bench.rest(at + wait * 1000 - 1);
            at += wait * 1000;
        }
        bench.end(bench.probe(at), true, at);
        bench.end(bench.ask(at), false, at);
        bench.ask(at);
    }

    #[test]
    fn what_was_asked_before_a_change_says_nothing_after_it() {
        let bench = Bench::new();
        let early: Vec<Asking> = (0..20).map(|_| bench.ask(0)).collect();
        bench.fail(FAILURES);
        let mut early = early.into_iter();
        bench.end(early.next().unwrap(), true, 1);
        bench.rest(2);
        bench.end(bench.probe(1000), true, 1000);
        for asking in early {
            bench.end(asking, false, 1001);
        }
        bench.ask(1002);
    }

    #[test]
    fn what_is_late_or_let_go_of_at_its_deadline_is_a_failure() {
        let bench = Bench::new();
        for _ in 0..3 {
            bench.end(bench.ask(0), true, 3_600_000);
        }
        for _ in 0..9 {
            drop(bench.ask(0)); // In time: somebody else's affair.
        }
        bench.ask(0);
        for _ in 0..2 {
            let Turn::Ask(asking) = bench.breaker.turn(Instant::now(), Instant::now()) else { panic!("not asked") };
            drop(asking);
        }
        let (Turn::Rest(text) | Turn::Probe(_, text)) = bench.breaker.turn(Instant::now(), Instant::now()) else {
            panic!("asked all the same")
        };
        assert!(text.contains("failed 5 times in a row, the last: no answer from http://here/ in time"), "{text}");
    }

    #[test]
    fn being_late_says_nothing_where_others_took_most_of_the_time() {
        let timeout = Duration::from_secs(10);
        let breaker = Arc::new(Breaker::new("moderation".into(), "http://here/".into(), Some(timeout)));
        let begin = Instant::now() + Duration::from_secs(3600);
        let ask = |left: Duration| match breaker.turn(begin + left, begin) {
            Turn::Ask(asking) => asking,
            Turn::Probe(..) | Turn::Rest(_) => panic!("not asked"),
        };
        for _ in 0..9 {
            ask(timeout / 2 - Duration::from_millis(1)).end(Ok(()), begin + timeout);
        }
        for _ in 0..4 {
            ask(timeout / 2).end(Ok(()), begin + timeout);
        }
        ask(Duration::ZERO).end(Ok(()), begin);
        // Whatever time it had, a refusal is a refusal.
        ask(Duration::from_millis(1)).end(Err("status 500".to_owned()), begin);
        let later = begin + WAIT_FIRST;
        let Turn::Probe(probe, _) = breaker.turn(later, later) else { panic!("no trial") };
        assert_eq!(probe.deadline(), later + timeout, "nobody waits for it");
        probe.end(Ok(()), later + timeout - Duration::from_millis(1));
        ask(timeout);
    }

    #[test]
    fn the_log_has_a_line_when_it_opens_and_one_when_it_closes() {
        #[derive(Clone, Default)]
        struct Log(Arc<Mutex<Vec<u8>>>);

        impl std::io::Write for Log {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0.lock().unwrap().write(bytes)
            }

            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }

        let (log, bench) = (Log::default(), Bench::named("logged"));
        let to = log.clone();
        // For all tests of this program: whether a line is wanted at all is asked once, by whichever comes to it first.
        tracing_subscriber::fmt().without_time().with_ansi(false).with_writer(move || to.clone()).init();
        bench.fail(FAILURES);
        bench.end(bench.probe(1000), false, 1000);
        bench.end(bench.probe(3000), true, 3000);
        bench.end(bench.ask(3000), true, 3000);
        let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<&str> = text.lines().filter(|line| line.contains("handler=\"logged\"")).collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[0].contains("http://here/ failed 5 times in a row, the last: status 500; until"), "{text}");
        assert!(lines[1].contains("http://here/ works again"), "{text}");
    }

    #[test]
    fn a_trial_that_is_let_go_of_is_not_waited_for() {
        let bench = Bench::new();
        bench.fail(FAILURES);
        drop(bench.probe(1000));
        bench.probe(10_000);
    }
}
