//! `[handlers.<name>]` and `[sinks.<name>]`: the dispatcher's keys and the plugin's, in one section.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use dispatcher_core::{
    CheckContext, CommandPattern, HandlerPlugin, HandlerSettings, Lanes, Registry, Route, SettingError, SinkPlugin,
    SinkSettings,
};
use serde_json::{Map, Value};

use crate::{
    config::MAX_THREADS,
    decode::{self, suggest},
    key_path::KeyPath,
    sections::{BackoffSection, HandlerKeys, SinkKeys},
    source::Source,
};

/// A handler that the configuration sets up.
#[derive(Clone)]
pub struct HandlerInstance {
    /// Its name: `<name>` in `[handlers.<name>]`.
    pub name: String,
    /// Its plugin.
    pub plugin: &'static HandlerPlugin,
    /// The plugin's settings.
    pub settings: Arc<dyn HandlerSettings>,
    /// Whether it runs.
    pub enabled: bool,
    /// The callbacks it selects.
    pub route: Route,
    /// The names of the sinks that its events go to.
    pub sinks: Vec<String>,
    /// How it runs.
    pub run: RunSettings,
}

/// A sink that the configuration sets up.
#[derive(Clone)]
pub struct SinkInstance {
    /// Its name: `<name>` in `[sinks.<name>]`.
    pub name: String,
    /// Its plugin.
    pub plugin: &'static SinkPlugin,
    /// The plugin's settings.
    pub settings: Arc<dyn SinkSettings>,
    /// Whether it runs.
    pub enabled: bool,
    /// How it runs.
    pub run: RunSettings,
}

/// How a handler or sink runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RunSettings {
    /// How many items are under way at once.
    pub lanes: usize,
    /// How many items one call carries at most.
    pub batch: usize,
    /// How often an item is tried.
    pub attempts: u32,
    /// The waits between attempts.
    pub backoff: BackoffSettings,
    /// How long one call may take.
    pub timeout: Duration,
    /// Threads of its own.
    pub threads: usize,
}

/// The waits between attempts: each is drawn between zero and a bound that grows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BackoffSettings {
    /// The bound of the first wait.
    pub first: Duration,
    /// The largest bound.
    pub max: Duration,
    /// How the bound grows from wait to wait; at least 1.
    pub factor: f64,
}

/// The keys of [`HandlerKeys`] and of [`SinkKeys`]; a test holds them equal.
const HANDLER_KEYS: [&str; 12] = [
    "apps", "attempts", "backoff", "commands", "enabled", "except", "lanes", "phase", "sinks", "threads", "timeout",
    "type",
];
const SINK_KEYS: [&str; 8] = ["attempts", "backoff", "batch", "enabled", "lanes", "threads", "timeout", "type"];

/// How many callbacks go to a handler's cell at once: it saves most of the way there, and a slow handler's batch is cut
/// short.
const HANDLER_BATCH: usize = 64;
const HANDLER_LANES: usize = 4;
const SINK_BATCH: usize = 512;
const MAX_LANES: usize = 4096;
const MAX_BATCH: usize = 100_000;

pub(crate) fn handler(
    source: &mut Source,
    path: &KeyPath,
    name: &str,
    table: Map<String, Value>,
    registry: &Registry,
    cx: &CheckContext,
) -> Option<HandlerInstance> {
    let (own, plugins) = split(table, &HANDLER_KEYS);
    let keys: Option<HandlerKeys> = decode::section(source, path, own.clone());
    let plugin_name = match own.get("type") {
        None => name,
        // What it is instead has been reported with the keys.
        Some(name) => name.as_str()?,
    };
    let Some(plugin) = registry.handler(plugin_name) else {
        let known: Vec<&str> = registry.handlers().iter().map(|plugin| plugin.name).collect();
        source.error(&type_path(path, &own), unknown_plugin("handler", plugin_name, &known));
        return None;
    };
    let decode = |section: &Value| plugin.decode(section);
    let settings = decode::plugin(source, path, plugins, &plugin.schema(), &HANDLER_KEYS, decode);
    let settings = checked(source, path, settings, |settings| settings.check(cx));
    let keys = keys?;
    check_size(source, path, "lanes", keys.lanes, MAX_LANES);
    check_size(source, path, "threads", Some(keys.threads), MAX_THREADS);
    for (key, is_empty) in [
        ("commands", keys.commands.as_ref().is_some_and(Vec::is_empty)),
        ("apps", keys.apps.as_ref().is_some_and(Vec::is_empty)),
    ] {
        if is_empty {
            let what = "selects nothing; leave this key out, or write enabled = false to switch the handler off";
            source.error(&path.key(key), what);
        }
    }
    let commands = match keys.commands {
        Some(commands) => patterns(source, &path.key("commands"), &commands),
        None => plugin.commands.iter().filter_map(|pattern| CommandPattern::new(pattern).ok()).collect(),
    };
    let except = patterns(source, &path.key("except"), &keys.except);
    let backoff = backoff(source, path, keys.backoff);
    let timeout = timeout(source, path, keys.timeout.get());
    Some(HandlerInstance {
        name: name.to_owned(),
        plugin,
        settings: settings?,
        enabled: keys.enabled,
        route: Route { commands, except, apps: keys.apps, phase: keys.phase.unwrap_or(plugin.phase) },
        sinks: keys.sinks,
        run: RunSettings {
            lanes: keys.lanes.map_or(HANDLER_LANES, usize::from),
            batch: HANDLER_BATCH,
            attempts: keys.attempts.get(),
            backoff,
            timeout,
            threads: keys.threads.get(),
        },
    })
}

pub(crate) fn sink(
    source: &mut Source,
    path: &KeyPath,
    name: &str,
    table: Map<String, Value>,
    registry: &Registry,
    cx: &CheckContext,
) -> Option<SinkInstance> {
    let (own, plugins) = split(table, &SINK_KEYS);
    let keys: Option<SinkKeys> = decode::section(source, path, own.clone());
    let plugin_name = own.get("type").and_then(Value::as_str)?;
    let Some(plugin) = registry.sink(plugin_name) else {
        let known: Vec<&str> = registry.sinks().iter().map(|plugin| plugin.name).collect();
        source.error(&type_path(path, &own), unknown_plugin("sink", plugin_name, &known));
        return None;
    };
    let decode = |section: &Value| plugin.decode(section);
    let settings = decode::plugin(source, path, plugins, &plugin.schema(), &SINK_KEYS, decode);
    let settings = checked(source, path, settings, |settings| settings.check(cx));
    let keys = keys?;
    check_size(source, path, "lanes", keys.lanes, MAX_LANES);
    check_size(source, path, "batch", keys.batch, MAX_BATCH);
    check_size(source, path, "threads", Some(keys.threads), MAX_THREADS);
    debug_assert_eq!(keys.r#type, plugin_name);
    let (lanes, batch) = match plugin.lanes {
        Lanes::One => (1, SINK_BATCH),
        Lanes::Default(lanes) => (lanes, 1),
    };
    if plugin.lanes == Lanes::One && keys.lanes.is_some_and(|lanes| lanes.get() > 1) {
        let what = format!("a sink of type {plugin_name:?} has one lane; write 1, or leave this key out");
        source.error(&path.key("lanes"), what);
    }
    let backoff = backoff(source, path, keys.backoff);
    let timeout = timeout(source, path, keys.timeout.get());
    Some(SinkInstance {
        name: name.to_owned(),
        plugin,
        settings: settings?,
        enabled: keys.enabled,
        run: RunSettings {
            lanes: keys.lanes.map_or(lanes, usize::from),
            batch: keys.batch.map_or(batch, usize::from),
            attempts: keys.attempts.get(),
            backoff,
            timeout,
            threads: keys.threads.get(),
        },
    })
}

/// Reads patterns; one that selects nothing that is known may be newer than the catalogue, so it is only a warning.
fn patterns(source: &mut Source, path: &KeyPath, texts: &[String]) -> Vec<CommandPattern> {
    let mut patterns = Vec::with_capacity(texts.len());
    for (idx, text) in texts.iter().enumerate() {
        if let Some(pattern) = pattern(source, &path.index(idx), text) {
            patterns.push(pattern);
        }
    }
    patterns
}

/// Reads one pattern.
pub(crate) fn pattern(source: &mut Source, path: &KeyPath, text: &str) -> Option<CommandPattern> {
    match CommandPattern::new(text) {
        Ok(pattern) => {
            if !pattern.selects_known() {
                let known: Vec<&str> = tencent_chat::commands().iter().map(|info| info.name).collect();
                let hint = suggest(text, &known, "");
                let hint = if hint.starts_with("did") { hint } else { "`dispatcher commands` lists all".into() };
                source.warn(path, format!("{text:?} selects no command that we know of; {hint}"));
            }
            Some(pattern)
        }
        Err(err) => {
            source.error(path, err.to_string());
            None
        }
    }
}

fn split(table: Map<String, Value>, keys: &[&str]) -> (Map<String, Value>, Map<String, Value>) {
    table.into_iter().partition(|(key, _)| keys.contains(&key.as_str()))
}

fn type_path(path: &KeyPath, keys: &Map<String, Value>) -> KeyPath {
    if keys.contains_key("type") { path.key("type") } else { path.clone() }
}

fn unknown_plugin(kind: &str, name: &str, known: &[&str]) -> String {
    format!(
        "no {kind} {name:?} in this program; {} (`dispatcher plugins` lists all; crates of your own are named in \
         `dispatcher::plugins!`)",
        suggest(name, known, "there are")
    )
}

fn checked<S: ?Sized>(
    source: &mut Source,
    path: &KeyPath,
    settings: Option<Arc<S>>,
    check: impl Fn(&S) -> Result<(), Vec<SettingError>>,
) -> Option<Arc<S>> {
    let settings = settings?;
    match check(&settings) {
        Ok(()) => Some(settings),
        Err(errors) => {
            for err in errors {
                source.error(&path.join(&err.path), err.message);
            }
            None
        }
    }
}

fn check_size(source: &mut Source, path: &KeyPath, key: &str, size: Option<NonZeroUsize>, max: usize) {
    if size.is_some_and(|size| size.get() > max) {
        source.error(&path.key(key), format!("more than helps; write {max} at most"));
    }
}

fn timeout(source: &mut Source, path: &KeyPath, timeout: Duration) -> Duration {
    if timeout.is_zero() {
        source.error(&path.key("timeout"), "no call can return in no time; write a longer one, such as \"10s\"");
    }
    timeout
}

fn backoff(source: &mut Source, path: &KeyPath, section: BackoffSection) -> BackoffSettings {
    let path = path.key("backoff");
    let BackoffSection { first, max, factor } = section;
    if first.get().is_zero() {
        source.error(&path.key("first"), "no wait would try without a pause; write a longer one, such as \"1s\"");
    }
    if max < first {
        source.error(&path.key("max"), format!("shorter than `first`, which is {first}; write a longer one"));
    }
    if !(1.0..=1000.0).contains(&factor) {
        source.error(&path.key("factor"), format!("{factor} does not make waits longer; write 1.0 to 1000.0"));
    }
    BackoffSettings { first: first.get(), max: max.get(), factor }
}

#[cfg(test)]
mod tests {
    use dispatcher_core::RESERVED_KEYS;

    use super::*;

    #[test]
    fn the_lists_of_keys_are_those_of_the_structs_and_reserved() {
        fn properties(schema: &schemars::Schema) -> Vec<String> {
            schema.get("properties").unwrap().as_object().unwrap().keys().cloned().collect()
        }
        let mut handler_keys = properties(&schemars::schema_for!(HandlerKeys));
        let mut sink_keys = properties(&schemars::schema_for!(SinkKeys));
        handler_keys.sort();
        sink_keys.sort();
        assert_eq!(handler_keys, HANDLER_KEYS);
        assert_eq!(sink_keys, SINK_KEYS);
        for key in HANDLER_KEYS.iter().chain(&SINK_KEYS) {
            assert!(RESERVED_KEYS.contains(key), "{key}");
        }
    }
}
