//! Users' profiles.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{
        self, MapAccess, SeqAccess, Visitor,
        value::{MapAccessDeserializer, SeqAccessDeserializer},
    },
};
use serde_json::Value;

use crate::{Text, packet::packet, wire::Wire};

packet! {
    /// A user's profile has changed. Needs the subscription of profile changes, a feature of its own.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/48733>
    pub struct PortraitSet<'a>: "Profile.CallbackPortraitSet" {
        /// Who changed it.
        pub operator_account: Option<Text<'a>> = "Operator_Account",
        /// Whose profile it is.
        pub from_account: Option<Text<'a>> = "From_Account",
        /// When it happened, in Unix milliseconds.
        pub event_time: Option<i64> = "EventTime",
        /// What has changed, and nothing else.
        pub profile_item: Option<Vec<ProfileItem<'a>>> = "ProfileItem",
    }
}

packet! {
    /// One field of a profile.
    pub struct ProfileItem<'a> {
        /// Its name: `Tag_Profile_IM_…`, or `Tag_Profile_Custom_…` for those of the app's own.
        pub tag: Option<Text<'a>> = "Tag",
        /// Its new value; whether that is a number or a string depends on the tag.
        pub value: Option<ItemValue<'a>> = "Value",
    }
}

/// The value of a field of a profile.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ItemValue<'a> {
    /// A number, unsigned 32 bits by the page.
    Number(i64),
    /// A string.
    Text(Text<'a>),
    /// Neither, which no page knows of.
    Other(Value),
}

impl Serialize for ItemValue<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => serializer.serialize_i64(*number),
            Self::Text(text) => text.serialize(serializer),
            Self::Other(value) => value.serialize(serializer),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for ItemValue<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ItemValueVisitor)
    }
}

impl<'de: 'a, 'a> Wire<'de> for ItemValue<'a> {
    fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::deserialize(deserializer)
    }
}

struct ItemValueVisitor;

impl<'de> Visitor<'de> for ItemValueVisitor {
    type Value = ItemValue<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number or a string")
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
        Ok(ItemValue::Number(number))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
        Ok(i64::try_from(number).map_or_else(|_| ItemValue::Other(number.into()), ItemValue::Number))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Self::Value, E> {
        Ok(ItemValue::Other(number.into()))
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(ItemValue::Text(text.into()))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(ItemValue::Text(text.to_owned().into()))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(ItemValue::Other(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, elements: A) -> Result<Self::Value, A::Error> {
        Value::deserialize(SeqAccessDeserializer::new(elements)).map(ItemValue::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Self::Value, A::Error> {
        Value::deserialize(MapAccessDeserializer::new(members)).map(ItemValue::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode;

    #[test]
    fn a_value_is_whatever_the_tag_makes_of_it() {
        for (json, expected) in [
            ("7", ItemValue::Number(7)),
            (r#""7""#, ItemValue::Text("7".into())),
            (r#""a\nb""#, ItemValue::Text("a\nb".into())),
            ("18446744073709551615", ItemValue::Other(u64::MAX.into())),
            ("0.5", ItemValue::Other(0.5.into())),
            ("true", ItemValue::Other(true.into())),
            (r#"[1,{"a":null}]"#, ItemValue::Other(serde_json::json!([1, { "a": null }]))),
            (r#"{"a":[]}"#, ItemValue::Other(serde_json::json!({ "a": [] }))),
        ] {
            let item = format!(r#"{{"Tag":"Tag_Profile_Custom_Boat","Value":{json}}}"#);
            let read: ProfileItem<'_> = decode(item.as_bytes()).unwrap();
            assert_eq!(read.value, Some(expected), "{json}");
            assert_eq!(serde_json::to_string(&read).unwrap(), item);
        }
    }
}
