//! `[handlers.<name>]` and `[sinks.<name>]`: the dispatcher's keys and the plugin's, in one section.

use std::{num::NonZeroUsize, sync::Arc};

use dispatcher_core::{
    CheckContext, CommandPattern, HandlerPlugin, HandlerSettings, Lanes, PhaseFilter, Rate, Registry, Role, Route,
    SettingError, SinkPlugin, SinkSettings,
};
use schemars::JsonSchema;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::{
    DecideSettings, Finding, Order, RunSettings,
    decide::{DECIDE_KEYS, DecideKeys},
    decode::{self, suggest},
    fingerprint::fingerprint,
    key_path::KeyPath,
    run::{RUN_KEYS, RunKeys, check_size},
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
    /// How it decides. None: it does not.
    pub decide: Option<DecideSettings>,
    /// Equal, within one run of the program, as long as the section and the files that it names are.
    pub fingerprint: u64,
}

impl HandlerInstance {
    /// The callbacks that it is given once they are durable, of those that it selects.
    #[must_use]
    pub fn handled(&self) -> Route {
        let route = self.route.clone();
        if self.settings.handles_decided() { route } else { route.without_decided() }
    }
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
    /// Equal, within one run of the program, as long as the section and the files that it names are.
    pub fingerprint: u64,
    /// What keeps it from being opened for now, as `dispatcher check` says; see
    /// [`is_for_now`](dispatcher_core::SettingError::is_for_now).
    pub for_now: Vec<Finding>,
}

/// The dispatcher's keys that only `[handlers.<name>]` takes.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct HandlerKeys {
    /// The handler's plugin. Default: the section's own name.
    r#type: Option<String>,
    /// The commands it selects: names, families such as `"Group.*"`, or `"*"`. Default: the plugin's.
    commands: Option<Vec<String>>,
    /// Commands it leaves out of these.
    except: Vec<String>,
    /// The names of the apps it selects. Default: all.
    apps: Option<Vec<String>>,
    /// `"before"`, `"after"` or `"any"`. Default: the plugin's, mostly `any`.
    phase: Option<PhaseFilter>,
    /// The names of the sinks that its events go to.
    sinks: Vec<String>,
}

/// The dispatcher's keys that only `[sinks.<name>]` takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SinkKeys {
    /// The sink's plugin, such as `"file"`.
    r#type: String,
    /// How many events one delivery carries at most. Default: 512 for sinks of one lane, else 1.
    batch: Option<NonZeroUsize>,
    /// `"key"`: an event waits for earlier ones of its key. `"none"`: for none, so that one that fails holds up no other.
    /// Default `key`.
    #[serde(default)]
    order: Order,
    /// How many events it takes at most, such as `"100/s"`, `"30/m"` or `"1000/h"`. Default: no limit.
    rate: Option<Rate>,
}

/// The keys for what a handler does with callbacks from the journal, which one that only decides has none of.
pub(crate) const CONSUMER_KEYS: [&str; 5] = ["attempts", "backoff", "give_up_after", "lanes", "start"];

/// The names of the keys of [`HandlerKeys`] and of [`SinkKeys`]; a test holds them equal.
const HANDLER_KEYS: [&str; 6] = ["apps", "commands", "except", "phase", "sinks", "type"];
const SINK_KEYS: [&str; 4] = ["batch", "order", "rate", "type"];

/// How many callbacks go to a handler's cell at once: it saves most of the way there, and a slow handler's batch is cut
/// short. A handler that waits for others gets them one by one.
const HANDLER_BATCH: usize = 64;
pub(crate) const HANDLER_LANES: usize = 4;
pub(crate) const SINK_BATCH: usize = 512;
const MAX_BATCH: usize = 100_000;

pub(crate) fn handler(
    source: &mut Source,
    path: &KeyPath,
    name: &str,
    table: Map<String, Value>,
    registry: &Registry,
    cx: &CheckContext,
) -> Option<HandlerInstance> {
    let section = Value::Object(table.clone());
    let (decide, table): (Map<_, _>, Map<_, _>) =
        table.into_iter().partition(|(key, _)| DECIDE_KEYS.contains(&key.as_str()));
    let parts = Parts::<HandlerKeys>::of(source, path, table, &HANDLER_KEYS);
    let plugin_name = match &parts.r#type {
        None => name,
        // What it is instead has been reported with the keys.
        Some(name) => name.as_str()?,
    };
    let Some(plugin) = registry.handler(plugin_name) else {
        let known: Vec<&str> = registry.handlers().iter().map(|plugin| plugin.name).collect();
        no_plugin(source, path, parts.r#type.as_ref(), "handler", plugin_name, &known);
        return None;
    };
    let decode = |section: &Value| plugin.decode(section);
    let known: Vec<&str> = match plugin.role {
        Role::Decide => {
            parts.known.iter().filter(|key| !CONSUMER_KEYS.contains(key)).chain(&DECIDE_KEYS).copied().collect()
        }
        Role::Handle => parts.known.clone(),
        Role::Both => [&*parts.known, &DECIDE_KEYS].concat(),
    };
    if !plugin.role.handles() {
        for key in parts.written.iter().filter(|key| CONSUMER_KEYS.contains(&key.as_str())) {
            let what = format!(
                "a handler of type {plugin_name:?} decides and has nothing to do afterwards; leave this key out"
            );
            source.error(&path.key(key), what);
        }
    }
    let settings = decode::plugin(source, path, parts.plugin, &plugin.schema(), &known, decode);
    let settings = checked(source, path, settings, |settings| settings.check(cx));
    if !plugin.role.decides() {
        for key in decide.keys() {
            let what = format!("a handler of type {plugin_name:?} does not decide; leave this key out");
            source.error(&path.key(key), what);
        }
    }
    let decide: Option<DecideKeys> = if plugin.role.decides() { decode::section(source, path, decide) } else { None };
    let (keys, run) = (parts.keys?, parts.run?);
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
    let enabled = run.enabled;
    let (lanes, batch) = plugin.lanes.map_or((HANDLER_LANES, HANDLER_BATCH), |lanes| (lanes, 1));
    let run = run.settings(source, path, lanes, batch);
    let route = Route { commands, except, apps: keys.apps, phase: keys.phase.unwrap_or(plugin.phase) };
    let decide = decide.map(|decide| decide.settings(source, path, &route, plugin, &keys.sinks));
    let settings = settings?;
    Some(HandlerInstance {
        name: name.to_owned(),
        plugin,
        fingerprint: fingerprint(&section, &settings.files()),
        settings,
        enabled,
        route,
        sinks: keys.sinks,
        run,
        decide,
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
    let section = Value::Object(table.clone());
    let parts = Parts::<SinkKeys>::of(source, path, table, &SINK_KEYS);
    let plugin_name = parts.r#type.as_ref().and_then(Value::as_str)?;
    let Some(plugin) = registry.sink(plugin_name) else {
        let known: Vec<&str> = registry.sinks().iter().map(|plugin| plugin.name).collect();
        no_plugin(source, path, parts.r#type.as_ref(), "sink", plugin_name, &known);
        return None;
    };
    let decode = |section: &Value| plugin.decode(section);
    let settings = decode::plugin(source, path, parts.plugin, &plugin.schema(), &parts.known, decode);
    let mut for_now = Vec::new();
    let settings = checked(source, path, settings, |settings| {
        let Err(errors) = settings.check(cx) else { return Ok(()) };
        let (now, errors): (Vec<_>, Vec<_>) = errors.into_iter().partition(|err| err.is_for_now);
        for_now = now;
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    });
    let for_now = for_now.into_iter().map(|err| source.for_now(&path.join(&err.path), err.message)).collect();
    let (keys, run) = (parts.keys?, parts.run?);
    debug_assert_eq!(keys.r#type, plugin_name);
    check_size(source, path, "batch", keys.batch, MAX_BATCH);
    let (lanes, batch) = match plugin.lanes {
        Lanes::One => (1, SINK_BATCH),
        Lanes::Default(lanes) => (lanes, 1),
    };
    if plugin.lanes == Lanes::One && run.lanes.is_some_and(|lanes| lanes.get() > 1) {
        let what = format!("a sink of type {plugin_name:?} has one lane; write 1, or leave this key out");
        source.error(&path.key("lanes"), what);
    }
    let enabled = run.enabled;
    let run = run.settings(source, path, lanes, keys.batch.map_or(batch, usize::from));
    let settings = settings?;
    Some(SinkInstance {
        name: name.to_owned(),
        plugin,
        fingerprint: fingerprint(&section, &settings.files()),
        settings,
        enabled,
        run: RunSettings { order: keys.order, rate: keys.rate, ..run },
        for_now,
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

/// A section, taken apart by the names of its keys.
struct Parts<K> {
    /// `type`, as it is written.
    r#type: Option<Value>,
    run: Option<RunKeys>,
    keys: Option<K>,
    plugin: Map<String, Value>,
    /// The names of those of `run` that are written.
    written: Vec<String>,
    /// The names of the keys of `run` and `keys`.
    known: Vec<&'static str>,
}

impl<K: DeserializeOwned + JsonSchema> Parts<K> {
    /// Takes apart what stands at `path`, and decodes all but the plugin's own; `names` are those of the keys of `K`.
    fn of(source: &mut Source, path: &KeyPath, table: Map<String, Value>, names: &[&'static str]) -> Parts<K> {
        let split = |table: Map<String, Value>, names: &[&str]| -> (Map<_, _>, Map<_, _>) {
            table.into_iter().partition(|(key, _)| names.contains(&key.as_str()))
        };
        let (run, rest) = split(table, &RUN_KEYS);
        let (keys, plugin) = split(rest, names);
        Parts {
            written: run.keys().cloned().collect(),
            r#type: keys.get("type").cloned(),
            run: decode::section(source, path, run),
            keys: decode::section(source, path, keys),
            plugin,
            known: [&RUN_KEYS, names].concat(),
        }
    }
}

/// Says that there is no plugin `name`: at `type`, or at the section if its name is what names the plugin.
fn no_plugin(source: &mut Source, path: &KeyPath, r#type: Option<&Value>, kind: &str, name: &str, known: &[&str]) {
    let hint = suggest(name, known, "there are");
    let what = format!(
        "no {kind} {name:?} in this program; {hint} (`dispatcher plugins` lists all; crates of your own are named in \
         `dispatcher::plugins!`)"
    );
    source.error(&if r#type.is_some() { path.key("type") } else { path.clone() }, what);
}

fn checked<S: ?Sized>(
    source: &mut Source,
    path: &KeyPath,
    settings: Option<Arc<S>>,
    check: impl FnOnce(&S) -> Result<(), Vec<SettingError>>,
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

#[cfg(test)]
mod tests {
    use dispatcher_core::RESERVED_KEYS;

    use super::*;

    #[test]
    fn the_lists_of_keys_are_those_of_the_structs_and_reserved() {
        #[track_caller]
        fn check<K: JsonSchema>(names: &[&str]) {
            let schema = schemars::schema_for!(K);
            let mut keys: Vec<&str> =
                schema.get("properties").unwrap().as_object().unwrap().keys().map(String::as_str).collect();
            keys.sort_unstable();
            assert_eq!(keys, names);
            for key in names {
                assert!(RESERVED_KEYS.contains(key), "{key}");
            }
        }
        check::<RunKeys>(&RUN_KEYS);
        check::<HandlerKeys>(&HANDLER_KEYS);
        check::<DecideKeys>(&DECIDE_KEYS);
        check::<SinkKeys>(&SINK_KEYS);
    }
}
