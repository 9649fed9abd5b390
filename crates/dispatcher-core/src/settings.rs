//! What settings structs have in common: findings, and what they may look at.

use std::{
    collections::HashSet,
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use serde::de::DeserializeOwned;
use serde_json::Value;

/// The keys that belong to the dispatcher in every `[handlers.<name>]` and `[sinks.<name>]`. A plugin whose settings
/// declare one of them is refused at start.
pub const RESERVED_KEYS: [&str; 21] = [
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
}

impl SettingError {
    /// A finding about the setting `key` of the section's own level.
    pub fn new(key: &str, message: impl fmt::Display) -> SettingError {
        SettingError { path: vec![key.to_owned()], message: message.to_string() }
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
        SettingError { path: path.map(ToString::to_string).collect(), message: err.inner().to_string() }
    })
}

/// What a settings check may ask about the rest of the configuration. Clones share what they know.
#[derive(Clone, Debug, Default)]
pub struct CheckContext {
    folders: Vec<PathBuf>,
    claimed: Arc<Mutex<HashSet<PathBuf>>>,
}

impl CheckContext {
    /// A context in which the dispatcher itself will make `folders` at start.
    #[must_use]
    pub fn new(folders: Vec<PathBuf>) -> CheckContext {
        CheckContext { folders, claimed: Arc::default() }
    }

    /// Claims `file` for whoever is being checked; false if something else of this configuration writes it already, such
    /// as the journal.
    #[must_use]
    pub fn claim_file(&self, file: &Path) -> bool {
        let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        // A panic elsewhere leaves a set that is whole.
        self.claimed.lock().unwrap_or_else(PoisonError::into_inner).insert(file)
    }

    /// Whether `folder` will be there when plugins are opened: it is there now, or the dispatcher makes it (it makes the
    /// journal's).
    #[must_use]
    pub fn folder_will_exist(&self, folder: &Path) -> bool {
        // `./data` and `data` are one folder, and so are `` and `.`.
        let plain = |path: &Path| Path::new(".").join(path.strip_prefix(".").unwrap_or(path));
        plain(folder).is_dir() || self.folders.iter().any(|made| plain(made) == plain(folder))
    }
}

/// What a plugin is opened with.
#[derive(Clone, Debug)]
pub struct OpenContext {
    name: String,
    lane: usize,
}

impl OpenContext {
    /// For the lane number `lane`, from 0, of the instance called `name`.
    #[must_use]
    pub fn new(name: &str, lane: usize) -> OpenContext {
        OpenContext { name: name.to_owned(), lane }
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
}
