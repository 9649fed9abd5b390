//! A dispatcher that names a crate as a plugin from which nothing registers.

use std::process::ExitCode;

fn main() -> ExitCode {
    dispatcher::run(dispatcher::plugins! { tencent_chat })
}
