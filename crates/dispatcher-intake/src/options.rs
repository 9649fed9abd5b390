//! What intake is told: where, how much, how long, and whose callbacks.

use std::time::Duration;

use dispatcher_core::{App, CommandPattern, Network, Secret};
use dispatcher_tls::Tls;

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
    /// Connections from one address at one time, or from one /64 of IPv6; a further one is closed at once. Connections of
    /// `trusted_proxies` do not count. Default: none, for it is not published how many addresses Tencent has.
    pub max_connections_per_address: Option<usize>,
    /// Callbacks that are being answered at one time, shared out evenly among the threads. An after callback beyond is
    /// refused with 503; one that wants a decision is always taken. Default: 2048.
    pub max_in_flight: usize,
    /// Who may say in `X-Forwarded-For`, or with `proxy_protocol`, whom a request comes from. Default: nobody.
    pub trusted_proxies: Vec<Network>,
    /// Whether each connection begins with a header of the PROXY protocol, version 1 or 2, that says whom it comes from. It
    /// counts towards `header_within`. Whoever is none of `trusted_proxies` gets no connection. Default: no.
    pub proxy_protocol: bool,
    /// Header lines of one request. Default: 100; any other number costs an allocation per request.
    pub max_headers: usize,
    /// The longest head of a request, in bytes. Default: 16 KiB.
    pub header_bytes: usize,
    /// The longest query string, in bytes. Default: 8 KiB.
    pub query_limit: usize,
    /// How many objects and arrays of a body may lie within each other. Default: 100; most readers of JSON take no more
    /// than 128.
    pub json_depth: usize,
    /// Whether a signature that came with another callback before is refused. Such are counted in any case. Default: no,
    /// since Tencent signs whatever it sends in one second alike.
    pub strict_replay: bool,
    /// What is answered to an after callback that could not be stored. Default: a refusal, at once.
    pub when_not_durable: WhenNotDurable,
    /// What connections speak TLS with; as they come where there is none. Default: none.
    pub tls: Option<Tls>,
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
            max_connections_per_address: None,
            max_in_flight: 2048,
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
            max_headers: 100,
            header_bytes: 16 << 10,
            query_limit: 8 << 10,
            json_depth: 100,
            strict_replay: false,
            when_not_durable: WhenNotDurable::Refuse,
            tls: None,
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

/// What is answered to an after callback that could not be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenNotDurable {
    /// A refusal with 503, once that is known.
    Refuse,
    /// Nothing for five seconds from the request's head, in which Tencent, which waits for two, takes it for timed out; OK
    /// should it be stored in this time after all, and then a refusal with 503.
    Hold,
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
    /// Where they may come from. None: from anywhere.
    pub allow_from: Vec<Network>,
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
