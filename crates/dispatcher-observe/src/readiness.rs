//! Whether callbacks can be answered, and if not, why.

use dispatcher_decider::State as DeciderState;
use dispatcher_journal::Health;
use dispatcher_pipeline::State;
use serde_json::{Value, json};

use crate::sources::Observed;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// That callbacks are answered: those that want a decision are, even while nothing can be stored.
    Answers,
    /// That callbacks are made durable as well.
    Durable,
}

impl Need {
    /// What a query asks for.
    ///
    /// # Errors
    /// What to write instead, where it asks for something else.
    pub(crate) fn of_query(query: Option<&str>) -> Result<Need, &'static str> {
        match query {
            None | Some("") => Ok(Need::Answers),
            Some("need=durable") => Ok(Need::Durable),
            Some(_) => Err("the query can be ?need=durable or left out"),
        }
    }
}

/// Whether it is ready, and what to show of that: reasons why not, and notes that keep nothing from being answered. Names
/// and states alone: what plugins say may repeat what people wrote.
pub(crate) fn readiness(observed: &Observed, need: Need) -> (bool, Value) {
    let (mut reasons, mut notes) = (Vec::new(), Vec::new());
    if observed.is_draining() {
        reasons.push("the dispatcher is stopping".to_owned());
    }
    let durability = match observed.sources.journal.health() {
        Health::Ok => None,
        Health::Failing(reason) => Some(format!("the journal cannot store callbacks now: {reason}")),
        Health::Poisoned(reason) => {
            Some(format!("the journal stores nothing more until the dispatcher is restarted: {reason}"))
        }
    };
    let is_durable = durability.is_none();
    let place = if need == Need::Durable { &mut reasons } else { &mut notes };
    place.extend(durability);
    for decider in (observed.sources.deciders)() {
        let what = match decider.state {
            DeciderState::Up => continue,
            DeciderState::Opening => "is being opened",
            DeciderState::Down(_) => "cannot be opened",
            DeciderState::Blocked => "blocks its thread",
            DeciderState::Off(_) => "is off: it blocked its thread too often",
        };
        notes.push(format!("the decider {} {what}; what counts when it fails is answered", decider.name));
    }
    for consumer in observed.sources.pipeline.status() {
        let what = match consumer.state {
            State::Up => continue,
            State::Down { .. } => "is down",
            State::Parked { .. } => "is parked",
            State::Stopped { .. } => "is stopped",
        };
        notes.push(format!("{} {what}; `dispatcher status` says why", consumer.name));
    }
    let is_ready = reasons.is_empty();
    (is_ready, json!({ "ready": is_ready, "durable": is_durable, "reasons": reasons, "notes": notes }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_that_is_not_understood_is_not_passed_over() {
        assert_eq!(Need::of_query(None), Ok(Need::Answers));
        assert_eq!(Need::of_query(Some("need=durable")), Ok(Need::Durable));
        assert!(Need::of_query(Some("need=durability")).is_err());
    }
}
