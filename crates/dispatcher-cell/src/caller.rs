//! One thread that makes many calls into cells, and their traffic in bulk.

use std::{
    fmt,
    future::poll_fn,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
};

use atomic_waker::AtomicWaker;

use crate::cell::Handover;

/// A thread that makes many calls. To wake another thread is a system call each time, which costs more than many a call takes,
/// in both directions: what it calls is handed over when it has done what else is ready, and what comes back while it is busy
/// wakes it once. Cheap to clone; all clones are one.
#[derive(Clone, Default)]
pub struct Caller(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// What was called and not handed over yet.
    called: Mutex<Vec<Handover>>,
    /// Who waits for what is back.
    back: Mutex<Vec<Waker>>,
    pump: AtomicWaker,
}

impl Caller {
    /// Hands over what is called, and wakes those whose calls are back. Runs until it is dropped, on the thread that calls:
    /// without it no call made with this begins.
    pub async fn pump(&self) {
        let (mut called, mut wakers) = (Vec::new(), Vec::new());
        poll_fn(|cx| {
            self.0.pump.register(cx.waker());
            mem::swap(&mut called, &mut *lock(&self.0.called));
            called.drain(..).for_each(Handover::hand_over);
            mem::swap(&mut wakers, &mut *lock(&self.0.back));
            // Outside the lock: a waker may run anything.
            wakers.drain(..).for_each(Waker::wake);
            Poll::Pending
        })
        .await
    }

    /// Has a call handed over.
    pub(crate) fn call(&self, call: Handover) {
        self.put(&self.0.called, call);
    }

    /// Has `waker` woken on the caller's thread.
    pub(crate) fn wake(&self, waker: Waker) {
        self.put(&self.0.back, waker);
    }

    fn put<T>(&self, list: &Mutex<Vec<T>>, one: T) {
        let is_first = {
            let mut list = lock(list);
            list.push(one);
            list.len() == 1
        };
        // Those that follow find the pump on its way.
        if is_first {
            self.0.pump.wake();
        }
    }
}

// Held for a few instructions, in which nothing can panic.
fn lock<T>(list: &Mutex<Vec<T>>) -> MutexGuard<'_, Vec<T>> {
    list.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller").finish_non_exhaustive()
    }
}
