//! What an answer says about a callback that wants a decision.

use bytes::Bytes;
use dispatcher_core::{Callback, Decision, HandlerError};
use dispatcher_http::{Answer, BodyEnd, NoAnswer};
use reqwest::StatusCode;
use serde::de::IgnoredAny;
use tencent_chat::DecisionRules;

/// Why there is no decision.
pub(crate) struct Undecided {
    pub(crate) error: HandlerError,
    /// Whether the endpoint does its work all the same, and only says what this command has no room for: it answered with
    /// status 200 and JSON. Others of its commands may fare better.
    pub(crate) is_there: bool,
}

/// The decision, if that is what it is: status 200, as Tencent itself asks for, and a reply that is legal for the command. No
/// error repeats what the endpoint wrote.
pub(crate) fn decided(
    answer: Result<Answer, NoAnswer>,
    rules: &DecisionRules,
    callback: &Callback,
) -> Result<Decision, Undecided> {
    let failed = |why: String| Undecided { error: HandlerError::retry(why), is_there: false };
    let answer = answer.map_err(|none| failed(none.to_string()))?;
    let from = answer.from();
    if answer.status.is_redirection() {
        return Err(failed(answer.redirect()));
    }
    if answer.status != StatusCode::OK {
        return Err(failed(format!("status {} from {from}", answer.status.as_u16())));
    }
    match answer.end {
        BodyEnd::Whole => {}
        BodyEnd::TooLong => return Err(failed(format!("the reply from {from} is longer than 64 KiB"))),
        BodyEnd::Broken => return Err(failed(format!("the reply from {from} breaks off"))),
    }
    let body = Bytes::from(answer.body);
    let decision = Decision::from_reply(body.clone());
    decision.and_then(|decision| decision.reply(rules, callback.body_bytes()).map(|_| decision)).map_err(|err| {
        Undecided {
            error: HandlerError::retry(format!("the reply from {from} is not legal: {err}")),
            is_there: serde_json::from_slice::<IgnoredAny>(&body).is_ok(),
        }
    })
}
