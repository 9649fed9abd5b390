//! What it takes to make good that something went on that a decision, had it come in time, would have stopped.

use std::collections::HashSet;

use dispatcher_core::{Callback, DecisionResult};
use serde_json::{Map, Value, json};
use tencent_chat::{Reply, ReplyFamily, targets};

/// For each command: what to do when it should have been refused, and the fields of its body that it is done with.
const REPAIRS: [(&str, &str, &[&str]); 11] = [
    ("C2C.CallbackBeforeSendMsg", "recall-message", &["From_Account", "To_Account", "MsgKey", "MsgId"]),
    // The message's seq is not known before it is sent: the after callback with this `Random` tells it.
    ("Group.CallbackBeforeSendMsg", "recall-message", &["GroupId", "TopicId", "From_Account", "Random", "MsgId"]),
    ("OfficialAccount.CallbackBeforeSendMsg", "recall-message", &["Official_Account", "EventTime"]),
    ("Group.CallbackBeforeCreateGroup", "destroy-group", &["Operator_Account", "Owner_Account", "Type", "Name"]),
    ("Group.CallbackBeforeCreateTopic", "destroy-topic", &["Operator_Account", "Name"]),
    ("Group.CallbackBeforeApplyJoinGroup", "remove-member", &["GroupId", "Requestor_Account"]),
    ("Group.CallbackBeforeInviteJoinGroup", "remove-member", &["GroupId", "Operator_Account"]),
    ("OfficialAccount.CallbackBeforeCreateOfficialAccount", "destroy-official-account", &["Owner_Account", "Name"]),
    ("OfficialAccount.CallbackBeforeAddSubscriber", "remove-subscriber", &["Official_Account"]),
    ("Sns.CallbackPrevFriendAdd", "delete-friend", &["From_Account"]),
    ("Sns.CallbackPrevFriendResponse", "delete-friend", &["From_Account"]),
];

/// What to do, `action`, and what with: fields of the callback's body, in snake case, and in place of those it names the ones
/// that should have been refused. Nothing where there is nothing to make good, as when it was refused and should not have been.
pub(crate) fn repair(family: ReplyFamily, callback: &Callback, answered: &Reply, verdict: &Reply) -> Value {
    let Some((_, action, fields)) = REPAIRS.iter().find(|(name, ..)| *name == callback.command().as_str()) else {
        return json!({});
    };
    let body: Map<String, Value> = serde_json::from_slice(callback.body_bytes()).unwrap_or_default();
    let result = DecisionResult::of(family, verdict);
    let (action, refused) = match result {
        DecisionResult::Allowed | DecisionResult::Answered => return json!({}),
        DecisionResult::Rewritten => ("modify-message", vec![]),
        DecisionResult::Dropped => (*action, vec![]),
        DecisionResult::Refused | DecisionResult::RefusedSome => {
            let already: HashSet<&str> = answered.refused().into_iter().collect();
            let named = targets(family, callback.body_bytes());
            let refused = match verdict.error_code {
                0 => verdict.refused().into_iter().map(str::to_owned).collect(),
                _ => named,
            };
            (*action, refused.into_iter().filter(|account| !already.contains(&**account)).collect())
        }
    };
    let mut repair = Map::from_iter([("action".to_owned(), json!(action))]);
    for field in *fields {
        if let Some(value) = body.get(*field).filter(|value| !value.is_array()) {
            repair.insert(snake_case(field), value.clone());
        }
    }
    if !refused.is_empty() {
        repair.insert("accounts".to_owned(), json!(refused));
    }
    if let Some(elements) = verdict.elements() {
        repair.insert("msg_body".to_owned(), serde_json::from_str(elements.get()).unwrap_or_default());
    }
    if let Some(data) = &verdict.cloud_custom_data {
        repair.insert("cloud_custom_data".to_owned(), json!(data));
    }
    Value::Object(repair)
}

/// `From_Account` and `MsgKey` as `from_account` and `msg_key`.
fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for (idx, letter) in name.char_indices() {
        if letter.is_ascii_uppercase() && idx > 0 && !snake.ends_with('_') {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use dispatcher_core::{App, CallbackId, CallbackParts, Command, Decision, Invitation, Message, Timestamp};
    use tencent_chat::decision_rules;

    use super::*;

    fn made_good(command: &str, answered: &Decision, verdict: &Decision) -> Value {
        let rules = decision_rules(command).unwrap();
        let callback = Callback::new(CallbackParts {
            id: CallbackId::mint(),
            app: App::new(1, "main"),
            command: Command::new(command),
            query: "".into(),
            body: tencent_chat::command(command).unwrap().sample.into(),
            received_at: Timestamp::now(),
            event_time: None,
            key: None,
            identity: None,
        });
        let reply = |decision: &Decision| decision.reply(rules, callback.body_bytes()).unwrap();
        repair(rules.family, &callback, &reply(answered), &reply(verdict))
    }

    #[test]
    fn every_command_that_can_be_refused_can_be_made_good() {
        for info in tencent_chat::commands() {
            let Some(rules) = decision_rules(info.name).filter(|rules| rules.can_refuse()) else { continue };
            let repair = made_good(info.name, &Decision::allow(), &Decision::refuse("x"));
            let members = repair.as_object().unwrap();
            // The sample has the fields that are named.
            assert!(members.contains_key("action") && members.len() > 2, "{}: {repair}", info.name);
            let has_targets = !targets(rules.family, info.sample.as_bytes()).is_empty();
            assert_eq!(members.contains_key("accounts"), has_targets, "{}", info.name);
        }
    }

    #[test]
    fn only_those_who_should_have_been_refused_are_named() {
        let invite = "Group.CallbackBeforeInviteJoinGroup";
        let refuse = |accounts: &[&'static str]| Invitation::refuse_members("x", accounts.iter().copied());
        let repair = made_good(invite, &Decision::allow(), &refuse(&["omar"]));
        assert_eq!((&repair["action"], &repair["accounts"]), (&json!("remove-member"), &json!(["omar"])));
        let repair = made_good(invite, &refuse(&["omar"]), &Decision::refuse("x"));
        assert_eq!(repair["accounts"], json!(["seagull-41"]));
    }

    #[test]
    fn what_was_refused_and_should_not_have_been_cannot_be_made_good() {
        let repair = made_good("C2C.CallbackBeforeSendMsg", &Decision::refuse("x"), &Decision::allow());
        assert_eq!(repair, json!({}));
    }

    #[test]
    fn a_message_that_should_have_been_another_is_told_with_the_other() {
        let elements = json!([{ "MsgType": "TIMTextElem", "MsgContent": { "Text": "x" } }]);
        let rewrite: Decision = Message::rewrite("x").elements(&elements).unwrap().into();
        let repair = made_good("C2C.CallbackBeforeSendMsg", &Decision::allow(), &rewrite);
        assert_eq!((&repair["action"], &repair["msg_body"]), (&json!("modify-message"), &elements));
    }
}
