//! A peer that says exactly what it is told to, byte for byte.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use serde_json::{Value, json};

/// No wait of these tests is meant to last this long.
const FOR_EVER: Duration = Duration::from_secs(20);

pub(crate) trait Stream: Read + Write {}

impl<S: Read + Write> Stream for S {}

pub(crate) struct Client {
    stream: Box<dyn Stream>,
    socket: TcpStream,
    read: Vec<u8>,
}

pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Client {
        Client::over(TcpStream::connect(address).unwrap())
    }

    fn over(stream: TcpStream) -> Client {
        stream.set_read_timeout(Some(FOR_EVER)).unwrap();
        stream.set_nodelay(true).unwrap();
        let socket = stream.try_clone().unwrap();
        Client { stream: Box::new(stream), socket, read: Vec::new() }
    }

    /// The same, of a peer whose system has room for very little of what it does not read.
    pub(crate) fn connect_cramped(address: SocketAddr) -> Client {
        use rustix::net::{AddressFamily, SocketType, connect, socket, sockopt::set_socket_recv_buffer_size};
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        set_socket_recv_buffer_size(&socket, 1).unwrap();
        connect(&socket, &address).unwrap();
        Client::over(socket.into())
    }

    /// The same over TLS. The handshake comes with the first bytes that are sent.
    pub(crate) fn connect_tls(address: SocketAddr, config: Arc<rustls::ClientConfig>) -> Client {
        Client::connect_tls_as(address, config, "localhost")
    }

    /// The same, asking for this name.
    pub(crate) fn connect_tls_as(address: SocketAddr, config: Arc<rustls::ClientConfig>, name: &'static str) -> Client {
        Client::connect(address).with_tls(config, name)
    }

    /// What follows is said over TLS.
    pub(crate) fn with_tls(self, config: Arc<rustls::ClientConfig>, name: &'static str) -> Client {
        let tls = rustls::ClientConnection::new(config, name.try_into().unwrap()).unwrap();
        let stream = Box::new(rustls::StreamOwned::new(tls, self.socket.try_clone().unwrap()));
        Client { stream, ..self }
    }

    /// Sends a request and reads until the peer closes; the error, where the connection did not last that long.
    pub(crate) fn try_ask(&mut self, request: &str) -> std::io::Result<String> {
        self.stream.write_all(request.as_bytes())?;
        let mut reply = String::new();
        self.stream.read_to_string(&mut reply)?;
        Ok(reply)
    }

    pub(crate) fn send(&mut self, text: impl AsRef<[u8]>) {
        self.stream.write_all(text.as_ref()).unwrap();
    }

    /// Sends as much of `text` as the peer takes before it closes.
    pub(crate) fn send_in_vain(&mut self, text: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(text.as_ref());
    }

    pub(crate) fn stop_sending(&self) {
        self.socket.shutdown(Shutdown::Write).unwrap();
    }

    pub(crate) fn ask(&mut self, request: impl AsRef<[u8]>) -> Reply {
        self.send(request);
        self.reply()
    }

    pub(crate) fn reply(&mut self) -> Reply {
        let head = self.read_head();
        let length = head.split("content-length: ").nth(1).expect("every reply has a length");
        let length = length.split("\r\n").next().unwrap().parse().unwrap();
        while self.read.len() < length {
            self.read_more();
        }
        let body = String::from_utf8(self.read.drain(..length).collect()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Reply { status, head, body }
    }

    /// Reads up to the first empty line; a `100 Continue` is one on its own.
    pub(crate) fn read_head(&mut self) -> String {
        loop {
            if let Some(end) = self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                return String::from_utf8(self.read.drain(..end + 4).collect()).unwrap().to_lowercase();
            }
            self.read_more();
        }
    }

    /// Whether nothing has come that was not read.
    pub(crate) fn hears_nothing(&self) -> bool {
        self.socket.set_nonblocking(true).unwrap();
        let heard = self.socket.peek(&mut [0]);
        self.socket.set_nonblocking(false).unwrap();
        self.read.is_empty() && heard.is_err_and(|err| err.kind() == ErrorKind::WouldBlock)
    }

    /// Waits until the peer closes; whatever it still says is returned.
    pub(crate) fn wait_for_close(&mut self) -> String {
        let mut rest = std::mem::take(&mut self.read);
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(err) => assert_eq!(err.kind(), ErrorKind::ConnectionReset, "not closed: {err}"),
        }
        String::from_utf8(rest).unwrap()
    }

    /// Waits until the peer closes, however it does that.
    pub(crate) fn wait_for_close_of_any_kind(&mut self) {
        let _ = self.stream.read_to_end(&mut Vec::new());
    }

    fn read_more(&mut self) {
        let mut buf = [0; 4096];
        let n = self.stream.read(&mut buf).unwrap();
        assert_ne!(n, 0, "closed after {:?}", String::from_utf8_lossy(&self.read));
        self.read.extend_from_slice(&buf[..n]);
    }
}

impl Reply {
    #[track_caller]
    pub(crate) fn assert_ok(&self) {
        let expected = json!({ "ActionStatus": "OK", "ErrorInfo": "", "ErrorCode": 0 });
        assert_eq!((self.status, self.json()), (200, expected));
    }

    /// Checks that it is exactly this.
    #[track_caller]
    pub(crate) fn assert_says(&self, body: &str) {
        assert_eq!((self.status, &*self.body), (200, body));
    }

    /// Checks status, number and shape; returns the text.
    #[track_caller]
    pub(crate) fn assert_refused(&self, code: u32) -> String {
        let reply = self.json();
        let said = (self.status, reply["ActionStatus"].as_str(), reply["ErrorCode"].as_u64());
        assert_eq!(said, ((code / 1000) as u16, Some("FAIL"), Some(code.into())), "{}", self.body);
        assert_eq!(reply.as_object().unwrap().len(), 3);
        reply["ErrorInfo"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    fn json(&self) -> Value {
        assert!(self.head.contains("content-type: application/json\r\n"), "{}", self.head);
        serde_json::from_str(&self.body).unwrap()
    }
}

/// A POST to `/callback` with this query and body.
pub(crate) fn post(query: &str, body: &str) -> String {
    format!("POST /callback?{query} HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// The head of a POST that waits to be told to send its body.
pub(crate) fn post_expecting(query: &str, length: usize) -> String {
    format!("POST /callback?{query} HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n\r\n")
}

/// A POST with a body in chunks.
pub(crate) fn post_chunked(query: &str, chunks: &[&str]) -> String {
    let mut request = format!("POST /callback?{query} HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n");
    for chunk in chunks.iter().chain(&[""]) {
        request += &format!("{:x}\r\n{chunk}\r\n", chunk.len());
    }
    request
}
