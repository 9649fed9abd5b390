//! A cell that is replaced when its thread does not come back, and not for ever.

use std::{
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::Cell;

/// How often an instance gets a new cell. Each one that was left behind is a thread that may still use CPU.
const MOST_REOPENINGS: u32 = 3;

/// The cell of an instance, and the new one it gets when that one is stuck: at most three times.
///
/// Several lanes share it, and all of them notice when the thread is blocked; each says which generation it was in, so
/// that one blocked thread counts once.
#[derive(Debug)]
pub struct Reopening {
    name: String,
    threads: usize,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    /// `None` once the instance is off.
    cell: Option<Arc<Cell>>,
    generation: u32,
}

impl Reopening {
    /// Opens the first cell.
    ///
    /// # Errors
    /// As [`Cell::open`].
    pub fn open(name: &str, threads: usize) -> io::Result<Reopening> {
        let cell = Some(Arc::new(Cell::open(name, threads)?));
        Ok(Reopening { name: name.to_owned(), threads, current: Mutex::new(Current { cell, generation: 0 }) })
    }

    /// The present cell and its generation. What was opened in an earlier generation belongs to a runtime that is gone.
    ///
    /// # Errors
    /// [`Off`] when too many were stuck.
    pub fn cell(&self) -> Result<(Arc<Cell>, u32), Off> {
        let current = self.lock();
        current.cell.clone().map(|cell| (cell, current.generation)).ok_or(Off)
    }

    /// Leaves the cell of `generation` behind and opens the next; without effect when another lane has done so. Returns
    /// whether it was this call that did.
    ///
    /// # Errors
    /// [`Off`] when this was one too many, or the system gives no new thread.
    pub fn leave(&self, generation: u32) -> Result<bool, Off> {
        let mut current = self.lock();
        if current.generation != generation {
            return if current.cell.is_some() { Ok(false) } else { Err(Off) };
        }
        current.generation += 1;
        current.cell = match generation < MOST_REOPENINGS {
            true => Cell::open(&self.name, self.threads).ok().map(Arc::new),
            false => None,
        };
        if current.cell.is_some() { Ok(true) } else { Err(Off) }
    }

    // A std mutex: held for a few instructions, never across an await. Nothing in them leaves the value half changed.
    fn lock(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An instance whose threads were blocked too often: it is off until the next start or reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Off;

impl fmt::Display for Off {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "it blocked its thread {} times without coming back, and is off; mend it, and reload the configuration or start the dispatcher again",
            MOST_REOPENINGS + 1
        )
    }
}

impl std::error::Error for Off {}
