//! Arguments that several commands share.

use clap::{Args, CommandFactory as _, error::ErrorKind};
use dispatcher_core::{Rate, TimeSpan, Timestamp};

use crate::cli::Cli;

/// A consumer: a sink or a handler.
#[derive(Clone, Debug, Args)]
pub(crate) struct ConsumerArgs {
    /// Of this sink
    #[arg(long, value_name = "NAME", conflicts_with = "handler")]
    pub(crate) sink: Option<String>,
    /// Of this handler
    #[arg(long, value_name = "NAME")]
    pub(crate) handler: Option<String>,
}

impl ConsumerArgs {
    /// Its whole name, if one was named.
    pub(crate) fn name(&self) -> Option<String> {
        let sink = self.sink.as_ref().map(|name| format!("sink:{name}"));
        sink.or_else(|| self.handler.as_ref().map(|name| format!("handler:{name}")))
    }
}

/// What callbacks, and all that came of them, are told apart by.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct FilterArgs {
    /// From then on: how long ago (2h, 3d), or a time (2026-11-23, 2026-11-23T08:00:00Z)
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(crate) since: Option<i64>,
    /// Before then
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(crate) until: Option<i64>,
    /// Of this app: its name, or its SDKAppID
    #[arg(long)]
    pub(crate) app: Option<String>,
    /// Of this command, or of those that a pattern such as Group.* selects
    #[arg(long, value_name = "PATTERN")]
    pub(crate) command: Option<String>,
    /// With this key: a group, an account, both ends of a conversation
    #[arg(long)]
    pub(crate) key: Option<String>,
}

impl FilterArgs {
    pub(crate) fn is_empty(&self) -> bool {
        let FilterArgs { since, until, app, command, key } = self;
        since.is_none() && until.is_none() && app.is_none() && command.is_none() && key.is_none()
    }
}

/// Reads a moment, in milliseconds since the epoch.
fn moment(text: &str) -> Result<i64, String> {
    if let Ok(ago) = text.parse::<TimeSpan>() {
        let ago = i64::try_from(ago.get().as_millis()).unwrap_or(i64::MAX);
        return Ok(Timestamp::now().as_millis().saturating_sub(ago));
    }
    let candidates = [text.to_owned(), format!("{text}Z"), format!("{text}:00Z"), format!("{text}T00:00:00Z")];
    let time = candidates.iter().find_map(|text| Timestamp::from_rfc_3339(text));
    time.map(Timestamp::as_millis).ok_or_else(|| {
        "write how long ago, such as 2h or 3d, or a time, such as 2026-11-23 or 2026-11-23T08:00:00+08:00; without an \
         offset it is in UTC"
            .to_owned()
    })
}

/// Reads a rate, per second.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    text.parse::<Rate>().map(Rate::per_second).map_err(|err| err.to_string())
}

/// Ends the program with a word on usage.
pub(crate) fn usage(message: &str) -> ! {
    Cli::command().error(ErrorKind::ArgumentConflict, message).exit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_people_write_them() {
        for (text, millis) in [
            ("2025-11-24", Some(1_763_942_400_000)),
            ("2025-11-24T16:00", Some(1_764_000_000_000)),
            ("2025-11-24T16:00:00", Some(1_764_000_000_000)),
            ("2025-11-25T00:00:00+08:00", Some(1_764_000_000_000)),
            ("2025-13-24", None),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(moment(text).ok(), millis, "on {text:?}");
        }
        let before = Timestamp::now().as_millis();
        let ago = moment("2h").unwrap() + 2 * 3600 * 1000;
        assert!((before..=Timestamp::now().as_millis()).contains(&ago));
    }
}
