//! How a dispatcher is, as it is shown. A part that only a running dispatcher knows is left out when none runs.

use dispatcher_decider::DeciderCounts;
use serde::{Deserialize, Serialize};

use crate::{Moment, ReplayView};

/// How everything is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// The program's version.
    pub version: String,
    /// The dispatcher that runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running: Option<Running>,
    /// The journal.
    pub journal: JournalStatus,
    /// Handlers, then sinks, in the order of the configuration; then those that are in the journal alone.
    pub consumers: Vec<ConsumerView>,
    /// Handlers that decide, in the order in which they are asked.
    #[serde(default)]
    pub deciders: Vec<DeciderView>,
    /// Replays that have not ended.
    pub replays: Vec<ReplayView>,
    /// How many dead letters there are.
    pub dead_letters: u64,
}

/// The dispatcher that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// Its process.
    pub pid: u32,
    /// Since when.
    pub since: Moment,
    /// For how long, in seconds.
    pub uptime_secs: u64,
    /// Where it listens.
    pub listen: String,
    /// Where it can be asked over TCP, if anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin: Option<String>,
    /// SHA-256 of the configuration file as it counts, in hexadecimal.
    #[serde(default)]
    pub configuration: String,
    /// The apps that are configured, by name.
    #[serde(default)]
    pub apps: Vec<AppView>,
    /// How long the slowest answer to a callback took that wanted a decision, in microseconds, from the head of its request
    /// on; left out where there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub longest_decision_us: Option<u64>,
}

/// What came from an app since the start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppView {
    /// Its SDKAppID.
    pub sdk_app_id: u64,
    /// Its name.
    pub name: String,
    /// How many verified callbacks were answered, refusals included.
    pub callbacks: u64,
    /// When the last of them was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<Moment>,
    /// How long ago that is, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secs_since_last: Option<u64>,
}

/// How the journal is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalStatus {
    /// Its file.
    pub path: String,
    /// `ok`, `failing` or `poisoned`.
    pub health: String,
    /// Why it is not `ok`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The size of the file, in bytes.
    pub bytes: u64,
    /// How much of that holds nothing, as of some seconds ago: it is filled again, or returned.
    pub free_bytes: u64,
    /// The size of its write-ahead log, in bytes.
    pub wal_bytes: u64,
    /// The callbacks in it.
    pub callbacks: StreamStatus,
    /// The events in it.
    pub events: StreamStatus,
    /// Callbacks that were stored since it was opened.
    pub stored: u64,
    /// Callbacks that were repeats, and not stored again, since it was opened.
    pub repeats: u64,
    /// Callbacks that were answered and could not be stored, since it was opened.
    pub unrecorded: u64,
    /// Verdicts that came late, or of shadows, that could not be stored beside their callbacks, since it was opened.
    #[serde(default)]
    pub unrecorded_decisions: u64,
    /// Callbacks that retention has deleted since it was opened.
    pub deleted_callbacks: u64,
    /// Events that it has deleted.
    pub deleted_events: u64,
    /// Dead letters that it has deleted.
    pub deleted_dead_letters: u64,
    /// What is deleted when, as configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<String>,
    /// What keeps retention from deleting what is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_up: Option<HeldUpView>,
    /// What consumers let go of untried, because retention was held up by them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<SkippedView>,
}

/// One of the two streams.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamStatus {
    /// The first seq that is there; zero if there is none.
    pub first: u64,
    /// The last seq that was given.
    pub last: u64,
    /// When the first was received.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest: Option<Moment>,
}

/// What keeps retention from deleting what is due.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldUpView {
    /// The consumer that has it before it.
    pub consumer: String,
    /// `callbacks` or `events`.
    pub stream: String,
    /// Since when.
    pub since: Moment,
    /// How many rows it holds.
    pub rows: u64,
}

/// A range that a consumer let go of untried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkippedView {
    /// The consumer.
    pub consumer: String,
    /// When.
    pub at: Moment,
    /// The first seq of it.
    pub first: u64,
    /// The last.
    pub last: u64,
    /// Why.
    pub reason: String,
}

/// A consumer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConsumerView {
    /// Its whole name, such as `sink:archive`.
    pub name: String,
    /// `callbacks` or `events`.
    pub stream: String,
    /// What it does.
    pub state: ConsumerState,
    /// Since when it is so, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Moment>,
    /// Why it is so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Up to where everything is done, pending or dead.
    pub checkpoint: u64,
    /// How many rows of its stream lie beyond that, those for others included.
    pub backlog: u64,
    /// When the oldest callback came in, or that of the oldest event, that it has yet to finish or pass over, those for others
    /// included. Left out where there is none; of one that does not run, what waits for another attempt is not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest: Option<Moment>,
    /// How long ago that is, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_secs: Option<u64>,
    /// How many items wait for another attempt, or behind one that does.
    pub pending: u64,
    /// How many dead letters it has.
    pub dead_letters: u64,
    /// What it did since the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub work: Option<WorkView>,
}

/// What a consumer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConsumerState {
    /// It works.
    Up,
    /// Its plugin does not work now; it is tried again after a while.
    Down,
    /// It waits for a person to let it go on.
    Parked,
    /// It does not run until the next start.
    Stopped,
    /// No dispatcher runs.
    NotRunning,
    /// It is switched off in the configuration.
    SwitchedOff,
    /// It is in the journal, and not in the configuration.
    Unconfigured,
}

/// A handler that decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeciderView {
    /// Its name.
    pub name: String,
    /// Whether it can be asked.
    pub state: DeciderState,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether it is a shadow: asked after the answer, and not counting.
    pub shadow: bool,
    /// Until when, if that is not what the configuration says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shadow_until: Option<Moment>,
    /// What it did since the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub work: Option<DeciderWork>,
}

/// Whether a handler that decides can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeciderState {
    /// It is asked.
    Up,
    /// It is being opened for the first time.
    Opening,
    /// It cannot be opened now; it is tried again.
    Down,
    /// It blocks its thread.
    Blocked,
    /// It blocked its thread too often, and is not asked again before the next start.
    Off,
    /// No dispatcher runs.
    NotRunning,
    /// It is switched off in the configuration.
    SwitchedOff,
}

/// What a handler that decides did since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeciderWork {
    /// How many decisions are under way.
    pub in_flight: u64,
    /// How many that are late are waited for.
    pub late_in_flight: u64,
    /// What it said.
    #[serde(flatten)]
    pub counts: DeciderCounts,
}

/// What a consumer did since the start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WorkView {
    /// How many batches are under way.
    pub under_way: u64,
    /// How many items were done.
    pub done: u64,
    /// How many attempts failed.
    pub failed: u64,
    /// How many items were given up on.
    pub dead: u64,
    /// The last failure, the item's own or the plugin's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// The keys with the most items that are read and not finished: the longest first, at most five.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub longest_keys: Vec<KeyView>,
    /// Since when the pending item that has waited longest does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_pending: Option<Moment>,
}

/// What waits of one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyView {
    /// The SDKAppID.
    pub sdk_app_id: u64,
    /// The key.
    pub key: String,
    /// How many items of it wait.
    pub waiting: u64,
}
