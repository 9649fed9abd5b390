//! What a handler is taken to answer in place of being run.

use std::{future::pending, sync::Arc};

use async_trait::async_trait;
use dispatcher_core::{
    Callback, CheckContext, DecideContext, Decision, HandleContext, Handler, HandlerError, HandlerSettings, NewEvent,
    OpenContext, OpenError, Role, SettingError,
};
use serde::Deserialize;

use super::case::json;

/// `[test.answers.<handler>]`; empty: it has no opinion, and makes no events.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Canned {
    /// A reply in Tencent's shape: a table, or a string of JSON.
    reply: Option<toml::Value>,
    /// In place of a reply: what goes wrong.
    outcome: Option<Trouble>,
    /// The events it makes.
    events: Vec<CannedEvent>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Trouble {
    Late,
    Failed,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CannedEvent {
    r#type: String,
    #[serde(default)]
    data: Option<toml::Value>,
    #[serde(default)]
    key: Option<String>,
}

impl Canned {
    /// Whether a handler with this role can answer so.
    pub(super) fn check(&self, role: Role) -> Result<(), &'static str> {
        match self {
            Canned { reply: Some(_), outcome: Some(_), .. } => Err("reply or outcome, not both"),
            Canned { reply, outcome, .. } if (reply.is_some() || outcome.is_some()) && !role.decides() => {
                Err("this handler does not decide; leave reply and outcome out")
            }
            Canned { events, .. } if !events.is_empty() && !role.handles() => {
                Err("this handler makes no events; leave events out")
            }
            _ => Ok(()),
        }
    }

    /// Whether it is meant not to decide.
    pub(super) fn is_trouble(&self) -> bool {
        self.outcome.is_some()
    }

    /// Whether it does not answer in time.
    pub(super) fn is_late(&self) -> bool {
        self.outcome == Some(Trouble::Late)
    }
}

#[async_trait]
impl HandlerSettings for Canned {
    fn check(&self, _: &CheckContext) -> Result<(), Vec<SettingError>> {
        Ok(())
    }

    fn forwards(&self) -> bool {
        false
    }

    fn handles_decided(&self) -> bool {
        true
    }

    async fn open(&self, _: &OpenContext) -> Result<Arc<dyn Handler>, OpenError> {
        Ok(Arc::new(self.clone()))
    }
}

#[async_trait]
impl Handler for Canned {
    async fn decide(&self, _: &Callback, _: &DecideContext) -> Result<Option<Decision>, HandlerError> {
        match (self.outcome, &self.reply) {
            (Some(Trouble::Late), _) => pending().await,
            (Some(Trouble::Failed), _) => Err(HandlerError::retry("as the test says")),
            (None, None) => Ok(None),
            (None, Some(toml::Value::String(text))) => Ok(Some(Decision::from_reply(text.clone().into())?)),
            (None, Some(reply)) => Ok(Some(Decision::from_reply(json(reply).to_string().into())?)),
        }
    }

    async fn handle(&self, _: &Callback, _: &HandleContext) -> Result<Vec<NewEvent>, HandlerError> {
        let event = |event: &CannedEvent| {
            let data = event.data.as_ref().map(json);
            let made = NewEvent::new(event.r#type.clone(), &data.unwrap_or_else(|| serde_json::json!({})))?;
            Ok(match &event.key {
                Some(key) => made.with_key(Some(key.as_str().into())),
                None => made,
            })
        };
        self.events.iter().map(event).collect()
    }
}
