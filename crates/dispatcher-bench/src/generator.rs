//! Sends requests over many connections from one thread with one epoll, and measures how long their answers take.

use std::{
    collections::VecDeque,
    io::{ErrorKind, Read, Write},
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use hdrhistogram::Histogram;
use memchr::memmem;
use mio::{Events, Interest, Poll, Token, net::TcpStream};

use crate::{
    calm::Slices,
    load::Span,
    request::Request,
    traffic::{Part, turns},
};

/// How long no connection at all may get an answer.
const STALLED_AFTER: Duration = Duration::from_secs(10);

/// Open connections, and the requests that go over them.
pub(crate) struct Generator {
    address: SocketAddr,
    poll: Poll,
    events: Events,
    received: Vec<u8>,
    connections: Vec<Connection>,
    requests: Requests,
    /// Whether refusals are answers too.
    too_much: bool,
}

/// What comes next.
struct Requests {
    of_parts: Vec<Request>,
    replies: Vec<Option<String>>, // What each part ought to get.
    turns: Vec<usize>,
    n_made: usize,
}

struct Connection {
    stream: TcpStream,
    part: usize,
    due: Instant,
    waits_since: Instant,
    is_busy: bool,    // A request is under way.
    is_refused: bool, // The last one was.
    is_closed: bool,
    answer: Vec<u8>, // What has arrived of an answer that is not complete yet.
}

/// What was answered, by the parts of the traffic.
pub(crate) struct Answers {
    pub(crate) parts: Vec<PartAnswers>,
}

pub(crate) struct PartAnswers {
    /// Of those that got an OK, in nanoseconds.
    pub(crate) waits: Histogram<u64>,
    /// The same of what was due in calm slices, at a fixed rate that the server is meant to keep up with.
    pub(crate) calm_waits: Histogram<u64>,
    /// From when a request was due.
    pub(crate) longest: Duration,
    /// How many are not what this part ought to get, and the first of them.
    pub(crate) unexpected: u64,
    pub(crate) refused: u64,
    pub(crate) example: Option<String>,
}

impl Generator {
    /// Opens the connections. With `too_much`, refusals count, and do not end it.
    pub(crate) fn connect(address: SocketAddr, n_connections: usize, parts: &[Part], too_much: bool) -> Result<Self> {
        let poll = Poll::new()?;
        let connections = (0..n_connections).map(|idx| Connection::open(address, idx, &poll));
        let connections = connections.collect::<Result<_>>()?;
        let (events, received) = (Events::with_capacity(n_connections), vec![0; 16 * 1024]);
        let requests = Requests::new(&address.to_string(), parts);
        Ok(Self { address, poll, events, received, connections, requests, too_much })
    }

    /// Keeps one request under way on each connection for `span`, and reads what is still under way after it.
    pub(crate) fn send_in_turn(&mut self, span: Span) -> Result<Answers> {
        let mut answers = Answers::none(self.requests.replies.len());
        let mut answered = Vec::with_capacity(self.connections.len());
        self.requests.keep_fresh();
        let until = Instant::now() + span.time();
        let mut n_sent = 0;
        for connection in self.connections.iter_mut().take(usize::try_from(span.requests).unwrap_or(usize::MAX)) {
            let now = Instant::now();
            connection.send(&mut self.requests, now, now, self.too_much)?;
            n_sent += 1;
        }
        let mut n_under_way = n_sent;
        while n_under_way > 0 {
            let heard = self.read(STALLED_AFTER, &mut answered, &mut answers)?;
            ensure!(heard, "no answer on any of {n_under_way} connections for {STALLED_AFTER:?}");
            for idx in answered.drain(..) {
                let (now, connection) = (Instant::now(), &mut self.connections[idx]);
                answers.count(connection, now);
                if now < until && n_sent < span.requests {
                    connection.send(&mut self.requests, now, now, self.too_much)?;
                    n_sent += 1;
                } else {
                    n_under_way -= 1;
                }
            }
        }
        Ok(answers)
    }

    /// Sends `rate` requests per second for `span`, and reads what is still under way after it.
    ///
    /// A wait begins when the request is sent; but when it was due while all connections were busy, it begins then. So
    /// that the server's stalls count in full, and the generator's own lateness, up to a millisecond, does not. In the
    /// longest of a part, both count.
    pub(crate) fn send_at(&mut self, rate: f64, span: Span) -> Result<Answers> {
        let mut answers = Answers::none(self.requests.replies.len());
        let mut answered = Vec::with_capacity(self.connections.len());
        let mut idle: VecDeque<usize> = (0..self.connections.len()).collect();
        let mut n_requests = ((span.seconds * rate) as u64).min(span.requests);
        let (mut n_sent, mut n_answered, mut n_kept_waiting) = (0, 0, 0);
        let began = Instant::now();
        let mut slices = (!self.too_much).then(|| Slices::begin(began)).transpose()?;
        let due_at = |nth: u64| began + Duration::from_secs_f64(nth as f64 / rate);
        let n_due_at = |now: Instant| ((now - began).as_secs_f64() * rate) as u64 + 1;
        let mut heard_at = began;
        while n_answered < n_requests {
            let now = Instant::now();
            if self.too_much && now - began > span.time() {
                n_requests = n_sent;
            }
            let n_due = n_due_at(now).min(n_requests);
            while n_sent < n_due
                && let Some(idx) = idle.pop_front()
            {
                let due = due_at(n_sent);
                let since = if n_sent < n_kept_waiting { due } else { now };
                self.connections[idx].send(&mut self.requests, due, since, self.too_much)?;
                n_sent += 1;
            }
            let has_next = n_sent < n_requests && !idle.is_empty();
            let timeout = if has_next { due_at(n_sent).saturating_duration_since(now) } else { STALLED_AFTER };
            let heard = self.read(timeout, &mut answered, &mut answers)?;
            let now = Instant::now();
            if heard || n_answered == n_sent {
                heard_at = now;
            }
            let silence = now - heard_at;
            ensure!(silence < STALLED_AFTER, "no answer to any of {} requests for {silence:?}", n_sent - n_answered);
            if idle.is_empty() {
                n_kept_waiting = n_due_at(now).min(n_requests); // Up to now there was no connection for what was due.
            }
            for idx in answered.drain(..) {
                let connection = &self.connections[idx];
                answers.count(connection, now);
                if let Some(slices) = &mut slices {
                    slices.count(connection.part, connection.due, connection.wait(now));
                }
                idle.push_back(idx);
                n_answered += 1;
            }
            if let Some(slices) = &mut slices {
                slices.look(now)?;
            }
        }
        for (part, nanos) in slices.iter().flat_map(Slices::calm) {
            answers.parts[part].calm_waits.saturating_record(nanos);
        }
        Ok(answers)
    }

    /// Waits for at most `timeout`, and adds the connections whose answers are complete to `answered`, and what is not as
    /// it ought to be to `answers`. False when nothing at all came.
    fn read(&mut self, timeout: Duration, answered: &mut Vec<usize>, answers: &mut Answers) -> Result<bool> {
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(err) if err.kind() == ErrorKind::Interrupted => return Ok(true),
            polled => polled?,
        }
        self.requests.keep_fresh();
        for event in &self.events {
            let idx = event.token().0;
            let connection = &mut self.connections[idx];
            let part = connection.part;
            let mut look = |body: &[u8]| answers.look(part, body, self.requests.replies[part].as_deref());
            if connection.read(&mut self.received, self.too_much, &mut look)? {
                answered.push(idx);
            }
            if connection.is_closed {
                connection.open_again(self.address, idx, &self.poll)?;
            }
        }
        Ok(!self.events.is_empty())
    }
}

impl Requests {
    fn new(host: &str, parts: &[Part]) -> Self {
        let of_parts = parts.iter().map(|part| Request::new(host, part.kind, &part.sender)).collect();
        let replies = parts.iter().map(|part| part.reply.clone()).collect();
        Self { of_parts, replies, turns: turns(parts), n_made: 0 }
    }

    fn keep_fresh(&mut self) {
        self.of_parts.iter_mut().for_each(Request::keep_fresh);
    }

    /// The next one, and the part that it is of.
    fn next(&mut self) -> (usize, &[u8]) {
        let part = self.turns[self.n_made % self.turns.len()];
        self.n_made += 1;
        (part, self.of_parts[part].next())
    }
}

impl Answers {
    fn none(n_parts: usize) -> Self {
        let none = || PartAnswers {
            waits: no_waits(),
            calm_waits: no_waits(),
            longest: Duration::ZERO,
            unexpected: 0,
            refused: 0,
            example: None,
        };
        Self { parts: (0..n_parts).map(|_| none()).collect() }
    }

    /// Of all parts, in nanoseconds.
    pub(crate) fn waits(&self) -> Histogram<u64> {
        let mut all = no_waits();
        self.parts.iter().for_each(|part| all.add(&part.waits).expect("both have the same bounds"));
        all
    }

    pub(crate) fn requests(&self) -> u64 {
        self.parts.iter().map(|part| part.waits.len()).sum()
    }

    fn count(&mut self, connection: &Connection, now: Instant) {
        let part = &mut self.parts[connection.part];
        part.longest = part.longest.max(now - connection.due);
        if connection.is_refused {
            part.refused += 1;
            return;
        }
        part.waits.saturating_record(connection.wait(now));
    }

    fn look(&mut self, part: usize, body: &[u8], expected: Option<&str>) {
        if expected.is_none_or(|expected| expected.as_bytes() == body) {
            return;
        }
        let part = &mut self.parts[part];
        part.unexpected += 1;
        part.example.get_or_insert_with(|| printable(body));
    }
}

fn no_waits() -> Histogram<u64> {
    Histogram::new_with_max(60_000_000_000, 3).expect("valid bounds")
}

impl Connection {
    fn open(address: SocketAddr, idx: usize, poll: &Poll) -> Result<Self> {
        let stream = std::net::TcpStream::connect(address).context("cannot connect")?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        poll.registry().register(&mut stream, Token(idx), Interest::READABLE)?;
        let now = Instant::now();
        let (part, due, waits_since, answer) = (0, now, now, Vec::new());
        Ok(Self { stream, part, due, waits_since, is_busy: false, is_refused: false, is_closed: false, answer })
    }

    /// Another stream in the place of the one that the server closed.
    fn open_again(&mut self, address: SocketAddr, idx: usize, poll: &Poll) -> Result<()> {
        let Self { stream, .. } = Self::open(address, idx, poll)?;
        (self.stream, self.is_closed) = (stream, false);
        self.answer.clear();
        Ok(())
    }

    fn send(&mut self, requests: &mut Requests, due: Instant, waits_since: Instant, too_much: bool) -> Result<()> {
        let (part, request) = requests.next();
        (self.part, self.due, self.waits_since) = (part, due, waits_since);
        (self.is_busy, self.is_refused) = (true, false);
        // With one small request under way, the socket's buffer always has room for it.
        match self.stream.write(request) {
            // What was closed meanwhile is heard of when it is read.
            Err(_) if too_much => Ok(()),
            n_sent => {
                let n_sent = n_sent.context("cannot send a request")?;
                ensure!(n_sent == request.len(), "sent only {n_sent} of {} bytes", request.len());
                Ok(())
            }
        }
    }

    /// How long its request has waited, in nanoseconds.
    fn wait(&self, now: Instant) -> u64 {
        (now - self.waits_since).as_nanos() as u64
    }

    /// Reads once, which is enough: the poll is edge-triggered, and whatever arrives later wakes it again. Says whether
    /// the answer is complete; its body is then given to `look`, unless it is a refusal.
    fn read(&mut self, received: &mut [u8], too_much: bool, look: &mut impl FnMut(&[u8])) -> Result<bool> {
        let n_read = match self.stream.read(received) {
            Err(err) if err.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(_) if too_much => 0,
            n_read => n_read.context("cannot read an answer")?,
        };
        if n_read == 0 {
            ensure!(too_much, "the server closed a connection");
            (self.is_closed, self.is_refused) = (true, self.is_busy);
            return Ok(std::mem::take(&mut self.is_busy));
        }
        if self.answer.is_empty()
            && let Some(answer) = whole(&received[..n_read])?
        {
            self.take(&answer, too_much, look)?;
            return Ok(true);
        }
        self.answer.extend_from_slice(&received[..n_read]);
        let so_far = std::mem::take(&mut self.answer);
        let is_whole = match whole(&so_far)? {
            Some(answer) => {
                self.take(&answer, too_much, look)?;
                true
            }
            None => false,
        };
        self.answer = so_far;
        if is_whole {
            self.answer.clear();
        }
        Ok(is_whole)
    }

    fn take(&mut self, answer: &Whole<'_>, too_much: bool, look: &mut impl FnMut(&[u8])) -> Result<()> {
        self.is_busy = false;
        self.is_refused = too_much && !answer.is_ok();
        if !self.is_refused {
            look(answer.ok()?);
        }
        Ok(())
    }
}

/// A whole response.
struct Whole<'a> {
    answer: &'a [u8],
    body: &'a [u8],
}

impl<'a> Whole<'a> {
    fn is_ok(&self) -> bool {
        self.answer.starts_with(b"HTTP/1.1 200 ") && memmem::find(self.body, br#""ActionStatus":"OK""#).is_some()
    }

    /// Its body. Fails unless it is a 200 that says OK.
    fn ok(&self) -> Result<&'a [u8]> {
        ensure!(self.is_ok(), "not an OK: {}", printable(self.answer));
        Ok(self.body)
    }
}

/// `answer`, if that is a whole response.
fn whole(answer: &[u8]) -> Result<Option<Whole<'_>>> {
    let Some(head_len) = memmem::find(answer, b"\r\n\r\n").map(|at| at + 4) else { return Ok(None) };
    let (head, body) = answer.split_at(head_len);
    let Some(content_length) = content_length(head) else { bail!("no content-length: {}", printable(answer)) };
    if body.len() < content_length {
        return Ok(None);
    }
    ensure!(body.len() == content_length, "more than one answer to one request: {}", printable(answer));
    Ok(Some(Whole { answer, body }))
}

/// The body of `answer`, if that is a whole response. Fails unless it is a 200 that says OK.
pub(crate) fn body_of(answer: &[u8]) -> Result<Option<&[u8]>> {
    whole(answer)?.map(|answer| answer.ok()).transpose()
}

pub(crate) fn content_length(head: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"content-length:";
    let line = memchr::memchr_iter(b'\n', head)
        .map(|at| &head[at + 1..])
        .find(|line| line.len() > NAME.len() && line[..NAME.len()].eq_ignore_ascii_case(NAME))?;
    let value = &line[NAME.len()..];
    let value = &value[..memchr::memchr(b'\r', value)?];
    std::str::from_utf8(value).ok()?.trim().parse().ok()
}

fn printable(answer: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(&answer[..answer.len().min(400)]))
}

#[cfg(test)]
mod tests {
    use std::{
        net::TcpListener,
        sync::mpsc::{self, Receiver},
        thread,
    };

    use super::*;
    use crate::traffic::Kind;

    const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 21\r\n\r\n{\"ActionStatus\":\"OK\"}";

    /// Answers on `n_connections` in the order in which they were made, one after the other, each `after` its request.
    /// Says how many requests it got.
    fn server(n_connections: usize, after: Duration) -> (SocketAddr, Receiver<u64>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (say, said) = mpsc::channel();
        thread::spawn(move || {
            let mut streams: Vec<_> = (0..n_connections).map(|_| listener.accept().unwrap().0).collect();
            let (mut n_requests, mut is_open) = (0, true);
            while is_open {
                is_open = false;
                for stream in &mut streams {
                    if stream.read(&mut [0; 4096]).is_ok_and(|n_read| n_read > 0) {
                        (n_requests, is_open) = (n_requests + 1, true);
                        thread::sleep(after);
                        let _ = stream.write_all(OK);
                    }
                }
            }
            say.send(n_requests).unwrap();
        });
        (address, said)
    }

    #[test]
    fn as_many_are_sent_as_were_asked_for() {
        for (n_connections, n_requests) in [(1, 0), (1, 5), (4, 8), (8, 8)] {
            for rate in [None, Some(10_000.0)] {
                let (address, said) = server(n_connections, Duration::ZERO);
                let mut generator =
                    Generator::connect(address, n_connections, &Part::all(Kind::Message), false).unwrap();
                let span = Span::requests(n_requests);
                let answers = match rate {
                    None => generator.send_in_turn(span).unwrap(),
                    Some(rate) => generator.send_at(rate, span).unwrap(),
                };
                assert_eq!(answers.requests(), n_requests);
                drop(generator);
                assert_eq!(said.recv().unwrap(), n_requests, "{n_connections} connections, {rate:?}");
            }
        }
    }

    #[test]
    fn a_request_that_finds_no_connection_waits_from_when_it_was_due() {
        let (address, _said) = server(1, Duration::from_millis(50));
        let mut generator = Generator::connect(address, 1, &Part::all(Kind::Message), false).unwrap();
        // The second is due after 10 ms, and can be sent after 50.
        let answers = generator.send_at(100.0, Span::requests(2)).unwrap();
        let waits = answers.waits();
        assert!(waits.max() >= 90_000_000, "{} ns", waits.max());
        assert!(answers.parts[0].longest.as_nanos() >= 90_000_000, "{:?}", answers.parts[0].longest);
    }

    #[test]
    fn an_answer_that_a_part_ought_not_to_get_is_counted() {
        let (address, _said) = server(1, Duration::ZERO);
        let part = |share, reply: &str| Part { share, reply: Some(reply.into()), ..Part::all(Kind::Message).remove(0) };
        let parts = [part(2, r#"{"ActionStatus":"OK"}"#), part(1, r#"{"ActionStatus":"OK","ErrorCode":1}"#)];
        let mut generator = Generator::connect(address, 1, &parts, false).unwrap();
        let answers = generator.send_in_turn(Span::requests(30)).unwrap();
        let of_parts: Vec<_> = answers.parts.iter().map(|part| (part.waits.len(), part.unexpected)).collect();
        assert_eq!(of_parts, [(20, 0), (10, 10)]);
        assert!(answers.parts[1].example.as_ref().unwrap().contains("ActionStatus"));
    }

    #[test]
    fn an_answer_is_complete_when_its_body_is() {
        let answer = b"HTTP/1.1 200 OK\r\ndate: now\r\nContent-Length:  21\r\n\r\n{\"ActionStatus\":\"OK\"}";
        for n_bytes in 0..answer.len() {
            assert_eq!(body_of(&answer[..n_bytes]).unwrap(), None, "{n_bytes}");
        }
        assert_eq!(body_of(answer).unwrap(), Some(&answer[answer.len() - 21..]));
    }

    #[test]
    fn whatever_is_not_an_ok_is_an_error() {
        for answer in [
            "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 21\r\n\r\n{\"ActionStatus\":\"OK\"}",
            "HTTP/1.1 200 OK\r\ncontent-length: 23\r\n\r\n{\"ActionStatus\":\"FAIL\"}",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 21\r\n\r\n{\"ActionStatus\":\"OK\"}HTTP",
        ] {
            assert!(body_of(answer.as_bytes()).is_err(), "{answer}");
        }
    }
}
