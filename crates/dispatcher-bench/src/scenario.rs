//! What is measured.

use std::{fmt, net::SocketAddr};

use clap::ValueEnum;
use serde::Serialize;

use crate::configuration::{file_sink, forward, intake};

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
        matches!(self, Self::Floor | Self::Accept | Self::AcceptSyncOff | Self::WholePath)
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
            _ => Some(intake(listen, "always")),
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.to_possible_value().expect("none is skipped").get_name())
    }
}
