//! How long the rows of a command are kept.

use std::{cell::RefCell, collections::HashMap, fmt::Write as _, time::Duration};

use dispatcher_core::CommandPattern;

use crate::Retention;

/// How long each command is kept, with the answers that were given.
pub(crate) struct Rules {
    retention: Retention,
    known: RefCell<HashMap<Box<str>, Duration>>,
}

/// So many commands are remembered; there are fewer than a hundred, unless someone invents them.
const KNOWN: usize = 1024;

impl Rules {
    pub(crate) fn new(retention: Retention) -> Rules {
        Rules { retention, known: RefCell::default() }
    }

    /// How long this command's rows are kept.
    pub(crate) fn keep_for(&self, command: &str) -> Duration {
        let mut known = self.known.borrow_mut();
        if let Some(&span) = known.get(command) {
            return span;
        }
        let span = keep_for(&self.retention, command);
        if known.len() < KNOWN {
            known.insert(command.into(), span);
        }
        span
    }

    /// The longest of all: what is older is of no command that is kept.
    pub(crate) fn longest(&self) -> Duration {
        self.spans().max().unwrap_or(self.retention.keep_for)
    }

    /// All that are shorter than the longest, each once.
    pub(crate) fn shorter(&self) -> Vec<Duration> {
        let longest = self.longest();
        let mut shorter: Vec<Duration> = self.spans().filter(|&span| span < longest).collect();
        shorter.sort_unstable();
        shorter.dedup();
        shorter
    }

    /// All of it as text: equal texts mean equal rules.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("* {}", self.retention.keep_for.as_millis());
        for (pattern, span) in &self.retention.rules {
            let _ = write!(text, ", {pattern} {}", span.as_millis());
        }
        text
    }

    fn spans(&self) -> impl Iterator<Item = Duration> {
        self.retention.rules.iter().map(|(_, span)| *span).chain([self.retention.keep_for])
    }
}

fn keep_for(retention: &Retention, command: &str) -> Duration {
    CommandPattern::narrowest(&retention.rules, |(pattern, _)| pattern, command)
        .map_or(retention.keep_for, |(_, span)| *span)
}

#[cfg(test)]
mod tests {
    use dispatcher_core::CommandPattern;

    use super::*;

    #[test]
    fn the_narrowest_pattern_speaks() {
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        let rule = |pattern: &str, span| (CommandPattern::new(pattern).unwrap(), hours(span));
        let retention = Retention {
            rules: vec![rule("State.*", 1), rule("State.Kept", 48), rule("Group.*", 2), rule("*", 5)],
            ..Retention::keeping(hours(72))
        };
        let rules = Rules::new(retention);
        for (command, kept) in [("State.StateChange", 1), ("State.Kept", 48), ("Group.X", 2), ("C2C.X", 5)] {
            assert_eq!(rules.keep_for(command), hours(kept), "{command}");
            assert_eq!(rules.keep_for(command), hours(kept), "{command}, asked again");
        }
        assert_eq!(rules.longest(), hours(72));
        assert_eq!(rules.shorter(), [hours(1), hours(2), hours(5), hours(48)]);
    }
}
