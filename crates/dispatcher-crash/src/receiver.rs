//! An HTTP receiver with moods, which notes everything that it gets.

use std::{
    io::{self, ErrorKind, Write as _},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use fastrand::Rng;

use crate::{callback, history::History, wire};

/// How a receiver treats what comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Takes it.
    Well,
    /// Takes it after a while, well within the sink's patience.
    Slow,
    /// Takes it, and closes half-way through its answer.
    Torn,
    /// Takes it, and closes without an answer.
    Silent,
    /// Reads it and never answers.
    Hanging,
    /// Answers with this status.
    Status(u16),
    /// Answers 429, come back in a second.
    Later,
    /// Does not even listen.
    Gone,
    /// One of the above for each request, mostly well.
    Any,
}

impl Mood {
    /// The moods of a bad day.
    pub(crate) const BAD: [Mood; 10] = [
        Mood::Slow,
        Mood::Torn,
        Mood::Silent,
        Mood::Hanging,
        Mood::Status(500),
        Mood::Status(503),
        Mood::Status(404),
        Mood::Later,
        Mood::Gone,
        Mood::Any,
    ];
}

/// One receiver, on a port of its own. It ends when it is dropped.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    name: &'static str,
    history: Arc<History>,
    mood: Mutex<Mood>,
    rng: Mutex<Rng>,
    is_over: AtomicBool,
}

impl Receiver {
    pub(crate) fn start(name: &'static str, history: Arc<History>, rng: &mut Rng) -> io::Result<Receiver> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let (mood, rng) = (Mutex::new(Mood::Well), Mutex::new(rng.fork()));
        let shared = Arc::new(Shared { name, history, mood, rng, is_over: AtomicBool::new(false) });
        let acceptors = shared.clone();
        let acceptor = thread::spawn(move || accept(listener, address, &acceptors));
        Ok(Receiver { address, shared, acceptor: Some(acceptor) })
    }

    pub(crate) fn set_mood(&self, mood: Mood) {
        *self.shared.mood.lock().unwrap_or_else(PoisonError::into_inner) = mood;
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

impl Shared {
    fn mood(&self) -> Mood {
        *self.mood.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// The mood for one request.
    fn mood_of_the_moment(&self) -> Mood {
        match self.mood() {
            Mood::Any => {
                let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
                if rng.u32(..10) > 0 {
                    return Mood::Well;
                }
                match Mood::BAD[rng.usize(..Mood::BAD.len())] {
                    Mood::Any | Mood::Gone => Mood::Silent,
                    mood => mood,
                }
            }
            mood => mood,
        }
    }
}

/// Accepts until it is over. While it is gone, the port is closed.
fn accept(listener: TcpListener, address: SocketAddr, shared: &Arc<Shared>) {
    let mut listener = Some(listener);
    while !shared.is_over() {
        if shared.mood() == Mood::Gone {
            listener = None;
        } else if listener.is_none() {
            listener = TcpListener::bind(address).ok();
        }
        let accepted = listener.as_ref().and_then(|listener| {
            listener.set_nonblocking(true).ok()?;
            listener.accept().ok()
        });
        match accepted {
            Some((stream, _)) => {
                let shared = shared.clone();
                thread::spawn(move || {
                    // An end is an end, in order or not: the dispatcher is killed all the time.
                    let _ = serve(stream, &shared);
                });
            }
            None => thread::sleep(Duration::from_millis(1)),
        }
    }
}

fn serve(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_millis(100)))?;
    let mut buffer = Vec::new();
    loop {
        let message = match wire::read(&mut stream, &mut buffer, true) {
            Ok(Some(message)) => message,
            Ok(None) => return Ok(()),
            Err(err) if matches!(err.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) && !shared.is_over() => {
                continue;
            }
            Err(err) => return Err(err),
        };
        let mood = shared.mood_of_the_moment();
        let is_taken = matches!(mood, Mood::Well | Mood::Slow | Mood::Torn | Mood::Silent);
        match callback::recognise(&message.body, is_taken) {
            Some(delivery) => shared.history.delivered(shared.name, delivery),
            None => shared.history.nonsense(format!(
                "{} got what is no event of ours: {} {}",
                shared.name,
                message.target,
                String::from_utf8_lossy(&message.body)
            )),
        }
        answer(&mut stream, mood, shared)?;
    }
}

fn answer(stream: &mut TcpStream, mood: Mood, shared: &Shared) -> io::Result<()> {
    match mood {
        Mood::Well | Mood::Any => reply(stream, 200, ""),
        Mood::Slow => {
            thread::sleep(Duration::from_millis(60));
            reply(stream, 200, "")
        }
        Mood::Torn => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Le")?;
            end(stream)
        }
        Mood::Silent | Mood::Gone => end(stream),
        Mood::Hanging => {
            // Longer than the sink waits, and no longer than the trial.
            for _ in 0..15 {
                if shared.is_over() {
                    break;
                }
                thread::sleep(Duration::from_millis(50));
            }
            end(stream)
        }
        Mood::Status(status) => reply(stream, status, ""),
        Mood::Later => reply(stream, 429, "Retry-After: 1\r\n"),
    }
}

fn reply(stream: &mut TcpStream, status: u16, header: &str) -> io::Result<()> {
    // In one piece: a peer that reads the first and closes would make the second an error.
    let text = format!("HTTP/1.1 {status} As said\r\n{header}Content-Length: 0\r\n\r\n");
    stream.write_all(text.as_bytes())
}

fn end(stream: &TcpStream) -> io::Result<()> {
    stream.shutdown(Shutdown::Both)?;
    Err(ErrorKind::ConnectionAborted.into())
}
