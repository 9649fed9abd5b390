//! How a journal is opened, and the names of what is in it.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use dispatcher_core::{CommandPattern, Timestamp};

/// How a journal is opened.
#[derive(Clone, Debug)]
pub struct JournalOptions {
    /// The file. Its folder is made, readable for its owner alone, where it is missing.
    pub path: PathBuf,
    /// Whether a commit waits for the disk.
    pub sync: Sync,
    /// How long an appended callback is remembered, so that a repeat of it is not stored again; zero remembers none.
    pub dedupe_window: Duration,
    /// How many callbacks are remembered at most, at about 40 bytes each; zero remembers none.
    pub dedupe_entries: usize,
    /// How many bytes may wait for the writer; an append beyond that is refused.
    pub queue_bytes: usize,
    /// What is deleted when; `None` deletes nothing.
    pub retention: Option<Retention>,
}

/// What is deleted when. Nothing is that a consumer still has before it, unless `when_blocked` says so.
#[derive(Clone, Debug, PartialEq)]
pub struct Retention {
    /// How long callbacks and events are kept.
    pub keep_for: Duration,
    /// For commands that a pattern selects: how long instead. Of several patterns that select one, the narrowest speaks.
    pub rules: Vec<(CommandPattern, Duration)>,
    /// From this size of the file on, in bytes, the oldest are deleted before their time.
    pub max_bytes: Option<u64>,
    /// How long dead letters are kept; `None` keeps them until someone acts.
    pub keep_dead_for: Option<Duration>,
    /// What becomes of that which is overdue and which a consumer has not got to.
    pub when_blocked: WhenBlocked,
}

impl Retention {
    /// Everything for as long, dead letters until someone acts; what a consumer has not got to stays.
    #[must_use]
    pub fn keeping(keep_for: Duration) -> Retention {
        Retention {
            keep_for,
            rules: Vec::new(),
            max_bytes: None,
            keep_dead_for: None,
            when_blocked: WhenBlocked::Block,
        }
    }
}

/// What keeps rows that are overdue from being deleted: a consumer that has not got to them, or has one pending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldUp {
    /// The consumer that is furthest behind.
    pub consumer: Arc<str>,
    /// What it consumes.
    pub stream: Stream,
    /// Since when it has been in the way.
    pub since: Timestamp,
    /// The last seq that it does not need any more.
    pub seq: u64,
    /// How many seqs behind that one are overdue. Some of them may have been deleted already, by rules for commands.
    pub rows: u64,
}

/// Up to where consumers are to let go of what they have not got to: by seq, zero where nothing is overdue. Never falls.
///
/// Only with [`WhenBlocked::DeadLetter`] and [`WhenBlocked::Skip`]. A running consumer follows it by its own commits; to those
/// that have not been registered a minute after the start, nor committed anything, the journal sees itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overdue {
    /// In the callbacks.
    pub callbacks: u64,
    /// In the events.
    pub events: u64,
    /// What is to become of it.
    pub policy: WhenBlocked,
}

impl Overdue {
    /// Up to where, in this stream.
    #[must_use]
    pub fn of(self, stream: Stream) -> u64 {
        match stream {
            Stream::Callbacks => self.callbacks,
            Stream::Events => self.events,
        }
    }

    pub(crate) fn raise(&mut self, stream: Stream, seq: u64) {
        let place = match stream {
            Stream::Callbacks => &mut self.callbacks,
            Stream::Events => &mut self.events,
        };
        *place = seq.max(*place);
    }
}

/// What becomes of that which is overdue and which a consumer has not got to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenBlocked {
    /// It stays, and with it all that is newer.
    #[default]
    Block,
    /// It becomes a dead letter of that consumer.
    DeadLetter,
    /// That consumer goes on behind it, and a record says so.
    Skip,
}

impl JournalOptions {
    /// The defaults: every commit waits for the disk, 200,000 callbacks are remembered for ten minutes, 64 MiB may wait.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> JournalOptions {
        JournalOptions {
            path: path.into(),
            sync: Sync::Always,
            dedupe_window: Duration::from_secs(600),
            dedupe_entries: 200_000,
            queue_bytes: 64 << 20,
            retention: None,
        }
    }
}

/// Whether a commit waits for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// It does: what was committed survives a power cut.
    Always,
    /// It does not: a crash of the process loses nothing, a power cut loses the last seconds and may lose the file.
    Off,
}

/// One of the journal's two streams, each with a dense seq of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// What Tencent sent; consumed by handlers.
    Callbacks,
    /// What handlers made of it; consumed by sinks.
    Events,
}

impl Stream {
    /// Its name, which is also its table's.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Stream::Callbacks => "callbacks",
            Stream::Events => "events",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Stream> {
        [Stream::Callbacks, Stream::Events].into_iter().find(|stream| stream.as_str() == name)
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Where a consumer starts that the journal sees for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// After the last row there is: with what comes next.
    End,
    /// With the oldest row there is.
    Oldest,
    /// With the first row that was stored at this moment or later.
    At(Timestamp),
}
