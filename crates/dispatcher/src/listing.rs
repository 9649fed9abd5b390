//! `dispatcher plugins` and `dispatcher commands`.

use std::fmt::Write as _;

use dispatcher_core::{Lanes, Origin, PhaseFilter, Registry};
use schemars::Schema;
use serde_json::{Value, json};
use tencent_chat::{OrderKey, ReplyKind};

/// `dispatcher plugins`.
pub(crate) fn plugins(registry: &Registry) -> String {
    let mut out = String::from("handlers\n");
    for plugin in registry.handlers() {
        let phase = match plugin.phase {
            PhaseFilter::Any => String::new(),
            phase => format!(" (phase {phase})"),
        };
        entry(&mut out, plugin.name, &plugin.origin, &plugin.schema(), |out| {
            let _ = writeln!(out, "      commands: {}{phase}", plugin.commands.join(", "));
            if let Some(lanes) = plugin.lanes {
                let _ = writeln!(out, "      lanes: {lanes}");
            }
        });
    }
    out.push_str("\nsinks\n");
    for plugin in registry.sinks() {
        entry(&mut out, plugin.name, &plugin.origin, &plugin.schema(), |out| {
            let _ = match plugin.lanes {
                Lanes::One => writeln!(out, "      lanes: 1, always"),
                Lanes::Default(lanes) => writeln!(out, "      lanes: {lanes}"),
            };
        });
    }
    out
}

/// `dispatcher plugins --json`.
pub(crate) fn plugins_json(registry: &Registry) -> Value {
    let handlers = registry.handlers().iter().map(|plugin| {
        let mut entry = entry_json(plugin.name, &plugin.origin, plugin.schema());
        entry["commands"] = json!(plugin.commands);
        entry["phase"] = json!(plugin.phase.to_string());
        entry
    });
    let sinks = registry.sinks().iter().map(|plugin| {
        let mut entry = entry_json(plugin.name, &plugin.origin, plugin.schema());
        entry["lanes"] = match plugin.lanes {
            Lanes::One => json!({ "always": 1 }),
            Lanes::Default(lanes) => json!({ "default": lanes }),
        };
        entry
    });
    json!({ "handlers": handlers.collect::<Vec<_>>(), "sinks": sinks.collect::<Vec<_>>() })
}

/// `dispatcher commands`.
pub(crate) fn commands() -> String {
    let mut out = format!("{:<55} {:<7} {:<9} {:<32} {}\n", "command", "phase", "reply", "key", "tells apart");
    for info in tencent_chat::commands() {
        let tells_apart: Vec<String> = info.tells_apart.iter().map(ToString::to_string).collect();
        let line = format!(
            "{:<55} {:<7} {:<9} {:<32} {}",
            info.name,
            info.phase,
            reply(info.reply),
            key(info.order_key),
            tells_apart.join(", ")
        );
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out
}

/// `dispatcher commands --json`.
pub(crate) fn commands_json() -> Value {
    let commands = tencent_chat::commands().iter().map(|info| {
        let key: Vec<String> = match info.order_key {
            OrderKey::None => vec![],
            OrderKey::Field(path) => vec![path.to_string()],
            OrderKey::Pair(one, other) => vec![one.to_string(), other.to_string()],
        };
        json!({
            "command": info.name,
            "category": info.category,
            "title": info.title,
            "phase": info.phase.to_string(),
            "reply": reply(info.reply),
            "key": key,
            "tells_apart": info.tells_apart.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "doc": info.doc,
        })
    });
    Value::Array(commands.collect())
}

fn reply(kind: ReplyKind) -> &'static str {
    match kind {
        ReplyKind::Ack => "ack",
        ReplyKind::Decision => "decision",
    }
}

fn key(key: OrderKey) -> String {
    match key {
        OrderKey::None => String::new(),
        OrderKey::Field(path) => path.to_string(),
        OrderKey::Pair(one, other) => format!("{one} + {other}"),
    }
}

fn entry(out: &mut String, name: &str, origin: &Origin, schema: &Schema, more: impl FnOnce(&mut String)) {
    let _ =
        writeln!(out, "  {name}\n      {}\n      crate: {} {}", origin.description, origin.crate_name, origin.version);
    more(out);
    let required: Vec<&str> =
        schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let properties = schema.get("properties").and_then(Value::as_object);
    for (key, property) in properties.into_iter().flatten() {
        let help = property.get("description").and_then(Value::as_str).unwrap_or_default().replace('\n', " ");
        let must = if required.contains(&key.as_str()) { " (required)" } else { "" };
        let _ = writeln!(out, "      {key}{must}: {help}");
    }
}

fn entry_json(name: &str, origin: &Origin, schema: Schema) -> Value {
    json!({
        "name": name,
        "description": origin.description,
        "crate": origin.crate_name,
        "version": origin.version,
        "settings": schema,
    })
}
