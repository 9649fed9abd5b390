//! The people that a request names, of whom a reply may refuse some.

use std::collections::HashSet;

use serde::Deserialize;

use super::ReplyFamily;

/// The accounts that a request is about, each once, in its order: those invited, those to be subscribed, those asked to be friends. None
/// for the other families, and where the body does not have them as it should.
#[must_use]
pub fn targets(family: ReplyFamily, request: &[u8]) -> Vec<String> {
    let Some((list, account)) = fields(family) else { return Vec::new() };
    let Ok(body) = serde_json::from_slice::<Body>(request) else { return Vec::new() };
    let entries = list.iter().find_map(|list| match *list {
        "DestinationMembers" => body.members.as_ref(),
        "SubscribeAccountList" => body.subscribers.as_ref(),
        "FriendItem" => body.friends.as_ref(),
        _ => body.answers.as_ref(),
    });
    let account_of = |entry: &serde_json::Value| Some(entry.get(account)?.as_str()?.to_owned());
    let mut seen = HashSet::new();
    // One that is named twice is one target.
    entries.into_iter().flatten().filter_map(account_of).filter(|account| seen.insert(account.clone())).collect()
}

/// The names that the list of targets can have in the body, and the account's name in each of its entries.
pub(super) fn fields(family: ReplyFamily) -> Option<(&'static [&'static str], &'static str)> {
    match family {
        ReplyFamily::Invitation => Some((&["DestinationMembers"], "Member_Account")),
        ReplyFamily::Subscription => Some((&["SubscribeAccountList"], "Subscriber_Account")),
        ReplyFamily::FriendRequest => Some((&["FriendItem", "ResponseFriendItem"], "To_Account")),
        ReplyFamily::Message | ReplyFamily::Operation | ReplyFamily::Signal => None,
    }
}

#[derive(Deserialize)]
struct Body {
    #[serde(rename = "DestinationMembers")]
    members: Option<Vec<serde_json::Value>>,
    #[serde(rename = "SubscribeAccountList")]
    subscribers: Option<Vec<serde_json::Value>>,
    #[serde(rename = "FriendItem")]
    friends: Option<Vec<serde_json::Value>>,
    #[serde(rename = "ResponseFriendItem")]
    answers: Option<Vec<serde_json::Value>>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision_rules;

    #[test]
    fn are_found_in_every_sample_that_has_some() {
        for (command, some) in [
            ("Group.CallbackBeforeInviteJoinGroup", true),
            ("OfficialAccount.CallbackBeforeAddSubscriber", true),
            ("Sns.CallbackPrevFriendAdd", true),
            ("Sns.CallbackPrevFriendResponse", true),
            ("C2C.CallbackBeforeSendMsg", false),
        ] {
            let sample = crate::command(command).unwrap().sample.as_bytes();
            assert_eq!(!targets(decision_rules(command).unwrap().family, sample).is_empty(), some, "{command}");
        }
    }

    #[test]
    fn who_is_named_twice_is_one_target() {
        let body = br#"{"FriendItem":[{"To_Account":"a"},{"To_Account":"b"},{"To_Account":"a"}]}"#;
        assert_eq!(targets(ReplyFamily::FriendRequest, body), ["a", "b"]);
    }

    #[test]
    fn a_body_that_does_not_fit_has_none() {
        for body in ["{}", r#"{"FriendItem":3}"#, r#"{"FriendItem":[3,{"To_Account":4}]}"#, "no JSON"] {
            assert!(targets(ReplyFamily::FriendRequest, body.as_bytes()).is_empty(), "{body}");
        }
    }
}
