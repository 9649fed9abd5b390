//! A receiver on a real socket that does as it is told: answers, hangs, breaks off, never ends.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use http::HeaderMap;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

/// What to do with a request.
#[derive(Clone)]
pub(crate) enum Answer {
    /// Writes this and waits for the next request.
    Write(String),
    /// Writes this and closes the connection.
    WriteAndClose(String),
    /// Writes this and then nothing more, with the connection open.
    WriteAndHang(String),
    /// Writes this, and a body without an end for as long as anybody reads.
    WriteForEver(String),
}

impl Answer {
    /// An answer with this status, and these headers (each with `\r\n`) and body.
    pub(crate) fn status(status: u16, headers: &str, body: &str) -> Answer {
        Answer::Write(format!("HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\n\r\n{body}", body.len()))
    }
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) connection: usize,
    pub(crate) line: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// The request's target: path and query, or a whole URL if it takes us for a proxy.
    pub(crate) fn target(&self) -> &str {
        self.line.strip_prefix("POST ").unwrap().strip_suffix(" HTTP/1.1").unwrap()
    }
}

pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Receiver {
    /// Answers each request as `answer` says, on port 0, until the test's runtime ends.
    pub(crate) async fn start(answer: impl Fn(&Received) -> Answer + Send + Sync + 'static) -> Receiver {
        Receiver::start_with(answer, None).await
    }

    /// The same, with TLS.
    pub(crate) async fn start_with(
        answer: impl Fn(&Received) -> Answer + Send + Sync + 'static,
        tls: Option<TlsAcceptor>,
    ) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::new(Mutex::new(Vec::new()));
        let (answer, log, connections) = (Arc::new(answer), received.clone(), AtomicUsize::new(0));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, log, tls) = (answer.clone(), log.clone(), tls.clone());
                let connection = connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(async move {
                    match tls {
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, connection, &*answer, &log).await;
                            }
                        }
                        None => serve(stream, connection, &*answer, &log).await,
                    }
                });
            }
        });
        Receiver { address, received }
    }

    /// What has come so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    connection: usize,
    answer: &(impl Fn(&Received) -> Answer + ?Sized),
    log: &Mutex<Vec<Received>>,
) {
    while let Some(received) = read(&mut stream, connection).await {
        let answer = answer(&received);
        log.lock().unwrap().push(received);
        let written = match &answer {
            Answer::Write(text)
            | Answer::WriteAndClose(text)
            | Answer::WriteAndHang(text)
            | Answer::WriteForEver(text) => stream.write_all(text.as_bytes()).await,
        };
        match answer {
            _ if written.is_err() => return,
            Answer::Write(_) => {}
            Answer::WriteAndClose(_) => return,
            Answer::WriteAndHang(_) => std::future::pending().await,
            Answer::WriteForEver(_) => while stream.write_all(&[b'x'; 4096]).await.is_ok() {},
        }
    }
}

async fn read(stream: &mut (impl AsyncRead + Unpin), connection: usize) -> Option<Received> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.trim_end().split("\r\n");
    let line = lines.next().unwrap().to_owned();
    let headers: HeaderMap = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
        .collect::<Vec<(http::HeaderName, http::HeaderValue)>>()
        .into_iter()
        .collect();
    let len = headers.get("content-length").map_or(0, |len| len.to_str().unwrap().parse().unwrap());
    let mut body = vec![0; len];
    stream.read_exact(&mut body).await.ok()?;
    Some(Received { connection, line, headers, body })
}
