//! The receiver that relays post to: a thread of the benchmark, one epoll, which counts requests and answers 200.

use std::{
    collections::VecDeque,
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use memchr::memmem;
use mio::{
    Events, Interest, Poll, Token, Waker,
    net::{TcpListener, TcpStream},
};
use tokio::time::sleep;

use crate::generator::content_length;

/// How long nothing may arrive while something is missing.
const STALLED_AFTER: Duration = Duration::from_secs(20);
const POLL_EVERY: Duration = Duration::from_millis(2);

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
const LISTENER: Token = Token(usize::MAX);
const WAKER: Token = Token(usize::MAX - 1);

/// A receiver at work. Stopped when dropped.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    began: Instant,
    n_arrived: AtomicU64,
    /// When the last request was read, in nanoseconds since `began`.
    last_at: AtomicU64,
    is_stopped: AtomicBool,
    failure: Mutex<Option<String>>,
}

impl Receiver {
    /// Starts a receiver that takes so long for each request, of which any number may be under way.
    pub(crate) fn start(takes: Duration) -> Result<Self> {
        let mut listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0).into()).context("cannot start the receiver")?;
        let (address, poll) = (listener.local_addr()?, Poll::new()?);
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let shared = Arc::new(Shared {
            began: Instant::now(),
            n_arrived: AtomicU64::new(0),
            last_at: AtomicU64::new(0),
            is_stopped: AtomicBool::new(false),
            failure: Mutex::new(None),
        });
        let receiving =
            Receiving { poll, listener, connections: Vec::new(), takes, due: VecDeque::new(), shared: shared.clone() };
        let thread = thread::Builder::new().name("receiver".into()).spawn(move || receiving.run())?;
        Ok(Self { address, shared, waker, thread: Some(thread) })
    }

    /// Waits until so many requests have arrived since the start, and returns when the last of them had.
    pub(crate) async fn wait_for(&self, n_requests: u64) -> Result<Instant> {
        let (mut last, mut grew_at) = (self.n_arrived(), Instant::now());
        while last < n_requests {
            sleep(POLL_EVERY).await;
            if let Some(failure) = self.shared.failure().take() {
                bail!("the receiver failed: {failure}");
            }
            let n_arrived = self.n_arrived();
            if n_arrived > last {
                (last, grew_at) = (n_arrived, Instant::now());
            }
            ensure!(
                grew_at.elapsed() < STALLED_AFTER,
                "{last} of {n_requests} have arrived, and none came for {STALLED_AFTER:?}"
            );
        }
        ensure!(last == n_requests, "{last} have arrived of {n_requests}: some came twice");
        Ok(self.shared.began + Duration::from_nanos(self.shared.last_at.load(Ordering::Acquire)))
    }

    fn n_arrived(&self) -> u64 {
        self.shared.n_arrived.load(Ordering::Acquire)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.shared.is_stopped.store(true, Ordering::Release);
        // Should it fail, the thread ends with the benchmark.
        if self.waker.wake().is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn failure(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Receiving {
    poll: Poll,
    listener: TcpListener,
    connections: Vec<Option<Connection>>,
    takes: Duration,
    /// Answers to be given, by when. All take equally long: the first one in is the first one out.
    due: VecDeque<(Instant, usize)>,
    shared: Arc<Shared>,
}

struct Connection {
    stream: TcpStream,
    request: Vec<u8>, // What has arrived of a request that is not complete yet.
}

impl Receiving {
    fn run(mut self) {
        if let Err(err) = self.receive() {
            *self.shared.failure() = Some(format!("{err:#}"));
        }
    }

    fn receive(&mut self) -> Result<()> {
        let (mut events, mut received) = (Events::with_capacity(1024), vec![0; 64 * 1024]);
        while !self.shared.is_stopped.load(Ordering::Acquire) {
            let timeout = self.due.front().map(|(at, _)| at.saturating_duration_since(Instant::now()));
            match self.poll.poll(&mut events, timeout) {
                Err(err) if err.kind() == ErrorKind::Interrupted => continue,
                polled => polled?,
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept()?,
                    WAKER => {}
                    Token(idx) => self.read(idx, &mut received)?,
                }
            }
            while let Some(&(at, idx)) = self.due.front()
                && at <= Instant::now()
            {
                self.due.pop_front();
                self.answer(idx)?;
            }
        }
        Ok(())
    }

    fn accept(&mut self) -> Result<()> {
        loop {
            let mut stream = match self.listener.accept() {
                Err(err) if err.kind() == ErrorKind::WouldBlock => return Ok(()),
                accepted => accepted?.0,
            };
            stream.set_nodelay(true)?;
            let token = Token(self.connections.len());
            self.poll.registry().register(&mut stream, token, Interest::READABLE)?;
            self.connections.push(Some(Connection { stream, request: Vec::new() }));
        }
    }

    /// Reads all there is. A peer that is gone is forgotten: a killed server is no failure here.
    fn read(&mut self, idx: usize, received: &mut [u8]) -> Result<()> {
        loop {
            let Some(connection) = &mut self.connections[idx] else { return Ok(()) };
            let n_read = match connection.stream.read(received) {
                Err(err) if err.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(_) | Ok(0) => {
                    self.connections[idx] = None;
                    return Ok(());
                }
                Ok(n_read) => n_read,
            };
            connection.request.extend_from_slice(&received[..n_read]);
            let Some(len) = request_len(&connection.request)? else { continue };
            ensure!(connection.request.len() == len, "a second request came before the answer to the first");
            connection.request.clear();
            let now = Instant::now();
            self.shared.last_at.store((now - self.shared.began).as_nanos() as u64, Ordering::Release);
            self.shared.n_arrived.fetch_add(1, Ordering::Release);
            if self.takes.is_zero() {
                self.answer(idx)?;
            } else {
                self.due.push_back((now + self.takes, idx));
            }
        }
    }

    fn answer(&mut self, idx: usize) -> Result<()> {
        let Some(connection) = &mut self.connections[idx] else { return Ok(()) };
        // With one small answer under way, the socket's buffer always has room for it.
        match connection.stream.write(ANSWER) {
            Ok(n_sent) => ensure!(n_sent == ANSWER.len(), "sent only {n_sent} of {} bytes", ANSWER.len()),
            Err(_) => self.connections[idx] = None,
        }
        Ok(())
    }
}

/// The length of the request that `bytes` begin with; `None` while it is not complete.
fn request_len(bytes: &[u8]) -> Result<Option<usize>> {
    let Some(head_len) = memmem::find(bytes, b"\r\n\r\n").map(|at| at + 4) else { return Ok(None) };
    let body_len = content_length(&bytes[..head_len]).context("a request without content-length")?;
    Ok(Some(head_len + body_len).filter(|&len| bytes.len() >= len))
}

#[cfg(test)]
mod tests {
    use std::{io::BufRead, net};

    use super::*;

    #[test]
    fn a_request_is_complete_when_its_body_is() {
        let request = b"POST / HTTP/1.1\r\nhost: x\r\nContent-Length: 3\r\n\r\nabc";
        for n_bytes in 0..request.len() {
            assert_eq!(request_len(&request[..n_bytes]).unwrap(), None, "{n_bytes}");
        }
        assert_eq!(request_len(request).unwrap(), Some(request.len()));
        assert!(request_len(b"POST / HTTP/1.1\r\n\r\n").is_err());
    }

    #[tokio::test]
    async fn each_request_is_counted_and_answered() {
        for takes in [Duration::ZERO, Duration::from_millis(5)] {
            let receiver = Receiver::start(takes).unwrap();
            let mut stream = net::TcpStream::connect(receiver.address).unwrap();
            let mut answers = std::io::BufReader::new(stream.try_clone().unwrap());
            let began = Instant::now();
            for nth in 1..=3 {
                for part in ["POST / HTTP/1.1\r\nContent-", "Length: 2\r\n\r\n", "{}"] {
                    stream.write_all(part.as_bytes()).unwrap();
                }
                let mut status = String::new();
                answers.read_line(&mut status).unwrap();
                assert_eq!(status, "HTTP/1.1 200 OK\r\n");
                answers.read_line(&mut String::new()).unwrap();
                answers.read_line(&mut String::new()).unwrap();
                let last_at = receiver.wait_for(nth).await.unwrap();
                assert!(began <= last_at && last_at <= Instant::now());
                assert!(began.elapsed() >= takes * nth as u32, "answered early");
            }
        }
    }

    #[tokio::test]
    async fn more_than_were_sent_is_an_error() {
        let receiver = Receiver::start(Duration::ZERO).unwrap();
        let mut stream = net::TcpStream::connect(receiver.address).unwrap();
        for _ in 0..2 {
            stream.write_all(b"POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n").unwrap();
            stream.read_exact(&mut [0; ANSWER.len()]).unwrap();
        }
        assert!(receiver.wait_for(1).await.is_err());
        assert!(receiver.wait_for(2).await.is_ok());
    }
}
