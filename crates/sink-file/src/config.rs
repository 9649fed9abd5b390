//! The settings, and what can be said of them without touching anything.

use std::{
    fs::{self, File},
    io,
    path::Path,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use dispatcher_core::{ByteSize, CheckContext, OpenContext, OpenError, SettingError, SinkConfig, TimeSpan, Timestamp};
use rustix::fs::{Access, access};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{sink::FileSink, template::Template};

/// `[sinks.<name>]` with `type = "file"`.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileConfig {
    /// File to append to, relative to the working directory. It is created if missing, readable by its owner only; its
    /// folder is not. `{app}` stands for the name of an event's app, and `{date}` for the day it is written on, in UTC,
    /// such as 2026-01-31: in the file's name or in folders, which are then made as needed. Each sink needs files of its
    /// own.
    pub(crate) path: String,

    /// Size at which the file is set aside as `<path>.1` and a new one is begun. A line is never split: only a single
    /// line that is longer makes a larger file. Default "64MiB": quick to open in an editor, days of a busy app.
    #[serde(default = "default_rotate_size")]
    pub(crate) rotate_size: ByteSize,

    /// Time after which the file is set aside as well, at the next event: "1h" at each full hour, "1d" at midnight, always
    /// in UTC and counted from 1970-01-01. At least a second. Default: never, so that quiet apps make few files.
    #[serde(default)]
    pub(crate) rotate_every: Option<TimeSpan>,

    /// How many files that were set aside are kept of each app, at least 1; older ones are deleted. With `{date}` the files
    /// of earlier days count too. Default 14: with the default `rotate_size` that is below 1 GiB in all.
    #[serde(default = "default_keep")]
    pub(crate) keep: u32,

    /// Files that were set aside are deleted this long after they were last written to, even if `keep` would keep them.
    /// Default: never for their age.
    #[serde(default)]
    pub(crate) keep_for: Option<TimeSpan>,

    /// Whether files that were set aside are compressed. Default "none": readers of lines need nothing else.
    #[serde(default)]
    pub(crate) compress: Compress,
}

/// What becomes of a file that was set aside.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Compress {
    /// It stays as it is.
    #[default]
    None,
    /// It becomes `<name>.gz`, some time after it was set aside.
    Gzip,
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
        match check_path(&self.path, cx) {
            Err(message) => findings.push(SettingError::new("path", message)),
            Ok(template) if !cx.is_elsewhere() => {
                findings.extend(
                    check_places(&self.path, &template, cx).err().map(|now| SettingError::for_now("path", now)),
                );
            }
            Ok(_) => {}
        }
        if self.rotate_size.bytes() == 0 {
            findings
                .push(SettingError::new("rotate_size", "no line fits into nothing; write a size such as \"64MiB\""));
        }
        if self.keep == 0 {
            findings.push(SettingError::new("keep", "would delete each file the moment it is full; write 1 or more"));
        }
        if self.rotate_every.is_some_and(|every| every.get() < Duration::from_secs(1)) {
            findings
                .push(SettingError::new("rotate_every", "is below a second; write a time such as \"1h\" or \"1d\""));
        }
        if self.keep_for.is_some_and(|time| time.get() < Duration::from_secs(1)) {
            findings.push(SettingError::new(
                "keep_for",
                "would delete each file the moment it is set aside; write a time such as \"30d\"",
            ));
        }
        if findings.is_empty() { Ok(()) } else { Err(findings) }
    }

    async fn open(&self, _: &OpenContext) -> Result<FileSink, OpenError> {
        FileSink::open(self, Arc::new(Timestamp::now)).map_err(|err| OpenError::key("path", err))
    }
}

/// What is written, whatever is there.
fn check_path(text: &str, cx: &CheckContext) -> Result<Template, String> {
    if text.is_empty() {
        return Err("is empty; write the path of a file".to_owned());
    }
    let path = Path::new(text);
    // `data/` would otherwise count as a file called `data`.
    if (path.is_dir() && !cx.is_elsewhere()) || text.ends_with('/') || path.file_name().is_none() {
        return Err(format!("{text} is a folder; write the path of a file in it"));
    }
    let template = Template::parse(text)?;
    // With the names of what is set aside: `.1`, `.1.gz`, `.gz`.
    if !["", ".{n}", ".{n}.{gz}"].iter().all(|ending| cx.claim_file(Path::new(&format!("{text}{ending}")))) {
        return Err(format!("{text} is written by something else of this configuration already; choose another"));
    }
    Ok(template)
}

/// What is there.
fn check_places(text: &str, template: &Template, cx: &CheckContext) -> Result<(), String> {
    let path = Path::new(text);
    let folder = template.base();
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
    if template.is_plain()
        && fs::metadata(path).is_ok_and(|meta| meta.is_file())
        && let Err(err) = File::options().read(true).append(true).open(path)
    {
        return Err(format!("{text} cannot be written to: {err}; change its owner or mode"));
    }
    Ok(())
}
