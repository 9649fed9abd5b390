//! Official accounts: channels that users subscribe to.

use crate::{Text, message::MessageBody, packet::packet};

packet! {
    /// Before an official account is created through the server API.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/60795>
    pub struct BeforeCreateOfficialAccount<'a>: "OfficialAccount.CallbackBeforeCreateOfficialAccount" {
        /// Who asks for it.
        pub operator_account: Option<Text<'a>> = "Operator_Account",
        /// Who is to own it.
        pub owner_account: Option<Text<'a>> = "Owner_Account",
        /// What it is called.
        pub name: Option<Text<'a>> = "Name",
        /// When it happened, in Unix milliseconds.
        pub event_time: Option<i64> = "EventTime",
    }
}

packet! {
    /// After an official account was created through the server API.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/60796>
    pub struct AfterCreateOfficialAccount<'a>: "OfficialAccount.CallbackAfterCreateOfficialAccount" {
        /// The official account; `@TOA#…`, unless it has a name of the app's own.
        pub official_account: Option<Text<'a>> = "Official_Account",
        /// Who created it.
        pub operator_account: Option<Text<'a>> = "Operator_Account",
        /// Who owns it.
        pub owner_account: Option<Text<'a>> = "Owner_Account",
        /// What it is called.
        pub name: Option<Text<'a>> = "Name",
        /// When it happened, in Unix milliseconds.
        pub event_time: Option<i64> = "EventTime",
    }
}

packet! {
    /// After an official account's profile was changed through the server API. Of the profile it has what changed.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/60797>
    pub struct AfterOfficialAccountInfoChanged<'a>: "OfficialAccount.CallbackAfterOfficialAccountInfoChanged" {
        /// The official account; `@TOA#…`, unless it has a name of the app's own.
        pub official_account: Option<Text<'a>> = "Official_Account",
        /// Who changed it.
        pub operator_account: Option<Text<'a>> = "Operator_Account",
        /// What it says about itself now.
        pub introduction: Option<Text<'a>> = "Introduction",
        /// What it is called now.
        pub name: Option<Text<'a>> = "Name",
        /// Where its picture is now.
        pub face_url: Option<Text<'a>> = "FaceUrl",
        /// The organisation it now says it belongs to.
        pub organization: Option<Text<'a>> = "Organization",
        /// When it happened, in Unix milliseconds.
        pub event_time: Option<i64> = "EventTime",
    }
}

packet! {
    /// After an official account was dissolved through the server API.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/60798>
    pub struct AfterOfficialAccountDestroyed<'a>: "OfficialAccount.CallbackAfterOfficialAccountDestroyed" {
        /// The official account; `@TOA#…`, unless it has a name of the app's own.
        pub official_account: Option<Text<'a>> = "Official_Account",
        /// Who owned it.
        pub owner_account: Option<Text<'a>> = "Owner_Account",
        /// What it was called.
        pub name: Option<Text<'a>> = "Name",
        /// When it happened, in Unix milliseconds.
        pub event_time: Option<i64> = "EventTime",
    }
}

packet! {
    /// Before users subscribe, with a client or through the server API.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/60799>
    pub struct BeforeAddSubscriber<'a>: "OfficialAccount.CallbackBeforeAddSubscriber" {
        /// The official account; `@TOA#…`, unless it has a name of the app's own.
        pub official_account: Option<Text<'a>> = "Official_Account",
        /// Who asks for it.
        pub operator_account: Option<Text<'a>> = "Operator_Account",
        /// The users.
        pub subscribe_account_list: Option<Vec<Subscriber<'a>>> = "SubscribeAccountList",
        /// When it happened, in Unix milliseconds.
        pub event_time: Option<i64> = "EventTime",
    }
}

packet! {
    /// After users subscribed.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/60800>
    pub struct AfterAddSubscriber<'a>: "OfficialAccount.CallbackAfterAddSubscriber" {
        /// The official account; `@TOA#…`, unless it has a name of the app's own.
        pub official_account: Option<Text<'a>> = "Official_Account",
        /// Who asked for it.
        pub operator_account: Option<Text<'a>> = "Operator_Account",
        /// The users.
        pub subscribe_account_list: Option<Vec<Subscriber<'a>>> = "SubscribeAccountList",
        /// When it happened, in Unix milliseconds.
        pub event_time: Option<i64> = "EventTime",
    }
}

packet! {
    /// After an official account got as many subscribers as it may have.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/60801>
    pub struct AfterOfficialAccountFull<'a>: "OfficialAccount.CallbackAfterOfficialAccountFull" {
        /// The official account; `@TOA#…`, unless it has a name of the app's own.
        pub official_account: Option<Text<'a>> = "Official_Account",
        /// When it happened, in Unix milliseconds.
        pub event_time: Option<i64> = "EventTime",
    }
}

packet! {
    /// After users unsubscribed or were removed.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/60802>
    pub struct AfterDeleteSubscriber<'a>: "OfficialAccount.CallbackAfterDeleteSubscriber" {
        /// The official account; `@TOA#…`, unless it has a name of the app's own.
        pub official_account: Option<Text<'a>> = "Official_Account",
        /// Who asked for it.
        pub operator_account: Option<Text<'a>> = "Operator_Account",
        /// The users.
        pub subscribe_account_list: Option<Vec<Subscriber<'a>>> = "SubscribeAccountList",
        /// When it happened, in Unix milliseconds.
        pub event_time: Option<i64> = "EventTime",
    }
}

packet! {
    /// A subscriber of an official account.
    pub struct Subscriber<'a> {
        /// The user.
        pub subscriber_account: Option<Text<'a>> = "Subscriber_Account",
    }
}

packet! {
    /// Before an official account's message goes to its subscribers. Nothing in it names the message.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/60803>
    pub struct BeforeSendMsg<'a>: "OfficialAccount.CallbackBeforeSendMsg" {
        /// The official account; `@TOA#…`, unless it has a name of the app's own.
        pub official_account: Option<Text<'a>> = "Official_Account",
        /// 1 if only those who are online get it, else 0.
        pub online_only_flag: Option<i64> = "OnlineOnlyFlag",
        /// What it consists of.
        pub msg_body: Option<MessageBody<'a>> = "MsgBody",
        /// What the app stores with it.
        pub cloud_custom_data: Option<Text<'a>> = "CloudCustomData",
        /// When it happened, in Unix milliseconds.
        pub event_time: Option<i64> = "EventTime",
    }
}

packet! {
    /// After an official account's message went to its subscribers.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/60804>
    pub struct AfterSendMsg<'a>: "OfficialAccount.CallbackAfterSendMsg" {
        /// The official account; `@TOA#…`, unless it has a name of the app's own.
        pub official_account: Option<Text<'a>> = "Official_Account",
        /// Names the message.
        pub msg_key: Option<Text<'a>> = "MsgKey",
        /// When it was sent, in Unix seconds.
        pub msg_time: Option<i64> = "MsgTime",
        /// 1 if only those who are online get it, else 0.
        pub online_only_flag: Option<i64> = "OnlineOnlyFlag",
        /// What it consists of.
        pub msg_body: Option<MessageBody<'a>> = "MsgBody",
        /// What the app stores with it.
        pub cloud_custom_data: Option<Text<'a>> = "CloudCustomData",
        /// When it happened, in Unix milliseconds.
        pub event_time: Option<i64> = "EventTime",
    }
}

packet! {
    /// After messages of an official account were recalled.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/60805>
    pub struct AfterMsgWithDraw<'a>: "OfficialAccount.CallbackAfterMsgWithDraw" {
        /// The official account; `@TOA#…`, unless it has a name of the app's own.
        pub official_account: Option<Text<'a>> = "Official_Account",
        /// The messages.
        pub withdraw_msg_list: Option<Vec<WithdrawnMessage<'a>>> = "WithdrawMsgList",
        /// When it happened, in Unix milliseconds.
        pub event_time: Option<i64> = "EventTime",
    }
}

packet! {
    /// A message of an official account that was recalled.
    pub struct WithdrawnMessage<'a> {
        /// The message.
        pub msg_key: Option<Text<'a>> = "MsgKey",
    }
}
