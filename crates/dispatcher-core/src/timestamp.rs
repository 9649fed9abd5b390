//! A moment, to the millisecond: as precise as anything Tencent sends.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// A moment in milliseconds since 1970-01-01T00:00:00Z. Shown as RFC 3339 in UTC: `2026-11-23T03:23:32.000Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The system clock's reading. It can jump; use it to tell when something happened, never to measure a wait.
    #[must_use]
    pub fn now() -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Timestamp(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }

    /// From milliseconds since the epoch.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Timestamp {
        Timestamp(millis)
    }

    /// From RFC 3339 text, such as `2026-11-23T03:23:32Z` or `2026-11-23T11:23:32+08:00`; what is finer than a millisecond
    /// is cut off. None if the text is no such time, or says no offset.
    #[must_use]
    pub fn from_rfc_3339(text: &str) -> Option<Timestamp> {
        text.parse().ok().map(|time: jiff::Timestamp| Timestamp(time.as_millisecond()))
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// This moment and `span` more, at most the last moment that can be told.
    #[must_use]
    pub fn after(self, span: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }

    /// How long after `earlier` this is; zero if it is not after it.
    #[must_use]
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(time) => write!(f, "{time:.3}"),
            // Beyond the year 9999: no RFC 3339 text exists, and the number says more than an error would.
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_shown_as_rfc_3339_with_milliseconds() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_764_000_000_007, "2025-11-24T16:00:00.007Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (i64::MAX, "9223372036854775807ms"),
        ] {
            assert_eq!(Timestamp::from_millis(millis).to_string(), text);
        }
    }

    #[test]
    fn is_read_from_rfc_3339_with_its_offset() {
        for (text, millis) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2025-11-24T16:00:00.0079Z", Some(1_764_000_000_007)),
            ("2025-11-25T00:00:00.007+08:00", Some(1_764_000_000_007)),
            ("2025-11-24T16:00:00", None),
            ("2025-11-24", None),
            ("yesterday", None),
        ] {
            assert_eq!(Timestamp::from_rfc_3339(text).map(Timestamp::as_millis), millis, "on {text}");
        }
    }
}
