//! How a handler or sink runs: the keys that both take, and what comes of them.

use std::{
    fmt,
    num::{NonZeroU32, NonZeroUsize},
    time::Duration,
};

use dispatcher_core::{Rate, TimeSpan, Timestamp};
use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, Visitor},
};

use crate::{Limit, config::MAX_THREADS, key_path::KeyPath, source::Source};

/// How a handler or sink runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RunSettings {
    /// How many items are under way at once; at least 1.
    pub lanes: usize,
    /// How many items one call carries at most; at least 1.
    pub batch: usize,
    /// How often an item is tried before it is given up on, at least once. None: the count alone never gives it up.
    pub attempts: Option<u32>,
    /// For how much of the time in which the plugin was up an item is tried; never zero. None: age alone never gives it
    /// up.
    pub give_up_after: Option<Duration>,
    /// The waits between attempts.
    pub backoff: BackoffSettings,
    /// How long one call may take; never zero.
    pub timeout: Duration,
    /// What waits for what. Handlers keep the order of keys.
    pub order: Order,
    /// How many events it takes at most. None: as many as there are. Handlers have none.
    pub rate: Option<Rate>,
    /// Where it begins in a journal that does not know it yet.
    pub start: StartAt,
    /// Threads of its own; at least 1.
    pub threads: usize,
}

/// The waits between attempts: each is drawn between zero and a bound that grows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BackoffSettings {
    /// The bound of the first wait.
    pub first: Duration,
    /// The largest bound.
    pub max: Duration,
    /// How the bound grows from wait to wait; at least 1.
    pub factor: f64,
}

/// What an event waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// For earlier ones of its key.
    #[default]
    Key,
    /// For none.
    None,
}

/// Where an instance begins that the journal has not seen before: used once, and never again under that name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StartAt {
    /// With what comes from now on.
    #[default]
    End,
    /// With the oldest that is there.
    Oldest,
    /// With the first that was stored at this time or later.
    Time(Timestamp),
}

/// The dispatcher's keys that `[handlers.<name>]` and `[sinks.<name>]` both take.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RunKeys {
    /// Whether it runs. Default true; what is switched off keeps its place in the journal.
    pub(crate) enabled: bool,
    /// How many callbacks or deliveries are under way at once, each of another key. Default: the plugin's, which is 4 for most
    /// handlers.
    pub(crate) lanes: Option<NonZeroUsize>,
    /// How often a callback or event is tried before it becomes a dead letter, or `"off"`: as often as it takes. Default
    /// 20; an outage of a whole sink does not count.
    pub(crate) attempts: Limit<NonZeroU32>,
    /// How long it is tried before it becomes a dead letter, or `"off"`: for as long as it takes. Only time in which the
    /// plugin was up counts. Default 72 h.
    pub(crate) give_up_after: Limit<TimeSpan>,
    /// The waits between attempts.
    pub(crate) backoff: BackoffSection,
    /// How long one call may take. Default 30 s.
    pub(crate) timeout: TimeSpan,
    /// Where it begins when the journal has not seen it before: `"end"`, `"oldest"`, or an RFC 3339 time. Default `end`:
    /// a new sink is not flooded with what happened before it. Used once.
    pub(crate) start: StartAt,
    /// Threads of its own. Default 1.
    pub(crate) threads: NonZeroUsize,
}

/// The names of the keys of [`RunKeys`]; a test holds them equal.
pub(crate) const RUN_KEYS: [&str; 8] =
    ["attempts", "backoff", "enabled", "give_up_after", "lanes", "start", "threads", "timeout"];

impl Default for RunKeys {
    fn default() -> RunKeys {
        RunKeys {
            enabled: true,
            lanes: None,
            attempts: Limit::At(const { NonZeroU32::new(20).expect("not zero") }),
            give_up_after: Limit::At(TimeSpan::from_secs(72 * 3600)),
            backoff: BackoffSection::default(),
            timeout: TimeSpan::from_secs(30),
            start: StartAt::default(),
            threads: NonZeroUsize::MIN,
        }
    }
}

/// The waits between attempts.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct BackoffSection {
    /// The longest wait before the second attempt. Default 1 s.
    first: TimeSpan,
    /// The longest wait of all. Default 10 min.
    max: TimeSpan,
    /// How much longer each wait may be than the one before. Default 2.0.
    factor: f64,
}

impl Default for BackoffSection {
    fn default() -> BackoffSection {
        BackoffSection { first: TimeSpan::from_secs(1), max: TimeSpan::from_secs(600), factor: 2.0 }
    }
}

const MAX_LANES: usize = 4096;

impl RunKeys {
    /// Checks the keys of the section at `path`, and gives what comes of them for a plugin that has `lanes` unless the
    /// section says otherwise, and takes `batch` items at a time.
    pub(crate) fn settings(&self, source: &mut Source, path: &KeyPath, lanes: usize, batch: usize) -> RunSettings {
        check_size(source, path, "lanes", self.lanes, MAX_LANES);
        check_size(source, path, "threads", Some(self.threads), MAX_THREADS);
        if self.timeout.get().is_zero() {
            source.error(&path.key("timeout"), "no call can return in no time; write a longer one, such as \"10s\"");
        }
        let give_up_after = self.give_up_after.get().map(TimeSpan::get);
        if give_up_after.is_some_and(|time| time.is_zero()) {
            let what = "zero would leave no time to try again; write a longer one, such as \"72h\", or \"off\"";
            source.error(&path.key("give_up_after"), what);
        }
        RunSettings {
            lanes: self.lanes.map_or(lanes, usize::from),
            batch,
            attempts: self.attempts.get().map(NonZeroU32::get),
            give_up_after,
            backoff: self.backoff.settings(source, &path.key("backoff")),
            timeout: self.timeout.get(),
            order: Order::Key,
            rate: None,
            start: self.start,
            threads: self.threads.get(),
        }
    }
}

impl BackoffSection {
    fn settings(self, source: &mut Source, path: &KeyPath) -> BackoffSettings {
        let BackoffSection { first, max, factor } = self;
        if first.get().is_zero() {
            source.error(&path.key("first"), "no wait would try without a pause; write a longer one, such as \"1s\"");
        }
        if max < first {
            source.error(&path.key("max"), format!("shorter than `first`, which is {first}; write a longer one"));
        }
        if !(1.0..=1000.0).contains(&factor) {
            source.error(&path.key("factor"), format!("{factor} does not make waits longer; write 1.0 to 1000.0"));
        }
        BackoffSettings { first: first.get(), max: max.get(), factor }
    }
}

pub(crate) fn check_size(source: &mut Source, path: &KeyPath, key: &str, size: Option<NonZeroUsize>, max: usize) {
    if size.is_some_and(|size| size.get() > max) {
        source.error(&path.key(key), format!("more than helps; write {max} at most"));
    }
}

impl<'de> Deserialize<'de> for StartAt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<StartAt, D::Error> {
        deserializer.deserialize_any(StartText)
    }
}

struct StartText;

const START: &str = "a place to start; write \"end\", \"oldest\", or a time with its offset, such as \
                     \"2026-01-02T15:04:05Z\"";

impl Visitor<'_> for StartText {
    type Value = StartAt;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(START)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<StartAt, E> {
        match text {
            "end" => Ok(StartAt::End),
            "oldest" => Ok(StartAt::Oldest),
            _ => match Timestamp::from_rfc_3339(text) {
                Some(time) => Ok(StartAt::Time(time)),
                None => Err(E::custom(format!("{text:?} is not {START}"))),
            },
        }
    }
}

impl Serialize for StartAt {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            StartAt::End => serializer.serialize_str("end"),
            StartAt::Oldest => serializer.serialize_str("oldest"),
            StartAt::Time(time) => serializer.collect_str(time),
        }
    }
}

impl JsonSchema for StartAt {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "StartAt".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "anyOf": [{ "enum": ["end", "oldest"] }, { "type": "string", "format": "date-time" }] })
    }
}
