//! Sends one callback through deciders and handlers.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use dispatcher_cell::Cell;
use dispatcher_config::{Config, HandlerInstance};
use dispatcher_core::{Callback, DecisionResult, EventData, HandleContext, HandlerSettings, NewEvent, OpenContext};
use dispatcher_decider::{Deciders, State};
use serde_json::Value;

use super::{canned::Canned, case::Case};
use crate::wiring;

/// How long anything may take. A test says what is decided and made, not how fast: a busy machine fails none.
const UNHURRIED: Duration = Duration::from_secs(30);

/// How long is waited for a decision that is said to be late.
const LATE: Duration = Duration::from_millis(10);

/// What became of a callback.
pub(super) struct Outcome {
    pub(super) reply: Value,
    /// What the reply comes to; none where no decision is wanted.
    pub(super) decision: Option<DecisionResult>,
    /// The handler whose word that was.
    pub(super) by: Option<String>,
    pub(super) events: Vec<Made>,
    /// What must not be, whatever is expected.
    pub(super) failures: Vec<String>,
    /// What a person should know.
    pub(super) notes: Vec<String>,
}

/// An event, as it would be on its way to its sinks.
pub(super) struct Made {
    pub(super) handler: String,
    pub(super) event_type: String,
    pub(super) key: Option<String>,
    pub(super) data: Value,
    pub(super) sinks: BTreeSet<String>,
}

/// Runs a case, blocking until all handlers are done.
pub(super) fn run(config: &Config, case: &Case, callback: Callback) -> Result<Outcome, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|err| format!("cannot run handlers: {err}"))?;
    let is_journaled = wiring::is_journaled(config, callback.command());
    let mut trial = Trial { config, case, callback: Arc::new(callback), notes: BTreeSet::new() };
    let (mut events, mut failures) = (Vec::new(), Vec::new());
    let (mut reply, mut decision, mut by) = (tencent_chat::OK.as_bytes().into(), None, None);
    if trial.callback.command().wants_decision() {
        let deciders = trial.deciders()?;
        let deadline = Instant::now() + UNHURRIED;
        let answer = runtime.block_on(deciders.decide(&trial.callback, deadline, None));
        (reply, decision) = (answer.reply, Some(answer.result));
        if let Some(record) = answer.record {
            let told: Value = serde_json::from_str(&record.record).unwrap_or_default();
            by = told["by"].as_str().map(str::to_owned);
            for step in told["deciders"].as_array().into_iter().flatten() {
                let word = |name: &str| step[name].as_str().unwrap_or_default();
                // That one does not decide is what the case says, or a flaw.
                let is_meant = case.answers.get(word("name")).is_some_and(Canned::is_trouble);
                if !word("then").is_empty() && !is_meant {
                    let what = format!("{} did not decide ({}): {}", word("name"), word("said"), word("reason"));
                    failures.push(what);
                }
            }
            // A decision that is not stored leaves no events either.
            for told in record.events.into_iter().filter(|_| is_journaled) {
                events.push(trial.made(&told.handler, told.sinks.split(','), &told.event));
            }
        }
    }
    if is_journaled {
        for handler in trial.handlers() {
            for event in runtime.block_on(trial.handle(handler))? {
                events.push(trial.made(&handler.name, handler.sinks.iter().map(String::as_str), &event));
            }
        }
    } else if config.handlers.iter().any(|handler| trial.selects(handler) && !handler.sinks.is_empty()) {
        trial.notes.insert("note: this command is not stored, so no events are made of it".to_owned());
    }
    let reply = serde_json::from_slice(&reply).map_err(|err| format!("the reply is no JSON: {err}"))?;
    Ok(Outcome { reply, decision, by, events, failures, notes: trial.notes.into_iter().collect() })
}

struct Trial<'a> {
    config: &'a Config,
    case: &'a Case,
    callback: Arc<Callback>,
    notes: BTreeSet<String>,
}

impl<'a> Trial<'a> {
    fn selects(&self, handler: &HandlerInstance) -> bool {
        handler.enabled && handler.route.selects(self.callback.app(), self.callback.command())
    }

    /// What answers in place of a handler: what the case says, or, for one that asks somebody else, nothing.
    fn canned(&mut self, handler: &HandlerInstance) -> Option<Canned> {
        if let Some(canned) = self.case.answers.get(&handler.name) {
            return Some(canned.clone());
        }
        // Who has lanes by default is one that mostly waits for others.
        handler.plugin.lanes.is_some().then(|| {
            let name = &handler.name;
            let what =
                format!("note: {name} contacts others and is not run; say what it answers: [test.answers.{name}]");
            self.notes.insert(what);
            Canned::default()
        })
    }

    /// The deciders that are asked about this callback, open.
    fn deciders(&mut self) -> Result<Deciders, String> {
        let mut instances = Vec::new();
        for handler in self.config.handlers.iter().filter(|handler| self.selects(handler)).collect::<Vec<_>>() {
            let Some(mut decider) = wiring::decider(self.config, handler) else { continue };
            decider.options.timeout = UNHURRIED;
            if let Some(canned) = self.canned(handler) {
                if canned.is_late() {
                    decider.options.timeout = LATE;
                }
                decider.settings = Arc::new(canned);
            }
            instances.push(decider);
        }
        let deciders = Deciders::start(instances, &wiring::default_decisions(self.config), UNHURRIED)
            .map_err(|err| format!("cannot run the deciders: {err}"))?;
        for status in deciders.status() {
            match status.state {
                State::Up => {}
                State::Down(why) | State::Off(why) => return Err(format!("cannot open {}: {why}", status.name)),
                _ => return Err(format!("cannot open {}: it takes too long", status.name)),
            }
        }
        Ok(deciders)
    }

    /// Those that make events of this callback.
    fn handlers(&self) -> Vec<&'a HandlerInstance> {
        let handlers = self.config.handlers.iter();
        let (app, command) = (self.callback.app(), self.callback.command());
        let is_given = |handler: &&HandlerInstance| {
            handler.enabled && handler.plugin.role.handles() && handler.handled().selects(app, command)
        };
        handlers.filter(is_given).collect()
    }

    /// What a handler makes of the callback.
    async fn handle(&mut self, handler: &HandlerInstance) -> Result<Vec<NewEvent>, String> {
        let canned = self.canned(handler).map(|canned| Arc::new(canned) as Arc<dyn HandlerSettings>);
        let settings = canned.unwrap_or_else(|| handler.settings.clone());
        let name = &handler.name;
        let cannot = |what: &str, err: &dyn std::fmt::Display| format!("{name} {what}: {err}");
        let cell = Cell::open(name, handler.run.threads).map_err(|err| cannot("cannot be opened", &err))?;
        let cx = OpenContext::new(name, 0);
        let opened = cell.run_for(UNHURRIED, async move { settings.open(&cx).await }).await;
        let opened = opened.map_err(|err| cannot("cannot be opened", &err))?;
        let opened = opened.map_err(|err| cannot("cannot be opened", &err))?;
        let callback = self.callback.clone();
        let made = cell.run_for(UNHURRIED, async move {
            let cx = HandleContext { deadline: Instant::now() + UNHURRIED, attempt: 1, replay: false };
            opened.handle(&callback, &cx).await
        });
        made.await.map_err(|err| cannot("did not return", &err))?.map_err(|err| cannot("failed", &err))
    }

    fn made<'s>(&self, handler: &str, sinks: impl Iterator<Item = &'s str>, event: &NewEvent) -> Made {
        let data = match event.data() {
            EventData::Json(json) => json,
            EventData::Callback => self.callback.body_bytes(),
        };
        Made {
            handler: handler.to_owned(),
            event_type: event.event_type().to_owned(),
            key: event.key(&self.callback).map(ToString::to_string),
            data: serde_json::from_slice(data).unwrap_or_default(),
            sinks: sinks.map(str::to_owned).collect(),
        }
    }
}
