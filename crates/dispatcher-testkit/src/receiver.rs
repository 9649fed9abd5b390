//! An HTTP receiver that remembers what it got, and can refuse and hang.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::sync::{oneshot, watch};
use warp::{Filter as _, http::HeaderMap};

use crate::PATIENCE;

/// How a request is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// With this status, and an empty body.
    Status(u16),
    /// Never.
    Hang,
}

/// One request, as it came.
#[derive(Clone, Debug)]
pub struct Received {
    /// The path.
    pub path: String,
    /// The raw query.
    pub query: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// What it was answered.
    pub answer: Answer,
}

/// A receiver on a free port of 127.0.0.1. It stops when it is dropped.
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    _stop: oneshot::Sender<()>,
}

struct Shared {
    answer: Mutex<Answer>,
    received: watch::Sender<Vec<Received>>,
}

impl Receiver {
    /// Starts one that answers 200.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn start() -> Receiver {
        Receiver::start_on("127.0.0.1:0".parse().expect("this is an address")).await
    }

    /// Starts one on this address: to come back after a stop.
    ///
    /// # Panics
    /// When the address is taken.
    pub async fn start_on(address: SocketAddr) -> Receiver {
        let listener = tokio::net::TcpListener::bind(address).await.expect("the address is free");
        let address = listener.local_addr().expect("a bound listener has an address");
        let shared = Arc::new(Shared { answer: Mutex::new(Answer::Status(200)), received: watch::Sender::new(vec![]) });
        let of_requests = Arc::clone(&shared);
        let query = warp::query::raw().or(warp::any().map(String::new)).unify();
        let routes = warp::path::full().and(query).and(warp::header::headers_cloned()).and(warp::body::bytes()).then(
            move |path: warp::path::FullPath, query, headers, body| {
                let shared = Arc::clone(&of_requests);
                async move {
                    let answer = *lock(&shared.answer);
                    let received = Received { path: path.as_str().to_owned(), query, headers, body, answer };
                    shared.received.send_modify(|all| all.push(received));
                    match answer {
                        Answer::Status(status) => {
                            warp::http::StatusCode::from_u16(status).expect("a test names a status that exists")
                        }
                        Answer::Hang => std::future::pending().await,
                    }
                }
            },
        );
        let (stop, stopped) = oneshot::channel::<()>();
        let server = warp::serve(routes).incoming(listener);
        tokio::spawn(async move {
            tokio::select! {
                () = server.run() => {}
                _ = stopped => {}
            }
        });
        Receiver { address, shared, _stop: stop }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/in", self.address)
    }

    /// Answers in this way from now on.
    pub fn answer(&self, answer: Answer) {
        *lock(&self.shared.answer) = answer;
    }

    /// What it got so far.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        self.shared.received.borrow().clone()
    }

    /// Waits until what it got is `enough`, and gives it.
    ///
    /// # Panics
    /// When that does not come to be.
    pub async fn wait_until(&self, enough: impl Fn(&[Received]) -> bool) -> Vec<Received> {
        let mut changes = self.shared.received.subscribe();
        let waited = tokio::time::timeout(PATIENCE, changes.wait_for(|all| enough(all))).await;
        match waited {
            Ok(Ok(all)) => all.clone(),
            _ => panic!("the receiver got {} requests, and that is not enough", self.received().len()),
        }
    }

    /// Waits until it has answered `n` requests with 200, and gives all it got.
    ///
    /// # Panics
    /// When they do not come.
    pub async fn wait_for(&self, n: usize) -> Vec<Received> {
        let accepted = |all: &[Received]| all.iter().filter(|one| one.answer == Answer::Status(200)).count();
        self.wait_until(|all| accepted(all) >= n).await
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
