//! What the file sink's files say.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{callback, history::Delivery};

/// The lines of all files of the sink, oldest first, and how many were no events.
pub(crate) fn read(folder: &Path) -> io::Result<(Vec<Delivery>, usize)> {
    let (mut deliveries, mut n_torn) = (Vec::new(), 0);
    for path in files(folder)? {
        let bytes = fs::read(path)?;
        // A half line at the very end counts for nothing: nobody was told that it is safe.
        for line in bytes.split_inclusive(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            match callback::recognise(line, true).filter(|_| line.ends_with(b"\n")) {
                Some(delivery) => deliveries.push(delivery),
                None => n_torn += 1,
            }
        }
    }
    Ok((deliveries, n_torn))
}

/// `events.jsonl.<n>` from the highest number on, then `events.jsonl`.
fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut numbered = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name == "events.jsonl" {
            numbered.push((0, path));
        } else if let Some(number) = name.strip_prefix("events.jsonl.").and_then(|number| number.parse::<u64>().ok()) {
            numbered.push((number, path));
        }
    }
    numbered.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
    Ok(numbered.into_iter().map(|(_, path)| path).collect())
}
