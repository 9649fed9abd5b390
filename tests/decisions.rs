//! What callbacks that want a decision are answered, byte for byte: the real program, real sockets.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers as well")]

use std::path::PathBuf;

use dispatcher_testkit::{Process, Tencent};
use serde_json::{Value, json};
use tempfile::TempDir;

const APP: u64 = 1_400_000_001;
const OK: &str = tencent_chat::OK;

const C2C: &str = "C2C.CallbackBeforeSendMsg";
const GROUP: &str = "Group.CallbackBeforeSendMsg";
const ACCOUNT: &str = "OfficialAccount.CallbackBeforeSendMsg";
const CREATE: &str = "Group.CallbackBeforeCreateGroup";
const TOPIC: &str = "Group.CallbackBeforeCreateTopic";
const APPLY: &str = "Group.CallbackBeforeApplyJoinGroup";
const INVITE: &str = "Group.CallbackBeforeInviteJoinGroup";
const CREATE_ACCOUNT: &str = "OfficialAccount.CallbackBeforeCreateOfficialAccount";
const SUBSCRIBE: &str = "OfficialAccount.CallbackBeforeAddSubscriber";
const FRIEND: &str = "Sns.CallbackPrevFriendAdd";
const ANSWER: &str = "Sns.CallbackPrevFriendResponse";
const SIGNAL: &str = "Chatbot.OnC2CSignalMessage";

fn program(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_BIN_EXE_dispatcher")).parent().unwrap().join("examples").join(name);
    assert!(path.exists(), "{} is built by `cargo test`, or by `cargo build --examples`", path.display());
    path
}

fn start(handler: &str) -> (TempDir, Process, Tencent) {
    let folder = TempDir::new().unwrap();
    let config = format!(
        "[intake]\nlisten = \"127.0.0.1:0\"\n[[apps]]\nsdk_app_id = {APP}\nname = \"main\"\nsignature = \"off\"\n\
         [journal]\npath = \"journal.db\"\n[log]\nformat = \"human\"\n{handler}"
    );
    std::fs::write(folder.path().join("dispatcher.toml"), config).unwrap();
    let process = Process::start(program("scripted"), folder.path());
    let tencent = Tencent::new(process.url(), APP, None);
    (folder, process, tencent)
}

/// The sample of a command, with what the handler is to decide.
fn scripted(command: &str, script: &Value) -> String {
    let mut body: Value = serde_json::from_str(tencent_chat::command(command).unwrap().sample).unwrap();
    body["Script"] = script.clone();
    body.to_string()
}

fn plain(code: u32, info: &str) -> String {
    format!(r#"{{"ActionStatus":"OK","ErrorInfo":"{info}","ErrorCode":{code}}}"#)
}

fn with(member: &str) -> String {
    format!(r#"{{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,{member}}}"#)
}

/// What goes on as it is, for this command.
fn allowed(command: &str) -> String {
    let sample = tencent_chat::command(command).unwrap().sample;
    tencent_chat::decision_rules(command).unwrap().allow(sample.as_bytes()).to_json()
}

#[tokio::test]
async fn every_family_has_its_replies_and_no_others() {
    let (_folder, _process, tencent) = start("[handlers.scripted]\n");
    let elements = json!([{ "MsgType": "TIMTextElem", "MsgContent": { "Text": "群\u{1f600}\"" } }]);
    let mut legal: Vec<(&str, Value, String)> = Vec::new();
    for (command, first, last) in [(C2C, 120_001, 130_000), (GROUP, 10_100, 10_200), (ACCOUNT, 120_001, 130_000)] {
        legal.extend([
            (command, json!("drop"), plain(2, "")),
            (command, json!({ "rewrite": { "elements": elements } }), with(&format!(r#""MsgBody":{elements}"#))),
            (command, json!({ "rewrite": { "custom_data": "" } }), with(r#""CloudCustomData":"""#)),
            (
                command,
                json!({ "rewrite": { "elements": elements, "custom_data": "x" } }),
                with(&format!(r#""MsgBody":{elements},"CloudCustomData":"x""#)),
            ),
            (command, json!({ "refuse-showing": "no" }), plain(first, "no")),
            (command, json!({ "refuse-with-code": [last, "no"] }), plain(last, "no")),
        ]);
    }
    for (command, first, last) in [
        (CREATE, 10_100, 10_200),
        (TOPIC, 10_100, 10_200),
        (APPLY, 10_100, 10_200),
        (INVITE, 10_100, 10_200),
        (CREATE_ACCOUNT, 120_001, 130_000),
    ] {
        legal.push((command, json!({ "refuse-showing": "no" }), plain(first, "no")));
        legal.push((command, json!({ "refuse-with-code": [last, "no"] }), plain(last, "no")));
    }
    for command in [C2C, GROUP, ACCOUNT, CREATE, TOPIC, APPLY, INVITE, CREATE_ACCOUNT, SUBSCRIBE] {
        legal.push((command, json!("allow"), OK.to_owned()));
        legal.push((command, json!("refuse"), plain(1, "")));
    }
    legal.extend([
        (INVITE, json!({ "refuse-members": ["omar"] }), with(r#""RefusedMembers_Account":["omar"]"#)),
        (INVITE, json!({ "refuse-members": ["omar", "seagull-41"] }), with(r#""RefusedMembers_Account":["omar","seagull-41"]"#)),
        (SUBSCRIBE, json!({ "refuse-subscribers": ["li.wen"] }), with(r#""RefusedSubscribers_Account":["li.wen"]"#)),
        (
            FRIEND,
            json!("allow"),
            with(r#""ResultItem":[{"To_Account":"jonas","ResultCode":0,"ResultInfo":""},{"To_Account":"aiko","ResultCode":0,"ResultInfo":""}]"#),
        ),
        (
            FRIEND,
            json!("refuse"),
            with(r#""ResultItem":[{"To_Account":"jonas","ResultCode":38000,"ResultInfo":""},{"To_Account":"aiko","ResultCode":38000,"ResultInfo":""}]"#),
        ),
        (
            FRIEND,
            json!({ "friends": [["aiko", 39_000, "no"]] }),
            with(r#""ResultItem":[{"To_Account":"jonas","ResultCode":0,"ResultInfo":""},{"To_Account":"aiko","ResultCode":39000,"ResultInfo":"no"}]"#),
        ),
        (
            ANSWER,
            json!({ "friends": [["mara", null, "no"]] }),
            with(r#""ResultItem":[{"To_Account":"mara","ResultCode":38000,"ResultInfo":"no"}]"#),
        ),
        (SIGNAL, json!("allow"), with(r#""RspData":"""#)),
        (SIGNAL, json!({ "respond": "{\"menu\":2}" }), with(r#""RspData":"{\"menu\":2}""#)),
    ]);
    for (command, script, expected) in legal {
        let reply = tencent.send(command, &scripted(command, &script)).await;
        assert_eq!((reply.status, &*reply.text), (200, &*expected), "{command} {script}");
    }

    let nothing: [u8; 0] = [];
    let twice =
        json!([{ "MsgType": "TIMCustomElem", "MsgContent": {} }, { "MsgType": "TIMCustomElem", "MsgContent": {} }]);
    let mut illegal = vec![
        (C2C, json!({ "refuse-with-code": [10_100, "of groups"] })),
        (C2C, json!({ "refuse-with-code": [130_001, "x"] })),
        (C2C, json!({ "refuse-with-code": [3, "x"] })),
        (GROUP, json!({ "refuse-with-code": [120_001, "of the others"] })),
        (GROUP, json!({ "refuse-with-code": [10_099, "x"] })),
        (C2C, json!({ "rewrite": { "elements": nothing } })),
        (C2C, json!({ "rewrite": { "elements": "text" } })),
        (C2C, json!({ "rewrite": { "elements": [{ "MsgType": "TIMTextElem" }] } })),
        (C2C, json!({ "rewrite": { "elements": twice } })),
        (SUBSCRIBE, json!({ "refuse-showing": "there is no code for it" })),
        (INVITE, json!({ "refuse-members": ["somebody else"] })),
        (INVITE, json!({ "refuse-subscribers": ["omar"] })),
        (SUBSCRIBE, json!({ "refuse-members": ["li.wen"] })),
        (SUBSCRIBE, json!({ "refuse-subscribers": ["somebody else"] })),
        (FRIEND, json!({ "friends": [["somebody else", null, ""]] })),
        (FRIEND, json!({ "friends": [["aiko", 1, "no code of theirs"]] })),
        (SIGNAL, json!("refuse")),
        (C2C, json!("fail")),
    ];
    for command in [CREATE, TOPIC, APPLY, INVITE, CREATE_ACCOUNT, SUBSCRIBE, FRIEND, ANSWER, SIGNAL] {
        illegal.push((command, json!("drop")));
        illegal.push((command, json!({ "rewrite": { "elements": elements } })));
        illegal.push((command, json!({ "rewrite": { "custom_data": "x" } })));
        if command != SIGNAL {
            illegal.push((command, json!({ "respond": "x" })));
        }
    }
    for (command, script) in illegal {
        let reply = tencent.send(command, &scripted(command, &script)).await;
        assert_eq!((reply.status, reply.text), (200, allowed(command)), "{command} {script}");
    }
}

#[tokio::test]
async fn a_reply_in_tencents_own_words_is_passed_on_unchanged_if_it_is_legal() {
    let (_folder, _process, tencent) = start("[handlers.scripted]\nif_failed = \"refuse\"\nexcept = [\"Chatbot.*\"]\n");
    for (command, reply, is_legal) in [
        (C2C, r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":""}"#, true),
        (C2C, r#"{ "ErrorInfo":"own words", "ErrorCode":120002, "ActionStatus":"OK", "Own":{"a":[1]} }"#, true),
        (C2C, r#"{"ActionStatus":"FAIL","ErrorCode":1,"ErrorInfo":""}"#, true),
        (C2C, r#"{"ActionStatus":"FAIL","ErrorCode":0,"ErrorInfo":""}"#, false),
        (C2C, r#"{"ActionStatus":"OK","ErrorCode":"0","ErrorInfo":""}"#, false),
        (C2C, r#"{"ActionStatus":"OK","ErrorCode":0}"#, false),
        (C2C, r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","MsgBody":[]}"#, false),
        (C2C, "<html>", false),
        (GROUP, r#"{"ActionStatus":"OK","ErrorCode":2,"ErrorInfo":""}"#, true),
        (CREATE, r#"{"ActionStatus":"OK","ErrorCode":2,"ErrorInfo":""}"#, false),
    ] {
        let answer = tencent.send(command, &scripted(command, &json!({ "reply": reply }))).await;
        let expected = if is_legal { reply.to_owned() } else { plain(1, "") };
        assert_eq!((answer.status, answer.text), (200, expected), "{command} {reply}");
    }
    // Members that say nothing do not make a refusal into none; they are left out.
    for (command, reply, expected) in [
        (C2C, r#"{"ActionStatus":"OK","ErrorCode":2,"ErrorInfo":"","MsgBody":[],"CloudCustomData":""}"#, plain(2, "")),
        (C2C, r#"{"ActionStatus":"OK","ErrorCode":120001,"ErrorInfo":"no","MsgBody":null}"#, plain(120_001, "no")),
        (C2C, r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","MsgBody":null}"#, OK.to_owned()),
        (INVITE, r#"{"ActionStatus":"OK","ErrorCode":1,"ErrorInfo":"","RefusedMembers_Account":[]}"#, plain(1, "")),
    ] {
        let answer = tencent.send(command, &scripted(command, &json!({ "reply": reply }))).await;
        assert_eq!((answer.status, answer.text), (200, expected), "{command} {reply}");
    }
    // A friend request is not refused by a code at the top.
    let reply = r#"{"ActionStatus":"OK","ErrorCode":38001,"ErrorInfo":"no"}"#;
    let answer = tencent.send(FRIEND, &scripted(FRIEND, &json!({ "reply": reply }))).await;
    let codes: Vec<_> =
        answer.json()["ResultItem"].as_array().unwrap().iter().map(|item| item["ResultCode"].clone()).collect();
    assert_eq!(codes, [38_000, 38_000]);
}

#[tokio::test]
async fn where_nobody_decides_the_commands_default_does() {
    let config = "[commands.\"Group.*\"]\ndefault_decision = \"refuse\"\n[commands.\"Group.CallbackBeforeSendMsg\"]\n\
                  default_decision = \"allow\"\n";
    let (_folder, _process, tencent) = start(config);
    for (command, expected) in [(INVITE, plain(1, "")), (GROUP, OK.to_owned()), (C2C, OK.to_owned())] {
        let sample = tencent_chat::command(command).unwrap().sample;
        assert_eq!(tencent.send(command, sample).await.text, expected, "{command}");
    }
}
