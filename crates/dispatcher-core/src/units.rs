//! Settings with a unit. A bare number is refused: `timeout = 10` says nothing to the next reader.

use std::{borrow::Cow, fmt, marker::PhantomData, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, Visitor},
};

/// A length of time: `"500ms"`, `"10s"`, `"1h 30m"`, `"3d"`; ten years at most.
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

/// How often something may happen: `"100/s"`, `"30/m"`, `"1000/h"`; never nothing, and a million a second at most.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate {
    count: u32,
    per: Period,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Period {
    Second,
    Minute,
    Hour,
}

impl Rate {
    /// How often in a second; above zero.
    #[must_use]
    pub fn per_second(self) -> f64 {
        let seconds = match self.per {
            Period::Second => 1.0,
            Period::Minute => 60.0,
            Period::Hour => 3600.0,
        };
        f64::from(self.count) / seconds
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.per {
            Period::Second => "s",
            Period::Minute => "m",
            Period::Hour => "h",
        };
        write!(f, "{}/{unit}", self.count)
    }
}

/// A text that is not what its type wants. Shown with what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidUnit(String);

impl InvalidUnit {
    pub(crate) fn new(what: String) -> InvalidUnit {
        InvalidUnit(what)
    }
}

impl fmt::Display for InvalidUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidUnit {}

trait Unit: Sized {
    /// What it is; what to write.
    const WHAT: &str;
    const HELP: &str;
    /// What `read` takes, as a regular expression of JSON Schema, but for the largest and the most exact.
    const PATTERN: &str;

    fn read(text: &str) -> Option<Self>;
}

impl Unit for TimeSpan {
    const WHAT: &str = "a time; write a number and a unit, such as \"500ms\", \"10s\" or \"2h\", ten years at most";
    const HELP: &str = "A time with its unit, such as \"500ms\", \"10s\" or \"2h\".";
    const PATTERN: &str = "^(0|\\s*([0-9][0-9\\s]*(\\.[0-9\\s]*[0-9]\\s*)?(nanos|nsec|ns|usec|us|µs|millis|msec|ms|seconds?|secs?|s|\
                           minutes?|mins?|m|hours?|hrs?|h|days?|d|weeks?|wks?|w|months?|M|years?|yrs?|y)\\s*)+)$";

    fn read(text: &str) -> Option<TimeSpan> {
        humantime::parse_duration(text).ok().filter(|time| *time <= LONGEST).map(TimeSpan)
    }
}

/// Ten years: more means nothing, and could not be added to a clock.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

impl Unit for ByteSize {
    const WHAT: &str = "a size; write a number and a unit, such as \"64KiB\" or \"2MiB\"";
    const HELP: &str = "A size with its unit, such as \"64KiB\" or \"2MiB\".";
    const PATTERN: &str = "^([0-9]+\\.?[0-9]*|\\.[0-9]+)\\s*([kKmMgGtTpPeE][iI]?)?[bB]$";

    fn read(text: &str) -> Option<ByteSize> {
        let has_unit = text.ends_with(['b', 'B']);
        has_unit.then(|| text.parse::<bytesize::ByteSize>().ok()).flatten().map(|size| ByteSize(size.0))
    }
}

impl Unit for Rate {
    const WHAT: &str = "a rate; write a whole number, 1 or more, and a unit, such as \"100/s\", \"30/m\" or \"1000/h\", a \
                        million a second at most";
    const HELP: &str = "How often per second, minute or hour, such as \"100/s\", \"30/m\" or \"1000/h\".";
    const PATTERN: &str = "^\\s*\\+?0*[1-9][0-9]*\\s*/\\s*[smh]\\s*$";

    fn read(text: &str) -> Option<Rate> {
        let (count, unit) = text.split_once('/')?;
        let per = match unit.trim() {
            "s" => Period::Second,
            "m" => Period::Minute,
            "h" => Period::Hour,
            _ => return None,
        };
        let rate = Rate { count: count.trim().parse().ok()?, per };
        (rate.count > 0 && rate.per_second() <= FASTEST).then_some(rate)
    }
}

/// A million a second: more than any sink takes.
const FASTEST: f64 = 1e6;

/// What the settings with a unit have in common: read from text alone, and shown as they would be written, so that a
/// schema shows its defaults in the form that a reader can copy.
macro_rules! setting {
    ($unit:ident) => {
        impl FromStr for $unit {
            type Err = InvalidUnit;

            fn from_str(text: &str) -> Result<$unit, InvalidUnit> {
                <$unit>::read(text).ok_or_else(|| InvalidUnit(format!("{text:?} is not {}", <$unit>::WHAT)))
            }
        }

        impl fmt::Debug for $unit {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl<'de> Deserialize<'de> for $unit {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$unit, D::Error> {
                deserializer.deserialize_any(WithUnit(PhantomData))
            }
        }

        impl Serialize for $unit {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl JsonSchema for $unit {
            fn schema_name() -> Cow<'static, str> {
                stringify!($unit).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "description": <$unit>::HELP, "pattern": <$unit>::PATTERN })
            }
        }
    };
}

setting!(TimeSpan);
setting!(ByteSize);
setting!(Rate);

struct WithUnit<T>(PhantomData<T>);

impl<T: Unit> WithUnit<T> {
    fn refuse<E: de::Error>(found: impl fmt::Display) -> Result<T, E> {
        Err(E::custom(format!("{found} is not {}", T::WHAT)))
    }
}

impl<T: Unit> Visitor<'_> for WithUnit<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::WHAT)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        T::read(text).map_or_else(|| Self::refuse(format_args!("{text:?}")), Ok)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        Self::refuse(number)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        Self::refuse(number)
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<T, E> {
        Self::refuse(format_args!("{number:?}"))
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
            (r#""72h""#, Some(Duration::from_secs(72 * 3600))),
            (r#""3d""#, Some(Duration::from_secs(72 * 3600))),
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
        for (json, rate) in [
            (r#""100/s""#, Some(100.0)),
            (r#""30/m""#, Some(0.5)),
            (r#""1000 / h""#, Some(1000.0 / 3600.0)),
            (r#""1000000/s""#, Some(1e6)),
            (r#""3600000000/h""#, Some(1e6)),
            (r#""1000001/s""#, None),
            (r#""3600000001/h""#, None),
            (r#""0/s""#, None),
            (r#""-1/s""#, None),
            (r#""0.5/s""#, None),
            (r#""10/d""#, None),
            (r#""10""#, None),
            ("10", None),
        ] {
            assert_eq!(serde_json::from_str::<Rate>(json).ok().map(Rate::per_second), rate, "on {json}");
        }
    }

    #[test]
    fn its_pattern_takes_what_it_reads() {
        #[track_caller]
        fn check<T: Unit>(texts: &[&str]) {
            let pattern = regex::Regex::new(T::PATTERN).unwrap();
            for text in texts {
                assert_eq!(pattern.is_match(text), T::read(text).is_some(), "on {text:?}");
            }
        }
        check::<TimeSpan>(&[
            "1500ms", "1h 30m", "1h30m", "72h", "3d", "0", "0s", " 1 s ", "1.5s", "1 .5s", "1year", "2weeks", "5M",
            "1µs", "10", "", "s", "-1s", "1.s", "1x", "fast", "1ss", "00", "1,5s",
        ]);
        check::<ByteSize>(&[
            "1MiB", "64KiB", "512B", "1MB", "1.5GiB", "1 kb", ".5MB", "1.MB", "7b", "2MX", "512", "", "B", "-1B",
            "1 M", "1MiBs",
        ]);
        check::<Rate>(&[
            "100/s", "30/m", "1000 / h", " 1/s ", "+1/s", "007/s", "0/s", "-1/s", "0.5/s", "10/d", "10", "/s", "",
        ]);
    }

    #[test]
    fn is_shown_as_it_would_be_written() {
        assert_eq!(ByteSize::mib(64).to_string(), "64MiB");
        assert_eq!(ByteSize(1500).to_string(), "1500B");
        assert_eq!(TimeSpan::from_millis(1500).to_string(), "1s 500ms");
        for text in ["100/s", "30/m", "1000/h"] {
            assert_eq!(text.parse::<Rate>().map(|rate| rate.to_string()).as_deref(), Ok(text));
        }
    }

    #[test]
    fn what_is_no_unit_is_told_what_to_write() {
        let err = "fast".parse::<Rate>().map_err(|err| err.to_string());
        let expected = "\"fast\" is not a rate; write a whole number, 1 or more, and a unit, such as \"100/s\", \"30/m\" or \
                        \"1000/h\", a million a second at most";
        assert_eq!(err, Err(expected.to_owned()));
    }
}
