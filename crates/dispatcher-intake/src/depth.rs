//! How deeply a body may be nested. Checking it does not recurse, but many a reader behind would.

/// Whether `json`, which is JSON, has more than `limit` arrays and objects within each other.
pub(crate) fn is_deeper(json: &[u8], limit: usize) -> bool {
    // Nearly always there are fewer of them than may be nested, and counting them is cheap.
    if n_opened(json) <= limit {
        return false;
    }
    let (mut depth, mut in_string, mut bytes) = (0, false, json.iter());
    while let Some(byte) = bytes.next() {
        match (in_string, byte) {
            (true, b'\\') => {
                bytes.next();
            }
            (_, b'"') => in_string = !in_string,
            (false, b'{' | b'[') => {
                depth += 1;
                if depth > limit {
                    return true;
                }
            }
            (false, b'}' | b']') => depth -= 1,
            _ => {}
        }
    }
    false
}

/// How many braces and brackets are opened, in strings or not.
fn n_opened(json: &[u8]) -> usize {
    // In pieces whose count fits into a byte: many bytes are then compared and added at once.
    let of_piece = |piece: &[u8]| -> u8 { piece.iter().map(|&byte| u8::from(byte == b'{' || byte == b'[')).sum() };
    json.chunks(usize::from(u8::MAX)).map(|piece| usize::from(of_piece(piece))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_is_open_at_once_and_nothing_in_strings() {
        for (json, depth) in [
            ("{}", 1),
            (r#"{"a":[{},{},{},{}]}"#, 3),
            (r#"{"a":"[[[[[[","b":["\"[[[[[[[",{}]}"#, 3),
            (r#"{"[[[[":1,"\\":[1]}"#, 2),
        ] {
            assert!(!is_deeper(json.as_bytes(), depth), "{json} is not deeper than {depth}");
            assert!(is_deeper(json.as_bytes(), depth - 1), "{json} is deeper than {}", depth - 1);
        }
    }

    #[test]
    fn many_side_by_side_are_counted_over_all_pieces() {
        for n in [1, 254, 255, 256, 1_000] {
            assert_eq!(n_opened("[{".repeat(n).as_bytes()), 2 * n);
            let wide = format!("[{}]", vec!["{}"; n].join(","));
            assert!(!is_deeper(wide.as_bytes(), 2) && is_deeper(wide.as_bytes(), 1));
        }
    }
}
