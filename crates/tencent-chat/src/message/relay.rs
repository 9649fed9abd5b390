//! Messages inside of a message.

use super::MessageBody;
use crate::{Text, packet::packet};

packet! {
    /// `TIMRelayElem`: messages that were merged and passed on. Up to 12 KB of them are in the element itself, more
    /// behind a key.
    ///
    /// They may hold merged messages again, as deep as JSON is read at all: 128 levels of arrays and objects.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/33527>
    pub struct Relay<'a> {
        /// What the whole is called.
        pub title: Option<Text<'a>> = "Title",
        /// How many messages there are.
        pub msg_num: Option<i64> = "MsgNum",
        /// What clients show that know no merged messages.
        pub compatible_text: Option<Text<'a>> = "CompatibleText",
        /// The messages in short, as lines.
        pub abstract_list: Option<Vec<Text<'a>>> = "AbstractList",
        /// The messages, unless they are too large for that.
        pub msg_list: Option<Vec<RelayedMessage<'a>>> = "MsgList",
        /// What they can be fetched with if they are.
        pub json_msg_key: Option<Text<'a>> = "JsonMsgKey",
    }
}

packet! {
    /// One of the messages that were merged.
    pub struct RelayedMessage<'a> {
        /// Who sent it.
        pub from_account: Option<Text<'a>> = "From_Account",
        /// Whom it went to, if that was a person.
        pub to_account: Option<Text<'a>> = "To_Account",
        /// The group it went to, if it was one.
        pub group_id: Option<Text<'a>> = "GroupId",
        /// Its number in its conversation.
        pub msg_seq: Option<i64> = "MsgSeq",
        /// Its random number.
        pub msg_random: Option<i64> = "MsgRandom",
        /// When it was sent, in Unix seconds.
        pub msg_time_stamp: Option<i64> = "MsgTimeStamp",
        /// What it consists of.
        pub msg_body: Option<MessageBody<'a>> = "MsgBody",
        /// What the app stored with it.
        pub cloud_custom_data: Option<Text<'a>> = "CloudCustomData",
    }
}
