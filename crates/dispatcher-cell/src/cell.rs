//! One thread, or a few, with a runtime of its own.

use std::{
    any::Any,
    future::{Future, poll_fn},
    io, panic,
    pin::{Pin, pin},
    task::Poll,
    thread,
    time::Duration,
};

use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::{Call, Caller, CellError, error::panic_message};

/// How many deadlines a call may be late by, after it was told to stop, before its thread counts as blocked. With the
/// deadline itself that makes three.
const PATIENCE: u32 = 2;

/// The thread and the runtime that one plugin instance lives on.
///
/// Dropping it never blocks. A healthy one ends what it runs at the next `.await`; a thread that is blocked is left
/// behind, and ends if it ever comes back.
#[derive(Debug)]
pub struct Cell {
    handle: Handle,
    /// Wakes the cell only if it has nothing to do: to spawn from another thread wakes it each time, which costs more than
    /// many a call takes.
    calls: mpsc::UnboundedSender<Started>,
    threads: Threads,
}

/// What a call runs in the cell.
type Started = Pin<Box<dyn Future<Output = ()> + Send>>;

#[derive(Debug)]
enum Threads {
    /// A current-thread runtime on a thread that runs it until the sender is dropped. No second thread means that a hop
    /// into the cell wakes exactly one.
    One(#[expect(dead_code, reason = "held for its drop")] oneshot::Sender<()>),
    /// A multi-thread runtime; `None` only while it is dropped.
    Many(Option<Runtime>),
}

impl Cell {
    /// Opens a cell whose threads – one at least – carry this name (Linux shows the first fifteen bytes).
    ///
    /// # Errors
    /// When the system gives no thread or no event queue.
    pub fn open(name: &str, threads: usize) -> io::Result<Cell> {
        if threads > 1 {
            let runtime = Builder::new_multi_thread().worker_threads(threads).thread_name(name).enable_all().build()?;
            let handle = runtime.handle().clone();
            return Ok(Cell { calls: take_calls(&handle, threads), handle, threads: Threads::Many(Some(runtime)) });
        }
        let runtime = Builder::new_current_thread().thread_name(name).enable_all().build()?;
        let handle = runtime.handle().clone();
        let calls = take_calls(&handle, 1);
        let (stay, left) = oneshot::channel::<()>();
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            // An error means that the sender is gone, which is what this waits for.
            let _ = runtime.block_on(left);
            // Not a plain drop: that would wait for blocking work of the plugin, and hold back nobody but this thread.
            runtime.shutdown_background();
        })?;
        Ok(Cell { calls, handle, threads: Threads::One(stay) })
    }

    /// Starts `future` in the cell. It is told to stop when the [`Call`] is dropped.
    pub fn start<F>(&self, future: F) -> Call<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        self.start_for(None, future)
    }

    /// The same for a [`Caller`], on whose thread the [`Call`] is waited for; its pump has to run.
    pub fn start_for<F>(&self, caller: Option<&Caller>, future: F) -> Call<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        let (called, call) = Call::new(caller);
        let handover = Handover { to: self.calls.clone(), call: Box::pin(called.answer(future)) };
        match caller {
            Some(caller) => caller.call(handover),
            None => handover.hand_over(),
        }
        call
    }

    /// Starts `future` in the cell and leaves it to itself.
    pub fn detach(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.handle.spawn(future);
    }

    /// Runs `future` in the cell and waits for it, however long it takes. Dropping the returned future lets it run on.
    ///
    /// # Errors
    /// [`CellError::Panicked`] and [`CellError::Closed`].
    pub async fn run<F>(&self, future: F) -> Result<F::Output, CellError>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        self.handle.spawn(future).await.map_err(|err| match err.try_into_panic() {
            Ok(payload) => CellError::panicked(&*payload),
            Err(_) => CellError::Closed,
        })
    }

    /// Runs `future` in the cell and waits for it up to `limit`; then it is told to stop, and waited for twice as long
    /// again. A call that comes back in that time with a result is taken at its word.
    ///
    /// The returned future keeps its own time, on the caller's runtime: nothing that happens in the cell makes it later.
    ///
    /// # Errors
    /// Every [`CellError`].
    pub async fn run_for<F>(&self, limit: Duration, future: F) -> Result<F::Output, CellError>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        let mut task = self.handle.spawn(future);
        let mut late = false;
        let ended = match timeout(limit, &mut task).await {
            Ok(ended) => ended,
            Err(_) => {
                late = true;
                task.abort();
                timeout(limit.saturating_mul(PATIENCE), &mut task).await.map_err(|_| CellError::Stuck)?
            }
        };
        ended.map_err(|err| match err.try_into_panic() {
            Ok(payload) => CellError::panicked(&*payload),
            Err(_) if late => CellError::Late,
            Err(_) => CellError::Closed,
        })
    }

    /// Drops `value` in the cell: a plugin's own `drop` may block too. Does not wait for it.
    pub fn dispose<T: Send + 'static>(&self, value: T) {
        self.handle.spawn(async move { drop(value) });
    }

    /// Runs `future` where it is, and turns a panic into its message: for one of several calls that share a hop into the
    /// cell.
    ///
    /// # Errors
    /// What is told of the panic: its message, where that is a fixed text.
    pub async fn catch<F: Future>(future: F) -> Result<F::Output, String> {
        let mut future = pin!(future);
        poll_fn(|cx| {
            // Unwind safety: after a panic the future is not touched again but to be dropped.
            match panic::catch_unwind(panic::AssertUnwindSafe(|| future.as_mut().poll(cx))) {
                Ok(poll) => poll.map(Ok),
                Err(payload) => Poll::Ready(Err(message(&*payload))),
            }
        })
        .await
    }
}

/// A call on its way into a cell.
pub(crate) struct Handover {
    to: mpsc::UnboundedSender<Started>,
    call: Started,
}

impl Handover {
    pub(crate) fn hand_over(self) {
        // Of a cell that is closed nothing is taken, and the result says so.
        let _ = self.to.send(self.call);
    }
}

/// Starts, in the cell, what is called there. With one thread most calls are back at their first poll, and that needs no task
/// of its own; with several each is a task, so that they run side by side.
fn take_calls(handle: &Handle, threads: usize) -> mpsc::UnboundedSender<Started> {
    let (calls, mut called) = mpsc::unbounded_channel::<Started>();
    handle.spawn(async move {
        while let Some(mut call) = called.recv().await {
            let is_over = threads == 1 && poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx).is_ready())).await;
            if !is_over {
                tokio::spawn(call);
            }
        }
    });
    calls
}

fn message(payload: &(dyn Any + Send)) -> String {
    panic_message(payload).to_owned()
}

impl Drop for Cell {
    fn drop(&mut self) {
        // A dropped `Runtime` would wait for its threads, and panic when that happens in async code.
        if let Threads::Many(runtime) = &mut self.threads
            && let Some(runtime) = runtime.take()
        {
            runtime.shutdown_background();
        }
    }
}
