//! Bodies as typed values: of one command, and of any.

use serde::{Deserialize, Serialize, Serializer};

use crate::{
    DecodeError, Survey, alert, bot, c2c, chatbot, content, follow, group, official_account, profile, push, sns, state,
};

/// The body of one command.
///
/// A field that Tencent does not promise is an `Option`, which is nearly every field. Decoding a body and encoding it
/// again loses nothing, at any level: what a type does not know it keeps in its `extra`. What may change is the
/// spelling: the order of members; integers in quotes become numbers; `null` for a known field becomes absence, and so does an empty text for an integer; and a
/// number that fits neither 64 bits nor an `f64` exactly is rounded to the latter where the type does not know it.
///
/// A known field that occurs twice in one object is an error, for the next reader may take the other one.
///
/// `Debug` shows everything, what people wrote included: it is for tests, not for logs.
pub trait TypedBody<'a>: Deserialize<'a> + Serialize {
    /// The command whose body it is.
    const COMMAND: &'static str;

    /// Compares it with what is documented.
    fn survey(&self) -> Survey;
}

/// Decodes a body, borrowing from it where `T` does.
///
/// # Errors
///
/// The body does not fit. Finding out where takes a second pass, which bodies that fit do not pay for.
pub fn decode<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, DecodeError> {
    serde_json::from_slice(body).map_err(|err| DecodeError::diagnose::<T>(body, &err))
}

/// Makes the enumeration from the one table of commands and types.
macro_rules! bodies {
    ($($variant:ident($family:ident::$type:ident) = $command:literal),* $(,)?) => {
        /// The body of any command of the [catalogue](crate::commands).
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        #[allow(clippy::large_enum_variant, reason = "made and read one at a time; boxes would cost each an allocation")]
        pub enum Body<'a> {
            $(#[doc = concat!("`", $command, "`.")] $variant($family::$type<'a>),)*
        }

        impl<'a> Body<'a> {
            /// Decodes a body of the command that the query names. None for a command outside the catalogue, whatever
            /// the body is.
            ///
            /// # Errors
            ///
            /// The body does not fit its type.
            pub fn decode(command: &str, body: &'a [u8]) -> Result<Option<Body<'a>>, DecodeError> {
                match command {
                    $($command => decode(body).map(|body| Some(Self::$variant(body))),)*
                    _ => Ok(None),
                }
            }

            /// Its command.
            #[must_use]
            pub fn command(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => <$family::$type<'_> as TypedBody<'_>>::COMMAND,)*
                }
            }

            /// Compares it with what is documented.
            #[must_use]
            pub fn survey(&self) -> Survey {
                match self {
                    $(Self::$variant(body) => body.survey(),)*
                }
            }
        }

        /// As the body itself: nothing tells the command but what the body says of it.
        impl Serialize for Body<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self {
                    $(Self::$variant(body) => body.serialize(serializer),)*
                }
            }
        }

        $(impl<'a> From<$family::$type<'a>> for Body<'a> {
            fn from(body: $family::$type<'a>) -> Body<'a> {
                Body::$variant(body)
            }
        })*
    };
}

bodies! {
    AlertRequestOverLimit(alert::RequestOverLimit) = "Alert.RequestOverLimit",
    BotOnC2CMessage(bot::OnC2CMessage) = "Bot.OnC2CMessage",
    BotOnGroupMessage(bot::OnGroupMessage) = "Bot.OnGroupMessage",
    C2cAfterC2CMsgExtension(c2c::AfterC2CMsgExtension) = "C2C.CallbackAfterC2CMsgExtension",
    C2cAfterModifyMsg(c2c::AfterModifyMsg) = "C2C.CallbackAfterModifyMsg",
    C2cAfterMsgReadAll(c2c::AfterMsgReadAll) = "C2C.CallbackAfterMsgReadAll",
    C2cAfterMsgReadReceipt(c2c::AfterMsgReadReceipt) = "C2C.CallbackAfterMsgReadReceipt",
    C2cAfterMsgReport(c2c::AfterMsgReport) = "C2C.CallbackAfterMsgReport",
    C2cAfterMsgWithDraw(c2c::AfterMsgWithDraw) = "C2C.CallbackAfterMsgWithDraw",
    C2cAfterSendMsg(c2c::AfterSendMsg) = "C2C.CallbackAfterSendMsg",
    C2cBeforeSendMsg(c2c::BeforeSendMsg) = "C2C.CallbackBeforeSendMsg",
    ChatbotOnC2CSignalMessage(chatbot::OnC2CSignalMessage) = "Chatbot.OnC2CSignalMessage",
    ContentResultNotify(content::ResultNotify) = "ContentCallback.ResultNotify",
    FollowAfterFollowAdd(follow::AfterFollowAdd) = "Follow.CallbackAfterFollowAdd",
    FollowAfterFollowDelete(follow::AfterFollowDelete) = "Follow.CallbackAfterFollowDelete",
    GroupAfterChangeGroupOwner(group::AfterChangeGroupOwner) = "Group.CallbackAfterChangeGroupOwner",
    GroupAfterCreateGroup(group::AfterCreateGroup) = "Group.CallbackAfterCreateGroup",
    GroupAfterCreateTopic(group::AfterCreateTopic) = "Group.CallbackAfterCreateTopic",
    GroupAfterGroupAttrChanged(group::AfterGroupAttrChanged) = "Group.CallbackAfterGroupAttrChanged",
    GroupAfterGroupDestroyed(group::AfterGroupDestroyed) = "Group.CallbackAfterGroupDestroyed",
    GroupAfterGroupFull(group::AfterGroupFull) = "Group.CallbackAfterGroupFull",
    GroupAfterGroupInfoChanged(group::AfterGroupInfoChanged) = "Group.CallbackAfterGroupInfoChanged",
    GroupAfterGroupMsgExtension(group::AfterGroupMsgExtension) = "Group.CallbackAfterGroupMsgExtension",
    GroupAfterMemberExit(group::AfterMemberExit) = "Group.CallbackAfterMemberExit",
    GroupAfterMemberFieldChanged(group::AfterMemberFieldChanged) = "Group.CallbackAfterMemberFieldChanged",
    GroupAfterModifyMsg(group::AfterModifyMsg) = "Group.CallbackAfterModifyMsg",
    GroupAfterNewMemberJoin(group::AfterNewMemberJoin) = "Group.CallbackAfterNewMemberJoin",
    GroupAfterReadReceipt(group::AfterReadReceipt) = "Group.CallbackAfterReadReceipt",
    GroupAfterRecallMsg(group::AfterRecallMsg) = "Group.CallbackAfterRecallMsg",
    GroupAfterSendMsg(group::AfterSendMsg) = "Group.CallbackAfterSendMsg",
    GroupAfterTopicDestroyed(group::AfterTopicDestroyed) = "Group.CallbackAfterTopicDestroyed",
    GroupAfterTopicInfoChanged(group::AfterTopicInfoChanged) = "Group.CallbackAfterTopicInfoChanged",
    GroupBeforeApplyJoinGroup(group::BeforeApplyJoinGroup) = "Group.CallbackBeforeApplyJoinGroup",
    GroupBeforeCreateGroup(group::BeforeCreateGroup) = "Group.CallbackBeforeCreateGroup",
    GroupBeforeCreateTopic(group::BeforeCreateTopic) = "Group.CallbackBeforeCreateTopic",
    GroupBeforeInviteJoinGroup(group::BeforeInviteJoinGroup) = "Group.CallbackBeforeInviteJoinGroup",
    GroupBeforeSendMsg(group::BeforeSendMsg) = "Group.CallbackBeforeSendMsg",
    GroupOnDailyGroupQuotaAlarm(group::OnDailyGroupQuotaAlarm) = "Group.CallbackOnDailyGroupQuotaAlarm",
    GroupOnMemberStateChange(group::OnMemberStateChange) = "Group.CallbackOnMemberStateChange",
    GroupSendMsgException(group::SendMsgException) = "Group.CallbackSendMsgException",
    OfficialAccountAfterAddSubscriber(official_account::AfterAddSubscriber) = "OfficialAccount.CallbackAfterAddSubscriber",
    OfficialAccountAfterCreateOfficialAccount(official_account::AfterCreateOfficialAccount) = "OfficialAccount.CallbackAfterCreateOfficialAccount",
    OfficialAccountAfterDeleteSubscriber(official_account::AfterDeleteSubscriber) = "OfficialAccount.CallbackAfterDeleteSubscriber",
    OfficialAccountAfterMsgWithDraw(official_account::AfterMsgWithDraw) = "OfficialAccount.CallbackAfterMsgWithDraw",
    OfficialAccountAfterOfficialAccountDestroyed(official_account::AfterOfficialAccountDestroyed) = "OfficialAccount.CallbackAfterOfficialAccountDestroyed",
    OfficialAccountAfterOfficialAccountFull(official_account::AfterOfficialAccountFull) = "OfficialAccount.CallbackAfterOfficialAccountFull",
    OfficialAccountAfterOfficialAccountInfoChanged(official_account::AfterOfficialAccountInfoChanged) = "OfficialAccount.CallbackAfterOfficialAccountInfoChanged",
    OfficialAccountAfterSendMsg(official_account::AfterSendMsg) = "OfficialAccount.CallbackAfterSendMsg",
    OfficialAccountBeforeAddSubscriber(official_account::BeforeAddSubscriber) = "OfficialAccount.CallbackBeforeAddSubscriber",
    OfficialAccountBeforeCreateOfficialAccount(official_account::BeforeCreateOfficialAccount) = "OfficialAccount.CallbackBeforeCreateOfficialAccount",
    OfficialAccountBeforeSendMsg(official_account::BeforeSendMsg) = "OfficialAccount.CallbackBeforeSendMsg",
    ProfilePortraitSet(profile::PortraitSet) = "Profile.CallbackPortraitSet",
    PushAllMemberPush(push::AllMemberPush) = "Push.AllMemberPush",
    PushOfflinePush(push::OfflinePush) = "Push.OfflinePush",
    SnsBlackListAdd(sns::BlackListAdd) = "Sns.CallbackBlackListAdd",
    SnsBlackListDelete(sns::BlackListDelete) = "Sns.CallbackBlackListDelete",
    SnsFriendAdd(sns::FriendAdd) = "Sns.CallbackFriendAdd",
    SnsFriendDelete(sns::FriendDelete) = "Sns.CallbackFriendDelete",
    SnsPrevFriendAdd(sns::PrevFriendAdd) = "Sns.CallbackPrevFriendAdd",
    SnsPrevFriendResponse(sns::PrevFriendResponse) = "Sns.CallbackPrevFriendResponse",
    StateStateChange(state::StateChange) = "State.StateChange",
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Text, c2c::AfterC2CMsgExtension};

    #[test]
    fn nothing_of_a_body_is_lost() {
        let body = r#"{"CallbackCommand":"x","Seq":"7","MsgKey":null,"New":{"a":[1,null]},
            "ExtensionList":[{"Key":"k","Newer":1.1}],"OperateType":9}"#;
        let typed: AfterC2CMsgExtension<'_> = decode(body.as_bytes()).unwrap();
        assert_eq!(typed.seq, Some(7));
        assert!(typed.callback_command.as_ref().is_some_and(Text::is_borrowed));
        assert_eq!(
            serde_json::to_string(&typed).unwrap(),
            r#"{"CallbackCommand":"x","OperateType":9,"ExtensionList":[{"Key":"k","Newer":1.1}],"Seq":7,"New":{"a":[1,null]}}"#
        );
        let survey = typed.survey();
        assert_eq!(survey.unknown, ["ExtensionList[0].Newer", "New"]);
        assert_eq!(
            survey.absent,
            ["From_Account", "To_Account", "MsgKey", "ExtensionList[0].Value", "ExtensionList[0].Seq", "EventTime"]
        );
    }

    #[test]
    fn each_command_has_its_type() {
        for info in crate::commands() {
            let body = Body::decode(info.name, info.sample.as_bytes()).unwrap().unwrap();
            assert_eq!(body.command(), info.name);
        }
        assert_eq!(Body::decode("Live.CallbackAfterCreateRoom", b"no JSON").unwrap(), None);
    }
}
