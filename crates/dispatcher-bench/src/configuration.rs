//! The parts of `dispatcher.toml` that the scenarios are made of. Paths are relative to the server's folder.

use std::net::SocketAddr;

use crate::request::{APP, TOKEN};

/// The folder of the journal.
pub(crate) const JOURNAL: &str = "journal";

/// How many requests an http sink has under way, unless a scenario wants more: the sink's own default.
pub(crate) const LANES: usize = 16;

/// Intake, app and journal: all that is needed to accept callbacks. `sync` is `"always"` or `"off"`.
pub(crate) fn intake(listen: SocketAddr, sync: &str) -> String {
    format!(
        r#"[intake]
listen = "{listen}"
path = "/callback"

[[apps]]
sdk_app_id = {APP}
name = "bench"
tokens = ["{TOKEN}"]
signature = "required"

[journal]
path = "{JOURNAL}/journal.db"
sync = "{sync}"
"#
    )
}

/// A handler that passes every callback on to `sinks`.
pub(crate) fn forward(sinks: &[&str]) -> String {
    format!(
        r#"
[handlers.everything]
type = "forward"
commands = ["*"]
sinks = {sinks:?}
"#
    )
}

/// A sink that writes into `<name>.jsonl`.
pub(crate) fn file_sink(name: &str, enabled: bool) -> String {
    format!(
        r#"
[sinks.{name}]
type = "file"
enabled = {enabled}
path = "{}"
rotate_size = "64GiB"
"#,
        file_of(name)
    )
}

/// Where a file sink of this name writes.
pub(crate) fn file_of(sink: &str) -> String {
    format!("{sink}.jsonl")
}

/// A sink that posts callbacks as they came, which is what floor-relay posts.
pub(crate) fn http_sink(name: &str, url: &str, lanes: usize) -> String {
    format!(
        r#"
[sinks.{name}]
type = "http"
url = "{url}"
format = "raw"
allow_networks = ["127.0.0.0/8"]
lanes = {lanes}
"#
    )
}

/// A decider that looks for 1,000 words, none of which is in what is sent.
pub(crate) fn word_filter() -> String {
    format!("\n[handlers.word-filter]\nwords = {:?}\n", words())
}

/// Words as people might list them, though of no language: three syllables each, beginning with any consonant.
fn words() -> Vec<String> {
    const CONSONANTS: &[u8] = b"bcdfghjklmnpqrstvwz";
    const VOWELS: &[u8] = b"aeiou";
    let n_syllables = CONSONANTS.len() * VOWELS.len();
    let syllable = |idx: usize| {
        let idx = idx % n_syllables;
        [char::from(CONSONANTS[idx % CONSONANTS.len()]), char::from(VOWELS[idx / CONSONANTS.len()])]
    };
    let word = |nth: usize| [nth, 7 * nth + nth / n_syllables, 31 * nth + 3].into_iter().flat_map(syllable).collect();
    (0..1_000).map(word).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::request::TEXT;

    #[test]
    fn a_thousand_words_are_not_in_the_text() {
        let words: HashSet<_> = words().into_iter().collect();
        assert_eq!(words.len(), 1_000);
        let text = TEXT.to_lowercase();
        assert_eq!(words.iter().find(|word| text.contains(*word)), None);
    }
}
