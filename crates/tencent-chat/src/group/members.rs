//! Members of a group: before and after they join, and what changes about them.

use super::{GroupType, Member};
use crate::{Text, open::open_enum, packet::packet};

packet! {
    /// A user asks to join a group; the reply may refuse. An administrator of the group may have to agree afterwards.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/34370>
    pub struct BeforeApplyJoinGroup<'a>: "Group.CallbackBeforeApplyJoinGroup" {
        /// The group.
        pub group_id: Option<Text<'a>> = "GroupId",
        /// What kind of group it is.
        pub group_type: Option<GroupType> = "Type",
        /// Who asks. Friend requests spell it `Requester_Account`.
        pub requestor_account: Option<Text<'a>> = "Requestor_Account",
        /// When it happened, in Unix milliseconds.
        pub event_time: Option<i64> = "EventTime",
    }
}

packet! {
    /// Users are about to be added to a group by a member, or by the REST API; the reply may refuse all or some of
    /// them.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/34371>
    pub struct BeforeInviteJoinGroup<'a>: "Group.CallbackBeforeInviteJoinGroup" {
        /// The group.
        pub group_id: Option<Text<'a>> = "GroupId",
        /// What kind of group it is.
        pub group_type: Option<GroupType> = "Type",
        /// Who adds them.
        pub operator_account: Option<Text<'a>> = "Operator_Account",
        /// Who is to be added.
        pub destination_members: Option<Vec<Member<'a>>> = "DestinationMembers",
        /// When it happened, in Unix milliseconds.
        pub event_time: Option<i64> = "EventTime",
    }
}

packet! {
    /// Users have joined a group, several at once where they were invited together.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/34372>
    pub struct AfterNewMemberJoin<'a>: "Group.CallbackAfterNewMemberJoin" {
        /// The group.
        pub group_id: Option<Text<'a>> = "GroupId",
        /// What kind of group it is.
        pub group_type: Option<GroupType> = "Type",
        /// How they came in.
        pub join_type: Option<JoinType> = "JoinType",
        /// Who let them in: the inviter, or whoever handled the application.
        pub operator_account: Option<Text<'a>> = "Operator_Account",
        /// Who joined.
        pub new_member_list: Option<Vec<Member<'a>>> = "NewMemberList",
        /// When it happened, in Unix milliseconds. One page shows the packet without it.
        pub event_time: Option<i64> = "EventTime",
    }
}

packet! {
    /// Members have left a group or were removed from it.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/34373>
    pub struct AfterMemberExit<'a>: "Group.CallbackAfterMemberExit" {
        /// The group.
        pub group_id: Option<Text<'a>> = "GroupId",
        /// What kind of group it is.
        pub group_type: Option<GroupType> = "Type",
        /// How they went.
        pub exit_type: Option<ExitType> = "ExitType",
        /// Who removed them; the page says who left, which is so only where nobody was removed.
        pub operator_account: Option<Text<'a>> = "Operator_Account",
        /// Who is no longer a member.
        pub exit_member_list: Option<Vec<Member<'a>>> = "ExitMemberList",
        /// When it happened, in Unix milliseconds.
        pub event_time: Option<i64> = "EventTime",
    }
}

packet! {
    /// A member has another role or another name in the group.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/60393>
    pub struct AfterMemberFieldChanged<'a>: "Group.CallbackAfterMemberFieldChanged" {
        /// The group.
        pub group_id: Option<Text<'a>> = "GroupId",
        /// What kind of group it is.
        pub group_type: Option<GroupType> = "Type",
        /// Who changed it.
        pub operator_account: Option<Text<'a>> = "Operator_Account",
        /// The member.
        pub member_account: Option<Text<'a>> = "Member_Account",
        /// The new role; absent if it is the old one.
        pub role: Option<Role> = "Role",
        /// The new name in the group; absent if it is the old one.
        pub name_card: Option<Text<'a>> = "NameCard",
        /// When it happened, in Unix milliseconds.
        pub event_time: Option<i64> = "EventTime",
    }
}

packet! {
    /// Members of an `AVChatRoom` lost their connection or have it back, entered first or left last.
    ///
    /// Needs the list of online members, a feature of its own.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/48734>
    pub struct OnMemberStateChange<'a>: "Group.CallbackOnMemberStateChange" {
        /// The group.
        pub group_id: Option<Text<'a>> = "GroupId",
        /// What kind of group it is: an `AVChatRoom`. Only in some packets.
        pub group_type: Option<GroupType> = "Type",
        /// What they are now.
        pub event_type: Option<MemberState> = "EventType",
        /// Why. Only in newer packets.
        pub event_cause: Option<MemberStateCause> = "EventCause",
        /// Who it is about.
        pub member_list: Option<Vec<Member<'a>>> = "MemberList",
        /// When it happened, in Unix milliseconds. Only in newer packets.
        pub event_time: Option<i64> = "EventTime",
    }
}

open_enum! {
    /// How somebody became a member.
    pub enum JoinType {
        /// By asking.
        Apply = "Apply",
        /// By being invited.
        Invited = "Invited",
    }
}

open_enum! {
    /// How somebody ceased to be a member.
    pub enum ExitType {
        /// Removed by somebody else.
        Kicked = "Kicked",
        /// By leaving.
        Quit = "Quit",
    }
}

open_enum! {
    /// What a member may do in a group.
    pub enum Role {
        /// Administrator.
        Admin = "Admin",
        /// A member like others.
        Member = "Member",
    }
}

open_enum! {
    /// Whether a member of an `AVChatRoom` is there.
    pub enum MemberState {
        /// There.
        Online = "Online",
        /// Not there.
        Offline = "Offline",
    }
}

open_enum! {
    /// Why a member of an `AVChatRoom` is there or not.
    pub enum MemberStateCause {
        /// The connection was lost.
        HeartbeatInterrupt = "HeartbeatInterrupt",
        /// The connection is back.
        HeartbeatRecover = "HeartbeatRecover",
        /// Entered for the first time.
        Join = "Join",
        /// Left for the last time.
        Quit = "Quit",
    }
}
