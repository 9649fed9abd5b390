//! A string of a body, borrowed from it where that can be.

use std::{borrow::Cow, fmt, ops::Deref};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, Visitor},
};

/// A string of a body. Decoding borrows it, unless JSON's escapes stand in it, which have to be resolved elsewhere.
///
/// Half of a surrogate pair, which JSON's escapes can say and no text can hold (`"\ud83d"`), is read as U+FFFD: a client that
/// cuts a text in the middle of an emoji must not make its message unreadable.
///
/// Reads as a `&str`; made of one, or of a `String`, with `into()`.
// A type of its own, since serde borrows inside a bare `Cow` only where an attribute says so, and inside an `Option` or
// a `Vec` of them not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text<'a>(Cow<'a, str>);

impl<'a> Text<'a> {
    /// The text itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text as one that borrows from nothing: it can outlive the body.
    #[must_use]
    pub fn into_owned(self) -> Text<'static> {
        Text(Cow::Owned(self.0.into_owned()))
    }

    /// Whether it borrows from the body.
    #[must_use]
    pub fn is_borrowed(&self) -> bool {
        matches!(self.0, Cow::Borrowed(_))
    }
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Text<'_> {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Text<'a> {
        Text(Cow::Borrowed(text))
    }
}

impl From<String> for Text<'_> {
    fn from(text: String) -> Self {
        Text(Cow::Owned(text))
    }
}

impl<'a> From<Cow<'a, str>> for Text<'a> {
    fn from(text: Cow<'a, str>) -> Text<'a> {
        Text(text)
    }
}

impl From<Text<'_>> for String {
    fn from(text: Text<'_>) -> String {
        text.0.into_owned()
    }
}

impl PartialEq<str> for Text<'_> {
    fn eq(&self, other: &str) -> bool {
        *self.0 == *other
    }
}

impl PartialEq<&str> for Text<'_> {
    fn eq(&self, other: &&str) -> bool {
        *self.0 == **other
    }
}

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // As bytes: JSON's escapes can say things that are no text, which serde_json refuses in a string.
        deserializer.deserialize_bytes(TextVisitor)
    }
}

/// The name of a member.
// Read as a string, so that serde_path_to_error sees it.
pub(crate) struct Name<'a>(pub(crate) Text<'a>);

impl<'de: 'a, 'a> Deserialize<'de> for Name<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor).map(Name)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Owned(text.to_owned())))
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Owned(text)))
    }

    fn visit_borrowed_bytes<E: de::Error>(self, bytes: &'de [u8]) -> Result<Text<'de>, E> {
        match str::from_utf8(bytes) {
            Ok(text) => Ok(Text(Cow::Borrowed(text))),
            Err(_) => self.visit_bytes(bytes),
        }
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Text<'de>, E> {
        self.visit_byte_buf(bytes.to_vec())
    }

    fn visit_byte_buf<E: de::Error>(self, mut bytes: Vec<u8>) -> Result<Text<'de>, E> {
        // Half of a surrogate pair comes in three bytes, which is what its replacement has as well.
        let mut from = 0;
        while let Err(err) = str::from_utf8(&bytes[from..]) {
            let at = from + err.valid_up_to();
            from = at + 3;
            match bytes.get_mut(at..from) {
                Some(half @ [0xed, 0xa0..=0xbf, _]) => half.copy_from_slice("\u{fffd}".as_bytes()),
                _ => break,
            }
        }
        match String::from_utf8(bytes) {
            Ok(text) => self.visit_string(text),
            Err(err) => Err(E::invalid_value(de::Unexpected::Bytes(err.as_bytes()), &self)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn borrows_what_has_no_escapes() {
        for (json, text, borrowed) in [
            (r#""pier""#, "pier", true),
            (r#""""#, "", true),
            ("\"\u{6e2f}\"", "\u{6e2f}", true),
            (r#""\u6e2f""#, "\u{6e2f}", false),
            (r#""a\nb""#, "a\nb", false),
        ] {
            let read: Text<'_> = serde_json::from_str(json).unwrap();
            assert_eq!((read.as_str(), read.is_borrowed()), (text, borrowed), "{json}");
            let written = serde_json::to_string(&read).unwrap();
            assert_eq!(serde_json::from_str::<Text<'_>>(&written).unwrap(), read);
        }
    }

    #[test]
    fn half_a_surrogate_pair_is_replaced() {
        for (json, text) in [
            (r#""\ud83d""#, "\u{fffd}"),
            (r#""a\ude00b\ud83d\ud83d\ude00\udbffc""#, "a\u{fffd}b\u{fffd}\u{1f600}\u{fffd}c"),
        ] {
            let read: Text<'_> = serde_json::from_slice(json.as_bytes()).unwrap();
            assert_eq!(read, text, "{json}");
        }
        assert!(serde_json::from_slice::<Text<'_>>(b"\"a\xff\"").is_err(), "bytes that are no text");
        assert!(serde_json::from_slice::<Text<'_>>(b"\"a\xed\xa0\"").is_err());
    }

    #[test]
    fn is_nothing_but_a_string() {
        for json in ["1", "null", "true", "[]", "{}"] {
            assert!(serde_json::from_str::<Text<'_>>(json).is_err(), "{json}");
        }
    }
}
