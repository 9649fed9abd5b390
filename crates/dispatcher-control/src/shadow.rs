//! Handlers that decide, as shadows for a while.

use std::sync::PoisonError;

use dispatcher_core::Timestamp;
use dispatcher_journal::Change;

use crate::{
    ConfiguredDecider, Done, Setup,
    operations::{Operations, Stop},
};

/// Makes a handler a shadow until then, or lets it count again: in the journal first, so that a restart in between knows of
/// it.
pub(crate) fn shadow(operations: &Operations, handler: &str, until: Option<i64>) -> Result<Done, Stop> {
    let decider = decider(&operations.setup, handler)?;
    let until = until.map(Timestamp::from_millis);
    if until.is_some_and(|until| until <= Timestamp::now()) {
        return Err(Stop::Failed(
            "that moment has passed; name one to come, or let the handler count again".to_owned(),
        ));
    }
    let _order = operations.shadows.lock().unwrap_or_else(PoisonError::into_inner);
    operations.change(Change::Shadow { handler: handler.into(), until })?;
    // Those that decide by now, should they have been replaced since this was asked.
    let newest = operations.newest();
    let is_told = newest.running.as_ref().is_some_and(|running| running.deciders.set_shadow(handler, until));
    let note = match until {
        _ if !decider.enabled => {
            Some(format!("{handler} is switched off in the configuration, and decides nothing now"))
        }
        None if decider.shadow => Some(format!(
            "{handler} stays a shadow, since the configuration says so: take shadow out of [handlers.{handler}]"
        )),
        _ if !is_told => Some("no dispatcher runs; the next start knows of it".to_owned()),
        _ => None,
    };
    Ok(Done { n: 1, note, ..Done::default() })
}

fn decider<'a>(setup: &'a Setup, handler: &str) -> Result<&'a ConfiguredDecider, Stop> {
    if let Some(decider) = setup.deciders.iter().find(|decider| decider.name == handler) {
        return Ok(decider);
    }
    let names: Vec<&str> = setup.deciders.iter().map(|decider| decider.name.as_str()).collect();
    let names = if names.is_empty() { "none does".to_owned() } else { format!("those that do: {}", names.join(", ")) };
    let is_handler = setup.consumers.iter().any(|one| one.name.strip_prefix("handler:") == Some(handler));
    let what = if is_handler {
        format!("the handler {handler} does not decide; {names}")
    } else {
        format!("no handler {handler:?} in the configuration decides; {names}")
    };
    Err(Stop::Failed(what))
}
