//! Moments as people write and read them.

use std::fmt;

use dispatcher_core::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A moment that is shown, and travels, as RFC 3339 in UTC with milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub Timestamp);

impl Moment {
    /// The time of day of it, in UTC: what a timeline of one day shows.
    #[must_use]
    pub fn time_of_day(self) -> String {
        let text = self.to_string();
        text.split_once('T').map_or(text.clone(), |(_, time)| time.trim_end_matches('Z').to_owned())
    }
}

impl From<Timestamp> for Moment {
    fn from(time: Timestamp) -> Moment {
        Moment(time)
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Moment, D::Error> {
        let text = String::deserialize(deserializer)?;
        // Beyond the year 9999 a timestamp shows its number.
        let number = || text.strip_suffix("ms")?.parse().ok().map(|millis| Moment(Timestamp::from_millis(millis)));
        Timestamp::from_rfc_3339(&text)
            .map(Moment)
            .or_else(number)
            .ok_or_else(|| de::Error::custom("this is no RFC 3339 time"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn travels_as_text() {
        for millis in [0, 1_764_000_000_007, -1, i64::MAX] {
            let moment = Moment(Timestamp::from_millis(millis));
            let text = serde_json::to_string(&moment).unwrap();
            assert_eq!(serde_json::from_str::<Moment>(&text).unwrap(), moment, "{text}");
        }
        assert_eq!(Moment(Timestamp::from_millis(1_764_000_000_007)).time_of_day(), "16:00:00.007");
    }
}
