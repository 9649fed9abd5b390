//! All settings, for people, in Markdown: what the schema says, as tables.

use std::fmt::Write as _;

use dispatcher_core::Registry;
use serde_json::Value;

use crate::schema::{plain_sections, schema};

/// The reference of all settings in a program with these plugins.
#[must_use]
pub fn reference(registry: &Registry) -> String {
    let schema = schema(registry);
    let mut page = Page { schema: &schema, text: String::new() };
    page.text.push_str(
        "# Settings\n\nEverything that `dispatcher.toml` may say. Made by `dispatcher schema --markdown`, which, in a program \
         with plugins of your own, has theirs as well.\n",
    );
    let sections = &schema["properties"];
    let definition = |name: String| &schema["definitions"][name.as_str()];
    for name in plain_sections(&schema) {
        page.section(&format!("`[{name}]`"), &sections[name], &[]);
    }
    page.section("`[[apps]]`", &sections["apps"]["items"], &[]);
    page.section("`[commands.\"PATTERN\"]`", &sections["commands"]["additionalProperties"], &[]);
    for (kind, names) in [
        ("handler", registry.handlers().iter().map(|plugin| plugin.name).collect::<Vec<_>>()),
        ("sink", registry.sinks().iter().map(|plugin| plugin.name).collect()),
    ] {
        // What all plugins of a kind take is told once.
        let of_all: Vec<&str> = shared(&schema, kind);
        page.chapter(&format!("`[{kind}s.<name>]`"), sections[format!("{kind}s")]["description"].as_str());
        page.table(definition(kind.to_owned()), "", &|key| of_all.contains(&key));
        for name in names {
            page.section(
                &format!("`[{kind}s.<name>]` with `type = \"{name}\"`"),
                definition(format!("{kind}.{name}")),
                &of_all,
            );
        }
    }
    page.text
}

/// The keys of a kind of plugins that are the dispatcher's.
fn shared<'a>(schema: &'a Value, kind: &str) -> Vec<&'a str> {
    let properties = schema["definitions"][kind]["properties"].as_object();
    let keys = properties.into_iter().flatten().map(|(key, _)| key.as_str());
    keys.filter(|key| dispatcher_core::RESERVED_KEYS.contains(key)).collect()
}

struct Page<'a> {
    schema: &'a Value,
    text: String,
}

impl<'a> Page<'a> {
    fn chapter(&mut self, heading: &str, description: Option<&str>) {
        let _ = write!(self.text, "\n## {heading}\n\n{}\n", description.unwrap_or_default());
    }

    /// A section without the keys that are told elsewhere.
    fn section(&mut self, heading: &str, section: &'a Value, without: &[&str]) {
        let section = self.resolve(section);
        self.chapter(heading, section["description"].as_str());
        let keys = section["properties"].as_object().into_iter().flatten();
        if keys.filter(|(key, _)| !without.contains(&key.as_str())).count() > 0 {
            self.table(section, "", &|key| !without.contains(&key));
        }
    }

    fn table(&mut self, section: &'a Value, prefix: &str, is_told: &dyn Fn(&str) -> bool) {
        if prefix.is_empty() {
            self.text.push_str("\n| key | takes | default | |\n|---|---|---|---|\n");
        }
        let required = section["required"].as_array();
        let is_required = |key: &str| required.is_some_and(|keys| keys.iter().any(|name| name == key));
        for (key, property) in section["properties"].as_object().into_iter().flatten().filter(|(key, _)| is_told(key)) {
            let inner = self.resolve(property);
            let default = match &property["default"] {
                _ if is_required(key) => "(required)".to_owned(),
                Value::Null | Value::Object(_) => String::new(),
                default => format!("`{default}`"),
            };
            let takes = self.takes(property).replace('|', "\\|");
            let help = property["description"].as_str().unwrap_or_default().replace('|', "\\|");
            let _ = writeln!(self.text, "| `{prefix}{key}` | {takes} | {default} | {help} |");
            if inner.get("properties").is_some() && inner.get("anyOf").is_none() {
                self.table(inner, &format!("{prefix}{key}."), &|_| true);
            }
        }
    }

    /// What a reference leads to.
    fn resolve(&self, schema: &'a Value) -> &'a Value {
        let target = schema.get("$ref").or_else(|| schema["allOf"][0].get("$ref")).and_then(Value::as_str);
        match target.and_then(|target| target.strip_prefix("#/definitions/")) {
            Some(name) => &self.schema["definitions"][name],
            None => schema,
        }
    }

    /// What may be written, in a word or as the words themselves.
    fn takes(&self, schema: &'a Value) -> String {
        let target = schema.get("$ref").or_else(|| schema["allOf"][0].get("$ref")).and_then(Value::as_str);
        match target.and_then(|target| target.rsplit(['/', '.']).next()) {
            Some("TimeSpan") => return "time".to_owned(),
            Some("ByteSize") => return "size".to_owned(),
            Some("Rate") => return "rate".to_owned(),
            Some("Secret") => return "secret".to_owned(),
            Some("Network") => return "network".to_owned(),
            _ => {}
        }
        let schema = self.resolve(schema);
        let alternatives = schema.get("oneOf").or(schema.get("anyOf")).and_then(Value::as_array);
        if let Some(alternatives) = alternatives {
            let is_variable = |schema: &&Value| schema["description"] == "A variable of the environment.";
            let all = alternatives.iter().filter(|schema| !is_variable(schema)).map(|schema| self.takes(schema));
            return all.collect::<Vec<_>>().join(", ");
        }
        let word = |word: &Value| format!("`{word}`");
        if let Some(words) = schema["enum"].as_array() {
            return words.iter().map(word).collect::<Vec<_>>().join(", ");
        }
        if let Some(only) = schema.get("const") {
            return word(only);
        }
        match schema["type"].as_str() {
            Some("integer") => "whole number".to_owned(),
            Some("boolean") => "`true`, `false`".to_owned(),
            Some("string") if schema["format"] == "date-time" => "time (RFC 3339)".to_owned(),
            Some("array") => format!("list: {}", self.takes(&schema["items"])),
            Some("object") if schema["additionalProperties"].is_object() => {
                format!("table: {}", self.takes(&schema["additionalProperties"]))
            }
            Some("object") => "table".to_owned(),
            Some(other) => other.to_owned(),
            None => String::new(),
        }
    }
}
