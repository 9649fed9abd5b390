//! What can be asked of a dispatcher.

use std::path::PathBuf;

use dispatcher_pipeline::ReplaySpec;
use serde::{Deserialize, Serialize};

/// One thing to do. A member that is not known is refused: who misspells a filter must not get everything. The answers are [`Answer`](crate::Answer)s; each kind of request says which.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Lists callbacks: `Callback` for each, `Damaged` for those that are; with `shadow_diff` then `ShadowDiffs`.
    Callbacks(Search),
    /// Lists events: `Event` for each, `Damaged` for those that are.
    Events(Search),
    /// All that is known of one item: `DeadLetter`, if that is what was named, and `Story`, if its callback is there.
    Show {
        /// What a person typed; see [`Id`](crate::Id).
        id: String,
        /// Whether bodies, data and queries are to be shown.
        contents: bool,
    },
    /// Lists dead letters: `DeadLetter` for each.
    DeadLetters {
        /// Which.
        which: DeadFilter,
        /// The most to be listed, the newest; zero for all.
        limit: u64,
        /// Whether bodies, data and queries are to be shown.
        contents: bool,
    },
    /// Deletes dead letters; `Done` says how many.
    Discard(DeadSelection),
    /// Delivers dead letters again, a replay for each consumer: `ReplayBegun` for each, and as for
    /// [`Replay`](Request::Replay) what becomes of it.
    ReplayDead {
        /// Which.
        which: DeadSelection,
        /// The name of a sink that gets them instead.
        to: Option<String>,
        /// The most items per second.
        rate: Option<f64>,
        /// Whether to wait until all of it is done.
        watch: bool,
    },
    /// Delivers again: `ReplayBegun`, and, if it is watched, `Progress` and `Replay` once it has ended.
    Replay {
        /// What.
        spec: ReplaySpec,
        /// Whether to wait until it is done.
        watch: bool,
    },
    /// What a replay would do: `ReplayPlan`.
    DryRun {
        /// What.
        spec: ReplaySpec,
    },
    /// Lists replays: `Replay` for each, the newest first.
    Replays,
    /// Waits until a replay has ended: `Progress`, then `Replay`.
    WatchReplay {
        /// Which.
        id: u64,
    },
    /// Ends a replay before it is done.
    CancelReplay {
        /// Which.
        id: u64,
    },
    /// Parks a consumer, as a person does.
    Pause {
        /// Its whole name, such as `sink:archive`.
        consumer: String,
        /// Why, for those who look at it later.
        reason: Option<String>,
    },
    /// Lets a parked consumer go on.
    Resume {
        /// Its whole name.
        consumer: String,
    },
    /// Makes a handler that decides a shadow: it is asked after the answer, and does not count.
    Shadow {
        /// Its name.
        handler: String,
        /// Until this moment, in milliseconds since the epoch; without one it counts again at once.
        until: Option<i64>,
    },
    /// How everything is: `Status`.
    Status,
    /// Gives all that a consumer has to another name.
    RenameConsumer {
        /// The whole name it has.
        from: String,
        /// The whole name it gets.
        to: String,
    },
    /// Forgets a consumer with all that it has.
    DropConsumer {
        /// Its whole name.
        consumer: String,
    },
    /// Reads the configuration again: `Reloaded`, or `Invalid` and `Failed`, and then nothing has changed.
    Reload,
    /// Writes the log from this level on, until the next start or a reload with another one.
    LogLevel {
        /// `error`, `warn`, `info`, `debug` or `trace`.
        level: String,
    },
    /// Reads everything and reports damage: `Progress`, then `Checked`.
    Check,
    /// Copies the journal into a new file: `Progress`, then `BackedUp`.
    Backup {
        /// The new file, absolute: the dispatcher's working folder need not be the asker's.
        to: PathBuf,
    },
    /// Gives space back to the file system: `Progress`, then `Compacted`.
    Compact,
}

/// Which callbacks or events are listed: those that all members let through.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Search {
    /// Stored at this moment or later, in milliseconds since the epoch.
    pub since: Option<i64>,
    /// Stored before this moment, in milliseconds since the epoch.
    pub until: Option<i64>,
    /// Their app: its name, or its SDKAppID.
    pub app: Option<String>,
    /// Of one of these apps, if any are named: as `app`.
    pub apps: Vec<String>,
    /// A pattern that selects their command.
    pub command: Option<String>,
    /// Of one of these commands, if any are named.
    pub commands: Vec<String>,
    /// Their key, as a whole.
    pub key: Option<String>,
    /// Of callbacks: what they were answered: `allowed`, `refused`, `refused-some`, `dropped`, `rewritten`, `answered`, or
    /// `defaulted`, by default whatever that was. What was answered without asking anybody was `allowed`.
    pub decision: Option<String>,
    /// Of callbacks: that a shadow would have had it otherwise.
    pub shadow_diff: bool,
    /// Part of the body, or of the data.
    pub text: Option<String>,
    /// Of events: the handler that made them.
    pub handler: Option<String>,
    /// Of events: the name of a sink that they are meant for.
    pub sink: Option<String>,
    /// Of events: their type.
    pub event_type: Option<String>,
    /// The most to be listed; zero for all.
    pub limit: u64,
    /// Whether the oldest are listed if there are more, rather than the newest.
    pub oldest: bool,
    /// Whether to go on with what is stored from now on, until the asker has gone.
    pub follow: bool,
    /// Of callbacks: whether what is on record of their decisions is to be told too. Where they are told apart by that, it
    /// is.
    pub decisions: bool,
    /// Whether bodies, data, queries and replies are to be shown.
    pub contents: bool,
}

/// Which dead letters: those that all members let through.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeadFilter {
    /// The whole name of their consumer, such as `sink:archive`.
    pub consumer: Option<String>,
    /// Given up on at this moment or later, in milliseconds since the epoch.
    pub since: Option<i64>,
    /// Given up on before this moment, in milliseconds since the epoch.
    pub until: Option<i64>,
    /// Their app: its name, or its SDKAppID.
    pub app: Option<String>,
    /// A pattern that selects their command.
    pub command: Option<String>,
    /// Their key, as a whole.
    pub key: Option<String>,
    /// Part of the reason.
    pub reason: Option<String>,
}

/// Dead letters that something is done with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum DeadSelection {
    /// These, as people name them: `sink:NAME/SEQ` or `handler:NAME/SEQ`.
    Ids(Vec<String>),
    /// All that a filter lets through.
    Filter(DeadFilter),
}
