//! The name of a callback's command, and patterns that select commands.

use std::{borrow::Borrow, fmt, sync::Arc};

use tencent_chat::{CommandInfo, Phase};

/// A `CallbackCommand`, such as `Group.CallbackAfterGroupAttrChanged`. Cheap to clone.
///
/// Any text is a command: Tencent adds new ones, and those outside the catalogue are taken, stored and routed as well.
#[derive(Clone)]
pub struct Command(Repr);

#[derive(Clone)]
enum Repr {
    Known(&'static CommandInfo),
    Other(Arc<str>),
}

impl Command {
    /// The command with this name.
    #[must_use]
    pub fn new(name: &str) -> Command {
        Command(match tencent_chat::command(name) {
            Some(info) => Repr::Known(info),
            None => Repr::Other(name.into()),
        })
    }

    /// Its name, as on the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Repr::Known(info) => info.name,
            Repr::Other(name) => name,
        }
    }

    /// What the catalogue knows of it; `None` for a command outside the catalogue.
    #[must_use]
    pub fn info(&self) -> Option<&'static CommandInfo> {
        match self.0 {
            Repr::Known(info) => Some(info),
            Repr::Other(_) => None,
        }
    }

    /// Its phase. A command outside the catalogue counts as `after`: it is acknowledged, and never lost.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.info().map_or(Phase::After, |info| info.phase)
    }

    /// Whether its reply is a decision: it then takes the before road, whatever its phase.
    #[must_use]
    pub fn wants_decision(&self) -> bool {
        self.info().is_some_and(CommandInfo::wants_decision)
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl PartialEq for Command {
    fn eq(&self, other: &Command) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Command {}

impl std::hash::Hash for Command {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl Borrow<str> for Command {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

/// Selects commands: one by its name, a family with `Group.*`, all with `*`. Letter case counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CommandPattern(String);

impl CommandPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// When it is empty, or has a `*` anywhere but alone or at the end after a dot.
    pub fn new(pattern: &str) -> Result<CommandPattern, InvalidPattern> {
        let stem = match pattern {
            "*" => "any",
            _ => pattern.strip_suffix(".*").unwrap_or(pattern),
        };
        if stem.is_empty() || stem.contains(['*', ' ']) {
            return Err(InvalidPattern(pattern.to_owned()));
        }
        Ok(CommandPattern(pattern.to_owned()))
    }

    /// That of one command of the catalogue.
    pub(crate) fn of(info: &CommandInfo) -> CommandPattern {
        CommandPattern(info.name.to_owned())
    }

    /// Whether it selects the command of this name.
    #[must_use]
    pub fn selects(&self, command: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(prefix) => command.starts_with(prefix),
            None => self.0 == command,
        }
    }

    /// Whether it selects at least one command of the catalogue. A pattern that selects none may still be meant for a
    /// command that is newer than the catalogue, or be a misspelling.
    #[must_use]
    pub fn selects_known(&self) -> bool {
        tencent_chat::commands().iter().any(|info| self.selects(info.name))
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Of several rules the one that speaks for a command: the one whose pattern selects it most narrowly; of equally narrow
    /// ones the last. None if none selects it.
    pub fn narrowest<'r, R>(
        rules: impl IntoIterator<Item = &'r R>,
        pattern: impl Fn(&R) -> &CommandPattern,
        command: &str,
    ) -> Option<&'r R> {
        let selecting = rules.into_iter().filter(|rule| pattern(rule).selects(command));
        selecting.max_by_key(|rule| pattern(rule).narrowness())
    }

    fn narrowness(&self) -> usize {
        if self.0.ends_with('*') { self.0.len() } else { usize::MAX }
    }
}

impl fmt::Display for CommandPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A text that is no [`CommandPattern`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidPattern(String);

impl fmt::Display for InvalidPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not a command or a pattern; write a command, a family such as \"Group.*\", or \"*\"", self.0)
    }
}

impl std::error::Error for InvalidPattern {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_select_by_name_by_family_or_all() {
        for (pattern, command, selected) in [
            ("Group.CallbackAfterGroupFull", "Group.CallbackAfterGroupFull", true),
            ("Group.CallbackAfterGroupFull", "Group.CallbackAfterGroupFullX", false),
            ("Group.*", "Group.CallbackAfterGroupFull", true),
            ("Group.*", "Groups.X", false),
            ("Group.*", "group.CallbackAfterGroupFull", false),
            ("*", "Live.CallbackAfterCreateRoom", true),
        ] {
            assert_eq!(CommandPattern::new(pattern).unwrap().selects(command), selected, "{pattern} on {command}");
        }
    }

    #[test]
    fn a_star_stands_alone_or_after_the_last_dot() {
        for pattern in ["", ".*", "Group*", "*.Callback", "Gr*p.x", "**", "Group. *"] {
            assert!(CommandPattern::new(pattern).is_err(), "{pattern:?} was taken");
        }
    }

    #[test]
    fn a_command_outside_the_catalogue_takes_the_after_road() {
        let unknown = Command::new("Live.CallbackBeforeSendGift");
        assert_eq!(unknown.phase(), Phase::After);
        assert!(!unknown.wants_decision());
        assert!(Command::new("Chatbot.OnC2CSignalMessage").wants_decision());
    }
}
