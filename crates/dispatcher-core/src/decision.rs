//! What a handler decides about a callback whose reply Tencent acts on.

use std::{borrow::Cow, collections::HashMap, fmt, time::Instant};

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use tencent_chat::{DecisionRules, IllegalReply, Reply, ReplyFamily, ResultItem};

use crate::HandlerError;

/// What a handler decides, and why.
///
/// [`allow`](Decision::allow) and [`refuse`](Decision::refuse) fit every command. What only some commands know is made by
/// [`Message`], [`Invitation`], [`Subscription`], [`FriendRequest`] and [`Signal`], each for the commands it names. A decision
/// that does not fit its command is not sent: it counts as a failure of the handler.
///
/// The reason is for the team: it is kept with the callback and shown to those who look into it. No user sees it.
#[derive(Clone)]
pub struct Decision {
    verdict: Verdict,
    reason: Cow<'static, str>,
}

#[derive(Clone)]
enum Verdict {
    Allow,
    AllowFinally,
    Refuse { code: Option<u32>, message: Option<String> },
    Drop,
    Rewrite { elements: Option<Box<RawValue>>, custom_data: Option<String> },
    RefuseMembers(Vec<String>),
    RefuseSubscribers(Vec<String>),
    Targets(Vec<(String, Option<u32>, String)>),
    Respond(String),
    Reply(Box<(Reply, Option<Bytes>)>),
}

impl Decision {
    /// Lets it go on as it is. A handler that has no opinion returns `None` instead, which has the same effect but says so.
    #[must_use]
    pub fn allow() -> Decision {
        Decision { verdict: Verdict::Allow, reason: Cow::Borrowed("") }
    }

    /// Lets it go on, and those who would be asked after this one are not asked: for what the team itself sent.
    #[must_use]
    pub fn allow_finally(reason: impl Into<Cow<'static, str>>) -> Decision {
        Decision { verdict: Verdict::AllowFinally, reason: reason.into() }
    }

    /// Refuses all of it with Tencent's plain code: the user is told that it was refused, and nothing more. A friend request
    /// is refused for every target.
    ///
    /// A signal to a chatbot cannot be refused.
    #[must_use]
    pub fn refuse(reason: impl Into<Cow<'static, str>>) -> Decision {
        Decision { verdict: Verdict::Refuse { code: None, message: None }, reason: reason.into() }
    }

    /// Refuses all of it, and the user's client gets `message` with the first code of the command's own range: 120001 for
    /// messages between two and official accounts, 10100 for groups, 38000 for friend requests. Subscriptions have no such
    /// codes.
    #[must_use]
    pub fn refuse_showing(reason: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Decision {
        Decision { verdict: Verdict::Refuse { code: None, message: Some(message.into()) }, reason: reason.into() }
    }

    /// Refuses all of it, and the user's client gets this code and `message`. The code has to be in the command's range; see
    /// [`decision_rules`](tencent_chat::decision_rules).
    #[must_use]
    pub fn refuse_with_code(reason: impl Into<Cow<'static, str>>, code: u32, message: impl Into<String>) -> Decision {
        Decision { verdict: Verdict::Refuse { code: Some(code), message: Some(message.into()) }, reason: reason.into() }
    }

    /// The reply that somebody else has written in Tencent's shape. If it is legal, says nothing beside what it decides, and
    /// nobody else changes anything, it is sent byte for byte.
    ///
    /// # Errors
    /// When it is not of that shape.
    pub fn from_reply(json: Bytes) -> Result<Decision, IllegalReply> {
        let (reply, is_exact) = Reply::parse(&json)?;
        let json = is_exact.then_some(json);
        Ok(Decision { verdict: Verdict::Reply(Box::new((reply, json))), reason: Cow::Borrowed("") })
    }

    /// Says why, in place of what was said before.
    #[must_use]
    pub fn because(mut self, reason: impl Into<Cow<'static, str>>) -> Decision {
        self.reason = reason.into();
        self
    }

    /// Why; empty if nothing was said.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The reply to `request` that says this, held against the rules of its command.
    ///
    /// # Errors
    /// When it says something that the command does not know, or the request does not have.
    pub fn reply(&self, rules: &DecisionRules, request: &[u8]) -> Result<Reply, IllegalReply> {
        let with = |change: &dyn Fn(&mut Reply)| {
            let mut reply = rules.allow(request);
            change(&mut reply);
            reply
        };
        let reply = match &self.verdict {
            Verdict::Allow | Verdict::AllowFinally => rules.allow(request),
            Verdict::Refuse { code, message } => rules.refuse(request, *code, message.as_deref())?,
            Verdict::Drop => with(&|reply| reply.error_code = 2),
            Verdict::Rewrite { elements, custom_data } => with(&|reply| {
                reply.msg_body.clone_from(elements);
                reply.cloud_custom_data.clone_from(custom_data);
            }),
            Verdict::RefuseMembers(accounts) => with(&|reply| reply.refused_members = Some(accounts.clone())),
            Verdict::RefuseSubscribers(accounts) => with(&|reply| reply.refused_subscribers = Some(accounts.clone())),
            Verdict::Targets(targets) => with(&|reply| set_results(reply, rules, targets)),
            Verdict::Respond(data) => with(&|reply| reply.rsp_data = Some(data.clone())),
            Verdict::Reply(reply) => reply.0.clone(),
        };
        reply.check(rules, request)?;
        Ok(reply)
    }

    /// Whether nobody is asked after it, although it refuses nothing.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self.verdict, Verdict::AllowFinally)
    }

    /// The bytes that it was [made from](Decision::from_reply), if they can be sent as they are.
    #[must_use]
    pub fn raw_reply(&self) -> Option<&Bytes> {
        match &self.verdict {
            Verdict::Reply(reply) => reply.1.as_ref(),
            _ => None,
        }
    }
}

fn set_results(reply: &mut Reply, rules: &DecisionRules, targets: &[(String, Option<u32>, String)]) {
    let items = reply.results.get_or_insert_default();
    let places: HashMap<String, usize> =
        items.iter().enumerate().map(|(idx, item)| (item.to_account.clone(), idx)).collect();
    for (account, code, message) in targets {
        let first = rules.custom_codes.as_ref().map_or(1, |codes| *codes.start());
        let item = ResultItem {
            to_account: account.clone(),
            result_code: code.unwrap_or(first).into(),
            result_info: message.clone(),
        };
        match places.get(account) {
            Some(&place) => items[place] = item,
            // Not one that was asked about: the check will say so.
            None => items.push(item),
        }
    }
}

/// Without what users are to read.
impl fmt::Debug for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match &self.verdict {
            Verdict::Allow | Verdict::AllowFinally => "allow",
            Verdict::Refuse { .. } => "refuse",
            Verdict::Drop => "drop",
            Verdict::Rewrite { .. } => "rewrite",
            Verdict::RefuseMembers(_) | Verdict::RefuseSubscribers(_) | Verdict::Targets(_) => "refuse some",
            Verdict::Respond(_) => "respond",
            Verdict::Reply(_) => "reply",
        };
        f.debug_struct("Decision").field("verdict", &verdict).field("reason", &self.reason).finish_non_exhaustive()
    }
}

/// Decisions on messages: `C2C.CallbackBeforeSendMsg`, `Group.CallbackBeforeSendMsg`,
/// `OfficialAccount.CallbackBeforeSendMsg`.
#[derive(Clone, Copy, Debug)]
pub struct Message;

impl Message {
    /// Drops the message; its sender sees it as sent.
    #[must_use]
    pub fn drop_silently(reason: impl Into<Cow<'static, str>>) -> Decision {
        Decision { verdict: Verdict::Drop, reason: reason.into() }
    }

    /// Begins a message that is delivered in place of this one. Without [elements](Rewrite::elements) or
    /// [custom data](Rewrite::custom_data) it changes nothing.
    pub fn rewrite(reason: impl Into<Cow<'static, str>>) -> Rewrite {
        Rewrite { reason: reason.into(), elements: None, custom_data: None }
    }
}

/// A message in place of another; see [`Message::rewrite`].
#[derive(Clone)]
#[must_use = "turn it into a Decision with `.into()`"]
pub struct Rewrite {
    reason: Cow<'static, str>,
    elements: Option<Box<RawValue>>,
    custom_data: Option<String>,
}

impl Rewrite {
    /// The elements, all of them: those that are left out are not delivered. At least one; at most one `TIMCustomElem`.
    ///
    /// # Errors
    /// When they cannot be written as JSON. It is permanent.
    pub fn elements(mut self, elements: &(impl Serialize + ?Sized)) -> Result<Rewrite, HandlerError> {
        let json = serde_json::value::to_raw_value(elements)
            .map_err(|err| HandlerError::permanent(format!("the elements of a message are no JSON: {err}")))?;
        self.elements = Some(json);
        Ok(self)
    }

    /// The message's custom data (`CloudCustomData`). It is not documented whether it survives new elements by itself: say it
    /// again where it must.
    pub fn custom_data(mut self, data: impl Into<String>) -> Rewrite {
        self.custom_data = Some(data.into());
        self
    }
}

impl From<Rewrite> for Decision {
    fn from(rewrite: Rewrite) -> Decision {
        let Rewrite { reason, elements, custom_data } = rewrite;
        Decision { verdict: Verdict::Rewrite { elements, custom_data }, reason }
    }
}

/// Without the message.
impl fmt::Debug for Rewrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rewrite").field("reason", &self.reason).finish_non_exhaustive()
    }
}

/// Decisions on invitations: `Group.CallbackBeforeInviteJoinGroup`.
#[derive(Clone, Copy, Debug)]
pub struct Invitation;

impl Invitation {
    /// Refuses these of the members that are invited; the others are.
    #[must_use]
    pub fn refuse_members<A: Into<String>>(
        reason: impl Into<Cow<'static, str>>,
        accounts: impl IntoIterator<Item = A>,
    ) -> Decision {
        let accounts = accounts.into_iter().map(Into::into).collect();
        Decision { verdict: Verdict::RefuseMembers(accounts), reason: reason.into() }
    }
}

/// Decisions on subscriptions to an official account: `OfficialAccount.CallbackBeforeAddSubscriber`.
#[derive(Clone, Copy, Debug)]
pub struct Subscription;

impl Subscription {
    /// Refuses these subscribers; the others are taken.
    #[must_use]
    pub fn refuse_subscribers<A: Into<String>>(
        reason: impl Into<Cow<'static, str>>,
        accounts: impl IntoIterator<Item = A>,
    ) -> Decision {
        let accounts = accounts.into_iter().map(Into::into).collect();
        Decision { verdict: Verdict::RefuseSubscribers(accounts), reason: reason.into() }
    }
}

/// Decisions on friend requests and the answers to them: `Sns.CallbackPrevFriendAdd`, `Sns.CallbackPrevFriendResponse`.
///
/// ```
/// # use dispatcher_core::FriendRequest;
/// let decision = FriendRequest::verdicts("both left the company").refuse("bo", "no longer here").refuse("cy", "").done();
/// ```
#[derive(Clone, Debug)]
#[must_use = "turn it into a Decision with `.done()`"]
pub struct FriendRequest {
    reason: Cow<'static, str>,
    targets: Vec<(String, Option<u32>, String)>,
}

impl FriendRequest {
    /// Begins verdicts on single targets. Those that are not refused are allowed.
    pub fn verdicts(reason: impl Into<Cow<'static, str>>) -> FriendRequest {
        FriendRequest { reason: reason.into(), targets: Vec::new() }
    }

    /// Refuses this target with the first code of the range, 38000; who asked gets `message`.
    pub fn refuse(mut self, account: impl Into<String>, message: impl Into<String>) -> FriendRequest {
        self.targets.push((account.into(), None, message.into()));
        self
    }

    /// Refuses this target with a code of 38000 to 39000.
    pub fn refuse_with_code(
        mut self,
        account: impl Into<String>,
        code: u32,
        message: impl Into<String>,
    ) -> FriendRequest {
        self.targets.push((account.into(), Some(code), message.into()));
        self
    }

    /// The decision.
    #[must_use]
    pub fn done(self) -> Decision {
        Decision { verdict: Verdict::Targets(self.targets), reason: self.reason }
    }
}

/// Answers to signals for a chatbot: `Chatbot.OnC2CSignalMessage`.
#[derive(Clone, Copy, Debug)]
pub struct Signal;

impl Signal {
    /// Passes `data` on to the chatbot (`RspData`).
    #[must_use]
    pub fn respond(data: impl Into<String>) -> Decision {
        Decision { verdict: Verdict::Respond(data.into()), reason: Cow::Borrowed("") }
    }
}

/// What a reply decides, in a word: the same in the journal, in events, metrics and on the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DecisionResult {
    /// It goes on as it is.
    Allowed,
    /// It is refused.
    Refused,
    /// Some of those it names are refused.
    RefusedSome,
    /// It is dropped, and looks as if it were not.
    Dropped,
    /// It goes on changed.
    Rewritten,
    /// It got an answer to pass on.
    Answered,
}

impl DecisionResult {
    /// All of them.
    pub const ALL: [DecisionResult; 6] = [
        DecisionResult::Allowed,
        DecisionResult::Refused,
        DecisionResult::RefusedSome,
        DecisionResult::Dropped,
        DecisionResult::Rewritten,
        DecisionResult::Answered,
    ];

    /// Of this reply.
    #[must_use]
    pub fn of(family: ReplyFamily, reply: &Reply) -> DecisionResult {
        let refused = reply.refused().len();
        match (reply.error_code, family) {
            (2, ReplyFamily::Message) => DecisionResult::Dropped,
            (code, _) if code != 0 => DecisionResult::Refused,
            _ if refused > 0 && reply.results.as_ref().is_some_and(|items| items.len() == refused) => {
                DecisionResult::Refused
            }
            _ if refused > 0 => DecisionResult::RefusedSome,
            _ if reply.msg_body.is_some() || reply.cloud_custom_data.is_some() => DecisionResult::Rewritten,
            _ if !reply.is_plain_allow() => DecisionResult::Answered,
            _ => DecisionResult::Allowed,
        }
    }

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            DecisionResult::Allowed => "allowed",
            DecisionResult::Refused => "refused",
            DecisionResult::RefusedSome => "refused-some",
            DecisionResult::Dropped => "dropped",
            DecisionResult::Rewritten => "rewritten",
            DecisionResult::Answered => "answered",
        }
    }
}

impl fmt::Display for DecisionResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The circumstances of one call of [`Handler::decide`](crate::Handler::decide).
#[derive(Clone, Debug)]
pub struct DecideContext {
    /// When Tencent is answered with or without this decision. The call may go on a little longer: a verdict that comes late
    /// is kept, and reported where it differs from the answer.
    pub deadline: Instant,
    /// What the decision is for.
    pub purpose: Purpose,
}

impl DecideContext {
    /// How long it is until the [deadline](DecideContext::deadline); zero once that is over.
    #[must_use]
    pub fn time_left(&self) -> std::time::Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

/// What a decision is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To answer Tencent.
    Answer,
    /// To be compared with what was answered: it does not count.
    Shadow,
    /// To be compared with what was answered long ago. Nothing may change anywhere because of it.
    Backtest,
}

#[cfg(test)]
mod tests {
    use tencent_chat::{command, decision_rules};

    use super::*;

    #[track_caller]
    fn reply(command_name: &str, decision: impl Into<Decision>) -> Result<String, String> {
        let request = command(command_name).unwrap().sample.as_bytes();
        let reply = decision.into().reply(decision_rules(command_name).unwrap(), request);
        reply.map(|reply| reply.to_json()).map_err(|err| err.to_string())
    }

    #[test]
    fn a_refusal_takes_the_code_of_its_command() {
        for (name, code) in [
            ("C2C.CallbackBeforeSendMsg", 120_001),
            ("Group.CallbackBeforeSendMsg", 10_100),
            ("OfficialAccount.CallbackBeforeCreateOfficialAccount", 120_001),
        ] {
            assert_eq!(
                reply(name, Decision::refuse("why")).unwrap(),
                r#"{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":1}"#
            );
            assert_eq!(
                reply(name, Decision::refuse_showing("why", "not here")).unwrap(),
                format!(r#"{{"ActionStatus":"OK","ErrorInfo":"not here","ErrorCode":{code}}}"#)
            );
            assert!(reply(name, Decision::refuse_with_code("why", 4_000, "x")).is_err());
        }
        assert!(reply("OfficialAccount.CallbackBeforeAddSubscriber", Decision::refuse_showing("why", "x")).is_err());
        assert!(reply("Chatbot.OnC2CSignalMessage", Decision::refuse("why")).is_err());
    }

    #[test]
    fn what_only_some_commands_know_is_refused_for_the_others() {
        let decisions = || {
            [
                (Message::drop_silently("x"), ReplyFamily::Message),
                (Message::rewrite("x").custom_data("y").into(), ReplyFamily::Message),
                (Signal::respond("x"), ReplyFamily::Signal),
            ]
        };
        for info in tencent_chat::commands() {
            let Some(rules) = decision_rules(info.name) else { continue };
            for (decision, family) in decisions() {
                assert_eq!(
                    reply(info.name, decision.clone()).is_ok(),
                    rules.family == family,
                    "{} {decision:?}",
                    info.name
                );
            }
        }
    }

    #[test]
    fn an_empty_rewrite_of_elements_is_refused() {
        let nothing: [u8; 0] = [];
        let rewrite = Message::rewrite("x").elements(&nothing).unwrap();
        assert!(reply("C2C.CallbackBeforeSendMsg", rewrite).unwrap_err().contains("empty"));
    }
}
