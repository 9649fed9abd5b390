//! Which commands are never journaled.

use dispatcher_core::{Command, CommandPattern};

use crate::{CommandRule, JournalRule};

/// The rules, resolved once for the commands of the catalogue.
pub(crate) struct Policy {
    rules: Vec<CommandRule>,
    never: Vec<&'static str>, // Of the catalogue, in its order: sorted by name.
}

impl Policy {
    pub(crate) fn new(rules: Vec<CommandRule>) -> Policy {
        let names = tencent_chat::commands().iter().map(|info| info.name);
        let never = names.filter(|name| rule_for(&rules, name) == JournalRule::Never).collect();
        Policy { rules, never }
    }

    pub(crate) fn is_journaled(&self, command: &Command) -> bool {
        if self.rules.is_empty() {
            return true;
        }
        match command.info() {
            Some(info) => self.never.binary_search(&info.name).is_err(),
            None => rule_for(&self.rules, command.as_str()) == JournalRule::Always,
        }
    }
}

fn rule_for(rules: &[CommandRule], command: &str) -> JournalRule {
    CommandPattern::narrowest(rules, |rule| &rule.commands, command).map_or(JournalRule::Always, |rule| rule.journal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_narrowest_rule_speaks() {
        use JournalRule::{Always, Never};
        let policy = |rules: &[(&str, JournalRule)]| {
            let rule =
                |&(commands, journal): &_| CommandRule { commands: CommandPattern::new(commands).unwrap(), journal };
            Policy::new(rules.iter().map(rule).collect())
        };
        let groups_only = [("*", Never), ("Group.*", Always), ("Group.CallbackAfterGroupFull", Never)];
        for (rules, command, journaled) in [
            (&[][..], "State.StateChange", true),
            (&[("State.StateChange", Never)], "State.StateChange", false),
            (&[("State.StateChange", Never)], "Group.CallbackAfterGroupFull", true),
            (&[("Live.*", Never)], "Live.CallbackAfterCreateRoom", false),
            (&[("Live.*", Never)], "Lives.X", true),
            (&groups_only, "State.StateChange", false),
            (&groups_only, "Group.CallbackAfterSendMsg", true),
            (&groups_only, "Group.CallbackAfterGroupFull", false),
            (&groups_only, "Some.NewCommand", false),
            (&[("Group.*", Never), ("Group.*", Always)], "Group.CallbackAfterSendMsg", true),
        ] {
            assert_eq!(policy(rules).is_journaled(&Command::new(command)), journaled, "{command} under {rules:?}");
        }
    }
}
