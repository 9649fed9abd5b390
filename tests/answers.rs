//! What callbacks are answered: the real program, real sockets.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers as well")]

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use dispatcher_testkit::{Process, Tencent};
use serde_json::{Value, json};
use tempfile::TempDir;

const DISPATCHER: &str = env!("CARGO_BIN_EXE_dispatcher");
const TOKEN: &str = "a-token";
const COMMAND: &str = "Group.CallbackAfterGroupAttrChanged";

const CONFIG: &str = r#"
[intake]
listen = "127.0.0.1:0"
body_limit = "4KiB"
answer_within = "400ms"

[[apps]]
sdk_app_id = 1400000001
name = "main"
tokens = ["a-token", "the-next-token"]

[[apps]]
sdk_app_id = 1400000002
name = "unsigned"
signature = "off"

[commands."State.StateChange"]
journal = "never"

[journal]
path = "journal.db"

[log]
format = "human"
"#;

fn start() -> (TempDir, Process) {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("dispatcher.toml"), CONFIG).unwrap();
    let process = Process::start(DISPATCHER, folder.path());
    (folder, process)
}

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

fn signed(token: &str, request_time: u64) -> String {
    tencent_chat::query_string(1_400_000_001, COMMAND, None, None, Some((token, request_time)))
}

#[tokio::test]
async fn each_input_has_its_answer() {
    let (_folder, process) = start();
    let tencent = Tencent::new(process.url(), 1_400_000_001, Some(TOKEN));
    let body = tencent_chat::command(COMMAND).unwrap().sample;
    let good = signed(TOKEN, now());
    let upper = {
        let (before, sign) = good.split_once("Sign=").unwrap();
        let (sign, after) = sign.split_at(64);
        format!("{before}Sign={}{after}", sign.to_uppercase())
    };
    let unsigned = "SdkAppid=1400000002&CallbackCommand=";
    let large = format!(r#"{{"x":"{}"}}"#, "x".repeat(5000));
    let cases: &[(&str, String, &str, u16, u32)] = &[
        ("a signed callback", good.clone(), body, 200, 0),
        ("the other token", signed("the-next-token", now()), body, 200, 0),
        ("a signature in upper case", upper, body, 200, 0),
        ("names in other case", good.replace("SdkAppid", "SDKAppID"), body, 200, 0),
        ("an unknown command", format!("{unsigned}Live.CallbackAfterCreateRoom"), "{}", 200, 0),
        ("a batch without a command", format!("{unsigned}Push.OfflinePush"), r#"{"Events":[{"EventTime":1}]}"#, 200, 0),
        (
            "a result without a command",
            format!("{unsigned}ContentCallback.ResultNotify"),
            r#"{"CtxcbRequestId":"1"}"#,
            200,
            0,
        ),
        ("a command that is not stored", format!("{unsigned}State.StateChange"), "{}", 200, 0),
        ("a command that wants a decision", format!("{unsigned}Group.CallbackBeforeSendMsg"), "{}", 200, 0),
        ("a connection test", String::new(), "", 200, 0),
        ("no app", format!("CallbackCommand={COMMAND}"), body, 403, 403_001),
        ("an unknown app", good.replace("1400000001", "1400000009"), body, 403, 403_002),
        ("no signature", format!("SdkAppid=1400000001&CallbackCommand={COMMAND}"), body, 401, 401_001),
        ("a wrong signature", signed("another-token", now()), body, 401, 401_002),
        ("a stale signature", signed(TOKEN, now() - 3600), body, 401, 401_003),
        ("a signature from the future", signed(TOKEN, now() + 3600), body, 401, 401_003),
        ("no command", "SdkAppid=1400000002".into(), body, 400, 400_003),
        ("a parameter twice", format!("{good}&sdkappid=1400000001"), body, 400, 400_001),
        ("no JSON", format!("{unsigned}{COMMAND}"), "{", 400, 400_006),
        ("no object", format!("{unsigned}{COMMAND}"), "[1]", 400, 400_007),
        ("another command", format!("{unsigned}Group.CallbackAfterGroupFull"), body, 400, 400_009),
        ("a command twice", format!("{unsigned}X"), r#"{"CallbackCommand":"X","CallbackCommand":"X"}"#, 400, 400_008),
        ("too large a body", format!("{unsigned}{COMMAND}"), &large, 413, 413_001),
    ];
    for (what, query, body, status, code) in cases {
        let reply = tencent.post(query, body).await.unwrap();
        let json = reply.json();
        let expected = if *code == 0 { "OK" } else { "FAIL" };
        assert_eq!((reply.status, &json["ActionStatus"]), (*status, &json!(expected)), "{what}: {reply:?}");
        assert_eq!(json["ErrorCode"], json!(code), "{what}: {reply:?}");
        let info = json["ErrorInfo"].as_str().unwrap();
        assert_eq!(info.is_empty(), *code == 0, "{what}: {reply:?}");
        for secret in [TOKEN, "the-next-token", "berth"] {
            assert!(!info.contains(secret), "{what} leaks {secret:?}: {reply:?}");
        }
        assert_eq!(json.as_object().unwrap().len(), 3, "{what}: {reply:?}");
    }
}

#[test]
fn another_path_or_method_and_late_or_chunked_bodies_have_their_answers() {
    let (_folder, process) = start();
    let query = "/callback?SdkAppid=1400000002&CallbackCommand=Group.CallbackAfterGroupFull";
    let chunked = "Transfer-Encoding: chunked\r\n\r\n";
    let large = format!("{chunked}1400\r\n{}\r\n0\r\n\r\n", "x".repeat(0x1400));
    for (what, request, status) in [
        ("another path", "POST /other HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".to_owned(), 404),
        ("another method", format!("GET {query} HTTP/1.1\r\nHost: x\r\n\r\n"), 405),
        ("a chunked body", format!("POST {query} HTTP/1.1\r\nHost: x\r\n{chunked}2\r\n{{}}\r\n0\r\n\r\n"), 200),
        ("a chunked body over the limit", format!("POST {query} HTTP/1.1\r\nHost: x\r\n{large}"), 413),
        ("half a body", format!("POST {query} HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n{{\"a\":"), 408),
    ] {
        let mut socket = connect(&process);
        socket.write_all(request.as_bytes()).unwrap();
        let (got, reply) = read_reply(&mut socket);
        assert_eq!(got, status, "{what}: {reply}");
        assert!(reply.get("ActionStatus").is_some(), "{what}: {reply}");
    }
}

#[test]
fn a_connection_carries_many_callbacks() {
    let (_folder, process) = start();
    let mut socket = connect(&process);
    for nth in 0..100 {
        let body = format!(r#"{{"EventTime":{nth}}}"#);
        let head =
            "POST /callback?SdkAppid=1400000002&CallbackCommand=Group.CallbackAfterGroupFull HTTP/1.1\r\nHost: x";
        write!(socket, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        assert_eq!(read_reply(&mut socket).0, 200, "the reply number {nth}");
    }
}

fn connect(process: &Process) -> TcpStream {
    let address = process.url().trim_start_matches("http://").split('/').next().unwrap().to_owned();
    TcpStream::connect(address).unwrap()
}

/// One reply with a Content-Length: its status and its JSON.
fn read_reply(socket: &mut TcpStream) -> (u16, Value) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length = head.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap().parse().unwrap();
    let mut body = vec![0; length];
    socket.read_exact(&mut body).unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_slice(&body).unwrap())
}
