//! What a group tells about itself: its profile and its attributes.

use super::GroupType;
use crate::{Text, open::open_enum, packet::packet};

packet! {
    /// A group's name, introduction, notice or avatar has changed. What has not changed is absent, which is not the
    /// same as empty.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/34378>
    pub struct AfterGroupInfoChanged<'a>: "Group.CallbackAfterGroupInfoChanged" {
        /// The group.
        pub group_id: Option<Text<'a>> = "GroupId",
        /// What kind of group it is.
        pub group_type: Option<GroupType> = "Type",
        /// Who changed it.
        pub operator_account: Option<Text<'a>> = "Operator_Account",
        /// The new name.
        pub name: Option<Text<'a>> = "Name",
        /// The new introduction.
        pub introduction: Option<Text<'a>> = "Introduction",
        /// The new notice.
        pub notification: Option<Text<'a>> = "Notification",
        /// The URL of the new avatar.
        pub face_url: Option<Text<'a>> = "FaceUrl",
        /// When it happened, in Unix milliseconds.
        pub event_time: Option<i64> = "EventTime",
    }
}

packet! {
    /// The attributes of a group – pairs of key and value of the app's own – were set, changed, deleted or cleared.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/60394>
    pub struct AfterGroupAttrChanged<'a>: "Group.CallbackAfterGroupAttrChanged" {
        /// The group.
        pub group_id: Option<Text<'a>> = "GroupId",
        /// What kind of group it is.
        pub group_type: Option<GroupType> = "Type",
        /// Who did it.
        pub operator_account: Option<Text<'a>> = "Operator_Account",
        /// What was done. In the page's sample, not in its table.
        pub option_type: Option<OptionType> = "OptionType",
        /// The attributes it was done to.
        pub group_attr: Option<Vec<GroupAttr<'a>>> = "GroupAttr",
        /// When it happened, in Unix milliseconds.
        pub event_time: Option<i64> = "EventTime",
    }
}

packet! {
    /// One attribute. Its members are spelt in lower case, unlike those of [`UserDefinedData`](super::UserDefinedData).
    pub struct GroupAttr<'a> {
        /// Its name.
        pub key: Option<Text<'a>> = "key",
        /// Its value.
        pub value: Option<Text<'a>> = "value",
    }
}

open_enum! {
    /// What was done to the attributes of a group.
    pub enum OptionType {
        /// All attributes were replaced by these.
        Set = "set",
        /// These were added, or have new values.
        Modify = "modify",
        /// These were removed.
        Delete = "delete",
        /// All were removed.
        Clear = "clear",
    }
}
