//! What can be told of a file that need not be right, or may be another than the dispatcher that runs goes by: enough to find
//! that one.

use std::{
    fs,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};
use toml::de::DeTable;

use crate::{JournalSection, source::Source};

/// Little of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glimpse {
    /// `journal.path`: what is written, or the default.
    pub journal: PathBuf,
    /// SHA-256 of the text, in hexadecimal, as in [`Config`](crate::Config).
    pub sha256: String,
}

impl Glimpse {
    /// Reads the file at `path`; looks at no other file, and at no variable but those in the one value. Whatever else is wrong
    /// with it is left aside. `None` if it cannot be read or does not say. Blocks on the disk.
    #[must_use]
    pub fn of(path: &Path) -> Option<Glimpse> {
        // What is no file – a pipe, say – can be read once.
        fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
        Glimpse::of_text(&fs::read_to_string(path).ok()?, &|name| std::env::var(name).ok())
    }

    fn of_text(text: &str, environment: &dyn Fn(&str) -> Option<String>) -> Option<Glimpse> {
        let (table, _) = DeTable::parse_recoverable(text);
        let table = table.into_inner();
        let section = table.get("journal").and_then(|section| section.get_ref().as_table());
        let written = section.and_then(|section| section.get("path"));
        let journal = match written {
            Some(path) => Source::expanded(path.get_ref().as_str()?, environment)?.into(),
            None => JournalSection::default().path,
        };
        Some(Glimpse { journal, sha256: digest(text) })
    }
}

/// What `sha256sum` says.
pub(crate) fn digest(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_is_found_in_what_is_wrong_otherwise() {
        let environment = |name: &str| (name == "DATA").then(|| "/data".to_owned());
        for (text, journal) in [
            ("", Some("data/journal.db")),
            ("[journal]\npaht = 7\n[intake]\nlisten = 8", Some("data/journal.db")),
            (
                "[journal]\npath = \"j.db\"\nkeep_for = \"${UNSET}\"\n[[apps]]\ntokens = [{ file = \"none\" }]",
                Some("j.db"),
            ),
            ("[journal]\npath = \"${DATA}/$${j.db\"", Some("/data/${j.db")),
            ("[journal]\npath = \"${UNSET}/j.db\"", None),
            ("[journal]\npath = 7", None),
            ("[journal]\npath = \"j.db\"\n[sinks.file\n", Some("j.db")),
        ] {
            let glimpse = Glimpse::of_text(text, &environment);
            assert_eq!(glimpse.map(|glimpse| glimpse.journal), journal.map(PathBuf::from), "{text}");
        }
    }
}
