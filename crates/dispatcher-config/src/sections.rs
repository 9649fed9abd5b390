//! The dispatcher's own sections. What a key means, its unit, its default and why it is that, stands at the key.

use std::{collections::BTreeMap, net::SocketAddr, num::NonZeroUsize, path::PathBuf, time::Duration};

use dispatcher_core::{ByteSize, CommandPattern, Network, Secret, TimeSpan};
use dispatcher_tls::{CertFiles, TlsFiles};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{DefaultDecision, Limit};

/// `[intake]`: where callbacks come in.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct IntakeSection {
    /// Address and port to listen on. Default `127.0.0.1:8080`: nothing beyond this machine gets in unasked.
    #[serde(deserialize_with = "socket_addr")]
    #[schemars(with = "String")]
    pub listen: SocketAddr,
    /// The certificate to speak TLS with. Left out: plain HTTP, for a network that is trusted or a proxy in front.
    pub tls: Option<TlsSection>,
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
    /// How many connections one address (one /64 of IPv6) may have open at once, or `"off"`; a further one is closed at
    /// once. Those of `trusted_proxies` do not count. Default `off`: how many addresses Tencent calls from is not
    /// published.
    pub max_connections_per_address: Limit<NonZeroUsize>,
    /// How many callbacks may be under way at once. Beyond, after callbacks are refused with 503; those that want a
    /// decision are always taken. Default 2048.
    pub max_in_flight: NonZeroUsize,
    /// Proxies in front, as networks or addresses: what they say in `X-Forwarded-For` is believed, for `allow_from`.
    /// Default: none.
    pub trusted_proxies: Vec<Network>,
    /// Whether each connection begins with a header of the PROXY protocol (version 1 or 2), as balancers write it that pass
    /// connections on as they are; the address in it is then the client's. Only `trusted_proxies` get a connection then.
    /// Default false.
    pub proxy_protocol: bool,
    /// The largest head of a request. Default 16 KiB.
    pub header_limit: ByteSize,
    /// How many header lines a request may have. Default 100.
    pub max_headers: NonZeroUsize,
    /// The longest query string. Default 8 KiB.
    pub query_limit: ByteSize,
    /// How many objects and arrays of a body may lie within each other. Default 100.
    pub json_depth: NonZeroUsize,
    /// Whether a signature that came with another callback before is refused; it is counted in any case. Default false:
    /// Tencent signs whatever it sends in one second alike, so this is for traffic below one callback a second.
    pub strict_replay: bool,
    /// What is answered to an after callback that cannot be made durable: `"refuse"`, 503 at once, or `"hold"`, nothing
    /// until Tencent has timed out, which it can be set to repeat. Default `refuse`.
    pub when_not_durable: WhenNotDurable,
    /// How long a stop goes on accepting, each answer the last of its connection, for a balancer in front to notice.
    /// Default 0 s.
    pub linger: TimeSpan,
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
            tls: None,
            path: "/callback".into(),
            answer_within: TimeSpan::from_millis(1500),
            body_limit: ByteSize::mib(1),
            freshness: TimeSpan::from_secs(60),
            header_within: TimeSpan::from_secs(10),
            idle: TimeSpan::from_secs(300),
            max_connections: const { NonZeroUsize::new(4096).expect("not zero") },
            max_connections_per_address: Limit::Off,
            max_in_flight: const { NonZeroUsize::new(2048).expect("not zero") },
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
            header_limit: ByteSize::kib(16),
            max_headers: const { NonZeroUsize::new(100).expect("not zero") },
            query_limit: ByteSize::kib(8),
            json_depth: const { NonZeroUsize::new(100).expect("not zero") },
            strict_replay: false,
            when_not_durable: WhenNotDurable::default(),
            linger: TimeSpan::from_secs(0),
            threads: None,
            drain: TimeSpan::from_secs(10),
            allow_unsigned_remote: false,
        }
    }
}

/// `tls` of `[intake]` and of `[admin]`: PEM files, read at start and at each reload.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsSection {
    /// The certificate, followed by those between it and a root that clients know.
    pub cert: PathBuf,
    /// Its private key, not encrypted.
    pub key: PathBuf,
    /// The authorities whose certificates clients may show. Left out: clients are not asked for one.
    pub client_ca: Option<PathBuf>,
    /// Whether a client must show one. Default `required`.
    pub client_auth: Option<ClientAuth>,
    /// Further certificates, as `[{ cert = "…", key = "…" }]`: a client that asks for a DNS name that stands in one of
    /// these is shown that one, any other the one above. No name stands in two. Default: none.
    #[serde(default)]
    pub also: Vec<CertSection>,
}

/// One of `also` of `tls`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CertSection {
    /// The certificate, followed by those between it and a root that clients know.
    pub cert: PathBuf,
    /// Its private key, not encrypted.
    pub key: PathBuf,
}

impl TlsSection {
    /// The files that it names.
    #[must_use]
    pub fn files(&self) -> TlsFiles {
        let client_auth = match self.client_auth.unwrap_or_default() {
            ClientAuth::Required => dispatcher_tls::ClientAuth::Required,
            ClientAuth::Optional => dispatcher_tls::ClientAuth::Optional,
        };
        TlsFiles {
            cert: self.cert.clone(),
            key: self.key.clone(),
            client_ca: self.client_ca.clone(),
            client_auth,
            also: self.also.iter().map(|one| CertFiles { cert: one.cert.clone(), key: one.key.clone() }).collect(),
        }
    }
}

/// Whether clients must show a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuth {
    /// Who shows none gets no connection.
    #[default]
    Required,
    /// Who shows none is let in; one that is shown must be right. For the time of switching it on.
    Optional,
}

/// What is answered to an after callback that cannot be made durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WhenNotDurable {
    /// 503, at once.
    #[default]
    Refuse,
    /// Nothing for five seconds: longer than Tencent waits.
    Hold,
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
    /// Networks and addresses that its callbacks may come from. Left out: any.
    #[serde(default)]
    pub allow_from: Option<Vec<Network>>,
}

/// Whether an app's callbacks must be signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
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
    /// How long they are kept once they are delivered; never zero. None: as long as `[journal] keep_for` says.
    pub keep_for: Option<Duration>,
    /// What is decided where no handler decides. None: this rule says nothing about that.
    pub default_decision: Option<DefaultDecision>,
}

/// The keys of `[commands."PATTERN"]`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct CommandSection {
    /// `"always"`, or `"never"`: answered OK and counted, but neither stored nor handled.
    pub(crate) journal: JournalRule,
    /// How long they and their events are kept for replay once they are delivered. Default: the journal's `keep_for`.
    pub(crate) keep_for: Option<TimeSpan>,
    /// `"allow"` or `"refuse"`: what Tencent is answered where a decision is wanted and no handler that decides is switched on
    /// for it. Default `allow`, as Tencent's own.
    pub(crate) default_decision: Option<DefaultDecision>,
}

/// Whether callbacks of a command are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
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
    /// How long delivered callbacks and events are kept for replay. Default 3 days: what went wrong on a Friday can be
    /// replayed on the Monday.
    pub keep_for: TimeSpan,
    /// How large the journal may be, or `"off"`. Above it the oldest that is delivered goes before its time. Default
    /// `off`.
    pub max_size: Limit<ByteSize>,
    /// What happens when a consumer that does not get on has yet to take what is due to be deleted. Default `block`:
    /// nothing is lost, and the journal grows.
    pub when_blocked: WhenBlocked,
    /// How long dead letters are kept, or `"off"`: until someone acts. Default `off`.
    pub keep_dead_letters_for: Limit<TimeSpan>,
}

impl Default for JournalSection {
    fn default() -> JournalSection {
        JournalSection {
            path: "data/journal.db".into(),
            sync: Sync::default(),
            dedupe: DedupeSection::default(),
            keep_for: TimeSpan::from_secs(3 * 24 * 3600),
            max_size: Limit::Off,
            when_blocked: WhenBlocked::default(),
            keep_dead_letters_for: Limit::Off,
        }
    }
}

/// When what was written is on the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Sync {
    /// Before it is acknowledged.
    #[default]
    Always,
    /// When the system gets to it.
    Off,
}

/// What happens when a consumer that does not get on holds what is due to be deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WhenBlocked {
    /// It is kept until the consumer has it.
    #[default]
    Block,
    /// It becomes dead letters of the consumer, which has a copy of its own in each.
    DeadLetter,
    /// The consumer passes it by, with a record of what it missed.
    Skip,
}

/// `[journal] dedupe`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
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

/// `[reload]`: when the configuration is read again by itself.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ReloadSection {
    /// How often it is looked whether something else stands in the file, or in the files that it names, or `"off"`: only
    /// SIGHUP and `dispatcher reload` reload. Such as `"5s"`; default `off`.
    pub watch: Limit<TimeSpan>,
}

impl Default for ReloadSection {
    fn default() -> ReloadSection {
        ReloadSection { watch: Limit::Off }
    }
}

/// `[observe]`: metrics and health.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ObserveSection {
    /// Address and port to answer `/metrics`, `/healthz` and `/readyz` on, without a password: no contents and no
    /// credentials are shown there, but names and numbers are. Left out: nowhere.
    #[serde(deserialize_with = "some_socket_addr")]
    #[schemars(with = "Option<String>")]
    pub listen: Option<SocketAddr>,
    /// Where the way of each callback is exported to as spans. Left out: nowhere. Only in a program that is built with the
    /// feature `otlp`.
    pub otlp: Option<OtlpSection>,
}

/// `[observe.otlp]`: where the way of each callback is exported to as spans, by OTLP over HTTP.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OtlpSection {
    /// The URL that takes traces, such as `"http://127.0.0.1:4318/v1/traces"`. No default.
    pub endpoint: String,
    /// Headers to send with every request, such as `Authorization`. Values are secrets and never shown. None by default.
    #[serde(default)]
    pub headers: BTreeMap<String, Secret>,
    /// The share of callbacks that is exported, from 0.0 to 1.0. One that came with a `traceparent` is exported if its sender
    /// exports its own part, and not otherwise. Default 1.0: all of them.
    #[serde(default = "all")]
    pub sample: f64,
    /// How long one request may take. Default 10 s.
    #[serde(default = "ten_seconds")]
    pub timeout: TimeSpan,
    /// What this dispatcher is called there: `service.name`. Default `dispatcher`.
    #[serde(default = "dispatcher")]
    pub service_name: String,
}

fn all() -> f64 {
    1.0
}

fn ten_seconds() -> TimeSpan {
    TimeSpan::from_secs(10)
}

fn dispatcher() -> String {
    "dispatcher".to_owned()
}

/// `[admin]`: who may ask and steer this dispatcher over the network, and what is on record of it. On its own machine,
/// `dispatcher status` and the like ask it through a socket, without any of this.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AdminSection {
    /// Address and port to be asked on, by `dispatcher --admin` and the like. Left out: nowhere.
    #[serde(deserialize_with = "some_socket_addr")]
    #[schemars(with = "Option<String>")]
    pub listen: Option<SocketAddr>,
    /// What opens it: at least 32 characters, such as `openssl rand -hex 32` makes; two while one replaces the other.
    pub tokens: Vec<Secret>,
    /// The names it is asked at, such as `control.example.com`, with a port or for any port; a request to another name is
    /// refused. The address that it listens on is one in any case.
    pub hosts: Vec<String>,
    /// The certificate to speak TLS with. Left out: plain HTTP, for this machine alone or a proxy in front.
    pub tls: Option<TlsSection>,
    /// Allows plain HTTP on an address that others can reach, for a proxy in front that speaks TLS. Default false: the token
    /// would be read on the way.
    pub allow_plain: bool,
    /// The file that has a line for each action that changes something or shows contents, and for each reload, or `false` for
    /// none. Whoever asks over the network is in it by the address of the connection: behind a proxy, the proxy's, since
    /// `X-Forwarded-For` is not read here. Default `audit.jsonl` beside the journal.
    pub audit: Option<AuditFile>,
}

/// Where admin actions are written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditFile {
    /// In the log only.
    Off,
    /// In this file too.
    At(PathBuf),
}

impl<'de> Deserialize<'de> for AuditFile {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<AuditFile, D::Error> {
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(path) if !path.is_empty() => Ok(AuditFile::At(path.into())),
            serde_json::Value::Bool(false) => Ok(AuditFile::Off),
            _ => Err(serde::de::Error::custom("write a file, such as \"data/audit.jsonl\", or false")),
        }
    }
}

impl JsonSchema for AuditFile {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "AuditFile".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "anyOf": [{ "type": "string", "minLength": 1 }, { "const": false }] })
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
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

fn some_socket_addr<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    socket_addr(deserializer).map(Some)
}

fn socket_addr<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| {
        serde::de::Error::custom(format!(
            "{text:?} is not an address; write an IP address and a port, such as \"0.0.0.0:8080\""
        ))
    })
}
