//! What a dispatcher says of itself when it ends: the last lines of its log, as JSON.

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;

/// What it counted.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Closing {
    /// By the names of outcomes; those that never happened are not there.
    outcomes: BTreeMap<String, u64>,
    /// How long the slowest answer to a callback that wants a decision took, by the dispatcher's own clock; none if there
    /// was none.
    pub(crate) longest_decision: Option<Duration>,
}

/// What is read of a line; the others lack all of it.
#[derive(Deserialize)]
struct Line {
    outcome: Option<String>,
    count: Option<u64>,
    longest_decision_us: Option<u64>,
}

impl Closing {
    pub(crate) fn read(log: &str) -> Self {
        let mut closing = Self::default();
        for line in log.lines() {
            // What is not JSON is the screen at the start.
            let Ok(Line { outcome, count, longest_decision_us }) = serde_json::from_str(line) else { continue };
            if let (Some(outcome), Some(count)) = (outcome, count) {
                closing.outcomes.insert(outcome, count);
            }
            let longest = longest_decision_us.map(Duration::from_micros);
            closing.longest_decision = longest.or(closing.longest_decision);
        }
        closing
    }

    /// How often this happened.
    pub(crate) fn count(&self, outcome: &str) -> u64 {
        self.outcomes.get(outcome).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_times_are_found_among_other_lines() {
        let closing = Closing::read(
            r#"listening on 127.0.0.1:1
{"level":"WARN","message":"something","handler":"hangs"}
{"level":"INFO","message":"callbacks since the start","outcome":"decided","count":12}
{"level":"INFO","message":"callbacks since the start","outcome":"unrecorded","count":3}
{"level":"INFO","message":"the slowest","longest_decision_us":1500321}
{"level":"INFO","message":"stopped"}"#,
        );
        let counts = ["decided", "unrecorded", "accepted"].map(|outcome| closing.count(outcome));
        assert_eq!((counts, closing.longest_decision), ([12, 3, 0], Some(Duration::from_micros(1_500_321))));
        assert_eq!(Closing::read("nothing"), Closing::default());
    }
}
