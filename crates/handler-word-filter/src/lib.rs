//! Decides about messages by words and regular expressions: refuses them, masks what was found, or drops them.
//!
//! Every text of a message is looked at, in merged messages as well. Case, width and the like make no difference unless the
//! settings say so.

mod config;
mod fold;
mod handler;
mod list;
mod matcher;
mod reading;

use dispatcher_core::handler;

use crate::config::WordFilterConfig;

inventory::submit! {
    handler!(
        WordFilterConfig,
        "word-filter",
        ["C2C.CallbackBeforeSendMsg", "Group.CallbackBeforeSendMsg", "OfficialAccount.CallbackBeforeSendMsg"],
        role = decide,
    )
}
