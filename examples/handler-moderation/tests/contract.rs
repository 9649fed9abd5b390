//! What it makes of messages, in the bytes that Tencent gets.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers as well")]

use dispatcher_testkit::{check_handler, decide, open_handler};
use handler_moderation as _;
use serde_json::{Value, json};
use tencent_chat::decision_rules;

const COMMAND: &str = "C2C.CallbackBeforeSendMsg";

async fn reply(settings: Value, body: &str) -> Option<String> {
    let handler = open_handler("moderation", settings).await;
    let decision = decide(&handler, COMMAND, body).await?;
    Some(decision.reply(decision_rules(COMMAND).unwrap(), body.as_bytes()).unwrap().to_json())
}

/// The text of a message after moderation; `None` if it goes on as it is.
async fn moderated(settings: Value, text: &str) -> Option<String> {
    let body = json!({ "MsgBody": [{ "MsgType": "TIMTextElem", "MsgContent": { "Text": text } }] });
    let reply: Value = serde_json::from_str(&reply(settings, &body.to_string()).await?).unwrap();
    Some(reply["MsgBody"][0]["MsgContent"]["Text"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn keeps_the_contract_of_handlers() {
    for settings in [json!({}), json!({ "replacement": "", "notice": "n" })] {
        check_handler("moderation", settings, env!("CARGO_MANIFEST_DIR")).await;
    }
}

#[tokio::test]
async fn addresses_and_numbers_are_replaced() {
    for (text, expected) in [
        ("write to mara@pier.example, please", Some("write to [removed], please")),
        ("write to lin@our.example", None),
        ("lin@Our.Example or lin@their.example", Some("lin@Our.Example or [removed]")),
        ("call +49 (30) 123-4567 now", Some("call [removed] now")),
        ("the 7:40 ferry, platform 12", None),
        ("@Omar bring 20 ropes", None),
        ("", None),
    ] {
        let settings = json!({ "keep_domains": ["our.example"] });
        assert_eq!(moderated(settings, text).await.as_deref(), expected, "on {text:?}");
    }
}

#[tokio::test]
async fn everything_else_of_the_message_stays() {
    let body = r#"{"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"a@b.example"}},
        {"MsgType":"TIMFaceElem","MsgContent":{"Index":3,"Data":"[wave]"}},
        {"MsgType":"TIMCustomElem","MsgContent":{"Data":"{\"at\":1767312429}"}},
        {"MsgType":"TIMNewElem","MsgContent":{"At":"a@b.example"}}],"CloudCustomData":"{}"}"#;
    let settings = json!({ "replacement": "–", "notice": "no contacts" });
    assert_eq!(
        reply(settings, body).await.unwrap(),
        concat!(
            r#"{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,"#,
            r#""MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"–"}},"#,
            r#"{"MsgType":"TIMFaceElem","MsgContent":{"Index":3,"Data":"[wave]"}},"#,
            r#"{"MsgType":"TIMCustomElem","MsgContent":{"Data":"{\"at\":1767312429}"}},"#,
            r#"{"MsgType":"TIMNewElem","MsgContent":{"At":"a@b.example"}},"#,
            r#"{"MsgType":"TIMTextElem","MsgContent":{"Text":"no contacts"}}],"CloudCustomData":"{}"}"#
        )
    );
}
