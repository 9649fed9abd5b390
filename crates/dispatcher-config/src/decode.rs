//! Decodes one section, and finds everything in it that does not fit.
//!
//! serde stops at the first error. So the error is noted, the key that it names is taken out, and the rest is decoded
//! again, until it fits or nothing more can be said.

use std::collections::HashSet;

use dispatcher_core::SettingError;
use schemars::{JsonSchema, Schema};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{
    key_path::{KeyPath, element},
    limit::OR_OFF,
    source::Source,
};

/// Decodes a section of the dispatcher's own. Where it does not fit, the rest of it is given all the same, with something
/// harmless in place of the keys that are wrong, so that the rest can be checked further.
pub(crate) fn section<T: DeserializeOwned + JsonSchema>(
    source: &mut Source,
    path: &KeyPath,
    table: Map<String, Value>,
) -> Option<T> {
    let decode = |section: &Value| {
        serde_path_to_error::deserialize(section)
            .map_err(|err| SettingError::at(err.path().iter().map(ToString::to_string).collect(), err.inner()))
    };
    decode_all(source, path, table, &schemars::schema_for!(T), &[], decode).value
}

/// Decodes a plugin's section with `decode`; `also` are keys that are right in this section although `decode` does not
/// know them. Given only if every key that `decode` knows is right: what a plugin would say of a setting that is missing
/// because it was wrong would mislead.
pub(crate) fn plugin<T>(
    source: &mut Source,
    path: &KeyPath,
    table: Map<String, Value>,
    schema: &Schema,
    also: &[&str],
    decode: impl Fn(&Value) -> Result<T, SettingError>,
) -> Option<T> {
    let decoded = decode_all(source, path, table, schema, also, decode);
    decoded.value.filter(|_| decoded.is_whole)
}

struct Decoded<T> {
    value: Option<T>,
    /// Whether nothing was taken out but keys that mean nothing.
    is_whole: bool,
}

fn decode_all<T>(
    source: &mut Source,
    path: &KeyPath,
    mut table: Map<String, Value>,
    schema: &Schema,
    also: &[&str],
    decode: impl Fn(&Value) -> Result<T, SettingError>,
) -> Decoded<T> {
    let mut is_whole = true;
    // Each once: what stands in may itself not fit, as an empty text is no address.
    let mut stood_in = HashSet::new();
    for key in required(schema) {
        if !table.contains_key(key) {
            let help = description(schema, key).map(|text| format!(": {text}")).unwrap_or_default();
            source.error(&path.key(key), format!("missing; this section needs it{help}"));
            table.extend(stand_in(schema, key).map(|value| (key.to_owned(), value)));
            stood_in.insert(key.to_owned());
            is_whole = false;
        }
    }
    let mut section = Value::Object(table);
    loop {
        let err = match decode(&section) {
            Ok(value) => return Decoded { value: Some(value), is_whole },
            Err(err) => err,
        };
        let at = path.join(&err.path);
        let is_unknown = err.message.starts_with("unknown field");
        is_whole &= is_unknown;
        // A key that was taken out before is no news when it is missing now.
        let is_news = !err.message.starts_with("missing field") && !source.has_error(&at);
        if is_news {
            let found = err.path.iter().try_fold(&section, |value, segment| match element(segment) {
                Some(idx) => value.get(idx),
                None => value.get(segment),
            });
            let message = match found {
                // A variable's value may be a secret in the wrong place.
                Some(Value::String(value)) if source.is_expanded(&at) => {
                    err.message.replace(&format!("{value:?}"), "its value").replace(value.as_str(), "…")
                }
                _ => err.message.clone(),
            };
            source.error(&at, explain(&message, found, err.path.last(), also));
        } else if err.message.starts_with("missing field") && err.path.len() > 1 && !source.has_error(&at) {
            source.error(&at, err.message.replace('`', "").replace("missing field", "it needs"));
        }
        match take_out(&mut section, &err.path) {
            Some(key) => {
                let is_first = !is_unknown && err.path.len() == 1 && stood_in.insert(key.clone());
                let stand_in = stand_in(schema, &key).filter(|_| is_first);
                if let (Some(table), Some(value)) = (section.as_object_mut(), stand_in) {
                    table.insert(key, value);
                }
            }
            None => return Decoded { value: None, is_whole: false },
        }
    }
}

/// Something that fits a required key, for looking at the rest of a section.
fn stand_in(schema: &Schema, key: &str) -> Option<Value> {
    if !required(schema).any(|name| name == key) {
        return None;
    }
    match schema.get("properties")?.get(key)?.get("type")?.as_str()? {
        "integer" => Some(0.into()),
        "string" => Some("".into()),
        "array" => Some(Value::Array(vec![])),
        "boolean" => Some(false.into()),
        _ => None,
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
/// what they are in the file. Gives the key that is gone; none if there is nothing to take out.
fn take_out(section: &mut Value, path: &[String]) -> Option<String> {
    let end = path.iter().position(|segment| element(segment).is_some()).unwrap_or(path.len());
    let (last, parents) = path[..end].split_last()?;
    let mut table = section;
    for parent in parents {
        table = table.get_mut(parent)?;
    }
    table.as_object_mut()?.remove(last).map(|_| last.clone())
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
        return match expected.contains("; write ") {
            true => format!("{is}, not {expected}"),
            false => format!("{is}; write {}", wanted(expected)),
        };
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
    if let Some(expected) = expected.strip_suffix(OR_OFF) {
        return wanted(expected) + OR_OFF;
    }
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, 0 or more".into(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".into(),
        "f32" | "f64" => "a number".into(),
        "a boolean" => "true or false".into(),
        // The second is what serde says of a choice.
        "a string" | "string or map" => "a string in quotes".into(),
        "a sequence" => "a list, such as [\"…\"]".into(),
        "a map" => "a table, such as { key = \"…\" }".into(),
        "a nonzero u32" => format!("a whole number, 1 to {}", u32::MAX),
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
        let _ = section::<Section>(&mut source, &KeyPath::default().key("s"), table);
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

    #[derive(Debug, Deserialize, JsonSchema)]
    #[allow(dead_code, reason = "only decoded")]
    struct Picky {
        listen: std::net::SocketAddr,
        count: std::num::NonZeroU32,
        #[serde(rename = "kind")]
        mode: Mode,
    }

    #[test]
    fn what_stands_in_for_a_key_need_not_fit() {
        let text = "[s]\ncount = 0\nkind = \"${SECRET}\"";
        let (mut source, mut root) = Source::read("f.toml", text, &|_| Some("s3cret".into()));
        let Some(Value::Object(table)) = root.remove("s") else { panic!("no section") };
        assert!(section::<Picky>(&mut source, &KeyPath::default().key("s"), table).is_none());
        let expected = "\
f.toml:1: s.listen: missing; this section needs it
f.toml:2: s.count: is a number; write a whole number, 1 to 4294967295
f.toml:3: s.kind: \"…\" is not a choice here; write one of `fast`, `slow`";
        assert_eq!(source.into_findings().0.to_string(), expected);
    }
}
