//! Whose turn it is to touch the files of one template: the sink's, for a batch, or the compression's, for a rename.
//!
//! Shared by all sinks in the process that have the template. The configuration allows one, but a sink that hung and was
//! opened anew may come back; without this, both would write and rename at once.

use std::{
    mem,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

/// The turns of one template.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    names: Mutex<UnderWay>,
    compression: Mutex<()>,
}

/// The file that is being compressed, under the name it has by now.
#[derive(Debug, Default)]
pub(crate) struct UnderWay(Option<PathBuf>);

impl Turn {
    /// The turns of the template `path`.
    pub(crate) fn of(path: &str) -> Arc<Turn> {
        static TURNS: Mutex<Vec<(PathBuf, Weak<Turn>)>> = Mutex::new(Vec::new());
        let path = std::path::absolute(path).unwrap_or_else(|_| path.into());
        let mut turns = held(&TURNS);
        turns.retain(|(_, turn)| turn.strong_count() > 0);
        if let Some(turn) = turns.iter().find(|(other, _)| *other == path).and_then(|(_, turn)| turn.upgrade()) {
            return turn;
        }
        let turn = Arc::new(Turn::default());
        turns.push((path, Arc::downgrade(&turn)));
        turn
    }

    /// Waits for the turn to write to, rename or delete files. The compression keeps it for a few renames and no sync.
    pub(crate) fn names(&self) -> MutexGuard<'_, UnderWay> {
        held(&self.names)
    }

    /// Waits for the turn to compress, which is kept for as long as that takes.
    pub(crate) fn compression(&self) -> MutexGuard<'_, ()> {
        held(&self.compression)
    }

    /// The turn to compress, if it is free.
    pub(crate) fn try_compression(&self) -> Option<MutexGuard<'_, ()>> {
        self.compression.try_lock().ok()
    }
}

impl UnderWay {
    pub(crate) fn begin(&mut self, path: &Path) {
        self.0 = Some(path.to_owned());
    }

    pub(crate) fn path(&self) -> Option<&Path> {
        self.0.as_deref()
    }

    pub(crate) fn end(&mut self) -> Option<PathBuf> {
        mem::take(&mut self.0)
    }

    pub(crate) fn renamed(&mut self, from: &Path, to: &Path) {
        if self.path() == Some(from) {
            self.begin(to);
        }
    }
}

/// A panic elsewhere leaves names that are true: they change only after the files did.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
