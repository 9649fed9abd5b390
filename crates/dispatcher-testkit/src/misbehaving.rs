//! A sink and a handler, both called `misbehaving`, that do what a test tells them to.
//!
//! They are registered like any plugin. A test finds the instance it has configured by the setting `control`, which it
//! chooses: tests of one process run side by side, and each has its own.

use std::{
    collections::HashMap,
    sync::{LazyLock, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use dispatcher_core::{
    Callback, DeliverContext, DeliveryError, Event, Failure, HandleContext, Handler, HandlerConfig, HandlerError,
    NewEvent, OpenContext, OpenError, Outcome, Outcomes, Sink, SinkConfig, handler, sink,
};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::watch;

use crate::PATIENCE;

inventory::submit! { sink!(MisbehavingConfig, "misbehaving", lanes = 4) }
inventory::submit! { handler!(MisbehavingConfig, "misbehaving", ["*"]) }

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
}

/// The settings of both.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct MisbehavingConfig {
    /// Which [`Control`] it obeys.
    control: String,
    /// How it starts. Default: it accepts.
    #[serde(default)]
    behaviour: Option<Behaviour>,
}

/// Steers the misbehaving plugins whose setting `control` is its name.
#[derive(Clone)]
pub struct Control {
    behaviour: watch::Sender<Behaviour>,
    taken: watch::Sender<Vec<String>>,
    tried: watch::Sender<u64>,
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

    async fn act(&self, id: String, key: Option<&str>) -> Act {
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
            Behaviour::Block => loop {
                std::thread::park_timeout(Duration::from_secs(3600));
            },
            Behaviour::Panic => panic!("told to panic"),
        }
    }
}

enum Act {
    Take,
    Fail(Failure),
    Down,
}

impl MisbehavingConfig {
    fn control(&self) -> Control {
        let control = Control::named(&self.control);
        if let Some(behaviour) = &self.behaviour {
            control.set(behaviour.clone());
        }
        control
    }
}

#[async_trait]
impl SinkConfig for MisbehavingConfig {
    type Sink = Misbehaving;

    async fn open(&self, _: &OpenContext) -> Result<Misbehaving, OpenError> {
        Ok(Misbehaving(self.control()))
    }
}

#[async_trait]
impl HandlerConfig for MisbehavingConfig {
    type Handler = Misbehaving;

    async fn open(&self, _: &OpenContext) -> Result<Misbehaving, OpenError> {
        Ok(Misbehaving(self.control()))
    }
}

struct Misbehaving(Control);

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
            match self.0.act(event.id(), key).await {
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
impl Handler for Misbehaving {
    async fn handle(&self, callback: &Callback, _: &HandleContext) -> Result<Vec<NewEvent>, HandlerError> {
        match self.0.act(callback.id().to_string(), callback.key().map(|key| &**key)).await {
            Act::Take => Ok(vec![NewEvent::forwarding("misbehaving.handled")]),
            Act::Fail(failure) => Err(failure.into()),
            Act::Down => Err(HandlerError::down("told to be down")),
        }
    }
}
