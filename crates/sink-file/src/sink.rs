//! Writes batches.
//!
//! The calls of the file system block, and are made directly: the sink has a thread of its own, and a hop to another and
//! back per batch would only cost time. They cannot be cancelled either way; a disk that hangs holds up this sink alone.

use std::{io, path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use dispatcher_core::{DeliverContext, DeliveryError, Event, Outcomes, Sink, Timestamp};
use tracing::warn;

use crate::{
    config::{Compress, FileConfig},
    gzip::{self, Compressor, Pass},
    log_file::folder_of,
    open_files::{Lines, OpenFiles},
    set_aside::{self, Limits},
    template::Template,
    turn::{Turn, UnderWay},
};

/// What time it is.
pub(crate) type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Appends to one file, or one for each app.
pub(crate) struct FileSink {
    files: OpenFiles,
    limits: Limits,
    clock: Clock,
    turn: Arc<Turn>,
    compressor: Option<Compressor>,
    last_upkeep: Option<Timestamp>,
    lines: Lines,
    order: Vec<usize>, // Where the events of each app are in the batch; empty if all go to one file.
}

/// How often a sink that is written to looks for old files, and for ones that could not be compressed before.
const UPKEEP: Duration = Duration::from_secs(10 * 60);

impl FileSink {
    /// Opens the file; if its name depends on the app or the day, that waits for an event.
    ///
    /// # Errors
    /// A sentence that names the path and says what to do.
    pub(crate) fn open(config: &FileConfig, clock: Clock) -> Result<FileSink, String> {
        let template = Template::parse(&config.path)?;
        let now = clock();
        let turn = Turn::of(&config.path);
        let every = config.rotate_every.map(|every| every.get());
        let mut files = OpenFiles::new(template.clone(), config.rotate_size.bytes(), every, now);
        {
            let _turn = turn.names();
            if template.is_plain() {
                files.open("", now).map_err(|err| explained(&files.path(""), &template, &err))?;
            } else if let Err(err) = template.base().read_dir() {
                return Err(explained(Path::new(&config.path), &template, &err));
            }
        }
        let compressor = match config.compress {
            Compress::Gzip => {
                let now = Arc::clone(&clock);
                let started = Compressor::start(Pass::new(template, Arc::clone(&turn)), move || now());
                Some(started.map_err(|err| format!("cannot start a thread to compress with: {err}"))?)
            }
            Compress::None => {
                if let Err(err) = gzip::tidy(&template, &turn, now) {
                    warn!(path = %template, "cannot remove what is left of a compression: {err}");
                }
                None
            }
        };
        let limits = Limits { keep: config.keep, keep_for: config.keep_for.map(|time| time.get()) };
        let (lines, order) = Default::default();
        Ok(FileSink { files, limits, clock, turn, compressor, last_upkeep: None, lines, order })
    }

    /// Writes all events and makes them durable.
    fn write(&mut self, batch: &[Event]) -> Result<(), DeliveryError> {
        let turn = Arc::clone(&self.turn);
        let mut under_way = turn.names();
        let now = (self.clock)();
        let is_new_day = self.files.turn_to(now);
        let is_due = self.last_upkeep.is_none_or(|last| now < last || now.since(last) >= UPKEEP);
        if is_new_day || is_due {
            // Before the lines are written, so that there is room for them.
            self.last_upkeep = Some(now);
            upkeep(self.files.template(), self.limits, now, self.compressor.as_ref());
        }
        if !self.files.template().has_app() {
            return self.write_to("", batch.iter(), now, &mut under_way);
        }
        let app_of = |at: &usize| batch[*at].callback.app().name();
        let mut order = std::mem::take(&mut self.order);
        order.clear();
        order.extend(0..batch.len());
        order.sort_unstable_by_key(|at| (app_of(at), *at));
        let written = order.chunk_by(|a, b| app_of(a) == app_of(b)).try_for_each(|of_app| {
            self.write_to(app_of(&of_app[0]), of_app.iter().map(|at| &batch[*at]), now, &mut under_way)
        });
        self.order = order;
        written
    }

    fn write_to<'a>(
        &mut self,
        app: &str,
        events: impl Iterator<Item = &'a Event>,
        now: Timestamp,
        under_way: &mut UnderWay,
    ) -> Result<(), DeliveryError> {
        self.lines.clear();
        for event in events {
            event.write_json_line(&mut self.lines.bytes);
            self.lines.ends.push(self.lines.bytes.len());
        }
        let (limits, compressor) = (self.limits, self.compressor.as_ref());
        self.files
            .write(app, &self.lines, now, under_way, |template| upkeep(template, limits, now, compressor))
            .map_err(|err| DeliveryError::down(explained(&self.files.path(app), self.files.template(), &err)))
    }
}

#[async_trait]
impl Sink for FileSink {
    async fn deliver(&mut self, batch: &[Event], _: &DeliverContext) -> Result<Outcomes, DeliveryError> {
        self.write(batch)?;
        Ok(Outcomes::all_done())
    }
}

/// Deletes what is not to be kept, and has the rest compressed. That old files cannot be deleted keeps no event waiting.
fn upkeep(template: &Template, limits: Limits, now: Timestamp, compressor: Option<&Compressor>) {
    if let Err(err) = set_aside::delete_old(template, limits, now) {
        warn!(path = %template, "cannot delete old files, will try again: {err}");
    }
    if let Some(compressor) = compressor {
        compressor.wake();
    }
}

/// What is wrong, where, and what to do.
fn explained(path: &Path, template: &Template, err: &io::Error) -> String {
    let (folder, base, path) = (folder_of(path).display(), template.base().display(), path.display());
    let advice = match err.kind() {
        io::ErrorKind::NotFound => format!("the folder {base} has to exist"),
        io::ErrorKind::IsADirectory => "write the path of a file in it".to_owned(),
        io::ErrorKind::NotADirectory => "all but its last part has to name folders".to_owned(),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            format!("the file and the folder {folder} have to be writable")
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free some space".to_owned(),
        _ => return format!("cannot write to {path}: {err}"),
    };
    format!("cannot write to {path}: {err}; {advice}")
}
