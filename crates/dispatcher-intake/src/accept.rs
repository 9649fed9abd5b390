//! Accepts connections and hands each to the worker with the fewest.
//!
//! One queue and a hand-out rather than a queue per worker (`SO_REUSEPORT`): Tencent keeps few connections, and the
//! kernel, which hashes them over the queues, may well give all to one worker.

use std::{
    io,
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    time::sleep,
};
use tracing::{debug, info, warn};

use crate::{
    Outcome,
    counters::Tally,
    places::{Places, Seat},
    worker::{Accepted, Steady, Worker},
};

/// How long to wait after accepting failed for want of something, such as file descriptors; doubled up to the second.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// A worker and the way to it.
pub(crate) struct Hand {
    pub(crate) worker: Arc<Worker>,
    pub(crate) connections: mpsc::UnboundedSender<Accepted>,
}

/// Who is let in.
pub(crate) struct Door {
    pub(crate) places: Arc<Places>,
    pub(crate) tally: Arc<Tally>, // Of those who are not.
}

/// Accepts until `stop` resolves, then hands out what waits in the kernel's queue and returns, dropping the workers'
/// channels. Its errors never end it.
pub(crate) async fn accept(listener: TcpListener, hands: Vec<Hand>, door: Door, stop: oneshot::Receiver<()>) {
    tokio::select! {
        _ = stop => {}
        () = accept_all(&listener, &hands, &door) => {}
    }
    // A request may already lie in the kernel's queue; its sender takes it for received.
    let Ok(listener) = listener.into_std() else { return };
    while door.places.is_free()
        && let Ok((stream, peer)) = listener.accept()
    {
        if stream.set_nonblocking(true).is_ok() {
            hand_out(&hands, &door, stream, peer);
        }
    }
}

async fn accept_all(listener: &TcpListener, hands: &[Hand], door: &Door) {
    let mut backoff = None;
    let (started, room) = (Instant::now(), Steady::working());
    loop {
        let is_free = door.places.is_free();
        let is_news = room.change(is_free, u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX));
        if !is_free {
            door.tally.count(Outcome::Full);
        }
        match is_free {
            true if is_news => info!("there is a place for each connection again"),
            false if is_news => warn!(
                max_connections = door.places.limit(),
                "as many connections are open as may be; further ones wait in the kernel's queue; raise \
                 [intake] max_connections, or see who holds them"
            ),
            _ => {}
        }
        door.places.wait().await;
        let accepted = listener.accept().await.and_then(|(stream, peer)| Ok((stream.into_std()?, peer)));
        match accepted {
            Ok((stream, peer)) => {
                if backoff.take().is_some() {
                    info!("connections are accepted again");
                }
                hand_out(hands, door, stream, peer);
            }
            // The peer gave up before it was its turn.
            Err(err) if is_of_one_connection(&err) => {}
            Err(err) => {
                if backoff.is_none() {
                    warn!(%err, "cannot accept connections; trying again until it works");
                }
                let wait = backoff.map_or(BACKOFF.0, |last: Duration| (last * 2).min(BACKOFF.1));
                backoff = Some(wait);
                sleep(wait).await;
            }
        }
    }
}

fn hand_out(hands: &[Hand], door: &Door, stream: TcpStream, peer: SocketAddr) {
    let Some(seat) = Seat::take(&door.places, peer.ip()) else {
        door.tally.count(Outcome::AddressFull);
        return debug!(%peer, "connection closed: its address has as many as it may");
    };
    // A reply is one small write; waiting to join it with another one would only delay it.
    if stream.set_nodelay(true).is_err() {
        return; // The peer is gone.
    }
    // A channel is closed when its worker's thread is gone, which takes a panic in the runtime itself.
    let alive = hands.iter().filter(|hand| !hand.connections.is_closed());
    let Some(hand) = alive.min_by_key(|hand| hand.worker.n_connections()) else { return };
    hand.worker.expect();
    // No more of them than there are places.
    let _ = hand.connections.send(Accepted { stream, peer, seat });
}

fn is_of_one_connection(err: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(err.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
