//! A dispatcher with four plugins of its own beside the bundled ones.

use std::process::ExitCode;

fn main() -> ExitCode {
    dispatcher::run(
        dispatcher::plugins! { handler_invitation_policy, handler_moderation, handler_new_member, sink_tcp },
    )
}
