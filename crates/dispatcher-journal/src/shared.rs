//! What the handles and the writer thread share: what waits, how the journal is, how far it got.

use std::{
    mem,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, AtomicUsize, Ordering, fence},
    },
    thread::Thread,
    time::Duration,
};

use dispatcher_core::Timestamp;
use dispatcher_tally::Round;
use tokio::sync::{oneshot, watch};

use crate::{
    AppendError, Change, Commit, Health, HeldUp, JournalError, Overdue, Start, Stream,
    commit_times::CommitTimes,
    compact::Compacted,
    gone::Gone,
    place::Attachment,
    port::{AppendOp, Done, PortQueue},
    tail::Tail,
};

/// What became of a callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It is durable.
    New {
        /// Its seq.
        seq: u64,
    },
    /// An equal one is durable already, and this one was not stored.
    Repeat {
        /// The seq of the earlier one.
        seq: u64,
    },
}

impl Appended {
    /// The seq of the row that holds the callback.
    #[must_use]
    pub fn seq(self) -> u64 {
        let (Appended::New { seq } | Appended::Repeat { seq }) = self;
        seq
    }
}

/// The last committed seq of each stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// Of the callbacks.
    pub callbacks: u64,
    /// Of the events.
    pub events: u64,
}

impl Ends {
    /// Of this stream.
    #[must_use]
    pub fn of(self, stream: Stream) -> u64 {
        match stream {
            Stream::Callbacks => self.callbacks,
            Stream::Events => self.events,
        }
    }
}

/// What the journal did since it was opened, and what is under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Transactions that were committed.
    pub batches: u64,
    /// Callbacks that were stored.
    pub appended: u64,
    /// Callbacks that were repeats.
    pub repeats: u64,
    /// Callbacks of `append_detached` and `append_decided` that could not be stored.
    pub unrecorded: u64,
    /// Records of decisions, or events of them, that could not be stored, other than together with their callback.
    pub unrecorded_decisions: u64,
    /// Bytes that wait for the writer.
    pub queued_bytes: usize,
    /// Bytes in the write-ahead log.
    pub wal_bytes: u64,
    /// Bytes of the file, as of some seconds ago; the write-ahead log comes on top.
    pub file_bytes: u64,
    /// How many of those hold nothing: they are filled again, or returned to the disk.
    pub free_bytes: u64,
    /// Callbacks that retention has deleted.
    pub deleted_callbacks: u64,
    /// Events that it has deleted.
    pub deleted_events: u64,
    /// Records of decisions that it has deleted, with their callbacks.
    pub deleted_decisions: u64,
    /// Dead letters that it has deleted.
    pub deleted_dead: u64,
    /// Items that it took from consumers that do not run, since they were in its way.
    pub let_go: u64,
    /// When it last deleted or returned something.
    pub last_trim: Option<Timestamp>,
    /// For how long a step of it has kept the writer at most.
    pub longest_trim: Duration,
}

/// What is asked of the writer beside appends.
pub(crate) enum Request {
    Commit {
        commit: Commit,
        reply: oneshot::Sender<Result<(), JournalError>>,
    },
    Register {
        consumer: Arc<str>,
        stream: Stream,
        start: Start,
        /// Whether it is about to run.
        runs: bool,
        reply: RegisterReply,
    },
    /// Whether a consumer runs; nobody waits for it.
    Runs {
        consumer: Arc<str>,
        runs: bool,
    },
    Change {
        change: Change,
        reply: oneshot::Sender<Result<u64, JournalError>>,
    },
    /// A record for a callback that is committed; nobody waits for it.
    Attach(Box<Attachment>),
    /// A step of compacting, outside of any transaction; the first also copies the log into the file.
    Compact {
        begins: bool,
        reply: oneshot::Sender<Result<Compacted, JournalError>>,
    },
    #[cfg(test)]
    Hook(Box<dyn FnOnce(&mut crate::writer::Hooked<'_, '_>) + Send>),
}

pub(crate) type RegisterReply = std::sync::mpsc::SyncSender<Result<u64, JournalError>>;

/// Requests that wait, as long as the writer takes any.
struct Requests {
    open: bool,
    waiting: Vec<Request>,
}

pub(crate) struct Shared {
    queue_bytes: usize,
    queued: AtomicUsize,
    /// Set while the writer sleeps, or is about to: it looks for work once more after setting it.
    sleeping: AtomicBool,
    stopping: AtomicBool,
    writer: OnceLock<Thread>,
    /// What `admit` looks at: one of the constants below.
    condition: AtomicU8,
    health: Mutex<Health>,
    ports: Mutex<Vec<Arc<PortQueue>>>,
    requests: Mutex<Requests>,
    /// Held while there are `readers`.
    pub(crate) tail: Mutex<Tail>,
    pub(crate) readers: AtomicUsize,
    /// What readers may see; ahead of `ends` for as long as it takes to wake those who wait for that.
    visible: [AtomicU64; 2],
    /// What readers are to take for deleted rather than damaged: floor and sweep of each stream. Raised before the commit that
    /// deletes, so that whoever finds a row missing finds it excused.
    gone: [[AtomicU64; 2]; 2],
    pub(crate) held_up: Mutex<Option<HeldUp>>,
    pub(crate) ends: watch::Sender<Ends>,
    pub(crate) overdue: watch::Sender<Overdue>,
    pub(crate) tallies: Tallies,
    /// Of the writer; there is none while it sleeps.
    pub(crate) round: Round,
}

#[derive(Default)]
pub(crate) struct Tallies {
    pub(crate) batches: AtomicU64,
    pub(crate) appended: AtomicU64,
    pub(crate) repeats: AtomicU64,
    pub(crate) unrecorded: AtomicU64,
    pub(crate) unrecorded_decisions: AtomicU64,
    pub(crate) wal_bytes: AtomicU64,
    pub(crate) file_bytes: AtomicU64,
    pub(crate) free_bytes: AtomicU64,
    /// By stream.
    pub(crate) deleted: [AtomicU64; 2],
    pub(crate) deleted_decisions: AtomicU64,
    pub(crate) deleted_dead: AtomicU64,
    pub(crate) let_go: AtomicU64,
    /// In milliseconds since the epoch; zero for never.
    pub(crate) last_trim: AtomicI64,
    /// In microseconds.
    pub(crate) longest_trim: AtomicU64,
    pub(crate) commits: CommitTimes,
}

const TAKES: u8 = 0;
const POISONED: u8 = 1;
const CLOSED: u8 = 2;

impl Shared {
    pub(crate) fn new(queue_bytes: usize, ends: Ends, gone: [Gone; 2]) -> Shared {
        Shared {
            queue_bytes,
            queued: AtomicUsize::new(0),
            sleeping: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            writer: OnceLock::new(),
            condition: AtomicU8::new(TAKES),
            health: Mutex::new(Health::Ok),
            ports: Mutex::default(),
            requests: Mutex::new(Requests { open: true, waiting: Vec::new() }),
            tail: Mutex::default(),
            readers: AtomicUsize::new(0),
            visible: [AtomicU64::new(ends.callbacks), AtomicU64::new(ends.events)],
            gone: gone.map(|gone| [AtomicU64::new(gone.floor), AtomicU64::new(gone.swept)]),
            held_up: Mutex::default(),
            ends: watch::Sender::new(ends),
            overdue: watch::Sender::default(),
            tallies: Tallies::default(),
            round: Round::default(),
        }
    }

    /// Says which thread writes. Called once, before any other thread has the journal.
    pub(crate) fn set_writer(&self, thread: Thread) {
        let _ = self.writer.set(thread);
    }

    pub(crate) fn add_port(&self) -> Arc<PortQueue> {
        let mut ports = lock(&self.ports);
        let port = Arc::new(PortQueue::new(ports.len(), self.is_sealed()));
        ports.push(port.clone());
        port
    }

    /// Takes `bytes` of the queue's room for a callback.
    pub(crate) fn admit(&self, bytes: usize) -> Result<(), AppendError> {
        match self.condition.load(Ordering::Acquire) {
            TAKES => {}
            POISONED => return Err(self.refusal().into()),
            _ => return Err(AppendError::Closed),
        }
        if self.queued.fetch_add(bytes, Ordering::Relaxed) + bytes > self.queue_bytes {
            self.release(bytes);
            return Err(AppendError::QueueFull);
        }
        Ok(())
    }

    /// Gives room back that `admit` took.
    pub(crate) fn release(&self, bytes: usize) {
        self.queued.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Hands a request to the writer and wakes it.
    pub(crate) fn request(&self, request: Request) -> Result<(), JournalError> {
        match self.condition.load(Ordering::Acquire) {
            TAKES => {}
            POISONED => return Err(self.refusal()),
            _ => return Err(JournalError::Closed),
        }
        {
            let mut requests = lock(&self.requests);
            if !requests.open {
                return Err(JournalError::Closed);
            }
            requests.waiting.push(request);
        }
        fence(Ordering::SeqCst);
        self.wake_writer();
        Ok(())
    }

    /// Whether the writer sleeps, seen from a thread that has just handed something over.
    pub(crate) fn writer_sleeps(&self) -> bool {
        // Pairs with the fence of `sleep`: either the writer sees what was handed over, or this sees that it sleeps.
        fence(Ordering::SeqCst);
        self.sleeping.load(Ordering::Relaxed)
    }

    pub(crate) fn wake_writer(&self) {
        if self.sleeping.load(Ordering::Relaxed)
            && self.sleeping.swap(false, Ordering::Relaxed)
            && let Some(writer) = self.writer.get()
        {
            writer.unpark();
        }
    }

    /// Asks the writer to finish what waits and end.
    pub(crate) fn stop(&self) {
        let _ = self.condition.compare_exchange(TAKES, CLOSED, Ordering::AcqRel, Ordering::Relaxed);
        self.stopping.store(true, Ordering::Release);
        fence(Ordering::SeqCst);
        self.wake_writer();
    }

    pub(crate) fn health(&self) -> Health {
        lock(&self.health).clone()
    }

    /// The last seq of a stream that a reader may see.
    pub(crate) fn visible(&self, stream: Stream) -> u64 {
        self.visible[stream as usize].load(Ordering::Acquire)
    }

    /// What of a stream is deleted. To be asked after a row was found missing, not before.
    pub(crate) fn gone(&self, stream: Stream) -> Gone {
        let [floor, swept] = &self.gone[stream as usize];
        Gone { floor: floor.load(Ordering::Acquire), swept: swept.load(Ordering::Acquire) }
    }

    pub(crate) fn counts(&self) -> Counts {
        let tallies = &self.tallies;
        Counts {
            batches: tallies.batches.load(Ordering::Relaxed),
            appended: tallies.appended.load(Ordering::Relaxed),
            repeats: tallies.repeats.load(Ordering::Relaxed),
            unrecorded: tallies.unrecorded.load(Ordering::Relaxed),
            unrecorded_decisions: tallies.unrecorded_decisions.load(Ordering::Relaxed),
            queued_bytes: self.queued.load(Ordering::Relaxed),
            wal_bytes: tallies.wal_bytes.load(Ordering::Relaxed),
            file_bytes: tallies.file_bytes.load(Ordering::Relaxed),
            free_bytes: tallies.free_bytes.load(Ordering::Relaxed),
            deleted_callbacks: tallies.deleted[Stream::Callbacks as usize].load(Ordering::Relaxed),
            deleted_events: tallies.deleted[Stream::Events as usize].load(Ordering::Relaxed),
            deleted_decisions: tallies.deleted_decisions.load(Ordering::Relaxed),
            deleted_dead: tallies.deleted_dead.load(Ordering::Relaxed),
            let_go: tallies.let_go.load(Ordering::Relaxed),
            last_trim: match tallies.last_trim.load(Ordering::Relaxed) {
                0 => None,
                at => Some(Timestamp::from_millis(at)),
            },
            longest_trim: Duration::from_micros(tallies.longest_trim.load(Ordering::Relaxed)),
        }
    }

    /// Why nothing is taken any more.
    fn refusal(&self) -> JournalError {
        match &*lock(&self.health) {
            Health::Poisoned(reason) => JournalError::Poisoned(reason.clone()),
            Health::Ok | Health::Failing(_) => JournalError::Closed,
        }
    }
}

/// The writer's side.
impl Shared {
    /// Moves what waits to the end of `appends` and `requests`.
    pub(crate) fn collect(&self, appends: &mut impl Extend<AppendOp>, requests: &mut impl Extend<Request>) {
        for port in lock(&self.ports).iter() {
            port.take_appends(appends);
        }
        let waiting = mem::take(&mut lock(&self.requests).waiting);
        if !waiting.is_empty() {
            requests.extend(waiting);
        }
    }

    /// Runs `park` unless something waits or the journal is to end.
    pub(crate) fn sleep(&self, park: impl FnOnce()) {
        self.sleeping.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if !self.is_stopping() && !self.something_waits() {
            self.round.end();
            park();
            self.round.begin();
        }
        self.sleeping.store(false, Ordering::Relaxed);
    }

    fn something_waits(&self) -> bool {
        !lock(&self.requests).waiting.is_empty() || lock(&self.ports).iter().any(|port| port.has_appends())
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Tells each port what became of its appends: `results` has a list for each, by the port's index.
    pub(crate) fn finish(&self, results: &mut [Vec<Done>]) {
        for (port, results) in lock(&self.ports).iter().zip(results) {
            if !results.is_empty() {
                port.finish(results);
            }
        }
    }

    /// Lets readers see all up to `ends`.
    pub(crate) fn show(&self, ends: Ends) {
        self.visible[Stream::Callbacks as usize].store(ends.callbacks, Ordering::Release);
        self.visible[Stream::Events as usize].store(ends.events, Ordering::Release);
    }

    /// Lets readers take what is missing there for deleted.
    pub(crate) fn excuse(&self, stream: Stream, gone: Gone) {
        let [floor, swept] = &self.gone[stream as usize];
        floor.store(gone.floor, Ordering::Release);
        swept.store(gone.swept, Ordering::Release);
    }

    /// Fails whatever waits, in the ports and in the writer: it is gone.
    pub(crate) fn abort(&self, reason: &Arc<str>) {
        self.set_health(Health::Poisoned(reason.clone()));
        self.seal();
        lock(&self.requests).waiting.clear();
        for port in lock(&self.ports).iter() {
            port.abort(AppendError::Poisoned(reason.clone()));
        }
    }

    pub(crate) fn set_health(&self, health: Health) {
        let poisoned = matches!(health, Health::Poisoned(_));
        *lock(&self.health) = health;
        if poisoned {
            let _ = self.condition.compare_exchange(TAKES, POISONED, Ordering::AcqRel, Ordering::Relaxed);
        }
    }

    /// Takes nothing more, from nobody: whatever was handed over before is collected by the next `collect`.
    pub(crate) fn seal(&self) {
        let _ = self.condition.compare_exchange(TAKES, CLOSED, Ordering::AcqRel, Ordering::Relaxed);
        lock(&self.requests).open = false;
        for port in lock(&self.ports).iter() {
            port.seal();
        }
    }

    fn is_sealed(&self) -> bool {
        !lock(&self.requests).open
    }
}

/// Locks a mutex whose contents are sound at every point where a thread could panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
