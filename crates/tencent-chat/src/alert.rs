//! Alarms about the app's use of Tencent's servers.

use crate::{Text, packet::packet};

packet! {
    /// The app calls a server API nearly as often as it may: at more than 80 % of the limit. It comes without being
    /// switched on, and nothing in it says when.
    ///
    /// <https://www.tencentcloud.com/document/product/1047/60256>
    pub struct RequestOverLimit<'a>: "Alert.RequestOverLimit" {
        /// The service inside Tencent that has the API.
        pub service_name: Option<Text<'a>> = "ServiceName",
        /// The API that is called.
        pub command: Option<Text<'a>> = "Command",
        /// Calls per second.
        pub request: Option<i64> = "Request",
        /// Calls per second that are allowed.
        pub limit: Option<i64> = "Limit",
    }
}
