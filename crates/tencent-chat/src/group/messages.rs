//! Messages of a group: before and after they are sent, and what becomes of them.

use super::{GroupType, Member};
use crate::{
    Text,
    c2c::{Extension, ExtensionOperation},
    message::MessageBody,
    packet::packet,
};

packet! {
    /// A message is about to be delivered to a group; the reply may refuse, drop or rewrite it.
    ///
    /// It has no number yet: what ties it to its after callback is `random` and, in newer packets, `msg_id`.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/34374>
    pub struct BeforeSendMsg<'a>: "Group.CallbackBeforeSendMsg" {
        /// The group; of a live room, the room.
        pub group_id: Option<Text<'a>> = "GroupId",
        /// What kind of group it is.
        pub group_type: Option<GroupType> = "Type",
        /// Who the message is from.
        pub from_account: Option<Text<'a>> = "From_Account",
        /// Who asked for it to be sent: somebody else than the sender where an administrator sends in the sender's
        /// name.
        pub operator_account: Option<Text<'a>> = "Operator_Account",
        /// The random number that the request to send it had, unsigned 32 bits. The server takes an equal one within
        /// five minutes for the same message.
        pub random: Option<i64> = "Random",
        /// What clients know the message by: three numbers with dashes between them. Only in newer packets.
        pub msg_id: Option<Text<'a>> = "MsgId",
        /// 1: only who is online gets it; 0: it is stored as usual, which is always said of an `AVChatRoom`. Packets of
        /// live rooms do not have it.
        pub online_only_flag: Option<i64> = "OnlineOnlyFlag",
        /// The elements of the message.
        pub msg_body: Option<MessageBody<'a>> = "MsgBody",
        /// A string of the sender's own that goes with the message, and may hold anything.
        pub cloud_custom_data: Option<Text<'a>> = "CloudCustomData",
        /// The topic, if it is about one of a community's topics.
        pub topic_id: Option<Text<'a>> = "TopicId",
        /// When it happened, in Unix milliseconds.
        pub event_time: Option<i64> = "EventTime",
    }
}

packet! {
    /// A message was delivered to a group.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/34375>
    pub struct AfterSendMsg<'a>: "Group.CallbackAfterSendMsg" {
        /// The group; of a live room, the room.
        pub group_id: Option<Text<'a>> = "GroupId",
        /// What kind of group it is.
        pub group_type: Option<GroupType> = "Type",
        /// Who the message is from.
        pub from_account: Option<Text<'a>> = "From_Account",
        /// Who asked for it to be sent: somebody else than the sender where an administrator sends in the sender's
        /// name.
        pub operator_account: Option<Text<'a>> = "Operator_Account",
        /// The random number that the request to send it had, unsigned 32 bits. The server takes an equal one within
        /// five minutes for the same message.
        pub random: Option<i64> = "Random",
        /// What clients know the message by: three numbers with dashes between them. Only in newer packets.
        pub msg_id: Option<Text<'a>> = "MsgId",
        /// The number of the message in its group, or in its topic. Messages are ordered by it.
        pub msg_seq: Option<i64> = "MsgSeq",
        /// When the server sent it, in Unix **seconds**.
        pub msg_time: Option<i64> = "MsgTime",
        /// 1: only who is online gets it; 0: it is stored as usual, which is always said of an `AVChatRoom`. Packets of
        /// live rooms do not have it.
        pub online_only_flag: Option<i64> = "OnlineOnlyFlag",
        /// The elements of the message.
        pub msg_body: Option<MessageBody<'a>> = "MsgBody",
        /// A string of the sender's own that goes with the message, and may hold anything.
        pub cloud_custom_data: Option<Text<'a>> = "CloudCustomData",
        /// The topic, if it is about one of a community's topics.
        pub topic_id: Option<Text<'a>> = "TopicId",
        /// When it happened, in Unix milliseconds.
        pub event_time: Option<i64> = "EventTime",
        /// Who is mentioned, 30 members at most; everybody and single members may be mixed. Only in newer packets.
        pub group_at_info: Option<Vec<GroupAt<'a>>> = "GroupAtInfo",
    }
}

packet! {
    /// One mention in a message, of a member or of everybody.
    pub struct GroupAt<'a> {
        /// 1: everybody is mentioned; 0: one member.
        pub group_at_all_flag: Option<i64> = "GroupAtAllFlag",
        /// The member; absent where everybody is mentioned.
        pub group_at_account: Option<Text<'a>> = "GroupAt_Account",
    }
}

packet! {
    /// A message to a group was not delivered: a bad parameter, too many messages, a filter, a sender who is muted.
    ///
    /// `error_code` and `error_info` are of that failure and have nothing to do with the reply.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/49462>
    pub struct SendMsgException<'a>: "Group.CallbackSendMsgException" {
        /// The group.
        pub group_id: Option<Text<'a>> = "GroupId",
        /// What kind of group it is.
        pub group_type: Option<GroupType> = "Type",
        /// Who the message is from.
        pub from_account: Option<Text<'a>> = "From_Account",
        /// Who asked for it to be sent.
        pub operator_account: Option<Text<'a>> = "Operator_Account",
        /// The random number that the request to send it had, unsigned 32 bits. The server takes an equal one within
        /// five minutes for the same message.
        pub random: Option<i64> = "Random",
        /// 1: only who is online gets it; 0: it is stored as usual, which is always said of an `AVChatRoom`. Packets of
        /// live rooms do not have it.
        pub online_only_flag: Option<i64> = "OnlineOnlyFlag",
        /// The elements of the message.
        pub msg_body: Option<MessageBody<'a>> = "MsgBody",
        /// A string of the sender's own that goes with the message, and may hold anything.
        pub cloud_custom_data: Option<Text<'a>> = "CloudCustomData",
        /// Why it failed, by Tencent's list of error codes.
        pub error_code: Option<i64> = "ErrorCode",
        /// The same in words.
        pub error_info: Option<Text<'a>> = "ErrorInfo",
        /// When it happened, in Unix milliseconds.
        pub event_time: Option<i64> = "EventTime",
    }
}

packet! {
    /// Messages of a group were recalled.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/46979>
    pub struct AfterRecallMsg<'a>: "Group.CallbackAfterRecallMsg" {
        /// Who recalled them.
        pub operator_account: Option<Text<'a>> = "Operator_Account",
        /// What kind of group it is.
        pub group_type: Option<GroupType> = "Type",
        /// The group.
        pub group_id: Option<Text<'a>> = "GroupId",
        /// The recalled messages.
        pub msg_seq_list: Option<Vec<RecalledMsg<'a>>> = "MsgSeqList",
        /// The topic, if it is about one of a community's topics.
        pub topic_id: Option<Text<'a>> = "TopicId",
        /// When it happened, in Unix milliseconds.
        pub event_time: Option<i64> = "EventTime",
    }
}

packet! {
    /// A message that was recalled.
    pub struct RecalledMsg<'a> {
        /// The number of the message in its group, or in its topic. Messages are ordered by it.
        pub msg_seq: Option<i64> = "MsgSeq",
        /// What clients know the message by: three numbers with dashes between them. Only in newer packets.
        pub msg_id: Option<Text<'a>> = "MsgId",
    }
}

packet! {
    /// A message of a group was modified. The page exists on the mainland site only.
    ///
    /// <https://cloud.tencent.com/document/product/269/129193>
    pub struct AfterModifyMsg<'a>: "Group.CallbackAfterModifyMsg" {
        /// Who modified it; the sender is not named.
        pub operator_account: Option<Text<'a>> = "Operator_Account",
        /// The group.
        pub group_id: Option<Text<'a>> = "GroupId",
        /// The topic; an **empty string** if it is in none.
        pub topic_id: Option<Text<'a>> = "TopicId",
        /// The number of the message in its group, or in its topic. Messages are ordered by it.
        pub msg_seq: Option<i64> = "MsgSeq",
        /// The elements of the message as they are now.
        pub msg_body: Option<MessageBody<'a>> = "MsgBody",
        /// The string that goes with the message. The page does not have it, the one of C2C messages does.
        pub cloud_custom_data: Option<Text<'a>> = "CloudCustomData",
        /// When it happened, in Unix milliseconds.
        pub event_time: Option<i64> = "EventTime",
    }
}

packet! {
    /// Messages were read whose sender asked for receipts, or such a message was sent. Not in communities.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/60395>
    pub struct AfterReadReceipt<'a>: "Group.CallbackAfterReadReceipt" {
        /// The group.
        pub group_id: Option<Text<'a>> = "GroupId",
        /// What kind of group it is.
        pub group_type: Option<GroupType> = "Type",
        /// The messages, and who has read them.
        pub group_msg_receipt_list: Option<Vec<GroupMsgReceipt<'a>>> = "GroupMsgReceiptList",
        /// When it happened, in Unix milliseconds.
        pub event_time: Option<i64> = "EventTime",
    }
}

packet! {
    /// How many have read one message.
    pub struct GroupMsgReceipt<'a> {
        /// The number of the message in its group, or in its topic. Messages are ordered by it.
        pub msg_seq: Option<i64> = "MsgSeq",
        /// Members who have read it.
        pub read_num: Option<i64> = "ReadNum",
        /// Members who have not.
        pub unread_num: Option<i64> = "UnreadNum",
        /// Who has read it just now; absent for a message that was just sent.
        pub read_receipt_members: Option<Vec<Member<'a>>> = "ReadReceiptMembers",
    }
}

packet! {
    /// The extensions of a message – pairs of key and value that members add to it – were set, deleted or cleared.
    ///
    /// Who did it is not said.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/76007>
    pub struct AfterGroupMsgExtension<'a>: "Group.CallbackAfterGroupMsgExtension" {
        /// The group.
        pub group_id: Option<Text<'a>> = "GroupId",
        /// The number of the message in its group, or in its topic. Messages are ordered by it.
        pub msg_seq: Option<i64> = "MsgSeq",
        /// What was done.
        pub operate_type: Option<ExtensionOperation> = "OperateType",
        /// The pairs it was done to; empty where all were cleared.
        pub extension_list: Option<Vec<Extension<'a>>> = "ExtensionList",
        /// The newest version of all extensions of the message together.
        pub seq: Option<i64> = "Seq",
        /// When it happened, in Unix milliseconds.
        pub event_time: Option<i64> = "EventTime",
    }
}
