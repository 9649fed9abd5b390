//! The `dispatcher.toml` of a trial. Waits and files are short, so that rounds are, too; attempts are many, so that what
//! becomes a dead letter does so by its own fault.

use std::{net::SocketAddr, path::Path};

use crate::callback::APP;

/// For a dispatcher at `address` with its files in `data`, and two receivers.
pub(crate) fn text(address: SocketAddr, data: &Path, relay: SocketAddr, second: SocketAddr, sync: &str) -> String {
    let data = data.display();
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
