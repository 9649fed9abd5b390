//! What keeps a message from being read, where its sender can have put it there.

/// So many levels of arrays and objects are not read.
const TOO_DEEP: usize = 128;

/// What a body is found to be that could not be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    /// Merged messages in merged messages, or something else of that kind.
    TooDeep,
    /// It has halves of surrogate pairs in it, which no text can have. Here it is with U+FFFD in their place.
    Mended(Vec<u8>),
    /// Neither of these.
    Other,
}

/// Looks for what keeps a body from being read. The body is JSON.
pub(crate) fn unread(body: &[u8]) -> Unread {
    let mut mended = body.to_vec();
    let (mut at, mut depth, mut is_in_text, mut is_mended) = (0, 0_usize, false, false);
    while let Some(byte) = mended.get(at) {
        let mut step = 1;
        match byte {
            b'"' => is_in_text = !is_in_text,
            b'\\' => match half(&mended, at) {
                Some(Half::First) if half(&mended, at + 6) == Some(Half::Second) => step = 12,
                Some(_) => {
                    mended[at + 2..at + 6].copy_from_slice(b"fffd");
                    (step, is_mended) = (6, true);
                }
                None => step = 2,
            },
            b'[' | b'{' if !is_in_text => depth += 1,
            b']' | b'}' if !is_in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth >= TOO_DEEP {
            return Unread::TooDeep;
        }
        at += step;
    }
    if is_mended { Unread::Mended(mended) } else { Unread::Other }
}

/// Half of a surrogate pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Half {
    First,
    Second,
}

/// Which half the escape at this place stands for.
fn half(body: &[u8], at: usize) -> Option<Half> {
    let digits = body.get(at..at + 6)?.strip_prefix(b"\\u")?;
    match u16::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()? {
        0xd800..=0xdbff => Some(Half::First),
        0xdc00..=0xdfff => Some(Half::Second),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_of_pairs_are_replaced_and_pairs_are_not() {
        for (body, expected) in [
            (r#"["\ud83d"]"#, Some(r#"["\ufffd"]"#)),
            (r#"["\uDE00\ud83d\ude00\ud83d"]"#, Some(r#"["\ufffd\ud83d\ude00\ufffd"]"#)),
            (r#"["\ud83d\ud83d\ude00"]"#, Some(r#"["\ufffd\ud83d\ude00"]"#)),
            (r#"["\ud83d\\ude00"]"#, Some(r#"["\ufffd\\ude00"]"#)),
            (r#"["\ud83d\n\"[[", "\ud83d"]"#, Some(r#"["\ufffd\n\"[[", "\ufffd"]"#)),
            (r#"["\\ud83d", "\u00e9"]"#, None),
            (r#"["\ud83d\ude00"]"#, None),
            (r#"["\u"#, None),
        ] {
            let expected = expected.map_or(Unread::Other, |mended| Unread::Mended(mended.as_bytes().to_vec()));
            assert_eq!(unread(body.as_bytes()), expected, "{body}");
        }
    }

    #[test]
    fn too_deep_is_what_is_not_read() {
        let nested = |depth: usize| format!("{}\"[\"{}", "[".repeat(depth), "]".repeat(depth));
        for depth in [1, 127, 128, 129, 5000] {
            let is_read = serde_json::from_str::<serde_json::Value>(&nested(depth)).is_ok();
            assert_eq!(unread(nested(depth).as_bytes()) != Unread::TooDeep, is_read, "{depth}");
        }
        assert_eq!(unread("[[],".repeat(100).as_bytes()), Unread::Other);
    }
}
