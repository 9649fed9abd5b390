//! What intake is told: where, how much, how long, and whose callbacks.

use std::time::Duration;

use dispatcher_core::{App, CommandPattern, Secret};

/// The limits of the intake. [`Default`] is what the configuration starts from.
#[derive(Clone, Debug)]
pub struct IntakeOptions {
    /// The path that callbacks arrive at. Default: `/callback`.
    pub path: PathRule,
    /// How long a request may take from its head to its reply; a body that is not there by then is refused with 408, an
    /// after callback that is not durable by then with 503. Observed to a sixteenth of itself. Default: 1.5 s, since
    /// Tencent waits for 2 s.
    pub answer_within: Duration,
    /// The longest body, in bytes. Default: 1 MiB.
    pub body_limit: usize,
    /// How far `RequestTime` may be from this machine's clock, either way. Default: a minute, as Tencent's pages ask.
    pub freshness: Duration,
    /// How long the head of a request may take from its first byte, and how long a reply may wait for a peer that
    /// does not read it. A connection that has not yet brought a verified callback may idle for no longer either.
    /// Default: 10 s.
    pub header_within: Duration,
    /// How long a connection that has brought a verified callback may idle. Minutes, for a connection that is closed
    /// just as Tencent uses it again is a lost callback. Default: 5 minutes.
    pub idle: Duration,
    /// Connections at one time. Further ones wait in the kernel's queue until one closes: Tencent may be set to try
    /// again after a timeout, but not after a refused connection. Default: 4096.
    pub max_connections: usize,
    /// Header lines of one request. Default: 100; any other number costs an allocation per request.
    pub max_headers: usize,
    /// The longest head of a request, in bytes. Default: 16 KiB.
    pub header_bytes: usize,
    /// The longest query string, in bytes. Default: 8 KiB.
    pub query_limit: usize,
    /// Worker threads, at least one. Default: one per core.
    pub threads: usize,
}

impl Default for IntakeOptions {
    fn default() -> IntakeOptions {
        IntakeOptions {
            path: PathRule::Exact("/callback".to_owned()),
            answer_within: Duration::from_millis(1500),
            body_limit: 1 << 20,
            freshness: Duration::from_secs(60),
            header_within: Duration::from_secs(10),
            idle: Duration::from_secs(300),
            max_connections: 4096,
            max_headers: 100,
            header_bytes: 16 << 10,
            query_limit: 8 << 10,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }
}

impl IntakeOptions {
    /// The settings, by their names in the configuration, that differ in `new` and that a running intake cannot change.
    #[must_use]
    pub fn needs_restart(&self, new: &IntakeOptions) -> Vec<&'static str> {
        if self.threads.max(1) == new.threads.max(1) { Vec::new() } else { vec!["threads"] }
    }
}

/// Which paths are answered; every other is refused with 404.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathRule {
    /// This one, compared byte for byte.
    Exact(String),
    /// All.
    Any,
}

/// What is asked of `Sign` and `RequestTime`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignaturePolicy {
    /// Both are there, right and fresh.
    Required,
    /// Both are right and fresh where one of them is there.
    Optional,
    /// Neither is looked at.
    Off,
}

/// An app whose callbacks are taken.
#[derive(Clone, Debug)]
pub struct IntakeApp {
    /// Its SDKAppID and name.
    pub app: App,
    /// Its token; two while it is being changed. A signature by any of them is right.
    pub tokens: Vec<Secret>,
    /// What is asked of its callbacks' signatures.
    pub signature: SignaturePolicy,
}

/// What becomes of the callbacks of some commands. Of several rules that select a command, the narrowest speaks; of
/// equally narrow ones, the last.
#[derive(Clone, Debug)]
pub struct CommandRule {
    /// The commands it is about.
    pub commands: CommandPattern,
    /// Whether they are stored.
    pub journal: JournalRule,
}

/// Whether a callback is stored. Without a rule it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JournalRule {
    /// It is.
    Always,
    /// It is answered OK, counted, and forgotten.
    Never,
}
