//! Clients that are slow in every way there is, against the real program: each place is given back when its time is over.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers as well")]

use std::{
    fs,
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
    thread::sleep,
    time::{Duration, Instant},
};

use dispatcher_testkit::Process;
use tempfile::TempDir;

/// As many places as there are ways to be slow.
const CONFIGURATION: &str = "\
[intake]
listen = \"127.0.0.1:0\"
max_connections = 6
header_within = \"500ms\"
answer_within = \"500ms\"
idle = \"500ms\"
[commands.\"*\"]
journal = \"never\"
[[apps]]
sdk_app_id = 1
name = \"main\"
signature = \"off\"
[log]
format = \"human\"
";

/// Far longer than any of the limits.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Slow {
    Silent,
    OneByte,
    HalfAHead,
    AHeaderNowAndThen,
    HalfABody,
    ReadsNothing,
}

const ALL: [Slow; 6] =
    [Slow::Silent, Slow::OneByte, Slow::HalfAHead, Slow::AHeaderNowAndThen, Slow::HalfABody, Slow::ReadsNothing];

fn request() -> String {
    let body = "{\"GroupId\":\"g\"}";
    format!(
        "POST /callback?SdkAppid=1&CallbackCommand=Group.CallbackAfterGroupFull HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

struct Client {
    kind: Slow,
    stream: TcpStream,
    /// Of one request after the other, by who reads no answer.
    sent: usize,
}

impl Client {
    fn connect(addr: &str, kind: Slow) -> Client {
        let mut stream = TcpStream::connect(addr).unwrap();
        let whole = request();
        let sent = match kind {
            Slow::Silent | Slow::ReadsNothing => "",
            Slow::OneByte => "P",
            Slow::HalfAHead => &whole[..whole.find("content-length").unwrap()],
            Slow::AHeaderNowAndThen => &whole[..=whole.find('\n').unwrap()],
            Slow::HalfABody => &whole[..whole.len() - 5],
        };
        stream.write_all(sent.as_bytes()).unwrap();
        stream.set_nonblocking(true).unwrap();
        Client { kind, stream, sent: 0 }
    }

    /// Whether it has been closed, whatever came before. Sends what there is to send now.
    fn is_closed(&mut self) -> bool {
        let gone = |err: std::io::Error| err.kind() != ErrorKind::WouldBlock;
        match self.kind {
            Slow::ReadsNothing => {
                let all = request().repeat(2048);
                match self.stream.write(&all.as_bytes()[self.sent % request().len()..]) {
                    Ok(sent) => {
                        self.sent += sent;
                        return false;
                    }
                    Err(err) => return gone(err),
                }
            }
            Slow::AHeaderNowAndThen if self.stream.write(b"x-more: 1\r\n").is_err_and(gone) => return true,
            _ => {}
        }
        loop {
            match self.stream.read(&mut [0; 1024]) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(err) => return gone(err),
            }
        }
    }
}

#[test]
fn none_holds_a_place_longer_than_its_limit() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("dispatcher.toml"), CONFIGURATION).unwrap();
    let process = Process::start(env!("CARGO_BIN_EXE_dispatcher"), folder.path());
    let addr = process.url().trim_start_matches("http://").split('/').next().unwrap().to_owned();
    let mut slow: Vec<Client> = ALL.map(|kind| Client::connect(&addr, kind)).into();

    // All places are taken: it is answered once one is given back.
    let mut good = TcpStream::connect(&addr).unwrap();
    good.set_read_timeout(Some(PATIENCE)).unwrap();
    good.write_all(request().as_bytes()).unwrap();
    let mut answer = [0; 12];
    good.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");

    let until = Instant::now() + PATIENCE;
    while !slow.is_empty() {
        let held: Vec<_> = slow.iter().map(|client| client.kind).collect();
        assert!(Instant::now() < until, "{held:?} hold their places");
        slow.retain_mut(|client| !client.is_closed());
        sleep(Duration::from_millis(20));
    }
    assert!(process.terminate().success());
}
