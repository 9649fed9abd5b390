//! Writes batches.
//!
//! The calls of the file system block, and are made directly: the sink has a thread of its own, and a hop to another and
//! back per batch would only cost time. They cannot be cancelled either way; a disk that hangs holds up this sink alone.

use std::{
    io,
    ops::Range,
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use dispatcher_core::{DeliverContext, DeliveryError, Event, Outcomes, Sink};

use crate::{
    config::FileConfig,
    log_file::{LogFile, folder_of},
    rotation,
    step::step,
};

/// Appends to one file.
pub(crate) struct FileSink {
    path: PathBuf,
    rotate_size: u64,
    keep: u32,
    /// `None` after a failure: what the page cache holds of the file is then anyone's guess, so it is opened anew.
    file: Option<LogFile>,
    // Both are kept between batches: a steady load allocates nothing.
    lines: Vec<u8>,
    ends: Vec<usize>, // Where each line ends in `lines`.
}

impl FileSink {
    /// Opens the file.
    ///
    /// # Errors
    /// A sentence that names the path and says what to do.
    pub(crate) fn open(config: &FileConfig) -> Result<FileSink, String> {
        let path = config.path.clone();
        let file = LogFile::open(&path).map_err(|err| explained(&path, &err))?;
        let rotate_size = config.rotate_size.bytes();
        Ok(FileSink { path, rotate_size, keep: config.keep, file: Some(file), lines: Vec::new(), ends: Vec::new() })
    }

    /// Writes all of `lines` and makes it durable.
    fn write(&mut self) -> io::Result<()> {
        let mut written = 0; // Lines.
        while written < self.ends.len() {
            let (mut file, len) = self.current()?;
            let chunk = self.fitting(written, len);
            if chunk.is_empty() {
                drop(file); // It was synced before its last line counted as done.
                rotation::rotate(&self.path, self.keep)?;
                continue;
            }
            let start = written.checked_sub(1).map_or(0, |before| self.ends[before]);
            step("file.writing");
            file.append(&self.lines[start..self.ends[chunk.end - 1]], len)?;
            step("file.written");
            file.sync()?;
            step("file.synced");
            written = chunk.end;
            self.file = Some(file);
        }
        Ok(())
    }

    /// The file that `path` names now, and its length. Taken out of `self` until it has done its work.
    fn current(&mut self) -> io::Result<(LogFile, u64)> {
        if let Some(file) = self.file.take()
            && let Some(len) = file.len_at(&self.path)?
        {
            return Ok((file, len));
        }
        let file = LogFile::open(&self.path)?;
        let len = file.len_at(&self.path)?.unwrap_or(0);
        Ok((file, len))
    }

    /// The lines from `first` on that fit into a file of `len` bytes: at least one if it is empty.
    fn fitting(&self, first: usize, len: u64) -> Range<usize> {
        let start = first.checked_sub(1).map_or(0, |before| self.ends[before]);
        let room = usize::try_from(self.rotate_size.saturating_sub(len)).unwrap_or(usize::MAX);
        let end = self.ends.partition_point(|&end| end.saturating_sub(start) <= room);
        first..end.max(first + usize::from(len == 0))
    }
}

#[async_trait]
impl Sink for FileSink {
    async fn deliver(&mut self, batch: &[Event], _: &DeliverContext) -> Result<Outcomes, DeliveryError> {
        self.lines.clear();
        self.ends.clear();
        for event in batch {
            event.write_json_line(&mut self.lines);
            self.ends.push(self.lines.len());
        }
        self.write().map_err(|err| DeliveryError::down(explained(&self.path, &err)))?;
        Ok(Outcomes::all_done())
    }
}

/// What is wrong, where, and what to do.
fn explained(path: &Path, err: &io::Error) -> String {
    let (path, folder) = (path.display(), folder_of(path).display());
    let advice = match err.kind() {
        io::ErrorKind::NotFound => format!("the folder {folder} has to exist"),
        io::ErrorKind::IsADirectory => "write the path of a file in it".to_owned(),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            format!("the file and the folder {folder} have to be writable")
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free some space".to_owned(),
        _ => return format!("cannot write to {path}: {err}"),
    };
    format!("cannot write to {path}: {err}; {advice}")
}
