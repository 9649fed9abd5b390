//! The `dispatcher.toml` of a trial. Waits and files are short, so that rounds are, too; attempts are many, so that what
//! becomes a dead letter does so by its own fault.

use std::{net::SocketAddr, path::Path};

use crate::callback::APP;

/// What a trial says of the journal.
#[derive(Clone, Copy)]
pub(crate) struct Journal {
    /// `[journal] sync`.
    pub(crate) sync: &'static str,
    /// `[journal] keep_for`.
    pub(crate) keep_for: &'static str,
}

impl Default for Journal {
    /// Safe, and with rows that go as soon as they are half a second old: retention is at work in every round.
    fn default() -> Journal {
        Journal { sync: "always", keep_for: "500ms" }
    }
}

/// For a dispatcher at `address` with its files in `data`, and two receivers.
pub(crate) fn text(
    address: SocketAddr,
    data: &Path,
    relay: SocketAddr,
    second: SocketAddr,
    journal: Journal,
) -> String {
    let data = data.display();
    let Journal { sync, keep_for } = journal;
    format!(
        r#"
[intake]
listen = "{address}"
drain = "5s"

[[apps]]
sdk_app_id = {APP}
name = "main"
signature = "off"

[journal]
path = "{data}/journal.db"
sync = "{sync}"
keep_for = "{keep_for}"

[log]
format = "human"

[handlers.everything]
type = "forward"
sinks = ["archive", "relay"]
backoff = {{ first = "20ms", max = "200ms" }}

[handlers.group-attribute-changed]
sinks = ["second"]
backoff = {{ first = "20ms", max = "200ms" }}

[sinks.archive]
type = "file"
path = "{data}/events.jsonl"
rotate_size = "64KiB"
keep = 100000
backoff = {{ first = "20ms", max = "200ms" }}

[sinks.relay]
type = "http"
url = "http://{relay}/relay"
allow_networks = ["127.0.0.0/8"]
attempts = 10000
timeout = "500ms"
backoff = {{ first = "20ms", max = "200ms" }}

[sinks.second]
type = "http"
url = "http://{second}/second"
allow_networks = ["127.0.0.0/8"]
lanes = 4
attempts = 10000
timeout = "500ms"
backoff = {{ first = "20ms", max = "200ms" }}
"#
    )
}
