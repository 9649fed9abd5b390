//! Groups themselves: before and after they are created, full, handed over, gone.

use super::{GroupType, Member, UserDefinedData};
use crate::{Text, packet::packet};

packet! {
    /// A group is about to be created; the reply may refuse. It has no id yet.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/34368>
    pub struct BeforeCreateGroup<'a>: "Group.CallbackBeforeCreateGroup" {
        /// Who creates it.
        pub operator_account: Option<Text<'a>> = "Operator_Account",
        /// Who is to own it.
        pub owner_account: Option<Text<'a>> = "Owner_Account",
        /// What kind of group it is.
        pub group_type: Option<GroupType> = "Type",
        /// What it is to be called.
        pub name: Option<Text<'a>> = "Name",
        /// Its first members.
        pub member_list: Option<Vec<Member<'a>>> = "MemberList",
        /// How many groups of this kind the user has already. Only in older packets.
        pub create_group_num: Option<i64> = "CreateGroupNum",
        /// When it happened, in Unix milliseconds.
        pub event_time: Option<i64> = "EventTime",
    }
}

packet! {
    /// A group was created.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/34369>
    pub struct AfterCreateGroup<'a>: "Group.CallbackAfterCreateGroup" {
        /// The group. The page's table spells it `groupID`, its packet does not.
        pub group_id: Option<Text<'a>> = "GroupId",
        /// Who created it.
        pub operator_account: Option<Text<'a>> = "Operator_Account",
        /// Who owns it.
        pub owner_account: Option<Text<'a>> = "Owner_Account",
        /// What kind of group it is.
        pub group_type: Option<GroupType> = "Type",
        /// What it is called.
        pub name: Option<Text<'a>> = "Name",
        /// Its first members.
        pub member_list: Option<Vec<Member<'a>>> = "MemberList",
        /// The app's own fields of the group; absent unless the app has switched them on.
        pub user_defined_data_list: Option<Vec<UserDefinedData<'a>>> = "UserDefinedDataList",
        /// When it happened, in Unix milliseconds.
        pub event_time: Option<i64> = "EventTime",
    }
}

packet! {
    /// Somebody took the last place in a group, or found it taken: it may come more than once for one full group.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/34376>
    pub struct AfterGroupFull<'a>: "Group.CallbackAfterGroupFull" {
        /// The group.
        pub group_id: Option<Text<'a>> = "GroupId",
        /// When it happened, in Unix milliseconds.
        pub event_time: Option<i64> = "EventTime",
    }
}

packet! {
    /// A group was handed over to another owner.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/60396>
    pub struct AfterChangeGroupOwner<'a>: "Group.CallbackAfterChangeGroupOwner" {
        /// The group.
        pub group_id: Option<Text<'a>> = "GroupId",
        /// What kind of group it is.
        pub group_type: Option<GroupType> = "Type",
        /// Who handed it over.
        pub operator_account: Option<Text<'a>> = "Operator_Account",
        /// Who owned it.
        pub old_owner_account: Option<Text<'a>> = "OldOwner_Account",
        /// Who owns it now.
        pub new_owner_account: Option<Text<'a>> = "NewOwner_Account",
        /// When it happened, in Unix milliseconds.
        pub event_time: Option<i64> = "EventTime",
    }
}

packet! {
    /// A group was disbanded; by whom is not said.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/34377>
    pub struct AfterGroupDestroyed<'a>: "Group.CallbackAfterGroupDestroyed" {
        /// The group.
        pub group_id: Option<Text<'a>> = "GroupId",
        /// What kind of group it is.
        pub group_type: Option<GroupType> = "Type",
        /// Who owned it.
        pub owner_account: Option<Text<'a>> = "Owner_Account",
        /// What it was called.
        pub name: Option<Text<'a>> = "Name",
        /// All who were members, which may be thousands. Absent for a community.
        pub member_list: Option<Vec<Member<'a>>> = "MemberList",
        /// When it happened, in Unix milliseconds.
        pub event_time: Option<i64> = "EventTime",
    }
}

packet! {
    /// The app has created more than 70 % of the groups that it may create in a day.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/57455>
    pub struct OnDailyGroupQuotaAlarm<'a>: "Group.CallbackOnDailyGroupQuotaAlarm" {
        /// Groups created today, less those that are gone again.
        pub quota_used: Option<i64> = "QuotaUsed",
        /// Groups that may be created in a day.
        pub quota: Option<i64> = "Quota",
        /// When it happened, in Unix milliseconds.
        pub event_time: Option<i64> = "EventTime",
    }
}
