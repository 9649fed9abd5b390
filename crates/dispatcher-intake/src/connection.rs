//! One connection: what its parts share, and the future that drives it.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU8, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
};

use dispatcher_tls::Tls;
use hyper::{body::Incoming, service::Service};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, rustls::pki_types::CertificateDer};
use tracing::debug;
use warp::{http::Request, reply::Response};

use crate::{
    Outcome,
    clock::{Clock, Limits, Verdict},
    places::Seat,
    proxied,
    routes::routes,
    rules::Rules,
    socket::Socket,
    stream::Stream,
    told::Told,
    worker::Worker,
};

/// How long whatever is the peer's to do may take when the intake is to end, in milliseconds.
const LAST_HELLO: u64 = 1000;

/// What the parts of one connection share: its socket, its routes, and the worker that looks after it.
pub(crate) struct Connection {
    pub(crate) worker: Arc<Worker>,
    pub(crate) peer: SocketAddr,
    is_unnamed: bool, // It came through the peer, which did not say from whom.
    clock: Clock,
    order: AtomicU8,
    is_new: AtomicBool,     // Nothing of a request has come yet; its TLS handshake may be under way.
    unread: AtomicBool,     // The last request has more of a body to come.
    waker: OnceLock<Waker>, // Of the task that drives the connection; it stays the same.
    shown: OnceLock<Vec<CertificateDer<'static>>>, // By which it was let in, or none; once it has shaken hands.
}

/// What the worker wants of a connection.
#[derive(Clone, Copy, PartialEq)]
#[repr(u8)]
pub(crate) enum Order {
    /// To go on.
    GoOn,
    /// To answer the request that is there, and then to close.
    Finish,
    /// To close at once.
    Close,
}

/// The time to answer in is over.
#[derive(Debug)]
pub(crate) struct Late;

impl Connection {
    pub(crate) fn new(worker: Arc<Worker>, peer: SocketAddr) -> Connection {
        let clock = Clock::new(worker.now());
        Connection {
            worker,
            peer,
            is_unnamed: false,
            clock,
            order: AtomicU8::new(Order::GoOn as u8),
            is_new: AtomicBool::new(true),
            unread: AtomicBool::new(false),
            waker: OnceLock::new(),
            shown: OnceLock::new(),
        }
    }

    /// Whether it would be let in now, by what it has shown. Who is still shaking hands is asked when that is done.
    pub(crate) fn is_let_in(&self, tls: &Tls) -> bool {
        self.shown.get().is_none_or(|shown| tls.lets_in(shown))
    }

    /// The result of `future`, if there is one before the time to answer is over. A future that is late is dropped.
    pub(crate) async fn within<F: Future>(&self, future: F) -> Result<F::Output, Late> {
        let mut future = pin!(future);
        // No timer: when time is over, the worker's look at the clock wakes this task.
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending if self.clock.is_answer_due() => Poll::Ready(Err(Late)),
            Poll::Pending => Poll::Pending,
        })
        .await
    }

    pub(crate) fn received(&self) {
        self.is_new.store(false, Relaxed);
        self.clock.received(self.worker.now());
    }

    /// A request's head is there. What it is served by, to its end.
    pub(crate) fn serve(&self) -> Arc<Rules> {
        let rules = self.worker.rules();
        self.clock.serve(self.worker.now(), rules.limits.answer);
        rules
    }

    /// The result of `future`, if there is one before `millis` after the head of the request that is being served, and
    /// before its connection is to end.
    pub(crate) async fn hold<F: Future>(&self, millis: u64, future: F) -> Option<F::Output> {
        self.clock.extend(millis);
        let mut future = pin!(future);
        let is_to_end = || self.has_order(Order::Finish) || self.has_order(Order::Close);
        let held = poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if is_to_end() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        });
        self.within(held).await.ok().flatten()
    }

    pub(crate) fn reply(&self) {
        self.clock.reply(self.worker.now());
    }

    pub(crate) fn flushed(&self) {
        self.clock.flushed(self.worker.now());
    }

    pub(crate) fn trust(&self) {
        self.clock.trust();
    }

    /// Whether it has brought a verified callback.
    pub(crate) fn is_trusted(&self) -> bool {
        self.clock.is_trusted()
    }

    /// Whether a request is being served.
    pub(crate) fn is_serving(&self) -> bool {
        self.clock.is_serving()
    }

    /// Notes whether a request was answered before its body was read.
    pub(crate) fn leave_unread(&self, unread: bool) {
        self.unread.store(unread, Relaxed);
    }

    pub(crate) fn is_unread(&self) -> bool {
        self.unread.load(Relaxed)
    }

    /// The same one, of which nothing but a proxy's header has come, as that of the client named there, if one is.
    pub(crate) fn coming_from(&self, client: Option<SocketAddr>) -> Connection {
        Connection {
            is_unnamed: client.is_none(),
            clock: self.clock.so_far(),
            order: AtomicU8::new(self.order.load(Relaxed)),
            ..Connection::new(self.worker.clone(), client.unwrap_or(self.peer))
        }
    }

    /// The result of `future`, which comes before any request, unless the connection is to close before that.
    pub(crate) async fn unless_closed<F: Future>(&self, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        poll_fn(|cx: &mut Context<'_>| {
            self.waker.get_or_init(|| cx.waker().clone());
            if self.has_order(Order::Close) {
                return Poll::Ready(None);
            }
            future.as_mut().poll(cx).map(Some)
        })
        .await
    }

    /// Keeps the limits: called by the worker at each look. Whether it is to be closed for one of them.
    pub(crate) fn look(&self, limits: &Limits) -> bool {
        match self.judge(limits) {
            Verdict::Fine => false,
            Verdict::AnswerDue => {
                self.wake();
                false
            }
            Verdict::Close(_) => true,
        }
    }

    /// Closes it, if that is still due.
    pub(crate) fn close_if_due(&self, limits: &Limits) {
        if let Verdict::Close(outcome) = self.judge(limits) {
            self.worker.tally.count(outcome);
            debug!(peer = %self.peer, reason = outcome.name(), "connection closed");
            self.order(Order::Close);
        }
    }

    fn judge(&self, limits: &Limits) -> Verdict {
        if self.has_order(Order::Close) {
            return Verdict::Fine;
        }
        // Who dawdles does not hold up a drain; but a callback may be right behind the hello of who is new.
        let hurried = Limits { head: limits.head.min(LAST_HELLO), idle: limits.idle.min(LAST_HELLO), ..*limits };
        let limits = if self.has_order(Order::Finish) { &hurried } else { limits };
        self.clock.look(self.worker.now(), limits)
    }

    pub(crate) fn order(&self, order: Order) {
        self.order.store(order as u8, Relaxed);
        self.wake();
    }

    fn has_order(&self, order: Order) -> bool {
        self.order.load(Relaxed) == order as u8
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }
}

/// Serves the requests of one connection until it ends, or is told to.
pub(crate) async fn serve(mut stream: TcpStream, mut connection: Arc<Connection>, mut place: Place) {
    let mut rules = connection.worker.rules();
    if rules.options.proxy_protocol {
        connection = match proxied::introduce(&mut stream, connection, &mut place, &rules).await {
            Some(connection) => connection,
            None => return drop(place),
        };
        rules = connection.worker.rules(); // That may have taken its time.
    }
    let stream = match &rules.tls {
        None => Stream::Plain(stream),
        Some(tls) => match shake_hands(tls, stream, &connection, &rules).await {
            Some(stream) => stream,
            None => return drop(place),
        },
    };
    let http = rules.http.clone();
    drop(rules); // The next request may go by others.
    let socket = TokioIo::new(Socket::new(stream, connection.clone()));
    let routed = Routed { service: warp::service(routes(connection.clone())), hears_proxies: !connection.is_unnamed };
    let mut served = pin!(http.serve_connection(socket, routed));
    let mut is_finishing = false;
    let ended = poll_fn(|cx: &mut Context<'_>| {
        connection.waker.get_or_init(|| cx.waker().clone());
        if connection.has_order(Order::Close) {
            return Poll::Ready(Ok(()));
        }
        // First the request that may have arrived with the order to finish: hyper closes a connection that has read
        // none. Who is new has until [`LAST_HELLO`] to send one.
        let ended = served.as_mut().poll(cx);
        let is_to_finish = connection.has_order(Order::Finish) && !connection.is_new.load(Relaxed);
        if ended.is_pending() && is_to_finish && !is_finishing {
            is_finishing = true;
            served.as_mut().graceful_shutdown();
            return served.as_mut().poll(cx);
        }
        ended
    })
    .await;
    if let Err(err) = ended {
        if err.is_parse_too_large() {
            connection.worker.tally.count(Outcome::HeadTooLarge);
        } else if err.is_parse() {
            connection.worker.tally.count(Outcome::NotHttp);
        }
        debug!(peer = %connection.peer, %err, "connection ended");
    }
    drop(place);
}

/// The TLS handshake, by these rules. It has as long as a head has.
async fn shake_hands(
    tls: &TlsAcceptor,
    stream: TcpStream,
    connection: &Connection,
    rules: &Arc<Rules>,
) -> Option<Stream> {
    match connection.unless_closed(tls.accept(stream)).await? {
        Ok(stream) => {
            let shown =
                connection.shown.get_or_init(|| stream.get_ref().1.peer_certificates().unwrap_or_default().to_vec());
            // Whoever replaced the rules meanwhile did not know yet what it shows; to judge takes as long as a handshake.
            let now = connection.worker.rules();
            if !Arc::ptr_eq(rules, &now) && now.options.tls.as_ref().is_some_and(|tls| !tls.lets_in(shown)) {
                connection.worker.tally.count(Outcome::TlsFailed);
                debug!(peer = %connection.peer, "its certificate is not taken any more");
                return None;
            }
            Some(Stream::Tls(Box::new(stream)))
        }
        Err(err) => {
            connection.worker.tally.count(Outcome::TlsFailed);
            debug!(peer = %connection.peer, %err, "TLS handshake failed");
            None
        }
    }
}

/// A connection's place among those that may be open; it becomes free when this is dropped.
pub(crate) struct Place {
    pub(crate) id: u64,
    pub(crate) worker: Arc<Worker>,
    pub(crate) seat: Seat,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.worker.forget(self.id);
    }
}

/// warp's service, which wants to be borrowed mutably, as hyper's, which does not. A copy of it is one more `Arc`.
struct Routed<S> {
    service: S,
    /// Whether the peer may be a proxy that says in `X-Forwarded-For` whom requests come from. One that passes connections on
    /// as they are writes no such line: where it does not say whom one comes from, anybody may have.
    hears_proxies: bool,
}

impl<S> Service<Request<Incoming>> for Routed<S>
where
    S: tower_service::Service<Request<Incoming>, Response = Response, Error = Infallible> + Clone,
{
    type Response = Response;
    type Error = Infallible;
    type Future = S::Future;

    fn call(&self, mut request: Request<Incoming>) -> S::Future {
        if let Some(told) = Told::by(request.headers(), self.hears_proxies) {
            request.extensions_mut().insert(told);
        }
        tower_service::Service::call(&mut self.service.clone(), request)
    }
}
