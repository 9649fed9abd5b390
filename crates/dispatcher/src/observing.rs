//! What answers for metrics and health, where `[observe] listen` asks for it.

use std::{io, net::TcpListener, sync::Arc};

use dispatcher_config::Finding;
use dispatcher_control::AdminCounters;
use dispatcher_intake::Counters;
use dispatcher_journal::Journal;
use dispatcher_observe::{Observer, Sources};
use dispatcher_pipeline::Pipeline;

use crate::{reload::Running, spans};

/// Starts to answer there.
///
/// # Errors
/// When the machine gives no thread.
pub(crate) fn start(
    running: &Arc<Running>,
    listener: TcpListener,
    counters: Arc<Counters>,
    admin: Arc<AdminCounters>,
    journal: &Journal,
    pipeline: &Pipeline,
) -> Result<Observer, Finding> {
    // Not kept alive by those who look on.
    let (deciders, reloads) = (Arc::downgrade(running), running.reloads());
    let sources = Sources {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        intake: counters,
        admin,
        deciders: Box::new(move || deciders.upgrade().map(|running| running.deciders().status()).unwrap_or_default()),
        reloads: Box::new(move || reloads.read()),
        spans: Box::new(spans::counts),
        journal: journal.clone(),
        pipeline: pipeline.handle(),
    };
    let failed = |err: io::Error| running.finding("observe.listen", format!("cannot show metrics: {err}"));
    Observer::start(listener, sources).map_err(failed)
}
