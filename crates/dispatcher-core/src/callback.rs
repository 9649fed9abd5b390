//! One request from Tencent, as received and verified.

use std::{borrow::Cow, fmt, sync::Arc};

use bytes::Bytes;
use serde::Deserialize;
use tencent_chat::{Phase, Query};
use uuid::Uuid;

use crate::{Command, HandlerError, Timestamp, TraceParent};

/// One SDKAppID with the name that the team gave it. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct App {
    sdk_app_id: u64,
    name: Arc<str>,
}

impl App {
    /// An app with this SDKAppID and name.
    #[must_use]
    pub fn new(sdk_app_id: u64, name: &str) -> App {
        App { sdk_app_id, name: name.into() }
    }

    /// Its SDKAppID.
    #[must_use]
    pub fn sdk_app_id(&self) -> u64 {
        self.sdk_app_id
    }

    /// Its name in the configuration.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Names one callback: a UUID version 7, minted when the callback was verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallbackId(Uuid);

impl CallbackId {
    /// A new one. Ids minted by one process sort by the time they were minted at.
    #[must_use]
    pub fn mint() -> CallbackId {
        CallbackId(Uuid::now_v7())
    }

    /// From the sixteen bytes that [`as_bytes`](CallbackId::as_bytes) gave.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> CallbackId {
        CallbackId(Uuid::from_bytes(bytes))
    }

    /// Its sixteen bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for CallbackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.0.as_hyphenated(), f)
    }
}

/// What order is kept within: things of one app with equal keys are handled and delivered one after the other.
pub type Key = Arc<str>;

/// One request from Tencent: verified, not interpreted.
///
/// The body is a JSON object – intake saw to that – whose members are as Tencent sent them.
#[derive(Clone)]
pub struct Callback {
    parts: CallbackParts,
}

/// What a [`Callback`] is made of, for those who make one: intake, the journal, tests.
#[derive(Clone)]
pub struct CallbackParts {
    /// Its id.
    pub id: CallbackId,
    /// The app it is about.
    pub app: App,
    /// Its command.
    pub command: Command,
    /// The raw query string, without `Sign` and `RequestTime`. Where the request had a trace, that is
    /// [behind](TraceParent::behind) it.
    pub query: Arc<str>,
    /// The raw body: a JSON object in UTF-8.
    pub body: Bytes,
    /// When it was received.
    pub received_at: Timestamp,
    /// When it happened, by Tencent's word (`EventTime`), if the body has a sensible one.
    pub event_time: Option<Timestamp>,
    /// What order is kept within; `None` waits for nobody.
    pub key: Option<Key>,
    /// Equal for repeats of one callback; `None` where the packet has nothing that tells two happenings apart.
    pub identity: Option<u128>,
}

impl Callback {
    /// Puts a callback together.
    #[must_use]
    pub fn new(parts: CallbackParts) -> Callback {
        Callback { parts }
    }

    /// The same callback with another body: how one decider shows the next what it changed.
    #[must_use]
    pub fn with_body(&self, body: Bytes) -> Callback {
        Callback { parts: CallbackParts { body, ..self.parts.clone() } }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> CallbackId {
        self.parts.id
    }

    /// The app it is about.
    #[must_use]
    pub fn app(&self) -> &App {
        &self.parts.app
    }

    /// Its command.
    #[must_use]
    pub fn command(&self) -> &Command {
        &self.parts.command
    }

    /// Whether it came before or after the fact.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.parts.command.phase()
    }

    /// The raw query string, without `Sign` and `RequestTime`.
    #[must_use]
    pub fn query(&self) -> &str {
        TraceParent::split(&self.parts.query).0
    }

    /// The trace that the request was part of, as the text of a `traceparent`, if it said so in that header.
    #[must_use]
    pub fn traceparent(&self) -> Option<&str> {
        TraceParent::split(&self.parts.query).1
    }

    /// What [`CallbackParts::query`] was: query and trace in one, for those who store it.
    #[must_use]
    pub fn query_and_trace(&self) -> &str {
        &self.parts.query
    }

    /// The user's address, where Tencent sent one (`ClientIP`).
    #[must_use]
    pub fn client_ip(&self) -> Option<Cow<'_, str>> {
        self.parsed_query().client_ip
    }

    /// The user's platform, where Tencent sent one (`OptPlatform`): `RESTAPI`, `iOS`, `Web`, … – an open list.
    #[must_use]
    pub fn opt_platform(&self) -> Option<Cow<'_, str>> {
        self.parsed_query().opt_platform
    }

    /// The raw query's parameters.
    pub(crate) fn parsed_query(&self) -> Query<'_> {
        // Intake has parsed this text once; should a stored one no longer parse, it names no client and no platform.
        Query::parse(self.query()).unwrap_or_default()
    }

    /// The body's bytes, exactly as received.
    #[must_use]
    pub fn body_bytes(&self) -> &Bytes {
        &self.parts.body
    }

    /// Decodes the body, borrowing from it where `T` does.
    ///
    /// # Errors
    /// When the body does not fit `T`; the error names the path in the body, what was expected and what kind of thing was
    /// found, but no value. It is permanent: the same body will not fit at the next attempt.
    pub fn body<'a, T: Deserialize<'a>>(&'a self) -> Result<T, HandlerError> {
        tencent_chat::decode(&self.parts.body)
            .map_err(|err| HandlerError::permanent(format_args!("{}: {err}", self.command())))
    }

    /// When it was received, by our clock.
    #[must_use]
    pub fn received_at(&self) -> Timestamp {
        self.parts.received_at
    }

    /// When it happened, by Tencent's word (`EventTime`), if the body has a sensible one.
    #[must_use]
    pub fn event_time(&self) -> Option<Timestamp> {
        self.parts.event_time
    }

    /// What order is kept within; `None` waits for nobody.
    #[must_use]
    pub fn key(&self) -> Option<&Key> {
        self.parts.key.as_ref()
    }

    /// The first 128 bits of a SHA-256 over app, command and body; `None` where there can be no repeats.
    #[must_use]
    pub fn identity(&self) -> Option<u128> {
        self.parts.identity
    }
}

/// Without the body and the query: they are people's messages and addresses, and belong in no log.
impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callback")
            .field("id", &self.id().to_string())
            .field("app", &self.app().sdk_app_id())
            .field("command", self.command())
            .field("body_len", &self.body_bytes().len())
            .finish_non_exhaustive()
    }
}
