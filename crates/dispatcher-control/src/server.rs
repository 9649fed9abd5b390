//! Answers those who ask through the socket, each on a thread of its own.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::Shutdown,
    os::{fd::AsFd, unix::net::UnixStream},
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracing::{debug, warn};

use crate::{
    Answer, Asker, Audit, Gone, Operations, Request,
    socket::{Socket, peer},
    wire::{MAX_REQUEST, answer_line, read_request},
};

/// How many are answered at once.
const MAX_CONNECTIONS: usize = 16;

/// How long a request may take to arrive.
const REQUEST_WITHIN: Duration = Duration::from_secs(10);

/// How long answers wait for someone to read them: a person may look at a page of them for a while. When all connections
/// are taken, whoever has not read for `PATIENCE` makes room.
const READ_WITHIN: Duration = Duration::from_secs(3600);
const PATIENCE: Duration = Duration::from_secs(1);

/// Answers requests through `<journal>.sock`, until it is [stopped](Server::stop) or dropped.
pub struct Server {
    shared: Arc<Shared>,
    /// Its other end tells the accepting thread to stop, by being closed.
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    stopping: AtomicBool,
    connections: Mutex<Vec<Arc<Connection>>>,
}

/// Someone who is answered.
struct Connection {
    stream: UnixStream,
    /// Since when an answer waits to be read.
    blocked: Mutex<Option<Instant>>,
}

impl Server {
    /// Listens beside the journal, whose lock the caller holds by having it open. The file of the socket is its owner's
    /// alone from the beginning; only processes of the same user, and root's, are answered.
    ///
    /// # Errors
    /// When there can be no such socket, as in a folder with a path of more than about 100 bytes, or the system gives no
    /// thread. Without a socket the dispatcher works as ever, and the command line cannot ask it anything.
    pub fn start(journal: &Path, operations: Operations, audit: Audit) -> io::Result<Server> {
        let socket = Socket::bind(journal)?;
        let shared = Arc::new(Shared { stopping: AtomicBool::new(false), connections: Mutex::default() });
        let (stop, stopped) = UnixStream::pair()?;
        let accepting = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || accept(&socket, &stopped, &accepting, &operations, &audit))?;
        Ok(Server { shared, stop: Some(stop), thread: Some(thread) })
    }

    /// Answers nobody any more: what is under way ends with its current step. Blocks until nothing here uses the journal;
    /// calling it again does no harm.
    pub fn stop(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
        drop(self.stop.take());
        for connection in lock(&self.shared.connections).iter() {
            let _ = connection.stream.shutdown(Shutdown::Both);
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Accepts until it is told to stop, and then waits for all threads.
fn accept(socket: &Socket, stopped: &UnixStream, shared: &Arc<Shared>, operations: &Operations, audit: &Audit) {
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    while !shared.stopping.load(Ordering::Acquire) {
        if let Err(err) = wait(&[socket.listener.as_fd(), stopped.as_fd()], PollFlags::IN, None) {
            warn!(%err, "the control socket waits for nobody any more; the dispatcher goes on");
            break;
        }
        threads.retain(|thread| !thread.is_finished());
        let stream = match socket.listener.accept() {
            Ok((stream, _)) => stream,
            Err(err) if err.kind() == io::ErrorKind::WouldBlock => continue,
            Err(err) => {
                // Too many open files, say: whoever asks can ask again. Not at once, which would only be busy.
                debug!(%err, "a connection to the control socket was not accepted");
                let _ = wait(&[stopped.as_fd()], PollFlags::IN, Some(Duration::from_millis(100)));
                continue;
            }
        };
        // A listener's mode is not inherited on Linux, and elsewhere it is.
        let Some(actor) = peer(&stream).filter(|_| stream.set_nonblocking(false).is_ok()) else { continue };
        let Some(connection) = shared.enter(stream) else { continue };
        let its = Its { shared: Arc::clone(shared), connection: Arc::clone(&connection) };
        let (operations, audit) = (operations.renewed(), audit.clone());
        let spawned = thread::Builder::new().name("control".to_owned()).spawn(move || {
            converse(&its.connection, &its.shared, |request, asker| audit.answer(actor, &operations, request, asker));
        });
        match spawned {
            Ok(thread) => threads.push(thread),
            Err(err) => {
                warn!(%err, "the control socket got no thread, and answers nobody who asks now");
                turn_away(
                    &connection.stream,
                    "the system gives the dispatcher no thread to answer with; try again later",
                );
            }
        }
    }
    for thread in threads {
        let _ = thread.join();
    }
}

/// Says why nobody answers, as far as that goes without waiting.
fn turn_away(stream: &UnixStream, why: &str) {
    if let Ok(line) = answer_line(&Answer::Failed(why.to_owned())) {
        // So short a line fits into what the system keeps for a new connection.
        let _ = stream.set_nonblocking(true).and_then(|()| (&*stream).write_all(&line));
    }
}

/// A connection's place among those that are open. Dropped with its thread, or without one where the system gives none: whoever
/// asks is then left waiting by nobody.
struct Its {
    shared: Arc<Shared>,
    connection: Arc<Connection>,
}

impl Drop for Its {
    fn drop(&mut self) {
        self.shared.leave(&self.connection);
    }
}

/// Reads the request, and gives the answers.
fn converse(
    connection: &Arc<Connection>,
    shared: &Arc<Shared>,
    answer: impl FnOnce(&Request, &mut dyn Asker) -> Result<(), Gone>,
) {
    let mut asker = Remote { connection, shared };
    let answered = match read(&connection.stream) {
        Ok(Ok(request)) => answer(&request, &mut asker),
        Ok(Err(what)) => asker.tell(Answer::Failed(what)),
        Err(_) => Err(Gone),
    };
    if answered.is_err() {
        debug!("someone at the control socket left before the last answer");
    }
    let _ = connection.stream.shutdown(Shutdown::Both);
}

pub(crate) fn read(stream: &UnixStream) -> io::Result<Result<Request, String>> {
    let until = Instant::now() + REQUEST_WITHIN;
    let mut line = Vec::new();
    let mut reader = BufReader::new(stream.take(MAX_REQUEST));
    loop {
        // A deadline for all of it: a byte now and then keeps no thread.
        let left = until.saturating_duration_since(Instant::now());
        stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        let buffer = match reader.fill_buf() {
            Err(err) if err.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        match buffer.iter().position(|byte| *byte == b'\n') {
            Some(end) => {
                line.extend_from_slice(&buffer[..end]);
                return Ok(read_request(&line));
            }
            None if buffer.is_empty() && line.is_empty() => return Err(io::ErrorKind::UnexpectedEof.into()),
            None if buffer.is_empty() => {
                return Ok(Err(format!(
                    "a request is one line of at most {MAX_REQUEST} bytes, with a line feed at its end"
                )));
            }
            None if left.is_zero() => return Err(io::ErrorKind::TimedOut.into()),
            None => {
                let n = buffer.len();
                line.extend_from_slice(buffer);
                reader.consume(n);
            }
        }
    }
}

/// Someone at the other end of a connection.
struct Remote<'a> {
    connection: &'a Connection,
    shared: &'a Shared,
}

impl Asker for Remote<'_> {
    fn tell(&mut self, answer: Answer) -> Result<(), Gone> {
        self.check()?;
        let line = answer_line(&answer).map_err(|_| Gone)?;
        *lock(&self.connection.blocked) = Some(Instant::now());
        let written = (&self.connection.stream).write_all(&line);
        *lock(&self.connection.blocked) = None;
        written.map_err(|_| Gone)
    }

    fn wait(&mut self, span: Duration) -> Result<(), Gone> {
        self.check()?;
        // No flag: only that the other end is gone, not that it has said all it wanted to, or more.
        match wait(&[self.connection.stream.as_fd()], PollFlags::empty(), Some(span)) {
            Ok(false) => self.check(),
            Ok(true) | Err(_) => Err(Gone),
        }
    }
}

impl Remote<'_> {
    fn check(&self) -> Result<(), Gone> {
        if self.shared.stopping.load(Ordering::Acquire) { Err(Gone) } else { Ok(()) }
    }
}

impl Shared {
    /// Takes someone in, if there is room or can be made. Else says so, as far as that goes without waiting.
    fn enter(&self, stream: UnixStream) -> Option<Arc<Connection>> {
        let mut connections = lock(&self.connections);
        if connections.len() >= MAX_CONNECTIONS {
            let blocked = |connection: &Arc<Connection>| *lock(&connection.blocked);
            let longest =
                connections.iter().filter(|one| blocked(one).is_some()).min_by_key(|one| blocked(one)).cloned();
            match longest.filter(|one| blocked(one).is_some_and(|since| since.elapsed() >= PATIENCE)) {
                Some(longest) => {
                    let _ = longest.stream.shutdown(Shutdown::Both);
                    connections.retain(|one| !Arc::ptr_eq(one, &longest));
                }
                None => {
                    let busy = "the dispatcher answers as many as it does at once; try again later";
                    turn_away(&stream, busy);
                    return None;
                }
            }
        }
        stream.set_write_timeout(Some(READ_WITHIN)).ok()?;
        let connection = Arc::new(Connection { stream, blocked: Mutex::default() });
        connections.push(Arc::clone(&connection));
        // `stop` may have been here already.
        (!self.stopping.load(Ordering::Acquire)).then_some(connection)
    }

    fn leave(&self, connection: &Arc<Connection>) {
        lock(&self.connections).retain(|one| !Arc::ptr_eq(one, connection));
    }
}

/// Waits until one of these is ready for `what`, or has ended; true then, false when the time is over.
fn wait(files: &[impl AsFd], what: PollFlags, span: Option<Duration>) -> io::Result<bool> {
    let until = span.map(|span| Instant::now() + span);
    loop {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        let mut files: Vec<PollFd<'_>> = files.iter().map(|file| PollFd::new(file, what)).collect();
        match poll(&mut files, left.as_ref()) {
            Err(rustix::io::Errno::INTR) => {}
            n => return Ok(n? > 0),
        }
    }
}

// A std mutex: held for a few assignments, which leave a sound value at every point.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
