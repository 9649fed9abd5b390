//! Makes one event of each account that joins a group.
//!
//! Handles `Group.CallbackAfterNewMemberJoin`, which lists all accounts that joined at once:
//! <https://www.tencentcloud.com/document/product/1047/34372>.

use async_trait::async_trait;
use dispatcher_core::{
    Callback, HandleContext, Handler, HandlerConfig, HandlerError, NewEvent, OpenContext, OpenError, handler,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

inventory::submit! { handler!(NewMemberConfig, "new-member", ["Group.CallbackAfterNewMemberJoin"]) }

/// `[handlers.new-member]`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewMemberConfig {
    /// Accounts to leave out, such as bots. Default: none.
    #[serde(default)]
    ignore: Vec<String>,
}

#[async_trait]
impl HandlerConfig for NewMemberConfig {
    type Handler = NewMember;

    async fn open(&self, _: &OpenContext) -> Result<NewMember, OpenError> {
        Ok(NewMember { ignore: self.ignore.clone() })
    }
}

struct NewMember {
    ignore: Vec<String>,
}

#[async_trait]
impl Handler for NewMember {
    async fn handle(&self, callback: &Callback, _: &HandleContext) -> Result<Vec<NewEvent>, HandlerError> {
        // A body that does not fit becomes a dead letter of this handler, with the place where it does not.
        let joined: Joined = callback.body()?;
        let accounts = joined.members.iter().map(|member| &member.account);
        accounts
            .filter(|account| !self.ignore.contains(account))
            .map(|account| {
                let data = MemberJoined { group_id: &joined.group_id, account, how: joined.how.as_deref() };
                NewEvent::new("example.group.member.joined", &data)
            })
            .collect()
    }
}

/// What this handler needs of the packet.
#[derive(Deserialize)]
struct Joined {
    #[serde(rename = "GroupId")]
    group_id: String,
    #[serde(rename = "JoinType")]
    how: Option<String>,
    #[serde(rename = "NewMemberList")]
    members: Vec<Member>,
}

#[derive(Deserialize)]
struct Member {
    #[serde(rename = "Member_Account")]
    account: String,
}

/// The data of an event.
#[derive(Serialize)]
struct MemberJoined<'a> {
    group_id: &'a str,
    account: &'a str,
    how: Option<&'a str>,
}
