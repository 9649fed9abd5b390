//! Whose message it is, and what becomes of it.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers as well")]

use std::time::Instant;

use dispatcher_core::{CheckContext, DecideContext, HandleContext, Purpose, Registry};
use dispatcher_testkit::{Control, PATIENCE, TestDispatcher, callback_from, check_handler, events, open_handler};
use handler_loop_guard as _;
use serde_json::{Value, json};

/// Whether it decides, and says so, and that nobody after it is asked; and how many events it makes.
async fn guard(settings: &Value, platform: &str, command: &str, body: &Value) -> (Option<String>, usize) {
    let handler = open_handler("loop-guard", settings.clone()).await;
    let callback = callback_from(platform, command, &body.to_string());
    let deadline = Instant::now() + PATIENCE;
    let cx = DecideContext { deadline, purpose: Purpose::Answer };
    let decision = handler.decide(&callback, &cx).await.unwrap();
    assert!(decision.iter().all(|decision| decision.is_final()));
    let new = handler.handle(&callback, &HandleContext { deadline, attempt: 1, replay: false }).await.unwrap();
    for event in events(1, "loop-guard", &callback, &new) {
        assert_eq!(&*event.event_type, format!("tencent-chat.callback.{command}"));
        assert_eq!(event.data_json(), callback.body_bytes());
    }
    (decision.map(|decision| decision.reason().to_owned()), new.len())
}

#[tokio::test]
async fn keeps_the_contract_of_handlers() {
    for settings in [
        json!({}),
        json!({ "accounts": ["jonas", "aiko", "@TOA#*"] }),
        json!({ "rest_api": false, "accounts": ["jonas"], "forward": "own" }),
        json!({ "forward": "none" }),
    ] {
        check_handler("loop-guard", settings, env!("CARGO_MANIFEST_DIR")).await;
    }
}

#[tokio::test]
async fn the_teams_own_messages_pass_and_nobody_else_is_asked() {
    const BEFORE: &str = "C2C.CallbackBeforeSendMsg";
    let rest_api = Some("sent through the REST API".to_owned());
    let listed = |idx: usize| Some(format!("sent by one of accounts[{idx}]"));
    for (settings, platform, from, expected) in [
        (json!({}), "RESTAPI", "mara", rest_api.clone()),
        (json!({}), "RestApi", "mara", rest_api.clone()),
        (json!({}), "iOS", "mara", None),
        (json!({ "accounts": ["lin", "bot-*"] }), "Web", "bot-7", listed(1)),
        (json!({ "accounts": ["lin", "bot-*"] }), "Web", "mara", None),
        (json!({ "rest_api": false, "accounts": ["bot"] }), "RESTAPI", "mara", None),
        (json!({ "rest_api": false, "accounts": ["bot"] }), "RESTAPI", "bot", listed(0)),
    ] {
        let body = json!({ "From_Account": from });
        // It is about to be sent: nothing is forwarded yet, whatever it is.
        assert_eq!(guard(&settings, platform, BEFORE, &body).await, (expected, 0), "{settings} {platform} {from}");
    }
    let settings = json!({ "accounts": ["@TOA#*"] });
    let body = json!({ "Official_Account": "@TOA#_BAKERY31" });
    assert_eq!(guard(&settings, "Web", "OfficialAccount.CallbackBeforeSendMsg", &body).await.0, listed(0));
}

#[tokio::test]
async fn what_was_sent_is_forwarded_by_who_sent_it() {
    for (forward, of_users, of_the_team) in [("others", 1, 0), ("own", 0, 1), ("none", 0, 0)] {
        for command in ["C2C.CallbackAfterSendMsg", "Group.CallbackAfterSendMsg", "Bot.OnC2CMessage"] {
            let settings = json!({ "forward": forward, "accounts": ["bot"] });
            for (platform, from, expected) in
                [("iOS", "mara", of_users), ("RESTAPI", "mara", of_the_team), ("iOS", "bot", of_the_team)]
            {
                let body = json!({ "From_Account": from });
                let (_, n_events) = guard(&settings, platform, command, &body).await;
                assert_eq!(n_events, expected, "{forward} {command} {platform} {from}");
            }
        }
    }
}

#[tokio::test]
async fn a_bot_in_a_running_dispatcher_gets_what_users_wrote_and_its_replies_pass_the_deciders() {
    let dispatcher = TestDispatcher::start(
        r#"
[handlers.guard]
type = "loop-guard"
order = 1
sinks = ["bot"]

[handlers.strict]
type = "misbehaving"
control = "strict"
decide = "refuse"
order = 2

[sinks.bot]
type = "misbehaving"
control = "bot"
"#,
    );
    let (user, bot) = (dispatcher.tencent(), dispatcher.tencent().on_platform("RESTAPI"));
    let sample = |command: &str| tencent_chat::command(command).unwrap().sample;
    let before = "C2C.CallbackBeforeSendMsg";
    bot.send(before, sample(before)).await.expect_ok();
    assert_eq!(user.send(before, sample(before)).await.json()["ErrorCode"], 1);

    let after = "C2C.CallbackAfterSendMsg";
    // Of one conversation, so in order: if its own reply came through, it would come first.
    bot.send(after, &sample(after).replace("ferry", "boat")).await.expect_ok();
    user.send(after, sample(after)).await.expect_ok();
    let taken = Control::named("bot").wait_for(1).await;
    dispatcher.stop().await;
    assert_eq!(Control::named("bot").taken(), taken);
    assert_eq!(taken.len(), 1, "{taken:?}");
}

#[test]
fn wrong_settings_are_named() {
    let registry = Registry::collect(&[]).unwrap();
    for (settings, expected) in [
        (
            json!({ "rest_api": false }),
            "accounts: nothing would count as the team's own; list accounts, or write rest_api = true",
        ),
        (
            json!({ "accounts": ["a", "*"] }),
            "accounts.[1]: would be everybody, or nobody; write an account, or how several begin, such as \"bot-*\"",
        ),
        (
            json!({ "accounts": ["a*b"] }),
            "accounts.[0]: a `*` stands at the end and nowhere else; write how the accounts begin, such as \"bot-*\"",
        ),
    ] {
        let decoded = registry.handler("loop-guard").unwrap().decode(&settings).unwrap();
        let findings = decoded.check(&CheckContext::default()).unwrap_err();
        assert_eq!(findings.iter().map(ToString::to_string).collect::<Vec<_>>(), [expected], "{settings}");
    }
}
