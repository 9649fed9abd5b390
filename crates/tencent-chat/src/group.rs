//! Groups: their life, members, messages, topics.
//!
//! Tencent calls some kinds of group by two names; packets have the server's, as in [`GroupType`]. Ids of groups may be
//! chosen freely by the app, so nothing can be read from their shape.

mod info;
mod life;
mod members;
mod messages;
mod topics;

pub use info::{AfterGroupAttrChanged, AfterGroupInfoChanged, GroupAttr, OptionType};
pub use life::{
    AfterChangeGroupOwner, AfterCreateGroup, AfterGroupDestroyed, AfterGroupFull, BeforeCreateGroup,
    OnDailyGroupQuotaAlarm,
};
pub use members::{
    AfterMemberExit, AfterMemberFieldChanged, AfterNewMemberJoin, BeforeApplyJoinGroup, BeforeInviteJoinGroup,
    ExitType, JoinType, MemberState, MemberStateCause, OnMemberStateChange, Role,
};
pub use messages::{
    AfterGroupMsgExtension, AfterModifyMsg, AfterReadReceipt, AfterRecallMsg, AfterSendMsg, BeforeSendMsg, GroupAt,
    GroupMsgReceipt, RecalledMsg, SendMsgException,
};
pub use topics::{AfterCreateTopic, AfterTopicDestroyed, AfterTopicInfoChanged, BeforeCreateTopic};

use crate::{Text, open::open_enum, packet::packet};

packet! {
    /// An account in a list of accounts.
    pub struct Member<'a> {
        /// The account.
        pub member_account: Option<Text<'a>> = "Member_Account",
    }
}

packet! {
    /// A field of the app's own that a group or a topic was created with.
    pub struct UserDefinedData<'a> {
        /// Its name.
        pub key: Option<Text<'a>> = "Key",
        /// Its value.
        pub value: Option<Text<'a>> = "Value",
    }
}

open_enum! {
    /// What kind of group it is, by the names that the server uses.
    pub enum GroupType {
        /// Friends among themselves; `Work` in the clients.
        Private = "Private",
        /// Open to who asks.
        Public = "Public",
        /// Open to everybody, with a history; `Meeting` in the clients.
        ChatRoom = "ChatRoom",
        /// Open to everybody, of any size; for live broadcasts.
        AvChatRoom = "AVChatRoom",
        /// Large and lasting, with topics.
        Community = "Community",
        /// The room of a live broadcast, another product on the same wire.
        Live = "Live",
    }
}
