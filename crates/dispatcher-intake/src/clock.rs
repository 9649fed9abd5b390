//! What one connection is waiting for, since when, and whether that is too long.
//!
//! The worker looks at the clocks of all its connections every few milliseconds, so that no request needs a timer of
//! its own: one registered and removed per request would cost a tenth of the request's CPU. Time is the worker's, in
//! milliseconds, read once per look; a limit is therefore kept to within one look.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use crate::{IntakeOptions, Outcome};

/// What a connection is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The rest of a request's head; or, right after it was accepted, all of it.
    Head = 0,
    /// The next request.
    Idle = 1,
    /// Us: the body and the reply of a request whose head is there.
    Serving = 2,
    /// The peer, to read its reply.
    Replying = 3,
}

/// How long each phase may last, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) head: u64,
    pub(crate) idle: u64,
    pub(crate) answer: u64,
}

impl Limits {
    pub(crate) fn new(options: &IntakeOptions) -> Limits {
        let millis = |limit: Duration| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        Limits {
            head: millis(options.header_within),
            idle: millis(options.idle),
            answer: millis(options.answer_within),
        }
    }

    /// How often to look.
    pub(crate) fn look_every(&self) -> Duration {
        let shortest = self.head.min(self.idle).min(self.answer);
        Duration::from_millis((shortest / 16).clamp(2, 100))
    }
}

/// What a look at a clock finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// There is time.
    Fine,
    /// The reply is due now, whatever is missing.
    AnswerDue,
    /// The connection is to be closed, and this counted.
    Close(Outcome),
}

/// The clock of one connection. Everything that touches it runs on the worker's one thread; it is atomic because
/// futures that share it have to be `Send`.
pub(crate) struct Clock {
    phase: AtomicU64,         // The phase in the last two bits, before them the time at which it began.
    answer_within: AtomicU64, // The request that is being served has this long.
    answer_due: AtomicBool,   // The request that is being served ran out of time.
    trusted: AtomicBool,      // It has brought a verified callback.
}

impl Clock {
    pub(crate) fn new(now: u64) -> Clock {
        let clock = Clock {
            phase: AtomicU64::new(0),
            answer_within: AtomicU64::new(0),
            answer_due: AtomicBool::new(false),
            trusted: AtomicBool::new(false),
        };
        clock.enter(Phase::Head, now);
        clock
    }

    /// Another one that is where this one is, of a connection that has brought nothing yet.
    pub(crate) fn so_far(&self) -> Clock {
        let (_, since) = self.phase();
        Clock::new(since)
    }

    fn enter(&self, phase: Phase, now: u64) {
        self.phase.store(now << 2 | phase as u64, Relaxed);
    }

    fn phase(&self) -> (Phase, u64) {
        let value = self.phase.load(Relaxed);
        let phase = match value & 3 {
            0 => Phase::Head,
            1 => Phase::Idle,
            2 => Phase::Serving,
            _ => Phase::Replying,
        };
        (phase, value >> 2)
    }

    /// Bytes arrived.
    pub(crate) fn received(&self, now: u64) {
        if self.phase().0 == Phase::Idle {
            self.enter(Phase::Head, now);
        }
    }

    /// A request's head is there, and it has this long.
    pub(crate) fn serve(&self, now: u64, answer_within: u64) {
        self.answer_within.store(answer_within, Relaxed);
        self.answer_due.store(false, Relaxed);
        self.enter(Phase::Serving, now);
    }

    /// The request that is being served has this long after all, from its head.
    pub(crate) fn extend(&self, answer_within: u64) {
        self.answer_within.store(answer_within, Relaxed);
        self.answer_due.store(false, Relaxed);
    }

    /// A reply is ready to be sent, or the peer to be told that there are no more.
    pub(crate) fn reply(&self, now: u64) {
        self.enter(Phase::Replying, now);
    }

    /// All that was to be sent is on its way.
    pub(crate) fn flushed(&self, now: u64) {
        if self.phase().0 == Phase::Replying {
            self.enter(Phase::Idle, now);
        }
    }

    /// From now on it may idle for long.
    pub(crate) fn trust(&self) {
        self.trusted.store(true, Relaxed);
    }

    /// Whether it may.
    pub(crate) fn is_trusted(&self) -> bool {
        self.trusted.load(Relaxed)
    }

    /// Whether a request's head is there, and its reply is not.
    pub(crate) fn is_serving(&self) -> bool {
        self.phase().0 == Phase::Serving
    }

    /// Whether the request that is being served ran out of time.
    pub(crate) fn is_answer_due(&self) -> bool {
        self.answer_due.load(Relaxed)
    }

    /// Looks at the clock.
    pub(crate) fn look(&self, now: u64, limits: &Limits) -> Verdict {
        let (phase, since) = self.phase();
        let (limit, verdict) = match phase {
            Phase::Head => (limits.head, Verdict::Close(Outcome::HeadLate)),
            Phase::Idle if self.trusted.load(Relaxed) => (limits.idle, Verdict::Close(Outcome::Idle)),
            Phase::Idle => (limits.idle.min(limits.head), Verdict::Close(Outcome::Idle)),
            Phase::Serving => (self.answer_within.load(Relaxed), Verdict::AnswerDue),
            Phase::Replying => (limits.head, Verdict::Close(Outcome::ReplyUnread)),
        };
        let lasted = now.saturating_sub(since);
        if lasted < limit {
            return Verdict::Fine;
        }
        if verdict == Verdict::AnswerDue {
            self.answer_due.store(true, Relaxed);
            // Nobody asks for the answer: earlier replies, to requests sent all at once, are still unread.
            if lasted - limit >= limits.head {
                return Verdict::Close(Outcome::ReplyUnread);
            }
        }
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { head: 10, idle: 100, answer: 5 };

    /// The first moment at which a look finds something, and what.
    fn ends(clock: &Clock, from: u64) -> (u64, Verdict) {
        let mut looks = (from..).map(|now| (now, clock.look(now, &LIMITS)));
        looks.find(|&(_, verdict)| verdict != Verdict::Fine).unwrap()
    }

    #[test]
    fn a_request_has_to_begin_soon_on_a_new_connection() {
        assert_eq!(ends(&Clock::new(1000), 1000), (1010, Verdict::Close(Outcome::HeadLate)));
    }

    #[test]
    fn the_head_counts_from_its_first_byte() {
        let clock = Clock::new(0);
        for now in [1, 5, 9] {
            clock.received(now);
        }
        assert_eq!(ends(&clock, 9), (10, Verdict::Close(Outcome::HeadLate)));
    }

    #[test]
    fn the_reply_counts_from_the_head() {
        let clock = Clock::new(0);
        clock.serve(9, LIMITS.answer);
        clock.received(12); // The body.
        clock.flushed(12); // A `100 Continue`.
        assert_eq!(ends(&clock, 12), (14, Verdict::AnswerDue));
        assert!(clock.is_answer_due());
        clock.reply(14);
        clock.flushed(14);
        clock.serve(15, LIMITS.answer);
        assert!(!clock.is_answer_due());
    }

    #[test]
    fn a_peer_has_to_read_its_reply() {
        let clock = Clock::new(0);
        clock.serve(1, LIMITS.answer);
        clock.reply(2);
        assert_eq!(ends(&clock, 2), (12, Verdict::Close(Outcome::ReplyUnread)));
        clock.serve(3, LIMITS.answer); // The next request was there already, and its reply has to wait.
        assert_eq!((8..100).find(|&now| clock.look(now, &LIMITS) != Verdict::AnswerDue), Some(18));
        assert_eq!(clock.look(18, &LIMITS), Verdict::Close(Outcome::ReplyUnread));
    }

    #[test]
    fn only_who_brought_a_verified_callback_may_idle_for_long() {
        for (trusted, end) in [(false, 12), (true, 102)] {
            let clock = Clock::new(0);
            clock.serve(1, LIMITS.answer);
            if trusted {
                clock.trust();
            }
            clock.reply(2);
            clock.flushed(2);
            assert_eq!(ends(&clock, 2), (end, Verdict::Close(Outcome::Idle)));
            clock.received(11);
            assert_eq!(ends(&clock, 11), (21, Verdict::Close(Outcome::HeadLate)));
        }
    }
}
