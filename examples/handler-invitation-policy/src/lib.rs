//! Refuses those members of an invitation to a group whom the team's policy keeps out, and lets the others in.
//!
//! Decides about `Group.CallbackBeforeInviteJoinGroup`, which can be answered for each account that is invited:
//! <https://www.tencentcloud.com/document/product/1047/34371>.

use async_trait::async_trait;
use dispatcher_core::{
    Callback, CheckContext, DecideContext, Decision, Handler, HandlerConfig, HandlerError, Invitation, OpenContext,
    OpenError, SettingError, handler,
};
use schemars::JsonSchema;
use serde::Deserialize;
use tencent_chat::group::BeforeInviteJoinGroup;

inventory::submit! {
    handler!(InvitationPolicyConfig, "invitation-policy", ["Group.CallbackBeforeInviteJoinGroup"], role = decide)
}

/// `[handlers.invitation-policy]`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct InvitationPolicyConfig {
    /// What stands in an account between the company and the person: who is of a company may invite its people only. Default
    /// `"."`, as in `harbour.mara`.
    #[serde(default = "default_separator")]
    separator: String,
    /// Accounts that nobody may invite. Default: none.
    #[serde(default)]
    blocked: Vec<String>,
}

fn default_separator() -> String {
    ".".to_owned()
}

#[async_trait]
impl HandlerConfig for InvitationPolicyConfig {
    type Handler = InvitationPolicy;

    fn check(&self, _: &CheckContext) -> Result<(), Vec<SettingError>> {
        if self.separator.is_empty() {
            return Err(vec![SettingError::new(
                "separator",
                "separates nothing; write a character or more, such as \".\"",
            )]);
        }
        Ok(())
    }

    async fn open(&self, _: &OpenContext) -> Result<InvitationPolicy, OpenError> {
        Ok(InvitationPolicy { policy: self.clone() })
    }
}

struct InvitationPolicy {
    policy: InvitationPolicyConfig,
}

#[async_trait]
impl Handler for InvitationPolicy {
    async fn decide(&self, callback: &Callback, _: &DecideContext) -> Result<Option<Decision>, HandlerError> {
        let invitation: BeforeInviteJoinGroup<'_> = callback.body()?;
        let company = invitation.operator_account.as_deref().and_then(|inviter| self.company(inviter));
        let invited =
            invitation.destination_members.iter().flatten().filter_map(|member| member.member_account.as_deref());
        // Who is of no company, as an administrator, may invite anybody but those who are blocked.
        let is_foreign = |account: &str| company.is_some() && self.company(account) != company;
        let is_blocked = |account: &str| self.policy.blocked.iter().any(|blocked| blocked == account);
        let refused: Vec<&str> = invited.filter(|account| is_foreign(account) || is_blocked(account)).collect();
        if refused.is_empty() {
            return Ok(None);
        }
        let reason = format!("{} of another company, or blocked", refused.len());
        Ok(Some(Invitation::refuse_members(reason, refused)))
    }
}

impl InvitationPolicy {
    /// The company of an account, if it has one.
    fn company<'a>(&self, account: &'a str) -> Option<&'a str> {
        account.split_once(&self.policy.separator).map(|(company, _)| company)
    }
}
