//! One worker: a thread with a runtime of its own, its connections, its port to the journal.
//!
//! A connection stays with its worker, so nothing on a request's way is shared between threads but the journal.

use std::{
    collections::HashMap,
    future::poll_fn,
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    task::Poll,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use dispatcher_cell::Caller;
use dispatcher_journal::{Journal, Port};
use tokio::{
    runtime::Runtime,
    sync::{Notify, mpsc},
    task::yield_now,
    time::{MissedTickBehavior, interval, timeout},
};
use tracing::debug;

use crate::{
    connection::{Connection, Order, Place, serve},
    counters::Tally,
    places::Seat,
    replay_window::ReplayWindow,
    rules::Rules,
};

/// What all workers have in common, whatever is configured.
pub(crate) struct Common {
    pub(crate) journal: Journal, // For what comes after an answer; callbacks go through the worker's port.
    pub(crate) appends: Steady,  // Whether the last append of an after callback worked.
    pub(crate) replays: ReplayWindow,
    pub(crate) is_lingering: AtomicBool, // Whether each answer is to be the last of its connection.
    pub(crate) records: Steady,          // Whether the journal took the last record of a before callback.
}

/// Something that works, or does not, and is worth a log line when that changes.
pub(crate) struct Steady {
    works: AtomicBool,
    failed_at: AtomicU64, // The last time, in milliseconds.
}

impl Steady {
    /// For how long nothing may have failed before it works again, in milliseconds: at the bound of what can be done, what
    /// works and what does not take turns, and each would be news.
    const QUIET: u64 = 5_000;

    pub(crate) fn working() -> Steady {
        Steady { works: AtomicBool::new(true), failed_at: AtomicU64::new(0) }
    }

    /// Whether it is news that it `works` now.
    pub(crate) fn change(&self, works: bool, now: u64) -> bool {
        if !works {
            self.failed_at.store(now, Relaxed);
            return self.works.swap(false, Relaxed);
        }
        // Nearly always it worked before, and then the cache line stays shared between the workers.
        !self.works.load(Relaxed)
            && now.saturating_sub(self.failed_at.load(Relaxed)) >= Steady::QUIET
            && !self.works.swap(true, Relaxed)
    }
}

/// How many connections are opened or closed before whoever else has something to do gets a turn: a thousand that come or run out
/// of time at once would hold up callbacks for many milliseconds.
const AT_ONCE: usize = 16;

/// A callback that is being answered.
pub(crate) struct InFlight<'w>(&'w AtomicUsize);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// A connection on its way to a worker.
pub(crate) struct Accepted {
    pub(crate) stream: TcpStream,
    pub(crate) peer: SocketAddr,
    pub(crate) seat: Seat,
}

/// What the connections of one worker share.
pub(crate) struct Worker {
    pub(crate) common: Arc<Common>,
    pub(crate) port: Port,
    pub(crate) caller: Caller, // Of the deciders.
    pub(crate) tally: Arc<Tally>,
    rules: ArcSwap<Rules>,
    started: Instant,
    now: AtomicU64,           // Milliseconds since `started`, as of the last look at the clocks.
    n_in_flight: AtomicUsize, // Callbacks that are being answered.
    // Locked when a connection comes or goes and at each look, by this worker's thread alone but for orders to all.
    connections: Mutex<HashMap<u64, Arc<Connection>>>,
    emptied: Notify,
}

impl Worker {
    pub(crate) fn new(common: Arc<Common>, rules: Rules, port: Port) -> Worker {
        let tally = Arc::<Tally>::default();
        Worker {
            common,
            port,
            caller: Caller::default(),
            rules: ArcSwap::from_pointee(rules.counted_in(&tally)),
            tally,
            started: Instant::now(),
            now: AtomicU64::new(0),
            n_in_flight: AtomicUsize::new(0),
            connections: Mutex::default(),
            emptied: Notify::new(),
        }
    }

    /// Serves the connections that come in through `accepted` until there will be no more of them; then answers what is
    /// there and closes. `drain_within` is asked once, then; what is still open when that is over is cut.
    ///
    /// Returns how many were cut.
    pub(crate) fn run(
        self: Arc<Worker>,
        runtime: &Runtime,
        mut accepted: mpsc::UnboundedReceiver<Accepted>,
        drain_within: impl FnOnce() -> Duration,
    ) -> usize {
        runtime.block_on(async {
            let worker = self.clone();
            let pump = tokio::spawn(async move { tokio::join!(worker.port.pump(), worker.caller.pump()) });
            let worker = self.clone();
            let look = tokio::spawn(async move { worker.keep_looking().await });
            let mut next_id = 0;
            while let Some(accepted) = accepted.recv().await {
                self.open(next_id, accepted);
                next_id += 1;
                if next_id.is_multiple_of(AT_ONCE as u64) {
                    yield_now().await;
                }
            }
            let n_cut = self.drain(drain_within()).await;
            look.abort();
            self.tally.round.end();
            pump.abort();
            n_cut
        })
    }

    /// What a request that begins now goes by, to its end.
    pub(crate) fn rules(&self) -> Arc<Rules> {
        self.rules.load_full()
    }

    /// Gives whatever begins from now on other rules. Where those want TLS and the last did not, who is connected without it
    /// may finish the request that is there, and has to come again; and so has who was let in by a certificate, or without,
    /// and would not be now.
    pub(crate) fn replace(&self, rules: Rules) {
        let (before, now) = (self.rules.load().options.tls.clone(), rules.options.tls.clone());
        self.rules.store(Arc::new(rules.counted_in(&self.tally)));
        match (before, now) {
            (None, Some(_)) => self.order(Order::Finish),
            (Some(before), Some(now)) if !now.judges_as(&before) => {
                // Not while the connections are locked: to judge takes as long as a handshake does.
                let open: Vec<_> = self.connections().values().cloned().collect();
                let out = open.iter().filter(|connection| !connection.is_let_in(&now));
                out.for_each(|connection| connection.order(Order::Finish));
            }
            _ => {}
        }
    }

    /// The time, in milliseconds, as of the last look at the clocks.
    pub(crate) fn now(&self) -> u64 {
        self.now.load(Relaxed)
    }

    /// How many connections it has, with those on their way to it.
    pub(crate) fn n_connections(&self) -> usize {
        self.tally.n_connections.load(Relaxed)
    }

    /// Counts a callback that is being answered, until what is returned is dropped, if fewer than `limit` are.
    pub(crate) fn begin(&self, limit: usize) -> Option<InFlight<'_>> {
        if self.n_in_flight.load(Relaxed) >= limit {
            return None;
        }
        self.n_in_flight.fetch_add(1, Relaxed);
        Some(InFlight(&self.n_in_flight))
    }

    /// Counts a connection that is on its way.
    pub(crate) fn expect(&self) {
        self.tally.n_connections.fetch_add(1, Relaxed);
    }

    /// Takes back [`expect`](Worker::expect), or the connection's being there.
    pub(crate) fn forget(&self, id: u64) {
        self.tally.n_connections.fetch_sub(1, Relaxed);
        let mut connections = self.connections();
        connections.remove(&id);
        if connections.is_empty() {
            self.emptied.notify_one();
        }
    }

    fn open(self: &Arc<Worker>, id: u64, accepted: Accepted) {
        let Accepted { stream, peer, seat } = accepted;
        let place = Place { id, worker: self.clone(), seat };
        let stream = match tokio::net::TcpStream::from_std(stream) {
            Ok(stream) => stream,
            Err(err) => {
                debug!(%peer, %err, "connection lost before it was served");
                return drop(place);
            }
        };
        self.tally.count(crate::Outcome::Connection);
        let connection = Arc::new(Connection::new(self.clone(), peer));
        self.connections().insert(id, connection.clone());
        tokio::spawn(serve(stream, connection, place));
    }

    /// Has the connection that a proxy says comes from `client`, or does not say of whom, in the place of the one with this
    /// id, with its time and its orders. `None` if that is gone.
    pub(crate) fn introduce(&self, id: u64, client: Option<SocketAddr>) -> Option<Arc<Connection>> {
        let mut connections = self.connections(); // Orders to all are given under this lock: none goes astray.
        let connection = connections.get_mut(&id)?;
        *connection = Arc::new(connection.coming_from(client));
        Some(connection.clone())
    }

    async fn keep_looking(&self) {
        let (mut every, mut ticks) = (Duration::ZERO, interval(Duration::from_millis(1)));
        let (mut limits, mut due) = (self.rules.load().limits, Vec::new());
        loop {
            // Between those that are closed, too: the time to answer in is kept by looking.
            let is_time = match due.is_empty() {
                true => {
                    ticks.tick().await;
                    true
                }
                false => {
                    yield_now().await;
                    poll_fn(|cx| Poll::Ready(ticks.poll_tick(cx).is_ready())).await
                }
            };
            if is_time {
                limits = self.rules.load().limits;
                if every != limits.look_every() {
                    every = limits.look_every();
                    ticks = interval(every);
                    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                }
                let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
                self.now.store(now, Relaxed);
                self.tally.round.begin();
                due = self.connections().values().filter(|connection| connection.look(&limits)).cloned().collect();
            }
            let rest = due.len().saturating_sub(AT_ONCE);
            due.drain(rest..).for_each(|connection| connection.close_if_due(&limits));
        }
    }

    async fn drain(&self, within: Duration) -> usize {
        self.order(Order::Finish);
        let emptied = async {
            while !self.connections().is_empty() {
                self.emptied.notified().await;
            }
        };
        if timeout(within, emptied).await.is_ok() {
            return 0;
        }
        // Who has yet to send a request, or to read a reply, has lost nothing by our fault.
        let n_cut = self.connections().values().filter(|connection| connection.is_serving()).count();
        self.order(Order::Close);
        n_cut
    }

    fn order(&self, order: Order) {
        self.connections().values().for_each(|connection| connection.order(order));
    }

    fn connections(&self) -> MutexGuard<'_, HashMap<u64, Arc<Connection>>> {
        // Nothing panics while it is held, and a map is whole between any two of its calls.
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_now_and_then_is_news_once() {
        let steady = Steady::working();
        assert!(!steady.change(true, 0) && steady.change(false, 1_000) && !steady.change(false, 1_001));
        for now in (2_000..60_000).step_by(1_000) {
            assert!(!steady.change(true, now) && !steady.change(false, now), "at {now}");
        }
        let last = 59_000;
        assert!(!steady.change(true, last + Steady::QUIET - 1));
        assert!(steady.change(true, last + Steady::QUIET) && !steady.change(true, last + Steady::QUIET));
        assert!(steady.change(false, last + 2 * Steady::QUIET));
    }
}
