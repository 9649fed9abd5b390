//! Compresses files that were set aside, on a thread of its own, one at a time.
//!
//! What is to be done is read from the disk each time, so nothing is lost or done twice by a crash. Lines are always in the
//! file, in a compressed file whose name and contents are durable, or in both.

use std::{
    collections::HashSet,
    fs::{self, File, Metadata},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, SyncSender},
    },
    thread,
};

use dispatcher_core::Timestamp;
use flate2::{Compression, read::MultiGzDecoder, write::GzEncoder};
use tracing::warn;

use crate::{
    log_file::{identity, sync_folder},
    rotation::{self, compressed, exists, with_ending},
    set_aside::{self, Form, SetAside, UNFINISHED},
    template::{Template, date_of},
    turn::Turn,
};

/// The thread. It ends soon after this is dropped, in the middle of a file too: the next pass does that one again.
pub(crate) struct Compressor {
    wake: SyncSender<()>,
    stop: Arc<AtomicBool>,
}

impl Compressor {
    /// Starts the thread, which looks for work at once.
    ///
    /// # Errors
    /// When there can be no thread.
    pub(crate) fn start(mut pass: Pass, now: impl Fn() -> Timestamp + Send + 'static) -> io::Result<Compressor> {
        let (wake, woken) = mpsc::sync_channel(1);
        let stop = Arc::clone(&pass.stop);
        thread::Builder::new().name("sink-file-gzip".to_owned()).spawn(move || {
            loop {
                pass.run(now());
                if woken.recv().is_err() {
                    return;
                }
            }
        })?;
        Ok(Compressor { wake, stop })
    }

    /// Lets it look for work, after what it is doing.
    pub(crate) fn wake(&self) {
        let _ = self.wake.try_send(()); // Full: it is about to look anyway.
    }
}

impl Drop for Compressor {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// One look at all files that are set aside.
pub(crate) struct Pass {
    template: Template,
    turn: Arc<Turn>,
    stop: Arc<AtomicBool>,
    /// Files that stay as they are, by device and inode.
    left_alone: HashSet<Identity>,
}

impl Pass {
    pub(crate) fn new(template: Template, turn: Arc<Turn>) -> Pass {
        Pass { template, turn, stop: Arc::default(), left_alone: HashSet::new() }
    }

    /// Removes what a crash left unfinished, and compresses what is not compressed. What cannot be compressed now stays as
    /// it is, for the next time.
    pub(crate) fn run(&mut self, now: Timestamp) {
        let turn = Arc::clone(&self.turn);
        let _alone = turn.compression();
        if let Err(err) = self.compress_all(now) {
            warn!(path = %self.template, "cannot look for files to compress, will try again: {err}");
        }
    }

    fn compress_all(&mut self, now: Timestamp) -> io::Result<()> {
        remove_unfinished(&self.template, now)?;
        let mut failed = HashSet::new();
        // Looked up anew after each: meanwhile files may have been renamed.
        while let Some((file, identity)) = self.next(now, &failed)? {
            let compressed = self.compress(&file);
            self.turn.names().end();
            match compressed {
                _ if self.stop.load(Ordering::Relaxed) => break,
                Ok(Compressed::Done) => {}
                Ok(Compressed::NotNow) => {
                    failed.insert(identity);
                }
                Ok(Compressed::Never) => {
                    self.left_alone.insert(identity);
                }
                Err(err) => {
                    warn!(path = %file.path.display(), "cannot compress this file, will try again: {err}");
                    failed.insert(identity);
                }
            }
        }
        Ok(())
    }

    fn next(&self, now: Timestamp, failed: &HashSet<Identity>) -> io::Result<Option<(SetAside, Identity)>> {
        for file in set_aside::list(&self.template, date_of(now))? {
            if file.form != Form::Plain {
                continue;
            }
            let Some(meta) = found(fs::metadata(&file.path))? else { continue };
            let identity = identity(&meta);
            if !self.left_alone.contains(&identity) && !failed.contains(&identity) {
                return Ok(Some((file, identity)));
            }
        }
        Ok(None)
    }

    /// Compresses one file, or finishes what a crash interrupted.
    fn compress(&self, file: &SetAside) -> io::Result<Compressed> {
        let (source, meta) = {
            let mut under_way = self.turn.names();
            let Some(source) = found(File::open(&file.path))? else { return Ok(Compressed::Done) };
            under_way.begin(&file.path);
            let meta = source.metadata()?;
            (source, meta)
        };
        let Some(done) = found(File::open(compressed(&file.path)))? else {
            let unfinished = with_ending(&file.origin, UNFINISHED);
            let published =
                self.write(&source, &meta, &unfinished).and_then(|len| self.publish(&unfinished, &meta, len));
            return match published {
                Ok(Some(len)) => self.finish(&source, len),
                not_published => {
                    let _ = fs::remove_file(&unfinished); // Else the next pass does.
                    not_published.map(|_| Compressed::NotNow)
                }
            };
        };
        // Both are there. A crash before the last step leaves equal ones, and may leave a name that is not durable.
        if are_equal(&source, &done, &self.stop)? {
            sync_folder(&file.path)?;
            return self.finish(&source, meta.len());
        }
        let mut under_way = self.turn.names();
        if file.number.is_none() && under_way.end().as_ref() == Some(&file.path) {
            // The clock fell back to a day whose file was compressed: now it gets a number.
            return rotation::set_aside(&file.path, &mut under_way).map(|()| Compressed::Done);
        }
        warn!(path = %file.path.display(), "this file is not compressed, since another has its name with .gz");
        Ok(Compressed::Never)
    }

    /// Writes the compressed file, durably, with the mode and the time of the other. Gives how much it compressed.
    fn write(&self, mut source: &File, meta: &Metadata, unfinished: &Path) -> io::Result<u64> {
        let file = File::options().write(true).create_new(true).mode(0o600).open(unfinished)?;
        let mut encoder = GzEncoder::new(file, Compression::default());
        let len = chunks(&mut source, &self.stop, |chunk| encoder.write_all(chunk).map(|()| true))?;
        let file = encoder.finish()?;
        file.set_permissions(meta.permissions())?;
        file.set_modified(meta.modified()?)?;
        file.sync_all()?;
        Ok(len)
    }

    /// Gives the compressed file its name, unless the other was deleted or replaced meanwhile.
    fn publish(&self, unfinished: &Path, source: &Metadata, len: u64) -> io::Result<Option<u64>> {
        let path = {
            let under_way = self.turn.names();
            let Some(path) = under_way.path() else { return Ok(None) };
            let Some(meta) = found(fs::metadata(path))? else { return Ok(None) };
            if identity(&meta) != identity(source) || exists(&compressed(path)) {
                return Ok(None);
            }
            fs::rename(unfinished, compressed(path))?;
            path.to_owned()
        };
        sync_folder(&path)?; // Without the turn, so that no batch waits for it.
        Ok(Some(len))
    }

    /// Deletes the file, now that its compressed one is durable. If it was written to after all, it stays: it holds all
    /// that the compressed one does.
    fn finish(&self, source: &File, len: u64) -> io::Result<Compressed> {
        let mut under_way = self.turn.names();
        let Some(path) = under_way.end() else { return Ok(Compressed::Done) }; // Deleted meanwhile, for its age.
        let Some(meta) = found(fs::metadata(&path))? else { return Ok(Compressed::Done) };
        if identity(&meta) != identity(&source.metadata()?) {
            return Ok(Compressed::NotNow); // Somebody put another in its place.
        }
        let unchanged = meta.len() == len;
        let (superfluous, result) =
            if unchanged { (path, Compressed::Done) } else { (compressed(&path), Compressed::NotNow) };
        found(fs::remove_file(superfluous)).map(|_| result)
    }
}

enum Compressed {
    Done,
    /// It was renamed, replaced or written to meanwhile.
    NotNow,
    /// Its compressed name is taken.
    Never,
}

type Identity = (u64, u64);

/// Removes what a crash left unfinished, for a sink that compresses nothing.
pub(crate) fn tidy(template: &Template, turn: &Turn, now: Timestamp) -> io::Result<()> {
    // A compression that runs all the same is of a sink that hung.
    turn.try_compression().map_or(Ok(()), |_alone| remove_unfinished(template, now))
}

/// To be called while no compression of this template runs.
fn remove_unfinished(template: &Template, now: Timestamp) -> io::Result<()> {
    for file in set_aside::list(template, date_of(now))? {
        if file.form == Form::Unfinished {
            found(fs::remove_file(&file.path))?;
        }
    }
    Ok(())
}

fn are_equal(mut plain: &File, gzip: &File, stop: &AtomicBool) -> io::Result<bool> {
    let mut decoder = MultiGzDecoder::new(gzip);
    let (mut expected, mut equal) = (vec![0; CHUNK], true);
    let read = chunks(&mut plain, stop, |chunk| {
        let expected = &mut expected[..chunk.len()];
        equal = decoder.read_exact(expected).is_ok() && *expected == *chunk;
        Ok(equal)
    });
    read?;
    // Damaged or longer is not equal.
    Ok(equal && matches!(decoder.read(&mut expected), Ok(0)))
}

/// Hands on what is read, until its end or until `take` has had enough. Gives how much that was.
fn chunks(from: &mut impl Read, stop: &AtomicBool, mut take: impl FnMut(&[u8]) -> io::Result<bool>) -> io::Result<u64> {
    let (mut chunk, mut len) = (vec![0; CHUNK], 0);
    loop {
        if stop.load(Ordering::Relaxed) {
            return Err(io::Error::other("the sink was closed"));
        }
        let read = match from.read(&mut chunk) {
            Err(err) if err.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        len += read as u64;
        if read == 0 || !take(&chunk[..read])? {
            return Ok(len);
        }
    }
}

const CHUNK: usize = 64 * 1024;

/// `None` for what is not there: people may delete what was set aside.
fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

#[cfg(test)]
mod tests;
