//! Failures by class.

use crate::window::Tally;

/// How often a consumer met with failures of each class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    /// Attempts that a receiver refused, and that may work another time.
    pub refused: u64,
    /// Attempts that failed without an answer, such as those that took too long.
    pub unanswered: u64,
    /// Attempts after which trying again cannot help.
    pub permanent: u64,
    /// Failures of the plugin itself, which cost no item an attempt: it cannot connect, its disk is full.
    pub own: u64,
}

impl Failures {
    /// Counts what a batch came to. `is_error`: there was a failure, which is the plugin's own where it was no item's.
    pub(crate) fn count(&mut self, tally: &Tally, is_error: bool) {
        for item in &tally.failed {
            *match (item.is_permanent, item.is_answered) {
                (true, _) => &mut self.permanent,
                (false, true) => &mut self.refused,
                (false, false) => &mut self.unanswered,
            } += 1;
        }
        if is_error && tally.failed.is_empty() {
            self.own += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::FailedItem;

    #[test]
    fn each_failure_is_of_one_class() {
        let item = |is_permanent, is_answered| FailedItem { seq: 1, key: None, is_permanent, is_answered };
        let items = [(true, true), (true, false), (false, true), (false, false), (false, false)];
        let failed = items.map(|(is_permanent, is_answered)| item(is_permanent, is_answered)).into();
        let mut failures = Failures::default();
        failures.count(&Tally { done: 1, failed }, true);
        failures.count(&Tally::default(), true);
        failures.count(&Tally { done: 3, failed: vec![] }, false);
        assert_eq!(failures, Failures { refused: 1, unanswered: 2, permanent: 2, own: 1 });
    }
}
