//! What a configuration comes to, value by value, and where each comes from.

use dispatcher_core::Registry;
use serde_json::{Map, Value};

use crate::{
    Config, Findings,
    key_path::KeyPath,
    schema::{plain_sections, schema},
    source::{Environment, Source},
};

/// What is shown in place of a secret.
const HIDDEN: &str = "(secret)";

/// Parts of the names of variables that hold secrets, wherever they are used.
const SECRET_NAMES: [&str; 6] = ["TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL", "KEY"];

/// One value of the configuration as it is in force. What is not set and has no default has none.
#[derive(Clone, Debug, PartialEq)]
pub struct EffectiveSetting {
    /// The section as it is headed in the file, such as `[intake]` or `[[apps]]`.
    pub section: String,
    /// The key in it, with dots for what is inside.
    pub key: String,
    /// The value; secrets are hidden, and so are the users and queries of URLs.
    pub value: Value,
    /// Where it comes from.
    pub origin: SettingOrigin,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettingOrigin {
    /// Nobody set it.
    Default,
    /// It is written in the file.
    File {
        /// The line, from 1.
        line: usize,
    },
    /// It is written in the file with variables of the environment.
    Environment {
        /// The line, from 1.
        line: usize,
        /// The names of the variables.
        variables: Vec<String>,
    },
}

/// What `text`, which is called `file` in findings, comes to with variables from `environment`. Looks at the file system as
/// [`Config::parse`] does.
///
/// # Errors
/// Everything that is wrong, as [`Config::parse`] has it.
pub fn effective(
    file: &str,
    text: &str,
    registry: &Registry,
    environment: Environment<'_>,
) -> Result<Vec<EffectiveSetting>, Findings> {
    Config::parse(file, text, registry, environment)?;
    let (source, root) = Source::read(file, text, environment);
    let schema = schema(registry);
    let mut walk = Walk { schema: &schema, source: &source, settings: Vec::new(), section: String::new() };
    let none = Value::Object(Map::new());
    let top = KeyPath::default();
    for name in plain_sections(&schema) {
        walk.section(format!("[{name}]"), &schema["properties"][name], root.get(name).unwrap_or(&none), &top.key(name));
    }
    for (idx, app) in root.get("apps").and_then(Value::as_array).into_iter().flatten().enumerate() {
        walk.section("[[apps]]".into(), &schema["properties"]["apps"]["items"], app, &top.key("apps").index(idx));
    }
    for kind in ["commands", "handlers", "sinks"] {
        for (name, section) in root.get(kind).and_then(Value::as_object).into_iter().flatten() {
            let path = top.key(kind).key(name);
            let plugin = section.get("type").and_then(Value::as_str).unwrap_or(name);
            let of = match kind {
                "commands" => &schema["properties"]["commands"]["additionalProperties"],
                "handlers" => &schema["definitions"][format!("handler.{plugin}")],
                _ => &schema["definitions"][format!("sink.{plugin}")],
            };
            walk.section(format!("[{path}]"), of, section, &path);
        }
    }
    Ok(walk.settings)
}

struct Walk<'a> {
    schema: &'a Value,
    source: &'a Source,
    settings: Vec<EffectiveSetting>,
    section: String,
}

impl<'a> Walk<'a> {
    fn section(&mut self, heading: String, schema: &'a Value, section: &Value, path: &KeyPath) {
        self.section = heading;
        self.table("", schema, section, path);
    }

    fn table(&mut self, prefix: &str, schema: &'a Value, table: &Value, path: &KeyPath) {
        let properties = self.resolve(schema)["properties"].as_object();
        for (key, property) in properties.into_iter().flatten() {
            let (key_path, key_name) = (path.key(key), format!("{prefix}{key}"));
            let written = table.get(key);
            if self.resolve(property).get("properties").is_some() && !self.is_secret(property) {
                if written.is_none() && self.resolve(property).get("required").is_some() {
                    // Without what it requires it is not there, and what its keys default to is nothing in force.
                    continue;
                }
                let empty = Value::Object(Map::new());
                self.table(&format!("{key_name}."), property, written.unwrap_or(&empty), &key_path);
                continue;
            }
            let (value, origin) = match (written, property.get("default")) {
                (Some(value), _) => (self.shown(property, value, &key_path), self.origin(value, &key_path)),
                (None, Some(default)) => (default.clone(), SettingOrigin::Default),
                (None, None) => continue,
            };
            self.settings.push(EffectiveSetting { section: self.section.clone(), key: key_name, value, origin });
        }
    }

    fn origin(&self, value: &Value, path: &KeyPath) -> SettingOrigin {
        let line = self.source.line(path);
        let mut variables = Vec::new();
        self.variables(value, path, &mut variables);
        match variables.is_empty() {
            true => SettingOrigin::File { line },
            false => SettingOrigin::Environment { line, variables },
        }
    }

    /// The variables in a value and inside it.
    fn variables(&self, value: &Value, path: &KeyPath, names: &mut Vec<String>) {
        for name in self.source.variables(path) {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        match value {
            Value::Array(elements) => {
                elements.iter().enumerate().for_each(|(idx, value)| self.variables(value, &path.index(idx), names));
            }
            Value::Object(members) => {
                members.iter().for_each(|(key, value)| self.variables(value, &path.key(key), names));
            }
            _ => {}
        }
    }

    /// The value as it may be shown.
    fn shown(&self, schema: &'a Value, value: &Value, path: &KeyPath) -> Value {
        let resolved = self.resolve(schema);
        match value {
            // The file of a secret is none.
            Value::Object(_) if self.is_secret(schema) => value.clone(),
            _ if self.is_secret(schema) => HIDDEN.into(),
            Value::Array(elements) => {
                let shown = |(idx, element)| self.shown(&resolved["items"], element, &path.index(idx));
                elements.iter().enumerate().map(shown).collect()
            }
            Value::Object(members) => {
                let of = |key: &str| resolved["properties"].get(key).unwrap_or(&resolved["additionalProperties"]);
                let shown = |(key, value): (&String, &Value)| (key.clone(), self.shown(of(key), value, &path.key(key)));
                members.iter().map(shown).collect()
            }
            Value::String(_) if self.source.variables(path).iter().any(|name| is_of_secret(name)) => HIDDEN.into(),
            Value::String(text) => without_credentials(text, !self.source.variables(path).is_empty()).into(),
            other => other.clone(),
        }
    }

    fn is_secret(&self, schema: &Value) -> bool {
        target(schema).is_some_and(|target| target.rsplit('.').next() == Some("Secret"))
    }

    fn resolve(&self, schema: &'a Value) -> &'a Value {
        target(schema).map_or(schema, |name| &self.schema["definitions"][name])
    }
}

/// What a schema refers to.
fn target(schema: &Value) -> Option<&str> {
    let target = schema.get("$ref").or_else(|| schema["allOf"][0].get("$ref"))?;
    target.as_str()?.strip_prefix("#/definitions/")
}

fn is_of_secret(variable: &str) -> bool {
    let variable = variable.to_ascii_uppercase();
    SECRET_NAMES.iter().any(|part| variable.contains(part))
}

/// A URL without what may be a credential: who uses it, its query, and what is deep in its path, as with webhooks; where a variable
/// stands in it, all of its path. Any other text as it is.
fn without_credentials(text: &str, has_variable: bool) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, behind) = rest.split_at(end);
    let host = authority.rsplit_once('@').map_or(authority.to_owned(), |(_, host)| format!("…@{host}"));
    let path = behind.split(['?', '#']).next().unwrap_or_default();
    let first = path.bytes().skip(1).position(|byte| byte == b'/').map_or(path, |at| &path[..=at]);
    let shown = match () {
        () if has_variable && path.len() > 1 => "/…".to_owned(),
        () if first.len() + 1 < path.len() => format!("{first}/…"),
        () => path.to_owned(),
    };
    let query = if path.len() < behind.len() && !shown.ends_with('…') { "?…" } else { "" };
    format!("{scheme}://{host}{shown}{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_lose_what_may_be_secret() {
        for (url, has_variable, shown) in [
            ("https://a.example/in", false, "https://a.example/in"),
            ("https://a.example/in/", false, "https://a.example/in/"),
            ("https://a.example/", true, "https://a.example/"),
            ("https://u:p@a.example/in?token=1#x", false, "https://…@a.example/in?…"),
            ("https://a.example?token=1", false, "https://a.example?…"),
            ("https://a.example?token=1", true, "https://a.example?…"),
            ("https://a.example/services/T0/B0/secret", false, "https://a.example/services/…"),
            ("https://a.example/services/T0?x=1", false, "https://a.example/services/…"),
            ("https://a.example/secret", true, "https://a.example/…"),
            ("data/events.jsonl", false, "data/events.jsonl"),
            ("data/events.jsonl", true, "data/events.jsonl"),
            ("what?", false, "what?"),
        ] {
            assert_eq!(without_credentials(url, has_variable), shown);
        }
    }
}
