//! Whether a reply may be sent.

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{ActionStatus, DecisionRules, IllegalReply, Reply, ReplyFamily, targets};

impl Reply {
    /// Holds the reply against the rules of its command and the request that it answers.
    ///
    /// # Errors
    /// The first thing that Tencent would not understand, or would understand as something else.
    pub fn check(&self, rules: &DecisionRules, request: &[u8]) -> Result<(), IllegalReply> {
        let family = rules.family;
        self.check_code(rules)?;
        if (self.msg_body.is_some() || self.cloud_custom_data.is_some()) && family != ReplyFamily::Message {
            return illegal("there is no message to rewrite here");
        }
        if (self.msg_body.is_some() || self.cloud_custom_data.is_some()) && self.error_code != 0 {
            return illegal(format!("a message is rewritten with ErrorCode 0, not {}", self.error_code));
        }
        self.msg_body.as_deref().map_or(Ok(()), check_elements)?;
        for (name, refused, of) in [
            ("RefusedMembers_Account", &self.refused_members, ReplyFamily::Invitation),
            ("RefusedSubscribers_Account", &self.refused_subscribers, ReplyFamily::Subscription),
        ] {
            let Some(refused) = refused else { continue };
            if family != of {
                return illegal(format!("{name} says nothing here"));
            }
            if self.error_code != 0 {
                return illegal(format!("{name} goes with ErrorCode 0, not {}", self.error_code));
            }
            let named: HashSet<String> = targets(family, request).into_iter().collect();
            if refused.iter().any(|account| !named.contains(account)) {
                return illegal(format!("{name} has an account that the request does not name"));
            }
        }
        self.check_results(rules, request)?;
        match (&self.rsp_data, family) {
            (None, ReplyFamily::Signal) => illegal("RspData is missing"),
            (Some(_), family) if family != ReplyFamily::Signal => illegal("there is no chatbot to pass RspData on to"),
            _ => Ok(()),
        }
    }

    fn check_code(&self, rules: &DecisionRules) -> Result<(), IllegalReply> {
        let code = self.error_code;
        if self.action_status == ActionStatus::Fail && code == 0 {
            return illegal("ActionStatus says that it failed, and ErrorCode 0 that it did not");
        }
        let is_own = |code| {
            let codes = rules.custom_codes.as_ref();
            codes.is_some_and(|codes| u32::try_from(code).is_ok_and(|code| codes.contains(&code)))
        };
        match rules.family {
            // Refuses nobody, whatever it is.
            ReplyFamily::FriendRequest if code != 0 => illegal(format!(
                "ErrorCode {code} refuses nobody: friend requests are refused by the ResultCode of each ResultItem"
            )),
            ReplyFamily::FriendRequest => Ok(()),
            _ if code == 0 || code == 1 => Ok(()),
            ReplyFamily::Message if code == 2 => Ok(()),
            _ if is_own(code) => Ok(()),
            family => {
                let mut known = "0, 1".to_owned();
                if family == ReplyFamily::Message {
                    known += ", 2";
                }
                if let Some(codes) = &rules.custom_codes {
                    known += &format!(", and {} to {} for codes of your own", codes.start(), codes.end());
                }
                illegal(format!("ErrorCode {code} means nothing here; known are {known}"))
            }
        }
    }

    fn check_results(&self, rules: &DecisionRules, request: &[u8]) -> Result<(), IllegalReply> {
        let items = match (&self.results, rules.family) {
            (None, ReplyFamily::FriendRequest) => {
                return illegal("ResultItem is missing: it has a verdict on each target");
            }
            (None, _) => return Ok(()),
            (Some(items), ReplyFamily::FriendRequest) => items,
            (Some(_), _) => return illegal("ResultItem says nothing here"),
        };
        for item in items {
            let is_own = |codes: &std::ops::RangeInclusive<u32>| {
                u32::try_from(item.result_code).is_ok_and(|code| codes.contains(&code))
            };
            if item.result_code != 0 && !rules.custom_codes.as_ref().is_some_and(is_own) {
                return illegal(format!("ResultCode {} is neither 0 nor one of 38000 to 39000", item.result_code));
            }
        }
        let judged: HashSet<&str> = items.iter().map(|item| item.to_account.as_str()).collect();
        let asked = targets(rules.family, request);
        let asked: HashSet<&str> = asked.iter().map(String::as_str).collect();
        if judged.len() != items.len() {
            return illegal("ResultItem has two verdicts on one account");
        }
        if judged != asked {
            return illegal("ResultItem has not exactly the accounts that the request names");
        }
        Ok(())
    }
}

/// Whether these are elements of a message.
fn check_elements<'a>(elements: &'a RawValue) -> Result<(), IllegalReply> {
    #[derive(Deserialize)]
    struct Element<'e> {
        #[serde(borrow, rename = "MsgType")]
        r#type: std::borrow::Cow<'e, str>,
        #[serde(borrow, rename = "MsgContent")]
        content: &'e RawValue,
    }
    // Serde would read an element from a list of its members, too.
    let objects: Option<Vec<Element<'a>>> =
        serde_json::from_str::<Vec<&'a RawValue>>(elements.get()).ok().and_then(|elements| {
            let element = |json: &'a RawValue| match json.get().starts_with('{') {
                true => serde_json::from_str(json.get()).ok(),
                false => None,
            };
            elements.into_iter().map(element).collect()
        });
    let Some(elements) = objects else {
        return illegal("MsgBody is not a list of elements, each with MsgType and MsgContent");
    };
    if elements.is_empty() {
        return illegal("MsgBody is empty; leave it out to keep the message as it is");
    }
    if elements.iter().any(|element| !element.content.get().starts_with('{')) {
        return illegal("MsgBody has an element whose MsgContent is not an object");
    }
    if elements.iter().filter(|element| element.r#type == "TIMCustomElem").count() > 1 {
        return illegal("MsgBody has two elements TIMCustomElem; a message has one at most");
    }
    Ok(())
}

fn illegal<T>(what: impl Into<String>) -> Result<T, IllegalReply> {
    Err(IllegalReply::new(what))
}
