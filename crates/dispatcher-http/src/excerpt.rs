//! The beginning of a refusal's body, for people who have to find out why.
//!
//! Receivers like to repeat what they refuse, and that is people's messages. So what repeats the request is left out; of a
//! text that was changed on the way, or of a few letters, this cannot tell.

use std::collections::HashSet;

use reqwest::header::HeaderValue;

/// How much of a body is shown, in bytes.
pub const EXCERPT_MAX: usize = 200;

/// A stretch that repeats so many bytes of the request is left out. Shorter ones are words that any two texts share.
const REPEAT: usize = 12;

/// One line of text out of the first bytes of a body, without what repeats the request's body, query or headers.
pub(crate) fn excerpt(body: &[u8], sent: &[&[u8]], secret: &[HeaderValue]) -> String {
    let body = &body[..body.len().min(EXCERPT_MAX)];
    let mut hidden = vec![false; body.len()];
    for source in sent {
        hide(body, source, REPEAT, &mut hidden);
    }
    // A header's value is a secret however short it is.
    for value in secret {
        hide(body, value.as_bytes(), REPEAT.min(value.len()), &mut hidden);
    }
    let mut shown = Vec::with_capacity(body.len());
    for (idx, &byte) in body.iter().enumerate() {
        if !hidden[idx] {
            shown.push(byte);
        } else if idx == 0 || !hidden[idx - 1] {
            shown.extend_from_slice("…".as_bytes());
        }
    }
    let text = String::from_utf8_lossy(&shown);
    let words: Vec<&str> =
        text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()).collect();
    words.join(" ").trim_end_matches(char::REPLACEMENT_CHARACTER).to_owned()
}

/// Marks what of `text` occurs in `source` too, in stretches of `window` bytes or more.
fn hide(text: &[u8], source: &[u8], window: usize, hidden: &mut [bool]) {
    if window == 0 || source.len() < window {
        return;
    }
    // One pass over the request, which may be long; the text is not.
    let wanted: HashSet<&[u8]> = text.windows(window).collect();
    let repeated: HashSet<&[u8]> = source.windows(window).filter(|stretch| wanted.contains(stretch)).collect();
    for (start, stretch) in text.windows(window).enumerate() {
        if repeated.contains(stretch) {
            hidden[start..start + window].fill(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_one_short_line() {
        for (body, text) in
            [("", ""), ("no such hook", "no such hook"), ("  two\r\n\tlines\u{0} \u{1b}[31m", "two lines [31m")]
        {
            assert_eq!(excerpt(body.as_bytes(), &[], &[]), text);
        }
        let long = "群".repeat(100);
        assert_eq!(excerpt(long.as_bytes(), &[], &[]), "群".repeat(EXCERPT_MAX / 3));
    }

    #[test]
    fn leaves_out_what_repeats_the_request() {
        let sent: &[&[u8]] = &[br#"{"MsgBody":"meet me at the old bridge"}"#, b"Sign=0123456789abcdef"];
        let secret = [HeaderValue::from_static("Bearer 123"), HeaderValue::from_static("s3c")];
        for (body, text) in [
            (r#"bad input: "meet me at the old bridge""#, "bad input: …"),
            ("bad query Sign=0123456789abcdef!", "bad query …!"),
            ("you are Bearer 123, s3c", "you are …, …"),
            ("MsgBody is missing", "MsgBody is missing"),
        ] {
            assert_eq!(excerpt(body.as_bytes(), sent, &secret), text);
        }
    }
}
