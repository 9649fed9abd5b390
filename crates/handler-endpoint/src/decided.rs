//! What an answer says about a callback that wants a decision.

use bytes::Bytes;
use dispatcher_core::{Callback, Decision, HandlerError};
use dispatcher_http::{Answer, BodyEnd, NoAnswer};
use reqwest::StatusCode;
use tencent_chat::DecisionRules;

/// The decision, if that is what it is: status 200, as Tencent itself asks for, and a reply that is legal for the command. No
/// error repeats what the endpoint wrote.
pub(crate) fn decided(
    answer: Result<Answer, NoAnswer>,
    rules: &DecisionRules,
    callback: &Callback,
) -> Result<Decision, HandlerError> {
    let answer = answer.map_err(HandlerError::retry)?;
    let from = answer.from();
    if answer.status.is_redirection() {
        return Err(HandlerError::retry(answer.redirect()));
    }
    if answer.status != StatusCode::OK {
        return Err(HandlerError::retry(format!("status {} from {from}", answer.status.as_u16())));
    }
    match answer.end {
        BodyEnd::Whole => {}
        BodyEnd::TooLong => return Err(HandlerError::retry(format!("the reply from {from} is longer than 64 KiB"))),
        BodyEnd::Broken => return Err(HandlerError::retry(format!("the reply from {from} breaks off"))),
    }
    let decision = Decision::from_reply(Bytes::from(answer.body));
    decision
        .and_then(|decision| decision.reply(rules, callback.body_bytes()).map(|_| decision))
        .map_err(|err| HandlerError::retry(format!("the reply from {from} is not legal: {err}")))
}
