//! JSON one level at a time: nothing is lost of it, unlike in a tree.

use std::{collections::HashSet, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

/// An object or array, each of its values as text.
pub(crate) enum Json<'a> {
    Object(Vec<(String, &'a str)>),
    Array(Vec<&'a str>),
}

/// None: it is neither. Panics on what is not JSON, or has a name in it that no `String` holds.
pub(crate) fn parse(text: &str) -> Option<Json<'_>> {
    if !text.trim_start().starts_with(['{', '[']) {
        return None;
    }
    Some(serde_json::from_str(text).unwrap_or_else(|err| panic!("{text:?}: {err}")))
}

/// Whether some object in this JSON has two members of one name, of which a tree keeps one.
pub(crate) fn has_repeats(text: &str) -> bool {
    match parse(text) {
        None => false,
        Some(Json::Array(elements)) => elements.into_iter().any(has_repeats),
        Some(Json::Object(members)) => {
            let mut seen = HashSet::new();
            members.into_iter().any(|(name, json)| has_repeats(json) || !seen.insert(name))
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Json<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json<'de>, A::Error> {
        let mut members = Vec::new();
        while let Some((name, json)) = map.next_entry::<String, &RawValue>()? {
            members.push((name, json.get()));
        }
        Ok(Json::Object(members))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json<'de>, A::Error> {
        let mut elements = Vec::new();
        while let Some(json) = seq.next_element::<&RawValue>()? {
            elements.push(json.get());
        }
        Ok(Json::Array(elements))
    }
}
