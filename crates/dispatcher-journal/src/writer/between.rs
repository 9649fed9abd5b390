//! What the writer does between batches: the log, retention, compacting, sleep.

use std::{
    mem,
    sync::atomic::Ordering,
    thread,
    time::{Duration, Instant},
};

use rusqlite::Connection;
use tracing::warn;

use super::Writer;
use crate::{
    compact::Compacted,
    trimmer::{Step, Trimmer},
    trouble::{Fault, Trouble},
    upkeep::Upkeep,
    vacuum,
};

/// How long nothing must wait before the write-ahead log is copied into the file.
const IDLE: Duration = Duration::from_secs(1);

impl Writer<'_> {
    pub(super) fn rest(&mut self) {
        let until_step = self.trimmer.as_ref().filter(|_| self.poisoned.is_none()).map(Trimmer::due_in);
        if !self.upkeep.is_behind() || self.poisoned.is_some() {
            match until_step {
                Some(span) => self.shared.sleep(|| thread::park_timeout(span)),
                None => self.shared.sleep(thread::park),
            }
            return;
        }
        let until_idle = IDLE.saturating_sub(self.busy_at.elapsed());
        self.shared.sleep(|| thread::park_timeout(until_step.map_or(until_idle, |span| span.min(until_idle))));
        if self.busy_at.elapsed() >= IDLE {
            self.busy_at = Instant::now();
            self.look_after_log(Upkeep::when_idle);
        }
    }

    pub(super) fn compact(&mut self, begins: bool) -> Result<Compacted, Trouble> {
        if let Some(reason) = &self.poisoned {
            return Err(Trouble { fault: Fault::Sync, reason: reason.clone() });
        }
        let connection = self.tables.connection();
        if begins {
            self.look_after_log(Upkeep::when_idle);
        }
        let step = vacuum::some(connection).and_then(|()| {
            vacuum::measure(connection, self.shared)?;
            Ok(Compacted { free: vacuum::pages(connection)?.1, page_size: vacuum::page_size(connection)? })
        });
        self.look_after_log(match &step {
            Ok(Compacted { free: 0, .. }) => Upkeep::when_idle,
            _ => Upkeep::after_commit,
        });
        if let Err(trouble) = &step
            && trouble.fault == Fault::Sync
        {
            self.poison(&trouble.reason);
        }
        step
    }

    /// Takes a step of retention, if one is due: whether there may be another at once.
    pub(super) fn trim(&mut self) -> bool {
        let Some(trimmer) = self.trimmer.as_mut().filter(|trimmer| trimmer.due_in() == Duration::ZERO) else {
            return false;
        };
        if self.poisoned.is_some() {
            return false;
        }
        match trimmer.step(&mut self.tables, self.shared) {
            Ok(step) => {
                self.look_after_log(Upkeep::after_commit);
                step == Step::Worked
            }
            Err(trouble) => {
                if trouble.fault == Fault::Sync {
                    self.poison(&trouble.reason);
                }
                false
            }
        }
    }

    pub(super) fn look_after_log(&mut self, upkeep: fn(&mut Upkeep, &Connection) -> rusqlite::Result<()>) {
        if self.poisoned.is_some() {
            return;
        }
        match upkeep(&mut self.upkeep, self.tables.connection()).map_err(Trouble::from) {
            Ok(()) => self.log_failing = false,
            Err(trouble) if trouble.fault == Fault::Sync => self.poison(&trouble.reason),
            Err(trouble) => {
                if !mem::replace(&mut self.log_failing, true) {
                    warn!(
                        reason = %trouble,
                        "the journal's write-ahead log cannot be copied into its file, and grows until it can"
                    );
                }
            }
        }
        self.shared.tallies.wal_bytes.store(self.upkeep.bytes(), Ordering::Relaxed);
    }
}
