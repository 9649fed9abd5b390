//! How many connections may be open at once, which may change while they are.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use tokio::sync::Notify;

/// The places of connections. Only the accept loop takes them.
pub(crate) struct Places {
    taken: AtomicUsize,
    limit: AtomicUsize,
    changed: Notify,
}

impl Places {
    pub(crate) fn new(limit: usize) -> Places {
        Places { taken: AtomicUsize::new(0), limit: AtomicUsize::new(limit.max(1)), changed: Notify::new() }
    }

    /// Waits until there is a place.
    pub(crate) async fn wait(&self) {
        // One waits here at most, and a notification that comes before it waits is kept for it.
        while !self.is_free() {
            self.changed.notified().await;
        }
    }

    pub(crate) fn is_free(&self) -> bool {
        self.taken.load(Relaxed) < self.limit.load(Relaxed)
    }

    /// Lets this many in from now on; who is in stays.
    pub(crate) fn set_limit(&self, limit: usize) {
        self.limit.store(limit.max(1), Relaxed);
        self.changed.notify_one();
    }
}

/// A place that is taken; free again when this is dropped.
pub(crate) struct Seat(Arc<Places>);

impl Seat {
    pub(crate) fn take(places: &Arc<Places>) -> Seat {
        places.taken.fetch_add(1, Relaxed);
        Seat(places.clone())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Relaxed);
        self.0.changed.notify_one();
    }
}
