//! Decides about one message.

use async_trait::async_trait;
use dispatcher_core::{Callback, DecideContext, Decision, Handler, HandlerError, Message};
use serde::Deserialize;
use tencent_chat::{DecisionRules, ReplyFamily, Text, decision_rules, message::MessageBody};

use crate::matcher::{Hit, Matcher, mask};

/// Looks for words and patterns in messages.
pub(crate) struct WordFilter {
    pub(crate) matcher: Matcher,
    pub(crate) action: Action,
    /// `words_files`, for people.
    pub(crate) files: Vec<String>,
}

/// What becomes of a message in which something is found.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    Refuse { code: Option<u32>, message: Option<String> },
    Mask(char),
    Drop,
}

/// What is read of a message: the same in every command that is about one.
#[derive(Deserialize)]
struct Sent<'a> {
    #[serde(rename = "MsgBody", borrow)]
    elements: Option<MessageBody<'a>>,
    #[serde(rename = "CloudCustomData", borrow)]
    custom_data: Option<Text<'a>>,
}

#[async_trait]
impl Handler for WordFilter {
    async fn decide(&self, callback: &Callback, _: &DecideContext) -> Result<Option<Decision>, HandlerError> {
        // Whatever else the configuration selects has no texts that people write to each other.
        let rules = decision_rules(callback.command().as_str());
        let Some(rules) = rules.filter(|rules| rules.family == ReplyFamily::Message) else { return Ok(None) };
        let Sent { elements: Some(elements), custom_data } = callback.body()? else { return Ok(None) };
        let mut first = None;
        elements.texts(&mut |text| {
            if first.is_none() {
                first = self.matcher.find(text);
            }
        });
        let Some(first) = first else { return Ok(None) };
        let reason = format!("it has {}", self.show(&first));
        Ok(Some(match &self.action {
            Action::Refuse { code, message } => refuse(rules, *code, message.as_deref(), reason),
            Action::Drop => Message::drop_silently(reason),
            Action::Mask(with) => {
                let decision = self.masked(elements, custom_data, *with, &reason)?;
                match decision.reply(rules, callback.body_bytes()) {
                    Ok(_) => decision,
                    // A message with an element that is none can only stay as it is, or go.
                    Err(err) => Decision::refuse(format!("{reason}, and cannot be masked: {err}")),
                }
            }
        }))
    }
}

impl WordFilter {
    fn masked(
        &self,
        mut elements: MessageBody<'_>,
        custom_data: Option<Text<'_>>,
        with: char,
        reason: &str,
    ) -> Result<Decision, HandlerError> {
        let mut n_masked = 0;
        elements.texts_mut(&mut |text| {
            let hits = self.matcher.find_all(text);
            if !hits.is_empty() {
                n_masked += hits.len();
                *text = mask(text, hits, with).into();
            }
        });
        let reason = if n_masked > 1 { format!("{reason}, and {} more", n_masked - 1) } else { reason.to_owned() };
        let rewrite = Message::rewrite(reason).elements(&elements)?;
        // Whether it outlives new elements by itself is not documented.
        Ok(match custom_data {
            Some(data) => rewrite.custom_data(data).into(),
            None => rewrite.into(),
        })
    }

    /// What was found, by the lists; never by the message.
    fn show(&self, hit: &Hit<'_>) -> String {
        let place = hit.place.show(&self.files);
        match hit.word {
            Some(word) => format!("{place}, {word:?}"),
            None => place.to_string(),
        }
    }
}

fn refuse(rules: &DecisionRules, code: Option<u32>, message: Option<&str>, reason: String) -> Decision {
    let code = code.filter(|code| rules.custom_codes.as_ref().is_some_and(|codes| codes.contains(code)));
    match (code, message) {
        (Some(code), message) => Decision::refuse_with_code(reason, code, message.unwrap_or_default()),
        (None, Some(message)) => Decision::refuse_showing(reason, message),
        (None, None) => Decision::refuse(reason),
    }
}
