//! Settings with a unit. A bare number is refused: `timeout = 10` says nothing to the next reader.

use std::{borrow::Cow, fmt, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{self, Visitor},
};

/// A length of time: `"500ms"`, `"10s"`, `"1h 30m"`; ten years at most.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeSpan(Duration);

impl TimeSpan {
    /// As a `Duration`.
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0
    }

    /// From whole milliseconds.
    #[must_use]
    pub const fn from_millis(millis: u64) -> TimeSpan {
        TimeSpan(Duration::from_millis(millis))
    }

    /// From whole seconds.
    #[must_use]
    pub const fn from_secs(secs: u64) -> TimeSpan {
        TimeSpan(Duration::from_secs(secs))
    }
}

impl fmt::Display for TimeSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&humantime::format_duration(self.0), f)
    }
}

impl fmt::Debug for TimeSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A number of bytes: `"512B"`, `"64KiB"`, `"1.5GiB"`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

impl ByteSize {
    /// In bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// In bytes, for what is held in memory.
    #[must_use]
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    /// From a number of MiB.
    #[must_use]
    pub const fn mib(mib: u64) -> ByteSize {
        ByteSize(mib * 1024 * 1024)
    }

    /// From a number of KiB.
    #[must_use]
    pub const fn kib(kib: u64) -> ByteSize {
        ByteSize(kib * 1024)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, name) in [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
            if self.0 >= unit && self.0.is_multiple_of(unit) {
                return write!(f, "{}{name}", self.0 / unit);
            }
        }
        write!(f, "{}B", self.0)
    }
}

impl fmt::Debug for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<'de> Deserialize<'de> for TimeSpan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<TimeSpan, D::Error> {
        let read = |text: &str| humantime::parse_duration(text).ok().filter(|time| *time <= LONGEST).map(TimeSpan);
        deserializer.deserialize_any(WithUnit { read, what: TIME })
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ByteSize, D::Error> {
        let read = |text: &str| {
            let has_unit = text.ends_with(['b', 'B']);
            has_unit.then(|| text.parse::<bytesize::ByteSize>().ok()).flatten().map(|size| ByteSize(size.0))
        };
        deserializer.deserialize_any(WithUnit { read, what: SIZE })
    }
}

/// Ten years: more means nothing, and could not be added to a clock.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

const TIME: &str = "a time; write a number and a unit, such as \"500ms\", \"10s\" or \"2h\", ten years at most";
const SIZE: &str = "a size; write a number and a unit, such as \"64KiB\" or \"2MiB\"";

struct WithUnit<T> {
    read: fn(&str) -> Option<T>,
    what: &'static str,
}

impl<T> WithUnit<T> {
    fn refuse<E: de::Error>(&self, found: impl fmt::Debug) -> Result<T, E> {
        Err(E::custom(format!("{found:?} is not {}", self.what)))
    }
}

impl<T> Visitor<'_> for WithUnit<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.read)(text).map_or_else(|| self.refuse(text), Ok)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        self.refuse(number)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        self.refuse(number)
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<T, E> {
        self.refuse(number)
    }
}

impl JsonSchema for TimeSpan {
    fn schema_name() -> Cow<'static, str> {
        "TimeSpan".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "description": "A time with its unit, such as \"500ms\", \"10s\" or \"2h\"." })
    }
}

impl JsonSchema for ByteSize {
    fn schema_name() -> Cow<'static, str> {
        "ByteSize".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "description": "A size with its unit, such as \"64KiB\" or \"2MiB\"." })
    }
}

/// As they would be written, so that a schema shows its defaults in the form that a reader can copy.
impl serde::Serialize for TimeSpan {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl serde::Serialize for ByteSize {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_numbers_with_units_and_nothing_else() {
        for (json, time) in [
            (r#""1500ms""#, Some(Duration::from_millis(1500))),
            (r#""1h 30m""#, Some(Duration::from_secs(5400))),
            (r#""10""#, None),
            ("10", None),
            (r#""-1s""#, None),
            (r#""18446744073709551615s""#, None),
        ] {
            assert_eq!(serde_json::from_str::<TimeSpan>(json).ok().map(TimeSpan::get), time, "on {json}");
        }
        for (json, size) in [
            (r#""1MiB""#, Some(1 << 20)),
            (r#""64KiB""#, Some(64 << 10)),
            (r#""512B""#, Some(512)),
            (r#""1MB""#, Some(1_000_000)),
            (r#""2MX""#, None),
            (r#""512""#, None),
            ("512", None),
        ] {
            assert_eq!(serde_json::from_str::<ByteSize>(json).ok().map(ByteSize::bytes), size, "on {json}");
        }
    }

    #[test]
    fn is_shown_as_it_would_be_written() {
        assert_eq!(ByteSize::mib(64).to_string(), "64MiB");
        assert_eq!(ByteSize(1500).to_string(), "1500B");
        assert_eq!(TimeSpan::from_millis(1500).to_string(), "1s 500ms");
    }
}
