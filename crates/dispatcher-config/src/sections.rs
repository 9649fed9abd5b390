//! The dispatcher's own sections. What a key means, its unit, its default and why it is that, stands at the key.

use std::{
    net::SocketAddr,
    num::{NonZeroU32, NonZeroUsize},
    path::PathBuf,
};

use dispatcher_core::{ByteSize, CommandPattern, Secret, TimeSpan};
use schemars::JsonSchema;
use serde::Deserialize;

/// `[intake]`: where callbacks come in.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct IntakeSection {
    /// Address and port to listen on. Default `127.0.0.1:8080`: nothing beyond this machine gets in unasked.
    #[serde(deserialize_with = "socket_addr")]
    #[schemars(with = "String")]
    pub listen: SocketAddr,
    /// The path of the callback URL. `"*"` accepts any path. Default `/callback`.
    pub path: String,
    /// By when a verified callback is answered, whatever happens. Below Tencent's two seconds, with room for the way
    /// back: default 1.5 s.
    pub answer_within: TimeSpan,
    /// The largest body that is read. Tencent publishes no maximum; default 1 MiB.
    pub body_limit: ByteSize,
    /// How far `RequestTime` may be from our clock, either way. Tencent suggests a minute; default 60 s.
    pub freshness: TimeSpan,
    /// How long a request's head may take from its first byte. Default 10 s.
    pub header_within: TimeSpan,
    /// How long a connection may rest between two requests. Tencent keeps connections, and one that is closed just as
    /// it is used again costs a callback: default 5 min.
    pub idle: TimeSpan,
    /// How many connections may be open at once. Default 4096.
    pub max_connections: NonZeroUsize,
    /// Threads that take callbacks. Default: one per core.
    pub threads: Option<NonZeroUsize>,
    /// How long a stop may take to finish what is under way. Default 10 s.
    pub drain: TimeSpan,
    /// Allows apps that do not require a signature on an address that others can reach. Default false: anybody who can
    /// reach it could make callbacks up.
    pub allow_unsigned_remote: bool,
}

impl Default for IntakeSection {
    fn default() -> IntakeSection {
        IntakeSection {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            path: "/callback".into(),
            answer_within: TimeSpan::from_millis(1500),
            body_limit: ByteSize::mib(1),
            freshness: TimeSpan::from_secs(60),
            header_within: TimeSpan::from_secs(10),
            idle: TimeSpan::from_secs(300),
            max_connections: const { NonZeroUsize::new(4096).expect("not zero") },
            threads: None,
            drain: TimeSpan::from_secs(10),
            allow_unsigned_remote: false,
        }
    }
}

/// `[[apps]]`: one SDKAppID whose callbacks are accepted.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AppSection {
    /// Its SDKAppID.
    pub sdk_app_id: u64,
    /// A name for people, logs and `apps = […]`.
    pub name: String,
    /// The authentication token of the console's callback page; two while one replaces the other.
    #[serde(default)]
    pub tokens: Vec<Secret>,
    /// Whether callbacks must be signed. Default `required`.
    #[serde(default)]
    pub signature: SignaturePolicy,
}

/// Whether an app's callbacks must be signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SignaturePolicy {
    /// A callback without a valid signature is refused.
    #[default]
    Required,
    /// A callback may come without a signature; one that it has must be valid. For the time of switching it on.
    Optional,
    /// Signatures are not looked at. For trying things out.
    Off,
}

/// `[commands."PATTERN"]`, decoded.
#[derive(Clone, Debug)]
pub struct CommandRule {
    /// Which commands it is for. Of several patterns that select one command, the narrowest speaks.
    pub pattern: CommandPattern,
    /// Whether they are stored.
    pub journal: JournalRule,
}

/// The keys of `[commands."PATTERN"]`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
pub(crate) struct CommandSection {
    /// `"always"`, or `"never"`: answered OK and counted, but neither stored nor handled.
    pub(crate) journal: JournalRule,
}

/// Whether callbacks of a command are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum JournalRule {
    /// Each is durable before it is acknowledged, and handled.
    #[default]
    Always,
    /// Each is acknowledged and counted, and that is all.
    Never,
}

/// `[journal]`: where callbacks are made durable.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct JournalSection {
    /// The file; its folder is made if it is missing. Default `data/journal.db`.
    pub path: PathBuf,
    /// `"always"`: on the disk before the answer. `"off"`: only for comparing speeds, since a power cut then loses
    /// callbacks that were acknowledged.
    pub sync: Sync,
    /// What counts as a repeat of an earlier callback.
    pub dedupe: DedupeSection,
}

impl Default for JournalSection {
    fn default() -> JournalSection {
        JournalSection { path: "data/journal.db".into(), sync: Sync::default(), dedupe: DedupeSection::default() }
    }
}

/// When what was written is on the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Sync {
    /// Before it is acknowledged.
    #[default]
    Always,
    /// When the system gets to it.
    Off,
}

/// `[journal] dedupe`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DedupeSection {
    /// How long a callback is remembered. Default 10 min; `"0s"` turns it off.
    pub window: TimeSpan,
    /// How many are remembered at most, at about 50 bytes each. Default 200,000.
    pub entries: usize,
}

impl Default for DedupeSection {
    fn default() -> DedupeSection {
        DedupeSection { window: TimeSpan::from_secs(600), entries: 200_000 }
    }
}

/// `[log]`: text for people.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogSection {
    /// The least level that is written. Default `info`; `debug` writes a line per callback.
    pub level: LogLevel,
    /// How lines look. Default `auto`.
    pub format: LogFormat,
}

/// The least level that is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Data was lost, or a person is needed.
    Error,
    /// Something failed and was recovered from, or is tried again.
    Warn,
    /// Start, stop, changes of state.
    #[default]
    Info,
    /// A line per callback.
    Debug,
    /// Everything.
    Trace,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// `human` on a terminal, `json` otherwise.
    #[default]
    Auto,
    /// For people.
    Human,
    /// For programs, one object per line.
    Json,
}

/// How often and how soon something that failed is tried again. Keys of every handler and sink.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct BackoffSection {
    /// The longest wait before the second attempt. Default 1 s.
    pub(crate) first: TimeSpan,
    /// The longest wait of all. Default 10 min.
    pub(crate) max: TimeSpan,
    /// How much longer each wait may be than the one before. Default 2.0.
    pub(crate) factor: f64,
}

impl Default for BackoffSection {
    fn default() -> BackoffSection {
        BackoffSection { first: TimeSpan::from_secs(1), max: TimeSpan::from_secs(600), factor: 2.0 }
    }
}

/// The dispatcher's keys in `[handlers.<name>]`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct HandlerKeys {
    /// The handler's plugin. Default: the section's own name.
    pub(crate) r#type: Option<String>,
    /// Whether it runs. Default true; a handler that is switched off keeps its place in the journal.
    pub(crate) enabled: bool,
    /// The commands it selects: names, families such as `"Group.*"`, or `"*"`. Default: the plugin's.
    pub(crate) commands: Option<Vec<String>>,
    /// Commands it leaves out of these.
    pub(crate) except: Vec<String>,
    /// The names of the apps it selects. Default: all.
    pub(crate) apps: Option<Vec<String>>,
    /// `"before"`, `"after"` or `"any"`. Default: the plugin's, mostly `any`.
    pub(crate) phase: Option<dispatcher_core::PhaseFilter>,
    /// The names of the sinks that its events go to.
    pub(crate) sinks: Vec<String>,
    /// How many callbacks it works on at once, each of another key. Default 4.
    pub(crate) lanes: Option<NonZeroUsize>,
    /// How often a callback is tried before it becomes a dead letter. Default 20.
    pub(crate) attempts: NonZeroU32,
    /// The waits between attempts.
    pub(crate) backoff: BackoffSection,
    /// How long one call may take. Default 30 s.
    pub(crate) timeout: TimeSpan,
    /// Threads of its own. Default 1.
    pub(crate) threads: NonZeroUsize,
}

impl Default for HandlerKeys {
    fn default() -> HandlerKeys {
        HandlerKeys {
            r#type: None,
            enabled: true,
            commands: None,
            except: Vec::new(),
            apps: None,
            phase: None,
            sinks: Vec::new(),
            lanes: None,
            attempts: ATTEMPTS,
            backoff: BackoffSection::default(),
            timeout: TimeSpan::from_secs(30),
            threads: NonZeroUsize::MIN,
        }
    }
}

/// The dispatcher's keys in `[sinks.<name>]`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SinkKeys {
    /// The sink's plugin, such as `"file"`.
    pub(crate) r#type: String,
    /// Whether it runs. Default true; a sink that is switched off keeps its place in the journal.
    #[serde(default = "yes")]
    pub(crate) enabled: bool,
    /// How many deliveries are under way at once, each of another key. Default: the plugin's.
    pub(crate) lanes: Option<NonZeroUsize>,
    /// How many events one delivery carries at most. Default: 512 for sinks of one lane, else 1.
    pub(crate) batch: Option<NonZeroUsize>,
    /// How often an event is tried before it becomes a dead letter; an outage of the whole sink does not count.
    /// Default 20.
    #[serde(default = "attempts")]
    pub(crate) attempts: NonZeroU32,
    /// The waits between attempts.
    #[serde(default)]
    pub(crate) backoff: BackoffSection,
    /// How long one delivery may take. Default 30 s.
    #[serde(default = "timeout")]
    pub(crate) timeout: TimeSpan,
    /// Threads of its own. Default 1.
    #[serde(default = "one")]
    pub(crate) threads: NonZeroUsize,
}

const ATTEMPTS: NonZeroU32 = NonZeroU32::new(20).expect("not zero");

fn yes() -> bool {
    true
}

fn attempts() -> NonZeroU32 {
    ATTEMPTS
}

fn timeout() -> TimeSpan {
    TimeSpan::from_secs(30)
}

fn one() -> NonZeroUsize {
    NonZeroUsize::MIN
}

fn socket_addr<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| {
        serde::de::Error::custom(format!(
            "{text:?} is not an address; write an IP address and a port, such as \"0.0.0.0:8080\""
        ))
    })
}
