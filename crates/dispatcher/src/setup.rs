//! What those who ask are told of the configuration.

use std::sync::Arc;

use dispatcher_config::Config;
use dispatcher_control::{Configured, ConfiguredDecider, Live, Setup};
use dispatcher_core::Callback;
use dispatcher_journal::Stream;

/// The setup of `config`, and of the dispatcher that runs with it, if one does.
pub(crate) fn setup(config: &Config, running: Option<Live>) -> Setup {
    let handlers = config.handlers.iter().filter(|handler| handler.plugin.role.handles()).map(|handler| {
        let route = handler.handled();
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
    let mut deciders: Vec<_> =
        config.handlers.iter().filter_map(|handler| Some((handler.decide.as_ref()?, handler))).collect();
    deciders.sort_by_key(|(decide, handler)| (decide.order, handler.name.as_str()));
    let deciders = deciders.into_iter().map(|(decide, handler)| ConfiguredDecider {
        name: handler.name.clone(),
        enabled: handler.enabled,
        shadow: decide.shadow,
    });
    Setup {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        configuration: config.sha256.clone(),
        journal: config.journal.path.clone(),
        retention: Some(retention(config)),
        running,
        consumers: handlers.chain(sinks).collect(),
        deciders: deciders.collect(),
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
