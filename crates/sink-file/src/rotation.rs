//! Sets a full file aside as `<path>.1` and keeps so many of them.
//!
//! Numbers, newest first, as logrotate does by default: it is what log shippers and people expect, needs no clock, and
//! bounds the names without reading any. Shippers tell files apart by inode or by their first bytes, and follow a rename.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    log_file::{folder_of, sync_folder},
    step::step,
};

/// Renames `path` to `<path>.1`, after `.1` to `.2` and so on, and deletes what is beyond `keep`.
///
/// Renames go from the oldest to the newest and each is atomic: a crash in between leaves a gap in the numbers, which the
/// next rotation fills, and loses no file that was to be kept.
pub(crate) fn rotate(path: &Path, keep: u32) -> io::Result<()> {
    // Files beyond the first gap need not move; with no gap, the oldest is replaced.
    let free = (1..keep).find(|&n| !exists(&numbered(path, n))).unwrap_or(keep);
    for n in (1..free).rev() {
        fs::rename(numbered(path, n), numbered(path, n + 1))?;
        step("rotation.moved");
    }
    fs::rename(path, numbered(path, 1))?;
    step("rotation.set-aside");
    for stale in beyond(path, keep)? {
        fs::remove_file(stale)?;
        step("rotation.deleted");
    }
    sync_folder(path)?;
    step("rotation.synced");
    Ok(())
}

fn numbered(path: &Path, n: u32) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{n}"));
    name.into()
}

/// Whether the name is taken, by a broken link too.
fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// Files set aside under a larger number than `keep`, from when it was larger.
fn beyond(path: &Path, keep: u32) -> io::Result<Vec<PathBuf>> {
    let Some(name) = path.file_name() else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder_of(path))? {
        let entry = entry?;
        let file_name = entry.file_name();
        let number = file_name
            .as_encoded_bytes()
            .strip_prefix(name.as_encoded_bytes())
            .and_then(|rest| rest.strip_prefix(b"."))
            .and_then(|digits| std::str::from_utf8(digits).ok());
        // Only names that `numbered` makes: `events.jsonl.007` or `.+7` is somebody else's.
        let ours = number.and_then(|text| text.parse::<u32>().ok().filter(|n| n.to_string() == text));
        if ours.is_some_and(|n| n > keep) {
            found.push(entry.path());
        }
    }
    Ok(found)
}
