//! What a disk may hold after a power cut, from the log of changes that the preloaded library kept.
//!
//! The model, which is harsher than ext4 and no harsher than what POSIX allows:
//!
//! - a write, or the setting of a length, is on the disk for certain once a later sync of its file succeeded that began
//!   after it. Until then, any of the 512-byte sectors of any of these may be there or not, each by itself;
//! - a name – created, renamed, removed, or a folder made – is on the disk for certain once a later sync of its folder
//!   succeeded that began after it; syncing the file itself does not make its name durable. Until then the first so many of
//!   the folder's changes of names are there, as with a journalling file system;
//! - when a sync fails, what it would have covered is on the disk or not, by the toss of a coin, and no later sync makes it
//!   so: the kernel takes the pages for clean.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, DirBuilder},
    io,
    ops::Range,
    os::unix::fs::DirBuilderExt as _,
    path::Path,
};

use anyhow::{Context, Result, bail};
use fastrand::Rng;

const SECTOR: usize = 512;

/// A folder's files, as far as they are durable, and what came after.
#[derive(Default)]
pub(crate) struct Disk {
    nodes: Vec<Node>,
    /// As the program saw them.
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    changes_of_names: Vec<(u64, NameChange)>,
    /// The library's numbers of files that are open.
    open: HashMap<u32, Open>,
}

enum Open {
    File(usize),
    Folder(String),
}

/// A file.
#[derive(Default)]
struct Node {
    durable: Vec<u8>,
    pending: Vec<(u64, Change)>,
    /// What of it is there by chance, or is not.
    by_chance: Vec<Range<usize>>,
}

enum Change {
    Write { at: usize, data: Vec<u8> },
    Length(usize),
}

enum NameChange {
    Named(String, usize),
    Renamed(String, String),
    Removed(String),
}

impl Disk {
    /// Everything that lies in the folder now, all of it durable.
    pub(crate) fn read(folder: &Path) -> io::Result<Disk> {
        let mut disk = Disk::default();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !is_transient(&name) && entry.file_type()?.is_file() {
                disk.names.insert(name, disk.nodes.len());
                disk.nodes.push(Node { durable: fs::read(entry.path())?, ..Node::default() });
            }
        }
        disk.durable_names = disk.names.clone();
        Ok(disk)
    }

    /// Goes through the log. What fails while it does is tossed with `rng`.
    pub(crate) fn replay(&mut self, log: &[u8], rng: &mut Rng) -> Result<()> {
        let (mut rest, mut index) = (log, 0);
        // An incomplete record at the end did not happen.
        while let Some((len, more)) = rest.split_first_chunk::<4>() {
            let Some((record, more)) = more.split_at_checked(u32::from_le_bytes(*len) as usize) else { break };
            self.apply(index, record, rng).with_context(|| format!("record {index} of the log of changes"))?;
            (rest, index) = (more, index + 1);
        }
        Ok(())
    }

    fn apply(&mut self, index: u64, record: &[u8], rng: &mut Rng) -> Result<()> {
        let (Some(&[kind, f0, f1, f2, f3]), Some(number)) = (record.first_chunk::<5>(), record.get(5..13)) else {
            bail!("is too short");
        };
        let file = u32::from_le_bytes([f0, f1, f2, f3]);
        let number = u64::from_le_bytes(number.try_into()?);
        let bytes = &record[13..];
        match kind {
            1 => self.opened(index, file, number, String::from_utf8(bytes.to_vec())?),
            2 => self.change(index, file, Change::Write { at: usize::try_from(number)?, data: bytes.to_vec() }),
            3 => self.change(index, file, Change::Length(usize::try_from(number)?)),
            4 => self.synced(file, number),
            5 => self.sync_failed(file, number, rng),
            6 => {
                let text = String::from_utf8(bytes.to_vec())?;
                let (from, to) = text.split_once('\0').context("names one file of two")?;
                if let Some(node) = self.names.remove(from) {
                    self.names.insert(to.to_owned(), node);
                }
                self.changes_of_names.push((index, NameChange::Renamed(from.to_owned(), to.to_owned())));
                Ok(())
            }
            7 => {
                let name = String::from_utf8(bytes.to_vec())?;
                self.names.remove(&name);
                self.changes_of_names.push((index, NameChange::Removed(name)));
                Ok(())
            }
            // Folders are made where an image is written; that they last is left to the start of the trial.
            8 => Ok(()),
            other => bail!("is of no known kind: {other}"),
        }
    }

    fn opened(&mut self, index: u64, file: u32, what: u64, name: String) -> Result<()> {
        let (is_new, is_folder, is_cut) = (what & 1 != 0, what & 2 != 0, what & 4 != 0);
        if is_folder {
            self.open.insert(file, Open::Folder(name));
            return Ok(());
        }
        let known = self.names.get(&name).copied().filter(|_| !is_new);
        let node = known.unwrap_or_else(|| {
            self.nodes.push(Node::default());
            self.nodes.len() - 1
        });
        // What is opened and was never seen before is transient, or was made by something else than the program.
        if known.is_none() {
            self.names.insert(name.clone(), node);
            self.changes_of_names.push((index, NameChange::Named(name, node)));
        }
        self.open.insert(file, Open::File(node));
        if is_cut { self.change(index, file, Change::Length(0)) } else { Ok(()) }
    }

    fn change(&mut self, index: u64, file: u32, change: Change) -> Result<()> {
        let Some(Open::File(node)) = self.open.get(&file) else { bail!("changes a file that is not open") };
        self.nodes[*node].pending.push((index, change));
        Ok(())
    }

    fn synced(&mut self, file: u32, before: u64) -> Result<()> {
        match self.open.get(&file) {
            None => bail!("syncs a file that is not open"),
            Some(Open::File(node)) => {
                let node = &mut self.nodes[*node];
                for (_, change) in node.take_before(before) {
                    change.apply(&mut node.durable, |_| true);
                }
            }
            Some(Open::Folder(folder)) => {
                let is_covered = |(index, change): &(u64, NameChange)| *index < before && change.is_in(folder);
                let changes = std::mem::take(&mut self.changes_of_names);
                let (covered, left) = changes.into_iter().partition::<Vec<_>, _>(is_covered);
                self.changes_of_names = left;
                for (_, change) in covered {
                    change.apply(&mut self.durable_names);
                }
            }
        }
        Ok(())
    }

    fn sync_failed(&mut self, file: u32, before: u64, rng: &mut Rng) -> Result<()> {
        if let Some(Open::File(node)) = self.open.get(&file) {
            let node = &mut self.nodes[*node];
            for (_, change) in node.take_before(before) {
                node.by_chance.extend(change.range());
                change.apply(&mut node.durable, |_| rng.bool());
            }
        }
        Ok(())
    }

    /// Cuts the power: replaces what is in the folder by what the disk may hold now. Returns, by file, what of it is there
    /// by chance.
    pub(crate) fn cut(mut self, folder: &Path, rng: &mut Rng) -> Result<BTreeMap<String, Vec<Range<usize>>>> {
        let mut by_chance = BTreeMap::new();
        let n_names = rng.usize(..=self.changes_of_names.len());
        for (_, change) in self.changes_of_names.drain(..n_names) {
            change.apply(&mut self.durable_names);
        }
        fs::remove_dir_all(folder)?;
        DirBuilder::new().mode(0o700).create(folder)?;
        for (name, node) in &self.durable_names {
            let Some(node) = self.nodes.get_mut(*node).filter(|_| !is_transient(name)) else { continue };
            // From nothing to all of it: most bugs show at one of the ends.
            let kept = [0, 10, 50, 90, 100][rng.usize(..5)];
            node.by_chance.extend(node.pending.iter().filter_map(|(_, change)| change.range()));
            for (_, change) in node.pending.drain(..) {
                change.apply(&mut node.durable, |_| rng.u32(..100) < kept);
            }
            let path = folder.join(name);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(path, &node.durable)?;
            by_chance.insert(name.clone(), std::mem::take(&mut node.by_chance));
        }
        Ok(by_chance)
    }
}

impl Node {
    fn take_before(&mut self, before: u64) -> Vec<(u64, Change)> {
        let at = self.pending.partition_point(|(index, _)| *index < before);
        let later = self.pending.split_off(at);
        std::mem::replace(&mut self.pending, later)
    }
}

impl Change {
    /// The bytes that it writes.
    fn range(&self) -> Option<Range<usize>> {
        match self {
            Change::Write { at, data } => Some(*at..at + data.len()),
            Change::Length(_) => None,
        }
    }

    /// Does it to a file's bytes, sector by sector where `keep` says so.
    fn apply(self, file: &mut Vec<u8>, mut keep: impl FnMut(usize) -> bool) {
        match self {
            Change::Length(len) => {
                if keep(len) {
                    file.resize(len, 0);
                }
            }
            Change::Write { at, data } => {
                let mut done = 0;
                while done < data.len() {
                    let start = at + done;
                    let len = (SECTOR - start % SECTOR).min(data.len() - done);
                    if keep(start) {
                        if file.len() < start + len {
                            file.resize(start + len, 0);
                        }
                        file[start..start + len].copy_from_slice(&data[done..done + len]);
                    }
                    done += len;
                }
            }
        }
    }
}

impl NameChange {
    fn is_in(&self, folder: &str) -> bool {
        let is_in = |name: &str| name.rsplit_once('/').map_or("", |(folder, _)| folder) == folder;
        match self {
            NameChange::Named(name, _) | NameChange::Removed(name) => is_in(name),
            NameChange::Renamed(from, to) => is_in(from) || is_in(to),
        }
    }

    fn apply(self, names: &mut BTreeMap<String, usize>) {
        match self {
            NameChange::Named(name, node) => {
                names.insert(name, node);
            }
            NameChange::Renamed(from, to) => {
                if let Some(node) = names.remove(&from) {
                    names.insert(to, node);
                }
            }
            NameChange::Removed(name) => {
                names.remove(&name);
            }
        }
    }
}

/// Files that hold nothing that has to last: SQLite makes its index anew, and a lock dies with its process.
fn is_transient(name: &str) -> bool {
    name.ends_with("-shm") || name.ends_with(".lock")
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn record(kind: u8, file: u32, number: u64, bytes: &[u8]) -> Vec<u8> {
        let mut record = u32::try_from(13 + bytes.len()).unwrap().to_le_bytes().to_vec();
        record.push(kind);
        record.extend_from_slice(&file.to_le_bytes());
        record.extend_from_slice(&number.to_le_bytes());
        record.extend_from_slice(bytes);
        record
    }

    /// The folder after a cut, for each of many seeds.
    fn cuts(log: &[Vec<u8>]) -> Vec<BTreeMap<String, Vec<u8>>> {
        let log = log.concat();
        (0..200)
            .map(|seed| {
                let folder = TempDir::new().unwrap();
                let data = folder.path().join("data");
                fs::create_dir(&data).unwrap();
                fs::write(data.join("old"), "before").unwrap();
                let (mut disk, mut rng) = (Disk::read(&data).unwrap(), Rng::with_seed(seed));
                disk.replay(&log, &mut rng).unwrap();
                disk.cut(&data, &mut rng).unwrap();
                let read =
                    |entry: fs::DirEntry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap());
                fs::read_dir(&data).unwrap().map(|entry| read(entry.unwrap())).collect()
            })
            .collect()
    }

    #[test]
    fn what_was_synced_is_always_there() {
        let log = [
            record(1, 1, 1, b"new"),
            record(1, 2, 2, b""),
            record(4, 2, 2, b""),
            record(2, 1, 0, b"safe"),
            record(4, 1, 4, b""),
            record(2, 1, 4, b" or not"),
        ];
        let images = cuts(&log);
        assert!(images.iter().all(|image| image["new"].starts_with(b"safe") && image["old"] == b"before"));
        assert!(images.iter().any(|image| image["new"] == b"safe"));
        assert!(images.iter().any(|image| image["new"] == b"safe or not"));
    }

    #[test]
    fn a_sync_covers_only_what_came_before_it_began() {
        let log = [record(1, 1, 0, b"old"), record(2, 1, 0, b"BEFORE"), record(4, 1, 1, b"")];
        assert!(cuts(&log).iter().any(|image| image["old"] == b"before"));
    }

    #[test]
    fn names_need_a_sync_of_their_folder() {
        let log =
            [record(1, 1, 1, b"new"), record(2, 1, 0, b"x"), record(4, 1, 2, b""), record(6, 0, 0, b"old\0older")];
        let images = cuts(&log);
        assert!(images.iter().any(|image| !image.contains_key("new") && image.contains_key("old")));
        assert!(images.iter().any(|image| image.contains_key("new") && image.contains_key("older")));
        assert!(!images.iter().any(|image| !image.contains_key("new") && image.contains_key("older")), "in order");
    }

    #[test]
    fn writes_tear_at_sectors() {
        let log = [record(1, 1, 0, b"old"), record(2, 1, 0, &[b'y'; 4 * SECTOR])];
        let images = cuts(&log);
        let is_half = |old: &[u8]| old.starts_with(&[b'y'; SECTOR]) && old.len() < 4 * SECTOR;
        assert!(images.iter().any(|image| is_half(&image["old"])));
        assert!(images.iter().any(|image| image["old"].starts_with(b"before\0")));
    }

    #[test]
    fn after_a_failed_sync_no_other_helps() {
        let log = [record(1, 1, 0, b"old"), record(2, 1, 0, b"AFTER!"), record(5, 1, 2, b""), record(4, 1, 3, b"")];
        let images = cuts(&log);
        assert!(images.iter().any(|image| image["old"] == b"before"));
        assert!(images.iter().any(|image| image["old"] == b"AFTER!"));
    }

    #[test]
    fn an_incomplete_record_did_not_happen() {
        let mut log = vec![record(1, 1, 0, b"old"), record(2, 1, 0, b"AFTER!")];
        log[1].pop();
        assert!(cuts(&log).iter().all(|image| image["old"] == b"before"));
    }
}
