//! The load: several senders, each with keys of its own, whose callbacks it sends one after another.

use std::{
    io::{self, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use fastrand::Rng;

use crate::{
    callback::{self, KEYS},
    history::{Answer, History},
    wire,
};

const SENDERS: usize = 12;

/// How long an answer may take. The dispatcher answers within 1.5 s, or is dead or was never asked.
const PATIENCE: Duration = Duration::from_secs(5);

/// The code of a callback that was not stored in time; see the README of `dispatcher-intake`.
const JOURNAL_LATE: &str = "503003";

/// How many acknowledged callbacks may be on their way before the load waits: what is under way at the end of a trial has to
/// arrive, and the trial is not about backlogs.
const BACKLOG: u64 = 1_500;

/// How the load is to behave.
#[derive(Clone, Copy)]
pub(crate) struct LoadOptions {
    /// Whether some callbacks are sent again, after an answer or for want of one.
    pub(crate) repeats: bool,
    /// Pause between two callbacks of a sender.
    pub(crate) pause: Duration,
}

/// Senders at work. They stop when this is dropped.
pub(crate) struct Load {
    shared: Arc<Shared>,
    senders: Vec<JoinHandle<()>>,
}

struct Shared {
    address: SocketAddr,
    history: Arc<History>,
    receivers: Vec<&'static str>,
    options: LoadOptions,
    is_running: AtomicBool,
    is_over: AtomicBool,
}

impl Load {
    /// Starts senders, which wait until they are told to go on.
    pub(crate) fn start(
        address: SocketAddr,
        history: Arc<History>,
        receivers: Vec<&'static str>,
        options: LoadOptions,
        rng: &mut Rng,
    ) -> Load {
        let (is_running, is_over) = (AtomicBool::new(false), AtomicBool::new(false));
        let shared = Arc::new(Shared { address, history, receivers, options, is_running, is_over });
        let sender = |index| {
            let (shared, rng) = (shared.clone(), rng.fork());
            thread::spawn(move || Sender { shared, rng, connection: None }.run(index))
        };
        let senders = (0..SENDERS).map(sender).collect();
        Load { shared, senders }
    }

    pub(crate) fn run(&self, is_running: bool) {
        self.shared.is_running.store(is_running, Ordering::Relaxed);
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        for sender in self.senders.drain(..) {
            let _ = sender.join();
        }
    }
}

struct Sender {
    shared: Arc<Shared>,
    rng: Rng,
    connection: Option<(TcpStream, Vec<u8>)>,
}

impl Sender {
    fn run(mut self, index: usize) {
        let keys: Vec<usize> = (0..KEYS).filter(|key| key % SENDERS == index).collect();
        let mut turn = 0;
        while !self.shared.is_over.load(Ordering::Relaxed) {
            let is_busy = self.shared.history.backlog(&self.shared.receivers) > BACKLOG;
            if is_busy || !self.shared.is_running.load(Ordering::Relaxed) || !self.is_connected() {
                thread::sleep(Duration::from_millis(1));
                continue;
            }
            self.send_next(keys[turn % keys.len()]);
            turn += 1;
            if !self.shared.options.pause.is_zero() {
                thread::sleep(self.shared.options.pause);
            }
        }
    }

    fn send_next(&mut self, key: usize) {
        let number = self.shared.history.send(key);
        let answer = self.send(number, key);
        // As Tencent may: what was not answered is sent again, and once in a while what was.
        let chance = if answer == Answer::None { 3 } else { 20 };
        if self.shared.options.repeats && self.rng.u32(..chance) == 0 && self.is_connected() {
            self.shared.history.repeat(number);
            self.send(number, key);
        }
    }

    fn send(&mut self, number: u64, key: usize) -> Answer {
        let sent_at = Instant::now();
        let answer = self.ask(&callback::request(number, key)).unwrap_or(Answer::None);
        if answer == Answer::None {
            self.connection = None;
        }
        self.shared.history.answered(number, sent_at, answer);
        answer
    }

    fn ask(&mut self, request: &[u8]) -> io::Result<Answer> {
        let Some((stream, buffer)) = &mut self.connection else { return Ok(Answer::None) };
        stream.write_all(request)?;
        let Some(answer) = wire::read(stream, buffer, false)? else { return Ok(Answer::None) };
        let says = |text: &str| String::from_utf8_lossy(&answer.body).contains(text);
        Ok(match answer.status {
            200 if says(r#""ActionStatus":"OK""#) => Answer::Ok,
            503 if says(JOURNAL_LATE) => Answer::Late,
            _ => Answer::Refused,
        })
    }

    /// Connects where there is no connection: nothing counts as sent before that worked.
    fn is_connected(&mut self) -> bool {
        if self.connection.is_none() {
            let connected = TcpStream::connect_timeout(&self.shared.address, Duration::from_secs(1));
            self.connection = connected.ok().and_then(|stream| {
                stream.set_nodelay(true).ok()?;
                stream.set_read_timeout(Some(PATIENCE)).ok()?;
                stream.set_write_timeout(Some(PATIENCE)).ok()?;
                Some((stream, Vec::new()))
            });
        }
        self.connection.is_some()
    }
}
