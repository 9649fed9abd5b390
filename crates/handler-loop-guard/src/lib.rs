//! Tells the messages that the team itself sent from those that users wrote, so that a bot that replies does not set itself
//! off.
//!
//! Before a message is delivered, the team's own is let through, and those who would decide after this one are not asked. After
//! that, callbacks are forwarded by who sent the message: only the users', say, to the bot.

mod sender;

use std::borrow::Cow;

use async_trait::async_trait;
use dispatcher_core::{
    Callback, CheckContext, DecideContext, Decision, HandleContext, Handler, HandlerConfig, HandlerError, NewEvent,
    OpenContext, OpenError, SettingError, handler,
};
use schemars::JsonSchema;
use serde::Deserialize;
use tencent_chat::Text;

use crate::sender::{Sender, Sent};

inventory::submit! {
    handler!(
        LoopGuardConfig,
        "loop-guard",
        [
            "C2C.CallbackBeforeSendMsg",
            "C2C.CallbackAfterSendMsg",
            "Group.CallbackBeforeSendMsg",
            "Group.CallbackAfterSendMsg",
            "OfficialAccount.CallbackBeforeSendMsg",
            "OfficialAccount.CallbackAfterSendMsg",
            "Bot.OnC2CMessage",
            "Bot.OnGroupMessage",
        ],
        role = both,
    )
}

/// `[handlers.<name>]` with `type = "loop-guard"`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct LoopGuardConfig {
    /// Whether what was sent through Tencent's REST API is the team's own. Default `true`.
    #[serde(default = "default_rest_api")]
    rest_api: bool,

    /// Accounts that are the team's own, by whatever way they send: names, or beginnings of names with a `*` behind them, such
    /// as `"bot-*"`. None by default.
    #[serde(default)]
    accounts: Vec<String>,

    /// Which callbacks that come after the fact are passed on to `sinks`: those of messages of `"others"` (the default, for a
    /// bot that replies), those of the team's `"own"`, or `"none"`, for a guard that only decides.
    #[serde(default)]
    forward: Forward,
}

/// Whose messages are passed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Forward {
    /// Everybody's but the team's.
    #[default]
    Others,
    /// The team's.
    Own,
    /// Nobody's.
    None,
}

fn default_rest_api() -> bool {
    true
}

#[async_trait]
impl HandlerConfig for LoopGuardConfig {
    type Handler = LoopGuard;

    fn check(&self, _: &CheckContext) -> Result<(), Vec<SettingError>> {
        let mut findings = Vec::new();
        if !self.rest_api && self.accounts.is_empty() {
            let message = "nothing would count as the team's own; list accounts, or write rest_api = true";
            findings.push(SettingError::new("accounts", message));
        }
        for (idx, account) in self.accounts.iter().enumerate() {
            if let Err(message) = Sender::read(account) {
                let path = vec!["accounts".to_owned(), format!("[{idx}]")];
                findings.push(SettingError::at(path, message));
            }
        }
        if findings.is_empty() { Ok(()) } else { Err(findings) }
    }

    fn forwards(&self) -> bool {
        true
    }

    async fn open(&self, _: &OpenContext) -> Result<LoopGuard, OpenError> {
        let senders = self.accounts.iter().map(|account| Sender::read(account));
        let accounts: Result<Vec<Sender>, &str> = senders.collect();
        let accounts = accounts.map_err(|message| OpenError::key("accounts", message))?;
        Ok(LoopGuard { rest_api: self.rest_api, accounts, forward: self.forward })
    }
}

struct LoopGuard {
    rest_api: bool,
    accounts: Vec<Sender>,
    forward: Forward,
}

impl LoopGuard {
    /// Why the message is the team's own, if it is.
    fn own(&self, callback: &Callback) -> Result<Option<Cow<'static, str>>, HandlerError> {
        let is_rest_api = |platform: Cow<'_, str>| platform.eq_ignore_ascii_case("RESTAPI");
        if self.rest_api && callback.opt_platform().is_some_and(is_rest_api) {
            return Ok(Some(Cow::Borrowed("sent through the REST API")));
        }
        if self.accounts.is_empty() {
            return Ok(None);
        }
        let sent: Sent<'_> = callback.body()?;
        let sender: Option<Text<'_>> = sent.from_account.or(sent.official_account);
        let listed = sender.and_then(|name| self.accounts.iter().position(|account| account.is(&name)));
        Ok(listed.map(|idx| Cow::Owned(format!("sent by one of accounts[{idx}]"))))
    }
}

#[async_trait]
impl Handler for LoopGuard {
    async fn decide(&self, callback: &Callback, _: &DecideContext) -> Result<Option<Decision>, HandlerError> {
        Ok(self.own(callback)?.map(Decision::allow_finally))
    }

    async fn handle(&self, callback: &Callback, _: &HandleContext) -> Result<Vec<NewEvent>, HandlerError> {
        // What is only about to happen may yet be refused; of what is delivered the callback after the fact tells.
        if self.forward == Forward::None || callback.command().wants_decision() {
            return Ok(vec![]);
        }
        let is_own = self.own(callback)?.is_some();
        if is_own != (self.forward == Forward::Own) {
            return Ok(vec![]);
        }
        Ok(vec![NewEvent::forwarding(format!("tencent-chat.callback.{}", callback.command()))])
    }
}
