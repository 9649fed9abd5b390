//! From a callback to the sinks: the real program, real files, a real receiver, and a `kill -9` in between.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers as well")]

use std::{fs, path::Path};

use dispatcher_testkit::{Answer, Process, Receiver, Tencent};
use serde_json::Value;
use tempfile::TempDir;

const DISPATCHER: &str = env!("CARGO_BIN_EXE_dispatcher");

fn config(folder: &Path, sections: &str) {
    let text = format!(
        r#"
[intake]
listen = "127.0.0.1:0"

[[apps]]
sdk_app_id = 1400000001
name = "main"
tokens = ["${{DISPATCHER_TEST_TOKEN}}"]

[[apps]]
sdk_app_id = 1400000002
name = "other"
tokens = ["other-token"]

[journal]
path = "data/journal.db"

[log]
format = "human"

{sections}"#
    );
    fs::write(folder.join("dispatcher.toml"), text).unwrap();
}

fn start(folder: &Path) -> Process {
    Process::start_with(DISPATCHER, folder, &[("DISPATCHER_TEST_TOKEN", "a-token")])
}

fn main_app(process: &Process) -> Tencent {
    Tencent::new(process.url(), 1_400_000_001, Some("a-token"))
}

/// Waits until the file has `n` whole lines and gives them; no more may come later, which the next test step shows.
fn lines(path: &Path, n: usize) -> Vec<Value> {
    let started = std::time::Instant::now();
    loop {
        let text = fs::read_to_string(path).unwrap_or_default();
        if text.matches('\n').count() >= n {
            return text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        }
        assert!(started.elapsed() < dispatcher_testkit::PATIENCE, "only these lines came: {text}");
        std::thread::yield_now();
    }
}

fn attribute(event: &Value) -> &str {
    event["data"]["attributes"][0]["value"].as_str().unwrap()
}

#[tokio::test]
async fn a_callback_reaches_the_file_the_log_and_the_receiver() {
    let folder = TempDir::new().unwrap();
    let receiver = Receiver::start().await;
    let sections = format!(
        r#"
[handlers.group-attribute-changed]
sinks = ["console", "archive", "relay"]

[handlers.everything]
type = "forward"
sinks = ["archive", "raw"]

[sinks.console]
type = "log"
include_data = true

[sinks.archive]
type = "file"
path = "data/events.jsonl"

[sinks.relay]
type = "http"
url = "{url}"
allow_networks = ["127.0.0.0/8"]
webhook_secrets = ["whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQ="]

[sinks.raw]
type = "http"
url = "{url}"
format = "raw"
tencent_token = "inner-token"
allow_networks = ["127.0.0.0/8"]
"#,
        url = receiver.url()
    );
    config(folder.path(), &sections);
    let process = start(folder.path());
    let sample = tencent_chat::command("Group.CallbackAfterGroupAttrChanged").unwrap().sample;
    main_app(&process).send("Group.CallbackAfterGroupAttrChanged", sample).await.expect_ok();

    let in_file = lines(&folder.path().join("data/events.jsonl"), 2);
    let of_type = |wanted: &str| in_file.iter().find(|event| event["type"] == wanted).unwrap();
    let changed = of_type("tencent-chat.group.attributes.changed");
    assert_eq!(changed["data"]["operation"], "modify");
    assert_eq!(changed["data"]["time_source"], "event_time");
    assert_eq!(changed["source"], "tencent-chat/1400000001");
    assert_eq!(changed["subject"], changed["data"]["group_id"]);
    let forwarded = of_type("tencent-chat.callback.Group.CallbackAfterGroupAttrChanged");
    assert_eq!(forwarded["data"], serde_json::from_str::<Value>(sample).unwrap());

    let received = receiver.wait_for(2).await;
    let relayed = received.iter().find(|one| !one.query.contains("Sign=")).unwrap();
    let event: Value = serde_json::from_slice(&relayed.body).unwrap();
    assert_eq!(event["id"], changed["id"]);
    assert_eq!(relayed.headers["webhook-id"], changed["idempotencykey"].as_str().unwrap());
    assert!(relayed.headers["webhook-signature"].to_str().unwrap().starts_with("v1,"));
    let raw = received.iter().find(|one| one.query.contains("Sign=")).unwrap();
    assert_eq!(raw.body, sample.as_bytes());
    let query = tencent_chat::Query::parse(&raw.query).unwrap();
    assert!(tencent_chat::verify("inner-token", &query.request_time.unwrap(), &query.sign.unwrap()), "{}", raw.query);

    let log = process.stderr();
    assert!(log.contains("tencent-chat.group.attributes.changed"), "{log}");
    assert!(process.terminate().success());
}

#[tokio::test]
async fn what_was_answered_ok_survives_kill_9() {
    let folder = TempDir::new().unwrap();
    let receiver = Receiver::start().await;
    receiver.answer(Answer::Status(503));
    let sections = format!(
        "[handlers.group-attribute-changed]\nsinks = [\"relay\"]\nbackoff = {{ first = \"10ms\", max = \"50ms\" }}\n\
         [sinks.relay]\ntype = \"http\"\nurl = \"{}\"\nallow_networks = [\"127.0.0.0/8\"]\n\
         backoff = {{ first = \"10ms\", max = \"50ms\" }}\n",
        receiver.url()
    );
    config(folder.path(), &sections);
    let process = start(folder.path());
    let tencent = main_app(&process);
    for nth in 0..60 {
        tencent.change_attribute(&format!("group-{}", nth % 5), nth).await;
    }
    receiver.wait_until(|all| !all.is_empty()).await;
    process.kill();

    let process = start(folder.path());
    // Nothing of this is new: the repeats are recognised, and each event is delivered once.
    let tencent = main_app(&process);
    for nth in 0..60 {
        tencent.change_attribute(&format!("group-{}", nth % 5), nth).await;
    }
    receiver.answer(Answer::Status(200));
    let received = receiver.wait_for(60).await;
    let delivered = received.iter().filter(|one| one.answer == Answer::Status(200));
    let events: Vec<Value> = delivered.map(|one| serde_json::from_slice(&one.body).unwrap()).collect();
    for group in 0..5_u64 {
        let of_group = events.iter().filter(|event| event["subject"] == format!("group-{group}"));
        let got: Vec<u64> = of_group.map(|event| attribute(event).parse().unwrap()).collect();
        let expected: Vec<u64> = (0..60).filter(|nth| nth % 5 == group).collect();
        assert_eq!(got, expected, "the events of group-{group}");
    }
    assert!(process.terminate().success());
}

#[tokio::test]
async fn apps_are_kept_apart() {
    let folder = TempDir::new().unwrap();
    let sections = r#"
[handlers.group-attribute-changed]
apps = ["other"]
sinks = ["archive"]

[sinks.archive]
type = "file"
path = "events.jsonl"
"#;
    config(folder.path(), sections);
    let process = start(folder.path());
    main_app(&process).change_attribute("group", 1).await;
    Tencent::new(process.url(), 1_400_000_002, Some("other-token")).change_attribute("group", 2).await;
    let wrong_token = Tencent::new(process.url(), 1_400_000_002, Some("a-token"));
    assert_eq!(wrong_token.send("Group.CallbackAfterGroupFull", "{}").await.status, 401);
    // The last one arrives after everything before it.
    Tencent::new(process.url(), 1_400_000_002, Some("other-token")).change_attribute("group", 3).await;
    let events = lines(&folder.path().join("events.jsonl"), 2);
    assert_eq!(events.iter().map(attribute).collect::<Vec<_>>(), ["2", "3"]);
    assert!(events.iter().all(|event| event["sdkappid"] == "1400000002"));
    assert!(process.terminate().success());
}

#[tokio::test]
async fn a_stop_finishes_what_is_under_way() {
    let folder = TempDir::new().unwrap();
    let sections = "[handlers.everything]\ntype = \"forward\"\nsinks = [\"archive\"]\n[sinks.archive]\ntype = \
                    \"file\"\npath = \"events.jsonl\"\n";
    config(folder.path(), sections);
    let process = start(folder.path());
    let tencent = main_app(&process);
    for nth in 0..200 {
        tencent.change_attribute("group", nth).await;
    }
    assert!(process.terminate().success());
    let process = start(folder.path());
    let events = lines(&folder.path().join("events.jsonl"), 200);
    assert_eq!(events.len(), 200, "a clean stop delivers nothing twice");
    assert!(process.terminate().success());
}

#[tokio::test]
async fn a_sink_that_is_switched_off_gets_its_events_later() {
    let folder = TempDir::new().unwrap();
    let sections = "[handlers.group-attribute-changed]\nsinks = [\"archive\"]\n[sinks.archive]\ntype = \"file\"\npath = \
                    \"events.jsonl\"\n";
    config(folder.path(), &format!("{sections}enabled = false\n"));
    let process = start(folder.path());
    main_app(&process).change_attribute("group", 1).await;
    assert!(process.terminate().success());
    assert!(!folder.path().join("events.jsonl").exists());

    config(folder.path(), sections);
    let process = start(folder.path());
    main_app(&process).change_attribute("group", 2).await;
    let events = lines(&folder.path().join("events.jsonl"), 2);
    assert_eq!(events.iter().map(attribute).collect::<Vec<_>>(), ["1", "2"]);
    assert!(process.terminate().success());
}

#[tokio::test]
async fn two_happenings_that_look_alike_are_no_repeats() {
    let folder = TempDir::new().unwrap();
    let sections = "[handlers.everything]\ntype = \"forward\"\nsinks = [\"archive\"]\n[sinks.archive]\ntype = \
                    \"file\"\npath = \"events.jsonl\"\n";
    config(folder.path(), sections);
    let process = start(folder.path());
    let tencent = main_app(&process);
    let edited = |time: u64| {
        format!(
            r#"{{"CallbackCommand":"Group.CallbackAfterModifyMsg","GroupId":"g","MsgSeq":7,"MsgBody":[],"EventTime":{time}}}"#
        )
    };
    let online = |time: u64| {
        format!(
            r#"{{"CallbackCommand":"State.StateChange","EventTime":{time},"Info":{{"Action":"Login","To_Account":"mara"}}}}"#
        )
    };
    // Nothing in this one tells two happenings apart, so that each is taken for one of its own.
    let full = r#"{"CallbackCommand":"Group.CallbackAfterGroupFull","GroupId":"g"}"#.to_owned();
    let sent = [
        ("Group.CallbackAfterModifyMsg", edited(1_767_000_000_001), true),
        ("Group.CallbackAfterModifyMsg", edited(1_767_000_000_002), true),
        ("Group.CallbackAfterModifyMsg", edited(1_767_000_000_001), false),
        ("State.StateChange", online(1_767_000_000_001), true),
        ("State.StateChange", online(1_767_000_060_001), true),
        ("State.StateChange", online(1_767_000_060_001), false),
        ("Group.CallbackAfterGroupFull", full.clone(), true),
        ("Group.CallbackAfterGroupFull", full, true),
    ];
    for (command, body, _) in &sent {
        tencent.send(command, body).await.expect_ok();
    }
    assert!(process.terminate().success());
    let process = start(folder.path());
    let wanted: Vec<Value> =
        sent.iter().filter(|sent| sent.2).map(|sent| serde_json::from_str(&sent.1).unwrap()).collect();
    let mut got: Vec<String> = lines(&folder.path().join("events.jsonl"), wanted.len())
        .iter()
        .map(|event| event["data"].to_string())
        .collect();
    let mut wanted: Vec<String> = wanted.iter().map(ToString::to_string).collect();
    got.sort();
    wanted.sort();
    assert_eq!(got, wanted);
    assert!(process.terminate().success());
}
