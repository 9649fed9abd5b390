//! The way of a callback as spans: what a receiver of OTLP gets of a program that runs, and what that program does without one.
//!
//! Only with the feature: `cargo test -p dispatcher --features otlp --test otlp`.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers as well")]

mod commands;
mod wire;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
};

use dispatcher_testkit::{Received, Receiver};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest, common::v1::any_value::Value as AnyValue, trace::v1::Span,
};
use prost::Message as _;
use serde_json::json;
use tempfile::TempDir;

use crate::{
    commands::{eventually, fails, ok},
    wire::{Running, exchange, post, query},
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";
const AFTER: &str = "Group.CallbackAfterSendMsg";
const BEFORE: &str = "Group.CallbackBeforeSendMsg";

/// What nobody may see there.
const TOKEN: &str = "token-mark-1a";
const HEADER: &str = "header-mark-2b";
const CHAT: &str = "chat-mark-3c";
const GROUP: &str = "group-mark-4d";
const USER: &str = "user-mark-5e";

fn program() -> PathBuf {
    env!("CARGO_BIN_EXE_dispatcher").into()
}

fn config(folder: &Path, endpoint: &str, sections: &str) {
    let text = format!(
        r#"
[intake]
listen = "127.0.0.1:0"

[[apps]]
sdk_app_id = 1400000001
name = "main"
tokens = ["{TOKEN}"]

[journal]
path = "journal.db"

[observe]
listen = "127.0.0.1:0"

[observe.otlp]
endpoint = "{endpoint}"
headers = {{ Authorization = "{HEADER}" }}

[handlers.everything]
type = "forward"
sinks = ["archive"]

[sinks.archive]
type = "file"
path = "events.jsonl"
{sections}"#
    );
    fs::write(folder.join("dispatcher.toml"), text).unwrap();
}

fn send(addr: &str, command: &str, nth: u64, traceparent: Option<&str>) -> String {
    let body = json!({
        "CallbackCommand": command, "GroupId": GROUP, "Type": "Public", "From_Account": USER, "Operator_Account": USER,
        "Random": nth, "MsgSeq": nth, "MsgTime": 1_767_000_000, "EventTime": 1_767_000_000_000_u64 + nth,
        "MsgBody": [{ "MsgType": "TIMTextElem", "MsgContent": { "Text": CHAT } }],
    });
    let header = traceparent.map(|trace| format!("traceparent: {trace}\r\n")).unwrap_or_default();
    post(addr, &format!("/callback?{}", query(command, TOKEN)), &header, &body.to_string())
}

fn spans(received: &[Received]) -> Vec<Span> {
    let requests = received.iter().map(|one| ExportTraceServiceRequest::decode(one.body.clone()).unwrap());
    let resources = requests.flat_map(|request| request.resource_spans);
    resources.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attribute(span: &Span, key: &str) -> Option<String> {
    let value = span.attributes.iter().find(|one| one.key == key)?.value.clone()?.value?;
    Some(match value {
        AnyValue::StringValue(text) => text,
        AnyValue::IntValue(number) => number.to_string(),
        other => panic!("{other:?}"),
    })
}

/// The metric's counts, by what came of spans.
fn counts(running: &Running) -> BTreeMap<String, u64> {
    let observe = running.said().split_once("/metrics").unwrap().0.rsplit_once("http://").unwrap().1.to_owned();
    let page = exchange(&observe, "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let counts =
        page.lines().filter_map(|line| line.strip_prefix("dispatcher_spans_total{result=\"")?.split_once("\"} "));
    counts.map(|(result, count)| (result.to_owned(), count.parse().unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_of_a_callback_is_one_trace_with_the_sender_as_its_parent() {
    let folder = TempDir::new().unwrap();
    let [collector, relay] = [Receiver::start().await, Receiver::start().await];
    let sections = format!(
        r#"
[handlers.again]
type = "forward"
sinks = ["relay"]

[handlers.words]
type = "word-filter"
words = ["mark"]
action = "refuse"

[sinks.relay]
type = "http"
url = "{}"
allow_networks = ["127.0.0.0/8"]
"#,
        relay.url()
    );
    config(folder.path(), &collector.url(), &sections);
    let running = Running::start(&program(), folder.path(), "run", &[]);
    let addr = &*running.addr;
    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    assert!(send(addr, AFTER, 1, Some(&traceparent)).ends_with(tencent_chat::OK));
    assert!(!send(addr, BEFORE, 2, Some(&traceparent)).ends_with(tencent_chat::OK), "the filter refuses");
    assert!(send(addr, AFTER, 3, None).ends_with(tencent_chat::OK));
    assert!(send(addr, AFTER, 4, Some(&format!("00-{TRACE}-{PARENT}-00"))).ends_with(tencent_chat::OK));
    let stranger =
        post(addr, &format!("/callback?{}", query(AFTER, "guessed")), &format!("traceparent: {traceparent}\r\n"), "{}");
    assert!(stranger.starts_with("HTTP/1.1 401"), "{stranger}");
    // Two of three callbacks are handled twice and delivered twice; one is decided on.
    let expected = 3 + 2 * 4 + 2;
    let received = collector.wait_until(|all| spans(all).len() >= expected).await;
    assert_eq!(received[0].headers["authorization"], HEADER);
    eventually("the count", || (counts(&running).get("exported") == Some(&(expected as u64))).then_some(()));
    assert_eq!(counts(&running)["dropped"], 0);
    let said = running.terminate();
    let spans = spans(&collector.received());
    assert_eq!(spans.len(), expected, "nothing came later: {spans:?}");

    let mut ways: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for span in &spans {
        assert!(span.end_time_unix_nano >= span.start_time_unix_nano && span.start_time_unix_nano > 0, "{span:?}");
        let way = ways.entry(attribute(span, "id").unwrap()).or_default();
        assert!(way.insert(span.name.clone()), "{} comes twice", span.name);
        let request =
            spans.iter().find(|other| other.name == "callback" && attribute(other, "id") == attribute(span, "id"));
        let request = request.unwrap();
        assert_eq!(span.trace_id, request.trace_id);
        let parent = match &*span.name {
            "callback" => continue,
            "decide words" => &spans.iter().find(|other| other.name == "decision").unwrap().span_id,
            _ => &request.span_id,
        };
        assert_eq!(span.parent_span_id, *parent, "{span:?}");
    }
    let after = ["callback", "deliver archive", "deliver relay", "handle again", "handle everything"];
    let before = ["callback", "decide words", "decision"];
    let mut ways: Vec<Vec<&str>> = ways.values().map(|way| way.iter().map(String::as_str).collect()).collect();
    ways.sort_unstable_by_key(Vec::len);
    assert_eq!(ways, [&before[..], &after, &after]);
    let requests: Vec<&Span> = spans.iter().filter(|span| span.name == "callback").collect();
    let of_sender = requests.iter().filter(|span| hex(&span.trace_id) == TRACE && hex(&span.parent_span_id) == PARENT);
    assert_eq!(of_sender.count(), 2);
    assert_eq!(requests.iter().filter(|span| span.parent_span_id.is_empty()).count(), 1);
    let decision = spans.iter().find(|span| span.name == "decision").unwrap();
    assert_eq!(
        (attribute(decision, "decision"), attribute(decision, "by")),
        (Some("refused".into()), Some("words".into()))
    );
    for span in spans.iter().filter(|span| span.name.starts_with("deliver ")) {
        let event = attribute(span, "event").unwrap();
        assert!(event.starts_with(&attribute(span, "id").unwrap()), "{event}");
        assert_eq!((attribute(span, "outcome"), attribute(span, "attempt")), (Some("done".into()), Some("1".into())));
    }
    for secret in [TOKEN, HEADER, CHAT, GROUP, USER] {
        let has_it = |received: &Received| received.body.windows(secret.len()).any(|piece| piece == secret.as_bytes());
        assert!(!collector.received().iter().any(has_it), "{secret} was exported");
        assert!(!said.contains(secret), "{secret} is in the log");
    }
    assert!(
        !said.contains("request ended") && !said.contains("attempt ended"),
        "what is for spans alone is written: {said}"
    );
}

#[test]
fn without_a_receiver_callbacks_are_answered_and_spans_dropped() {
    let folder = TempDir::new().unwrap();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    config(folder.path(), &format!("http://{nobody}/v1/traces"), "");
    let running = Running::start(&program(), folder.path(), "run", &[]);
    for nth in 0..200 {
        assert!(send(&running.addr, AFTER, nth, None).ends_with(tencent_chat::OK));
    }
    eventually("a word about it", || running.said().contains("spans are not taken").then_some(()));
    ok(folder.path(), &["log-level", "debug"]);
    ok(folder.path(), &["log-level", "info"]);
    let said = running.terminate();
    assert!(said.contains("stopped"), "it ended in good order: {said}");
    assert_eq!(said.matches("spans are not taken").count(), 1, "said once: {said}");
}

#[test]
fn what_a_receiver_refuses_is_counted() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let collector = runtime.block_on(Receiver::start());
    collector.answer(dispatcher_testkit::Answer::Status(400));
    let folder = TempDir::new().unwrap();
    config(folder.path(), &collector.url(), "");
    let running = Running::start(&program(), folder.path(), "run", &[]);
    assert!(send(&running.addr, AFTER, 1, None).ends_with(tencent_chat::OK));
    eventually("a count", || (counts(&running)["dropped"] == 3).then_some(()));
    assert_eq!(counts(&running)["exported"], 0);
}

#[test]
fn what_is_wrong_with_the_section_is_found() {
    let folder = TempDir::new().unwrap();
    config(folder.path(), "http://collector:4318", "");
    let said = fails(folder.path(), &["check"], 78);
    assert!(said.contains("observe.otlp.endpoint: names no path"), "{said}");
    config(folder.path(), "http://collector:4318/v1/traces", "");
    let shown = ok(folder.path(), &["config"]);
    assert!(shown.contains("otlp.endpoint") && shown.contains("otlp.sample") && !shown.contains(HEADER), "{shown}");
}
