//! The plugins that misbehave do what they are told to, and the contract of those that decide notices what breaks it.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers as well")]

use std::{panic::AssertUnwindSafe, time::Duration};

use dispatcher_core::DecisionResult;
use dispatcher_testkit::{Control, check_handler, decide, open_handler, sample};
use serde_json::{Value, json};
use tencent_chat::decision_rules;

const COMMAND: &str = "C2C.CallbackBeforeSendMsg";

/// What comes of `n` messages with this text, each in a word.
async fn decided(settings: Value, text: &str, n: usize) -> Vec<String> {
    let handler = open_handler("misbehaving", settings).await;
    let body = json!({ "MsgBody": [{ "MsgType": "TIMTextElem", "MsgContent": { "Text": text } }] }).to_string();
    let mut words = Vec::new();
    for _ in 0..n {
        words.push(match decide(&handler, COMMAND, &body).await {
            None => "none".to_owned(),
            Some(decision) => match decision.reply(decision_rules(COMMAND).unwrap(), body.as_bytes()) {
                Ok(reply) => DecisionResult::of(tencent_chat::ReplyFamily::Message, &reply).to_string(),
                Err(_) => "illegal".to_owned(),
            },
        });
    }
    words
}

#[tokio::test]
async fn a_decider_does_what_it_is_told_with_those_it_is_told_to() {
    for (settings, text, expected) in [
        (json!({}), "a", vec!["none"]),
        (json!({ "decide": "allow" }), "a", vec!["allowed"]),
        (json!({ "decide": "refuse", "every": 2 }), "a", vec!["none", "refused", "none", "refused"]),
        (json!({ "decide": "drop", "only": "spam" }), "spam", vec!["dropped"]),
        (json!({ "decide": "drop", "only": "spam", "otherwise": "refuse" }), "ham", vec!["refused"]),
        (json!({ "decide": { "rewrite": "b" }, "decide_after": "1ms" }), "a", vec!["rewritten"]),
        (json!({ "decide": { "refuse-showing": "no" } }), "a", vec!["refused"]),
        (json!({ "decide": "illegal" }), "a", vec!["illegal"]),
    ] {
        let mut settings = settings;
        settings["control"] = "decides".into();
        assert_eq!(decided(settings.clone(), text, expected.len()).await, expected, "{settings}");
    }
    Control::named("decides").wait_for_questions(11).await;
}

#[tokio::test]
async fn a_decider_that_hangs_and_one_that_fails_do() {
    let settings = json!({ "control": "hangs", "decide": "hang", "every": 2, "otherwise": "fail" });
    let handler = open_handler("misbehaving", settings).await;
    let cx = dispatcher_core::DecideContext {
        deadline: std::time::Instant::now(),
        purpose: dispatcher_core::Purpose::Answer,
    };
    let callback = sample(COMMAND);
    assert!(handler.decide(&callback, &cx).await.is_err());
    let hangs = tokio::time::timeout(Duration::from_millis(1), handler.decide(&callback, &cx)).await;
    assert!(hangs.is_err(), "{hangs:?}");
}

/// What the contract says of a handler with these settings, in a folder that has what the contract wants to see.
fn verdict_of_the_contract(settings: Value) -> String {
    let folder = tempfile::TempDir::new().unwrap();
    let sample = "[handlers.misbehaving]\ncontrol = \"c\"\n# behaviour = \"fail\"\n# decide = \"none\"\n# decide_after = \
                  \"1s\"\n# every = 1\n# only = \"x\"\n# otherwise = \"none\"\n";
    std::fs::write(folder.path().join("sample.toml"), sample).unwrap();
    std::fs::write(folder.path().join("README.md"), sample).unwrap();
    let folder = folder.path().to_str().unwrap().to_owned();
    let run = AssertUnwindSafe(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(check_handler("misbehaving", settings, &folder));
    });
    match std::panic::catch_unwind(run) {
        Ok(()) => "kept".to_owned(),
        Err(panic) => panic.downcast_ref::<String>().cloned().unwrap_or_default(),
    }
}

#[test]
fn the_contract_notices_deciders_that_break_it() {
    for (decide, expected) in [
        (json!("refuse"), "decides what is not legal, on the sample of Chatbot.OnC2CSignalMessage"),
        (json!("none"), "kept"),
        (json!("allow"), "kept"),
        (json!("illegal"), "decides what is not legal, on the sample of"),
        (json!("fail"), "misbehaving fails on the sample of"),
        (json!("panic"), "misbehaving panics on the sample of"),
    ] {
        let verdict = verdict_of_the_contract(json!({ "control": "contract", "decide": decide }));
        assert!(verdict.contains(expected), "{decide}: {verdict}");
    }
    // The sample does not have it, and one of the bodies that are made of the sample does.
    let verdict = verdict_of_the_contract(json!({ "control": "contract", "decide": "panic", "only": "界" }));
    assert!(verdict.contains("misbehaving panics on a body with \"\\u0000界\" at "), "{verdict}");
}
