//! Which callbacks a handler selects.

use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;
use tencent_chat::Phase;

use crate::{App, Command, CommandPattern};

/// The phases that a handler selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PhaseFilter {
    /// Callbacks that come before the fact.
    Before,
    /// Callbacks that come after the fact.
    After,
    /// Both.
    Any,
}

impl PhaseFilter {
    /// Whether it selects `phase`.
    #[must_use]
    pub fn selects(self, phase: Phase) -> bool {
        match self {
            PhaseFilter::Before => phase == Phase::Before,
            PhaseFilter::After => phase == Phase::After,
            PhaseFilter::Any => true,
        }
    }
}

impl fmt::Display for PhaseFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            PhaseFilter::Before => "before",
            PhaseFilter::After => "after",
            PhaseFilter::Any => "any",
        })
    }
}

/// Which callbacks a handler selects: those of its commands, of its apps and in its phase.
#[derive(Clone, Debug)]
pub struct Route {
    /// A command must match one of these…
    pub commands: Vec<CommandPattern>,
    /// …and none of these.
    pub except: Vec<CommandPattern>,
    /// The names of its apps; `None` for all.
    pub apps: Option<Vec<String>>,
    /// Its phase.
    pub phase: PhaseFilter,
}

impl Route {
    /// Whether a callback of this app and command is selected.
    #[must_use]
    pub fn selects(&self, app: &App, command: &Command) -> bool {
        self.selects_app(app) && self.selects_command(command)
    }

    /// The same without callbacks that want a decision.
    #[must_use]
    pub fn without_decided(mut self) -> Route {
        // Which those are is known of the catalogue alone.
        let decided = tencent_chat::commands().iter().filter(|info| info.wants_decision());
        self.except.extend(decided.map(CommandPattern::of));
        self
    }

    /// Whether callbacks of this app are, if they are of the right command.
    #[must_use]
    pub fn selects_app(&self, app: &App) -> bool {
        self.apps.as_ref().is_none_or(|names| names.iter().any(|name| name == app.name()))
    }

    /// Whether callbacks of this command are, if they are of the right app.
    #[must_use]
    pub fn selects_command(&self, command: &Command) -> bool {
        let any = |patterns: &[CommandPattern]| patterns.iter().any(|pattern| pattern.selects(command.as_str()));
        self.phase.selects(command.phase()) && any(&self.commands) && !any(&self.except)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_conditions_must_hold() {
        let patterns = |texts: &[&str]| texts.iter().map(|text| CommandPattern::new(text).unwrap()).collect();
        let route = Route {
            commands: patterns(&["Group.*", "State.StateChange"]),
            except: patterns(&["Group.CallbackAfterGroupFull"]),
            apps: Some(vec!["main".into()]),
            phase: PhaseFilter::After,
        };
        for (app, command, selected) in [
            ("main", "Group.CallbackAfterSendMsg", true),
            ("main", "State.StateChange", true),
            ("main", "Group.CallbackNewAndUnknown", true),
            ("main", "Group.CallbackBeforeSendMsg", false),
            ("main", "Group.CallbackAfterGroupFull", false),
            ("main", "C2C.CallbackAfterSendMsg", false),
            ("other", "Group.CallbackAfterSendMsg", false),
        ] {
            assert_eq!(route.selects(&App::new(1, app), &Command::new(command)), selected, "{app} {command}");
        }
    }

    #[test]
    fn what_wants_a_decision_can_be_left_out() {
        let all = vec![CommandPattern::new("*").unwrap()];
        let route = Route { commands: all, except: vec![], apps: None, phase: PhaseFilter::Any }.without_decided();
        for info in tencent_chat::commands() {
            assert_eq!(route.selects_command(&Command::new(info.name)), !info.wants_decision(), "{}", info.name);
        }
        assert!(route.selects_command(&Command::new("Live.CallbackBeforeSendGift")), "nobody decides about it");
    }
}
