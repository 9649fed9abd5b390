//! Decodes one section, and finds everything in it that does not fit.
//!
//! serde stops at the first error. So the error is noted, the key that it names is taken out, and the rest is decoded
//! again, until it fits or nothing more can be said.

use dispatcher_core::SettingError;
use schemars::{JsonSchema, Schema};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{
    key_path::{KeyPath, element},
    source::Source,
};

/// Decodes a section of the dispatcher's own.
pub(crate) fn section<T: DeserializeOwned + JsonSchema>(
    source: &mut Source,
    path: &KeyPath,
    table: Map<String, Value>,
) -> Option<T> {
    let decode = |section: &Value| {
        serde_path_to_error::deserialize(section).map_err(|err| SettingError {
            path: err.path().iter().map(ToString::to_string).collect(),
            message: err.inner().to_string(),
        })
    };
    with(source, path, table, &schemars::schema_for!(T), &[], decode)
}

/// Decodes a section with `decode`; `also` are keys that are right in this section although `decode` does not know them.
pub(crate) fn with<T>(
    source: &mut Source,
    path: &KeyPath,
    table: Map<String, Value>,
    schema: &Schema,
    also: &[&str],
    decode: impl Fn(&Value) -> Result<T, SettingError>,
) -> Option<T> {
    let n_errors = source.n_errors();
    for key in required(schema).filter(|key| !table.contains_key(*key)) {
        let help = description(schema, key).map(|text| format!(": {text}")).unwrap_or_default();
        source.error(&path.key(key), format!("missing; this section needs it{help}"));
    }
    let mut section = Value::Object(table);
    loop {
        match decode(&section) {
            Ok(decoded) => return (source.n_errors() == n_errors).then_some(decoded),
            // Reported above, or taken out below because its value was wrong.
            Err(err) if err.message.starts_with("missing field") && err.path.len() <= 1 => return None,
            Err(err) => {
                let found = err.path.iter().try_fold(&section, |value, segment| match element(segment) {
                    Some(idx) => value.get(idx),
                    None => value.get(segment),
                });
                source.error(&path.join(&err.path), explain(&err.message, found, err.path.last(), also));
                if !take_out(&mut section, &err.path) {
                    return None;
                }
            }
        }
    }
}

fn required(schema: &Schema) -> impl Iterator<Item = &str> {
    schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// The first sentence of a key's help.
fn description<'a>(schema: &'a Schema, key: &str) -> Option<&'a str> {
    let text = schema.get("properties")?.get(key)?.get("description")?.as_str()?;
    Some(text.split(". ").next().unwrap_or(text).split('\n').next().unwrap_or(text).trim_end_matches('.'))
}

/// Takes the key at `path` out; an element of an array goes with its whole array, so that the places of the others stay
/// what they are in the file. False if there is nothing to take out.
fn take_out(section: &mut Value, path: &[String]) -> bool {
    let end = path.iter().position(|segment| element(segment).is_some()).unwrap_or(path.len());
    let Some((last, parents)) = path[..end].split_last() else { return false };
    let mut table = section;
    for parent in parents {
        match table.get_mut(parent) {
            Some(next) => table = next,
            None => return false,
        }
    }
    table.as_object_mut().is_some_and(|table| table.remove(last).is_some())
}

/// Turns what serde says into what to write.
fn explain(message: &str, found: Option<&Value>, key: Option<&String>, also: &[&str]) -> String {
    if message.starts_with("unknown field") {
        let mut known: Vec<&str> = message.split('`').skip(1).step_by(2).skip(1).chain(also.iter().copied()).collect();
        known.sort_unstable();
        known.dedup();
        return format!("unknown key; {}", suggest(key.map_or("", String::as_str), &known, "this section takes"));
    }
    if message.starts_with("unknown variant") {
        let mut words = message.split('`').skip(1).step_by(2);
        let word = words.next().unwrap_or_default();
        let known: Vec<&str> = words.collect();
        return format!("{word:?} is not a choice here; {}", suggest(word, &known, "write one of"));
    }
    if let Some((_, expected)) = message.strip_prefix("invalid ").and_then(|rest| rest.rsplit_once(", expected ")) {
        // Not what serde quotes: the value may be a secret in the wrong place.
        let is = found.map_or("is of the wrong type", kind);
        return format!("{is}; write {}", wanted(expected));
    }
    // Our own words, or a plugin's. serde_json adds a position that means nothing here.
    message.split(" at line ").next().unwrap_or(message).to_owned()
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "is not a value",
        Value::Bool(_) => "is true or false",
        Value::Number(number) if number.is_f64() => "is a number with a fraction",
        Value::Number(number) if number.as_i64().is_some_and(i64::is_negative) => "is a negative number",
        Value::Number(_) => "is a number",
        Value::String(_) => "is a string",
        Value::Array(_) => "is a list",
        Value::Object(_) => "is a table",
    }
}

fn wanted(expected: &str) -> String {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" | "i64" => "a whole number, 0 or more".into(),
        "f32" | "f64" => "a number".into(),
        "a boolean" => "true or false".into(),
        "a string" => "a string in quotes".into(),
        "a sequence" => "a list, such as [\"…\"]".into(),
        "a map" => "a table, such as { key = \"…\" }".into(),
        other if other.starts_with("a nonzero ") => "a whole number, 1 or more".into(),
        other if other.starts_with("struct ") => "a table, such as { key = … }".into(),
        other => other.into(),
    }
}

/// Proposes what `word` may have been meant for, or lists what there is.
pub(crate) fn suggest(word: &str, known: &[&str], or: &str) -> String {
    let near = known.iter().map(|name| (strsim::damerau_levenshtein(word, name), name)).min();
    match near {
        Some((distance, name)) if distance <= 1 + word.chars().count() / 4 => format!("did you mean `{name}`?"),
        _ if known.is_empty() => "nothing can be set here".into(),
        _ => format!("{or} {}", known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only decoded")]
    struct Section {
        /// Where to. Second sentence.
        url: String,
        count: Option<u32>,
        nested: Option<Nested>,
        words: Option<Vec<String>>,
    }

    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only decoded")]
    struct Nested {
        mode: Option<Mode>,
    }

    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(rename_all = "lowercase")]
    enum Mode {
        Fast,
        Slow,
    }

    #[test]
    fn every_error_of_a_section_is_found_in_one_run() {
        let text = "[s]\ncount = -1\nurll = \"x\"\nwords = \"secret\"\nzebra = 1\n[s.nested]\nmode = \"fats\"\nx = 1";
        let (mut source, mut root) = Source::read("f.toml", text, &|_| None);
        let Some(Value::Object(table)) = root.remove("s") else { panic!("no section") };
        assert!(section::<Section>(&mut source, &KeyPath::default().key("s"), table).is_none());
        let expected = "\
f.toml:1: s.url: missing; this section needs it: Where to
f.toml:2: s.count: is a negative number; write a whole number, 0 or more
f.toml:3: s.urll: unknown key; did you mean `url`?
f.toml:4: s.words: is a string; write a list, such as [\"…\"]
f.toml:5: s.zebra: unknown key; this section takes `count`, `nested`, `url`, `words`
f.toml:7: s.nested.mode: \"fats\" is not a choice here; did you mean `fast`?
f.toml:8: s.nested.x: unknown key; this section takes `mode`";
        assert_eq!(source.into_findings().0.to_string(), expected);
    }
}
