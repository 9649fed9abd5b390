//! One-to-one messages.

use crate::{Text, open::open_integer_enum, packet::packet};

packet! {
    /// After a one-to-one conversation is marked as read, by the user or by the server API.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/43465>
    pub struct AfterMsgReport<'a>: "C2C.CallbackAfterMsgReport" {
        /// Who has read.
        pub report_account: Option<Text<'a>> = "Report_Account",
        /// The other side of the conversation.
        pub peer_account: Option<Text<'a>> = "Peer_Account",
        /// Unix seconds; all that was sent before is read.
        pub last_read_time: Option<i64> = "LastReadTime",
        /// One-to-one messages that the reader has not read yet, of all conversations. Newer packets lack it.
        pub unread_msg_num: Option<i64> = "UnreadMsgNum",
        /// When it happened, in Unix milliseconds. Older packets lack it.
        pub event_time: Option<i64> = "EventTime",
    }
}

packet! {
    /// After key-value extensions of a one-to-one message are set, deleted or cleared.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/76006>
    pub struct AfterC2CMsgExtension<'a>: "C2C.CallbackAfterC2CMsgExtension" {
        /// Sender of the message.
        pub from_account: Option<Text<'a>> = "From_Account",
        /// Its recipient.
        pub to_account: Option<Text<'a>> = "To_Account",
        /// The message.
        pub msg_key: Option<Text<'a>> = "MsgKey",
        /// What was done.
        pub operate_type: Option<ExtensionOperation> = "OperateType",
        /// The pairs that changed; empty when all were cleared.
        pub extension_list: Option<Vec<Extension<'a>>> = "ExtensionList",
        /// The newest version of the message's extensions as a whole.
        pub seq: Option<i64> = "Seq",
        /// When it happened, in Unix milliseconds.
        pub event_time: Option<i64> = "EventTime",
    }
}

packet! {
    /// One pair of a message's extensions.
    pub struct Extension<'a> {
        /// Its key.
        pub key: Option<Text<'a>> = "Key",
        /// Its value; empty when the pair was deleted.
        pub value: Option<Text<'a>> = "Value",
        /// The version of this pair.
        pub seq: Option<i64> = "Seq",
    }
}

open_integer_enum! {
    /// What was done to a message's extensions.
    pub enum ExtensionOperation {
        /// Pairs were set.
        Set = 1,
        /// Pairs were deleted.
        Delete = 2,
        /// All pairs were removed.
        Clear = 3,
    }
}
