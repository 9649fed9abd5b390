//! Decides about one message.

use async_trait::async_trait;
use dispatcher_core::{Callback, DecideContext, Decision, Handler, HandlerError, Message};
use serde::Deserialize;
use tencent_chat::{DecisionRules, ReplyFamily, Text, decision_rules, message::MessageBody};

use crate::{
    matcher::{Effort, Hit, Matcher, mask},
    reading::{Unread, unread},
};

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
        let mended;
        let sent: Sent<'_> = match callback.body() {
            Ok(sent) => sent,
            // Whoever can keep a message from being read must not get it past us by that.
            Err(err) => match unread(callback.body_bytes()) {
                Unread::TooDeep => return Ok(Some(self.too_deep(rules))),
                Unread::Mended(body) => {
                    mended = body;
                    tencent_chat::decode(&mended).map_err(|_| err)?
                }
                Unread::Other => return Err(err),
            },
        };
        let Sent { elements: Some(elements), custom_data } = sent else { return Ok(None) };
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
                let Some(decision) = self.masked(elements, custom_data, *with, &reason)? else {
                    return Ok(Some(Decision::refuse(format!("{reason}, and too much more to be masked in time"))));
                };
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
    /// What becomes of a message that is nested more deeply than it is read.
    fn too_deep(&self, rules: &DecisionRules) -> Decision {
        let reason = "it is nested too deeply to be looked through".to_owned();
        match &self.action {
            Action::Refuse { code, message } => refuse(rules, *code, message.as_deref(), reason),
            Action::Drop => Message::drop_silently(reason),
            Action::Mask(_) => Decision::refuse(reason),
        }
    }

    /// The message with what is found masked; `None` if that is more than is looked for.
    fn masked(
        &self,
        mut elements: MessageBody<'_>,
        custom_data: Option<Text<'_>>,
        with: char,
        reason: &str,
    ) -> Result<Option<Decision>, HandlerError> {
        let (mut n_masked, mut effort, mut is_too_much) = (0, Effort::default(), false);
        elements.texts_mut(&mut |text| match self.matcher.find_all(text, &mut effort) {
            Some(hits) if hits.is_empty() => {}
            Some(hits) => {
                n_masked += hits.len();
                *text = mask(text, hits, with).into();
            }
            None => is_too_much = true,
        });
        if is_too_much {
            return Ok(None);
        }
        let reason = if n_masked > 1 { format!("{reason}, and {} more", n_masked - 1) } else { reason.to_owned() };
        let rewrite = Message::rewrite(reason).elements(&elements)?;
        // Whether it outlives new elements by itself is not documented.
        Ok(Some(match custom_data {
            Some(data) => rewrite.custom_data(data).into(),
            None => rewrite.into(),
        }))
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
