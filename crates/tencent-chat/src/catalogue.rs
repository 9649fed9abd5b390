//! What is published about each command: its phase, its reply, and where its key and its tell-tale fields are.
//!
//! The rows are in `catalogue/table.rs`. A command that is not among them is no error: Tencent adds commands, and
//! related products use the same wire.

mod table;

use std::fmt;

use crate::Path;

/// When a callback is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Before the operation, which waits for the reply.
    Before,
    /// After it. What the pages call a notification is here too.
    After,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Phase::Before => "before",
            Phase::After => "after",
        })
    }
}

/// What Tencent does with the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReplyKind {
    /// Takes it as an acknowledgement and reads nothing into it.
    Ack,
    /// Acts on what it says.
    Decision,
}

/// Where the body repeats the command that the query names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CommandInBody {
    /// `CallbackCommand`, beside the other fields.
    TopLevel,
    /// `Events[].CallbackCommand`: one body carries a batch of events, and each of them says it.
    EachEvent,
    /// Not at all; only the query has it.
    Nowhere,
}

/// The fields within whose equal values the order of callbacks matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OrderKey {
    /// Nothing in the body says: such callbacks wait for nobody.
    None,
    /// One field: the group, the official account, or the account that it is about.
    Field(Path),
    /// The two ends of a conversation, in either direction.
    Pair(Path, Path),
}

/// One command of the catalogue.
#[derive(Clone, Copy, Debug)]
pub struct CommandInfo {
    /// As in the parameter `CallbackCommand`, case included.
    pub name: &'static str,
    /// The family, such as `group` or `c2c`.
    pub category: &'static str,
    /// When it is sent.
    pub phase: Phase,
    /// What its reply is for. Nearly the same as `phase`, but not quite: see [`wants_decision`](Self::wants_decision).
    pub reply: ReplyKind,
    /// One line for people.
    pub title: &'static str,
    /// The page that describes it.
    pub doc: &'static str,
    /// Where the body repeats the command.
    pub command_in_body: CommandInBody,
    /// Where the key is; [`inspect`](crate::inspect) reads it.
    pub order_key: OrderKey,
    /// Fields that differ between two happenings. A body with one of them is a repeat when it arrives again byte for
    /// byte; where there are none, two equal bodies may just as well be two happenings.
    pub tells_apart: &'static [Path],
    /// A complete, invented body.
    pub sample: &'static str,
}

impl CommandInfo {
    /// Whether Tencent acts on the reply. True of every before command, and of `Chatbot.OnC2CSignalMessage`, which
    /// comes after but forwards what the reply says.
    pub fn wants_decision(&self) -> bool {
        self.reply == ReplyKind::Decision
    }
}

/// All commands, sorted by name.
pub fn commands() -> &'static [CommandInfo] {
    table::COMMANDS
}

/// The command of exactly this name; none if it is not in the catalogue.
pub fn command(name: &str) -> Option<&'static CommandInfo> {
    let idx = table::COMMANDS.binary_search_by(|info| info.name.cmp(name)).ok()?;
    Some(&table::COMMANDS[idx])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_each_command_once_in_order() {
        assert_eq!(commands().len(), 61);
        assert!(commands().is_sorted_by(|one, next| one.name < next.name));
    }

    #[test]
    fn finds_exact_names_only() {
        for info in commands() {
            assert_eq!(command(info.name).map(|found| found.name), Some(info.name));
        }
        for name in
            ["", "Group", "group.callbackaftersendmsg", "Group.CallbackAfterSendMsg ", "Live.CallbackAfterCreateRoom"]
        {
            assert!(command(name).is_none(), "{name:?}");
        }
    }

    #[test]
    fn knows_who_waits_for_the_reply() {
        for (name, phase, wants_decision) in [
            ("C2C.CallbackBeforeSendMsg", Phase::Before, true),
            ("Sns.CallbackPrevFriendAdd", Phase::Before, true),
            ("Chatbot.OnC2CSignalMessage", Phase::After, true),
            ("Bot.OnC2CMessage", Phase::After, false),
            ("Group.CallbackAfterGroupAttrChanged", Phase::After, false),
        ] {
            let info = command(name).unwrap();
            assert_eq!((info.phase, info.wants_decision()), (phase, wants_decision), "{name}");
        }
        assert!(commands().iter().all(|info| info.phase == Phase::After || info.wants_decision()));
        assert_eq!(commands().iter().filter(|info| info.phase == Phase::Before).count(), 11);
    }

    #[test]
    fn knows_which_bodies_do_not_say_their_command() {
        let unusual = commands().iter().filter(|info| info.command_in_body != CommandInBody::TopLevel);
        let unusual: Vec<_> = unusual.map(|info| (info.name, info.command_in_body)).collect();
        assert_eq!(
            unusual,
            [
                ("ContentCallback.ResultNotify", CommandInBody::Nowhere),
                ("Push.AllMemberPush", CommandInBody::EachEvent),
                ("Push.OfflinePush", CommandInBody::EachEvent),
            ]
        );
    }

    #[test]
    fn describes_each_command() {
        for info in commands() {
            assert!(info.doc.starts_with("https://"), "{}", info.name);
            assert!(
                !info.title.is_empty() && !info.title.ends_with('.') && !info.title.contains('\n'),
                "{}",
                info.name
            );
            assert!(!info.category.is_empty(), "{}", info.name);
        }
    }
}
