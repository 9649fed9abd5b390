//! A setting that nobody should read.

use std::{
    fmt,
    fs::{self, File},
    io::{self, Read as _},
};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;

/// A token, a password, a signing key. It refuses to print itself, and cannot be empty.
///
/// In the configuration it is a string, best `"${VARIABLE}"`, or `{ file = "path" }` for a file whose content it is,
/// without the line break at its end; the path is relative to the working directory.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    /// Wraps a secret that is not empty; `None` for an empty one, which would protect nothing.
    #[must_use]
    pub fn new(secret: &str) -> Option<Secret> {
        (!secret.is_empty()).then(|| Secret(secret.into()))
    }

    /// The secret itself. What it is given to must not log it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
        // By hand and not through a derived type: what serde says of a mismatch may quote the value.
        let wrong = || D::Error::custom("not a secret; write a string, best \"${VARIABLE}\", or { file = \"path\" }");
        let (secret, what) = match Value::deserialize(deserializer).map_err(|_| wrong())? {
            Value::String(secret) => (secret, "a secret"),
            Value::Object(table) => match table.get("file").and_then(Value::as_str).filter(|_| table.len() == 1) {
                Some(file) => match content(file) {
                    Ok(content) => (content.trim_end_matches(['\r', '\n']).to_owned(), "the file of a secret"),
                    Err(err) => return Err(D::Error::custom(format!("cannot read {file:?}: {err}"))),
                },
                None => return Err(wrong()),
            },
            _ => return Err(wrong()),
        };
        Secret::new(&secret).ok_or_else(|| D::Error::custom(format!("{what} is empty: it would let anyone in")))
    }
}

/// No token, password or key is longer, in bytes.
const LONGEST: u64 = 64 << 10;

fn content(file: &str) -> io::Result<String> {
    // Opening a pipe could keep the start waiting for ever, and reading a device need not end.
    if !fs::metadata(file)?.is_file() {
        return Err(io::Error::other("it is not a file; write the path of one that holds the secret and nothing else"));
    }
    let mut content = String::new();
    let read = File::open(file)?.take(LONGEST + 1).read_to_string(&mut content)?;
    match read as u64 > LONGEST {
        true => Err(io::Error::other("it is larger than 64 KiB; is it a secret?")),
        false => Ok(content),
    }
}

impl JsonSchema for Secret {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A secret: a string, best \"${VARIABLE}\", or { file = \"path\" }.",
            "anyOf": [
                { "type": "string", "minLength": 1 },
                {
                    "type": "object",
                    "properties": { "file": { "type": "string" } },
                    "required": ["file"],
                    "additionalProperties": false
                }
            ]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_prints_itself_and_is_never_empty() {
        let secret: Secret = serde_json::from_str(r#""hunter2""#).unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(…)");
        for wrong in [r#""""#, "7", r#"{"file":"/nowhere/at/all"}"#, r#"{"file":"/dev/null"}"#, r#"["hunter2"]"#] {
            let err = serde_json::from_str::<Secret>(wrong).unwrap_err().to_string();
            assert!(!err.contains("hunter2"), "{err}");
        }
    }

    #[test]
    fn only_a_file_is_read_and_no_more_of_it_than_a_secret_has() {
        for (file, what) in [("/dev/zero", "it is not a file"), (".", "it is not a file")] {
            let err = serde_json::from_value::<Secret>(serde_json::json!({ "file": file })).unwrap_err().to_string();
            assert!(err.contains(what), "{err}");
        }
    }
}
