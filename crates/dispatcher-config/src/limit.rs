//! A limit that can be switched off.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeOwned, Error},
};
use serde_json::Value;

/// A limit: what `T` takes, or `"off"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit<T> {
    /// There is none.
    Off,
    /// This much.
    At(T),
}

impl<T> Limit<T> {
    /// The limit, if there is one.
    #[must_use]
    pub fn get(self) -> Option<T> {
        match self {
            Limit::Off => None,
            Limit::At(limit) => Some(limit),
        }
    }
}

/// What stands at the end of the message when a value fits neither `T` nor `"off"`.
pub(crate) const OR_OFF: &str = ", or \"off\"";

impl<'de, T: DeserializeOwned> Deserialize<'de> for Limit<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Limit<T>, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) if text == "off" => Ok(Limit::Off),
            value => T::deserialize(value).map(Limit::At).map_err(|err| D::Error::custom(format!("{err}{OR_OFF}"))),
        }
    }
}

impl<T: Serialize> Serialize for Limit<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Limit::Off => serializer.serialize_str("off"),
            Limit::At(limit) => limit.serialize(serializer),
        }
    }
}

impl<T: JsonSchema> JsonSchema for Limit<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("{}OrOff", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [generator.subschema_for::<T>(), { "const": "off" }] })
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use dispatcher_core::TimeSpan;

    use super::*;

    #[test]
    fn is_a_value_or_off() {
        assert_eq!(serde_json::from_str::<Limit<NonZeroU32>>("\"off\"").unwrap(), Limit::Off);
        assert_eq!(serde_json::from_str::<Limit<NonZeroU32>>("7").unwrap().get(), NonZeroU32::new(7));
        let three_days = TimeSpan::from_secs(3 * 24 * 3600);
        assert_eq!(serde_json::from_str::<Limit<TimeSpan>>("\"3d\"").unwrap(), Limit::At(three_days));
        for json in ["0", "\"of\"", "false", "null"] {
            let err = serde_json::from_str::<Limit<NonZeroU32>>(json).unwrap_err().to_string();
            assert!(err.contains(OR_OFF), "on {json}: {err}");
        }
    }

    #[test]
    fn its_schema_has_both() {
        let schema = schemars::schema_for!(Limit<TimeSpan>);
        assert_eq!(schema.get("anyOf").and_then(|any| any.get(1)), Some(&serde_json::json!({ "const": "off" })));
        assert_eq!(schema.get("title"), Some(&serde_json::json!("TimeSpanOrOff")));
    }
}
