//! One open file, and what can happen to it from outside: moved, deleted, cut.

use std::{
    fs::{self, DirBuilder, File, Metadata},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt},
    path::Path,
    time::UNIX_EPOCH,
};

use dispatcher_core::Timestamp;

use crate::step::step;

/// A file that is open for append. It knows what it is on disk, not what is in it.
pub(crate) struct LogFile {
    file: File,
    identity: (u64, u64), // Device and inode.
    torn: bool,           // It ends in half a line.
    last_write: Timestamp,
}

impl LogFile {
    /// Opens the file, or creates it with mode 0600; folders that are missing below `base` too, with mode 0700. Their names
    /// are durable then.
    pub(crate) fn open(path: &Path, base: &Path) -> io::Result<LogFile> {
        let options = || {
            let mut options = File::options();
            options.read(true).append(true).mode(0o600);
            options
        };
        let file = match options().open(path) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => {
                for folder in folders(path, base).iter().skip(1) {
                    match DirBuilder::new().mode(0o700).create(folder) {
                        Err(err) if err.kind() == io::ErrorKind::AlreadyExists => {}
                        made => made?,
                    }
                }
                let created = options().create(true).open(path)?;
                step("file.created");
                created
            }
            opened => opened?,
        };
        let meta = file.metadata()?;
        // Without this a power cut can take the file with all its synced lines. All folders, and an empty file's as well:
        // a process that died here leaves names that are not durable.
        if meta.is_file() && meta.len() == 0 {
            for folder in folders(path, base).iter().rev() {
                sync(folder)?;
            }
        }
        let torn = ends_in_half_a_line(&file, &meta)?;
        Ok(LogFile { identity: identity(&meta), torn, last_write: modified(&meta)?, file })
    }

    /// When the file was last written to, before it was opened.
    pub(crate) fn last_write(&self) -> Timestamp {
        self.last_write
    }

    /// How long the file is now, if `path` still names it; `None` if it was moved away or deleted.
    ///
    /// Its length comes from the disk and not from what was written: `copytruncate` of logrotate cuts files in place.
    pub(crate) fn len_at(&self, path: &Path) -> io::Result<Option<u64>> {
        match fs::metadata(path) {
            Ok(meta) => Ok((identity(&meta) == self.identity).then_some(meta.len())),
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(err) => Err(err),
        }
    }

    /// Appends whole lines after the `len` bytes that are there, on a line of their own. Not durable yet.
    ///
    /// What a failing write leaves behind is cut off again, so that a full disk does not collect a piece per attempt.
    pub(crate) fn append(&mut self, lines: &[u8], len: u64) -> io::Result<()> {
        let mut file = &self.file;
        let written =
            if self.torn { file.write_all(b"\n").and_then(|()| file.write_all(lines)) } else { file.write_all(lines) };
        if let Err(err) = written {
            // Should this fail too, the next `open` finds the torn end. Only ever shortened: were the file cut by
            // someone else meanwhile, the old length would fill it with zeros.
            if file.metadata().is_ok_and(|meta| meta.is_file() && meta.len() > len) {
                let _ = file.set_len(len);
            }
            return Err(err);
        }
        self.torn = false;
        Ok(())
    }

    /// Makes durable what was appended. Fails if the file was deleted meanwhile, for then it is not.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()?;
        if self.file.metadata()?.nlink() == 0 {
            return Err(io::Error::other("the file was deleted while it was written to"));
        }
        Ok(())
    }
}

/// The folder that a file is in; `.` for a bare file name.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Makes names created, renamed and deleted beside `path` durable.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    sync(folder_of(path))
}

/// Device and inode: what stays the same when a file is renamed.
pub(crate) fn identity(meta: &Metadata) -> (u64, u64) {
    (meta.dev(), meta.ino())
}

/// When the file was last written to.
pub(crate) fn modified(meta: &Metadata) -> io::Result<Timestamp> {
    let since_epoch = meta.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)))
}

/// The folders from `base` to the one that the file is in.
fn folders<'a>(path: &'a Path, base: &'a Path) -> Vec<&'a Path> {
    let below = path.ancestors().skip(1).take_while(|folder| *folder != base && !folder.as_os_str().is_empty());
    let mut folders: Vec<&Path> = below.collect();
    folders.push(base);
    folders.reverse();
    folders
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn ends_in_half_a_line(file: &File, meta: &Metadata) -> io::Result<bool> {
    let Some(last) = meta.len().checked_sub(1).filter(|_| meta.is_file()) else { return Ok(false) };
    let mut byte = [0];
    file.read_exact_at(&mut byte, last)?;
    Ok(byte != *b"\n")
}
