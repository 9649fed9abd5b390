//! What is measured: one way to configure the dispatcher, or the floor.

use std::{fmt, net::SocketAddr};

use clap::ValueEnum;
use serde::Serialize;

use crate::request::{APP, TOKEN};

/// Where `whole-path` writes, in the server's folder.
pub(crate) const ARCHIVE: &str = "archive.jsonl";

/// One way to answer the same requests.
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
}

impl Scenario {
    /// The lines that one callback leaves in the archive.
    pub(crate) fn lines_per_callback(self) -> u64 {
        if self == Self::WholePath { 2 } else { 0 }
    }

    /// The dispatcher's configuration; none for the floor. Its paths are relative to the server's folder.
    pub(crate) fn config(self, listen: SocketAddr) -> Option<String> {
        let (sync, path_to_file) = match self {
            Self::Floor => return None,
            Self::Accept => ("always", String::new()),
            Self::AcceptSyncOff => ("off", String::new()),
            Self::WholePath => ("always", whole_path()),
        };
        Some(format!(
            r#"[intake]
listen = "{listen}"
path = "/callback"

[[apps]]
sdk_app_id = {APP}
name = "bench"
tokens = ["{TOKEN}"]
signature = "required"

[journal]
path = "journal/journal.db"
sync = "{sync}"
{path_to_file}"#
        ))
    }
}

fn whole_path() -> String {
    format!(
        r#"
[handlers.group-attribute-changed]
sinks = ["archive"]

[handlers.everything]
type = "forward"
commands = ["*"]
sinks = ["archive"]

[sinks.archive]
type = "file"
path = "{ARCHIVE}"
rotate_size = "64GiB"
"#
    )
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.to_possible_value().expect("none is skipped").get_name())
    }
}
