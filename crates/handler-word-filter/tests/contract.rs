//! What it decides, in the bytes that Tencent gets.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers as well")]

use dispatcher_core::Registry;
use dispatcher_testkit::{TestDispatcher, check_handler, decide, open_handler};
use handler_word_filter as _;
use serde_json::{Value, json};
use tencent_chat::decision_rules;

const C2C: &str = "C2C.CallbackBeforeSendMsg";
const GROUP: &str = "Group.CallbackBeforeSendMsg";
const ACCOUNT: &str = "OfficialAccount.CallbackBeforeSendMsg";

/// The reply to a body, and why; `None` without an opinion.
async fn decided(settings: &Value, command: &str, body: &Value) -> Option<(Value, String)> {
    let handler = open_handler("word-filter", settings.clone()).await;
    let body = body.to_string();
    let decision = decide(&handler, command, &body).await?;
    let reply = decision.reply(decision_rules(command).unwrap(), body.as_bytes()).unwrap();
    Some((serde_json::from_str(&reply.to_json()).unwrap(), decision.reason().to_owned()))
}

fn text(text: &str) -> Value {
    json!({ "MsgType": "TIMTextElem", "MsgContent": { "Text": text } })
}

fn message(elements: &[Value]) -> Value {
    json!({ "From_Account": "mara", "MsgBody": elements })
}

#[tokio::test]
async fn keeps_the_contract_of_handlers() {
    // The words are in the samples: so there is something to decide.
    for settings in [
        json!({ "words": ["nothing of the kind"] }),
        json!({ "words": ["ferry", "rope", "buns"] }),
        json!({ "words": ["ferry", "rope", "buns"], "message": "no", "code": 10_150 }),
        json!({ "words": ["ferry", "rope", "buns", "界"], "action": "mask" }),
        json!({ "patterns": ["."], "action": "mask" }),
        json!({ "words": ["ferry", "rope", "buns"], "action": "drop" }),
    ] {
        check_handler("word-filter", settings, env!("CARGO_MANIFEST_DIR")).await;
    }
}

#[tokio::test]
async fn refuses_with_the_codes_of_the_command() {
    let ok = |code: u32, info: &str| json!({ "ActionStatus": "OK", "ErrorInfo": info, "ErrorCode": code });
    for (settings, command, expected) in [
        (json!({}), C2C, ok(1, "")),
        (json!({ "message": "no" }), C2C, ok(120_001, "no")),
        (json!({ "message": "no" }), GROUP, ok(10_100, "no")),
        (json!({ "message": "no" }), ACCOUNT, ok(120_001, "no")),
        (json!({ "message": "no", "code": 120_007 }), C2C, ok(120_007, "no")),
        (json!({ "message": "no", "code": 120_007 }), ACCOUNT, ok(120_007, "no")),
        (json!({ "message": "no", "code": 120_007 }), GROUP, ok(10_100, "no")),
        (json!({ "code": 10_150 }), GROUP, ok(10_150, "")),
        (json!({ "code": 10_150 }), C2C, ok(1, "")),
        (json!({ "action": "drop" }), GROUP, ok(2, "")),
    ] {
        let mut settings = settings;
        settings["words"] = json!(["ham", "spam"]);
        let (reply, reason) = decided(&settings, command, &message(&[text("no SPAM here")])).await.unwrap();
        assert_eq!(reply, expected, "{settings} {command}");
        assert_eq!(reason, "it has words[1], \"spam\"");
        assert_eq!(decided(&settings, command, &message(&[text("nothing")])).await, None);
    }
}

#[tokio::test]
async fn a_masked_message_is_the_same_but_for_what_was_found() {
    let body = json!({
        "From_Account": "mara",
        "CloudCustomData": "spam is not looked for here",
        "MsgBody": [
            { "MsgType": "TIMTextElem", "MsgContent": { "Text": "大ＳＰＡＭ。", "New": "spam" }, "Odd": [1.5] },
            { "MsgType": "TIMCustomElem", "MsgContent": { "Data": "{\"a\":\"spam\"}", "Desc": "spam", "Sound": "x" } },
            { "MsgType": "TIMFaceElem", "MsgContent": { "Index": 3, "Data": "spam" } },
            { "MsgType": "TIMLocationElem", "MsgContent": { "Desc": "Spam pier", "Latitude": 1.5, "Longitude": -2.25 } },
            { "MsgType": "TIMFileElem", "MsgContent": { "Url": "https://files.example/spam", "FileName": "spam.pdf" } },
            { "MsgType": "TIMUnheardOfElem", "MsgContent": { "Text": "spam" } },
            { "MsgType": "TIMRelayElem", "MsgContent": {
                "Title": "on spam", "AbstractList": ["mara: spam", "lin: no"], "CompatibleText": "spam",
                "MsgList": [{ "From_Account": "spam", "MsgBody": [text("all spam")] }],
            } },
        ],
    });
    let mut expected = body["MsgBody"].clone();
    for (pointer, masked) in [
        ("/0/MsgContent/Text", "大****。"),
        ("/1/MsgContent/Data", "{\"a\":\"****\"}"),
        ("/1/MsgContent/Desc", "****"),
        ("/2/MsgContent/Data", "****"),
        ("/3/MsgContent/Desc", "**** pier"),
        ("/4/MsgContent/FileName", "****.pdf"),
        ("/6/MsgContent/Title", "on ****"),
        ("/6/MsgContent/AbstractList/0", "mara: ****"),
        ("/6/MsgContent/CompatibleText", "****"),
        ("/6/MsgContent/MsgList/0/MsgBody/0/MsgContent/Text", "all ****"),
    ] {
        *expected.pointer_mut(pointer).unwrap() = masked.into();
    }
    let settings = json!({ "words": ["spam"], "action": "mask" });
    let (reply, reason) = decided(&settings, C2C, &body).await.unwrap();
    assert_eq!(
        reply,
        json!({
            "ActionStatus": "OK", "ErrorInfo": "", "ErrorCode": 0,
            "MsgBody": expected, "CloudCustomData": "spam is not looked for here",
        })
    );
    assert_eq!(reason, "it has words[0], \"spam\", and 9 more");

    let (reply, _) = decided(&settings, GROUP, &message(&[text("spam")])).await.unwrap();
    assert_eq!(reply.get("CloudCustomData"), None);
}

#[tokio::test]
async fn what_cannot_be_written_again_is_refused() {
    let body = message(&[text("spam"), json!({ "MsgType": "TIMTextElem" })]);
    let (reply, reason) = decided(&json!({ "words": ["spam"], "action": "mask" }), C2C, &body).await.unwrap();
    assert_eq!(reply["ErrorCode"], 1);
    assert!(reason.starts_with("it has words[0], \"spam\", and cannot be masked: MsgBody "), "{reason}");
}

#[tokio::test]
async fn what_cannot_be_masked_in_time_is_refused() {
    let settings = json!({ "patterns": ["(?s)a.*z|a"], "action": "mask" });
    let (reply, _) = decided(&settings, C2C, &message(&[text(&"a".repeat(1000))])).await.unwrap();
    assert_eq!(reply["MsgBody"][0]["MsgContent"]["Text"], "*".repeat(1000));
    let (reply, reason) = decided(&settings, C2C, &message(&[text(&"a".repeat(100_000))])).await.unwrap();
    assert_eq!(
        (reply["ErrorCode"].as_u64(), &*reason),
        (Some(1), "it has patterns[0], and too much more to be masked in time")
    );
}

/// Decides about a body that is no `Value`.
async fn decided_raw(settings: Value, body: &str) -> Option<(Value, String)> {
    let handler = open_handler("word-filter", settings).await;
    let decision = decide(&handler, C2C, body).await?;
    let reply = decision.reply(decision_rules(C2C).unwrap(), body.as_bytes()).unwrap();
    Some((serde_json::from_str(&reply.to_json()).unwrap(), decision.reason().to_owned()))
}

#[tokio::test]
async fn half_a_surrogate_pair_hides_nothing() {
    let text = |text: &str| format!(r#"{{"MsgType":"TIMTextElem","MsgContent":{{"Text":"{text}"}}}}"#);
    let message = |elements: String| format!(r#"{{"From_Account":"mara","MsgBody":[{elements}]}}"#);
    let unheard = r#"{"MsgType":"TIMUnheardOfElem","MsgContent":{"Text":"\ud83d"}}"#;
    for (elements, masked) in [
        (text(r"spam \ud83d"), "**** \u{fffd}"),
        (text(r"\ude00spam\ud83d\ude00"), "\u{fffd}****\u{1f600}"),
        (format!("{},{unheard}", text("spam")), "****"),
    ] {
        let body = message(elements);
        let (reply, reason) = decided_raw(json!({ "words": ["spam"] }), &body).await.unwrap();
        assert_eq!((reply["ErrorCode"].as_u64(), &*reason), (Some(1), "it has words[0], \"spam\""), "{body}");
        let (reply, _) = decided_raw(json!({ "words": ["spam"], "action": "mask" }), &body).await.unwrap();
        assert_eq!(reply["MsgBody"][0]["MsgContent"]["Text"], masked, "{body}");
        assert_eq!(decided_raw(json!({ "words": ["ham"] }), &body).await, None, "{body}");
    }
}

#[tokio::test]
async fn what_is_nested_too_deeply_counts_as_found() {
    let mut elements = text("spam").to_string();
    for _ in 0..40 {
        elements = format!(r#"{{"MsgType":"TIMRelayElem","MsgContent":{{"MsgList":[{{"MsgBody":[{elements}]}}]}}}}"#);
    }
    let body = format!(r#"{{"From_Account":"mara","MsgBody":[{elements}]}}"#);
    for (action, code) in [("refuse", 1), ("mask", 1), ("drop", 2)] {
        let (reply, reason) = decided_raw(json!({ "words": ["spam"], "action": action }), &body).await.unwrap();
        assert_eq!(reply["ErrorCode"], code, "{action}");
        assert_eq!(reason, "it is nested too deeply to be looked through");
    }
    let settings = json!({ "words": ["spam"], "message": "no" });
    assert_eq!(decided_raw(settings, &body).await.unwrap().0["ErrorCode"], 120_001);
}

#[tokio::test]
async fn what_is_no_message_is_let_alone() {
    let settings = json!({ "patterns": ["."] });
    for (command, body) in [
        (C2C, json!({})),
        (C2C, json!({ "MsgBody": null })),
        (C2C, json!({ "MsgBody": [] })),
        ("Group.CallbackBeforeCreateGroup", json!({ "Name": "spam", "MsgBody": [text("spam")] })),
    ] {
        assert_eq!(decided(&settings, command, &body).await, None, "{body}");
    }
}

#[tokio::test]
async fn reasons_name_the_list_and_not_the_message() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("words.txt");
    std::fs::write(&path, "# ours\nham\n").unwrap();
    let settings = json!({ "words_files": [path], "patterns": ["[0-9]{3}"] });
    for (sent, expected) in
        [("HAM 123", format!("it has {}:2, \"ham\"", path.display())), ("call 123", "it has patterns[0]".to_owned())]
    {
        assert_eq!(decided(&settings, C2C, &message(&[text(sent)])).await.unwrap().1, expected);
    }
}

#[tokio::test]
async fn one_filter_masks_what_the_next_one_would_refuse_in_a_running_dispatcher() {
    let dispatcher = TestDispatcher::start(
        r#"
[handlers.mild]
type = "word-filter"
words = ["darn"]
action = "mask"
order = 1

[handlers.strict]
type = "word-filter"
words = ["darn", "spam"]
message = "no"
order = 2
"#,
    );
    let tencent = dispatcher.tencent();
    for (sent, expected) in [
        ("hello", r#"{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0}"#),
        (
            "ＤＡＲＮ it",
            r#"{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"**** it"}}]}"#,
        ),
        ("darn spam", r#"{"ActionStatus":"OK","ErrorInfo":"no","ErrorCode":10100}"#),
    ] {
        assert_eq!(tencent.send(GROUP, &message(&[text(sent)]).to_string()).await.text, expected, "on {sent:?}");
    }
    dispatcher.stop().await;
}

#[test]
fn wrong_settings_are_all_named() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("words.txt");
    std::fs::write(&path, "ham\n\u{200b}\n").unwrap();
    let path = path.display().to_string();
    let registry = Registry::collect(&[]).unwrap();
    for (settings, expected) in [
        (json!({}), vec!["words: there is nothing to look for; list words, words_files or patterns".to_owned()]),
        (
            json!({ "words": ["a", " "], "words_files": [path, "/none"] }),
            vec![
                "words_files.[1]: cannot read /none: No such file or directory (os error 2)".to_owned(),
                "words.[1]: there is nothing in it that can be seen; remove it".to_owned(),
                format!("words_files.[0]: {path}:2: there is nothing in it that can be seen; remove it"),
            ],
        ),
        (
            json!({ "patterns": ["a", "x*", "(", "\\w{5000}", "\\b(?s:a.*z)?"] }),
            vec![
                "patterns.[1]: it can fit where nothing is; write a pattern that takes a character at least".to_owned(),
                "patterns.[2]: unclosed group".to_owned(),
                "patterns.[3]: it takes more than 2 MiB once it is compiled; repeat less in it, or split it".to_owned(),
                // It would look from each word to the end of the text.
                "patterns.[4]: it can fit where nothing is; write a pattern that takes a character at least".to_owned(),
            ],
        ),
        (
            json!({ "words": ["a"], "action": "drop", "message": "x", "code": 5 }),
            vec![
                "message: is for action = \"refuse\"; leave it out, or refuse".to_owned(),
                "code: is for action = \"refuse\"; leave it out, or refuse".to_owned(),
            ],
        ),
        (
            json!({ "words": ["a"], "code": 5 }),
            vec![
                "code: is no code that a client can get; write one of 120001 to 130000 (messages between two, official \
                 accounts) or of 10100 to 10200 (groups)"
                    .to_owned(),
            ],
        ),
        (
            json!({ "words": ["a"], "action": "mask", "mask": "**" }),
            vec!["mask: \"**\" is not one character; write one, such as \"*\"".to_owned()],
        ),
        (
            json!({ "words": ["a"], "action": "mask", "mask": "\u{301}" }),
            vec!["mask: '\\u{301}' does not stand by itself; write a character that does, such as \"*\"".to_owned()],
        ),
        (
            json!({ "words": ["bad"], "action": "mask", "mask": "Ａ" }),
            vec!["mask: 'Ａ' is in a word that is looked for, \"bad\"; write a character that is in none".to_owned()],
        ),
    ] {
        let decoded = registry.handler("word-filter").unwrap().decode(&settings).unwrap();
        let findings = decoded.check(&dispatcher_core::CheckContext::default()).unwrap_err();
        let findings: Vec<String> = findings.iter().map(ToString::to_string).collect();
        assert_eq!(findings, expected, "{settings}");
    }
}
