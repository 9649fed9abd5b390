//! The JSON Schema of the whole file, for editors: the dispatcher's own sections, and those of every plugin in the program.
//!
//! Draft 7, which editors of TOML know. Nothing in it says more than what the types of the settings say; what is checked
//! beyond types, `dispatcher check` finds.

use dispatcher_core::{HandlerPlugin, Lanes, Registry, Role, SinkPlugin};
use schemars::{JsonSchema, Schema, schema_for};
use serde_json::{Map, Value, json};

use crate::{
    AdminSection, AppSection, IntakeSection, JournalSection, LogSection, ObserveSection, ReloadSection,
    decide::DecideKeys,
    plugins::{CONSUMER_KEYS, HANDLER_LANES, HandlerKeys, SINK_BATCH, SinkKeys},
    run::RunKeys,
    sections::CommandSection,
};

/// The JSON Schema of `dispatcher.toml` in a program with these plugins.
#[must_use]
pub fn schema(registry: &Registry) -> Value {
    let mut definitions = Definitions::default();
    let properties = json!({
        "intake": definitions.own::<IntakeSection>(),
        "apps": { "type": "array", "minItems": 1, "items": definitions.own::<AppSection>() },
        "commands": {
            "description": "What is particular to some commands: a section for each name, family such as \"Group.*\", or \"*\".",
            "type": "object",
            "additionalProperties": definitions.own::<CommandSection>(),
        },
        "journal": definitions.own::<JournalSection>(),
        "handlers": handlers(&mut definitions, registry.handlers()),
        "sinks": sinks(&mut definitions, registry.sinks()),
        "observe": definitions.own::<ObserveSection>(),
        "admin": definitions.own::<AdminSection>(),
        "log": definitions.own::<LogSection>(),
        "reload": definitions.own::<ReloadSection>(),
    });
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "dispatcher.toml",
        "type": "object",
        "properties": properties,
        "required": ["apps"],
        "additionalProperties": false,
        "definitions": definitions.0,
    })
}

/// The names of the sections that are neither many nor plugins'.
pub(crate) fn plain_sections(schema: &Value) -> impl Iterator<Item = &str> {
    let names = schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name.as_str());
    names.filter(|name| !["apps", "commands", "handlers", "sinks"].contains(name))
}

/// Names end up in ids, file names and metrics.
const NAME: &str = "^[A-Za-z0-9_-]{1,64}$";

fn handlers(definitions: &mut Definitions, plugins: &[&HandlerPlugin]) -> Value {
    let run = definitions.own::<RunKeys>();
    let decide = definitions.own::<DecideKeys>();
    let keys = definitions.own::<HandlerKeys>();
    let mut known = Map::new();
    for plugin in plugins {
        let mut section = definitions.add(plugin.name, plugin.schema());
        for (keys, is_taken) in [(&run, true), (&keys, true), (&decide, plugin.role.decides())] {
            if is_taken {
                add_keys(&mut section, keys, |key| plugin.role != Role::Decide || !CONSUMER_KEYS.contains(&key));
            }
        }
        let defaults = [
            ("type", json!(plugin.name)),
            ("commands", json!(plugin.commands)),
            ("phase", json!(plugin.phase.to_string())),
            ("lanes", json!(plugin.lanes.unwrap_or(HANDLER_LANES))),
        ];
        set_defaults(&mut section, defaults);
        let commands = plugin.commands.join("`, `");
        describe(
            &mut section,
            plugin.origin.description,
            &format!("It selects `{commands}` unless `commands` says otherwise."),
        );
        let name = definition_name("handler", plugin.name);
        known.insert(plugin.name.to_owned(), by_name("handler", plugin.name));
        definitions.0.insert(name, section);
    }
    let mut any = json!({ "type": "object", "properties": {} });
    for keys in [&run, &keys, &decide] {
        add_keys(&mut any, keys, |_| true);
    }
    let names: Vec<&str> = plugins.iter().map(|plugin| plugin.name).collect();
    definitions.any("handler", any, &names);
    json!({
        "description": "Handlers decide about callbacks, or make events of them: a section for each.",
        "type": "object",
        "propertyNames": { "pattern": NAME },
        "properties": known,
        // Without `type` a section's own name is that of its plugin.
        "additionalProperties": { "allOf": [reference("handler"), { "required": ["type"] }] },
    })
}

fn sinks(definitions: &mut Definitions, plugins: &[&SinkPlugin]) -> Value {
    let run = definitions.own::<RunKeys>();
    let keys = definitions.own::<SinkKeys>();
    for plugin in plugins {
        let mut section = definitions.add(plugin.name, plugin.schema());
        for keys in [&run, &keys] {
            add_keys(&mut section, keys, |_| true);
        }
        let (lanes, batch) = match plugin.lanes {
            Lanes::One => (1, SINK_BATCH),
            Lanes::Default(lanes) => (lanes, 1),
        };
        set_defaults(&mut section, [("lanes", json!(lanes)), ("batch", json!(batch))]);
        let lanes = match plugin.lanes {
            Lanes::One => {
                section["properties"]["lanes"]["maximum"] = json!(1);
                "It has one lane, always.".to_owned()
            }
            Lanes::Default(lanes) => format!("It has {lanes} lanes unless `lanes` says otherwise."),
        };
        describe(&mut section, plugin.origin.description, &lanes);
        definitions.0.insert(definition_name("sink", plugin.name), section);
    }
    let mut any = json!({ "type": "object", "properties": {} });
    for keys in [&run, &keys] {
        add_keys(&mut any, keys, |_| true);
    }
    let names: Vec<&str> = plugins.iter().map(|plugin| plugin.name).collect();
    any["required"] = json!(["type"]);
    definitions.any("sink", any, &names);
    json!({
        "description": "Sinks take events to where they are wanted: a section for each.",
        "type": "object",
        "propertyNames": { "pattern": NAME },
        "additionalProperties": reference("sink"),
    })
}

/// A section that is called as a plugin is: that plugin's, unless its `type` says otherwise.
fn by_name(kind: &str, name: &str) -> Value {
    let untyped = json!({ "not": { "required": ["type"] } });
    json!({ "allOf": [reference(kind), { "if": untyped, "then": reference(&definition_name(kind, name)) }] })
}

fn definition_name(kind: &str, name: &str) -> String {
    format!("{kind}.{name}")
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/definitions/{name}") })
}

/// What counts for keys whose default is the plugin's, of those that it takes.
fn set_defaults<const N: usize>(section: &mut Value, defaults: [(&str, Value); N]) {
    for (key, default) in defaults {
        if let Some(property) = section["properties"].get_mut(key) {
            property["default"] = default;
        }
    }
}

fn describe(section: &mut Value, description: &str, more: &str) {
    section["description"] = format!("{description}. {more}").into();
}

/// Adds those of the keys of `other` that `is_taken` says.
fn add_keys(section: &mut Value, other: &Value, is_taken: impl Fn(&str) -> bool) {
    let taken = |(key, _): &(&String, &Value)| is_taken(key);
    for (key, schema) in other["properties"].as_object().into_iter().flatten().filter(taken) {
        section["properties"][key] = schema.clone();
    }
    for key in other["required"].as_array().into_iter().flatten().filter(|key| key.as_str().is_some_and(&is_taken)) {
        match section["required"].as_array_mut() {
            Some(required) => required.push(key.clone()),
            None => section["required"] = json!([key]),
        }
    }
}

/// What the schemas of sections refer to.
#[derive(Default)]
struct Definitions(Map<String, Value>);

impl Definitions {
    /// The schema of one of the dispatcher's own types.
    fn own<T: JsonSchema>(&mut self) -> Value {
        self.add("", schema_for!(T))
    }

    /// A schema with what it refers to moved here. Where a name is taken by something else, `owner` goes before it.
    fn add(&mut self, owner: &str, schema: Schema) -> Value {
        let mut schema = schema.to_value();
        let own = schema.as_object_mut().and_then(|schema| schema.remove("$defs"));
        let own = own.and_then(|own| own.as_object().cloned()).unwrap_or_default();
        let plain = |name: &str| name.to_owned();
        let is_free = own
            .iter()
            .all(|(name, definition)| self.0.get(name).is_none_or(|taken| *taken == tidy(definition.clone(), &plain)));
        let prefixed = |name: &str| format!("{owner}.{name}");
        let rename: &dyn Fn(&str) -> String = if is_free { &plain } else { &prefixed };
        for (name, definition) in own {
            self.0.insert(rename(&name), tidy(definition, rename));
        }
        let mut schema = tidy(schema, rename);
        if let Some(schema) = schema.as_object_mut() {
            schema.remove("$schema");
        }
        schema
    }

    /// What any section of a kind may be: the keys that all take, and beyond that what its `type` says. The keys of all
    /// plugins are named once more without saying what they take, since not every editor looks behind an `if`.
    fn any(&mut self, kind: &str, mut any: Value, names: &[&str]) {
        any["properties"]["type"]["enum"] = json!(names);
        let mut cases = Vec::new();
        for name in names {
            let plugin = definition_name(kind, name);
            for (key, schema) in self.0[&plugin]["properties"].as_object().into_iter().flatten() {
                if any["properties"].get(key).is_none() {
                    any["properties"][key] = json!({ "description": schema["description"] });
                }
            }
            let is = json!({ "properties": { "type": { "const": name } }, "required": ["type"] });
            cases.push(json!({ "if": is, "then": reference(&plugin) }));
        }
        any["allOf"] = cases.into();
        self.0.insert(kind.to_owned(), any);
    }
}

/// A schema as draft 7 wants it and as TOML needs it: TOML has no null, and a variable of the environment may stand in any
/// string.
fn tidy(schema: Value, rename: &dyn Fn(&str) -> String) -> Value {
    let Value::Object(schema) = schema else { return schema };
    let mut tidied = Map::new();
    for (keyword, value) in schema {
        let value = match (keyword.as_str(), value) {
            ("title" | "nullable", _) => continue,
            // Widths of Rust's numbers, which say nothing to people.
            ("format", Value::String(format)) if format.starts_with(['u', 'i', 'd']) && format != "date-time" => {
                continue;
            }
            ("default", Value::Null) => continue,
            ("$ref", Value::String(target)) => {
                let name = rename(target.trim_start_matches("#/$defs/"));
                format!("#/definitions/{name}").into()
            }
            ("properties" | "patternProperties", Value::Object(properties)) => {
                properties.into_iter().map(|(key, schema)| (key, tidy(schema, rename))).collect()
            }
            (
                "items" | "additionalProperties" | "not" | "contains" | "propertyNames" | "if" | "then" | "else",
                schema,
            ) => tidy(schema, rename),
            ("anyOf" | "oneOf" | "allOf" | "prefixItems", Value::Array(schemas)) => {
                let schemas = schemas.into_iter().filter(|schema| *schema != json!({ "type": "null" }));
                schemas.map(|schema| tidy(schema, rename)).collect()
            }
            ("type", Value::Array(mut types)) => {
                types.retain(|name| name != "null");
                if types.len() == 1 { types.remove(0) } else { types.into() }
            }
            ("description", Value::String(text)) => text.replace('\n', " ").into(),
            ("pattern", Value::String(pattern)) => format!("{pattern}|{VARIABLE}").into(),
            (_, value) => value,
        };
        tidied.insert(keyword, value);
    }
    flatten(&mut tidied);
    take_variables(&mut tidied);
    Value::Object(tidied)
}

/// `${VARIABLE}`.
const VARIABLE: &str = r"\$\{[^}]+\}";

/// An `anyOf` of one alternative is that alternative; beside a `$ref`, draft 7 looks at nothing.
fn flatten(schema: &mut Map<String, Value>) {
    if let Some([only]) = schema.get("anyOf").and_then(Value::as_array).map(Vec::as_slice) {
        let only = only.clone();
        schema.remove("anyOf");
        for (keyword, value) in only.as_object().into_iter().flatten() {
            schema.entry(keyword.clone()).or_insert_with(|| value.clone());
        }
    }
    if schema.len() > 1
        && let Some(target) = schema.remove("$ref")
    {
        schema.insert("allOf".to_owned(), json!([{ "$ref": target }]));
    }
    if let Some(items) = schema.remove("prefixItems") {
        if let Some(more) = schema.remove("items") {
            schema.insert("additionalItems".to_owned(), more);
        }
        schema.insert("items".to_owned(), items);
    }
}

/// Lets a variable stand where one of several words may.
fn take_variables(schema: &mut Map<String, Value>) {
    let variable = json!({ "description": "A variable of the environment.", "type": "string", "pattern": VARIABLE });
    // What an inner alternative of several words has become.
    let words = |choice: &Value| choice["anyOf"][0].get("enum").is_some().then(|| choice["anyOf"][0].clone());
    if let Some(choices) = schema.get_mut("oneOf").and_then(Value::as_array_mut)
        && choices.iter().any(|choice| choice["const"].is_string() || words(choice).is_some())
    {
        for choice in choices.iter_mut() {
            if let Some(words) = words(choice) {
                *choice = words;
            }
        }
        choices.push(variable);
    } else if schema.get("enum").and_then(Value::as_array).is_some_and(|words| words.iter().all(Value::is_string)) {
        let words = schema.remove("enum").unwrap_or_default();
        schema.remove("type");
        schema.insert("anyOf".to_owned(), json!([{ "type": "string", "enum": words }, variable]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SECTIONS;

    #[test]
    fn has_every_section() {
        let schema = schema(&Registry::collect(&[]).unwrap());
        let sections: Vec<&String> = schema["properties"].as_object().unwrap().keys().collect();
        assert_eq!(sections, SECTIONS);
        assert_eq!(plain_sections(&schema).count(), SECTIONS.len() - 4);
    }
}
