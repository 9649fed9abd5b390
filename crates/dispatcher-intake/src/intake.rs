//! The intake as a whole: starting it, and ending it without losing what is in flight.

use std::{
    fmt, io,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use dispatcher_decider::Deciders;
use dispatcher_journal::Journal;
use rustix::net::sockopt::set_socket_send_buffer_size;
use tokio::{
    runtime::{Builder, Runtime},
    sync::{mpsc, oneshot},
};

use crate::{
    CommandRule, Counters, IntakeApp, IntakeOptions,
    accept::{Door, Hand, accept},
    counters::Tally,
    places::Places,
    replay_window::ReplayWindow,
    rules::Rules,
    worker::{Common, Steady, Worker},
};

/// Longer than anyone waits, and short enough to be added to a time.
const LONGEST_DRAIN: Duration = Duration::from_secs(365 * 24 * 3600);

/// How many connections may wait to be accepted, unless the system allows fewer (`net.core.somaxconn`). The standard library
/// asks for 128: a burst of more, as after an outage, would be let down for a second and longer.
const QUEUE: i32 = 4096;

/// What the kernel keeps of the replies that a peer has not taken yet: room for the longest there is, a message of Tencent's
/// rewritten. Linux keeps twice that. Left alone it would keep megabytes for every peer that asks on and reads nothing, and
/// who does that would be noticed only after thousands of callbacks.
const UNREAD_BYTES: usize = 16 << 10;

/// A running intake. Dropped without [`drain`](Intake::drain), it stops accepting and cuts its connections, without
/// waiting for any.
pub struct Intake {
    local_addr: SocketAddr,
    counters: Arc<Counters>,
    workers: Vec<Arc<Worker>>,
    common: Arc<Common>,
    places: Arc<Places>,
    stop: oneshot::Sender<()>,
    drain_until: Arc<OnceLock<Instant>>,
    ended: Vec<oneshot::Receiver<usize>>,
    threads: Vec<JoinHandle<()>>,
}

/// What an intake can [go by](Intake::go_by).
pub struct Prepared(Rules);

/// How a drain went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainReport {
    /// Connections that were closed in the middle of a request, for time was over.
    pub n_cut: usize,
}

impl Intake {
    /// Starts to answer on `listener`, on threads of its own. The journal has to stay open until the intake has ended.
    ///
    /// # Errors
    /// When the settings contradict each other, or the machine gives no thread.
    pub fn start(
        listener: TcpListener,
        options: IntakeOptions,
        apps: Vec<IntakeApp>,
        commands: Vec<CommandRule>,
        journal: &Journal,
        deciders: Deciders,
    ) -> Result<Intake, StartError> {
        let local_addr = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        rustix::net::listen(&listener, QUEUE).map_err(io::Error::from)?;
        // What is accepted inherits it.
        set_socket_send_buffer_size(&listener, UNREAD_BYTES).map_err(io::Error::from)?;
        let n_threads = options.threads.max(1);
        let (places, tls) = (Arc::new(Places::new(&options)), options.tls.clone());
        let rules = Rules::new(options, apps, commands, deciders, n_threads)?;
        let common = Arc::new(Common {
            journal: journal.clone(),
            appends: Steady::working(),
            records: Steady::working(),
            replays: ReplayWindow::new(),
            is_lingering: AtomicBool::new(false),
        });

        let drain_until = Arc::new(OnceLock::new());
        let (mut hands, mut ended, mut threads) = (Vec::new(), Vec::new(), Vec::new());
        for n in 0..n_threads {
            let worker = Arc::new(Worker::new(common.clone(), rules.clone(), journal.port()));
            let (connections, accepted) = mpsc::unbounded_channel();
            let (end, has_ended) = oneshot::channel();
            hands.push(Hand { worker: worker.clone(), connections });
            ended.push(has_ended);
            let (runtime, until) = (runtime()?, drain_until.clone());
            threads.push(spawn(&format!("intake-{n}"), move || {
                let drain_within = move || {
                    until
                        .get()
                        .map_or(Duration::ZERO, |until: &Instant| until.saturating_duration_since(Instant::now()))
                };
                // Nobody listens if the intake was dropped.
                let _ = end.send(worker.run(&runtime, accepted, drain_within));
            })?);
        }
        let at_the_door = Arc::new(Tally::default());
        let workers: Vec<Arc<Worker>> = hands.iter().map(|hand| hand.worker.clone()).collect();
        let counters = Arc::new(Counters::new(
            workers.iter().map(|worker| worker.tally.clone()).chain([at_the_door.clone()]).collect(),
            places.clone(),
        ));
        counters.set_tls(tls.as_ref());

        let (stop, stopped) = oneshot::channel();
        let runtime = runtime()?;
        let listener = {
            let _inside = runtime.enter(); // Where a socket is registered for readiness.
            tokio::net::TcpListener::from_std(listener)?
        };
        let seats = places.clone();
        threads.push(spawn("intake-accept", move || {
            runtime.block_on(accept(listener, hands, Door { places: seats, tally: at_the_door }, stopped));
        })?);
        Ok(Intake { local_addr, counters, workers, common, places, stop, drain_until, ended, threads })
    }

    /// Replaces all that it goes by. Requests that have begun keep what they began with, their deciders included, and
    /// connections what hyper was told of heads; every other request goes by the new rules when this returns.
    /// How many threads there are stays as it is: see [`IntakeOptions::needs_restart`]. Does not block.
    ///
    /// # Errors
    /// When the settings contradict each other; nothing is changed then.
    pub fn replace(
        &self,
        options: IntakeOptions,
        apps: Vec<IntakeApp>,
        commands: Vec<CommandRule>,
        deciders: Deciders,
    ) -> Result<(), StartError> {
        self.go_by(self.prepare(options, apps, commands, deciders)?);
        Ok(())
    }

    /// The same in two steps, of which only this one can fail, and only [`go_by`](Intake::go_by) changes something.
    ///
    /// # Errors
    /// When the settings contradict each other.
    pub fn prepare(
        &self,
        options: IntakeOptions,
        apps: Vec<IntakeApp>,
        commands: Vec<CommandRule>,
        deciders: Deciders,
    ) -> Result<Prepared, StartError> {
        Ok(Prepared(Rules::new(options, apps, commands, deciders, self.workers.len())?))
    }

    /// Goes by what was prepared, as [`replace`](Intake::replace) says.
    pub fn go_by(&self, prepared: Prepared) {
        let Prepared(rules) = prepared;
        self.workers.iter().for_each(|worker| worker.replace(rules.clone()));
        self.places.replace(&rules.options);
        self.counters.set_tls(rules.options.tls.as_ref());
    }

    /// The address that it answers on.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// What it counts.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        self.counters.clone()
    }

    /// From now on each answer is the last of its connection, and says so; connections are accepted as before. For the time
    /// that whoever sends here needs to notice that it is to send elsewhere. There is no way back.
    pub fn linger(&self) {
        self.common.is_lingering.store(true, Relaxed);
    }

    /// Stops accepting, closes what is idle, and waits until the requests that are there are answered, at most
    /// `within`; what is then still open is cut. The journal is needed until this returns.
    pub async fn drain(self, within: Duration) -> DrainReport {
        let until = Instant::now() + within.min(LONGEST_DRAIN);
        // Neither can fail: this is the only call, and a thread that is gone has nothing left to be told.
        let _ = self.drain_until.set(until);
        let _ = self.stop.send(());
        let mut n_cut = 0;
        for ended in self.ended {
            n_cut += ended.await.unwrap_or_default();
        }
        // Each has sent its last word: joining waits for no more than its runtime to be taken down.
        for thread in self.threads {
            let _ = thread.join();
        }
        DrainReport { n_cut }
    }
}

/// Why an intake did not start.
#[derive(Debug)]
pub enum StartError {
    /// Two apps have this SDKAppID.
    AppTwice(u64),
    /// The app with this SDKAppID has no token to verify its signatures with.
    NoToken(u64),
    /// The machine did not give what it takes: a socket, a thread.
    Io(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::AppTwice(id) => write!(f, "two apps have the sdk_app_id {id}; give each one once"),
            StartError::NoToken(id) => {
                write!(
                    f,
                    "the app {id} has no token to verify signatures with; set one in tokens, or signature = \"off\""
                )
            }
            StartError::Io(err) => write!(f, "cannot start the intake: {err}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StartError::Io(err) => Some(err),
            StartError::AppTwice(_) | StartError::NoToken(_) => None,
        }
    }
}

impl From<io::Error> for StartError {
    fn from(err: io::Error) -> StartError {
        StartError::Io(err)
    }
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_io().enable_time().build()
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(run)
}
