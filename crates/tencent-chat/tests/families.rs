//! What the fields of the families mean, on samples and on variants of them.
#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers as well")]

use tencent_chat::{
    TypedBody, command, decode,
    group::{
        AfterGroupAttrChanged, AfterGroupDestroyed, AfterGroupInfoChanged, AfterMemberExit, AfterMemberFieldChanged,
        AfterModifyMsg, AfterReadReceipt, AfterSendMsg, BeforeSendMsg, ExitType, GroupType, MemberState,
        MemberStateCause, OnMemberStateChange, OptionType, Role, SendMsgException,
    },
    push::{AllMemberPush, ChatKind, OfflinePush, PushKind, PushPlatform, PushStage},
    sns::{AddType, ClientCmd, FriendAdd, PrevFriendAdd, PrevFriendResponse, ResponseAction},
    state::{Action, Platform, Reason, StateChange},
};

/// The sample of its command.
fn sample<T: TypedBody<'static>>() -> T {
    decode(command(T::COMMAND).unwrap().sample.as_bytes()).unwrap()
}

#[test]
fn a_push_is_a_batch_with_its_times_in_seconds() {
    let events = sample::<OfflinePush<'_>>().events.unwrap();
    let of = |field: fn(&tencent_chat::push::OfflinePushEvent<'_>) -> Option<i64>| -> Vec<_> {
        events.iter().map(|event| field(event).unwrap()).collect()
    };
    assert_eq!(of(|event| event.event_time_s), [1_767_317_101, 1_767_317_102]);
    assert_eq!(of(|event| event.msg_random), [150_927_744, 3_910_457_621]);
    let kinds: Vec<_> = events.iter().map(|event| (event.event_type.unwrap(), event.push_platform.unwrap())).collect();
    assert_eq!(kinds, [(ChatKind::C2C, PushPlatform::Fcm), (ChatKind::Group, PushPlatform::Apns)]);
    assert_eq!((events[0].group_id.as_deref(), events[1].group_id.as_deref()), (None, Some("@TGS#2WALRUSQ7E")));
    assert_eq!((events[0].push_stage, events[1].push_stage), (Some(PushStage::Reached), Some(PushStage::Sent)));

    let events = sample::<AllMemberPush<'_>>().events.unwrap();
    let kinds: Vec<_> = events.iter().map(|event| (event.event_type.unwrap(), event.device_type.unwrap())).collect();
    assert_eq!(kinds, [(PushKind::Offline, PushPlatform::Unknown), (PushKind::Online, PushPlatform::Fcm)]);
}

#[test]
fn a_platform_has_several_spellings_and_keeps_its_own() {
    let body = include_str!("../samples/variants/State.StateChange.kicked.json");
    let state: StateChange<'_> = decode(body.as_bytes()).unwrap();
    let info = state.info.as_ref().unwrap();
    assert_eq!((info.action.clone(), info.reason.clone()), (Some(Action::Login), Some(Reason::Register)));
    let platforms: Vec<_> =
        state.kicked_device.iter().flatten().map(|device| device.platform.clone().unwrap()).collect();
    assert_eq!(platforms, [Platform::from("iOS"), Platform::from("Mac"), Platform::Other("HarmonyOS".to_owned())]);
    assert!(matches!(platforms[..2], [Platform::Ios(_), Platform::Mac(_)]));
    let encoded = serde_json::to_value(&state).unwrap();
    assert_eq!(encoded, serde_json::from_str::<serde_json::Value>(body).unwrap());
}

#[test]
fn no_kicked_devices_are_none_at_all() {
    let body = include_str!("../samples/variants/State.StateChange.disconnect.json");
    let state: StateChange<'_> = decode(body.as_bytes()).unwrap();
    assert_eq!(state.kicked_device, None);
    assert_eq!(state.info.unwrap().reason, Some(Reason::TimeOut));
}

#[test]
fn a_message_may_mention_everybody_and_somebody() {
    let body = include_str!("../samples/variants/Group.CallbackAfterSendMsg.everybody.json");
    let message: AfterSendMsg<'_> = decode(body.as_bytes()).unwrap();
    let mentioned: Vec<_> = message.group_at_info.iter().flatten().collect();
    let mentioned: Vec<_> =
        mentioned.iter().map(|at| (at.group_at_all_flag.unwrap(), at.group_at_account.as_deref())).collect();
    assert_eq!(mentioned, [(1, None), (0, Some("jonas"))]);
    assert_eq!(message.topic_id.as_deref(), Some("@TGS#_ORCHARD4TK@TOPIC#_KELP92"));
    assert_eq!(message.msg_body.unwrap().iter().count(), 1);
    assert_eq!((message.msg_time, message.event_time), (Some(1_767_315_513), Some(1_767_315_513_124)));
}

#[test]
fn a_group_is_of_a_kind_by_the_servers_names() {
    for (name, kind) in [
        ("Private", GroupType::Private),
        ("Public", GroupType::Public),
        ("ChatRoom", GroupType::ChatRoom),
        ("AVChatRoom", GroupType::AvChatRoom),
        ("Community", GroupType::Community),
        ("Live", GroupType::Live),
        ("Meeting", GroupType::Other("Meeting".to_owned())),
    ] {
        let body = format!(r#"{{"CallbackCommand":"Group.CallbackBeforeSendMsg","Type":"{name}"}}"#);
        let message: BeforeSendMsg<'_> = decode(body.as_bytes()).unwrap();
        assert_eq!(message.group_type, Some(kind));
        assert_eq!(serde_json::to_string(&message).unwrap(), body);
    }
}

#[test]
fn event_times_in_quotes_are_numbers() {
    assert_eq!(sample::<BeforeSendMsg<'_>>().event_time, Some(1_767_313_533_925)); // In quotes there,
    assert_eq!(sample::<AfterModifyMsg<'_>>().event_time, Some(1_767_314_331_566)); // not here.
}

#[test]
fn changes_of_a_group_say_what_has_changed() {
    let attributes = sample::<AfterGroupAttrChanged<'_>>();
    assert_eq!(attributes.option_type, Some(OptionType::Modify));
    let pairs: Vec<_> =
        attributes.group_attr.iter().flatten().map(|pair| (pair.key.as_deref(), pair.value.as_deref())).collect();
    assert_eq!(pairs, [(Some("berth"), Some("14a")), (Some("captain"), Some("mara"))]);

    let body = br#"{"GroupId":"crew-north","Introduction":""}"#;
    let info: AfterGroupInfoChanged<'_> = decode(body).unwrap();
    assert_eq!((info.introduction.as_deref(), info.name.as_deref()), (Some(""), None));

    let member = sample::<AfterMemberFieldChanged<'_>>();
    assert_eq!((member.role, member.name_card.as_deref()), (Some(Role::Admin), Some("Jonas, night shift")));
}

#[test]
fn members_come_and_go() {
    assert_eq!(sample::<AfterMemberExit<'_>>().exit_type, Some(ExitType::Kicked));
    let state = sample::<OnMemberStateChange<'_>>();
    assert_eq!(state.event_type, Some(MemberState::Offline));
    assert_eq!(state.event_cause, Some(MemberStateCause::HeartbeatInterrupt));
    let body = include_bytes!("../samples/variants/Group.CallbackAfterGroupDestroyed.community.json");
    assert_eq!(decode::<AfterGroupDestroyed<'_>>(body).unwrap().member_list, None);
}

#[test]
fn receipts_name_readers_only_where_there_are_some() {
    let receipts = sample::<AfterReadReceipt<'_>>().group_msg_receipt_list.unwrap();
    let readers: Vec<_> = receipts.iter().map(|receipt| receipt.read_receipt_members.as_ref().map(Vec::len)).collect();
    assert_eq!(readers, [Some(2), None]);
}

#[test]
fn an_exception_has_an_error_of_its_own() {
    let exception = sample::<SendMsgException<'_>>();
    assert_eq!(exception.error_code, Some(10017));
    assert_eq!(exception.error_info.as_deref(), Some("the sender is muted in this group"));
}

#[test]
fn friends_are_asked_for_answered_and_made() {
    let request = sample::<PrevFriendAdd<'_>>();
    assert_eq!(request.add_type, Some(AddType::Both));
    assert_eq!(request.friend_item.unwrap()[0].group_name.as_deref(), Some("Harbour"));
    let answer = sample::<PrevFriendResponse<'_>>().response_friend_item.unwrap().remove(0);
    assert_eq!(answer.response_action, Some(ResponseAction::AgreeAndAdd));
    assert_eq!(answer.tag_name.as_deref(), Some("Harbour"));
    for (spelling, kind) in [
        ("friend_add", ClientCmd::from("FriendAdd")),
        ("FriendAdd", ClientCmd::from("friend_add")),
        ("FriendResponse", ClientCmd::from("friend_response")),
    ] {
        let body = format!(r#"{{"ClientCmd":"{spelling}"}}"#);
        let made: FriendAdd<'_> = decode(body.as_bytes()).unwrap();
        assert_eq!(made.client_cmd, Some(kind));
        assert_eq!(serde_json::to_string(&made).unwrap(), body);
    }
}
