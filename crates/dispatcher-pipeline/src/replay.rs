//! What is to be delivered again.

use dispatcher_core::{Callback, CommandPattern, Key, Timestamp};
use dispatcher_journal::{Consumer, Stream};
use serde::{Deserialize, Serialize};

/// A replay, as it is asked for.
///
/// What a handler has handled is handled again, and what a sink was given is delivered again, with the same ids and
/// idempotency keys, and marked as replayed. Order is kept per key among what is replayed, and not between that and what
/// comes new.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReplaySpec {
    /// Whose items: `handler:NAME` or `sink:NAME`.
    pub of: String,
    /// The name of a sink that gets the events instead: of a sink's items, those themselves; of a handler's, what it makes
    /// of them.
    pub to: Option<String>,
    /// Only what is a dead letter. Those that are delivered are dead no longer.
    pub dead: bool,
    /// Which of them.
    pub filter: ReplayFilter,
    /// The most items per second.
    pub rate: Option<f64>,
}

/// Which items are replayed: those that all members let through.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReplayFilter {
    /// Callbacks received at this moment or later, in milliseconds since the epoch.
    pub since: Option<i64>,
    /// Callbacks received before this moment, in milliseconds since the epoch.
    pub until: Option<i64>,
    /// A pattern that selects their command.
    pub command: Option<String>,
    /// Their key, as a whole.
    pub key: Option<String>,
    /// Their app: its name, or its SDKAppID.
    pub app: Option<String>,
    /// Their seqs.
    pub seqs: Option<Vec<u64>>,
}

/// The consumer whose items are asked for by this name: that is what it is called now, or else once was.
pub(crate) fn named(known: &[Consumer], name: &str, stream: Stream) -> Consumer {
    let is_now = known.iter().find(|one| one.name == name);
    let once_was = || known.iter().find(|one| one.former.iter().any(|(former, _)| former == name));
    is_now.or_else(once_was).cloned().unwrap_or_else(|| Consumer::new(name, stream))
}

/// A filter that was understood.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    command: Option<CommandPattern>,
    key: Option<String>,
    app: Option<String>,
    seqs: Option<Vec<u64>>,
}

impl ReplayFilter {
    /// Whether this item, an event or a callback with this key, is replayed. A filter that cannot be understood lets
    /// nothing through.
    #[must_use]
    pub fn lets_through(&self, seq: u64, callback: &Callback, key: Option<&Key>) -> bool {
        self.parse().is_ok_and(|filter| filter.lets_through(seq, callback, key))
    }

    /// # Errors
    /// What is wrong with it, and what to write.
    pub(crate) fn parse(&self) -> Result<Filter, String> {
        let ReplayFilter { since, until, command, key, app, seqs } = self.clone();
        let command = command.map(|command| CommandPattern::new(&command)).transpose();
        let mut seqs = seqs;
        if let Some(seqs) = &mut seqs {
            seqs.sort_unstable();
        }
        Ok(Filter {
            since: since.map(Timestamp::from_millis),
            until: until.map(Timestamp::from_millis),
            command: command.map_err(|err| err.to_string())?,
            key,
            app,
            seqs,
        })
    }
}

impl Filter {
    pub(crate) fn lets_through(&self, seq: u64, callback: &Callback, key: Option<&Key>) -> bool {
        let received = callback.received_at();
        self.since.is_none_or(|since| received >= since)
            && self.until.is_none_or(|until| received < until)
            && self.command.as_ref().is_none_or(|pattern| pattern.selects(callback.command().as_str()))
            && self.key.as_ref().is_none_or(|wanted| key.is_some_and(|key| **key == **wanted))
            && self.app.as_ref().is_none_or(|app| {
                callback.app().name() == app || app.parse().is_ok_and(|id: u64| callback.app().sdk_app_id() == id)
            })
            && self.seqs.as_ref().is_none_or(|seqs| seqs.binary_search(&seq).is_ok())
    }

    /// The moment before which nothing is let through.
    pub(crate) fn since(&self) -> Option<Timestamp> {
        self.since
    }

    /// The seqs that may be let through: first and last.
    pub(crate) fn range(&self) -> (u64, u64) {
        match self.seqs.as_deref() {
            Some([first, .., last]) => (*first, *last),
            Some([only]) => (*only, *only),
            Some([]) => (1, 0),
            None => (1, u64::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_whose_it_is_now_before_whose_it_was() {
        let renamed = Consumer { former: vec![("sink:z".to_owned(), 9)], ..Consumer::new("sink:b", Stream::Events) };
        let other = Consumer::new("sink:z", Stream::Events);
        let named = |known: &[Consumer]| named(known, "sink:z", Stream::Events).name;
        assert_eq!(named(&[renamed.clone(), other]), "sink:z");
        assert_eq!(named(&[renamed]), "sink:b");
        assert_eq!(named(&[]), "sink:z");
    }
}
