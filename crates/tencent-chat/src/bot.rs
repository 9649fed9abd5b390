//! Messages to bots.
//!
//! A message to a bot also comes as the ordinary callback, if that is switched on: `C2C.CallbackAfterSendMsg` with the
//! same `MsgKey`, `Group.CallbackAfterSendMsg` with the same `MsgSeq`.

use crate::{Text, group::GroupType, message::MessageBody, packet::packet};

packet! {
    /// After a one-to-one message to a bot.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/68952>
    pub struct OnC2CMessage<'a>: "Bot.OnC2CMessage" {
        /// Who sent it.
        pub from_account: Option<Text<'a>> = "From_Account",
        /// The bot; `@RBT#…`, unless it has a name of the app's own.
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
        /// Messages that the bot has not read yet. The page does not have it; packets were seen to.
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
    /// After a message in a group that mentions a bot by its name; a message that mentions all is none.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/68953>
    pub struct OnGroupMessage<'a>: "Bot.OnGroupMessage" {
        /// The group.
        pub group_id: Option<Text<'a>> = "GroupId",
        /// The group's type.
        pub group_type: Option<GroupType> = "Type",
        /// Whose message it is.
        pub from_account: Option<Text<'a>> = "From_Account",
        /// Who asked for it to be sent: the sender, or an administrator on their behalf.
        pub operator_account: Option<Text<'a>> = "Operator_Account",
        /// The sender's random number for it; `MsgRandom` in one-to-one messages.
        pub random: Option<i64> = "Random",
        /// Its number in the group, or in the topic.
        pub msg_seq: Option<i64> = "MsgSeq",
        /// When it was sent, in Unix seconds.
        pub msg_time: Option<i64> = "MsgTime",
        /// 1 if only those who are online get it, else 0.
        pub online_only_flag: Option<i64> = "OnlineOnlyFlag",
        /// What it consists of.
        pub msg_body: Option<MessageBody<'a>> = "MsgBody",
        /// The bots that it mentions.
        pub at_robots_account: Option<Vec<Text<'a>>> = "AtRobots_Account",
        /// What the app stores with it.
        pub cloud_custom_data: Option<Text<'a>> = "CloudCustomData",
        /// The topic, if it is in one.
        pub topic_id: Option<Text<'a>> = "TopicId",
        /// When it happened, in Unix milliseconds.
        pub event_time: Option<i64> = "EventTime",
    }
}
