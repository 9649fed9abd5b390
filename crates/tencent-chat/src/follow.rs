//! Who follows whom.

use crate::{Text, packet::packet};

packet! {
    /// A user follows others.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/70355>
    pub struct AfterFollowAdd<'a>: "Follow.CallbackAfterFollowAdd" {
        /// Who follows.
        pub from_account: Option<Text<'a>> = "From_Account",
        /// Who is followed now.
        pub follow_list: Option<Vec<Followed<'a>>> = "FollowList",
        /// When it happened, in Unix milliseconds.
        pub event_time: Option<i64> = "EventTime",
    }
}

packet! {
    /// Somebody who is followed.
    pub struct Followed<'a> {
        /// The account.
        pub to_account: Option<Text<'a>> = "To_Account",
    }
}

packet! {
    /// A user no longer follows others.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/70356>
    pub struct AfterFollowDelete<'a>: "Follow.CallbackAfterFollowDelete" {
        /// Who followed.
        pub from_account: Option<Text<'a>> = "From_Account",
        /// Who is no longer followed: several accounts, though the name is that of one everywhere else.
        pub to_accounts: Option<Vec<Text<'a>>> = "To_Account",
        /// When it happened, in Unix milliseconds.
        pub event_time: Option<i64> = "EventTime",
    }
}
