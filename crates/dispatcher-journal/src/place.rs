//! Where a callback came to lie, for those who have more to say about it than could be said when it was appended.

use std::{
    mem,
    sync::{Arc, Mutex, atomic::Ordering},
};

use dispatcher_core::Callback;

use crate::{
    Appended, DecisionRecord,
    port::weight,
    shared::{Request, Shared, lock},
};

/// Where a callback came to lie: empty when it is made, filled by the writer once the callback is committed, or known not to
/// be. For one callback. Cheap to clone; all clones are one place.
///
/// Records may be [attached](crate::Journal::attach) to it at any time, also before the callback is appended: they wait here.
#[derive(Clone, Default)]
pub struct Place(Arc<Mutex<Whereabouts>>);

enum Whereabouts {
    /// Not known yet; these wait for it, in the order in which they came.
    Unknown(Vec<Attachment>),
    At(Seat),
    /// The callback was not stored.
    Nowhere,
}

impl Default for Whereabouts {
    fn default() -> Whereabouts {
        Whereabouts::Unknown(Vec::new())
    }
}

/// A row of the callbacks, from the view of one who appended a callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seat {
    pub(crate) seq: u64,
    /// Whether the row holds an earlier callback, of which this one was a repeat.
    pub(crate) is_repeat: bool,
}

impl From<Appended> for Seat {
    fn from(appended: Appended) -> Seat {
        Seat { seq: appended.seq(), is_repeat: matches!(appended, Appended::Repeat { .. }) }
    }
}

impl Place {
    /// An empty one.
    #[must_use]
    pub fn new() -> Place {
        Place::default()
    }

    /// The seq of the row that holds the callback, once it is committed; that of the earlier one if it was a repeat.
    #[must_use]
    pub fn seq(&self) -> Option<u64> {
        if let Whereabouts::At(seat) = &*lock(&self.0) { Some(seat.seq) } else { None }
    }

    /// Says where it is, and returns what waits to go there. Only the first word counts.
    pub(crate) fn settle(&self, seat: Option<Seat>) -> Vec<Attachment> {
        let mut whereabouts = lock(&self.0);
        let Whereabouts::Unknown(waiting) = &mut *whereabouts else { return Vec::new() };
        let waiting = mem::take(waiting);
        *whereabouts = seat.map_or(Whereabouts::Nowhere, Whereabouts::At);
        waiting
    }
}

/// A record on its way to its callback's row. Unless the writer says what became of it, it is counted as lost when it is
/// dropped.
pub(crate) struct Attachment {
    shared: Arc<Shared>,
    pub(crate) callback: Arc<Callback>,
    pub(crate) record: DecisionRecord,
    /// Where to; known once the writer has it.
    pub(crate) seat: Seat,
    bytes: usize,
    pub(crate) is_accounted_for: bool,
}

impl Drop for Attachment {
    fn drop(&mut self) {
        self.shared.release(self.bytes);
        if !self.is_accounted_for {
            self.shared.tallies.unrecorded_decisions.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Hands a record to the writer, or leaves it with the place until the callback's row is there. Whether it was taken.
pub(crate) fn attach(shared: &Arc<Shared>, place: &Place, record: DecisionRecord, callback: Arc<Callback>) -> bool {
    let bytes = weight(&callback) + record.weight();
    if shared.admit(bytes).is_err() {
        return false;
    }
    let nowhere = Seat { seq: 0, is_repeat: false };
    let shared = shared.clone();
    let mut attachment = Attachment { shared, callback, record, seat: nowhere, bytes, is_accounted_for: false };
    match &mut *lock(&place.0) {
        Whereabouts::Unknown(waiting) => {
            waiting.push(attachment);
            return true;
        }
        Whereabouts::At(seat) => attachment.seat = *seat,
        Whereabouts::Nowhere => return true,
    }
    // Should the journal be closed at this moment, the record is dropped and counted.
    let shared = attachment.shared.clone();
    let _ = shared.request(Request::Attach(Box::new(attachment)));
    true
}
