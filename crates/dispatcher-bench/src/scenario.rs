//! What is measured.

use std::{fmt, net::SocketAddr};

use clap::ValueEnum;
use serde::Serialize;

use crate::{
    configuration::{file_sink, forward, intake, word_filter},
    traffic::Kind,
};

/// The sink that `whole-path` writes to.
pub(crate) const ARCHIVE: &str = "archive";

/// One thing to measure, and what it is measured beside.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Scenario {
    /// floor-warp
    Floor,
    /// Durable before the answer, no handler
    Accept,
    /// The same without syncing the journal
    AcceptSyncOff,
    /// Two handlers and a file, until its last line is written
    WholePath,
    /// Before callbacks that nobody decides about: allowed by default; always measured with `decide`
    Allow,
    /// The same with one word-filter of 1,000 words and 300 bytes of text, beside `allow` and floor-warp
    Decide,
    /// A decider that awaits for ever on every second of its calls, 500/s: who is answered when, and what
    DecideHang,
    /// A decider that blocks its thread: another decider and after callbacks, beside the same without it
    DecideBlocked,
    /// A thousand clients that are slow in every way: what others get, beside the same without them
    SlowClients,
    /// Five times as many callbacks as it can take: who is answered when, and what is left of them
    Overload,
    /// In, journal, forward, http sink, beside floor-relay; until the last one has arrived
    Relay,
    /// The same with a receiver that takes 20 ms
    RelaySlow,
    /// A backlog of a million events into a file
    Drain,
    /// A dead sink with that backlog, beside the same without
    DeadSink,
    /// From exec to the first OK, after kill -9 under load, on the journal with that backlog
    Reopen,
}

impl Scenario {
    /// Whether it is about the intake, and is measured beside floor-warp with every number of connections.
    pub(crate) fn is_of_intake(self) -> bool {
        matches!(self, Self::Floor | Self::Accept | Self::AcceptSyncOff | Self::WholePath | Self::Allow | Self::Decide)
    }

    /// Whether it needs the backlog.
    pub(crate) fn needs_backlog(self) -> bool {
        matches!(self, Self::Drain | Self::DeadSink | Self::Reopen)
    }

    /// Whether its deciders misbehave on purpose, which those that are bundled do not.
    pub(crate) fn misbehaves(self) -> bool {
        matches!(self, Self::DecideHang | Self::DecideBlocked)
    }

    /// What it is measured beside, other than the floor.
    pub(crate) fn without(self) -> Option<Self> {
        (self == Self::Decide).then_some(Self::Allow)
    }

    /// What is sent to it, and to the floor beside it, in a scenario of the intake.
    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::Allow | Self::Decide => Kind::Message,
            _ => Kind::AttributesChanged,
        }
    }

    /// Whether it runs floor-relay.
    pub(crate) fn is_relay(self) -> bool {
        matches!(self, Self::Relay | Self::RelaySlow)
    }

    /// The lines that one callback leaves in the archive.
    pub(crate) fn lines_per_callback(self) -> u64 {
        if self == Self::WholePath { 2 } else { 0 }
    }

    /// The dispatcher's configuration in a scenario of the intake; none for the floor.
    pub(crate) fn config(self, listen: SocketAddr) -> Option<String> {
        match self {
            Self::Floor => None,
            Self::AcceptSyncOff => Some(intake(listen, "off")),
            Self::WholePath => Some(
                intake(listen, "always")
                    + "\n[handlers.group-attribute-changed]\nsinks = [\"archive\"]\n"
                    + &forward(&[ARCHIVE])
                    + &file_sink(ARCHIVE, true),
            ),
            Self::Decide => Some(intake(listen, "always") + &word_filter()),
            _ => Some(intake(listen, "always")),
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.to_possible_value().expect("none is skipped").get_name())
    }
}
