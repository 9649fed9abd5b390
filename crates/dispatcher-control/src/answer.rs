//! What a dispatcher answers. Answers come one after the other; `Done` or `Failed` is the last.

use dispatcher_core::{Callback, EventData};
use dispatcher_journal::{Attempt, CallbackRow, EventRow, Replay, Stream};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{DecisionView, Moment, ShadowDiff, Status, Story};

/// One answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// A callback.
    Callback(CallbackView),
    /// An event.
    Event(EventView),
    /// A row that is missing or not what was stored.
    Damaged(DamagedView),
    /// A dead letter.
    DeadLetter(Box<DeadView>),
    /// All that is known of a callback.
    Story(Box<Story>),
    /// How shadows differ from what was answered, by handler, answer and verdict.
    ShadowDiffs(Vec<ShadowDiff>),
    /// How everything is.
    Status(Box<Status>),
    /// A replay was made, and is under way.
    ReplayBegun(ReplayView),
    /// A replay as it is.
    Replay(ReplayView),
    /// What a replay would do.
    ReplayPlan(ReplayPlan),
    /// The configuration was read again, and counts.
    Reloaded(Box<Reloaded>),
    /// What is wrong with the configuration: a line for each finding.
    Invalid(Vec<String>),
    /// How far long work is. Only for those who watch.
    Progress(Progress),
    /// The journal was checked.
    Checked(Checked),
    /// The journal was copied.
    BackedUp(BackedUp),
    /// The journal was compacted.
    Compacted(Compacted),
    /// All was done.
    Done(Done),
    /// It was not done, or not all of it: why, and what to do.
    Failed(String),
}

/// A callback, as it is shown.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CallbackView {
    /// Its seq.
    pub seq: u64,
    /// Its id.
    pub id: String,
    /// When it was received.
    pub received_at: Moment,
    /// When it happened, by Tencent's word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_time: Option<Moment>,
    /// Its app's SDKAppID.
    pub sdk_app_id: u64,
    /// Its app's name.
    pub app: String,
    /// Its command.
    pub command: String,
    /// `before` or `after`.
    pub phase: String,
    /// What order is kept within.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What repeats of it share, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// The trace that it came with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// How long its body is.
    pub body_bytes: usize,
    /// What is on record of the decisions about it. Only in lists that were asked for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decisions: Vec<DecisionView>,
    /// The raw query. Only with contents.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// The body. Only with contents.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<Box<RawValue>>,
}

/// An event, as it is shown.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EventView {
    /// Its seq.
    pub seq: u64,
    /// Its id.
    pub id: String,
    /// Its type.
    #[serde(rename = "type")]
    pub event_type: String,
    /// When it happened.
    pub time: Moment,
    /// When its callback was received.
    pub received_at: Moment,
    /// Its app's SDKAppID.
    pub sdk_app_id: u64,
    /// Its app's name.
    pub app: String,
    /// The command of its callback.
    pub command: String,
    /// What order is kept within.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The id of its callback.
    pub callback_id: String,
    /// The seq of its callback.
    pub callback_seq: u64,
    /// The handler that made it.
    pub handler: String,
    /// Its place among what the handler returned, from 0.
    pub n: u32,
    /// The names of the sinks that it is meant for.
    pub sinks: Vec<String>,
    /// What receivers drop repeats by.
    pub idempotency_key: String,
    /// Whether a replay made it.
    pub replay: bool,
    /// How long its data is.
    pub data_bytes: usize,
    /// Its data. Only with contents.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<RawValue>>,
}

/// A row that is missing or not what was stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamagedView {
    /// `callbacks` or `events`.
    pub stream: String,
    /// Its seq.
    pub seq: u64,
    /// What is wrong with it.
    pub damaged: String,
}

/// A dead letter, as it is shown.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeadView {
    /// Its id: `sink:NAME/SEQ` or `handler:NAME/SEQ`.
    pub id: String,
    /// The whole name of its consumer.
    pub consumer: String,
    /// Its seq in the consumer's stream.
    pub seq: u64,
    /// When it was given up on.
    pub at: Moment,
    /// When the first attempt was made.
    pub first_at: Moment,
    /// Why.
    pub reason: String,
    /// How many attempts were made.
    pub attempts: u32,
    /// What it is a dead letter of; what could not be read is left out.
    #[serde(flatten)]
    pub item: DeadItem,
    /// The attempts that are known. Only of one that was asked for by its id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<AttemptView>,
    /// The copy that is kept of the row, and of its callback's. Only with contents.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copy: Option<serde_json::Value>,
}

/// What a dead letter is one of, as far as its copy tells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadItem {
    /// The id of the callback, or of the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item_id: Option<String>,
    /// The id of the callback.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub callback_id: Option<String>,
    /// Of an event: its type.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub event_type: Option<String>,
    /// When the callback was received.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub received_at: Option<Moment>,
    /// The app's SDKAppID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sdk_app_id: Option<u64>,
    /// The app's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// The command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// What order is kept within.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// One try.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptView {
    /// Which it was, from 1.
    pub n: u32,
    /// When it ended.
    pub at: Moment,
    /// What it failed with; left out when it succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The status that the receiver answered, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The beginning of what it answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub excerpt: Option<String>,
}

/// A replay, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayView {
    /// Its number.
    pub id: u64,
    /// When it was made.
    pub at: Moment,
    /// Whose items: the whole name of a consumer.
    pub of: String,
    /// Who does the work: the whole name of a consumer.
    pub target: String,
    /// Whether it is of dead letters.
    pub dead_letters: bool,
    /// `callbacks` or `events`.
    pub stream: String,
    /// The first seq that may be part of it.
    pub first: u64,
    /// The last.
    pub last: u64,
    /// Up to where it got; left out once it has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<u64>,
    /// How many items were done.
    pub done: u64,
    /// How many became dead letters.
    pub dead: u64,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Moment>,
    /// Whether someone ended it before it was done.
    pub cancelled: bool,
    /// What was asked for.
    pub spec: serde_json::Value,
}

/// What a replay would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayPlan {
    /// Whose items: the whole name of a consumer.
    pub of: String,
    /// How many would be delivered or handled again.
    pub items: u64,
}

/// How far long work is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What is being done.
    pub what: String,
    /// How much of it is done.
    pub done: u64,
    /// How much there is; zero if that is unknown.
    pub total: u64,
}

/// What a check of the journal found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// How many callbacks are intact.
    pub callbacks: u64,
    /// How many events are intact.
    pub events: u64,
    /// How many dead letters there are.
    pub dead_letters: u64,
    /// How many items are pending.
    pub pending: u64,
    /// What is damaged, a line for each range or thing.
    pub damage: Vec<String>,
}

/// A copy of the journal was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackedUp {
    /// The new file.
    pub to: String,
    /// How many callbacks it holds.
    pub callbacks: u64,
    /// How many events it holds.
    pub events: u64,
    /// How many dead letters it holds.
    pub dead_letters: u64,
    /// How large it is.
    pub bytes: u64,
}

/// Space was given back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compacted {
    /// How many bytes were given back, of the file alone.
    pub returned: u64,
    /// The size of the file now.
    pub bytes: u64,
}

/// What became of a configuration that was read again. Handlers and sinks are named as `handler:NAME` and `sink:NAME`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reloaded {
    /// The handlers and sinks that are new.
    pub added: Vec<String>,
    /// Those whose settings are others, and those that were off and are tried again.
    pub changed: Vec<String>,
    /// Those that are gone. They keep their place in the journal.
    pub removed: Vec<String>,
    /// Those that their receivers had parked, and that are tried again.
    pub resumed: Vec<String>,
    /// Whatever else is another now: keys, such as `intake.freshness`.
    pub settings: Vec<String>,
    /// The keys that are others and count only after a restart.
    pub needs_restart: Vec<String>,
    /// Whether some that changed or are gone still finish what is under way.
    pub finishing: bool,
    /// What looks wrong and need not be.
    pub warnings: Vec<String>,
    /// SHA-256 of the configuration file that counted before, in hexadecimal.
    pub configuration_before: String,
    /// The same of the one that counts now.
    pub configuration: String,
}

impl Reloaded {
    /// Whether everything is as it was.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        let Reloaded { added, changed, removed, resumed, settings, needs_restart, .. } = self;
        [added, changed, removed, resumed, settings, needs_restart].iter().all(|names| names.is_empty())
    }
}

/// What was done in all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Done {
    /// How many items were listed, discarded or changed.
    pub n: u64,
    /// How many of them there are where only some were listed, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<u64>,
    /// Whether there are more than were listed.
    pub more: bool,
    /// What else a person should know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl CallbackView {
    /// A callback, with its query and body only if they are asked for.
    #[must_use]
    pub fn new(row: &CallbackRow, contents: bool) -> CallbackView {
        let callback = &*row.callback;
        CallbackView {
            seq: row.seq,
            id: callback.id().to_string(),
            received_at: callback.received_at().into(),
            event_time: callback.event_time().map(Moment),
            sdk_app_id: callback.app().sdk_app_id(),
            app: callback.app().name().to_owned(),
            command: callback.command().as_str().to_owned(),
            phase: callback.phase().to_string(),
            key: callback.key().map(|key| key.as_ref().to_owned()),
            identity: callback.identity().map(|identity| format!("{identity:032x}")),
            traceparent: callback.traceparent().map(str::to_owned),
            body_bytes: callback.body_bytes().len(),
            decisions: Vec::new(),
            query: contents.then(|| callback.query().to_owned()),
            body: contents.then(|| raw(callback.body_bytes())),
        }
    }
}

impl EventView {
    /// An event, with its data only if it is asked for.
    #[must_use]
    pub fn new(row: &EventRow, contents: bool) -> EventView {
        let event = &row.event;
        let callback: &Callback = &event.callback;
        EventView {
            seq: event.seq,
            id: event.id(),
            event_type: event.event_type.as_ref().to_owned(),
            time: event.time.into(),
            received_at: callback.received_at().into(),
            sdk_app_id: callback.app().sdk_app_id(),
            app: callback.app().name().to_owned(),
            command: callback.command().as_str().to_owned(),
            key: event.key.as_ref().map(|key| key.as_ref().to_owned()),
            callback_id: callback.id().to_string(),
            callback_seq: row.callback_seq,
            handler: event.handler.as_ref().to_owned(),
            n: event.n,
            sinks: names(&row.sinks).map(str::to_owned).collect(),
            idempotency_key: event.idempotency_key(),
            replay: event.replay,
            data_bytes: event.data_json().len(),
            data: contents.then(|| match &event.data {
                EventData::Json(json) => raw(json),
                EventData::Callback => raw(callback.body_bytes()),
            }),
        }
    }
}

impl AttemptView {
    pub(crate) fn new(attempt: &Attempt) -> AttemptView {
        let response = attempt.response.as_ref();
        AttemptView {
            n: attempt.n,
            at: attempt.at.into(),
            error: attempt.error.clone(),
            status: response.map(|response| response.status),
            excerpt: response.map(|response| response.excerpt.clone()).filter(|excerpt| !excerpt.is_empty()),
        }
    }
}

impl ReplayView {
    pub(crate) fn new(replay: &Replay, checkpoint: Option<u64>) -> ReplayView {
        let spec: serde_json::Value = serde_json::from_str(&replay.spec).unwrap_or_default();
        let of = replay.dead_of.as_deref().or(spec["of"].as_str()).unwrap_or(&replay.target).to_owned();
        ReplayView {
            id: replay.id,
            at: replay.at.into(),
            of,
            target: replay.target.as_ref().to_owned(),
            dead_letters: replay.dead_of.is_some(),
            stream: replay.stream.to_string(),
            first: replay.first,
            last: replay.last,
            checkpoint,
            done: replay.done,
            dead: replay.dead,
            ended_at: replay.ended_at.map(Moment),
            cancelled: replay.cancelled,
            spec,
        }
    }
}

impl DamagedView {
    pub(crate) fn new(stream: Stream, seq: u64, reason: String) -> DamagedView {
        DamagedView { stream: stream.to_string(), seq, damaged: reason }
    }
}

/// The names in a list of sinks, as the journal keeps it.
pub(crate) fn names(sinks: &str) -> impl Iterator<Item = &str> {
    sinks.split(',').filter(|name| !name.is_empty())
}

/// JSON text as it is, but in one line: line breaks and tabs can only be white space.
pub(crate) fn raw(json: &[u8]) -> Box<RawValue> {
    let text = String::from_utf8_lossy(json).replace(['\n', '\r', '\t'], " ");
    // Intake and handlers let only JSON in. Were it something else, it would be shown as a string.
    RawValue::from_string(text).unwrap_or_else(|_| {
        let text = serde_json::Value::from(String::from_utf8_lossy(json));
        serde_json::value::to_raw_value(&text).expect("a string is JSON")
    })
}
