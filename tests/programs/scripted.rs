//! A dispatcher with a handler that decides what the callback itself says: its body has a member `Script`.

use std::process::ExitCode;

use async_trait::async_trait;
use dispatcher_core::{
    Callback, DecideContext, Decision, FriendRequest, Handler, HandlerConfig, HandlerError, Invitation, Message,
    OpenContext, OpenError, Signal, Subscription, handler,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

inventory::submit! { handler!(ScriptedConfig, "scripted", ["*"], role = decide) }

/// `[handlers.scripted]`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ScriptedConfig {}

#[async_trait]
impl HandlerConfig for ScriptedConfig {
    type Handler = Scripted;

    async fn open(&self, _: &OpenContext) -> Result<Scripted, OpenError> {
        Ok(Scripted)
    }
}

struct Scripted;

#[derive(Deserialize)]
struct Body {
    #[serde(rename = "Script")]
    script: Option<Script>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Script {
    Allow,
    Refuse,
    RefuseShowing(String),
    RefuseWithCode(u32, String),
    Drop,
    Rewrite { elements: Option<Value>, custom_data: Option<String> },
    RefuseMembers(Vec<String>),
    RefuseSubscribers(Vec<String>),
    Friends(Vec<(String, Option<u32>, String)>),
    Respond(String),
    Reply(String),
    Fail,
}

#[async_trait]
impl Handler for Scripted {
    async fn decide(&self, callback: &Callback, _: &DecideContext) -> Result<Option<Decision>, HandlerError> {
        let Some(script) = callback.body::<Body>()?.script else { return Ok(None) };
        let why = "so the script says";
        Ok(Some(match script {
            Script::Allow => Decision::allow(),
            Script::Refuse => Decision::refuse(why),
            Script::RefuseShowing(message) => Decision::refuse_showing(why, message),
            Script::RefuseWithCode(code, message) => Decision::refuse_with_code(why, code, message),
            Script::Drop => Message::drop_silently(why),
            Script::Rewrite { elements, custom_data } => {
                let mut rewrite = Message::rewrite(why);
                if let Some(elements) = &elements {
                    rewrite = rewrite.elements(elements)?;
                }
                if let Some(data) = custom_data {
                    rewrite = rewrite.custom_data(data);
                }
                rewrite.into()
            }
            Script::RefuseMembers(accounts) => Invitation::refuse_members(why, accounts),
            Script::RefuseSubscribers(accounts) => Subscription::refuse_subscribers(why, accounts),
            Script::Friends(targets) => {
                let verdicts = targets.into_iter().fold(FriendRequest::verdicts(why), |verdicts, target| {
                    let (account, code, message) = target;
                    match code {
                        Some(code) => verdicts.refuse_with_code(account, code, message),
                        None => verdicts.refuse(account, message),
                    }
                });
                verdicts.done()
            }
            Script::Respond(data) => Signal::respond(data),
            Script::Reply(json) => Decision::from_reply(json.into())?,
            Script::Fail => return Err(HandlerError::retry("as the script says")),
        }))
    }
}

fn main() -> ExitCode {
    dispatcher::run(dispatcher::plugins! {})
}
