//! Verdicts of Tencent's moderation.

use crate::{
    Text,
    open::{open_enum, open_integer_enum},
    packet::packet,
};

packet! {
    /// After something was moderated; by default only if it was found to be against the rules.
    ///
    /// The one body without `CallbackCommand`: only the query says which command it is.
    ///
    /// <https://trtc.io/zh/document/78240>
    pub struct ResultNotify<'a>: "ContentCallback.ResultNotify" (no command) {
        /// Where it was found.
        pub scene: Option<Scene> = "Scene",
        /// The app, as in the query.
        pub sdk_app_id: Option<u64> = "SdkAppId",
        /// Whose it is.
        pub from_account: Option<Text<'a>> = "From_Account",
        /// Whom it was for, if it is a message.
        pub contact_item: Option<Contact<'a>> = "ContactItem",
        /// What kind of thing it is.
        pub content_type: Option<ContentType> = "ContentType",
        /// The thing itself, if it is text.
        pub text_content: Option<Vec<Text<'a>>> = "TextContent",
        /// Where the thing can be fetched, if it is not.
        pub file_url: Option<Text<'a>> = "FileURL",
        /// The message: a `MsgKey`, or for a group its `MsgSeq` in quotes. A group message that was never delivered has
        /// none.
        pub msg_id: Option<Text<'a>> = "MsgID",
        /// The verdict.
        pub result: Option<Verdict> = "CtxcbResult",
        /// Names this act of moderation.
        pub request_id: Option<Text<'a>> = "CtxcbRequestId",
        /// Words that were found.
        pub keywords: Option<Vec<Text<'a>>> = "CtxcbKeywords",
        /// What is recommended.
        pub suggestion: Option<Suggestion> = "CtxcbSuggestion",
        /// What is wrong with it, such as `Abuse` or `Ad`; `Normal` if nothing is.
        pub label: Option<Text<'a>> = "CtxcbLabel",
        /// The same, closer. Older packets lack it.
        pub sub_label: Option<Text<'a>> = "CtxcbSubLabel",
        /// The closer label in words. Older packets lack it.
        pub sub_label_desc: Option<Text<'a>> = "CtxcbSubLabelDesc",
        /// The list of words that one was found in. Older packets lack it.
        pub lib_name: Option<Text<'a>> = "CtxcbLibName",
        /// What the app stored with the message; empty if it is no message.
        pub cloud_custom_data: Option<Text<'a>> = "CloudCustomData",
    }
}

packet! {
    /// Whom a moderated message was for.
    pub struct Contact<'a> {
        /// A person or a group.
        pub contact_type: Option<ContactType> = "ContactType",
        /// The person, if it was one.
        pub to_account: Option<Text<'a>> = "To_Account",
        /// The group, if it was one.
        pub to_group_id: Option<Text<'a>> = "ToGroupId",
    }
}

open_enum! {
    /// Where something was found that was moderated.
    pub enum Scene {
        /// In a one-to-one message.
        C2c = "C2C",
        /// In a custom element of a one-to-one message.
        C2cCustom = "C2CCustom",
        /// In a group message.
        Group = "Group",
        /// In a custom element of a group message.
        GroupCustom = "GroupCustom",
        /// In a group's profile.
        GroupInfo = "GroupInfo",
        /// In what a group knows of a member.
        GroupMemberInfo = "GroupMemberInfo",
        /// In what users note of their friends.
        RelationChain = "RelationChain",
        /// In a user's profile.
        UserInfo = "UserInfo",
    }
}

open_enum! {
    /// What kind of thing was moderated.
    pub enum ContentType {
        /// Text.
        Text = "Text",
        /// A picture.
        Image = "Image",
        /// Sound.
        Audio = "Audio",
        /// Video.
        Video = "Video",
    }
}

open_integer_enum! {
    /// Whom a moderated message was for.
    pub enum ContactType {
        /// A person.
        Person = 1,
        /// A group.
        Group = 2,
    }
}

open_integer_enum! {
    /// How moderation ended.
    pub enum Verdict {
        /// It may stay.
        Passed = 0,
        /// It was blocked.
        Blocked = 1,
    }
}

open_enum! {
    /// What moderation recommends.
    pub enum Suggestion {
        /// To block it.
        Block = "Block",
        /// That a person looks at it.
        Review = "Review",
        /// Nothing.
        Normal = "Normal",
    }
}
