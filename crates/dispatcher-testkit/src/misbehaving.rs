//! A sink and a handler, both called `misbehaving`, that do what a test tells them to; how the handler decides is in
//! `misdeciding.rs`.
//!
//! They are registered like any plugin. A test finds the instance it has configured by the setting `control`, which it
//! chooses: tests of one process run side by side, and each has its own.

use std::{
    collections::HashMap,
    num::NonZeroU64,
    sync::{LazyLock, Mutex, PoisonError, atomic::AtomicU64},
    time::Duration,
};

use async_trait::async_trait;
use dispatcher_core::{
    Callback, DecideContext, Decision, DeliverContext, DeliveryError, Event, Failure, HandleContext, Handler,
    HandlerConfig, HandlerError, NewEvent, OpenContext, OpenError, Outcome, Outcomes, Sink, SinkConfig, TimeSpan,
    handler, sink,
};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::watch;

use crate::{
    PATIENCE,
    misdeciding::{Misdeciding, Verdict},
};

inventory::submit! { sink!(MisbehavingConfig, "misbehaving", lanes = 4) }
inventory::submit! { handler!(MisbehavingHandlerConfig, "misbehaving", ["*"], role = both) }

/// What a misbehaving plugin does with each item.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Behaviour {
    /// Takes it.
    #[default]
    Accept,
    /// Fails it; the next attempt may do better.
    Fail,
    /// Fails items of this key, and takes all others.
    FailKey(String),
    /// Refuses it for good.
    Refuse,
    /// Is down: its own failure.
    Down,
    /// Awaits for ever.
    Hang,
    /// Blocks its thread for ever.
    Block,
    /// Panics.
    Panic,
    /// Panics, with the item's key and data in its words.
    PanicQuoting,
}

/// The settings of the sink.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct MisbehavingConfig {
    /// Which [`Control`] it obeys.
    control: String,
    /// How it starts. Default: it accepts.
    #[serde(default)]
    behaviour: Option<Behaviour>,
}

/// The settings of the handler: those of the sink, and how it decides.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct MisbehavingHandlerConfig {
    /// Which [`Control`] it obeys.
    control: String,
    /// How it starts to handle. Default: it accepts.
    #[serde(default)]
    behaviour: Option<Behaviour>,
    /// What it does when it decides. Default: it has no opinion.
    #[serde(default)]
    decide: Verdict,
    /// How long it awaits before it does that. Default: not at all.
    #[serde(default)]
    decide_after: Option<TimeSpan>,
    /// It does that with one callback of this many: with the second, the fourth … if it is 2. Default: with all.
    #[serde(default)]
    every: Option<NonZeroU64>,
    /// It does that with callbacks whose body has this text in it. Default: with all.
    #[serde(default)]
    only: Option<String>,
    /// What it does with the others, at once. Default: it has no opinion.
    #[serde(default)]
    otherwise: Verdict,
}

/// Steers the misbehaving plugins whose setting `control` is its name.
#[derive(Clone)]
pub struct Control {
    behaviour: watch::Sender<Behaviour>,
    taken: watch::Sender<Vec<String>>,
    tried: watch::Sender<u64>,
    asked: watch::Sender<u64>,
}

impl Control {
    /// The one of this name. Any call with the name gives the same.
    #[must_use]
    pub fn named(name: &str) -> Control {
        static ALL: LazyLock<Mutex<HashMap<String, Control>>> = LazyLock::new(Mutex::default);
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Control {
            behaviour: watch::Sender::new(Behaviour::Accept),
            taken: watch::Sender::new(vec![]),
            tried: watch::Sender::new(0),
            asked: watch::Sender::new(0),
        };
        all.entry(name.to_owned()).or_insert_with(new).clone()
    }

    /// Behaves like this from the next item on.
    pub fn set(&self, behaviour: Behaviour) {
        self.behaviour.send_replace(behaviour);
    }

    /// What was taken so far, in order: events' or callbacks' ids.
    #[must_use]
    pub fn taken(&self) -> Vec<String> {
        self.taken.borrow().clone()
    }

    /// Waits until `n` items were taken, and gives their ids.
    ///
    /// # Panics
    /// When they are not.
    pub async fn wait_for(&self, n: usize) -> Vec<String> {
        let mut changes = self.taken.subscribe();
        let waited = tokio::time::timeout(PATIENCE, changes.wait_for(|taken| taken.len() >= n)).await;
        match waited {
            Ok(Ok(taken)) => taken.clone(),
            _ => panic!("{n} were to be taken, and these were: {:#?}", self.taken()),
        }
    }

    /// Waits until items were tried `n` times in all, whatever became of them.
    ///
    /// # Panics
    /// When they are not.
    pub async fn wait_for_tries(&self, n: u64) {
        let mut changes = self.tried.subscribe();
        let waited = tokio::time::timeout(PATIENCE, changes.wait_for(|tried| *tried >= n)).await;
        assert!(matches!(waited, Ok(Ok(_))), "{n} tries were to be seen, and there were {}", *self.tried.borrow());
    }

    /// Waits until the handler was asked to decide `n` times in all, whatever it said.
    ///
    /// # Panics
    /// When it is not.
    pub async fn wait_for_questions(&self, n: u64) {
        let mut changes = self.asked.subscribe();
        let waited = tokio::time::timeout(PATIENCE, changes.wait_for(|asked| *asked >= n)).await;
        assert!(matches!(waited, Ok(Ok(_))), "{n} questions were to be seen, and there were {}", *self.asked.borrow());
    }

    async fn act(&self, id: String, key: Option<&str>, data: &[u8]) -> Act {
        self.tried.send_modify(|tried| *tried += 1);
        let behaviour = self.behaviour.borrow().clone();
        match behaviour {
            Behaviour::FailKey(failing) if key == Some(&failing) => Act::Fail(Failure::retry("told to fail this key")),
            Behaviour::Accept | Behaviour::FailKey(_) => {
                self.taken.send_modify(|taken| taken.push(id));
                Act::Take
            }
            Behaviour::Fail => Act::Fail(Failure::retry("told to fail")),
            Behaviour::Refuse => Act::Fail(Failure::permanent("told to refuse")),
            Behaviour::Down => Act::Down,
            Behaviour::Hang => std::future::pending().await,
            Behaviour::Block => block(),
            Behaviour::Panic => panic!("told to panic"),
            Behaviour::PanicQuoting => panic!("told to panic over {key:?}: {}", String::from_utf8_lossy(data)),
        }
    }
}

/// Keeps its thread for ever.
pub(crate) fn block() -> ! {
    loop {
        std::thread::park_timeout(Duration::from_secs(3600));
    }
}

enum Act {
    Take,
    Fail(Failure),
    Down,
}

fn control(name: &str, behaviour: Option<&Behaviour>) -> Control {
    let control = Control::named(name);
    if let Some(behaviour) = behaviour {
        control.set(behaviour.clone());
    }
    control
}

#[async_trait]
impl SinkConfig for MisbehavingConfig {
    type Sink = Misbehaving;

    async fn open(&self, _: &OpenContext) -> Result<Misbehaving, OpenError> {
        Ok(Misbehaving(control(&self.control, self.behaviour.as_ref())))
    }
}

#[async_trait]
impl HandlerConfig for MisbehavingHandlerConfig {
    type Handler = MisbehavingHandler;

    async fn open(&self, _: &OpenContext) -> Result<MisbehavingHandler, OpenError> {
        let deciding = Misdeciding {
            verdict: self.decide.clone(),
            after: self.decide_after.map(TimeSpan::get),
            every: self.every,
            only: self.only.clone(),
            otherwise: self.otherwise.clone(),
        };
        let control = control(&self.control, self.behaviour.as_ref());
        Ok(MisbehavingHandler { control, deciding, n_selected: AtomicU64::new(0) })
    }
}

struct Misbehaving(Control);

struct MisbehavingHandler {
    control: Control,
    deciding: Misdeciding,
    /// How many callbacks were of those that it misbehaves with one in so many of.
    n_selected: AtomicU64,
}

#[async_trait]
impl Sink for Misbehaving {
    async fn deliver(&mut self, batch: &[Event], _: &DeliverContext) -> Result<Outcomes, DeliveryError> {
        let mut outcomes = Vec::with_capacity(batch.len());
        let mut failed: Vec<Option<&str>> = Vec::new();
        for event in batch {
            let key = event.key.as_deref();
            if key.is_some() && failed.contains(&key) {
                outcomes.push(Outcome::NotTried);
                continue;
            }
            match self.0.act(event.id(), key, event.data_json()).await {
                Act::Take => outcomes.push(Outcome::Done),
                Act::Fail(failure) => {
                    outcomes.push(Outcome::Failed(failure));
                    failed.push(key);
                }
                Act::Down => return Err(DeliveryError::down("told to be down")),
            }
        }
        Ok(Outcomes::each(outcomes))
    }
}

#[async_trait]
impl Handler for MisbehavingHandler {
    async fn decide(&self, callback: &Callback, _: &DecideContext) -> Result<Option<Decision>, HandlerError> {
        self.control.asked.send_modify(|asked| *asked += 1);
        self.deciding.decide(callback, &self.n_selected).await
    }

    async fn handle(&self, callback: &Callback, _: &HandleContext) -> Result<Vec<NewEvent>, HandlerError> {
        let (id, key) = (callback.id().to_string(), callback.key().map(|key| &**key));
        match self.control.act(id, key, callback.body_bytes()).await {
            Act::Take => Ok(vec![NewEvent::forwarding("misbehaving.handled")]),
            Act::Fail(failure) => Err(failure.into()),
            Act::Down => Err(HandlerError::down("told to be down")),
        }
    }
}
