//! Sinks: where events go.
//!
//! The life of a sink: its settings are decoded and [checked](SinkConfig::check) → it is [opened](SinkConfig::open), once
//! per lane → [`deliver`](Sink::deliver) is called, one batch at a time → [`close`](Sink::close). After a panic, or a call
//! that does not come back, that lane's sink is dropped without `close` and opened anew.

use std::{
    fmt, io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use schemars::{JsonSchema, Schema};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{CheckContext, Event, Failure, OpenContext, OpenError, Origin, SettingError, settings};

/// The settings of a sink, `[sinks.<name>]` in the configuration.
///
/// The dispatcher decodes them; give the struct `#[serde(deny_unknown_fields)]`, so that a misspelt key is reported, and
/// a doc comment per field, which becomes its help. The keys in [`RESERVED_KEYS`](crate::RESERVED_KEYS) are the
/// dispatcher's own.
#[async_trait]
pub trait SinkConfig: DeserializeOwned + JsonSchema + Send + Sync + 'static {
    /// What these settings open.
    type Sink: Sink;

    /// Finds what is wrong with the settings beyond their types. It may look at the file system; it changes nothing and
    /// contacts nobody. Called by `dispatcher check` and at every start, before anything is opened.
    ///
    /// # Errors
    /// Every finding, each naming its key.
    fn check(&self, _: &CheckContext) -> Result<(), Vec<SettingError>> {
        Ok(())
    }

    /// Which events it can take, with these settings.
    fn takes(&self) -> Takes {
        Takes::Any
    }

    /// The files that it reads when it is opened, beside secrets: a reload opens it anew when the content of one of them is
    /// another, and the configuration is watched together with them.
    fn files(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    /// Makes one lane's sink. It may do I/O, and may be called again: after a panic, or after it failed.
    ///
    /// # Errors
    /// When it cannot work now. The sink is then down: the dispatcher tries again after backoff, and events wait in the
    /// journal.
    async fn open(&self, cx: &OpenContext) -> Result<Self::Sink, OpenError>;
}

/// Delivers events.
#[async_trait]
pub trait Sink: Send + 'static {
    /// Delivers a batch and says of each event, in order, what became of it; [`Outcome::Done`] promises that it is safe.
    ///
    /// Events of one key come in order. After an event that is not done, later events of the same key in the batch must
    /// not be delivered: their outcome is [`Outcome::NotTried`]. An event may come again: after a crash, after a failure,
    /// in a replay; its [idempotency key](Event::idempotency_key) stays the same.
    ///
    /// It should return by [`DeliverContext::deadline`]; a call that is still under way a little later is dropped, and
    /// what it was doing counts as a failed attempt.
    ///
    /// # Errors
    /// The sink's own failure: nothing of the batch is known to be safe, and all of it will be tried again. It takes no
    /// attempt from any event. See [`DeliveryError`].
    async fn deliver(&mut self, batch: &[Event], cx: &DeliverContext) -> Result<Outcomes, DeliveryError>;

    /// Flushes what is held. Called at the end of a drain; nothing is delivered after it.
    ///
    /// # Errors
    /// When something could not be flushed. It is logged; no event depends on it, since each has its outcome.
    async fn close(&mut self) -> Result<(), DeliveryError> {
        Ok(())
    }
}

/// The circumstances of one call of [`Sink::deliver`].
#[derive(Clone, Debug)]
pub struct DeliverContext {
    /// By when it should have returned.
    pub deadline: Instant,
    /// Which attempt this is for the first event of the batch, from 1.
    pub attempt: u32,
}

impl DeliverContext {
    /// How long until the deadline; zero when it is over.
    #[must_use]
    pub fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

/// What became of one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is safe where it was to go.
    Done,
    /// It failed, and the failure is its own: it takes one of its attempts, or makes it a dead letter.
    Failed(Failure),
    /// It was left alone, because an earlier event of its key is not done or because there was no time. It takes no
    /// attempt.
    NotTried,
}

/// One [`Outcome`] per event of a batch, in the batch's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcomes(Option<Vec<Outcome>>);

impl Outcomes {
    /// All events are done.
    #[must_use]
    pub fn all_done() -> Outcomes {
        Outcomes(None)
    }

    /// One outcome per event.
    #[must_use]
    pub fn each(outcomes: Vec<Outcome>) -> Outcomes {
        Outcomes(Some(outcomes))
    }

    /// The outcomes of a batch of `n` events. Those that the sink did not give are [`Outcome::NotTried`], which is safe.
    #[must_use]
    pub fn into_vec(self, n: usize) -> Vec<Outcome> {
        let mut outcomes = self.0.unwrap_or_else(|| vec![Outcome::Done; n]);
        outcomes.resize(n, Outcome::NotTried);
        outcomes
    }
}

/// The sink's own failure, whatever it was to deliver: it cannot connect, its disk is full, it is asked to wait.
///
/// The sink is then *down*: it is tried with its oldest event after backoff until that works, and no event loses an
/// attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryError {
    message: String,
    retry_after: Option<Duration>,
    gone: bool,
}

impl DeliveryError {
    /// It does not work now.
    pub fn down(message: impl fmt::Display) -> DeliveryError {
        DeliveryError { message: message.to_string(), retry_after: None, gone: false }
    }

    /// It will not work until a person does something: the sink is *parked*, and not tried again until the next start.
    pub fn gone(message: impl fmt::Display) -> DeliveryError {
        DeliveryError { message: message.to_string(), retry_after: None, gone: true }
    }

    /// It asked to be left alone for `wait`.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> DeliveryError {
        self.retry_after = Some(wait);
        self
    }

    /// How long it asked to be left alone, if it did.
    #[must_use]
    pub fn wait(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Whether a person has to do something.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.gone
    }
}

impl From<io::Error> for DeliveryError {
    fn from(err: io::Error) -> DeliveryError {
        DeliveryError::down(err)
    }
}

impl fmt::Display for DeliveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for DeliveryError {}

/// Which events a sink can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// All.
    Any,
    /// Only callbacks that a handler forwards, because of the setting that is named here, such as `format = "raw"`.
    ForwardedOnly {
        /// The setting to name when the configuration has it otherwise.
        because: &'static str,
    },
}

/// How many lanes a sink works with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lanes {
    /// One, always: it writes to something that two cannot write to. It gets its events in large batches.
    One,
    /// As many as the configuration says; this many unless it does. It gets its events one by one.
    Default(usize),
}

/// A registered sink: what [`sink!`](crate::sink!) makes.
pub struct SinkPlugin {
    /// The name that `type` says in the configuration.
    pub name: &'static str,
    /// How many lanes it works with.
    pub lanes: Lanes,
    /// Where it comes from.
    pub origin: Origin,
    decode: fn(&Value) -> Result<Arc<dyn SinkSettings>, SettingError>,
    schema: fn() -> Schema,
}

inventory::collect!(SinkPlugin);

impl SinkPlugin {
    /// What [`sink!`](crate::sink!) calls.
    #[must_use]
    pub const fn new<C: SinkConfig>(name: &'static str, lanes: Lanes, origin: Origin) -> SinkPlugin {
        SinkPlugin { name, lanes, origin, decode: decode::<C>, schema: schema::<C> }
    }

    /// Decodes its settings out of a section that holds nothing else.
    ///
    /// # Errors
    /// The first place where the section does not fit.
    pub fn decode(&self, section: &Value) -> Result<Arc<dyn SinkSettings>, SettingError> {
        (self.decode)(section)
    }

    /// The JSON Schema of its settings.
    #[must_use]
    pub fn schema(&self) -> Schema {
        (self.schema)()
    }
}

/// Decoded settings of a sink whose type is no longer known. For the dispatcher; plugins implement [`SinkConfig`], which
/// makes them this.
#[async_trait]
pub trait SinkSettings: Send + Sync {
    /// [`SinkConfig::check`].
    ///
    /// # Errors
    /// Every finding.
    fn check(&self, cx: &CheckContext) -> Result<(), Vec<SettingError>>;

    /// [`SinkConfig::takes`].
    fn takes(&self) -> Takes;

    /// [`SinkConfig::files`].
    fn files(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    /// [`SinkConfig::open`].
    ///
    /// # Errors
    /// When it cannot work now.
    async fn open(&self, cx: &OpenContext) -> Result<Box<dyn Sink>, OpenError>;
}

#[async_trait]
impl<C: SinkConfig> SinkSettings for C {
    fn check(&self, cx: &CheckContext) -> Result<(), Vec<SettingError>> {
        SinkConfig::check(self, cx)
    }

    fn takes(&self) -> Takes {
        SinkConfig::takes(self)
    }

    fn files(&self) -> Vec<PathBuf> {
        SinkConfig::files(self)
    }

    async fn open(&self, cx: &OpenContext) -> Result<Box<dyn Sink>, OpenError> {
        Ok(Box::new(SinkConfig::open(self, cx).await?))
    }
}

fn decode<C: SinkConfig>(section: &Value) -> Result<Arc<dyn SinkSettings>, SettingError> {
    Ok(Arc::new(settings::decode::<C>(section)?))
}

fn schema<C: SinkConfig>() -> Schema {
    schemars::schema_for!(C)
}

/// Describes a sink for [`inventory::submit!`](https://docs.rs/inventory): its settings type, its name, and its lanes –
/// `one_lane` for what only one can write to, else the number it has by default.
///
/// ```
/// # use async_trait::async_trait;
/// # use dispatcher_core::*;
/// inventory::submit! { sink!(NowhereConfig, "nowhere", lanes = 4) }
///
/// /// `[sinks.<name>]` with `type = "nowhere"`.
/// #[derive(serde::Deserialize, schemars::JsonSchema)]
/// #[serde(deny_unknown_fields)]
/// struct NowhereConfig {}
///
/// #[async_trait]
/// impl SinkConfig for NowhereConfig {
///     type Sink = Nowhere;
///
///     async fn open(&self, _: &OpenContext) -> Result<Nowhere, OpenError> {
///         Ok(Nowhere)
///     }
/// }
///
/// struct Nowhere;
///
/// #[async_trait]
/// impl Sink for Nowhere {
///     async fn deliver(&mut self, _: &[Event], _: &DeliverContext) -> Result<Outcomes, DeliveryError> {
///         Ok(Outcomes::all_done())
///     }
/// }
///
/// let registry = Registry::collect(&[]).unwrap();
/// assert_eq!(registry.sink("nowhere").unwrap().lanes, Lanes::Default(4));
/// ```
#[macro_export]
macro_rules! sink {
    ($config:ty, $name:literal, one_lane) => {
        $crate::SinkPlugin::new::<$config>($name, $crate::Lanes::One, $crate::origin!())
    };
    ($config:ty, $name:literal, lanes = $lanes:literal) => {
        $crate::SinkPlugin::new::<$config>($name, $crate::Lanes::Default($lanes), $crate::origin!())
    };
}
