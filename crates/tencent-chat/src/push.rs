//! Pushes: what became of them, in batches.

use crate::{Text, open::open_integer_enum, packet::packet};

packet! {
    /// What became of pushes for messages whose receivers were offline. One body carries up to 100 events, and says its
    /// command in each of them.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/67552>
    pub struct OfflinePush<'a>: "Push.OfflinePush" (no command) {
        /// The events, 1 to 100.
        pub events: Option<Vec<OfflinePushEvent<'a>>> = "Events",
    }
}

packet! {
    /// What became of one push for one message. Two events are the same if they are equal in `push_id`, `push_stage`
    /// and `to_account`.
    pub struct OfflinePushEvent<'a> {
        /// The command once more.
        pub callback_command: Option<Text<'a>> = "CallbackCommand",
        /// What kind of message it is for.
        pub event_type: Option<ChatKind> = "EventType",
        /// When it happened, in Unix **seconds**; every other command has milliseconds.
        pub event_time_s: Option<i64> = "EventTime",
        /// Who the message is from.
        pub from_account: Option<Text<'a>> = "From_Account",
        /// Who the push is for.
        pub to_account: Option<Text<'a>> = "To_Account",
        /// Whose service took the push.
        pub push_platform: Option<PushPlatform> = "PushPlatform",
        /// How far it got.
        pub push_stage: Option<PushStage> = "PushStage",
        /// What the message is recalled by; of C2C messages only.
        pub msg_key: Option<Text<'a>> = "MsgKey",
        /// The group, of group messages only. Spelt with a capital `ID` here and nowhere else.
        pub group_id: Option<Text<'a>> = "GroupID",
        /// The message's sequence number.
        pub msg_seq: Option<i64> = "MsgSeq",
        /// The message's random number, unsigned 32 bits.
        pub msg_random: Option<i64> = "MsgRandom",
        /// When the message was sent, in Unix seconds.
        pub msg_time: Option<i64> = "MsgTime",
        /// What the push is known by.
        pub push_id: Option<Text<'a>> = "PushID",
        /// 0: no error.
        pub err_code: Option<i64> = "ErrCode",
        /// The error in words; may be empty.
        pub err_info: Option<Text<'a>> = "ErrInfo",
    }
}

packet! {
    /// What became of pushes that the app itself sent: to all, to those with a tag, or to single users. One body
    /// carries up to 100 events, and says its command in each of them.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/67551>
    pub struct AllMemberPush<'a>: "Push.AllMemberPush" (no command) {
        /// The events, 1 to 100.
        pub events: Option<Vec<AllMemberPushEvent<'a>>> = "Events",
    }
}

packet! {
    /// What became of one push for one user. Two events are the same if they are equal in `task_id`, `to_account`,
    /// `event_type` and `push_stage`.
    pub struct AllMemberPushEvent<'a> {
        /// The command once more.
        pub callback_command: Option<Text<'a>> = "CallbackCommand",
        /// Whether it went through a push service or through the user's own connection.
        pub event_type: Option<PushKind> = "EventType",
        /// The request to push that it comes from.
        pub task_id: Option<Text<'a>> = "TaskId",
        /// An identifier of the app's own that went with that request.
        pub data_id: Option<Text<'a>> = "DataId",
        /// When the request was made, in Unix seconds.
        pub task_time: Option<i64> = "TaskTime",
        /// When it happened, in Unix **seconds**; every other command has milliseconds.
        pub event_time_s: Option<i64> = "EventTime",
        /// Who the push is for.
        pub to_account: Option<Text<'a>> = "To_Account",
        /// Whose service took the push; always 0 for an online push.
        pub push_platform: Option<PushPlatform> = "PushPlatform",
        /// What the user's device is, by the numbers of `push_platform`; 0 for an offline push.
        pub device_type: Option<PushPlatform> = "DeviceType",
        /// How far it got.
        pub push_stage: Option<PushStage> = "PushStage",
        /// 0: no error.
        pub err_code: Option<i64> = "ErrCode",
        /// The error in words; may be empty.
        pub err_info: Option<Text<'a>> = "ErrInfo",
    }
}

open_integer_enum! {
    /// What kind of message a push is for.
    pub enum ChatKind {
        /// To one user.
        C2C = 1,
        /// To a group.
        Group = 2,
    }
}

open_integer_enum! {
    /// How a push went.
    pub enum PushKind {
        /// Through a push service, as the user was offline.
        Offline = 1,
        /// Through the user's own connection.
        Online = 2,
    }
}

open_integer_enum! {
    /// A push service, or the kind of device that it is for.
    pub enum PushPlatform {
        /// Not known, or none.
        Unknown = 0,
        /// Apple's.
        Apns = 1,
        /// Xiaomi.
        Xiaomi = 2,
        /// Huawei.
        Huawei = 3,
        /// Google's.
        Fcm = 4,
        /// Meizu.
        Meizu = 5,
        /// OPPO.
        Oppo = 6,
        /// vivo.
        Vivo = 7,
        /// Honor.
        Honor = 8,
    }
}

open_integer_enum! {
    /// How far a push got.
    pub enum PushStage {
        /// Handed to the push service.
        Sent = 1,
        /// On the device.
        Reached = 2,
        /// Opened by the user.
        Clicked = 3,
    }
}
