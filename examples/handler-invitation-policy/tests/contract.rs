//! Whom it keeps out, in the bytes that Tencent gets.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers as well")]

use dispatcher_core::{CheckContext, Registry};
use dispatcher_testkit::{check_handler, decide, open_handler};
use handler_invitation_policy as _;
use serde_json::{Value, json};
use tencent_chat::{command, decision_rules};

const COMMAND: &str = "Group.CallbackBeforeInviteJoinGroup";

async fn reply(settings: Value, body: &str) -> Option<String> {
    let handler = open_handler("invitation-policy", settings).await;
    let decision = decide(&handler, COMMAND, body).await?;
    Some(decision.reply(decision_rules(COMMAND).unwrap(), body.as_bytes()).unwrap().to_json())
}

#[tokio::test]
async fn keeps_the_contract_of_handlers() {
    for settings in [json!({}), json!({ "separator": "-", "blocked": ["omar"] })] {
        check_handler("invitation-policy", settings, env!("CARGO_MANIFEST_DIR")).await;
    }
}

#[tokio::test]
async fn a_blocked_account_of_the_sample_is_refused_and_the_other_one_is_invited() {
    let sample = command(COMMAND).unwrap().sample;
    let refused = r#"{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,"RefusedMembers_Account":["seagull-41"]}"#;
    assert_eq!(reply(json!({ "blocked": ["seagull-41"] }), sample).await.as_deref(), Some(refused));
    assert_eq!(reply(json!({}), sample).await, None);
}

#[tokio::test]
async fn people_of_a_company_invite_its_people() {
    for (inviter, invited, refused) in [
        ("harbour.mara", vec!["harbour.jonas"], vec![]),
        ("harbour.mara", vec!["harbour.jonas", "pier.lin", "aiko"], vec!["pier.lin", "aiko"]),
        ("harbour.mara", vec!["harbourmaster.lin"], vec!["harbourmaster.lin"]),
        ("administrator", vec!["pier.lin", "aiko"], vec![]),
        ("administrator", vec!["pier.lin", "pier.omar"], vec!["pier.omar"]),
        ("pier.lin", vec!["pier.omar"], vec!["pier.omar"]),
    ] {
        let members: Vec<Value> = invited.iter().map(|account| json!({ "Member_Account": account })).collect();
        let body = json!({ "Operator_Account": inviter, "DestinationMembers": members }).to_string();
        let reply = reply(json!({ "blocked": ["pier.omar"] }), &body).await;
        let reply: Option<Value> = reply.map(|reply| serde_json::from_str(&reply).unwrap());
        let expected = (!refused.is_empty()).then(|| json!(refused));
        assert_eq!(reply.map(|reply| reply["RefusedMembers_Account"].clone()), expected, "{inviter} and {invited:?}");
    }
}

#[test]
fn an_empty_separator_is_named() {
    let registry = Registry::collect(&[]).unwrap();
    let settings = registry.handler("invitation-policy").unwrap().decode(&json!({ "separator": "" })).unwrap();
    let findings = settings.check(&CheckContext::default()).unwrap_err();
    assert_eq!(findings[0].to_string(), "separator: separates nothing; write a character or more, such as \".\"");
}
