//! The trace that a callback is part of, as `traceparent` of W3C Trace Context names it.

use std::{fmt, sync::Arc};

/// A `traceparent` that was sent with a callback: passed on as it came, whether the dispatcher exports spans of its own or not.
/// Whoever reads it sees the sender's span as the parent.
#[derive(Clone, PartialEq, Eq)]
pub struct TraceParent(Arc<str>);

/// Stands between a query and a trace. No query has one: in a URL it ends the query.
const MARK: char = '#';

impl TraceParent {
    /// How long the text of one is, in bytes.
    const LEN: usize = 55;

    /// Reads the value of a header: `00-`, 32 hexadecimal digits for the trace, 16 for the parent and 2 of flags, in lower case,
    /// neither of the ids all zeros. Of a later version of the standard the same parts are taken, and written as version 00, as
    /// it asks; of flags it then keeps those that are known. Anything else is none.
    #[must_use]
    pub fn read(value: &[u8]) -> Option<TraceParent> {
        let text = parts(value)?;
        if text.starts_with("00") {
            return Some(TraceParent(text.into()));
        }
        let flags = u8::from_str_radix(&text[53..], 16).ok()? & 0b11; // Sampled, and a random trace id.
        Some(TraceParent(format!("00{}{flags:02x}", &text[2..53]).into()))
    }

    /// The text that [`CallbackParts::query`](crate::CallbackParts::query) is for a callback with this query and this trace.
    #[must_use]
    pub fn behind(&self, query: &str) -> Arc<str> {
        format!("{query}{MARK}{self}").into()
    }

    /// A text as [`behind`](TraceParent::behind) makes it, taken apart; without a trace it is the query alone.
    pub(crate) fn split(text: &str) -> (&str, Option<&str>) {
        let at = text.len().wrapping_sub(TraceParent::LEN + 1);
        match text.split_at_checked(at) {
            Some((query, trace)) if trace.starts_with(MARK) && parts(&trace.as_bytes()[1..]).is_some() => {
                (query, Some(&trace[1..]))
            }
            _ => (text, None),
        }
    }

    /// Its text, as a header and an attribute of CloudEvents have it: 55 ASCII characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The parts of a valid `traceparent` that this version of the standard knows.
fn parts(value: &[u8]) -> Option<&str> {
    let (known, rest) = value.split_at_checked(TraceParent::LEN)?;
    let (version, trace, parent, flags) = (&known[..2], &known[3..35], &known[36..52], &known[53..]);
    let is_hex = |part: &[u8]| part.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_zero = |id: &[u8]| id.iter().all(|&byte| byte == b'0');
    let is_valid = [version, trace, parent, flags].into_iter().all(is_hex)
        && [known[2], known[35], known[52]] == [b'-'; 3]
        && !is_zero(trace)
        && !is_zero(parent)
        && version != b"ff"
        && (rest.is_empty() || (version != b"00" && rest[0] == b'-'));
    if is_valid { std::str::from_utf8(known).ok() } else { None }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn reads_what_the_standard_calls_valid() {
        for (value, read) in [
            (format!("00-{TRACE}-00f067aa0ba902b7-01"), Some("01")),
            (format!("00-{TRACE}-00f067aa0ba902b7-00"), Some("00")),
            (format!("00-{TRACE}-00f067aa0ba902b7-ff"), Some("ff")),
            (format!("01-{TRACE}-00f067aa0ba902b7-ff"), Some("03")),
            (format!("cc-{TRACE}-00f067aa0ba902b7-01-what-the-future-has"), Some("01")),
            (format!("cc-{TRACE}-00f067aa0ba902b7-01."), None),
            (format!("00-{TRACE}-00f067aa0ba902b7-01-more"), None),
            (format!("00-{TRACE}-00f067aa0ba902b7-01 "), None),
            (format!("ff-{TRACE}-00f067aa0ba902b7-01"), None),
            (format!("00-{TRACE}-0000000000000000-01"), None),
            (format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)), None),
            (format!("00-{}-00f067aa0ba902b7-01", TRACE.to_uppercase()), None),
            (format!("00_{TRACE}-00f067aa0ba902b7-01"), None),
            (format!("00-{TRACE}-00f067aa0ba902b7_01"), None),
            (format!("00-{TRACE}-00f067aa0ba902b7-1"), None),
            (format!("0g-{TRACE}-00f067aa0ba902b7-01"), None),
            ("群".repeat(20), None),
            (String::new(), None),
        ] {
            let expected = read.map(|flags| format!("00-{TRACE}-00f067aa0ba902b7-{flags}"));
            assert_eq!(TraceParent::read(value.as_bytes()).map(|trace| trace.to_string()), expected, "{value:?}");
        }
    }
}
