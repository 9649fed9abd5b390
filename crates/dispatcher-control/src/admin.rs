//! The same requests and answers as through the socket, over TCP: posted with a token, answered in lines.

use std::{
    collections::HashMap,
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr, TcpListener},
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc as std_mpsc},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    runtime::{Builder, Runtime},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::{sleep, sleep_until, timeout},
};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, info, warn};

use crate::{
    AdminCounters, Admission, Answer, Asker, Audit, Gone, Operations,
    answers::Answers,
    audit::Actor,
    caller::Caller,
    counters::Closed,
    door::{Refusal, admit},
    wire::{MAX_REQUEST, answer_line, read_request},
};

/// How many connections may be open, in all and from one address; and how many of them are answered at once.
const MAX_CONNECTIONS: usize = 64;
const MAX_OF_ADDRESS: usize = 16;
const MAX_REQUESTS: usize = 16;

/// How long a handshake, a head and a body may take.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(5);
const HEAD_WITHIN: Duration = Duration::from_secs(5);
const BODY_WITHIN: Duration = Duration::from_secs(10);
/// How large a head may be, in bytes. hyper takes no less.
const HEAD_BYTES: usize = 8 << 10;

/// How long an answer waits for someone to read it.
const READ_WITHIN: Duration = Duration::from_secs(600);
/// How many answers lie ready.
const AHEAD: usize = 4;

/// How long a wrong token keeps its place: whoever guesses gets no further than `MAX_OF_ADDRESS` in that time.
const PENALTY: Duration = Duration::from_secs(1);
/// How often wrong tokens are told of.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// After what time without a word the system looks whether the other end is still there.
const ALIVE: Duration = Duration::from_secs(60);
/// How long is waited before accepting again what could not be.
const PAUSE: Duration = Duration::from_millis(100);

/// Answers requests over TCP until it is dropped.
pub struct Admin {
    local_addr: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    local_addr: SocketAddr,
    admission: Admission,
    counters: Arc<AdminCounters>,
    operations: Operations,
    audit: Audit,
    wrong: WrongTokens,
    /// For those who are answered.
    places: Arc<Semaphore>,
    addresses: Mutex<HashMap<IpAddr, usize>>,
}

impl Admin {
    /// Starts to answer on `listener`.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        listener: TcpListener,
        admission: Admission,
        operations: Operations,
        audit: Audit,
    ) -> io::Result<Admin> {
        let local_addr = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let runtime =
            Builder::new_current_thread().enable_io().enable_time().max_blocking_threads(MAX_REQUESTS).build()?;
        let listener = {
            let _inside = runtime.enter(); // Where a socket is registered for readiness.
            tokio::net::TcpListener::from_std(listener)?
        };
        let shared = Arc::new(Shared {
            local_addr,
            counters: admission.counters(),
            admission,
            operations,
            audit,
            wrong: WrongTokens::default(),
            places: Arc::new(Semaphore::new(MAX_REQUESTS)),
            addresses: Mutex::default(),
        });
        let (stop, stopped) = oneshot::channel();
        let thread =
            thread::Builder::new().name("admin".to_owned()).spawn(move || run(runtime, listener, stopped, &shared))?;
        Ok(Admin { local_addr, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it answers.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }
}

impl Drop for Admin {
    /// Cuts who is being answered. Blocks until nothing here uses the journal.
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(runtime: Runtime, listener: tokio::net::TcpListener, stopped: oneshot::Receiver<()>, shared: &Arc<Shared>) {
    runtime.block_on(async {
        tokio::select! {
            _ = stopped => {}
            () = accept(&listener, shared) => {}
            () = tell_of_wrong_tokens(shared) => {}
        }
    });
    // First the connections, which tells those who answer that nobody listens; then it waits for these.
    drop(runtime);
    shared.wrong.tell(&shared.audit);
}

async fn accept(listener: &tokio::net::TcpListener, shared: &Arc<Shared>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut is_failing = false;
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return }; // It is never closed.
        match listener.accept().await {
            Ok((stream, peer)) => {
                is_failing = false;
                match Seat::take(shared, peer, place) {
                    Some(seat) => _ = tokio::spawn(connection(stream, peer, shared.clone(), seat)),
                    None => {
                        shared.counters.count_closed(Closed::AddressFull);
                        debug!(%peer, "a connection to [admin] listen was closed: its address has enough");
                    }
                }
            }
            Err(err) => {
                if !std::mem::replace(&mut is_failing, true) {
                    warn!(%err, "cannot accept connections to [admin] listen; trying again until it works");
                }
                sleep(PAUSE).await;
            }
        }
    }
}

async fn tell_of_wrong_tokens(shared: &Shared) {
    loop {
        sleep(TOLD_EVERY).await;
        shared.wrong.tell(&shared.audit);
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, shared: Arc<Shared>, _seat: Seat) {
    let _ = stream.set_nodelay(true);
    // Who follows may hear nothing for hours, and then be gone.
    let _ = rustix::net::sockopt::set_socket_keepalive(&stream, true)
        .and_then(|()| rustix::net::sockopt::set_tcp_keepidle(&stream, ALIVE))
        .and_then(|()| rustix::net::sockopt::set_tcp_keepintvl(&stream, ALIVE / 6));
    let Some(tls) = shared.admission.now().tls.clone() else {
        return serve(stream, Caller::new(peer, None), shared).await;
    };
    match timeout(HANDSHAKE_WITHIN, TlsAcceptor::from(tls.server_config()).accept(stream)).await {
        Ok(Ok(stream)) => {
            let shown = stream.get_ref().1.peer_certificates().unwrap_or_default().to_vec();
            return serve(stream, Caller::new(peer, Some(shown)), shared).await;
        }
        Ok(Err(err)) => debug!(%peer, %err, "a TLS handshake with [admin] listen failed"),
        Err(_) => debug!(%peer, "a TLS handshake with [admin] listen took too long"),
    }
    shared.counters.count_closed(Closed::TlsFailed);
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(stream: S, caller: Caller, shared: Arc<Shared>) {
    let (unread, options) = (Arc::new(Unread::default()), shared.admission.changes());
    let (caller, counters) = (Arc::new(caller), shared.counters.clone());
    let service = service_fn(|request| {
        let (shared, caller, unread) = (shared.clone(), caller.clone(), unread.clone());
        async move { Ok::<_, Infallible>(answer(request, &caller, &shared, unread).await) }
    });
    let mut http = http1::Builder::new();
    // One request per connection, as through the socket.
    http.timer(TokioTimer::new()).keep_alive(false).header_read_timeout(HEAD_WITHIN).max_buf_size(HEAD_BYTES);
    let peer = caller.peer;
    let closed = tokio::select! {
        served = http.serve_connection(TokioIo::new(stream), service) => {
            let Err(err) = served else { return };
            debug!(%peer, %err, "a connection to [admin] listen ended");
            match () {
                () if err.is_timeout() => Closed::HeadLate,
                () if err.is_parse_too_large() => Closed::HeadTooLarge,
                () if err.is_parse() => Closed::NotHttp,
                () => return,
            }
        }
        () = unread.too_long() => {
            debug!(%peer, "someone at [admin] listen does not read on");
            Closed::ReplyUnread
        }
        () = caller.let_out(options) => {
            info!(%peer, "someone at [admin] listen would not be let in any more: the connection is closed");
            Closed::LetOut
        }
    };
    counters.count_closed(closed);
}

async fn answer(
    request: Request<Incoming>,
    caller: &Caller,
    shared: &Arc<Shared>,
    unread: Arc<Unread>,
) -> Response<Answers> {
    let options = shared.admission.now();
    let token = match admit(&request, &options, shared.local_addr) {
        Ok(token) if caller.could_connect(&options) => token,
        Ok(_) => return turn_away(request, caller, shared, Refusal::Connection).await,
        Err(refusal) => return turn_away(request, caller, shared, refusal).await,
    };
    caller.let_in_with(token);
    let body = match timeout(BODY_WITHIN, Limited::new(request.into_body(), MAX_BODY).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(err)) if err.is::<LengthLimitError>() => return refuse(shared, Refusal::TooLarge),
        Ok(Err(_)) => return refuse(shared, Refusal::Broken),
        Err(_) => return refuse(shared, Refusal::Late),
    };
    let request = match read_request(body.trim_ascii_end()) {
        Ok(request) => request,
        Err(what) => {
            let line = answer_line(&Answer::Failed(what)).unwrap_or_default();
            shared.counters.count_refused(Refusal::NoRequest);
            return response(Refusal::NoRequest.answer().0, LINES, Answers::whole(line));
        }
    };
    let Ok(place) = shared.places.clone().try_acquire_owned() else { return refuse(shared, Refusal::Busy) };
    shared.counters.count_answered();
    caller.asks_for(&request);
    let (lines, coming) = mpsc::channel(AHEAD);
    let (stays, gone) = std_mpsc::channel();
    let (operations, audit, peer) = (shared.operations.renewed(), shared.audit.clone(), caller.peer);
    // As many as there are places, so that none of them waits for a thread.
    tokio::task::spawn_blocking(move || {
        let mut asker = Remote { lines, gone, unread };
        if audit.answer(Actor::Tcp(peer), &operations, &request, &mut asker).is_err() {
            debug!("someone at [admin] listen left before the last answer");
        }
        drop(place);
    });
    response(StatusCode::OK, LINES, Answers::coming(coming, stays))
}

const MAX_BODY: usize = MAX_REQUEST as usize;
const LINES: &str = "application/jsonl";

/// Says no to a head. What was sent is taken all the same, up to a point: who writes on into a closed connection may never
/// read why.
async fn turn_away(
    request: Request<Incoming>,
    caller: &Caller,
    shared: &Shared,
    refusal: Refusal,
) -> Response<Answers> {
    let until = tokio::time::Instant::now() + PENALTY;
    if refusal == Refusal::Token {
        shared.wrong.count(caller.peer, &shared.audit);
    }
    let mut response = refuse(shared, refusal);
    let _ = timeout(PENALTY, Limited::new(request.into_body(), MAX_BODY).collect()).await;
    if refusal == Refusal::Token {
        sleep_until(until).await;
    }
    match refusal {
        Refusal::Token => response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")),
        Refusal::Method => response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST")),
        _ => None,
    };
    response
}

/// Says no, and counts it.
fn refuse(shared: &Shared, refusal: Refusal) -> Response<Answers> {
    shared.counters.count_refused(refusal);
    let (status, text) = refusal.answer();
    response(status, "text/plain; charset=utf-8", Answers::whole(format!("{text}\n").into_bytes()))
}

fn response(status: StatusCode, kind: &'static str, body: Answers) -> Response<Answers> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Someone at the other end of a connection.
struct Remote {
    lines: mpsc::Sender<Bytes>,
    /// Ends when the connection does.
    gone: std_mpsc::Receiver<()>,
    unread: Arc<Unread>,
}

impl Asker for Remote {
    fn tell(&mut self, answer: Answer) -> Result<(), Gone> {
        let line = Bytes::from(answer_line(&answer).map_err(|_| Gone)?);
        self.unread.since(Some(Instant::now()));
        let told = self.lines.blocking_send(line);
        self.unread.since(None);
        told.map_err(|_| Gone)
    }

    fn wait(&mut self, span: Duration) -> Result<(), Gone> {
        match self.gone.recv_timeout(span) {
            Err(std_mpsc::RecvTimeoutError::Timeout) => Ok(()),
            Ok(()) | Err(std_mpsc::RecvTimeoutError::Disconnected) => Err(Gone),
        }
    }
}

/// Since when an answer waits to be read.
#[derive(Default)]
struct Unread(Mutex<Option<Instant>>);

impl Unread {
    fn since(&self, since: Option<Instant>) {
        *lock(&self.0) = since;
    }

    /// Ends when one has waited for too long.
    async fn too_long(&self) {
        loop {
            let since = *lock(&self.0);
            let left = since.map_or(READ_WITHIN, |since| READ_WITHIN.saturating_sub(since.elapsed()));
            if left.is_zero() {
                return;
            }
            sleep(left).await;
        }
    }
}

/// A place among the connections, and among those of one address.
struct Seat {
    shared: Arc<Shared>,
    address: IpAddr,
    _place: OwnedSemaphorePermit,
}

impl Seat {
    fn take(shared: &Arc<Shared>, peer: SocketAddr, place: OwnedSemaphorePermit) -> Option<Seat> {
        let address = network(peer.ip());
        let mut addresses = lock(&shared.addresses);
        let n = addresses.entry(address).or_default();
        if *n >= MAX_OF_ADDRESS {
            return None;
        }
        *n += 1;
        shared.counters.count_opened();
        Some(Seat { shared: shared.clone(), address, _place: place })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.shared.counters.count_ended();
        let mut addresses = lock(&self.shared.addresses);
        if let Some(n) = addresses.get_mut(&self.address) {
            *n -= 1;
            if *n == 0 {
                addresses.remove(&self.address);
            }
        }
    }
}

/// Who has one address of IPv6 has all of its /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & !u128::from(u64::MAX)).into()),
        address => address,
    }
}

/// Wrong tokens that nobody was told of yet.
#[derive(Default)]
struct WrongTokens(Mutex<Wrong>);

#[derive(Default)]
struct Wrong {
    n: u64,
    last: Option<SocketAddr>,
    told: Option<Instant>,
}

impl WrongTokens {
    /// The first is told of at once.
    fn count(&self, peer: SocketAddr, audit: &Audit) {
        let is_due = {
            let mut wrong = lock(&self.0);
            wrong.n += 1;
            wrong.last = Some(peer);
            wrong.told.is_none_or(|told| told.elapsed() >= TOLD_EVERY)
        };
        if is_due {
            self.tell(audit);
        }
    }

    fn tell(&self, audit: &Audit) {
        let mut wrong = lock(&self.0);
        let Some(peer) = wrong.last.take() else { return };
        let n = std::mem::take(&mut wrong.n);
        wrong.told = Some(Instant::now());
        drop(wrong);
        audit.wrong_tokens(Actor::Tcp(peer), n);
    }
}

// A std mutex: held for a few assignments, which leave a sound value at every point.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
