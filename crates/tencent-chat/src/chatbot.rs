//! Signals to smart chatbots.

use crate::{Text, packet::packet};

packet! {
    /// After a client sent a signal, a message that is no chat, to a chatbot.
    ///
    /// It comes after the fact, and yet the reply counts: its `RspData` is handed to the bot, and a plain
    /// acknowledgement hands it nothing.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/59057>
    pub struct OnC2CSignalMessage<'a>: "Chatbot.OnC2CSignalMessage" {
        /// Who sent it.
        pub from_account: Option<Text<'a>> = "From_Account",
        /// The chatbot.
        pub to_account: Option<Text<'a>> = "To_Account",
        /// The sender's number for it.
        pub msg_seq: Option<i64> = "MsgSeq",
        /// The sender's random number for it.
        pub msg_random: Option<i64> = "MsgRandom",
        /// Names the message. Its parts come in another order than elsewhere: do not read them.
        pub msg_key: Option<Text<'a>> = "MsgKey",
        /// When it happened, in Unix milliseconds.
        pub event_time: Option<i64> = "EventTime",
        /// What the client says, as an agreement between the app and its bot; mostly JSON.
        pub data: Option<Text<'a>> = "Data",
    }
}
