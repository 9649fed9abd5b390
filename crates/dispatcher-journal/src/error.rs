//! What can go wrong, by what the caller does about it.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Why a journal was not opened.
#[derive(Debug)]
pub enum OpenError {
    /// Another dispatcher has it open.
    Locked {
        /// The journal.
        path: PathBuf,
        /// The file that the other one holds a lock on.
        lock: PathBuf,
        /// Who that is, by its own word: its process id and what it was called with.
        holder: Option<String>,
    },
    /// A newer dispatcher wrote it; this one would not understand all of it.
    Newer {
        /// The journal.
        path: PathBuf,
        /// The format that was found.
        found: i64,
        /// The newest format that this dispatcher knows.
        known: i64,
    },
    /// The file holds something else.
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// It lies on a file system on which a lock or a sync does not mean what it has to.
    FileSystem {
        /// The journal.
        path: PathBuf,
        /// The file system's name.
        kind: &'static str,
    },
    /// Anything else: the text says what was tried, where, and what came of it.
    Other(String),
}

impl OpenError {
    /// SQLite, or what is done with it at the start, failed with this.
    pub(crate) fn cannot_open(path: &Path, err: &dyn fmt::Display) -> OpenError {
        let (path, err) = (path.display(), err.to_string());
        // SQLite's word, in all the ways in which it finds a page that it cannot read.
        if err.contains("malformed") {
            return OpenError::Other(format!(
                "{path}: a page of the journal that a start needs is damaged ({err}). Put the last `dispatcher journal backup` \
                 in its place, or move {path} and {path}-wal away, so that a new one is made: what can be read of the old one, \
                 `sqlite3 {path} .recover` shows"
            ));
        }
        OpenError::Other(format!("{path}: cannot open the journal: {err}"))
    }

    pub(crate) fn io(what: impl fmt::Display, err: &io::Error) -> OpenError {
        let remedy = match err.kind() {
            io::ErrorKind::PermissionDenied => "; change its owner or mode",
            _ => "",
        };
        OpenError::Other(format!("{what}: {err}{remedy}"))
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Locked { path, lock, holder } => write!(
                f,
                "{}: {} has this journal open (it holds the lock on {}); stop it, wait until it has ended, or choose \
                 another [journal] path",
                path.display(),
                holder.as_deref().unwrap_or("another process"),
                lock.display()
            ),
            OpenError::Newer { path, found, known } => write!(
                f,
                "{}: this journal has format {found}, and this dispatcher knows formats up to {known}; use the newer \
                 dispatcher that wrote it, or choose another [journal] path",
                path.display()
            ),
            OpenError::Foreign { path } => write!(
                f,
                "{}: this file is no journal of a dispatcher; choose another [journal] path, or move it away",
                path.display()
            ),
            OpenError::FileSystem { path, kind } => write!(
                f,
                "{}: this folder lies on {kind}, where locks and syncs cannot be relied on; choose a [journal] path on a \
                 disk of this machine",
                path.display()
            ),
            OpenError::Other(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for OpenError {}

/// Why the journal did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JournalError {
    /// It could not this time; the same may work later.
    Failed(Arc<str>),
    /// It can no longer vouch for what it writes, and writes nothing until it is opened anew.
    Poisoned(Arc<str>),
    /// It was closed.
    Closed,
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JournalError::Failed(reason) => f.write_str(reason),
            JournalError::Poisoned(reason) => write!(f, "the journal is out of use until the next start: {reason}"),
            JournalError::Closed => f.write_str("the journal is closed"),
        }
    }
}

impl std::error::Error for JournalError {}

impl From<rusqlite::Error> for JournalError {
    fn from(err: rusqlite::Error) -> JournalError {
        JournalError::Failed(err.to_string().into())
    }
}

/// Why a callback was not appended. None of these leaves a row behind that anyone was told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppendError {
    /// More waits for the writer than may.
    QueueFull,
    /// Its transaction failed; the next may work.
    Failed(Arc<str>),
    /// The journal writes nothing until it is opened anew.
    Poisoned(Arc<str>),
    /// The journal was closed.
    Closed,
}

impl fmt::Display for AppendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AppendError::QueueFull => f.write_str("too much waits for the journal"),
            AppendError::Failed(reason) => JournalError::Failed(reason.clone()).fmt(f),
            AppendError::Poisoned(reason) => JournalError::Poisoned(reason.clone()).fmt(f),
            AppendError::Closed => JournalError::Closed.fmt(f),
        }
    }
}

impl std::error::Error for AppendError {}

impl From<JournalError> for AppendError {
    fn from(err: JournalError) -> AppendError {
        match err {
            JournalError::Failed(reason) => AppendError::Failed(reason),
            JournalError::Poisoned(reason) => AppendError::Poisoned(reason),
            JournalError::Closed => AppendError::Closed,
        }
    }
}

/// How the journal is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It writes.
    Ok,
    /// Its last try to write failed, as on a full disk. It tries again with the next callback and recovers by itself.
    Failing(Arc<str>),
    /// A sync to disk failed: what the disk holds is unknown. It writes nothing until it is opened anew.
    Poisoned(Arc<str>),
}
