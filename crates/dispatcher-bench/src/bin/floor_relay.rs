//! The floor of a relay: what a plain program takes to accept callbacks, queue them in memory, and post them on.
//!
//! It answers OK as soon as a callback is in the queue, and posts body and query as they came. No signature, no journal, no
//! order, no second try: whatever goes wrong loses callbacks. `floor-relay ADDRESS URL IN_FLIGHT` runs until it is killed.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use reqwest::{Client, Url, header::CONTENT_TYPE, redirect};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use tokio::sync::{Semaphore, mpsc};
use warp::{Filter, http::Response};

/// How many callbacks may wait; further ones wait for room before they are answered.
const QUEUE: usize = 100_000;

type Callback = (String, Bytes);

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [listen, url, in_flight] = args.as_slice() else { panic!("floor-relay ADDRESS URL IN_FLIGHT") };
    let listen: SocketAddr = listen.parse().expect("an address");
    let url: Url = url.parse().expect("a URL");
    let in_flight = in_flight.parse().expect("how many requests may be under way");

    let (queue, queued) = mpsc::channel(QUEUE);
    tokio::spawn(relay(queued, url, in_flight));
    let callback = warp::post()
        .and(warp::path!("callback"))
        .and(warp::query::raw())
        .and(warp::body::bytes())
        .and(warp::any().map(move || queue.clone()))
        .then(accept);
    warp::serve(callback).run(listen).await;
}

async fn accept(query: String, body: Bytes, queue: mpsc::Sender<Callback>) -> Response<&'static str> {
    // Copied, since a slice of hyper's buffer would hold all of that for as long as it waits.
    let queued = queue.send((query, Bytes::copy_from_slice(&body))).await;
    let (status, reply) = match queued {
        Ok(()) => (200, r#"{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0}"#),
        Err(_) => (503, r#"{"ActionStatus":"FAIL","ErrorInfo":"the relay has ended","ErrorCode":1}"#),
    };
    Response::builder().status(status).header("content-type", "application/json").body(reply).expect("fixed parts")
}

/// Posts what is queued, `in_flight` at once.
async fn relay(mut queued: mpsc::Receiver<Callback>, url: Url, in_flight: usize) {
    let (client, permits) = (client(in_flight), Arc::new(Semaphore::new(in_flight)));
    while let Some((query, body)) = queued.recv().await {
        let permit = permits.clone().acquire_owned().await.expect("never closed");
        let (client, mut url) = (client.clone(), url.clone());
        tokio::spawn(async move {
            url.set_query(Some(&query));
            let request = client.post(url).header(CONTENT_TYPE, "application/json").body(body);
            let posted = async { request.send().await?.error_for_status()?.bytes().await };
            if let Err(err) = posted.await {
                eprintln!("lost a callback: {err}");
            }
            drop(permit);
        });
    }
}

/// Set up as the http sink's clients are, one connection for each request under way.
fn client(in_flight: usize) -> Client {
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .tls_backend_preconfigured(tls)
        .connect_timeout(Duration::from_secs(5))
        .timeout(Duration::from_secs(30))
        .pool_max_idle_per_host(in_flight)
        .pool_idle_timeout(Duration::from_secs(30))
        .tcp_nodelay(true)
        .user_agent("floor-relay")
        .build()
        .expect("nothing here depends on the machine")
}
