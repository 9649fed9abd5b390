//! What every plugin promises, checked. Each plugin's own tests call these once.

use std::{collections::HashMap, fs, path::Path, sync::Arc, time::Instant};

use dispatcher::Plugins;
use dispatcher_config::Config;
use dispatcher_core::{
    Callback, CheckContext, CommandPattern, DeliverContext, Event, EventData, HandleContext, Handler, HandlerError,
    HandlerPlugin, NewEvent, OpenContext, Outcome, Registry, Sink, SinkPlugin,
};
use serde_json::Value;

use crate::{
    PATIENCE, callback,
    deciding::{check_decisions, check_no_decision},
    events, sample,
};

fn registry() -> Registry {
    dispatcher::registry(Plugins::default()).unwrap_or_else(|errors| panic!("{errors:#?}"))
}

/// Opens the handler that is registered as `name` with these settings.
///
/// # Panics
/// When there is none, or the settings are wrong.
pub async fn open_handler(name: &str, settings: Value) -> Arc<dyn Handler> {
    let registry = registry();
    let plugin = registry.handler(name).unwrap_or_else(|| panic!("no handler {name:?} is linked into this test"));
    let settings = plugin.decode(&settings).unwrap_or_else(|err| panic!("{err}"));
    settings.check(&CheckContext::default()).unwrap_or_else(|errors| panic!("{errors:#?}"));
    settings.open(&OpenContext::new(name, 0)).await.unwrap_or_else(|err| panic!("{err}"))
}

/// Opens the sink that is registered as `name` with these settings.
///
/// # Panics
/// When there is none, or the settings are wrong.
pub async fn open_sink(name: &str, settings: Value) -> Box<dyn Sink> {
    let registry = registry();
    let plugin = registry.sink(name).unwrap_or_else(|| panic!("no sink {name:?} is linked into this test"));
    let settings = plugin.decode(&settings).unwrap_or_else(|err| panic!("{err}"));
    settings.check(&CheckContext::default()).unwrap_or_else(|errors| panic!("{errors:#?}"));
    settings.open(&OpenContext::new(name, 0)).await.unwrap_or_else(|err| panic!("{err}"))
}

/// Checks the handler that is registered as `name`, in the crate at `folder` (`env!("CARGO_MANIFEST_DIR")`):
///
/// - it selects commands that exist, and its `README.md` and `sample.toml` are there and right;
/// - it takes the sample of every command it selects, and a body of `{}`, without a panic;
/// - it returns the same events for the same callback, since their ids must be the same after a crash;
/// - the events have a type, and data that is JSON; one that only decides returns none;
/// - of commands that want a decision, it decides about the sample, and about hundreds of bodies that lack something of it or
///   have something else in its place, without a panic, without blocking, by its deadline, and only what the command knows;
///   one that is not registered as deciding decides nothing.
///
/// # Panics
/// When it does not keep the contract.
pub async fn check_handler(name: &str, settings: Value, folder: &str) {
    check_folder(name, folder, "handlers");
    let registry = registry();
    let plugin = registry.handler(name).unwrap_or_else(|| panic!("no handler {name:?} is linked into this test"));
    let patterns: Vec<CommandPattern> = plugin
        .commands
        .iter()
        .map(|text| CommandPattern::new(text).unwrap_or_else(|err| panic!("{name}: {err}")))
        .collect();
    for pattern in &patterns {
        assert!(pattern.selects_known(), "{name} selects {pattern}, which is no command of the catalogue");
    }
    let handler = open_handler(name, settings).await;
    let selected = tencent_chat::commands().iter().filter(|info| patterns.iter().any(|one| one.selects(info.name)));
    for info in selected {
        if info.wants_decision() && plugin.role.decides() {
            check_decisions(name, &handler, info).await;
        } else if info.wants_decision() {
            check_no_decision(name, &handler, info).await;
        }
        let first = handle(&*handler, &sample(info.name)).await;
        let first = first.unwrap_or_else(|err| panic!("{name} fails on the sample of {}: {err}", info.name));
        check_events(name, &first);
        let is_right = plugin.role.handles() || first.is_empty();
        assert!(is_right, "{name} returns events, but is registered with `role = decide`");
        let again = handle(&*handler, &sample(info.name)).await.unwrap_or_else(|err| panic!("{name}: {err}"));
        assert_eq!(shape(&first), shape(&again), "{name} returns other events for the same {}", info.name);
        // It may refuse this one, but in words.
        if let Ok(of_nothing) = handle(&*handler, &callback(info.name, "{}")).await {
            check_events(name, &of_nothing);
        }
    }
}

/// Checks the sink that is registered as `name`, with these settings, in the crate at `folder`
/// (`env!("CARGO_MANIFEST_DIR")`):
///
/// - its `README.md` and `sample.toml` are there and right;
/// - it gives one outcome per event, and what is done has arrived, by the word of `arrived`, which gives the ids of what
///   arrived, in order;
/// - events of one key arrive in order;
/// - it takes events that it has had before, and goes on after `close` and a new `open`.
///
/// # Panics
/// When it does not keep the contract.
pub async fn check_sink(name: &str, settings: Value, folder: &str, mut arrived: impl AsyncFnMut(usize) -> Vec<String>) {
    check_folder(name, folder, "sinks");
    let mut batch = Vec::new();
    for seq in 0..30 {
        let group = seq % 3;
        let body = format!(r#"{{"GroupId":"group-{group}","EventTime":{}}}"#, 1_767_000_000_000_u64 + seq);
        let callback = callback("Group.CallbackAfterGroupFull", &body);
        let new = NewEvent::forwarding("tencent-chat.callback.Group.CallbackAfterGroupFull");
        batch.extend(events(seq + 1, "everything", &callback, &[new]));
    }
    let mut sink = open_sink(name, settings.clone()).await;
    deliver(&mut *sink, &batch).await;
    sink.close().await.unwrap_or_else(|err| panic!("{name} does not close: {err}"));
    drop(sink);
    check_order(name, &batch, &in_time(name, arrived(batch.len())).await);

    let mut sink = open_sink(name, settings).await;
    deliver(&mut *sink, &batch[..1]).await;
    sink.close().await.unwrap_or_else(|err| panic!("{name} does not close: {err}"));
    drop(sink);
    let ids = in_time(name, arrived(batch.len() + 1)).await;
    let id = batch[0].id();
    assert_eq!(ids.iter().filter(|each| **each == id).count(), 2, "{name} did not take an event again");
}

async fn in_time(name: &str, arrived: impl Future<Output = Vec<String>>) -> Vec<String> {
    let waited = tokio::time::timeout(PATIENCE, arrived).await;
    waited.unwrap_or_else(|_| panic!("{name} said that events are safe which have not arrived"))
}

async fn deliver(sink: &mut dyn Sink, batch: &[Event]) {
    let cx = DeliverContext { deadline: Instant::now() + PATIENCE, attempt: 1 };
    let outcomes = sink.deliver(batch, &cx).await.unwrap_or_else(|err| panic!("the delivery failed: {err}"));
    assert_eq!(outcomes.into_vec(batch.len()), vec![Outcome::Done; batch.len()]);
}

async fn handle(handler: &dyn Handler, callback: &Callback) -> Result<Vec<NewEvent>, HandlerError> {
    let cx = HandleContext { deadline: Instant::now() + PATIENCE, attempt: 1, replay: false };
    handler.handle(callback, &cx).await
}

fn check_order(name: &str, batch: &[Event], arrived: &[String]) {
    let mut by_key: HashMap<Option<&str>, Vec<String>> = HashMap::new();
    for event in batch {
        by_key.entry(event.key.as_deref()).or_default().push(event.id());
    }
    for (key, ids) in by_key {
        let of_key: Vec<&String> = arrived.iter().filter(|id| ids.contains(id)).collect();
        assert_eq!(of_key, ids.iter().collect::<Vec<_>>(), "{name}: events of {key:?} are missing or out of order");
    }
}

fn check_events(name: &str, new: &[NewEvent]) {
    for event in new {
        assert!(!event.event_type().is_empty(), "{name} emits an event without a type");
        if let EventData::Json(json) = event.data() {
            let valid = serde_json::from_slice::<Value>(json);
            assert!(valid.is_ok(), "{name} emits data that is no JSON: {valid:?}");
        }
    }
}

fn shape(new: &[NewEvent]) -> Vec<(String, EventData)> {
    new.iter().map(|event| (event.event_type().to_owned(), event.data().clone())).collect()
}

/// A plugin is a folder with a README and a sample configuration: the README shows the sample, and the sample shows every
/// setting, with its default.
fn check_folder(name: &str, folder: &str, section: &str) {
    let read = |file: &str| {
        let path = Path::new(folder).join(file);
        fs::read_to_string(&path).unwrap_or_else(|err| panic!("{name} has no {}: {err}", path.display()))
    };
    let (readme, sample) = (read("README.md"), read("sample.toml"));
    assert!(readme.contains(&sample), "the README of {name} does not show its sample.toml as it is");
    // The sample as it is, and with every default written out.
    let spelled_out = sample.lines().map(|line| line.strip_prefix("# ").unwrap_or(line)).collect::<Vec<_>>().join("\n");
    let console = if section == "handlers" { "[sinks.console]\ntype = \"log\"\n" } else { "" };
    let parse = |sample: &str| {
        let rest = "[[apps]]\nsdk_app_id = 1\nname = \"main\"\nsignature = \"off\"\n";
        let environment = |_: &str| Some("whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQ=".to_owned());
        Config::parse("sample.toml", &format!("{sample}\n{rest}{console}"), &registry(), &environment)
    };
    let config = parse(&sample).unwrap_or_else(|err| panic!("the sample of {name} is wrong:\n{err}"));
    let types: Vec<&str> = match section {
        "handlers" => config.handlers.iter().map(|handler| handler.plugin.name).collect(),
        _ => config.sinks.iter().map(|sink| sink.plugin.name).collect(),
    };
    assert_eq!(types, [name], "the sample of {name} sets up something else");
    // Settings that exclude each other may all be shown; one that does not exist may not.
    let errors = parse(&spelled_out).err().map_or_else(Vec::new, |findings| findings.errors);
    let unknown = errors.iter().find(|finding| finding.message.starts_with("unknown"));
    assert!(unknown.is_none(), "the sample of {name} shows what does not exist: {unknown:?}");
    let schema = match section {
        "handlers" => registry().handler(name).map(HandlerPlugin::schema),
        _ => registry().sink(name).map(SinkPlugin::schema),
    };
    let schema = schema.unwrap_or_else(|| panic!("no plugin {name:?} is linked into this test"));
    for (key, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        assert!(property["description"].is_string() || property["$ref"].is_string(), "{name}: {key} has no help");
        let line = spelled_out.lines().find(|line| line.starts_with(&format!("{key} = ")));
        let line = line.unwrap_or_else(|| panic!("the sample of {name} does not show {key}"));
        if let Some(default @ (Value::String(_) | Value::Number(_) | Value::Bool(_))) = property.get("default") {
            assert_eq!(line, format!("{key} = {default}"), "the sample of {name} says another default");
        }
    }
}
