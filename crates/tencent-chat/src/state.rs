//! Users who come online and go offline.

use crate::{Text, open::open_enum, packet::packet};

packet! {
    /// A user logged in, logged out or lost the connection. Newer pages name further causes, such as a status of the
    /// user's own, but not what the packet then holds.
    ///
    /// Who goes silent is reported up to 400 seconds later; who is back before that is not reported at all.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/34357>
    pub struct StateChange<'a>: "State.StateChange" {
        /// What happened to whom.
        pub info: Option<StateInfo<'a>> = "Info",
        /// Other devices that this login has logged out; absent, not empty, if there are none.
        pub kicked_device: Option<Vec<KickedDevice>> = "KickedDevice",
        /// When it happened, in Unix milliseconds.
        pub event_time: Option<i64> = "EventTime",
    }
}

packet! {
    /// What happened to whom.
    pub struct StateInfo<'a> {
        /// What happened.
        pub action: Option<Action> = "Action",
        /// The user.
        pub to_account: Option<Text<'a>> = "To_Account",
        /// What made it happen.
        pub reason: Option<Reason> = "Reason",
    }
}

packet! {
    /// A device that was logged out because the user logged in on another.
    pub struct KickedDevice {
        /// What it runs.
        pub platform: Option<Platform> = "Platform",
    }
}

open_enum! {
    /// What happened to a user.
    pub enum Action {
        /// Came online.
        Login = "Login",
        /// Went offline.
        Logout = "Logout",
        /// Lost the connection.
        Disconnect = "Disconnect",
    }
}

open_enum! {
    /// What made a user's state change.
    pub enum Reason {
        /// The client logged in; with [`Action::Login`].
        Register = "Register",
        /// The client logged out; with [`Action::Logout`].
        Unregister = "Unregister",
        /// The connection was closed, or lost and missed soon; with [`Action::Disconnect`].
        LinkClose = "LinkClose",
        /// Nothing was heard for 400 seconds; with [`Action::Disconnect`].
        TimeOut = "TimeOut",
    }
}

open_enum! {
    /// What a device runs, also by the words of the query's `OptPlatform`.
    pub enum Platform {
        /// The REST API: no device at all.
        RestApi = "RESTAPI",
        /// A browser.
        Web = "Web",
        /// Android.
        Android = "Android",
        /// iOS; in capitals in the query of this command alone.
        Ios(Spelling) = "iOS" | "IOS",
        /// Windows.
        Windows = "Windows",
        /// macOS, by either name.
        Mac(Spelling) = "Mac" | "macOS",
        /// iPadOS.
        IPad = "iPad",
        /// Linux.
        Linux = "Linux",
        /// Tencent does not know.
        Unknown = "Unknown",
    }
}
