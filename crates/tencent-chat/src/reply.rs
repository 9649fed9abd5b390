//! Replies: what goes back to Tencent.
//!
//! The HTTP status is 200 whatever a reply says: Tencent takes any other for a failed callback.

mod check;
mod merge;
mod parse;
mod rules;
mod targets;

use std::fmt;

use serde::Serialize;
use serde_json::value::RawValue;

pub use rules::{DecisionRules, ReplyFamily, decision_rules};
pub use targets::targets;

/// Allows the operation, or acknowledges the callback.
pub const OK: &str = r#"{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0}"#;

/// Says that the receiver failed, with an error for whoever reads Tencent's side. This is not how a decision refuses:
/// that is `OK` with an error code.
pub fn failure(error_code: u32, error_info: &str) -> String {
    let failure = Failure { action_status: "FAIL", error_info, error_code };
    serde_json::to_string(&failure).expect("two strings and a number are always JSON")
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Failure<'a> {
    action_status: &'static str,
    error_info: &'a str,
    error_code: u32,
}

/// A reply that decides. What is `None` is left out of it.
///
/// Which of its members are allowed, and which codes, is said by the [`DecisionRules`] of the command; [`check`](Reply::check)
/// holds a reply against them and against its request.
#[derive(Clone, Default, Serialize)]
pub struct Reply {
    #[serde(rename = "ActionStatus")]
    action_status: ActionStatus,
    /// What the user is shown, where `error_code` is one of the app's own. Else nobody sees it.
    #[serde(rename = "ErrorInfo")]
    pub error_info: String,
    /// 0: go on; 1: refuse; 2: drop silently; or a code of the app's own, within the command's range.
    #[serde(rename = "ErrorCode")]
    pub error_code: i64,
    /// The elements that a message is to have instead of its own, all of them, as JSON. `None` keeps the message as it is.
    #[serde(rename = "MsgBody", skip_serializing_if = "Option::is_none")]
    pub msg_body: Option<Box<RawValue>>,
    /// What a message's custom data is to be instead. What becomes of it beside a new `msg_body` when this is `None` is not
    /// documented.
    #[serde(rename = "CloudCustomData", skip_serializing_if = "Option::is_none")]
    pub cloud_custom_data: Option<String>,
    /// Those who are not to be invited.
    #[serde(rename = "RefusedMembers_Account", skip_serializing_if = "Option::is_none")]
    pub refused_members: Option<Vec<String>>,
    /// Those who are not to be subscribed.
    #[serde(rename = "RefusedSubscribers_Account", skip_serializing_if = "Option::is_none")]
    pub refused_subscribers: Option<Vec<String>>,
    /// A verdict on each target of a friend request.
    #[serde(rename = "ResultItem", skip_serializing_if = "Option::is_none")]
    pub results: Option<Vec<ResultItem>>,
    /// What is passed on to the chatbot.
    #[serde(rename = "RspData", skip_serializing_if = "Option::is_none")]
    pub rsp_data: Option<String>,
}

/// What is said of the callback itself, beside what is decided. Refusals say `OK` as well: they are answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
enum ActionStatus {
    #[default]
    #[serde(rename = "OK")]
    Ok,
    #[serde(rename = "FAIL")]
    Fail,
}

/// The verdict on one target of a friend request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ResultItem {
    /// Whom it is about.
    #[serde(rename = "To_Account")]
    pub to_account: String,
    /// 0 allows; a refusal has a code of 38000 to 39000.
    #[serde(rename = "ResultCode")]
    pub result_code: i64,
    /// What the one who asked is shown with a refusal.
    #[serde(rename = "ResultInfo")]
    pub result_info: String,
}

impl Reply {
    /// Its bytes on the wire.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings, numbers and JSON are always JSON")
    }

    /// Whether the operation goes on for everyone, and as it is.
    #[must_use]
    pub fn is_plain_allow(&self) -> bool {
        self.error_code == 0
            && self.msg_body.is_none()
            && self.cloud_custom_data.is_none()
            && self.refused_members.as_ref().is_none_or(Vec::is_empty)
            && self.refused_subscribers.as_ref().is_none_or(Vec::is_empty)
            && self.results.iter().flatten().all(|item| item.result_code == 0)
            && self.rsp_data.as_ref().is_none_or(String::is_empty)
    }
}

/// Compares what replies say, `MsgBody` by its bytes.
impl PartialEq for Reply {
    fn eq(&self, other: &Reply) -> bool {
        self.to_json() == other.to_json()
    }
}

/// Without what people are to read: that is in no log.
impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply")
            .field("error_code", &self.error_code)
            .field("rewrites", &(self.msg_body.is_some() || self.cloud_custom_data.is_some()))
            .finish_non_exhaustive()
    }
}

/// Why a reply must not be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IllegalReply(String);

impl IllegalReply {
    fn new(what: impl Into<String>) -> IllegalReply {
        IllegalReply(what.into())
    }
}

impl fmt::Display for IllegalReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for IllegalReply {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_json_whatever_they_say() {
        for (code, info, reply) in [
            (1, "", r#"{"ActionStatus":"FAIL","ErrorInfo":"","ErrorCode":1}"#),
            (120001, "a \"b\"\\\n群", r#"{"ActionStatus":"FAIL","ErrorInfo":"a \"b\"\\\n群","ErrorCode":120001}"#),
        ] {
            assert_eq!(failure(code, info), reply);
        }
    }

    #[test]
    fn what_is_absent_is_left_out() {
        assert_eq!(Reply::default().to_json(), OK);
        let reply = Reply { error_code: 2, cloud_custom_data: Some("x".into()), ..Reply::default() };
        assert_eq!(reply.to_json(), r#"{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":2,"CloudCustomData":"x"}"#);
    }
}
