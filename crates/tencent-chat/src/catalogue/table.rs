//! The catalogue's rows, one per command, sorted by name.
//!
//! A row: name, phase, kind of reply, category; title; page; where the key is and which fields tell two happenings
//! apart; and, where the command is not repeated at the top of the body, where it is.

use super::{CommandInBody, CommandInfo, OrderKey, Phase, ReplyKind};
use crate::path::at;

macro_rules! row {
    (
        $name:literal $phase:ident $reply:ident $category:literal
        $title:literal
        $doc:literal
        key($($key:tt)*)
        tells_apart($($field:ident $([$($index:tt)?])? $(.$leaf:ident)?),*)
        $(command_in_body($place:ident))?
    ) => {
        CommandInfo {
            name: $name,
            category: $category,
            phase: Phase::$phase,
            reply: ReplyKind::$reply,
            title: $title,
            doc: $doc,
            command_in_body: command_in_body!($($place)?),
            order_key: order_key!($($key)*),
            tells_apart: &[$(at!($field $([$($index)?])? $(.$leaf)?)),*],
            sample: include_str!(concat!("../../samples/", $name, ".json")),
        }
    };
}

macro_rules! order_key {
    () => {
        OrderKey::None
    };
    ($one:ident | $other:ident) => {
        OrderKey::Pair(at!($one), at!($other))
    };
    ($($path:tt)+) => {
        OrderKey::Field(at!($($path)+))
    };
}

macro_rules! command_in_body {
    () => {
        CommandInBody::TopLevel
    };
    ($place:ident) => {
        CommandInBody::$place
    };
}

pub(super) static COMMANDS: &[CommandInfo] = &[
    row! {
        "Alert.RequestOverLimit" After Ack "operations"
        "calls of a server API come close to its rate limit"
        "https://www.tencentcloud.com/document/product/1047/60256"
        key() tells_apart()
    },
    row! {
        "Bot.OnC2CMessage" After Ack "bot"
        "a user wrote to a bot"
        "https://www.tencentcloud.com/document/product/1047/68952"
        key(From_Account | To_Account) tells_apart(MsgSeq, MsgRandom, MsgKey, MsgId, EventTime)
    },
    row! {
        "Bot.OnGroupMessage" After Ack "bot"
        "a bot was mentioned in a group"
        "https://www.tencentcloud.com/document/product/1047/68953"
        key(GroupId) tells_apart(Random, MsgSeq, EventTime)
    },
    row! {
        "C2C.CallbackAfterC2CMsgExtension" After Ack "c2c"
        "key-value extensions of a one-to-one message changed"
        "https://www.tencentcloud.com/document/product/1047/76006"
        key(From_Account | To_Account) tells_apart(Seq, EventTime)
    },
    row! {
        "C2C.CallbackAfterModifyMsg" After Ack "c2c"
        "a one-to-one message was edited"
        "https://cloud.tencent.com/document/product/269/128224"
        key(From_Account | To_Account) tells_apart(EventTime)
    },
    row! {
        "C2C.CallbackAfterMsgReadAll" After Ack "c2c"
        "a user cleared all unread counts, those of groups included"
        "https://cloud.tencent.com/document/product/269/128225"
        key(Report_Account) tells_apart(EventTime)
    },
    row! {
        "C2C.CallbackAfterMsgReadReceipt" After Ack "c2c"
        "single one-to-one messages were confirmed as read"
        "https://cloud.tencent.com/document/product/269/128223"
        key(Operator_Account | Peer_Account) tells_apart(C2CMsgInfo[].MsgKey, C2CMsgInfo[].MsgId, EventTime)
    },
    row! {
        "C2C.CallbackAfterMsgReport" After Ack "c2c"
        "a user has read a conversation"
        "https://www.tencentcloud.com/document/product/1047/43465"
        key(Report_Account | Peer_Account) tells_apart(LastReadTime, EventTime)
    },
    row! {
        "C2C.CallbackAfterMsgWithDraw" After Ack "c2c"
        "a one-to-one message was recalled"
        "https://www.tencentcloud.com/document/product/1047/43466"
        key(From_Account | To_Account) tells_apart(MsgKey, EventTime)
    },
    row! {
        "C2C.CallbackAfterSendMsg" After Ack "c2c"
        "a one-to-one message was handled, delivered or not"
        "https://www.tencentcloud.com/document/product/1047/34365"
        key(From_Account | To_Account) tells_apart(MsgSeq, MsgRandom, MsgKey, MsgId, EventTime)
    },
    row! {
        "C2C.CallbackBeforeSendMsg" Before Decision "c2c"
        "a user wants to send a one-to-one message"
        "https://www.tencentcloud.com/document/product/1047/34364"
        key(From_Account | To_Account) tells_apart()
    },
    row! {
        "Chatbot.OnC2CSignalMessage" After Decision "bot"
        "a user sent a bot a passthrough message, and the reply goes to the bot"
        "https://www.tencentcloud.com/document/product/1047/59057"
        key(From_Account | To_Account) tells_apart(MsgSeq, MsgRandom, MsgKey, EventTime)
    },
    row! {
        "ContentCallback.ResultNotify" After Ack "moderation"
        "content moderation came to a result"
        "https://trtc.io/zh/document/78240"
        key(CtxcbRequestId) tells_apart(CtxcbRequestId)
        command_in_body(Nowhere)
    },
    row! {
        "Follow.CallbackAfterFollowAdd" After Ack "follow"
        "a user follows others"
        "https://www.tencentcloud.com/document/product/1047/70355"
        key(From_Account) tells_apart(EventTime)
    },
    row! {
        "Follow.CallbackAfterFollowDelete" After Ack "follow"
        "a user stopped following others"
        "https://www.tencentcloud.com/document/product/1047/70356"
        key(From_Account) tells_apart(EventTime)
    },
    row! {
        "Group.CallbackAfterChangeGroupOwner" After Ack "group"
        "a group has a new owner"
        "https://www.tencentcloud.com/document/product/1047/60396"
        key(GroupId) tells_apart(EventTime)
    },
    row! {
        "Group.CallbackAfterCreateGroup" After Ack "group"
        "a group was created"
        "https://www.tencentcloud.com/document/product/1047/34369"
        key(GroupId) tells_apart(EventTime)
    },
    row! {
        "Group.CallbackAfterCreateTopic" After Ack "group-topic"
        "a topic was created"
        "https://www.tencentcloud.com/document/product/1047/49464"
        key(GroupId) tells_apart()
    },
    row! {
        "Group.CallbackAfterGroupAttrChanged" After Ack "group"
        "custom attributes of a group changed"
        "https://www.tencentcloud.com/document/product/1047/60394"
        key(GroupId) tells_apart(EventTime)
    },
    row! {
        "Group.CallbackAfterGroupDestroyed" After Ack "group"
        "a group was disbanded"
        "https://www.tencentcloud.com/document/product/1047/34377"
        key(GroupId) tells_apart(EventTime)
    },
    row! {
        "Group.CallbackAfterGroupFull" After Ack "group"
        "a group is full"
        "https://www.tencentcloud.com/document/product/1047/34376"
        key(GroupId) tells_apart(EventTime)
    },
    row! {
        "Group.CallbackAfterGroupInfoChanged" After Ack "group"
        "name, introduction, notice or picture of a group changed"
        "https://www.tencentcloud.com/document/product/1047/34378"
        key(GroupId) tells_apart(EventTime)
    },
    row! {
        "Group.CallbackAfterGroupMsgExtension" After Ack "group"
        "key-value extensions of a group message changed"
        "https://www.tencentcloud.com/document/product/1047/76007"
        key(GroupId) tells_apart(Seq, EventTime)
    },
    row! {
        "Group.CallbackAfterMemberExit" After Ack "group"
        "members left a group or were removed"
        "https://www.tencentcloud.com/document/product/1047/34373"
        key(GroupId) tells_apart(EventTime)
    },
    row! {
        "Group.CallbackAfterMemberFieldChanged" After Ack "group"
        "role or name card of a group member changed"
        "https://www.tencentcloud.com/document/product/1047/60393"
        key(GroupId) tells_apart(EventTime)
    },
    row! {
        "Group.CallbackAfterModifyMsg" After Ack "group"
        "a group message was edited"
        "https://cloud.tencent.com/document/product/269/129193"
        key(GroupId) tells_apart(EventTime)
    },
    row! {
        "Group.CallbackAfterNewMemberJoin" After Ack "group"
        "members joined a group"
        "https://www.tencentcloud.com/document/product/1047/34372"
        key(GroupId) tells_apart(EventTime)
    },
    row! {
        "Group.CallbackAfterReadReceipt" After Ack "group"
        "group messages were confirmed as read"
        "https://www.tencentcloud.com/document/product/1047/60395"
        key(GroupId) tells_apart(GroupMsgReceiptList[].MsgSeq, EventTime)
    },
    row! {
        "Group.CallbackAfterRecallMsg" After Ack "group"
        "group messages were recalled"
        "https://www.tencentcloud.com/document/product/1047/46979"
        key(GroupId) tells_apart(MsgSeqList[].MsgSeq, MsgSeqList[].MsgId, EventTime)
    },
    row! {
        "Group.CallbackAfterSendMsg" After Ack "group"
        "a group message was delivered"
        "https://www.tencentcloud.com/document/product/1047/34375"
        key(GroupId) tells_apart(Random, MsgId, MsgSeq, EventTime)
    },
    row! {
        "Group.CallbackAfterTopicDestroyed" After Ack "group-topic"
        "topics were deleted"
        "https://www.tencentcloud.com/document/product/1047/49465"
        key(GroupId) tells_apart()
    },
    row! {
        "Group.CallbackAfterTopicInfoChanged" After Ack "group-topic"
        "name, introduction, notice or picture of a topic changed"
        "https://www.tencentcloud.com/document/product/1047/49466"
        key(GroupId) tells_apart()
    },
    row! {
        "Group.CallbackBeforeApplyJoinGroup" Before Decision "group"
        "a user applies to join a group"
        "https://www.tencentcloud.com/document/product/1047/34370"
        key(GroupId) tells_apart()
    },
    row! {
        "Group.CallbackBeforeCreateGroup" Before Decision "group"
        "a user wants to create a group"
        "https://www.tencentcloud.com/document/product/1047/34368"
        key(Owner_Account) tells_apart()
    },
    row! {
        "Group.CallbackBeforeCreateTopic" Before Decision "group-topic"
        "a user wants to create a topic"
        "https://www.tencentcloud.com/document/product/1047/49463"
        key(Operator_Account) tells_apart()
    },
    row! {
        "Group.CallbackBeforeInviteJoinGroup" Before Decision "group"
        "a user wants to bring others into a group"
        "https://www.tencentcloud.com/document/product/1047/34371"
        key(GroupId) tells_apart()
    },
    row! {
        "Group.CallbackBeforeSendMsg" Before Decision "group"
        "a user wants to send a group message"
        "https://www.tencentcloud.com/document/product/1047/34374"
        key(GroupId) tells_apart()
    },
    row! {
        "Group.CallbackOnDailyGroupQuotaAlarm" After Ack "group"
        "the new groups of a day come close to the quota"
        "https://www.tencentcloud.com/document/product/1047/57455"
        key() tells_apart(EventTime)
    },
    row! {
        "Group.CallbackOnMemberStateChange" After Ack "group"
        "members of an audio-video group went online or offline"
        "https://www.tencentcloud.com/document/product/1047/48734"
        key(GroupId) tells_apart(EventTime)
    },
    row! {
        "Group.CallbackSendMsgException" After Ack "group"
        "a group message could not be delivered"
        "https://www.tencentcloud.com/document/product/1047/49462"
        key(GroupId) tells_apart(Random, EventTime)
    },
    row! {
        "OfficialAccount.CallbackAfterAddSubscriber" After Ack "official-account"
        "users subscribed to an official account"
        "https://www.tencentcloud.com/document/product/1047/60800"
        key(Official_Account) tells_apart(EventTime)
    },
    row! {
        "OfficialAccount.CallbackAfterCreateOfficialAccount" After Ack "official-account"
        "an official account was created"
        "https://www.tencentcloud.com/document/product/1047/60796"
        key(Official_Account) tells_apart(EventTime)
    },
    row! {
        "OfficialAccount.CallbackAfterDeleteSubscriber" After Ack "official-account"
        "users no longer subscribe to an official account"
        "https://www.tencentcloud.com/document/product/1047/60802"
        key(Official_Account) tells_apart(EventTime)
    },
    row! {
        "OfficialAccount.CallbackAfterMsgWithDraw" After Ack "official-account"
        "messages of an official account were recalled"
        "https://www.tencentcloud.com/document/product/1047/60805"
        key(Official_Account) tells_apart(WithdrawMsgList[].MsgKey, EventTime)
    },
    row! {
        "OfficialAccount.CallbackAfterOfficialAccountDestroyed" After Ack "official-account"
        "an official account was deleted"
        "https://www.tencentcloud.com/document/product/1047/60798"
        key(Official_Account) tells_apart(EventTime)
    },
    row! {
        "OfficialAccount.CallbackAfterOfficialAccountFull" After Ack "official-account"
        "an official account has all the subscribers it may have"
        "https://www.tencentcloud.com/document/product/1047/60801"
        key(Official_Account) tells_apart(EventTime)
    },
    row! {
        "OfficialAccount.CallbackAfterOfficialAccountInfoChanged" After Ack "official-account"
        "the profile of an official account changed"
        "https://www.tencentcloud.com/document/product/1047/60797"
        key(Official_Account) tells_apart(EventTime)
    },
    row! {
        "OfficialAccount.CallbackAfterSendMsg" After Ack "official-account"
        "an official account sent a message to its subscribers"
        "https://www.tencentcloud.com/document/product/1047/60804"
        key(Official_Account) tells_apart(MsgKey, EventTime)
    },
    row! {
        "OfficialAccount.CallbackBeforeAddSubscriber" Before Decision "official-account"
        "users want to subscribe to an official account"
        "https://www.tencentcloud.com/document/product/1047/60799"
        key(Official_Account) tells_apart()
    },
    row! {
        "OfficialAccount.CallbackBeforeCreateOfficialAccount" Before Decision "official-account"
        "an official account is about to be created"
        "https://www.tencentcloud.com/document/product/1047/60795"
        key(Owner_Account) tells_apart()
    },
    row! {
        "OfficialAccount.CallbackBeforeSendMsg" Before Decision "official-account"
        "an official account wants to send a message to its subscribers"
        "https://www.tencentcloud.com/document/product/1047/60803"
        key(Official_Account) tells_apart()
    },
    row! {
        "Profile.CallbackPortraitSet" After Ack "profile"
        "a user's profile changed"
        "https://www.tencentcloud.com/document/product/1047/48733"
        key(From_Account) tells_apart(EventTime)
    },
    row! {
        "Push.AllMemberPush" After Ack "push"
        "pushes to all users, to a tag or to single users were sent, reached a device or were opened"
        "https://www.tencentcloud.com/document/product/1047/67551"
        key() tells_apart(Events[].TaskId, Events[].EventTime)
        command_in_body(EachEvent)
    },
    row! {
        "Push.OfflinePush" After Ack "push"
        "pushes of ordinary messages were sent, reached a device or were opened"
        "https://www.tencentcloud.com/document/product/1047/67552"
        key() tells_apart(Events[].EventTime, Events[].MsgKey, Events[].MsgSeq, Events[].MsgRandom)
        command_in_body(EachEvent)
    },
    row! {
        "Sns.CallbackBlackListAdd" After Ack "relationship"
        "users were put on a blocklist"
        "https://www.tencentcloud.com/document/product/1047/34361"
        key(PairList[0].From_Account) tells_apart()
    },
    row! {
        "Sns.CallbackBlackListDelete" After Ack "relationship"
        "users were taken off a blocklist"
        "https://www.tencentcloud.com/document/product/1047/34362"
        key(PairList[0].From_Account) tells_apart()
    },
    row! {
        "Sns.CallbackFriendAdd" After Ack "relationship"
        "friends were added"
        "https://www.tencentcloud.com/document/product/1047/34359"
        key(PairList[0].From_Account) tells_apart()
    },
    row! {
        "Sns.CallbackFriendDelete" After Ack "relationship"
        "friends were removed"
        "https://www.tencentcloud.com/document/product/1047/34360"
        key(PairList[0].From_Account) tells_apart()
    },
    row! {
        "Sns.CallbackPrevFriendAdd" Before Decision "relationship"
        "a user wants to add friends"
        "https://www.tencentcloud.com/document/product/1047/43468"
        key(From_Account) tells_apart()
    },
    row! {
        "Sns.CallbackPrevFriendResponse" Before Decision "relationship"
        "a user wants to answer friend requests"
        "https://www.tencentcloud.com/document/product/1047/43467"
        key(From_Account) tells_apart()
    },
    row! {
        "State.StateChange" After Ack "state"
        "a user went online or offline"
        "https://www.tencentcloud.com/document/product/1047/34357"
        key(Info.To_Account) tells_apart(EventTime)
    },
];
