//! What the log says of each request, and the trace that a callback came with, on its way to every receiver.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers as well")]

mod commands;
mod wire;

use std::{
    fs,
    io::Write as _,
    net::TcpStream,
    path::{Path, PathBuf},
};

use dispatcher_testkit::{Process, Receiver};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    commands::{eventually, ok},
    wire::{Running, exchange, post, query},
};

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const AFTER: &str = "Group.CallbackAfterSendMsg";
const BEFORE: &str = "Group.CallbackBeforeSendMsg";

/// The program of `tests/programs` whose plugins do as they are told. Cargo builds it with the tests.
fn program() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_BIN_EXE_dispatcher"));
    folder.parent().unwrap().join("examples").join("misbehaving")
}

fn config(folder: &Path, sections: &str) {
    let text = format!(
        "[intake]\nlisten = \"127.0.0.1:0\"\n\n[[apps]]\nsdk_app_id = 1400000001\nname = \"main\"\ntokens = \
         [\"a-token\"]\n\n[journal]\npath = \"journal.db\"\n\n{sections}"
    );
    fs::write(folder.join("dispatcher.toml"), text).unwrap();
}

fn start(folder: &Path, sections: &str) -> (Process, String) {
    config(folder, sections);
    let process = Process::start(program(), folder);
    let addr = process.url().trim_start_matches("http://").split('/').next().unwrap().to_owned();
    (process, addr)
}

fn message(command: &str, nth: u64, text: &str) -> String {
    json!({
        "CallbackCommand": command, "GroupId": "g", "Type": "Public", "From_Account": "mara", "Operator_Account": "mara",
        "Random": nth, "MsgSeq": nth, "MsgTime": 1_767_000_000, "EventTime": 1_767_000_000_000_u64 + nth,
        "MsgBody": [{ "MsgType": "TIMTextElem", "MsgContent": { "Text": text } }],
    })
    .to_string()
}

fn send(addr: &str, command: &str, nth: u64, headers: &str) -> String {
    let target = format!("/callback?{}", query(command, "a-token"));
    post(addr, &target, headers, &message(command, nth, "hello"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_reaches_every_receiver_and_lasts_over_a_restart() {
    let folder = TempDir::new().unwrap();
    let [relay, raw, endpoint] = [Receiver::start().await, Receiver::start().await, Receiver::start().await];
    let sections = format!(
        r#"
[log]
format = "human"

[handlers.everything]
type = "forward"
sinks = ["archive", "relay", "raw"]

[handlers.theirs]
type = "endpoint"
url = "{}"
commands = ["Group.*"]
allow_networks = ["127.0.0.0/8"]
attempts = 1

[sinks.archive]
type = "file"
path = "events.jsonl"

[sinks.relay]
type = "http"
url = "{}"
allow_networks = ["127.0.0.0/8"]

[sinks.raw]
type = "http"
format = "raw"
url = "{}"
allow_networks = ["127.0.0.0/8"]
"#,
        endpoint.url(),
        relay.url(),
        raw.url()
    );
    let (process, addr) = start(folder.path(), &sections);
    let twice = format!("traceparent: {TRACE}\r\ntraceparent: {TRACE}\r\n");
    // The group's order is theirs at the receivers.
    for (nth, headers) in [
        (1, format!("Traceparent: {TRACE}\r\n")),
        (2, String::new()),
        (3, format!("traceparent: {}\r\n", TRACE.to_uppercase())),
        (4, twice),
        (5, "traceparent: \u{fc}\r\n".to_owned()),
    ] {
        let answer = send(&addr, AFTER, nth, &headers);
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with(tencent_chat::OK), "{answer}");
    }
    send(&addr, BEFORE, 6, &format!("traceparent: {TRACE}\r\n"));
    let expected = [Some(TRACE), None, None, None, None];
    for (name, receiver) in [("relay", &relay), ("raw", &raw)] {
        let received = receiver.wait_for(5).await;
        for (one, expected) in received.iter().zip(expected) {
            assert_eq!(one.headers.get("traceparent").map(|value| value.to_str().unwrap()), expected, "{name}");
            assert!(!one.query.contains("traceparent") && !one.query.contains("4bf92f"), "{}", one.query);
            let body: Value = serde_json::from_slice(&one.body).unwrap();
            let attribute = if name == "relay" { expected } else { None };
            assert_eq!(body.get("traceparent").and_then(Value::as_str), attribute, "{body}");
        }
    }
    let events = eventually("five events", || {
        let text = fs::read_to_string(folder.path().join("events.jsonl")).unwrap_or_default();
        (text.matches('\n').count() == 5).then_some(text)
    });
    for (line, expected) in events.lines().zip(expected) {
        let event: Value = serde_json::from_str(line).unwrap();
        assert_eq!(event.get("traceparent").and_then(Value::as_str), expected, "{event}");
    }
    // Asked about one, and told of five.
    let asked = endpoint.wait_until(|all| all.len() >= 6).await;
    let traced = asked.iter().filter(|one| one.headers.get("traceparent").is_some_and(|value| value == TRACE));
    assert_eq!(traced.count(), 2);
    assert!(asked.iter().all(|one| !one.query.contains("4bf92f")), "{asked:?}");

    assert!(process.terminate().success()); // So that nothing comes twice.
    let (_process, _) = start(folder.path(), &sections);
    let shown: Value = serde_json::from_str(&ok(folder.path(), &["show", "callbacks/1", "--json"])).unwrap();
    assert_eq!(shown["callback"]["traceparent"], TRACE);
    assert!(ok(folder.path(), &["show", "callbacks/1"]).contains(&format!("  trace        {TRACE}\n")));
    ok(folder.path(), &["replay", "--sink", "relay", "--since", "1h"]);
    let received = relay.wait_for(10).await;
    for (one, expected) in received[5..].iter().zip(expected) {
        assert_eq!(one.headers.get("traceparent").map(|value| value.to_str().unwrap()), expected);
        let body: Value = serde_json::from_slice(&one.body).unwrap();
        assert_eq!((body["replay"].as_bool(), body["traceparent"].as_str()), (Some(true), expected));
    }
}

/// The lines about requests, once there are enough.
fn lines_until(running: &Running, is_enough: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    eventually("enough lines", || {
        let all = running.said();
        let whole = all.rfind('\n').map_or("", |end| &all[..end]);
        let lines = whole.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let lines: Vec<Value> = lines.filter(|line| line["target"] == "dispatcher::callback").collect();
        is_enough(&lines).then_some(lines)
    })
}

/// A line without what differs from run to run, once that was looked at.
fn clean(mut line: Value) -> Value {
    let members = line.as_object_mut().unwrap();
    assert!(members.remove("timestamp").is_some() && members.remove("target").is_some());
    assert_eq!(members.remove("level").unwrap(), "DEBUG");
    assert_eq!(members.remove("message").unwrap(), "request ended");
    assert!(members.remove("peer").unwrap().as_str().unwrap().starts_with("127.0.0.1:"));
    assert!(members.remove("micros").unwrap().as_u64().unwrap() > 0);
    assert!(members.remove("cause").is_none_or(|cause| cause.as_str().unwrap().len() > 10));
    let id = members.remove("id");
    assert!(id.as_ref().is_none_or(|id| id.as_str().unwrap().len() == 36));
    members.insert("has_id".to_owned(), id.is_some().into());
    line
}

const SLOW: &str = r#"
[log]
level = "debug"
format = "json"

[handlers.slow]
type = "misbehaving"
control = "slow"
commands = ["Group.CallbackBeforeSendMsg"]
phase = "before"
decide = "hang"
only = "patience"
otherwise = "refuse"

"#;

#[test]
fn each_request_has_one_line_at_debug_and_none_below() {
    let folder = TempDir::new().unwrap();
    config(folder.path(), SLOW);
    let running = Running::start(&program(), folder.path(), "run", &[]);
    let addr = &*running.addr;
    let traced = format!("traceparent: {TRACE}\r\n");
    send(addr, AFTER, 1, &traced);
    send(addr, BEFORE, 2, "");
    post(addr, &format!("/callback?{}", query(AFTER, "another")), "", "{}");
    post(addr, &format!("/callback?{}", query(AFTER, "a-token")), &traced, "{");
    let length = |command, nth| message(command, nth, "hello").len();
    let refused = |refusal: &str| json!({ "outcome": "refused", "refusal": refusal, "has_id": false });
    let with = |line: Value, more: Value| {
        let mut line = line.as_object().unwrap().clone();
        line.extend(more.as_object().unwrap().clone());
        Value::Object(line)
    };
    let app = json!({ "app": 1_400_000_001 });
    let expected = [
        json!({
            "outcome": "accepted", "app": 1_400_000_001, "command": AFTER, "body_bytes": length(AFTER, 1),
            "traceparent": TRACE, "has_id": true,
        }),
        json!({
            "outcome": "decided", "app": 1_400_000_001, "command": BEFORE, "body_bytes": length(BEFORE, 2),
            "decision": "refused", "has_id": true,
        }),
        with(refused("signature_wrong"), app.clone()),
        with(with(refused("not_json"), app), json!({ "command": AFTER, "body_bytes": 1, "traceparent": TRACE })),
    ];
    let lines = lines_until(&running, |lines| lines.len() >= expected.len());
    assert_eq!(lines.into_iter().map(clean).collect::<Vec<_>>(), expected);
    ok(folder.path(), &["log-level", "info"]);
    send(addr, AFTER, 4, &traced);
    ok(folder.path(), &["log-level", "debug"]);
    send(addr, AFTER, 5, "");
    let lines = lines_until(&running, |lines| lines.len() > expected.len());
    assert_eq!(lines.len(), expected.len() + 1, "one of the two");
}

#[test]
fn who_goes_away_before_the_answer_has_a_line_too() {
    let folder = TempDir::new().unwrap();
    let observe = "[observe]\nlisten = \"127.0.0.1:0\"\n";
    config(folder.path(), &format!("{SLOW}{observe}"));
    let running = Running::start(&program(), folder.path(), "run", &[]);
    let observe = running.said().split_once("/metrics").unwrap().0.rsplit_once("http://").unwrap().1.to_owned();
    let body = message(BEFORE, 3, "patience");
    // By then it may be answered, on a machine that is busy; another try is in time.
    let mut n = 0;
    let gone = loop {
        let mut stream = TcpStream::connect(&running.addr).unwrap();
        let target = format!("/callback?{}", query(BEFORE, "a-token"));
        let request = format!("POST {target} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        stream.write_all(request.as_bytes()).unwrap();
        eventually("a question or its answer", || {
            let page = exchange(&observe, "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
            let is_asked = page.contains("dispatcher_decider_in_flight{handler=\"slow\"} 1");
            (is_asked || lines_until(&running, |_| true).len() > n).then_some(())
        });
        drop(stream);
        n += 1;
        let last = lines_until(&running, |lines| lines.len() >= n).pop().unwrap();
        if last["outcome"] == "gone" || n == 20 {
            break last;
        }
    };
    assert_eq!(
        clean(gone),
        json!({ "outcome": "gone", "app": 1_400_000_001, "command": BEFORE, "body_bytes": body.len(), "has_id": true })
    );
}
