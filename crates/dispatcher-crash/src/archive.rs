//! What the file sink's files say.

use std::{
    collections::{BTreeMap, HashSet},
    fs, io,
    ops::Range,
    path::{Path, PathBuf},
};

use crate::{callback, history::Delivery};

/// The lines of all files of the sink, oldest first, and how many were no events. `by_chance` has the places of those that
/// a power cut has left by chance.
pub(crate) fn read(folder: &Path, by_chance: &HashSet<usize>) -> io::Result<(Vec<Delivery>, usize)> {
    let (mut deliveries, mut n_torn, mut line_no) = (Vec::new(), 0, 0);
    for path in files(folder)? {
        let bytes = fs::read(path)?;
        // A half line at the very end counts for nothing: nobody was told that it is safe.
        for line in bytes.split_inclusive(|&byte| byte == b'\n') {
            match callback::recognise(line, true).filter(|_| line.ends_with(b"\n")) {
                Some(delivery) => {
                    let is_chance = by_chance.contains(&line_no);
                    deliveries.push(Delivery { is_chance, ..delivery });
                }
                None => n_torn += 1,
            }
            line_no += 1;
        }
    }
    Ok((deliveries, n_torn))
}

/// Which lines of all files, counted from the oldest, overlap what a power cut has left by chance. Lines keep their place:
/// files are only ever appended to and renamed.
pub(crate) fn lines_by_chance(folder: &Path, left: &BTreeMap<String, Vec<Range<usize>>>) -> io::Result<Vec<usize>> {
    let (mut lines, mut line_no) = (Vec::new(), 0);
    for path in files(folder)? {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let ranges = left.get(&name).map_or(&[][..], Vec::as_slice);
        let mut start = 0;
        for line in fs::read(path)?.split_inclusive(|&byte| byte == b'\n') {
            let end = start + line.len();
            if ranges.iter().any(|range| range.start < end && start < range.end) {
                lines.push(line_no);
            }
            (start, line_no) = (end, line_no + 1);
        }
    }
    Ok(lines)
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
