//! What is counted of those who ask over TCP.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use dispatcher_tls::Tls;

use crate::door::Refusal;

/// What came to `[admin] listen` since the start. Read when somebody asks.
#[derive(Debug, Default)]
pub struct AdminCounters {
    open: AtomicUsize,
    connections: AtomicU64,
    answered: AtomicU64,
    refused: [AtomicU64; Refusal::ALL.len()],
    closed: [AtomicU64; Closed::ALL.len()],
    expires: AtomicU64, // The certificate, in Unix seconds; 0 without one.
}

/// Why a connection was closed without a word, or in the middle of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closed {
    /// Its address has as many as it may.
    AddressFull,
    /// Its TLS handshake failed, or took too long.
    TlsFailed,
    /// A head took too long.
    HeadLate,
    /// A head was too large.
    HeadTooLarge,
    /// It was not HTTP.
    NotHttp,
    /// Nobody read on.
    ReplyUnread,
    /// A reload let it in no more.
    LetOut,
}

impl Closed {
    const ALL: [Closed; 7] = [
        Closed::AddressFull,
        Closed::TlsFailed,
        Closed::HeadLate,
        Closed::HeadTooLarge,
        Closed::NotHttp,
        Closed::ReplyUnread,
        Closed::LetOut,
    ];

    /// As the intake calls it, where that knows it too.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Closed::AddressFull => "address_full",
            Closed::TlsFailed => "tls_failed",
            Closed::HeadLate => "head_late",
            Closed::HeadTooLarge => "head_too_large",
            Closed::NotHttp => "not_http",
            Closed::ReplyUnread => "reply_unread",
            Closed::LetOut => "let_out",
        }
    }
}

impl AdminCounters {
    /// How many connections are open.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.open.load(Relaxed)
    }

    /// How many were opened.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.connections.load(Relaxed)
    }

    /// How many requests ended how: `answered`, or why they were refused. Each name is there once, and always.
    pub fn requests(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let refused = Refusal::ALL.into_iter().map(|refusal| (refusal.name(), &self.refused[refusal as usize]));
        [("answered", &self.answered)].into_iter().chain(refused).map(|(name, count)| (name, count.load(Relaxed)))
    }

    /// How many connections were closed for what the other side did or did not do, or for a reload, by cause. Each name is
    /// there once, and always.
    pub fn closed(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Closed::ALL.into_iter().map(|cause| (cause.name(), self.closed[cause as usize].load(Relaxed)))
    }

    /// When the first of the certificates that may be shown expires, in Unix seconds; `None` without TLS.
    #[must_use]
    pub fn certificate_expires(&self) -> Option<u64> {
        Some(self.expires.load(Relaxed)).filter(|&expires| expires > 0)
    }

    pub(crate) fn count_opened(&self) {
        self.connections.fetch_add(1, Relaxed);
        self.open.fetch_add(1, Relaxed);
    }

    pub(crate) fn count_ended(&self) {
        self.open.fetch_sub(1, Relaxed);
    }

    pub(crate) fn count_answered(&self) {
        self.answered.fetch_add(1, Relaxed);
    }

    pub(crate) fn count_refused(&self, refusal: Refusal) {
        self.refused[refusal as usize].fetch_add(1, Relaxed);
    }

    pub(crate) fn count_closed(&self, cause: Closed) {
        self.closed[cause as usize].fetch_add(1, Relaxed);
    }

    /// Notes what connections speak TLS with from now on.
    pub(crate) fn set_tls(&self, tls: Option<&Tls>) {
        let certificates = tls.map(Tls::certificates).unwrap_or_default();
        let first = certificates.iter().filter_map(|certificate| certificate.expires).min();
        self.expires.store(first.unwrap_or_default(), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_is_counted_under_a_name_of_its_own() {
        let counters = AdminCounters::default();
        counters.count_answered();
        Refusal::ALL.into_iter().for_each(|refusal| counters.count_refused(refusal));
        Closed::ALL.into_iter().for_each(|cause| counters.count_closed(cause));
        for counts in [counters.requests().collect::<Vec<_>>(), counters.closed().collect()] {
            let names: BTreeSet<_> = counts.iter().map(|(name, _)| *name).collect();
            assert!(names.len() == counts.len() && counts.iter().all(|(_, count)| *count == 1), "{counts:?}");
        }
    }
}
