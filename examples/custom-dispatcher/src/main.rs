//! A dispatcher with two plugins of its own beside the bundled ones.

use std::process::ExitCode;

fn main() -> ExitCode {
    dispatcher::run(dispatcher::plugins! { handler_new_member, sink_tcp })
}
