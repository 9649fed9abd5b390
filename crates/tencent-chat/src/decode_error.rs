//! Where a body does not fit its type, told without the body's own words.

use std::{error, fmt};

use serde::Deserialize;
use serde_json::Value;
use serde_path_to_error::Segment;

/// Why a body could not be decoded. It never has a value of the body in it: those are people's texts and names, and
/// this goes to logs and dead letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError {
    path: String,
    expected: String,
    found: String,
}

impl DecodeError {
    /// The place in the body, such as `MsgBody[0].MsgContent.Text`; empty if it is the body as a whole.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What should be there, such as `a string`.
    #[must_use]
    pub fn expected(&self) -> &str {
        &self.expected
    }

    /// What kind of thing is there instead, such as `a number`.
    #[must_use]
    pub fn found(&self) -> &str {
        &self.found
    }

    /// Decodes `body` once more, to learn where `err` came from.
    pub(crate) fn diagnose<'a, T: Deserialize<'a>>(body: &'a [u8], err: &serde_json::Error) -> DecodeError {
        if !err.is_data() {
            let reason = without_position(&err.to_string()).to_owned();
            let (line, column) = (err.line(), err.column());
            return DecodeError {
                path: String::new(),
                expected: "JSON".to_owned(),
                found: format!("none at line {line}, column {column}: {reason}"),
            };
        }
        let deserializer = &mut serde_json::Deserializer::from_slice(body);
        let (mut steps, message) = match serde_path_to_error::deserialize::<_, T>(deserializer) {
            Err(err) => (steps(err.path()), err.into_inner().to_string()),
            Ok(_) => (Vec::new(), err.to_string()),
        };
        let message = unnest(without_position(&message), &mut steps);
        let root = serde_json::from_slice(body).unwrap_or(Value::Null);
        let (path, value) = walk(&root, &steps);
        let found = value.map_or("nothing", |value| kind_of(value));
        let (expected, found) = explain(message, found);
        DecodeError { path, expected, found }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body does not fit")?;
        if !self.path.is_empty() {
            write!(f, " at {}", self.path)?;
        }
        write!(f, ": expected {}, found {}", self.expected, self.found)
    }
}

impl error::Error for DecodeError {}

/// Marks the message of an error that has the rest of the path in it: where something had to be set aside before it could
/// be read, the path ends at that.
const NESTED: char = '\u{1}';
const BETWEEN_STEPS: char = '\u{2}';

/// Reads from the member `name`, which was set aside, so that an error says where in it.
pub(crate) fn read_aside<T, E: serde::de::Error>(
    name: &str,
    value: Value,
    read: impl FnOnce(serde_path_to_error::Deserializer<'_, '_, Value>) -> Result<T, serde_json::Error>,
) -> Result<T, E> {
    let mut track = serde_path_to_error::Track::new();
    read(serde_path_to_error::Deserializer::new(value, &mut track)).map_err(|err| {
        let mut all = vec![name.to_owned()];
        all.extend(steps(&track.path()));
        let message = err.to_string();
        let message = unnest(&message, &mut all);
        let steps = all.join(&*BETWEEN_STEPS.to_string());
        E::custom(format_args!("{NESTED}{steps}{NESTED}{message}"))
    })
}

/// Appends the steps that a message has in it, and returns the rest of it.
fn unnest<'m>(message: &'m str, steps: &mut Vec<String>) -> &'m str {
    let Some((inner, rest)) = message.strip_prefix(NESTED).and_then(|nested| nested.split_once(NESTED)) else {
        return message;
    };
    steps.extend(inner.split(BETWEEN_STEPS).map(str::to_owned));
    rest
}

fn steps(path: &serde_path_to_error::Path) -> Vec<String> {
    let step = |segment: &Segment| match segment {
        Segment::Seq { index } => Some(index.to_string()),
        Segment::Map { key } => Some(key.clone()),
        Segment::Enum { .. } | Segment::Unknown => None,
    };
    path.iter().filter_map(step).collect()
}

/// Follows `steps` as far as they lead; the path is printed with all of them.
fn walk<'v>(root: &'v Value, steps: &[String]) -> (String, Option<&'v Value>) {
    let mut path = String::new();
    let mut value = Some(root);
    for step in steps {
        if let Some(Value::Array(elements)) = value {
            path.push_str(&format!("[{step}]"));
            value = step.parse::<usize>().ok().and_then(|idx| elements.get(idx));
        } else {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(step);
            value = value.and_then(|value| value.get(step));
        }
    }
    (path, value)
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a number with a fraction or out of range",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// What serde's message says was expected. Only its own phrases are read, since any other may quote the body.
fn explain(message: &str, found: &str) -> (String, String) {
    let quoted = |prefix: &str| {
        let name = message.strip_prefix(prefix)?.split('`').nth(1)?;
        Some(format!("`{name}`"))
    };
    if let Some(name) = quoted("missing field ") {
        return (name, "no such member".to_owned());
    }
    if message.starts_with("duplicate field") {
        let name = quoted("duplicate field ").unwrap_or_else(|| "each member".to_owned());
        return (format!("{name} once"), "it twice".to_owned());
    }
    let is_of_serde = ["invalid type: ", "invalid value: ", "invalid length ", "unknown variant ", "unknown field "]
        .iter()
        .any(|prefix| message.starts_with(prefix));
    let expected = message.rsplit_once(", expected ").filter(|_| is_of_serde).map(|(_, expected)| expected);
    let found = if message.starts_with("invalid value: ") { format!("{found} that is none") } else { found.to_owned() };
    (expected.unwrap_or("something else").to_owned(), found)
}

/// serde_json appends where it was, which a path says better.
fn without_position(message: &str) -> &str {
    message.rsplit_once(" at line ").map_or(message, |(message, _)| message)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{c2c::AfterC2CMsgExtension, decode};

    #[track_caller]
    fn check<'a, T: Deserialize<'a> + fmt::Debug>(body: &'a str, expected: &str) {
        assert_eq!(decode::<T>(body.as_bytes()).unwrap_err().to_string(), expected, "of {body}");
    }

    #[test]
    fn says_where_and_what_but_never_the_value() {
        for (body, expected) in [
            (r#"{"MsgKey":12345}"#, "the body does not fit at MsgKey: expected a string, found a number"),
            (
                r#"{"Seq":"secret, expected none"}"#,
                "the body does not fit at Seq: expected an integer, as a number or in quotes, found a string that is none",
            ),
            (
                r#"{"Seq":1.5}"#,
                "the body does not fit at Seq: expected an integer, as a number or in quotes, \
                 found a number with a fraction or out of range",
            ),
            (
                r#"{"ExtensionList":[{"Key":"a"},{"Key":["secret"]}]}"#,
                "the body does not fit at ExtensionList[1].Key: expected a string, found an array",
            ),
            (
                r#"{"ExtensionList":["secret"]}"#,
                "the body does not fit at ExtensionList[0]: expected an object, found a string",
            ),
            (r#"["secret"]"#, "the body does not fit: expected an object, found an array"),
            (r#"{"MsgKey":"a","MsgKey":"secret"}"#, "the body does not fit: expected `MsgKey` once, found it twice"),
            (r#"{"secret":1,"secret":2}"#, "the body does not fit: expected each member once, found it twice"),
            (
                r#"{"MsgKey":"secret"#,
                "the body does not fit: expected JSON, \
                 found none at line 1, column 17: EOF while parsing a string",
            ),
        ] {
            check::<AfterC2CMsgExtension<'_>>(body, expected);
        }
    }

    #[test]
    fn explains_types_of_others_as_well() {
        #[derive(Debug, Deserialize)]
        #[expect(dead_code, reason = "only decoded")]
        struct Ticket {
            seats: u8,
            class: Class,
            until: Option<Date>,
        }

        #[derive(Debug, Deserialize)]
        enum Class {
            Deck,
        }

        #[derive(Debug)]
        struct Date;

        impl<'de> Deserialize<'de> for Date {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Date, D::Error> {
                let text = String::deserialize(deserializer)?;
                Err(serde::de::Error::custom(format!("no date: {text}, expected tomorrow")))
            }
        }

        for (body, expected) in [
            (r#"{"seats":1}"#, "the body does not fit: expected `class`, found no such member"),
            (
                r#"{"seats":300,"class":"Deck"}"#,
                "the body does not fit at seats: expected u8, found a number that is none",
            ),
            (r#"{"seats":1,"class":"secret"}"#, "the body does not fit at class: expected `Deck`, found a string"),
            (
                r#"{"seats":1,"class":"Deck","until":"secret"}"#,
                "the body does not fit at until: expected something else, found a string",
            ),
        ] {
            check::<Ticket>(body, expected);
        }
        check::<BTreeMap<String, bool>>(
            r#"{"a":true,"b":0}"#,
            "the body does not fit at b: expected a boolean, found a number",
        );
    }

    #[test]
    fn what_is_nested_too_deeply_is_refused() {
        let body = format!(r#"{{"New":{}{}}}"#, "[".repeat(5000), "]".repeat(5000));
        let err = decode::<AfterC2CMsgExtension<'_>>(body.as_bytes()).unwrap_err();
        assert!(err.to_string().contains("recursion limit exceeded"), "{err}");
    }
}
