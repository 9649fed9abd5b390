//! How deeply a body may be nested. Checking it does not recurse, but many a reader behind would.

/// Whether `json`, which is JSON, has more than `limit` arrays and objects within each other.
pub(crate) fn is_deeper(json: &[u8], limit: usize) -> bool {
    // Nearly always there are fewer of them than may be nested, and counting them is cheap.
    let n_opened = json.iter().filter(|&&byte| byte == b'{' || byte == b'[').count();
    if n_opened <= limit {
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
}
