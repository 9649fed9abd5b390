//! The path to a key, as people write it: `sinks.relay.url`, `apps[0].tokens[1]`, `commands."Group.*".journal`.

use std::fmt;

/// A path to a key in the file. The empty path is the file itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct KeyPath(String);

impl KeyPath {
    /// The path to `key` in the table at this path.
    pub(crate) fn key(&self, key: &str) -> KeyPath {
        let is_bare = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
        let key = if is_bare { key.to_owned() } else { format!("{key:?}") };
        KeyPath(if self.0.is_empty() { key } else { format!("{}.{key}", self.0) })
    }

    /// The path to the element at `idx` of the array at this path.
    pub(crate) fn index(&self, idx: usize) -> KeyPath {
        KeyPath(format!("{}[{idx}]", self.0))
    }

    /// The path to where `segments` lead: names of keys, and `[n]` for elements, as serde_path_to_error writes them.
    pub(crate) fn join(&self, segments: &[String]) -> KeyPath {
        segments.iter().fold(self.clone(), |path, segment| match element(segment) {
            Some(idx) => path.index(idx),
            None => path.key(segment),
        })
    }
}

/// Which element of an array a path segment names, if it is not the name of a key.
pub(crate) fn element(segment: &str) -> Option<usize> {
    segment.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_as_in_the_file() {
        let path = KeyPath::default().key("commands").key("Group.*").key("journal");
        assert_eq!(path.to_string(), "commands.\"Group.*\".journal");
        let path = KeyPath::default().key("apps").join(&["[0]".into(), "tokens".into(), "[1]".into()]);
        assert_eq!(path.to_string(), "apps[0].tokens[1]");
    }
}
