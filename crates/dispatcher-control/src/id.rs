//! The names that people type for what is in a journal.

use std::{fmt, str::FromStr};

use dispatcher_core::EventN;
use dispatcher_journal::Stream;

/// What a person named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Id {
    /// A callback, by its id or the beginning of it.
    Callback(IdPrefix),
    /// An event: `<callbackid>.<handler>.<n>`.
    Event {
        /// Its callback.
        callback: IdPrefix,
        /// The handler that made it.
        handler: String,
        /// Its place among what the handler returned, or one of those that are kept for decisions.
        n: u32,
    },
    /// A row: `callbacks/SEQ` or `events/SEQ`.
    Row {
        /// The stream.
        stream: Stream,
        /// The seq.
        seq: u64,
    },
    /// A dead letter: `sink:NAME/SEQ` or `handler:NAME/SEQ`.
    Dead {
        /// The whole name of its consumer.
        consumer: String,
        /// Its seq in the consumer's stream.
        seq: u64,
    },
}

/// The beginning of a callback's id, or all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdPrefix {
    /// The smallest id that begins so, and the largest.
    low: [u8; 16],
    high: [u8; 16],
}

impl IdPrefix {
    /// Fewer digits name a minute or more, and with it thousands of callbacks.
    const SHORTEST: usize = 8;

    /// The smallest id that begins so.
    #[must_use]
    pub fn low(&self) -> [u8; 16] {
        self.low
    }

    /// The largest.
    #[must_use]
    pub fn high(&self) -> [u8; 16] {
        self.high
    }

    /// When an id that begins so was minted: from the first moment to the last, in milliseconds since the epoch.
    #[must_use]
    pub fn minted(&self) -> (i64, i64) {
        let millis = |bytes: &[u8; 16]| bytes[..6].iter().fold(0, |time, byte| time << 8 | i64::from(*byte));
        (millis(&self.low), millis(&self.high))
    }

    fn parse(text: &str) -> Option<IdPrefix> {
        let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b'-').collect();
        let is_hex = digits.iter().all(u8::is_ascii_hexdigit);
        if !is_hex || digits.len() < IdPrefix::SHORTEST || digits.len() > 32 {
            return None;
        }
        let filled = |with: u8| {
            let mut digits = digits.clone();
            digits.resize(32, with);
            let mut bytes = [0; 16];
            for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
                *byte = pair.iter().fold(0, |byte, digit| byte << 4 | hex(*digit));
            }
            bytes
        };
        Some(IdPrefix { low: filled(b'0'), high: filled(b'f') })
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        b'A'..=b'F' => digit - b'A' + 10,
        _ => 0, // `parse` lets only hexadecimal digits through.
    }
}

impl FromStr for Id {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Id, InvalidId> {
        let invalid = || InvalidId(text.to_owned());
        if let Some((place, seq)) = text.rsplit_once('/') {
            let seq = seq.parse().ok().filter(|&seq: &u64| seq > 0).ok_or_else(invalid)?;
            return match place {
                "callbacks" => Ok(Id::Row { stream: Stream::Callbacks, seq }),
                "events" => Ok(Id::Row { stream: Stream::Events, seq }),
                _ if is_consumer(place) => Ok(Id::Dead { consumer: place.to_owned(), seq }),
                _ => Err(invalid()),
            };
        }
        match text.split_once('.') {
            None => IdPrefix::parse(text).map(Id::Callback).ok_or_else(invalid),
            Some((callback, rest)) => {
                let callback = IdPrefix::parse(callback).ok_or_else(invalid)?;
                let (handler, n) = rest.rsplit_once('.').ok_or_else(invalid)?;
                let EventN(n) = n.parse().map_err(|_| invalid())?;
                Ok(Id::Event { callback, handler: handler.to_owned(), n })
            }
        }
    }
}

/// Whether this is the whole name of a consumer that a configuration can have.
pub(crate) fn is_consumer(name: &str) -> bool {
    matches!(name.split_once(':'), Some(("handler" | "sink", name)) if !name.is_empty())
}

/// A text that names nothing that can be in a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidId(String);

impl fmt::Display for InvalidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is no id; write a callback's id or its first {} characters or more, an event's id, callbacks/SEQ, \
             events/SEQ, or a dead letter's sink:NAME/SEQ or handler:NAME/SEQ",
            self.0,
            IdPrefix::SHORTEST
        )
    }
}

impl std::error::Error for InvalidId {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_type_is_understood() {
        let prefix = |low: u8, high: u8| IdPrefix {
            low: [1, 2, 0xa0, 0x40, low, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            high: [1, 2, 0xa0, 0x4f, high, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255],
        };
        let row = |stream, seq| Id::Row { stream, seq };
        for (text, id) in [
            ("0102a04", None),
            ("0102A04-", None),
            ("callbacks/12", Some(row(Stream::Callbacks, 12))),
            ("events/7", Some(row(Stream::Events, 7))),
            ("events/", None),
            ("sink:a/7", Some(Id::Dead { consumer: "sink:a".into(), seq: 7 })),
            ("handler:b.c/18446744073709551615", Some(Id::Dead { consumer: "handler:b.c".into(), seq: u64::MAX })),
            ("replay:1/7", None),
            ("sink:/7", None),
            ("everything", None),
            ("", None),
            ("0102a040.h", None),
            ("0102a040.h.x", None),
        ] {
            assert_eq!(text.parse::<Id>().ok(), id, "on {text:?}");
        }
        let Id::Callback(short) = "0102A04-0".parse().unwrap() else { panic!("not a callback") };
        assert_eq!(
            short,
            IdPrefix {
                high: {
                    let mut high = [255; 16];
                    high[..4].copy_from_slice(&[1, 2, 0xa0, 0x40]);
                    high
                },
                ..prefix(0, 0)
            }
        );
        let Id::Event { callback, handler, n } = "01a206b2-0000-7000-8000-00000000000f.a.b.3".parse().unwrap() else {
            panic!("not an event")
        };
        assert_eq!((callback.low(), handler.as_str(), n), (callback.high(), "a.b", 3));
        for (text, of) in [("decision", dispatcher_core::Event::DECISION), ("late", dispatcher_core::Event::LATE)] {
            let Id::Event { n, .. } = format!("0102a040.a.b.{text}").parse().unwrap() else { panic!("not an event") };
            assert_eq!(n, of, "{text}");
        }
        assert_eq!(callback.minted(), (0x01a2_06b2_0000, 0x01a2_06b2_0000));
    }
}
