//! What tells one state of the settings from another: the text, and the files that it names.

use std::{
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::{Path, PathBuf},
};

use serde_json::Value;

/// Equal for a section that says the same, secrets included, with files in which the same stands. Within one run of the
/// program only; nothing can be read out of it.
pub(crate) fn fingerprint(section: &Value, files: &[PathBuf]) -> u64 {
    let mut hasher = DefaultHasher::new();
    section.to_string().hash(&mut hasher);
    let mut secrets = Vec::new();
    secret_files(section, &mut secrets);
    for file in secrets.iter().chain(files) {
        hash_file(file, &mut hasher);
    }
    hasher.finish()
}

/// Equal as long as in all of these files the same stands, or they are missing. A link is followed. Blocks on the disk.
#[must_use]
pub fn contents_of<'a>(files: impl IntoIterator<Item = &'a Path>) -> u64 {
    let mut hasher = DefaultHasher::new();
    for file in files {
        hash_file(file, &mut hasher);
    }
    hasher.finish()
}

fn hash_file(file: &Path, hasher: &mut DefaultHasher) {
    file.hash(hasher);
    // What is no file – a pipe, say – could keep the reader for ever.
    let is_file = fs::metadata(file).is_ok_and(|metadata| metadata.is_file());
    is_file.then(|| fs::read(file).ok()).flatten().hash(hasher);
}

/// The files of the secrets in a section: `{ file = "…" }`.
pub(crate) fn secret_files(section: &Value, files: &mut Vec<PathBuf>) {
    match (secret_file(section), section) {
        (Some(file), _) => files.push(file.into()),
        (None, Value::Object(table)) => table.values().for_each(|value| secret_files(value, files)),
        (None, Value::Array(values)) => values.iter().for_each(|value| secret_files(value, files)),
        _ => {}
    }
}

/// Puts some secret in the place of each whose file cannot be read here.
pub(crate) fn stand_in(section: &mut Value) {
    if let Some(file) = secret_file(section) {
        if fs::read_to_string(file).is_err() {
            *section = "stands for a secret that is not on this machine".into();
        }
        return;
    }
    match section {
        Value::Object(table) => table.values_mut().for_each(stand_in),
        Value::Array(values) => values.iter_mut().for_each(stand_in),
        _ => {}
    }
}

fn secret_file(value: &Value) -> Option<&str> {
    value.as_object().filter(|table| table.len() == 1)?.get("file")?.as_str()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_section_is_another_when_it_says_something_else_or_a_file_does() {
        let folder = std::env::temp_dir().join(format!("fingerprint-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (secret, words) = (folder.join("secret"), folder.join("words"));
        fs::write(&secret, "one").unwrap();
        let section = json!({ "type": "http", "secrets": [{ "file": secret }] });
        let at_first = fingerprint(&section, std::slice::from_ref(&words));
        assert_eq!(at_first, fingerprint(&section.clone(), std::slice::from_ref(&words)));
        assert_ne!(at_first, fingerprint(&json!({ "type": "http" }), std::slice::from_ref(&words)));
        fs::write(&words, "").unwrap();
        let with_words = fingerprint(&section, std::slice::from_ref(&words));
        assert_ne!(at_first, with_words, "an empty file is not a missing one");
        fs::write(&secret, "two").unwrap();
        assert_ne!(with_words, fingerprint(&section, std::slice::from_ref(&words)));
        let mut files = Vec::new();
        secret_files(&json!({ "sinks": { "a": section } }), &mut files);
        assert_eq!(files, [secret]);
        fs::remove_dir_all(&folder).unwrap();
    }
}
