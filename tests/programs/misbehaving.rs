//! A dispatcher with plugins that do what a test's configuration tells them to.

use std::process::ExitCode;

fn main() -> ExitCode {
    dispatcher::run(dispatcher::plugins! { dispatcher_testkit })
}
