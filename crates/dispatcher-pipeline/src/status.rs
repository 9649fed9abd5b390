//! How each consumer is, for people and for readiness.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dispatcher_core::{Key, Timestamp};

use crate::{Failures, State};

/// One consumer, as it was when this was asked for.
#[derive(Clone, Debug)]
pub struct ConsumerStatus {
    /// Its name: `handler:<name>` or `sink:<name>`.
    pub name: String,
    /// How its plugin is.
    pub state: State,
    /// Up to where everything is done, pending or dead.
    pub checkpoint: u64,
    /// How many rows of its stream lie beyond that, those for others included.
    pub backlog: u64,
    /// How many items wait for another attempt, or behind one that does.
    pub pending: usize,
    /// How many batches are under way.
    pub under_way: usize,
    /// How many items were done since the start.
    pub done: u64,
    /// How many attempts failed since the start.
    pub failed: u64,
    /// Whose failures there were, and of what class, since the start.
    pub failures: Failures,
    /// How many items were given up on since the start.
    pub dead: u64,
    /// The last failure, the item's own or the plugin's.
    pub last_error: Option<String>,
    /// The keys with the most items that are read and not finished, pending ones included: SDKAppID, key and number,
    /// longest first, at most five. Without any where order is kept within none. At most about a second old.
    pub longest_keys: Vec<(u64, Key, usize)>,
    /// Since when the pending item that has waited longest does: its first attempt, or when it came to wait behind
    /// another. At most about a second old.
    pub oldest_pending: Option<Timestamp>,
}

/// Where a consumer keeps its status for others to read.
#[derive(Clone)]
pub(crate) struct StatusCell(Arc<Mutex<ConsumerStatus>>);

impl StatusCell {
    pub(crate) fn new(name: &str) -> StatusCell {
        StatusCell(Arc::new(Mutex::new(ConsumerStatus {
            name: name.to_owned(),
            state: State::Up,
            checkpoint: 0,
            backlog: 0,
            pending: 0,
            under_way: 0,
            done: 0,
            failed: 0,
            failures: Failures::default(),
            dead: 0,
            last_error: None,
            longest_keys: Vec::new(),
            oldest_pending: None,
        })))
    }

    pub(crate) fn read(&self) -> ConsumerStatus {
        self.lock().clone()
    }

    pub(crate) fn update(&self, update: impl FnOnce(&mut ConsumerStatus)) {
        update(&mut self.lock());
    }

    // A std mutex: held for a few assignments, which leave a sound value at every point.
    fn lock(&self) -> MutexGuard<'_, ConsumerStatus> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The status of all consumers that run, for others to read.
#[derive(Clone, Default)]
pub(crate) struct Statuses(Arc<Mutex<Vec<StatusCell>>>);

impl Statuses {
    pub(crate) fn add(&self, status: StatusCell) {
        self.lock().push(status);
    }

    /// The cell of this name; a new one if there is none.
    pub(crate) fn cell(&self, name: &str) -> StatusCell {
        let mut cells = self.lock();
        if let Some(cell) = cells.iter().find(|cell| cell.lock().name == name) {
            return cell.clone();
        }
        let cell = StatusCell::new(name);
        cells.push(cell.clone());
        cell
    }

    /// Puts those with these names first, in this order.
    pub(crate) fn arrange(&self, names: &[String]) {
        let place = |cell: &StatusCell| {
            let status = cell.lock();
            names.iter().position(|name| *name == status.name).unwrap_or(names.len())
        };
        self.lock().sort_by_key(place);
    }

    pub(crate) fn remove(&self, name: &str) {
        self.lock().retain(|status| status.lock().name != name);
    }

    pub(crate) fn read(&self) -> Vec<ConsumerStatus> {
        self.lock().iter().map(StatusCell::read).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<StatusCell>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
