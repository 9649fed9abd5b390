//! A call into a cell, from both ends.

use std::{
    future::{Future, poll_fn},
    mem,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use crate::{Caller, Cell, CellError};

/// A call into a cell that is under way: resolves when it is back.
///
/// Dropped before, it is told to stop: it ends at its next `.await`, or when the cell does.
#[derive(Debug)]
#[must_use = "dropped, it is told to stop"]
pub struct Call<T>(Arc<Slot<T>>);

/// The end in the cell.
pub(crate) struct Called<T>(Arc<Slot<T>>);

/// What both ends hold.
#[derive(Debug)]
struct Slot<T>(Mutex<State<T>>);

#[derive(Debug)]
enum State<T> {
    UnderWay {
        /// Who waits for it, and by way of whom that is woken.
        waits: Option<Waker>,
        caller: Option<Caller>,
        /// Who runs it, where it waits for something.
        runs: Option<Waker>,
    },
    Back(Result<T, CellError>),
    /// Nobody waits for it any more, or its result was taken.
    Over,
}

impl<T> Call<T> {
    pub(crate) fn new(caller: Option<&Caller>) -> (Called<T>, Call<T>) {
        let state = State::UnderWay { waits: None, caller: caller.cloned(), runs: None };
        let slot = Arc::new(Slot(Mutex::new(state)));
        (Called(slot.clone()), Call(slot))
    }

    /// Is waited for elsewhere from now on than on the thread of the [`Caller`] that it was made with.
    pub fn leave_caller(&self) {
        if let State::UnderWay { caller, .. } = &mut *self.0.lock() {
            *caller = None;
        }
    }
}

impl<T> Future for Call<T> {
    type Output = Result<T, CellError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.0.lock();
        if let State::UnderWay { waits, .. } = &mut *state {
            let replaced = set(waits, cx);
            drop(state);
            drop(replaced);
            return Poll::Pending;
        }
        match mem::replace(&mut *state, State::Over) {
            State::Back(result) => Poll::Ready(result),
            // A finished future is not polled again by any executor; should one, it never resolves.
            State::UnderWay { .. } | State::Over => Poll::Pending,
        }
    }
}

impl<T> Drop for Call<T> {
    fn drop(&mut self) {
        let state = mem::replace(&mut *self.0.lock(), State::Over);
        if let State::UnderWay { runs: Some(runs), .. } = state {
            runs.wake();
        }
    }
}

impl<T> Called<T> {
    /// Runs `future` and gives back what comes of it, unless nobody waits for that any more.
    pub(crate) async fn answer(self, future: impl Future<Output = T>) {
        let mut future = pin!(Cell::catch(future));
        let result = poll_fn(|cx| {
            if self.is_over() {
                return Poll::Ready(None);
            }
            match future.as_mut().poll(cx) {
                Poll::Ready(result) => Poll::Ready(Some(result)),
                Poll::Pending if self.is_to_run_on(cx) => Poll::Pending,
                Poll::Pending => Poll::Ready(None),
            }
        })
        .await;
        if let Some(result) = result {
            self.0.put(result.map_err(CellError::Panicked));
        }
    }

    fn is_over(&self) -> bool {
        matches!(*self.0.lock(), State::Over)
    }

    /// Asks to be woken when nobody waits any more; false if that is so already.
    fn is_to_run_on(&self, cx: &Context<'_>) -> bool {
        let mut state = self.0.lock();
        let State::UnderWay { runs, .. } = &mut *state else { return false };
        let replaced = set(runs, cx);
        drop(state);
        drop(replaced);
        true
    }
}

impl<T> Drop for Called<T> {
    /// Without a result: the cell was closed.
    fn drop(&mut self) {
        self.0.put(Err(CellError::Closed));
    }
}

impl<T> Slot<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Held for a few moves; nothing in them leaves the state half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts the result where the call finds it; without effect when it has one, or nobody waits.
    fn put(&self, result: Result<T, CellError>) {
        let mut state = self.lock();
        if !matches!(*state, State::UnderWay { .. }) {
            drop(state);
            return drop(result); // Not under the lock: what it is made of may be a plugin's.
        }
        let was = mem::replace(&mut *state, State::Back(result));
        drop(state);
        if let State::UnderWay { waits: Some(waits), caller, .. } = was {
            match caller {
                Some(caller) => caller.wake(waits),
                None => waits.wake(),
            }
        }
    }
}

/// Makes `waker` the one of `cx`, and returns the one that it was: dropping that may run anything.
fn set(waker: &mut Option<Waker>, cx: &Context<'_>) -> Option<Waker> {
    if waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
        return None;
    }
    waker.replace(cx.waker().clone())
}
