//! What a decision on each command may say.

use std::ops::RangeInclusive;

use crate::Reply;

use super::{IllegalReply, ResultItem, targets};

/// What kind of thing is decided, which is what a reply can say about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReplyFamily {
    /// A message: it can be dropped silently and rewritten.
    Message,
    /// An operation that goes on as a whole or not at all: making a group or a topic, asking to join.
    Operation,
    /// An invitation, of which some members can be refused.
    Invitation,
    /// A subscription, of which some subscribers can be refused.
    Subscription,
    /// A friend request: a verdict on each target. A code at the top of the reply refuses nobody.
    FriendRequest,
    /// A signal to a chatbot, which gets an answer. Nothing can be refused.
    Signal,
}

/// The rules for the reply to one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecisionRules {
    /// What kind of thing is decided.
    pub family: ReplyFamily,
    /// The app's own codes, which reach the user together with a text. None: there are none.
    pub custom_codes: Option<RangeInclusive<u32>>,
    /// What the user's client sees when it is refused without a code of the app's own, where that is published.
    pub client_sees: Option<u32>,
}

impl DecisionRules {
    const fn new(family: ReplyFamily, codes: Option<RangeInclusive<u32>>, client_sees: Option<u32>) -> DecisionRules {
        DecisionRules { family, custom_codes: codes, client_sees }
    }

    /// Whether it can be refused at all.
    #[must_use]
    pub fn can_refuse(&self) -> bool {
        self.family != ReplyFamily::Signal
    }

    /// The reply that lets `request` go on as it is.
    #[must_use]
    pub fn allow(&self, request: &[u8]) -> Reply {
        match self.family {
            ReplyFamily::FriendRequest => {
                let item = |to_account| ResultItem { to_account, result_code: 0, result_info: String::new() };
                Reply {
                    results: Some(targets(self.family, request).into_iter().map(item).collect()),
                    ..Reply::default()
                }
            }
            ReplyFamily::Signal => Reply { rsp_data: Some(String::new()), ..Reply::default() },
            _ => Reply::default(),
        }
    }

    /// The reply that refuses `request` as a whole. With a code of the app's own the user sees `message`; a message without
    /// a code takes the first of the range.
    ///
    /// # Errors
    /// When it cannot be refused, or not like this.
    pub fn refuse(&self, request: &[u8], code: Option<u32>, message: Option<&str>) -> Result<Reply, IllegalReply> {
        if !self.can_refuse() {
            return Err(IllegalReply::new("nothing can be refused here; only an answer can be given"));
        }
        let first = self.custom_codes.as_ref().map(|codes| *codes.start());
        let code = match (code, message, first) {
            (Some(code), ..) => code,
            (None, Some(_), None) => {
                return Err(IllegalReply::new("no message reaches the user here; refuse without one"));
            }
            (None, Some(_), Some(first)) => first,
            // A verdict on a friend request has no plain code.
            (None, None, first) => match self.family {
                ReplyFamily::FriendRequest => first.unwrap_or(1),
                _ => 1,
            },
        };
        let (code, message) = (i64::from(code), message.unwrap_or_default().to_owned());
        if self.family == ReplyFamily::FriendRequest {
            let item = |to_account| ResultItem { to_account, result_code: code, result_info: message.clone() };
            let results = targets(self.family, request).into_iter().map(item).collect();
            return Ok(Reply { results: Some(results), ..Reply::default() });
        }
        Ok(Reply { error_code: code, error_info: message, ..Reply::default() })
    }
}

const OWN: RangeInclusive<u32> = 120_001..=130_000;
const OWN_OF_GROUPS: RangeInclusive<u32> = 10_100..=10_200;
const OWN_OF_FRIENDS: RangeInclusive<u32> = 38_000..=39_000;

static C2C_MESSAGE: DecisionRules = DecisionRules::new(ReplyFamily::Message, Some(OWN), Some(20_006));
static GROUP_MESSAGE: DecisionRules = DecisionRules::new(ReplyFamily::Message, Some(OWN_OF_GROUPS), Some(10_016));
static ACCOUNT_MESSAGE: DecisionRules = DecisionRules::new(ReplyFamily::Message, Some(OWN), Some(10_016));
static GROUP_OPERATION: DecisionRules = DecisionRules::new(ReplyFamily::Operation, Some(OWN_OF_GROUPS), Some(10_016));
static ACCOUNT_OPERATION: DecisionRules = DecisionRules::new(ReplyFamily::Operation, Some(OWN), Some(20_006));
static INVITATION: DecisionRules = DecisionRules::new(ReplyFamily::Invitation, Some(OWN_OF_GROUPS), Some(10_016));
static SUBSCRIPTION: DecisionRules = DecisionRules::new(ReplyFamily::Subscription, None, None);
static FRIEND_REQUEST: DecisionRules = DecisionRules::new(ReplyFamily::FriendRequest, Some(OWN_OF_FRIENDS), None);
static SIGNAL: DecisionRules = DecisionRules::new(ReplyFamily::Signal, None, None);

/// The rules of this command; none if its reply decides nothing, or it is not in the catalogue. The codes are those of the
/// commands' pages and of <https://www.tencentcloud.com/document/product/1047/34348>.
#[must_use]
pub fn decision_rules(command: &str) -> Option<&'static DecisionRules> {
    Some(match command {
        "C2C.CallbackBeforeSendMsg" => &C2C_MESSAGE,
        "Group.CallbackBeforeSendMsg" => &GROUP_MESSAGE,
        "OfficialAccount.CallbackBeforeSendMsg" => &ACCOUNT_MESSAGE,
        "Group.CallbackBeforeCreateGroup"
        | "Group.CallbackBeforeCreateTopic"
        | "Group.CallbackBeforeApplyJoinGroup" => &GROUP_OPERATION,
        "OfficialAccount.CallbackBeforeCreateOfficialAccount" => &ACCOUNT_OPERATION,
        "Group.CallbackBeforeInviteJoinGroup" => &INVITATION,
        "OfficialAccount.CallbackBeforeAddSubscriber" => &SUBSCRIPTION,
        "Sns.CallbackPrevFriendAdd" | "Sns.CallbackPrevFriendResponse" => &FRIEND_REQUEST,
        "Chatbot.OnC2CSignalMessage" => &SIGNAL,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_that_wants_a_decision_has_rules_and_no_other() {
        for info in crate::commands() {
            assert_eq!(decision_rules(info.name).is_some(), info.wants_decision(), "{}", info.name);
        }
    }

    #[test]
    fn what_is_allowed_or_refused_by_the_rules_is_legal() {
        for info in crate::commands() {
            let Some(rules) = decision_rules(info.name) else { continue };
            let request = info.sample.as_bytes();
            assert_eq!(rules.allow(request).check(rules, request), Ok(()), "{}", info.name);
            assert!(rules.allow(request).is_plain_allow(), "{}", info.name);
            let Ok(refusal) = rules.refuse(request, None, None) else {
                assert!(!rules.can_refuse(), "{}", info.name);
                continue;
            };
            assert_eq!(refusal.check(rules, request), Ok(()), "{}", info.name);
            assert!(!refusal.is_plain_allow(), "{}", info.name);
            match rules.refuse(request, None, Some("no")) {
                Ok(refusal) => assert_eq!(refusal.check(rules, request), Ok(()), "{}", info.name),
                Err(_) => assert_eq!(rules.custom_codes, None, "{}", info.name),
            }
        }
    }
}
