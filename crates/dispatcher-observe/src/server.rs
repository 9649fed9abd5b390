//! Answers those who ask, on a thread of its own that comes after all others.

use std::{
    collections::VecDeque,
    convert::Infallible,
    io,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    runtime::{Builder, Runtime},
    sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot},
    time::{sleep, timeout},
};
use tracing::{debug, warn};

use crate::{
    Sources,
    readiness::{Need, readiness},
    scrape::scrape,
    sources::Observed,
};

/// How many are answered at once. When there are more, the oldest that has not sent its request's head makes room; when all have,
/// others wait in the system's queue.
const MAX_CONNECTIONS: usize = 64;

/// How long one may take, from connecting to having read the answer.
const WITHIN: Duration = Duration::from_secs(10);
/// How long the head of its request may take.
const HEAD_WITHIN: Duration = Duration::from_secs(1);
/// How large that may be, in bytes. hyper takes no less.
const HEAD_BYTES: usize = 8 << 10;

/// How long is waited before accepting again what could not be.
const PAUSE: Duration = Duration::from_millis(100);

/// How much the thread gives way to others.
const NICE: i32 = 10;

/// Answers `/metrics`, `/healthz` and `/readyz` until it is dropped.
pub struct Observer {
    local_addr: SocketAddr,
    observed: Arc<Observed>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Observer {
    /// Starts to answer on `listener`.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(listener: TcpListener, sources: Sources) -> io::Result<Observer> {
        let local_addr = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let observed = Arc::new(Observed::new(sources));
        let runtime = Builder::new_current_thread().enable_io().enable_time().max_blocking_threads(2).build()?;
        let listener = {
            let _inside = runtime.enter(); // Where a socket is registered for readiness.
            tokio::net::TcpListener::from_std(listener)?
        };
        let (stop, stopped) = oneshot::channel();
        let shown = observed.clone();
        let thread = thread::Builder::new().name("observe".to_owned()).spawn(move || {
            // On Linux a priority is a thread's own, and inherited by those it starts. Without it all works as well.
            let _ = rustix::process::setpriority_process(None, NICE);
            run(runtime, listener, stopped, &shown);
        })?;
        Ok(Observer { local_addr, observed, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it answers.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// From now on `/readyz` says that the dispatcher is stopping. Calling it again does no harm.
    pub fn drain(&self) {
        self.observed.drain();
    }
}

impl Drop for Observer {
    /// Cuts who is being answered. Blocks for no longer than one reading of the journal takes.
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(runtime: Runtime, listener: tokio::net::TcpListener, stopped: oneshot::Receiver<()>, observed: &Arc<Observed>) {
    runtime.block_on(async {
        tokio::select! {
            _ = stopped => {}
            () = accept(&listener, observed) => {}
        }
    });
    runtime.shutdown_timeout(WITHIN);
}

async fn accept(listener: &tokio::net::TcpListener, observed: &Arc<Observed>) {
    let (places, guests) = (Arc::new(Semaphore::new(MAX_CONNECTIONS)), Guests::default());
    // One page at a time: two would read the same, and there is one reader.
    let pages = Arc::new(Semaphore::new(1));
    let mut is_failing = false;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                is_failing = false;
                if places.available_permits() == 0 {
                    guests.make_room();
                }
                let Ok(place) = places.clone().acquire_owned().await else { return }; // It is never closed.
                tokio::spawn(serve(stream, observed.clone(), pages.clone(), place, guests.come()));
            }
            Err(err) => {
                if !std::mem::replace(&mut is_failing, true) {
                    warn!(%err, "cannot accept connections to [observe] listen; trying again until it works");
                }
                sleep(PAUSE).await;
            }
        }
    }
}

/// Who is connected, the oldest first.
#[derive(Default)]
struct Guests(Mutex<VecDeque<Weak<Guest>>>);

/// Someone who is connected.
#[derive(Default)]
struct Guest {
    /// Whether a whole head has come.
    has_asked: AtomicBool,
    leave: Notify,
}

impl Guests {
    fn come(&self) -> Arc<Guest> {
        let guest = Arc::<Guest>::default();
        let mut guests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        guests.retain(|guest| guest.strong_count() > 0);
        guests.push_back(Arc::downgrade(&guest));
        guest
    }

    /// Sends the oldest away that has not asked for anything, if there is one.
    fn make_room(&self) {
        let mut guests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let silent = |guest: &Weak<Guest>| guest.upgrade().filter(|guest| !guest.has_asked.load(Relaxed));
        if let Some((at, guest)) = guests.iter().enumerate().find_map(|(at, guest)| Some((at, silent(guest)?))) {
            guests.remove(at);
            guest.leave.notify_one();
        }
    }
}

async fn serve(
    stream: tokio::net::TcpStream,
    observed: Arc<Observed>,
    pages: Arc<Semaphore>,
    _place: OwnedSemaphorePermit,
    guest: Arc<Guest>,
) {
    let asks = guest.clone();
    let service = service_fn(move |request| {
        asks.has_asked.store(true, Relaxed);
        let (observed, pages) = (observed.clone(), pages.clone());
        async move { Ok::<_, Infallible>(answer(&request, observed, pages).await) }
    });
    let mut http = http1::Builder::new();
    // One request per connection: who asks every few seconds does not miss more, and nobody holds a place.
    http.timer(TokioTimer::new()).keep_alive(false).header_read_timeout(HEAD_WITHIN).max_buf_size(HEAD_BYTES);
    let served = timeout(WITHIN, http.serve_connection(TokioIo::new(stream), service));
    let served = tokio::select! {
        biased;
        served = served => served,
        () = guest.leave.notified() => return debug!("a connection to [observe] listen made room for another"),
    };
    match served {
        Ok(Ok(())) => {}
        Ok(Err(err)) => debug!(%err, "a connection to [observe] listen ended"),
        Err(_) => debug!("a connection to [observe] listen took too long"),
    }
}

async fn answer(request: &Request<Incoming>, observed: Arc<Observed>, pages: Arc<Semaphore>) -> Response<String> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "ask with GET\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        "/healthz" => text(StatusCode::OK, "ok\n"),
        "/readyz" => match Need::of_query(request.uri().query()) {
            Ok(need) => {
                let (is_ready, shown) = readiness(&observed, need);
                let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                response(status, "application/json", format!("{shown}\n"))
            }
            Err(what) => text(StatusCode::BAD_REQUEST, &format!("{what}\n")),
        },
        "/metrics" => metrics(observed, pages).await,
        _ => text(StatusCode::NOT_FOUND, "there is /metrics, /healthz and /readyz\n"),
    }
}

/// A page; put together where it may block, so that it keeps no probe waiting.
async fn metrics(observed: Arc<Observed>, pages: Arc<Semaphore>) -> Response<String> {
    let Ok(turn) = pages.acquire_owned().await else { return failed() }; // It is never closed.
    let page = tokio::task::spawn_blocking(move || {
        let page = scrape(&observed);
        drop(turn); // Here, since who asked may have gone meanwhile.
        page
    });
    match page.await {
        Ok(Ok(page)) => response(StatusCode::OK, prometheus::TEXT_FORMAT, page),
        Ok(Err(err)) => {
            warn!(%err, "the metrics cannot be written");
            failed()
        }
        Err(_) => failed(), // The dispatcher is stopping.
    }
}

fn failed() -> Response<String> {
    text(StatusCode::INTERNAL_SERVER_ERROR, "there are no metrics now; the log says why\n")
}

fn text(status: StatusCode, text: &str) -> Response<String> {
    response(status, "text/plain; charset=utf-8", text.to_owned())
}

fn response(status: StatusCode, kind: &'static str, body: String) -> Response<String> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use tokio::sync::futures::Notified;

    use super::*;

    #[tokio::test]
    async fn the_oldest_that_is_silent_makes_room() {
        let guests = Guests::default();
        let (asking, gone, silent, last) = (guests.come(), guests.come(), guests.come(), guests.come());
        asking.has_asked.store(true, Relaxed);
        drop(gone);
        let is_told = async |notified: Notified<'_>| {
            tokio::select! { biased; () = notified => true, () = std::future::ready(()) => false }
        };
        guests.make_room();
        assert!(is_told(silent.leave.notified()).await);
        assert!(!is_told(asking.leave.notified()).await && !is_told(last.leave.notified()).await);
        guests.make_room();
        assert!(is_told(last.leave.notified()).await, "who was told is not told again");
        guests.make_room();
        assert!(!is_told(asking.leave.notified()).await);
    }
}
