//! What answers for metrics and health, where `[observe] listen` asks for it.

use std::{io, net::TcpListener};

use dispatcher_config::{Config, Finding};
use dispatcher_decider::Deciders;
use dispatcher_intake::Intake;
use dispatcher_journal::Journal;
use dispatcher_observe::{Observer, Sources};
use dispatcher_pipeline::Pipeline;

/// The socket for it, if there is to be one.
///
/// # Errors
/// When the address is taken or not this machine's.
pub(crate) fn listener(config: &Config) -> Result<Option<TcpListener>, Finding> {
    let Some(listen) = config.observe.listen else { return Ok(None) };
    TcpListener::bind(listen).map(Some).map_err(|err| {
        let what = format!("cannot listen on {listen}: {err}; stop the other program or choose another port");
        config.finding("observe.listen", what)
    })
}

/// Starts to answer there.
///
/// # Errors
/// When the machine gives no thread.
pub(crate) fn start(
    config: &Config,
    listener: TcpListener,
    intake: &Intake,
    deciders: &Deciders,
    journal: &Journal,
    pipeline: &Pipeline,
) -> Result<Observer, Finding> {
    let deciders = deciders.clone();
    let sources = Sources {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        intake: intake.counters(),
        deciders: Box::new(move || deciders.status()),
        journal: journal.clone(),
        pipeline: pipeline.handle(),
    };
    let failed = |err: io::Error| config.finding("observe.listen", format!("cannot show metrics: {err}"));
    Observer::start(listener, sources).map_err(failed)
}
