//! An endpoint on a real socket that does as it is told: answers, waits, hangs, breaks off.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use dispatcher_testkit::PATIENCE;
use http::HeaderMap;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

pub(crate) const OK: &str = r#"{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0}"#;

/// What to do with a request.
#[derive(Clone)]
pub(crate) enum Answer {
    /// This status, these headers (each with `\r\n`) and this body.
    Reply(u16, &'static str, String),
    /// Lets what is asked about go on, in the shape of its command.
    Allow,
    /// The same, once so many requests in all have come.
    WhenAsked(usize, String),
    /// OK, once the sender says so.
    WhenTold(watch::Receiver<bool>, String),
    /// These bytes, and no more.
    Hang(&'static str),
    /// These bytes, and the connection is closed.
    Close(&'static str),
    /// The connection is reset.
    Reset,
}

impl Answer {
    pub(crate) fn ok(body: &str) -> Answer {
        Answer::Reply(200, "", body.to_owned())
    }

    pub(crate) fn status(status: u16) -> Answer {
        Answer::Reply(status, "", "sorry\n".to_owned())
    }
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) connection: usize,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    received: watch::Sender<Vec<Received>>,
    answer: Arc<Mutex<Answer>>,
}

impl Server {
    /// Gives this answer to each request, on port 0, until the test's runtime ends.
    pub(crate) async fn start(answer: Answer) -> Server {
        Server::serve(TcpListener::bind("127.0.0.1:0").await.unwrap(), answer)
    }

    /// The same, on this listener.
    pub(crate) fn serve(listener: TcpListener, answer: Answer) -> Server {
        let address = listener.local_addr().unwrap();
        let server = Server { address, received: watch::Sender::new(Vec::new()), answer: Arc::new(Mutex::new(answer)) };
        let (received, answer, connections) = (server.received.clone(), server.answer.clone(), AtomicUsize::new(0));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let connection = connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve(stream, connection, received.clone(), answer.clone()));
            }
        });
        server
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Gives this answer from now on.
    pub(crate) fn answer(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    /// What has come so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.borrow().clone()
    }

    /// Waits until so many requests have come, and gives them.
    pub(crate) async fn wait_for(&self, n: usize) -> Vec<Received> {
        let mut changes = self.received.subscribe();
        let waited = tokio::time::timeout(PATIENCE, changes.wait_for(|all| all.len() >= n)).await;
        match waited {
            Ok(Ok(all)) => all.clone(),
            _ => panic!("{n} requests were to come, and {} did", self.received().len()),
        }
    }
}

fn allow(received: &Received) -> String {
    let query = tencent_chat::Query::parse(&received.query).unwrap_or_default();
    let rules = query.command.as_deref().and_then(tencent_chat::decision_rules);
    rules.map_or(OK.to_owned(), |rules| rules.allow(&received.body).to_json())
}

async fn serve(
    mut stream: TcpStream,
    connection: usize,
    all: watch::Sender<Vec<Received>>,
    answer: Arc<Mutex<Answer>>,
) {
    while let Some(received) = read(&mut stream, connection).await {
        let answer = answer.lock().unwrap().clone();
        let allowed = allow(&received);
        all.send_modify(|all| all.push(received));
        let text = match answer {
            Answer::Allow => format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{allowed}", allowed.len()),
            Answer::Reply(status, headers, body) => {
                format!("HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
            }
            Answer::WhenAsked(n, body) => {
                if all.subscribe().wait_for(|all| all.len() >= n).await.is_err() {
                    return;
                }
                format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
            }
            Answer::WhenTold(mut told, body) => {
                if told.wait_for(|is_told| *is_told).await.is_err() {
                    return;
                }
                format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
            }
            Answer::Hang(text) => {
                let _ = stream.write_all(text.as_bytes()).await;
                std::future::pending().await
            }
            Answer::Close(text) => {
                let _ = stream.write_all(text.as_bytes()).await;
                return;
            }
            Answer::Reset => {
                stream.set_zero_linger().unwrap();
                return;
            }
        };
        if stream.write_all(text.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn read(stream: &mut TcpStream, connection: usize) -> Option<Received> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.trim_end().split("\r\n");
    let target = lines.next().unwrap().strip_prefix("POST ").unwrap().strip_suffix(" HTTP/1.1").unwrap();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let headers: HeaderMap = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
        .collect::<Vec<(http::HeaderName, http::HeaderValue)>>()
        .into_iter()
        .collect();
    let len = headers.get("content-length").map_or(0, |len| len.to_str().unwrap().parse().unwrap());
    let mut body = vec![0; len];
    stream.read_exact(&mut body).await.ok()?;
    Some(Received { connection, path: path.to_owned(), query: query.to_owned(), headers, body })
}
