//! The settings, and what can be said of them without touching anything.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use dispatcher_core::{ByteSize, CheckContext, OpenContext, OpenError, SettingError, SinkConfig};
use rustix::fs::{Access, access};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{log_file, sink::FileSink};

/// `[sinks.<name>]` with `type = "file"`.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileConfig {
    /// File to append to, relative to the working directory. It is created if missing, readable by its owner only; its
    /// folder is not. Each sink needs a file of its own.
    pub(crate) path: PathBuf,

    /// Size at which the file is set aside as `<path>.1` and a new one is begun. A line is never split: only a single
    /// line that is longer makes a larger file. Default "64MiB": quick to open in an editor, days of a busy app.
    #[serde(default = "default_rotate_size")]
    pub(crate) rotate_size: ByteSize,

    /// How many files that were set aside are kept, at least 1; older ones are deleted. Default 14: with the default
    /// `rotate_size` that is below 1 GiB in all.
    #[serde(default = "default_keep")]
    pub(crate) keep: u32,
}

fn default_rotate_size() -> ByteSize {
    ByteSize::mib(64)
}

fn default_keep() -> u32 {
    14
}

#[async_trait]
impl SinkConfig for FileConfig {
    type Sink = FileSink;

    fn check(&self, cx: &CheckContext) -> Result<(), Vec<SettingError>> {
        let mut findings = Vec::new();
        if let Err(message) = check_path(&self.path, cx) {
            findings.push(SettingError::new("path", message));
        }
        if self.rotate_size.bytes() == 0 {
            findings
                .push(SettingError::new("rotate_size", "no line fits into nothing; write a size such as \"64MiB\""));
        }
        if self.keep == 0 {
            findings.push(SettingError::new("keep", "would delete each file the moment it is full; write 1 or more"));
        }
        if findings.is_empty() { Ok(()) } else { Err(findings) }
    }

    async fn open(&self, _: &OpenContext) -> Result<FileSink, OpenError> {
        FileSink::open(self).map_err(|err| OpenError::key("path", err))
    }
}

fn check_path(path: &Path, cx: &CheckContext) -> Result<(), String> {
    if path.as_os_str().is_empty() {
        return Err("is empty; write the path of a file".to_owned());
    }
    // `data/` would otherwise count as a file called `data`.
    if path.is_dir() || path.as_os_str().as_encoded_bytes().ends_with(b"/") || path.file_name().is_none() {
        return Err(format!("{} is a folder; write the path of a file in it", path.display()));
    }
    if !cx.claim_file(path) {
        return Err(format!(
            "{} is written by something else of this configuration already; choose another",
            path.display()
        ));
    }
    let folder = log_file::folder_of(path);
    if !cx.folder_will_exist(folder) {
        return Err(format!("the folder {} does not exist; create it, or choose another", folder.display()));
    }
    if !folder.is_dir() {
        return Ok(()); // The dispatcher is about to make it.
    }
    // Rotation renames and creates, so the folder has to be writable even where the file is there.
    if let Err(err) = access(folder, Access::WRITE_OK | Access::EXEC_OK) {
        let err = io::Error::from(err);
        return Err(format!("the folder {} cannot be written to: {err}; change its owner or mode", folder.display()));
    }
    // Opening for append changes nothing. Only of a regular file: to open a pipe is to wait for its reader.
    if fs::metadata(path).is_ok_and(|meta| meta.is_file())
        && let Err(err) = File::options().read(true).append(true).open(path)
    {
        return Err(format!("{} cannot be written to: {err}; change its owner or mode", path.display()));
    }
    Ok(())
}
