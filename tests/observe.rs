//! Metrics and health, over real sockets: what is documented is there and nothing else is, and nothing that people wrote.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers as well")]

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use dispatcher_testkit::TestDispatcher;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::sleep,
};

const BEFORE: &str = "Group.CallbackBeforeSendMsg";
const AFTER: &str = "Group.CallbackAfterSendMsg";
/// What must not be seen.
const SECRETS: [&str; 5] = ["testkit-token", "marked-text", "marked-group", "marked-url", "marked-sign"];

const SECTIONS: &str = r#"
[observe]
listen = "127.0.0.1:0"

[handlers.words]
type = "word-filter"
words = ["marked-text"]
action = "refuse"

[handlers.everything]
type = "forward"
commands = ["*"]
sinks = ["archive", "relay"]

[sinks.archive]
type = "file"
path = "{folder}/events.jsonl"

[sinks.relay]
type = "http"
url = "http://127.0.0.1:1/marked-url"
allow_networks = ["127.0.0.0/8"]
"#;

fn addr(dispatcher: &TestDispatcher) -> SocketAddr {
    dispatcher.dispatcher().observe_addr().unwrap()
}

/// What is answered to a request for `path`: the status, and all of the answer.
async fn get(addr: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap_or_else(|| panic!("no answer to {path}")).parse().unwrap();
    (status, answer)
}

fn json(answer: &str) -> Value {
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

/// Asks until the answer is as `is_right` wants it.
async fn get_until(addr: SocketAddr, path: &str, is_right: impl Fn(u16, &str) -> bool) -> (u16, String) {
    for _ in 0..3000 {
        let (status, answer) = get(addr, path).await;
        if is_right(status, &answer) {
            return (status, answer);
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("{path} never answered as it should");
}

/// One callback of each road, each with what must not be seen.
async fn send(dispatcher: &TestDispatcher) {
    let tencent = dispatcher.tencent();
    for command in [BEFORE, AFTER] {
        let mut body: Value = serde_json::from_str(tencent_chat::command(command).unwrap().sample).unwrap();
        body["GroupId"] = "marked-group".into();
        body["MsgBody"] = serde_json::json!([{ "MsgType": "TIMTextElem", "MsgContent": { "Text": "marked-text" } }]);
        assert_eq!(tencent.send(command, &body.to_string()).await.status, 200);
    }
    assert_eq!(tencent.send(AFTER, "marked-text").await.status, 400);
    let query = "SdkAppid=1400000001&CallbackCommand=marked-group&Sign=marked-sign&RequestTime=1";
    assert_eq!(tencent.post(query, "marked-text").await.unwrap().status, 401);
}

/// The type and the labels of each metric.
type Table = BTreeMap<String, (String, BTreeSet<String>)>;

fn exposed(page: &str) -> Table {
    let mut table = Table::new();
    let mut current = String::new();
    for line in page.split_once("\r\n\r\n").unwrap().1.lines() {
        if let Some(typed) = line.strip_prefix("# TYPE ") {
            let (name, kind) = typed.split_once(' ').unwrap();
            current = name.to_owned();
            assert!(table.insert(current.clone(), (kind.to_owned(), BTreeSet::new())).is_none(), "{name} comes twice");
        } else if let Some((_, labels)) = line.split_once('{').filter(|_| !line.starts_with('#')) {
            let labels = labels.rsplit_once('}').unwrap().0.split("\",");
            let names = labels.map(|label| label.split_once('=').unwrap().0.to_owned()).filter(|label| label != "le");
            table.get_mut(&current).unwrap().1.extend(names);
        }
    }
    table
}

fn documented() -> Table {
    let readme = include_str!("../crates/dispatcher-observe/README.md");
    let rows = readme.lines().filter(|line| line.starts_with("| `") && line.matches('|').count() >= 5);
    let unquoted = |cell: &str| cell.trim().trim_matches('`').to_owned();
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').collect();
        let labels = cells[3].split(',').map(unquoted).filter(|label| !label.is_empty());
        (unquoted(cells[1]), (unquoted(cells[2]), labels.collect()))
    })
    .collect()
}

#[tokio::test]
async fn the_table_in_the_docs_is_what_a_running_dispatcher_shows() {
    let dispatcher = TestDispatcher::start(SECTIONS);
    send(&dispatcher).await;
    let (status, page) = get(addr(&dispatcher), "/metrics").await;
    assert_eq!(status, 200, "{page}");
    assert!(page.to_lowercase().contains("content-type: text/plain; version=0.0.4"), "{page}");
    let (exposed, documented) = (exposed(&page), documented());
    assert!(exposed.len() > 40, "{page}");
    for name in exposed.keys().chain(documented.keys()) {
        assert_eq!(
            exposed.get(name),
            documented.get(name),
            "{name}: shown, and as the README of dispatcher-observe says"
        );
    }
    for line in [
        format!("dispatcher_callbacks_total{{app=\"main\",command=\"{BEFORE}\",outcome=\"decided\"}} 1"),
        format!("dispatcher_callbacks_total{{app=\"main\",command=\"{AFTER}\",outcome=\"accepted\"}} 1"),
        format!("dispatcher_callbacks_total{{app=\"main\",command=\"{AFTER}\",outcome=\"refused\"}} 1"),
        "dispatcher_refusals_total{cause=\"signature_wrong\"} 1".to_owned(),
        "dispatcher_refusals_total{cause=\"not_json\"} 1".to_owned(),
        "dispatcher_decisions_total{handler=\"words\",result=\"refused\"} 1".to_owned(),
        "dispatcher_decider_duration_seconds_count{handler=\"words\"} 1".to_owned(),
        "dispatcher_draining 0".to_owned(),
        "dispatcher_reloads_total{result=\"applied\"} 0".to_owned(),
        "dispatcher_reloads_total{result=\"invalid\"} 0".to_owned(),
        "dispatcher_journal_state{state=\"ok\"} 1".to_owned(),
    ] {
        assert!(page.lines().any(|shown| shown == line), "{line} is not in\n{page}");
    }
    assert_eq!(page.matches("dispatcher_callbacks_total{").count(), 3, "what is not verified makes no series\n{page}");
    dispatcher.stop().await;
}

#[tokio::test]
async fn who_asks_over_the_network_is_counted_by_what_came_of_it() {
    const TOKEN: &str = "marked-token-of-32-characters-it-is";
    let admin = format!("{SECTIONS}\n[admin]\nlisten = \"127.0.0.1:0\"\ntokens = [\"{TOKEN}\"]\n");
    let dispatcher = TestDispatcher::start(&admin);
    let (observe, admin) = (addr(&dispatcher), dispatcher.dispatcher().admin_addr().unwrap());
    let post = |headers: &str, body: &str| {
        let n = body.len();
        format!("POST /control HTTP/1.1\r\nHost: {admin}\r\n{headers}Content-Length: {n}\r\n\r\n{body}")
    };
    let (right, wrong) = (format!("Authorization: Bearer {TOKEN}\r\n"), "Authorization: Bearer marked\r\n");
    let status = "{\"version\":1,\"request\":\"status\"}";
    for request in [
        post(&right, status),
        post(&right, "{\"version\":1,\"request\":{\"resume\":{\"consumer\":\"sink:nobody\"}}}"),
        post("", status),
        post(wrong, status),
        post(wrong, status),
        post(&right, status).replace(&admin.to_string(), "marked.example"),
        post(&format!("{right}Origin: http://marked.example\r\n"), status),
        post(&right, status).replace("/control", "/marked"),
        post(&right, status).replace("POST", "PUT"),
        post(&right, "").replace("Content-Length: 0", "Content-Length: 2000000"),
        post(&right, "marked"),
        "marked marked\r\n\r\n".to_owned(),
        format!("GET / HTTP/1.1\r\n{}", "x".repeat(20_000)),
    ] {
        let mut stream = TcpStream::connect(admin).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        // Who is told no while it still writes may be reset.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }
    let _open = TcpStream::connect(admin).await.unwrap();
    let open = "dispatcher_admin_open_connections 1";
    let (_, page) = get_until(observe, "/metrics", |_, page| page.lines().any(|line| line == open)).await;
    let mut expected = vec!["dispatcher_admin_connections_total 14".to_owned()];
    for (outcome, n) in [
        ("answered", 2),
        ("token_wrong", 3),
        ("host_unknown", 1),
        ("origin_given", 1),
        ("path_unknown", 1),
        ("method_not_post", 1),
        ("body_too_long", 1),
        ("no_request", 1),
        ("too_busy", 0),
    ] {
        expected.push(format!("dispatcher_admin_requests_total{{outcome=\"{outcome}\"}} {n}"));
    }
    for (cause, n) in [("not_http", 1), ("head_too_large", 1), ("let_out", 0)] {
        expected.push(format!("dispatcher_admin_connections_closed_total{{cause=\"{cause}\"}} {n}"));
    }
    for line in expected {
        assert!(page.lines().any(|shown| shown == line), "{line} is not in\n{page}");
    }
    assert!(!page.contains("marked"), "{page}");
    dispatcher.stop().await;
}

#[tokio::test]
async fn nothing_that_people_wrote_and_no_secret_is_shown() {
    let dispatcher = TestDispatcher::start(SECTIONS);
    let addr = addr(&dispatcher);
    send(&dispatcher).await;
    let down = "dispatcher_consumer_state{consumer=\"sink:relay\",state=\"down\"} 1";
    let (_, page) = get_until(addr, "/metrics", |_, page| page.contains(down)).await;
    let (status, ready) = get(addr, "/readyz").await;
    assert_eq!(status, 200, "a sink that is down keeps nothing from being answered: {ready}");
    assert!(json(&ready)["notes"].to_string().contains("sink:relay is down"), "{ready}");
    let done = "dispatcher_consumer_done_total{consumer=\"sink:archive\"} 1";
    get_until(addr, "/metrics", |_, page| page.contains(done)).await;
    let (_, other) = get(addr, "/marked-url?x=marked-text").await;
    for secret in SECRETS {
        for shown in [&page, &ready, &other] {
            assert!(!shown.contains(secret), "{secret} is shown:\n{shown}");
        }
    }
    // What is due is known, and not from whom.
    let oldest =
        page.lines().find(|line| line.starts_with("dispatcher_consumer_oldest_seconds{consumer=\"sink:relay\"}"));
    assert!(oldest.unwrap().rsplit_once(' ').unwrap().1.parse::<f64>().unwrap() > 0.0, "{oldest:?}");
    dispatcher.stop().await;
}

#[tokio::test]
async fn a_dispatcher_that_stops_says_so_and_answers_what_it_has() {
    let dispatcher = TestDispatcher::start(SECTIONS);
    let (addr, url) = (addr(&dispatcher), dispatcher.dispatcher().local_addr());
    for (path, expected) in [
        ("/healthz", 200),
        ("/readyz", 200),
        ("/readyz?need=durable", 200),
        ("/readyz?need=everything", 400),
        ("/", 404),
    ] {
        assert_eq!(get(addr, path).await.0, expected, "{path}");
    }
    // A request without its body holds up the drain.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let query = tencent_chat::query_string(1_400_000_001, AFTER, None, None, Some(("testkit-token", now)));
    let mut half = TcpStream::connect(url).await.unwrap();
    let head =
        format!("POST /callback?{query} HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n");
    half.write_all(head.as_bytes()).await.unwrap();
    // It is open for the intake, not only for the system.
    half.read_exact(&mut [0; 25]).await.unwrap();
    let stopping = tokio::spawn(dispatcher.stop());
    let (_, answer) = get_until(addr, "/readyz", |status, _| status == 503).await;
    assert_eq!(json(&answer)["reasons"], serde_json::json!(["the dispatcher is stopping"]));
    assert_eq!(get(addr, "/healthz").await.0, 200);
    drop(half);
    stopping.await.unwrap();
    assert!(TcpStream::connect(addr).await.is_err(), "nobody listens when it has stopped");
}

#[tokio::test]
async fn who_says_nothing_makes_room() {
    let dispatcher = TestDispatcher::start(SECTIONS);
    let addr = addr(&dispatcher);
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(TcpStream::connect(addr).await.unwrap());
    }
    // More than there are places: the oldest are closed for those that come after them.
    assert_eq!(get(addr, "/healthz").await.0, 200);
    let mut first = silent.remove(0);
    assert_eq!(first.read(&mut [0; 1]).await.unwrap_or(0), 0, "it was closed");
    dispatcher.stop().await;
}
