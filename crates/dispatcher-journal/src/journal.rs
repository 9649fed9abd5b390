//! The handle to an open journal.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use dispatcher_core::{Callback, Timestamp};
use tokio::sync::{oneshot, watch};

use crate::{
    Change, Commit, Commits, Consumer, Counts, DecisionRecord, Ends, Health, HeldUp, JournalError, JournalOptions,
    OpenError, Overdue, Place, Port, Reader, Start, Stream,
    dedupe::Dedupe,
    gone, place, schema, shadow,
    shared::{Request, Shared, lock},
    transaction, writer,
};

/// An open journal. Cheap to clone; it is closed by [`close`](Journal::close), or when its last handle is dropped.
#[derive(Clone)]
pub struct Journal {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Journal {
    /// Opens the journal, makes it where it is missing, and starts its writer. Blocks for a few disk accesses.
    ///
    /// The folder is made for its owner alone (0700), the files too (0600). A second dispatcher is kept out by a lock on
    /// `<path>.lock`.
    ///
    /// # Errors
    /// When another dispatcher has it, a newer one wrote it, it is no journal, or the disk refuses.
    pub fn open(options: JournalOptions) -> Result<Journal, OpenError> {
        let JournalOptions { path, sync, dedupe_window, dedupe_entries, queue_bytes, retention } = options;
        let failed = |err: &dyn std::fmt::Display| OpenError::cannot_open(&path, err);
        let (connection, lock) = schema::open_writer(&path, sync)?;
        let ends = transaction::ends(&connection).map_err(|err| failed(&err))?;
        let gone = gone::read(&connection).map_err(|err| failed(&err))?;
        let shared = Arc::new(Shared::new(queue_bytes, ends, gone));
        let dedupe = Dedupe::new(dedupe_window, dedupe_entries);
        let (ready, started) = mpsc::sync_channel(1);
        let writers = shared.clone();
        let writer = thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || writer::run(connection, lock, &writers, dedupe, retention, &ready))
            .map_err(|err| failed(&err))?;
        shared.set_writer(writer.thread().clone());
        match started.recv() {
            Ok(Ok(())) => {}
            Ok(Err(err)) => return Err(failed(&err)),
            Err(_) => return Err(failed(&"its writer has failed")),
        }
        Ok(Journal { inner: Arc::new(Inner { path, shared, writer: Mutex::new(Some(writer)) }) })
    }

    /// A port to append callbacks through: one for each intake thread, kept for as long as the thread runs.
    #[must_use]
    pub fn port(&self) -> Port {
        Port::new(self.inner.shared.clone())
    }

    /// The checkpoint of a consumer that is about to run, such as `handler:forward` or `sink:archive`. When the consumer is
    /// first seen, where it starts is stored as its checkpoint. Blocks until that is durable.
    ///
    /// # Errors
    /// When it is registered for another stream, or cannot be stored.
    pub fn register(&self, consumer: &str, stream: Stream, start: Start) -> Result<u64, JournalError> {
        self.place(consumer, stream, start, true)
    }

    /// The same for a consumer that does not run now: it has its place from here on, and retention does not wait for it to
    /// let go of anything by itself.
    ///
    /// # Errors
    /// As [`register`](Journal::register).
    pub fn reserve(&self, consumer: &str, stream: Stream, start: Start) -> Result<u64, JournalError> {
        self.place(consumer, stream, start, false)
    }

    /// Says whether a consumer that is registered runs from now on, and waits for nothing: of what holds up retention, the
    /// journal itself lets go for those that do not.
    pub fn set_running(&self, consumer: &str, runs: bool) {
        // An error means that the journal is closed, and nobody runs.
        let _ = self.inner.shared.request(Request::Runs { consumer: consumer.into(), runs });
    }

    fn place(&self, consumer: &str, stream: Stream, start: Start, runs: bool) -> Result<u64, JournalError> {
        let (reply, answer) = mpsc::sync_channel(1);
        self.inner.shared.request(Request::Register { consumer: consumer.into(), stream, start, runs, reply })?;
        answer.recv().unwrap_or(Err(JournalError::Closed))
    }

    /// Commits what a consumer did, together with whatever else waits; it is durable when this returns. Cancelling the
    /// wait does not undo the commit.
    ///
    /// What waits here is not counted against the queue's bytes: a consumer has one commit under way, and bounds that.
    ///
    /// # Errors
    /// Nothing of the commit was done. It fails by its own fault when the consumer is not registered, or the checkpoint
    /// would fall.
    pub async fn commit(&self, commit: Commit) -> Result<(), JournalError> {
        let (reply, answer) = oneshot::channel();
        self.inner.shared.request(Request::Commit { commit, reply })?;
        answer.await.unwrap_or(Err(JournalError::Closed))
    }

    /// Changes something beside the flow of items; it is durable when this returns. The answer is the id of what was made,
    /// or how many records were concerned.
    ///
    /// # Errors
    /// Nothing was changed: what it names is not there, or it cannot be stored.
    pub async fn change(&self, change: Change) -> Result<u64, JournalError> {
        let (reply, answer) = oneshot::channel();
        self.inner.shared.request(Request::Change { change, reply })?;
        answer.await.unwrap_or(Err(JournalError::Closed))
    }

    /// Hands a record to the writer that belongs to a callback appended before, or about to be, with this place, and forgets
    /// it; from any thread, without blocking. `callback` is the one that was appended. `false` when it was not taken: too much
    /// waits, or the journal is poisoned or closed.
    ///
    /// It is stored behind its callback. Should that not be stored, or the writer fail later, the journal counts it.
    #[must_use]
    pub fn attach(&self, place: &Place, record: DecisionRecord, callback: Arc<Callback>) -> bool {
        place::attach(&self.inner.shared, place, record, callback)
    }

    /// The last committed seqs; changes once per batch.
    #[must_use]
    pub fn ends(&self) -> watch::Receiver<Ends> {
        self.inner.shared.ends.subscribe()
    }

    /// Up to where consumers are to let go of what they have not got to.
    #[must_use]
    pub fn overdue(&self) -> watch::Receiver<Overdue> {
        self.inner.shared.overdue.subscribe()
    }

    /// A reader with a connection of its own.
    ///
    /// # Errors
    /// When the file cannot be opened once more.
    pub fn reader(&self) -> Result<Reader, JournalError> {
        Reader::open(&self.inner.path, self.inner.shared.clone())
    }

    /// How it is.
    #[must_use]
    pub fn health(&self) -> Health {
        self.inner.shared.health()
    }

    /// What keeps retention from deleting what is overdue, if anything does; of the two streams, where there is more of it.
    /// Only the longest of all times to keep counts here.
    #[must_use]
    pub fn held_up(&self) -> Option<HeldUp> {
        lock(&self.inner.shared.held_up).clone()
    }

    /// For how long its writer has been at what it does: a batch with its commit, a step of retention. Zero while it sleeps, and
    /// once it has ended. Longer than a disk may take means that it hangs.
    #[must_use]
    pub fn busy_for(&self) -> Duration {
        self.inner.shared.round.age()
    }

    /// What it did since it was opened.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.inner.shared.counts()
    }

    /// How long its commits took, and how many callbacks went into one, since it was opened.
    #[must_use]
    pub fn commits(&self) -> Commits {
        self.inner.shared.tallies.commits.read()
    }

    /// All consumers that were ever registered, configured or not, by name. Blocks for a disk access.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn consumers(&self) -> Result<Vec<Consumer>, JournalError> {
        self.reader()?.consumers()
    }

    /// The handlers that are shadows now, by name, and until when; see [`Change::Shadow`]. Blocks for a disk access.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn shadows(&self) -> Result<Vec<(String, Timestamp)>, JournalError> {
        Ok(shadow::shadows(&self.reader()?.connection, Timestamp::now())?)
    }

    /// Takes nothing more, commits what waits, empties the write-ahead log and lets go of the file. Blocks until that is
    /// done; calling it again does no harm.
    ///
    /// Appends that were handed over before it resolve as ever, as long as their pump runs.
    pub fn close(&self) {
        self.inner.close();
    }

    pub(crate) fn request(&self, request: Request) -> Result<(), JournalError> {
        self.inner.shared.request(request)
    }

    #[cfg(test)]
    pub(crate) fn hook(&self, hook: impl FnOnce(&mut writer::Hooked<'_, '_>) + Send + 'static) {
        let (done, wait) = mpsc::sync_channel(1);
        let hook = Box::new(move |hooked: &mut writer::Hooked<'_, '_>| {
            hook(hooked);
            done.send(()).unwrap();
        });
        self.inner.shared.request(Request::Hook(hook)).unwrap();
        // When the hook panics it is dropped with its sender.
        let _ = wait.recv();
    }

    /// Up to where rows may be missing.
    #[cfg(test)]
    pub(crate) fn hook_gone(&self, stream: Stream) -> u64 {
        self.inner.shared.gone(stream).last()
    }

    /// Whether all that is to be remembered of earlier runs is.
    #[cfg(test)]
    pub(crate) fn recalled(&self) -> bool {
        let (tell, told) = mpsc::channel();
        self.hook(move |hooked| tell.send(hooked.has_recalled()).unwrap());
        told.recv().unwrap()
    }
}

impl Inner {
    fn close(&self) {
        // Held while waiting, so that a second caller returns no earlier than the first.
        let mut writer = lock(&self.writer);
        if let Some(writer) = writer.take() {
            self.shared.stop();
            // A writer that panicked has said so.
            let _ = writer.join();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}
