//! What settings structs have in common: findings, and what they may look at.

use std::{
    collections::HashSet,
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde::de::DeserializeOwned;
use serde_json::Value;

/// The keys that belong to the dispatcher in every `[handlers.<name>]` and `[sinks.<name>]`. A plugin whose settings
/// declare one of them is refused at start.
pub const RESERVED_KEYS: [&str; 24] = [
    "type",
    "enabled",
    "apps",
    "commands",
    "except",
    "phase",
    "sinks",
    "start",
    "order",
    "lanes",
    "attempts",
    "backoff",
    "give_up_after",
    "timeout",
    "batch",
    "rate",
    "if_late",
    "if_failed",
    "if_busy",
    "late_wait",
    "emit",
    "shadow",
    "threads",
    "max_in_flight",
];

/// Something wrong with a setting: which key of the plugin's settings, what is wrong with it, and what to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingError {
    /// The path to the key, empty for the section as a whole: `["headers", "X-Team"]`.
    pub path: Vec<String>,
    /// What is wrong; what to write instead. Lower case, without a full stop at the end.
    pub message: String,
    /// Whether it is about what is there at the moment – a folder that is not mounted – rather than about what is written.
    /// `dispatcher check` fails over either. A dispatcher that starts with a sink of which only this is wrong says so and goes
    /// on, and the sink is down until it can be opened; a reload refuses it in a sink that is new or another, and nowhere else.
    /// Of a handler it is like any other error.
    pub is_for_now: bool,
}

impl SettingError {
    /// A finding about the setting `key` of the section's own level.
    pub fn new(key: &str, message: impl fmt::Display) -> SettingError {
        SettingError::at(vec![key.to_owned()], message)
    }

    /// A finding about the setting that `path` leads to.
    pub fn at(path: Vec<String>, message: impl fmt::Display) -> SettingError {
        SettingError { path, message: message.to_string(), is_for_now: false }
    }

    /// The same about something that [is so for now](SettingError::is_for_now).
    pub fn for_now(key: &str, message: impl fmt::Display) -> SettingError {
        SettingError { is_for_now: true, ..SettingError::new(key, message) }
    }
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.join("."), self.message)
    }
}

/// Decodes one settings struct out of a section, and names the path where it does not fit.
pub(crate) fn decode<C: DeserializeOwned>(section: &Value) -> Result<C, SettingError> {
    serde_path_to_error::deserialize(section).map_err(|err| {
        let path = err.path().iter().filter(|segment| !matches!(segment, serde_path_to_error::Segment::Unknown));
        SettingError::at(path.map(ToString::to_string).collect(), err.inner())
    })
}

/// What a settings check may ask about the rest of the configuration. Clones share what they know.
#[derive(Clone, Debug, Default)]
pub struct CheckContext {
    folders: Vec<PathBuf>,
    is_elsewhere: bool,
    claimed: Arc<Mutex<Vec<PathBuf>>>,
}

impl CheckContext {
    /// A context in which the dispatcher itself will make `folders` at start.
    #[must_use]
    pub fn new(folders: Vec<PathBuf>) -> CheckContext {
        CheckContext { folders, is_elsewhere: false, claimed: Arc::default() }
    }

    /// A context for a configuration that is checked on another machine than it is for.
    #[must_use]
    pub fn elsewhere() -> CheckContext {
        CheckContext { is_elsewhere: true, ..CheckContext::default() }
    }

    /// Whether the configuration is for another machine, as when `dispatcher test` runs in a CI: then what folders and files
    /// there are, and who may write them, says nothing about it, and is no error.
    #[must_use]
    pub fn is_elsewhere(&self) -> bool {
        self.is_elsewhere
    }

    /// Claims `file` for whoever is being checked; false if something else of this configuration writes it already, such
    /// as the journal.
    ///
    /// What is in braces, `{…}`, stands for any letters, digits, `-` and `_`, at least one: the claim is then for every
    /// path that this makes, and false if one of them may be claimed already. Links are not followed, and `..` is not
    /// resolved.
    #[must_use]
    pub fn claim_file(&self, file: &Path) -> bool {
        let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        // A panic elsewhere leaves a list that is whole.
        let mut claimed = self.claimed.lock().unwrap_or_else(PoisonError::into_inner);
        let is_free = !claimed.iter().any(|other| may_be_one(other, &file));
        if is_free {
            claimed.push(file);
        }
        is_free
    }

    /// Whether `folder` will be there when plugins are opened: it is there now, or the dispatcher makes it (it makes the
    /// journal's). On [another machine](CheckContext::is_elsewhere) than the configuration is for, it is taken to be.
    #[must_use]
    pub fn folder_will_exist(&self, folder: &Path) -> bool {
        // `./data` and `data` are one folder, and so are `` and `.`.
        let plain = |path: &Path| Path::new(".").join(path.strip_prefix(".").unwrap_or(path));
        self.is_elsewhere || plain(folder).is_dir() || self.folders.iter().any(|made| plain(made) == plain(folder))
    }
}

/// Whether two paths, with what is in braces standing for any word, can be the same.
fn may_be_one(a: &Path, b: &Path) -> bool {
    let (a, b) = (marks(a), marks(b));
    // Walks through both at once; a pair of places that was seen need not be walked from again.
    let (mut todo, mut seen) = (vec![(0, 0)], HashSet::from([(0, 0)]));
    while let Some((i, j)) = todo.pop() {
        let (mark_a, mark_b) = (a.get(i), b.get(j));
        if mark_a.is_none() && mark_b.is_none() {
            return true;
        }
        let mut next = vec![];
        next.extend((mark_a == Some(&Mark::More)).then_some((i + 1, j)));
        next.extend((mark_b == Some(&Mark::More)).then_some((i, j + 1)));
        if let (Some(mark_a), Some(mark_b)) = (mark_a, mark_b)
            && mark_a.meets(mark_b)
        {
            let stays = |mark: &Mark| usize::from(*mark != Mark::More);
            next.push((i + stays(mark_a), j + stays(mark_b)));
        }
        todo.extend(next.into_iter().filter(|place| seen.insert(*place)));
    }
    false
}

/// A part of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    /// This byte.
    Byte(u8),
    /// A byte of a word.
    Any,
    /// Bytes of a word, or none.
    More,
}

impl Mark {
    fn meets(self, other: &Mark) -> bool {
        match (self, *other) {
            (Mark::Byte(a), Mark::Byte(b)) => a == b,
            (Mark::Byte(byte), _) | (_, Mark::Byte(byte)) => byte.is_ascii_alphanumeric() || b"-_".contains(&byte),
            _ => true,
        }
    }
}

fn marks(path: &Path) -> Vec<Mark> {
    let (mut marks, mut rest) = (Vec::new(), path.as_os_str().as_encoded_bytes());
    while let Some((&byte, after)) = rest.split_first() {
        let close = after.iter().position(|byte| b"}/".contains(byte)).filter(|&at| after[at] == b'}');
        match close {
            Some(close) if byte == b'{' => {
                marks.extend([Mark::Any, Mark::More]);
                rest = &after[close + 1..];
            }
            _ => {
                marks.push(Mark::Byte(byte));
                rest = after;
            }
        }
    }
    marks
}

/// What a plugin is opened with.
#[derive(Clone, Debug)]
pub struct OpenContext {
    name: String,
    lane: usize,
    timeout: Option<Duration>,
}

impl OpenContext {
    /// For the lane number `lane`, from 0, of the instance called `name`.
    #[must_use]
    pub fn new(name: &str, lane: usize) -> OpenContext {
        OpenContext { name: name.to_owned(), lane, timeout: None }
    }

    /// With the longest that one call may take.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> OpenContext {
        self.timeout = Some(timeout);
        self
    }

    /// The instance's name: `<name>` in `[sinks.<name>]`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Which of the instance's lanes, from 0. A handler is opened once for all its lanes.
    #[must_use]
    pub fn lane(&self) -> usize {
        self.lane
    }

    /// The longest that one call of what is opened ever has: its `timeout`, and for decisions no more than the time within
    /// which Tencent is answered. A call may have less, where others took of it. `None` where nobody has said.
    #[must_use]
    pub fn timeout(&self) -> Option<Duration> {
        self.timeout
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_claimed_once_whatever_stands_in_its_braces() {
        for (first, second, is_free) in [
            ("data/a", "data/a", false),
            ("data/a", "./data/a", false),
            ("data/a", "data/b", true),
            ("data/a", "data/ab", true),
            ("data/{app}", "data/{date}", false),
            ("data/{app}", "data/a", false),
            ("data/{app}", "data/a.b", true),
            ("data/{app}", "data/a/b", true),
            ("data/{app}.db", "data/journal.db", false),
            ("data/{app}.db", "data/.db", true),
            ("data/x-{app}", "data/{app}-y", false),
            ("data/x-{app}", "data/y-{app}", true),
            ("{app}/a", "{app}/b", true),
            ("{a}-{b}", "x-y-z", false),
            ("{a}-{b}", "x-", true),
            ("a.jsonl.{n}", "a.jsonl.1", false),
            ("{a", "{a", false),
            ("{a", "b", true),
        ] {
            for (first, second) in [(first, second), (second, first)] {
                let cx = CheckContext::default();
                assert!(cx.claim_file(Path::new(first)));
                assert_eq!(cx.claim_file(Path::new(second)), is_free, "on {first} and {second}");
            }
        }
    }
}
