//! The floor: what the least that a warp handler can do for a callback costs.
//!
//! It parses the query and the few fields of the body that a dispatcher would need, replies OK, and does nothing else:
//! no signature, no journal, no handlers. `floor-warp ADDRESS` listens until it is killed.

use std::{hint::black_box, net::SocketAddr};

use bytes::Bytes;
use serde::Deserialize;
use warp::{Filter, http::Response};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Query {
    sdk_appid: String,
    callback_command: String,
    #[serde(rename = "contenttype")]
    content_type: String,
    #[serde(rename = "ClientIP")]
    client_ip: String,
    opt_platform: String,
    sign: String,
    request_time: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Packet {
    callback_command: String,
    group_id: Option<String>,
    #[serde(rename = "From_Account")]
    from_account: Option<String>,
    #[serde(rename = "To_Account")]
    to_account: Option<String>,
    event_time: u64,
}

#[tokio::main]
async fn main() {
    let listen: SocketAddr = std::env::args().nth(1).and_then(|arg| arg.parse().ok()).expect("floor-warp ADDRESS");
    let callback = warp::post().and(warp::path!("callback")).and(warp::query()).and(warp::body::bytes()).map(answer);
    warp::serve(callback).run(listen).await;
}

fn answer(query: Query, body: Bytes) -> Response<&'static str> {
    let (status, reply) = match serde_json::from_slice::<Packet>(&body) {
        Ok(packet) if packet.callback_command == query.callback_command => {
            // Parsed, though nobody reads it.
            black_box((packet.group_id, packet.from_account, packet.to_account, packet.event_time));
            black_box((query.sdk_appid, query.content_type, query.client_ip, query.opt_platform));
            black_box((query.sign, query.request_time));
            (200, r#"{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0}"#)
        }
        _ => (400, r#"{"ActionStatus":"FAIL","ErrorInfo":"not such a callback","ErrorCode":1}"#),
    };
    Response::builder().status(status).header("content-type", "application/json").body(reply).expect("fixed parts")
}
