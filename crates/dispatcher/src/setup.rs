//! What those who ask are told of the configuration.

use std::{net::SocketAddr, sync::Arc};

use dispatcher_config::Config;
use dispatcher_control::{Configured, Setup};
use dispatcher_core::{Callback, Timestamp};
use dispatcher_journal::Stream;

/// The setup of `config`; of a dispatcher that runs if it listens somewhere.
pub(crate) fn setup(config: &Config, listen: Option<SocketAddr>) -> Setup {
    let handlers = config.handlers.iter().filter(|handler| handler.plugin.role.handles()).map(|handler| {
        let route = handler.route.clone();
        Configured {
            name: format!("handler:{}", handler.name),
            stream: Stream::Callbacks,
            enabled: handler.enabled,
            selects: Some(Arc::new(move |callback: &Callback| route.selects(callback.app(), callback.command()))),
        }
    });
    let sinks = config.sinks.iter().map(|sink| Configured {
        name: format!("sink:{}", sink.name),
        stream: Stream::Events,
        enabled: sink.enabled,
        selects: None,
    });
    Setup {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        journal: config.journal.path.clone(),
        retention: Some(retention(config)),
        running: listen.map(|listen| (listen.to_string(), Timestamp::now())),
        consumers: handlers.chain(sinks).collect(),
    }
}

/// What is deleted when, in words.
fn retention(config: &Config) -> String {
    let journal = &config.journal;
    let mut text = format!("what is delivered for {}", journal.keep_for);
    let ruled = config.commands.iter().filter(|rule| rule.keep_for.is_some()).count();
    if ruled > 0 {
        text += &format!(", {ruled} command patterns otherwise");
    }
    if let Some(size) = journal.max_size.get() {
        text += &format!(", at most {size}");
    }
    text
}
