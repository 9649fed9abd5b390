//! Who sent a message, and accounts as the settings name them.

use serde::Deserialize;
use tencent_chat::Text;

/// What is read of a callback about a message.
#[derive(Deserialize)]
pub(crate) struct Sent<'a> {
    #[serde(rename = "From_Account", borrow)]
    pub(crate) from_account: Option<Text<'a>>,
    /// The sender where there is no other: official accounts send by themselves.
    #[serde(rename = "Official_Account", borrow)]
    pub(crate) official_account: Option<Text<'a>>,
}

/// One account, or all whose names begin alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    Account(String),
    Beginning(String),
}

impl Sender {
    /// Reads `name`, or `beginning*`.
    ///
    /// # Errors
    /// What to write instead.
    pub(crate) fn read(text: &str) -> Result<Sender, &'static str> {
        let (name, is_beginning) = match text.strip_suffix('*') {
            Some(beginning) => (beginning, true),
            None => (text, false),
        };
        if name.is_empty() {
            return Err("would be everybody, or nobody; write an account, or how several begin, such as \"bot-*\"");
        }
        if name.contains('*') {
            return Err("a `*` stands at the end and nowhere else; write how the accounts begin, such as \"bot-*\"");
        }
        Ok(if is_beginning { Sender::Beginning(name.to_owned()) } else { Sender::Account(name.to_owned()) })
    }

    /// Whether `account` is meant. Letter case counts, as it does in accounts.
    pub(crate) fn is(&self, account: &str) -> bool {
        match self {
            Sender::Account(name) => name == account,
            Sender::Beginning(beginning) => account.starts_with(beginning),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_at_the_end_stands_for_the_rest() {
        for (text, account, expected) in [
            ("bot", "bot", true),
            ("bot", "bot-1", false),
            ("bot", "Bot", false),
            ("bot-*", "bot-1", true),
            ("bot-*", "bot-", true),
            ("bot-*", "robot-1", false),
            ("@RBT#*", "@RBT#tide", true),
        ] {
            assert_eq!(Sender::read(text).unwrap().is(account), expected, "{text} and {account}");
        }
        for text in ["", "*", "a*b", "**", "a**"] {
            assert!(Sender::read(text).is_err(), "{text:?} was taken");
        }
    }
}
