//! Friends and blocklists.

use crate::{Text, open::open_enum, packet::packet};

packet! {
    /// A client asks to add friends. The reply decides about each of them by itself; its own code refuses nobody.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/43468>
    pub struct PrevFriendAdd<'a>: "Sns.CallbackPrevFriendAdd" {
        /// Who asks. Group applications spell it `Requestor_Account`.
        pub requester_account: Option<Text<'a>> = "Requester_Account",
        /// Whose friends they are to be.
        pub from_account: Option<Text<'a>> = "From_Account",
        /// Who is to be added.
        pub friend_item: Option<Vec<FriendItem<'a>>> = "FriendItem",
        /// Whether both get each other as friends.
        pub add_type: Option<AddType> = "AddType",
        /// 1: an administrator adds them, whatever they want; 0: as usual.
        pub force_add_flags: Option<i64> = "ForceAddFlags",
        /// When it happened, in Unix milliseconds.
        pub event_time: Option<i64> = "EventTime",
    }
}

packet! {
    /// Somebody who is to be added as a friend.
    pub struct FriendItem<'a> {
        /// The account.
        pub to_account: Option<Text<'a>> = "To_Account",
        /// What the one who asks calls them.
        pub remark: Option<Text<'a>> = "Remark",
        /// The list of friends that they go into; in an answer it is called `TagName`.
        pub group_name: Option<Text<'a>> = "GroupName",
        /// Where they were found: `AddSource_Type_…`, with an ending of the app's own.
        pub add_source: Option<Text<'a>> = "AddSource",
        /// What they are told with the request.
        pub add_wording: Option<Text<'a>> = "AddWording",
    }
}

packet! {
    /// A client is about to answer friend requests. The reply decides about each answer by itself; its own code refuses
    /// nothing.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/43467>
    pub struct PrevFriendResponse<'a>: "Sns.CallbackPrevFriendResponse" {
        /// Who asks for this: the one who answers, by the sample; the pages disagree.
        pub requester_account: Option<Text<'a>> = "Requester_Account",
        /// Who answers.
        pub from_account: Option<Text<'a>> = "From_Account",
        /// The answers.
        pub response_friend_item: Option<Vec<ResponseFriendItem<'a>>> = "ResponseFriendItem",
        /// When it happened, in Unix milliseconds.
        pub event_time: Option<i64> = "EventTime",
    }
}

packet! {
    /// An answer to one friend request.
    pub struct ResponseFriendItem<'a> {
        /// Whose request it was.
        pub to_account: Option<Text<'a>> = "To_Account",
        /// What the one who answers calls them.
        pub remark: Option<Text<'a>> = "Remark",
        /// The list of friends that they go into; in a request it is called `GroupName`.
        pub tag_name: Option<Text<'a>> = "TagName",
        /// What the answer is.
        pub response_action: Option<ResponseAction> = "ResponseAction",
    }
}

packet! {
    /// Users have become friends. Nothing in the packet says when, or tells it from an equal one.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/34359>
    pub struct FriendAdd<'a>: "Sns.CallbackFriendAdd" {
        /// Whose lists of friends have changed, and by whom.
        pub pair_list: Option<Vec<FriendPair<'a>>> = "PairList",
        /// What the client did.
        pub client_cmd: Option<ClientCmd> = "ClientCmd",
        /// The administrator who did it by the REST API; else empty.
        pub admin_account: Option<Text<'a>> = "Admin_Account",
        /// 1: whatever they wanted; 0: as usual. The before callback calls it `ForceAddFlags`.
        pub force_flag: Option<i64> = "ForceFlag",
    }
}

packet! {
    /// A list of friends that somebody was added to.
    pub struct FriendPair<'a> {
        /// Whose list it is.
        pub from_account: Option<Text<'a>> = "From_Account",
        /// Who was added.
        pub to_account: Option<Text<'a>> = "To_Account",
        /// Who asked for the friendship.
        pub initiator_account: Option<Text<'a>> = "Initiator_Account",
    }
}

packet! {
    /// Users are no longer friends. Nothing in the packet says when, or tells it from an equal one.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/34360>
    pub struct FriendDelete<'a>: "Sns.CallbackFriendDelete" {
        /// Whose lists of friends have changed, and by whom.
        pub pair_list: Option<Vec<Pair<'a>>> = "PairList",
    }
}

packet! {
    /// Users were put on blocklists. Nothing in the packet says when, or tells it from an equal one.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/34361>
    pub struct BlackListAdd<'a>: "Sns.CallbackBlackListAdd" {
        /// Whose blocklists have changed, and by whom.
        pub pair_list: Option<Vec<Pair<'a>>> = "PairList",
    }
}

packet! {
    /// Users were taken off blocklists. Nothing in the packet says when, or tells it from an equal one.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/34362>
    pub struct BlackListDelete<'a>: "Sns.CallbackBlackListDelete" {
        /// Whose blocklists have changed, and by whom.
        pub pair_list: Option<Vec<Pair<'a>>> = "PairList",
    }
}

packet! {
    /// One account on another's list.
    pub struct Pair<'a> {
        /// Whose list it is.
        pub from_account: Option<Text<'a>> = "From_Account",
        /// Who was put on it or taken off it.
        pub to_account: Option<Text<'a>> = "To_Account",
    }
}

open_enum! {
    /// Whether both get each other as friends.
    pub enum AddType {
        /// Only one gets the other.
        Single = "Add_Type_Single",
        /// Both do.
        Both = "Add_Type_Both",
    }
}

open_enum! {
    /// The answer to a friend request.
    pub enum ResponseAction {
        /// Yes, and the other way round too.
        AgreeAndAdd = "Response_Action_AgreeAndAdd",
        /// Yes.
        Agree = "Response_Action_Agree",
        /// No.
        Reject = "Response_Action_Reject",
    }
}

open_enum! {
    /// What made two users friends.
    pub enum ClientCmd {
        /// A request that needed no answer.
        FriendAdd(Spelling) = "friend_add" | "FriendAdd",
        /// An answer that said yes.
        FriendResponse(Spelling) = "friend_response" | "FriendResponse",
    }
}
