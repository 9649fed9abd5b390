//! The commands that ask a dispatcher, or its journal: each module has the arguments of a few, asks, and shows the answers.

pub(crate) mod access;
pub(crate) mod args;
pub(crate) mod backtest;
pub(crate) mod consumers;
pub(crate) mod dead_letters;
pub(crate) mod handlers;
pub(crate) mod journal;
pub(crate) mod list;
mod progress;
pub(crate) mod reload;
pub(crate) mod remote;
pub(crate) mod replay;
pub(crate) mod screen;
pub(crate) mod show;
pub(crate) mod status;
pub(crate) mod test;
pub(crate) mod text;

use std::process::ExitCode;

use dispatcher_control::Request;

use access::Place;

/// Asks for a change, and says that it was made.
fn change(place: Place, request: &Request, done: &str) -> Result<ExitCode, String> {
    let mut screen = screen::Screen::new(false);
    let outcome = access::ask(place, request, access::Needs::Journal, &mut screen)?;
    if outcome.is_done() {
        screen.line(done);
    }
    Ok(outcome.exit_code())
}
