//! One-to-one messages.
//!
//! `MsgSeq` and `MsgRandom` are chosen by the sender and may repeat; `MsgKey` names a message, and is what the server
//! API's recall takes. Its parts are not to be read: they do not come in the same order everywhere.

use crate::{Text, message::MessageBody, open::open_integer_enum, packet::packet};

packet! {
    /// Before a one-to-one message is delivered: from a client or from the server API.
    ///
    /// Refused, the message gets no [`AfterSendMsg`]; rewritten, it gets one with what was written.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/34364>
    pub struct BeforeSendMsg<'a>: "C2C.CallbackBeforeSendMsg" {
        /// Who sends it.
        pub from_account: Option<Text<'a>> = "From_Account",
        /// Whom it is for.
        pub to_account: Option<Text<'a>> = "To_Account",
        /// The sender's number for it.
        pub msg_seq: Option<i64> = "MsgSeq",
        /// The sender's random number for it.
        pub msg_random: Option<i64> = "MsgRandom",
        /// When it was sent, in Unix seconds; what messages of a conversation are sorted by.
        pub msg_time: Option<i64> = "MsgTime",
        /// Names the message.
        pub msg_key: Option<Text<'a>> = "MsgKey",
        /// What clients call it. Older packets lack it.
        pub msg_id: Option<Text<'a>> = "MsgId",
        /// 1 if only those who are online get it, else 0.
        pub online_only_flag: Option<i64> = "OnlineOnlyFlag",
        /// What it consists of.
        pub msg_body: Option<MessageBody<'a>> = "MsgBody",
        /// What the app stores with it.
        pub cloud_custom_data: Option<Text<'a>> = "CloudCustomData",
        /// When it happened, in Unix milliseconds. Older packets lack it.
        pub event_time: Option<i64> = "EventTime",
    }
}

packet! {
    /// After a one-to-one message was processed. That is no delivery: see [`send_msg_result`](Self::send_msg_result).
    ///
    /// <https://www.tencentcloud.com/document/product/1047/34365>
    pub struct AfterSendMsg<'a>: "C2C.CallbackAfterSendMsg" {
        /// Who sent it.
        pub from_account: Option<Text<'a>> = "From_Account",
        /// Whom it is for.
        pub to_account: Option<Text<'a>> = "To_Account",
        /// The sender's number for it.
        pub msg_seq: Option<i64> = "MsgSeq",
        /// The sender's random number for it.
        pub msg_random: Option<i64> = "MsgRandom",
        /// When it was sent, in Unix seconds; what messages of a conversation are sorted by.
        pub msg_time: Option<i64> = "MsgTime",
        /// Names the message.
        pub msg_key: Option<Text<'a>> = "MsgKey",
        /// What clients call it. Older packets lack it.
        pub msg_id: Option<Text<'a>> = "MsgId",
        /// 1 if only those who are online get it, else 0.
        pub online_only_flag: Option<i64> = "OnlineOnlyFlag",
        /// 0 if it was delivered, else the error code that it failed with.
        pub send_msg_result: Option<i64> = "SendMsgResult",
        /// The same in words; not the member of a reply that has this name.
        pub error_info: Option<Text<'a>> = "ErrorInfo",
        /// One-to-one messages that the recipient has not read yet, of all conversations; -1 if it was not delivered.
        /// Newer packets may lack it.
        pub unread_msg_num: Option<i64> = "UnreadMsgNum",
        /// What it consists of.
        pub msg_body: Option<MessageBody<'a>> = "MsgBody",
        /// What the app stores with it.
        pub cloud_custom_data: Option<Text<'a>> = "CloudCustomData",
        /// When it happened, in Unix milliseconds. Older packets lack it.
        pub event_time: Option<i64> = "EventTime",
    }
}

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
    /// After a one-to-one message is recalled, by its sender or by the server API.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/43466>
    pub struct AfterMsgWithDraw<'a>: "C2C.CallbackAfterMsgWithDraw" {
        /// Who sent it.
        pub from_account: Option<Text<'a>> = "From_Account",
        /// Whom it was for.
        pub to_account: Option<Text<'a>> = "To_Account",
        /// The message.
        pub msg_key: Option<Text<'a>> = "MsgKey",
        /// One-to-one messages that the recipient has not read yet, of all conversations. Newer packets lack it.
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
        /// Who sent the message.
        pub from_account: Option<Text<'a>> = "From_Account",
        /// Whom it was for.
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

packet! {
    /// After a reader confirmed single one-to-one messages, with a client or through the server API.
    ///
    /// <https://cloud.tencent.com/document/product/269/128223>
    pub struct AfterMsgReadReceipt<'a>: "C2C.CallbackAfterMsgReadReceipt" {
        /// Who confirmed.
        pub operator_account: Option<Text<'a>> = "Operator_Account",
        /// The other side of the conversation.
        pub peer_account: Option<Text<'a>> = "Peer_Account",
        /// What was confirmed.
        pub c2c_msg_info: Option<Vec<ReadMessage<'a>>> = "C2CMsgInfo",
        /// When it happened, in Unix milliseconds.
        pub event_time: Option<i64> = "EventTime",
    }
}

packet! {
    /// A message that a reader confirmed.
    pub struct ReadMessage<'a> {
        /// Who sent it.
        pub from_account: Option<Text<'a>> = "From_Account",
        /// Whom it was for.
        pub to_account: Option<Text<'a>> = "To_Account",
        /// The message.
        pub msg_key: Option<Text<'a>> = "MsgKey",
        /// What clients call it.
        pub msg_id: Option<Text<'a>> = "MsgId",
    }
}

packet! {
    /// After a one-to-one message is edited, with a client or through the server API. Once per edit, with one `MsgKey`.
    ///
    /// <https://cloud.tencent.com/document/product/269/128224>
    pub struct AfterModifyMsg<'a>: "C2C.CallbackAfterModifyMsg" {
        /// Who edited it.
        pub operator_account: Option<Text<'a>> = "Operator_Account",
        /// Who sent it.
        pub from_account: Option<Text<'a>> = "From_Account",
        /// Whom it was for.
        pub to_account: Option<Text<'a>> = "To_Account",
        /// The sender's random number for it.
        pub msg_random: Option<i64> = "MsgRandom",
        /// The sender's number for it.
        pub msg_seq: Option<i64> = "MsgSeq",
        /// When it was sent first, in Unix seconds.
        pub msg_time: Option<i64> = "MsgTime",
        /// The message.
        pub msg_key: Option<Text<'a>> = "MsgKey",
        /// What it consists of now.
        pub msg_body: Option<MessageBody<'a>> = "MsgBody",
        /// What the app stores with it.
        pub cloud_custom_data: Option<Text<'a>> = "CloudCustomData",
        /// When it was edited, in Unix milliseconds.
        pub event_time: Option<i64> = "EventTime",
    }
}

packet! {
    /// After a user marked everything as read: all one-to-one conversations, and groups, although the command's name
    /// does not say so.
    ///
    /// <https://cloud.tencent.com/document/product/269/128225>
    pub struct AfterMsgReadAll<'a>: "C2C.CallbackAfterMsgReadAll" {
        /// Who did.
        pub report_account: Option<Text<'a>> = "Report_Account",
        /// When it happened, in Unix milliseconds.
        pub event_time: Option<i64> = "EventTime",
        /// The groups that are read now.
        pub group_read_info: Option<Vec<ReadGroup<'a>>> = "GroupReadInfo",
    }
}

packet! {
    /// A group that is read up to a message.
    pub struct ReadGroup<'a> {
        /// The group.
        pub group_id: Option<Text<'a>> = "GroupId",
        /// The number in the group of the last message that is read.
        pub msg_seq: Option<i64> = "MsgSeq",
    }
}
