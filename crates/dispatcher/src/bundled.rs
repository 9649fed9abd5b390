//! The plugins that every dispatcher has. A line here, and one in `Cargo.toml`, is all that bundles one.

use crate::Plugins;

/// The bundled plugins.
pub(crate) fn bundled() -> Plugins {
    crate::plugins! {
        handler_endpoint,
        handler_forward,
        handler_group_attribute_changed,
        handler_loop_guard,
        handler_word_filter,
        sink_file,
        sink_http,
        sink_log,
    }
}
