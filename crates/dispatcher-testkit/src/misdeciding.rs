//! How the handler `misbehaving` decides.

use std::{
    num::NonZeroU64,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use dispatcher_core::{Callback, Decision, HandlerError, Message, Signal};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use tencent_chat::ReplyFamily;

use crate::misbehaving::block;

/// What the handler `misbehaving` does when it is asked to decide.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// It has no opinion.
    #[default]
    None,
    /// It allows.
    Allow,
    /// It allows, and nobody after it is asked.
    AllowFinally,
    /// It refuses, and says why to the team alone.
    Refuse,
    /// It refuses, and shows the user this text.
    RefuseShowing(String),
    /// It drops a message silently.
    Drop,
    /// It gives a message one element, this text.
    Rewrite(String),
    /// It decides what its command does not know.
    Illegal,
    /// It fails.
    Fail,
    /// It panics.
    Panic,
    /// It panics, with the callback's body in its words.
    PanicQuoting,
    /// It awaits for ever.
    Hang,
    /// It blocks its thread for ever.
    Block,
}

/// What it does, and with which callbacks.
pub(crate) struct Misdeciding {
    pub(crate) verdict: Verdict,
    pub(crate) after: Option<Duration>,
    pub(crate) every: Option<NonZeroU64>,
    pub(crate) only: Option<String>,
    pub(crate) otherwise: Verdict,
}

impl Misdeciding {
    pub(crate) async fn decide(
        &self,
        callback: &Callback,
        n_selected: &AtomicU64,
    ) -> Result<Option<Decision>, HandlerError> {
        if !self.selects(callback, n_selected) {
            return self.otherwise.act(callback).await;
        }
        if let Some(after) = self.after {
            tokio::time::sleep(after).await;
        }
        self.verdict.act(callback).await
    }

    fn selects(&self, callback: &Callback, n_selected: &AtomicU64) -> bool {
        let has_text = |text: &String| {
            let (body, text) = (callback.body_bytes(), text.as_bytes());
            text.is_empty() || body.windows(text.len()).any(|window| window == text)
        };
        self.only.as_ref().is_none_or(has_text)
            && self
                .every
                .is_none_or(|every| (n_selected.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(every.get()))
    }
}

impl Verdict {
    async fn act(&self, callback: &Callback) -> Result<Option<Decision>, HandlerError> {
        let decision = match self {
            Verdict::None => return Ok(None),
            Verdict::Allow => Decision::allow(),
            Verdict::AllowFinally => Decision::allow_finally("told to allow"),
            Verdict::Refuse => Decision::refuse("told to refuse"),
            Verdict::RefuseShowing(text) => Decision::refuse_showing("told to refuse", text.as_str()),
            Verdict::Drop => Message::drop_silently("told to drop"),
            Verdict::Rewrite(text) => {
                let elements = json!([{ "MsgType": "TIMTextElem", "MsgContent": { "Text": text } }]);
                Message::rewrite("told to rewrite").elements(&elements)?.into()
            }
            Verdict::Illegal => {
                let rules = tencent_chat::decision_rules(callback.command().as_str());
                match rules.map(|rules| rules.family) {
                    Some(ReplyFamily::Signal) => Decision::refuse("told to decide what is not legal"),
                    _ => Signal::respond("told to decide what is not legal"),
                }
            }
            Verdict::Fail => return Err(HandlerError::retry("told to fail")),
            Verdict::Panic => panic!("told to panic"),
            Verdict::PanicQuoting => panic!("told to panic over {:?}", callback.body_bytes()),
            Verdict::Hang => std::future::pending().await,
            Verdict::Block => block(),
        };
        Ok(Some(decision))
    }
}
