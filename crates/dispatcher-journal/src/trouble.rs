//! Why a transaction failed, and whose fault that was.

use std::{fmt, sync::Arc};

use rusqlite::ffi;

use crate::JournalError;

/// Why a transaction failed.
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    pub(crate) fault: Fault,
    pub(crate) reason: Arc<str>,
}

/// Whose fault that was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A sync failed. What the disk holds is unknown: after an error the kernel may take pages for clean that it never
    /// wrote, so that the next sync succeeds and means nothing.
    Sync,
    /// The disk or the machine: full, an error, no memory, a lock held by someone else. It may pass.
    Disk,
    /// What was asked for, or a damaged page. Other work may succeed.
    Own,
}

impl Trouble {
    pub(crate) fn own(reason: String) -> Trouble {
        Trouble { fault: Fault::Own, reason: reason.into() }
    }
}

impl From<Trouble> for JournalError {
    fn from(trouble: Trouble) -> JournalError {
        match trouble.fault {
            Fault::Sync => JournalError::Poisoned(trouble.reason),
            Fault::Disk | Fault::Own => JournalError::Failed(trouble.reason),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl From<rusqlite::Error> for Trouble {
    fn from(err: rusqlite::Error) -> Trouble {
        let extended = err.sqlite_error().map_or(0, |err| err.extended_code);
        let fault = match extended {
            ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC => Fault::Sync,
            _ => match extended & 0xff {
                ffi::SQLITE_FULL
                | ffi::SQLITE_IOERR
                | ffi::SQLITE_READONLY
                | ffi::SQLITE_CANTOPEN
                | ffi::SQLITE_BUSY
                | ffi::SQLITE_LOCKED
                | ffi::SQLITE_PROTOCOL
                | ffi::SQLITE_NOMEM => Fault::Disk,
                _ => Fault::Own,
            },
        };
        let reason = match extended {
            0 => err.to_string(),
            _ => format!("{err} (SQLite error {extended})"),
        };
        Trouble { fault, reason: reason.into() }
    }
}
