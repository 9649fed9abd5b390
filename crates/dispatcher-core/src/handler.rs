//! Handlers: what decides about callbacks, and turns them into events.
//!
//! The life of a handler: its settings are decoded and [checked](HandlerConfig::check) → it is
//! [opened](HandlerConfig::open) → [`decide`](Handler::decide) or [`handle`](Handler::handle) is called, by several at once →
//! it is dropped. After a panic, or a call that does not come back, it is dropped and opened anew. One that does both is
//! opened twice, once for each: neither waits for the other.

use std::{path::PathBuf, sync::Arc, time::Instant};

use async_trait::async_trait;
use schemars::{JsonSchema, Schema};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    Callback, CheckContext, DecideContext, Decision, HandlerError, NewEvent, OpenContext, OpenError, Origin,
    PhaseFilter, SettingError, settings,
};

/// The settings of a handler, `[handlers.<name>]` in the configuration.
///
/// The dispatcher decodes them; give the struct `#[serde(deny_unknown_fields)]`, so that a misspelt key is reported, and
/// a doc comment per field, which becomes its help. The keys in [`RESERVED_KEYS`](crate::RESERVED_KEYS) are the
/// dispatcher's own.
#[async_trait]
pub trait HandlerConfig: DeserializeOwned + JsonSchema + Send + Sync + 'static {
    /// What these settings open.
    type Handler: Handler;

    /// Finds what is wrong with the settings beyond their types. It may look at the file system; it changes nothing and
    /// contacts nobody. Called by `dispatcher check` and at every start, before anything is opened.
    ///
    /// # Errors
    /// Every finding, each naming its key.
    fn check(&self, _: &CheckContext) -> Result<(), Vec<SettingError>> {
        Ok(())
    }

    /// Whether every event it emits is the callback itself ([`NewEvent::forwarding`]). Sinks that pass on Tencent's own
    /// bytes take events from such handlers only.
    fn forwards(&self) -> bool {
        false
    }

    /// Whether [`handle`](Handler::handle) is called for callbacks that want a decision as well. `false` says that deciding is
    /// all it does about those: it is not given them, so that they say nothing about whether it works.
    fn handles_decided(&self) -> bool {
        true
    }

    /// The files that it reads when it is opened, beside secrets: a reload opens it anew when the content of one of them is
    /// another, and the configuration is watched together with them.
    fn files(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    /// Makes the handler. It may do I/O, and may be called again: after a panic, or after it failed.
    ///
    /// # Errors
    /// When it cannot work now. The dispatcher tries again after backoff; callbacks wait in the journal.
    async fn open(&self, cx: &OpenContext) -> Result<Self::Handler, OpenError>;
}

/// Decides about callbacks, or turns them into events, or both: as its registration says ([`Role`]).
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Decides about a callback that wants a decision, while Tencent waits; `None`: no opinion, which leaves it to the others
    /// and in the end allows it. Called for handlers whose [`Role`] has it.
    ///
    /// It is called **at most once** per callback, for many callbacks at a time and in no order, and before the callback is
    /// durable. What it returns after [`DecideContext::deadline`] comes too late to be the answer; what `if_late` says is then.
    /// The future is dropped at an `.await` some seconds later: work that has to be finished belongs into
    /// [`handle`](Handler::handle). It runs on a thread of its own, and whoever blocks that delays all of this handler's
    /// decisions: those then come too late, and nobody else's do.
    ///
    /// Where several handlers decide, the callback has what earlier ones made of it.
    ///
    /// # Errors
    /// Any; what `if_failed` says is then answered. It is not tried again.
    async fn decide(&self, _: &Callback, _: &DecideContext) -> Result<Option<Decision>, HandlerError> {
        Ok(None)
    }

    /// Makes events of one callback that is durable in the journal; none is a fine answer. Called for handlers whose [`Role`]
    /// has it.
    ///
    /// It is called **at least once** per callback – after a crash once more – and **in order per key**: never for two
    /// callbacks of one app and key at a time, and for the later one only when the earlier is done or given up on.
    /// Callbacks with different keys come concurrently, as many as the handler has `lanes`. The events it returns enter
    /// the journal exactly once per callback; other effects it has can be repeated.
    ///
    /// It may take its time, up to the handler's `timeout`, and may be dropped at any `.await` when that is over. It runs
    /// on a thread of its own: blocking it delays this handler and nothing else.
    ///
    /// # Errors
    /// See [`HandlerError`]: a failure takes one of the callback's attempts, a permanent one makes it a dead letter, and one of
    /// the handler itself (`down`) harms no callback.
    async fn handle(&self, _: &Callback, _: &HandleContext) -> Result<Vec<NewEvent>, HandlerError> {
        Ok(vec![])
    }
}

/// Which of its two methods a handler has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// [`decide`](Handler::decide).
    Decide,
    /// [`handle`](Handler::handle).
    #[default]
    Handle,
    /// Both.
    Both,
}

impl Role {
    /// Whether it has [`decide`](Handler::decide).
    #[must_use]
    pub fn decides(self) -> bool {
        matches!(self, Role::Decide | Role::Both)
    }

    /// Whether it has [`handle`](Handler::handle).
    #[must_use]
    pub fn handles(self) -> bool {
        matches!(self, Role::Handle | Role::Both)
    }
}

/// The circumstances of one call of [`Handler::handle`].
#[derive(Clone, Debug)]
pub struct HandleContext {
    /// When the call is dropped if it has not returned.
    pub deadline: Instant,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// Whether the callback is handled again because someone asked for it.
    pub replay: bool,
}

/// A registered handler: what [`handler!`](crate::handler!) makes.
pub struct HandlerPlugin {
    /// The name that `type` says in the configuration.
    pub name: &'static str,
    /// The patterns of the commands it selects unless the configuration says otherwise.
    pub commands: &'static [&'static str],
    /// The phases it selects unless the configuration says otherwise.
    pub phase: PhaseFilter,
    /// Whether it decides, handles, or does both.
    pub role: Role,
    /// How many lanes it has unless the configuration says otherwise, where it mostly waits for somebody else: it then gets its
    /// callbacks one by one, so that they wait side by side. `None`: a few lanes, and many callbacks at once.
    pub lanes: Option<usize>,
    /// Where it comes from.
    pub origin: Origin,
    decode: fn(&Value) -> Result<Arc<dyn HandlerSettings>, SettingError>,
    schema: fn() -> Schema,
}

inventory::collect!(HandlerPlugin);

impl HandlerPlugin {
    /// What [`handler!`](crate::handler!) calls.
    #[must_use]
    pub const fn new<C: HandlerConfig>(
        name: &'static str,
        commands: &'static [&'static str],
        origin: Origin,
    ) -> HandlerPlugin {
        let (phase, role) = (PhaseFilter::Any, Role::Handle);
        HandlerPlugin { name, commands, phase, role, lanes: None, origin, decode: decode::<C>, schema: schema::<C> }
    }

    /// With this phase.
    #[must_use]
    pub const fn phase(mut self, phase: PhaseFilter) -> HandlerPlugin {
        self.phase = phase;
        self
    }

    /// With this role.
    #[must_use]
    pub const fn role(mut self, role: Role) -> HandlerPlugin {
        self.role = role;
        self
    }

    /// With so many lanes, and callbacks one by one.
    #[must_use]
    pub const fn lanes(mut self, lanes: usize) -> HandlerPlugin {
        self.lanes = Some(lanes);
        self
    }

    /// Decodes its settings out of a section that holds nothing else.
    ///
    /// # Errors
    /// The first place where the section does not fit.
    pub fn decode(&self, section: &Value) -> Result<Arc<dyn HandlerSettings>, SettingError> {
        (self.decode)(section)
    }

    /// The JSON Schema of its settings.
    #[must_use]
    pub fn schema(&self) -> Schema {
        (self.schema)()
    }
}

/// Decoded settings of a handler whose type is no longer known. For the dispatcher; plugins implement
/// [`HandlerConfig`], which makes them this.
#[async_trait]
pub trait HandlerSettings: Send + Sync {
    /// [`HandlerConfig::check`].
    ///
    /// # Errors
    /// Every finding.
    fn check(&self, cx: &CheckContext) -> Result<(), Vec<SettingError>>;

    /// [`HandlerConfig::forwards`].
    fn forwards(&self) -> bool;

    /// [`HandlerConfig::handles_decided`].
    fn handles_decided(&self) -> bool;

    /// [`HandlerConfig::files`].
    fn files(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    /// [`HandlerConfig::open`].
    ///
    /// # Errors
    /// When it cannot work now.
    async fn open(&self, cx: &OpenContext) -> Result<Arc<dyn Handler>, OpenError>;
}

#[async_trait]
impl<C: HandlerConfig> HandlerSettings for C {
    fn check(&self, cx: &CheckContext) -> Result<(), Vec<SettingError>> {
        HandlerConfig::check(self, cx)
    }

    fn forwards(&self) -> bool {
        HandlerConfig::forwards(self)
    }

    fn handles_decided(&self) -> bool {
        HandlerConfig::handles_decided(self)
    }

    fn files(&self) -> Vec<PathBuf> {
        HandlerConfig::files(self)
    }

    async fn open(&self, cx: &OpenContext) -> Result<Arc<dyn Handler>, OpenError> {
        Ok(Arc::new(HandlerConfig::open(self, cx).await?))
    }
}

fn decode<C: HandlerConfig>(section: &Value) -> Result<Arc<dyn HandlerSettings>, SettingError> {
    Ok(Arc::new(settings::decode::<C>(section)?))
}

fn schema<C: HandlerConfig>() -> Schema {
    schemars::schema_for!(C)
}

/// Describes a handler for [`inventory::submit!`](https://docs.rs/inventory): its settings type, its name, the commands
/// it selects by default, `phase = before` or `phase = after` if it does not select both, `role = decide` or `role = both` if it
/// decides, and `lanes = 16` or another number if it waits for others while it handles.
///
/// ```
/// # use async_trait::async_trait;
/// # use dispatcher_core::*;
/// inventory::submit! { handler!(QuietConfig, "quiet", ["Group.*"], phase = after) }
///
/// /// `[handlers.quiet]`.
/// #[derive(serde::Deserialize, schemars::JsonSchema)]
/// #[serde(deny_unknown_fields)]
/// struct QuietConfig {}
///
/// #[async_trait]
/// impl HandlerConfig for QuietConfig {
///     type Handler = Quiet;
///
///     async fn open(&self, _: &OpenContext) -> Result<Quiet, OpenError> {
///         Ok(Quiet)
///     }
/// }
///
/// struct Quiet;
///
/// #[async_trait]
/// impl Handler for Quiet {
///     async fn handle(&self, _: &Callback, _: &HandleContext) -> Result<Vec<NewEvent>, HandlerError> {
///         Ok(vec![])
///     }
/// }
///
/// let registry = Registry::collect(&[]).unwrap();
/// assert_eq!(registry.handler("quiet").unwrap().commands, ["Group.*"]);
/// ```
#[macro_export]
macro_rules! handler {
    (@phase before) => { $crate::PhaseFilter::Before };
    (@phase after) => { $crate::PhaseFilter::After };
    (@phase any) => { $crate::PhaseFilter::Any };
    (@role decide) => { $crate::Role::Decide };
    (@role handle) => { $crate::Role::Handle };
    (@role both) => { $crate::Role::Both };
    (@lanes $lanes:literal) => { $lanes };
    ($config:ty, $name:literal, [$($command:literal),+ $(,)?] $(, $key:ident = $value:tt)* $(,)?) => {
        $crate::HandlerPlugin::new::<$config>($name, &[$($command),+], $crate::origin!())
            $(.$key($crate::handler!(@$key $value)))*
    };
}
