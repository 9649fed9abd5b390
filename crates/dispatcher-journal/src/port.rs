//! How one intake thread appends callbacks.
//!
//! A port keeps the traffic between two threads low: the writer is woken only if it sleeps, and the intake once for all
//! that a commit made durable.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    mem,
    pin::Pin,
    sync::{Arc, Mutex, OnceLock},
    task::{Context, Poll, Waker},
};

use atomic_waker::AtomicWaker;
use dispatcher_core::Callback;

use crate::{
    AppendError, Appended, DecisionRecord, Place,
    shared::{Shared, lock},
};

/// Appends callbacks for one intake thread.
///
/// It may be shared, but only the thread that runs [`pump`](Port::pump) should append through it: everything here is
/// cheap because nobody else does.
pub struct Port {
    shared: Arc<Shared>,
    queue: Arc<PortQueue>,
}

impl Port {
    pub(crate) fn new(shared: Arc<Shared>) -> Port {
        Port { queue: shared.add_port(), shared }
    }

    /// Hands a callback to the writer; the future resolves when it is durable, or when it is known not to be.
    ///
    /// The hand-over happens at once, not at the first poll: dropping the future does not undo it. The future needs
    /// [`pump`](Port::pump) to run.
    pub fn append(&self, callback: Callback) -> Append {
        let bytes = weight(&callback);
        if let Err(err) = self.shared.admit(bytes) {
            return Append { state: AppendState::Refused(err) };
        }
        let slot = lock(&self.queue.slots).claim();
        let append = AppendOp { callback: Arc::new(callback), decided: None, port: self.queue.index, slot: Some(slot) };
        if !self.queue.push(append) {
            self.shared.release(bytes);
            lock(&self.queue.slots).free(slot);
            return Append { state: AppendState::Refused(AppendError::Closed) };
        }
        self.announce();
        Append { state: AppendState::Waiting { queue: self.queue.clone(), slot } }
    }

    /// Hands a callback to the writer and forgets it. `false` when it was not taken: too much waits, or the journal is
    /// poisoned or closed. Should the writer fail later, the journal logs and counts it.
    #[must_use]
    pub fn append_detached(&self, callback: impl Into<Arc<Callback>>) -> bool {
        self.append_and_forget(callback.into(), None)
    }

    /// The same for a callback that was decided about: callback, record and events become durable together. Of a repeat the
    /// record and its events go to the earlier callback. Who has more to say of the callback later gives a `place` for it,
    /// and hands that to [`Journal::attach`](crate::Journal::attach).
    ///
    /// `false` when it was not taken, with what waits at its place.
    #[must_use]
    pub fn append_decided(
        &self,
        callback: impl Into<Arc<Callback>>,
        decided: DecisionRecord,
        place: Option<&Place>,
    ) -> bool {
        let decided = Decided { record: decided, place: place.cloned() };
        let taken = self.append_and_forget(callback.into(), Some(Box::new(decided)));
        if !taken && let Some(place) = place {
            drop(place.settle(None));
        }
        taken
    }

    fn append_and_forget(&self, callback: Arc<Callback>, decided: Option<Box<Decided>>) -> bool {
        let append = AppendOp { callback, decided, port: self.queue.index, slot: None };
        let bytes = append.weight();
        if self.shared.admit(bytes).is_err() {
            return false;
        }
        if !self.queue.push(append) {
            self.shared.release(bytes);
            return false;
        }
        self.announce();
        true
    }

    /// Completes the appends of this port. Runs until it is dropped, on the thread that appends and awaits: one wake-up
    /// of this future stands for a whole batch.
    pub async fn pump(&self) {
        let queue = &*self.queue;
        let mut done = Vec::new();
        let mut wakers = Vec::new();
        poll_fn(|cx| {
            queue.waker.register(cx.waker());
            queue.complete(&mut done, &mut wakers);
            Poll::Pending
        })
        .await
    }

    /// Wakes a sleeping writer at once: it begins with few callbacks, and while it commits those the next gather. Waiting
    /// until all that is ready has appended made larger batches, but let writer and intake take turns.
    fn announce(&self) {
        if self.shared.writer_sleeps() {
            self.shared.wake_writer();
        }
    }
}

/// Resolves when a callback is durable, or known not to be. See [`Port::append`].
#[must_use = "what became of the callback is in the result"]
pub struct Append {
    state: AppendState,
}

enum AppendState {
    Refused(AppendError),
    Waiting { queue: Arc<PortQueue>, slot: usize },
    Finished,
}

impl Future for Append {
    type Output = Result<Appended, AppendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let AppendState::Waiting { queue, slot } = &self.state {
            let mut replaced = None; // Dropped after the lock is released, since that may run anything.
            let Some(result) = lock(&queue.slots).poll(*slot, cx, &mut replaced) else { return Poll::Pending };
            self.state = AppendState::Finished;
            return Poll::Ready(result);
        }
        match mem::replace(&mut self.state, AppendState::Finished) {
            AppendState::Refused(err) => Poll::Ready(Err(err)),
            // A finished future is not polled again by any executor; should one, it never resolves.
            AppendState::Waiting { .. } | AppendState::Finished => Poll::Pending,
        }
    }
}

impl Drop for Append {
    fn drop(&mut self) {
        if let AppendState::Waiting { queue, slot } = &self.state {
            let waker = lock(&queue.slots).abandon(*slot);
            drop(waker); // After the lock is released, since that may run anything.
        }
    }
}

/// A callback on its way to the writer.
pub(crate) struct AppendOp {
    pub(crate) callback: Arc<Callback>,
    /// What was decided about it, if anything was.
    pub(crate) decided: Option<Box<Decided>>,
    pub(crate) port: usize,
    /// Who waits for it; `None` when nobody does.
    pub(crate) slot: Option<usize>,
}

/// A decision on its way to the writer together with its callback.
pub(crate) struct Decided {
    pub(crate) record: DecisionRecord,
    pub(crate) place: Option<Place>,
}

impl AppendOp {
    /// What it takes of the queue's room.
    pub(crate) fn weight(&self) -> usize {
        weight(&self.callback) + self.decided.as_ref().map_or(0, |decided| decided.record.weight())
    }
}

/// What a callback takes of the queue's room.
pub(crate) fn weight(callback: &Callback) -> usize {
    // The struct, its shares of app, key and command, and what the allocator adds.
    const REST: usize = 384;
    callback.body_bytes().len() + callback.query_and_trace().len() + REST
}

/// The part of a port that the writer sees.
pub(crate) struct PortQueue {
    index: usize,
    inbox: Mutex<Inbox>,
    done: Mutex<Vec<Done>>,
    /// Wakes the pump.
    waker: AtomicWaker,
    /// The writer is gone; what waits gets this.
    lost: OnceLock<AppendError>,
    slots: Mutex<Slots>,
}

/// What became of a callback that someone waits for.
pub(crate) struct Done {
    pub(crate) slot: usize,
    pub(crate) result: Result<Appended, AppendError>,
    /// Goes back to the thread that made it: unless a consumer holds it too, it is cheapest to free there.
    pub(crate) callback: Arc<Callback>,
}

struct Inbox {
    open: bool,
    appends: VecDeque<AppendOp>,
}

impl PortQueue {
    pub(crate) fn new(index: usize, sealed: bool) -> PortQueue {
        PortQueue {
            index,
            inbox: Mutex::new(Inbox { open: !sealed, appends: VecDeque::new() }),
            done: Mutex::default(),
            waker: AtomicWaker::new(),
            lost: OnceLock::new(),
            slots: Mutex::default(),
        }
    }

    fn push(&self, append: AppendOp) -> bool {
        let mut inbox = lock(&self.inbox);
        if inbox.open {
            inbox.appends.push_back(append);
        }
        inbox.open
    }

    pub(crate) fn take_appends(&self, into: &mut impl Extend<AppendOp>) {
        into.extend(lock(&self.inbox).appends.drain(..));
    }

    pub(crate) fn has_appends(&self) -> bool {
        !lock(&self.inbox).appends.is_empty()
    }

    pub(crate) fn seal(&self) {
        lock(&self.inbox).open = false;
    }

    /// Tells the port what became of its appends, and empties `results`.
    pub(crate) fn finish(&self, results: &mut Vec<Done>) {
        lock(&self.done).append(results);
        self.waker.wake();
    }

    /// The writer is gone: fails what waits, wherever it got to.
    pub(crate) fn abort(&self, err: AppendError) {
        let _ = self.lost.set(err);
        // They may hold what holds this.
        drop(mem::take(&mut lock(&self.inbox).appends));
        self.waker.wake();
    }

    /// Moves results to their slots and wakes those who wait. The two vectors are empty before and after.
    fn complete(&self, done: &mut Vec<Done>, wakers: &mut Vec<Waker>) {
        mem::swap(done, &mut lock(&self.done));
        let lost = self.lost.get();
        if done.is_empty() && lost.is_none() {
            return;
        }
        {
            let mut slots = lock(&self.slots);
            wakers.extend(done.drain(..).filter_map(|Done { slot, result, callback }| {
                drop(callback);
                slots.resolve(slot, result)
            }));
            if let Some(err) = lost {
                wakers.extend(slots.fail_all(err));
            }
        }
        // Outside the lock: a waker may run anything, the drop of an `Append` included.
        wakers.drain(..).for_each(Waker::wake);
    }
}

/// Where appends of this port wait. A slot is free again once its result has come and nobody can ask for it any more.
#[derive(Default)]
struct Slots {
    slots: Vec<Slot>,
    free: Vec<usize>,
}

enum Slot {
    Waiting(Option<Waker>),
    Abandoned,
    Resolved(Result<Appended, AppendError>),
    Free,
}

impl Slots {
    fn claim(&mut self) -> usize {
        match self.free.pop() {
            Some(slot) => {
                self.slots[slot] = Slot::Waiting(None);
                slot
            }
            None => {
                self.slots.push(Slot::Waiting(None));
                self.slots.len() - 1
            }
        }
    }

    fn free(&mut self, slot: usize) {
        self.slots[slot] = Slot::Free;
        self.free.push(slot);
    }

    fn poll(
        &mut self,
        slot: usize,
        cx: &Context<'_>,
        replaced: &mut Option<Waker>,
    ) -> Option<Result<Appended, AppendError>> {
        match &mut self.slots[slot] {
            Slot::Waiting(waker) => {
                if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                    *replaced = waker.replace(cx.waker().clone());
                }
                None
            }
            state => match mem::replace(state, Slot::Free) {
                Slot::Resolved(result) => {
                    self.free.push(slot);
                    Some(result)
                }
                // A slot belongs to one future, which is here: nobody else can have freed or abandoned it.
                Slot::Waiting(_) | Slot::Abandoned | Slot::Free => Some(Err(AppendError::Closed)),
            },
        }
    }

    fn resolve(&mut self, slot: usize, result: Result<Appended, AppendError>) -> Option<Waker> {
        match mem::replace(&mut self.slots[slot], Slot::Resolved(result)) {
            Slot::Waiting(waker) => waker,
            Slot::Abandoned | Slot::Resolved(_) | Slot::Free => {
                self.free(slot);
                None
            }
        }
    }

    fn fail_all(&mut self, err: &AppendError) -> impl Iterator<Item = Waker> {
        self.slots.iter_mut().filter_map(|slot| match slot {
            Slot::Waiting(waker) => {
                let waker = waker.take();
                *slot = Slot::Resolved(Err(err.clone()));
                waker
            }
            Slot::Abandoned | Slot::Resolved(_) | Slot::Free => None,
        })
    }

    fn abandon(&mut self, slot: usize) -> Option<Waker> {
        match mem::replace(&mut self.slots[slot], Slot::Abandoned) {
            Slot::Waiting(waker) => waker,
            Slot::Resolved(_) | Slot::Abandoned | Slot::Free => {
                self.free(slot);
                None
            }
        }
    }
}
