//! What it takes to make good that something went on that a decision, had it come in time, would have stopped.

use serde_json::{Map, Value, json};

/// For each command: what to do, and the fields of its body that it is done with.
const REPAIRS: [(&str, &str, &[&str]); 11] = [
    ("C2C.CallbackBeforeSendMsg", "recall-message", &["From_Account", "To_Account", "MsgKey", "MsgId"]),
    // The message's seq is not known before it is sent: the after callback with this `Random` tells it.
    ("Group.CallbackBeforeSendMsg", "recall-message", &["GroupId", "TopicId", "From_Account", "Random", "MsgId"]),
    ("OfficialAccount.CallbackBeforeSendMsg", "recall-message", &["Official_Account", "EventTime"]),
    ("Group.CallbackBeforeCreateGroup", "destroy-group", &["Operator_Account", "Owner_Account", "Type", "Name"]),
    ("Group.CallbackBeforeCreateTopic", "destroy-topic", &["Operator_Account", "Name"]),
    ("Group.CallbackBeforeApplyJoinGroup", "remove-member", &["GroupId", "Requestor_Account"]),
    ("Group.CallbackBeforeInviteJoinGroup", "remove-member", &["GroupId", "Operator_Account", "DestinationMembers"]),
    ("OfficialAccount.CallbackBeforeCreateOfficialAccount", "destroy-official-account", &["Owner_Account", "Name"]),
    ("OfficialAccount.CallbackBeforeAddSubscriber", "remove-subscriber", &["Official_Account", "SubscribeAccountList"]),
    ("Sns.CallbackPrevFriendAdd", "delete-friend", &["From_Account", "FriendItem"]),
    ("Sns.CallbackPrevFriendResponse", "delete-friend", &["From_Account", "ResponseFriendItem"]),
];

/// `action` and the fields of the body that it needs, in snake case; of lists the accounts alone.
pub(crate) fn repair(command: &str, body: &[u8]) -> Value {
    let Some((_, action, fields)) = REPAIRS.iter().find(|(name, ..)| *name == command) else { return json!({}) };
    let body: Map<String, Value> = serde_json::from_slice(body).unwrap_or_default();
    let mut repair = Map::from_iter([("action".to_owned(), json!(action))]);
    for field in *fields {
        let value = match body.get(*field) {
            Some(Value::Array(entries)) => {
                let account = |entry: &Value| {
                    let mut members = entry.as_object()?.iter();
                    members.find(|(name, _)| name.ends_with("_Account")).map(|(_, account)| account.clone())
                };
                Value::Array(entries.iter().filter_map(account).collect())
            }
            Some(value) => value.clone(),
            None => continue,
        };
        repair.insert(snake_case(field), value);
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
    use super::*;

    #[test]
    fn every_command_that_can_be_refused_can_be_made_good() {
        for info in tencent_chat::commands() {
            let can_refuse = tencent_chat::decision_rules(info.name).is_some_and(|rules| rules.can_refuse());
            let repair = repair(info.name, info.sample.as_bytes());
            assert_eq!(repair.get("action").is_some(), can_refuse, "{}", info.name);
            // The sample has the fields that are named.
            assert!(!can_refuse || repair.as_object().unwrap().len() > 2, "{}: {repair}", info.name);
        }
    }

    #[test]
    fn of_lists_the_accounts_are_told() {
        let body =
            br#"{"GroupId":"g","DestinationMembers":[{"Member_Account":"a"},{"Member_Account":"b"}],"Text":"secret"}"#;
        let told = repair("Group.CallbackBeforeInviteJoinGroup", body);
        assert_eq!(told, json!({"action":"remove-member","group_id":"g","destination_members":["a","b"]}));
        assert_eq!(repair("C2C.CallbackBeforeSendMsg", b"no JSON"), json!({"action":"recall-message"}));
    }
}
