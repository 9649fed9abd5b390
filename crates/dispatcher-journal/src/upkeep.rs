//! Keeps the write-ahead log small. Only the writer does this: on a thread of its own the log outgrew the disk's patience.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use rusqlite::Connection;

use crate::step::step;

/// From here on the log is copied into the file after a commit, in passing (8 MiB).
const PASSIVE_PAGES: u64 = (8 << 20) / PAGE;
/// How much has to come on top before that is tried again, where a reader was in the way (1 MiB).
const AGAIN_PAGES: u64 = (1 << 20) / PAGE;
/// From here on it waits for readers to leave the log, so that the log can start over (32 MiB).
const RESTART_PAGES: u64 = (32 << 20) / PAGE;
const PAGE: u64 = 8192;

pub(crate) struct Upkeep {
    /// Pages in the log, as of the last commit.
    pages: Arc<AtomicU64>,
    /// How many of them were in the file already when it was last looked at.
    copied: u64,
    /// How many there were then.
    looked_at: u64,
}

impl Upkeep {
    pub(crate) fn new(connection: &mut Connection) -> rusqlite::Result<Upkeep> {
        let pages = Arc::new(AtomicU64::new(0));
        let seen = pages.clone();
        connection.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, n| {
            seen.store(u64::try_from(n).unwrap_or(0), Ordering::Relaxed);
            Ok(())
        }))?;
        Ok(Upkeep { pages, copied: 0, looked_at: 0 })
    }

    /// Bytes in the log.
    pub(crate) fn bytes(&self) -> u64 {
        self.pages() * PAGE
    }

    /// Whether the log holds what the file does not.
    pub(crate) fn is_behind(&self) -> bool {
        self.pages() != self.copied
    }

    /// After a commit: copies the log into the file if it has grown enough.
    pub(crate) fn after_commit(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let pages = self.pages();
        if pages < self.looked_at {
            // It started over.
            (self.copied, self.looked_at) = (0, 0);
        }
        if pages < PASSIVE_PAGES || pages < self.looked_at + AGAIN_PAGES {
            return Ok(());
        }
        self.copy(connection, if pages < RESTART_PAGES { "PASSIVE" } else { "RESTART" })
    }

    /// When nothing waits: copies what there is.
    pub(crate) fn when_idle(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        self.copy(connection, "PASSIVE")
    }

    fn copy(&mut self, connection: &Connection, mode: &str) -> rusqlite::Result<()> {
        // Noted first: a try that fails is repeated only after some more commits.
        self.looked_at = self.pages();
        step("wal.before");
        let (pages, copied) = connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
            Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
        })?;
        step("wal.after");
        let count = |pages: i64| u64::try_from(pages).unwrap_or(0);
        self.pages.store(count(pages), Ordering::Relaxed);
        (self.looked_at, self.copied) = (count(pages), count(copied));
        Ok(())
    }

    fn pages(&self) -> u64 {
        self.pages.load(Ordering::Relaxed)
    }
}

/// At the end: copies the log into the file and empties it.
pub(crate) fn empty(connection: &Connection) -> rusqlite::Result<()> {
    step("wal.emptying");
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    step("wal.emptied");
    Ok(())
}
