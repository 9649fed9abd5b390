//! What stands in a file of cases.

use std::collections::BTreeMap;

use bytes::Bytes;
use dispatcher_config::Config;
use dispatcher_core::{App, Callback, CallbackId, CallbackParts, Command, DecisionResult, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value};
use toml::Spanned;

use super::canned::Canned;

/// What is sent from unless the case says otherwise: an address that is kept for documents.
const CLIENT_IP: &str = "203.0.113.7";
const PLATFORM: &str = "iOS";

/// A file of cases.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// Variables of the environment, where it does not have them: a test needs no real tokens.
    #[serde(default)]
    environment: BTreeMap<String, String>,
    #[serde(default)]
    test: Vec<Spanned<Written>>,
}

/// A case as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    command: String,
    /// The name of an app. Default: the first.
    app: Option<String>,
    /// The whole body: a table, or a string of JSON. Default: the catalogue's sample.
    body: Option<toml::Value>,
    /// What is other than in the sample: tables are merged, everything else is replaced.
    sample: Option<toml::Table>,
    /// What is taken out of the sample: names, with dots between them for what is inside.
    #[serde(default)]
    without: Vec<String>,
    /// What the query says beside app and command: `ClientIP`, `OptPlatform`.
    #[serde(default)]
    query: Query,
    /// What handlers are taken to answer, by their names, in place of being run.
    #[serde(default)]
    answers: BTreeMap<String, Canned>,
    expect: Expect,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    #[serde(rename = "ClientIP")]
    client_ip: Option<String>,
    #[serde(rename = "OptPlatform")]
    opt_platform: Option<String>,
}

/// What is expected. What is not named may be anything.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Expect {
    /// What the reply comes to, in a word.
    pub(super) decision: Option<String>,
    /// The handler whose word it was.
    pub(super) by: Option<String>,
    /// Members of the reply.
    pub(super) reply: Option<toml::Table>,
    /// All events, in any order.
    pub(super) events: Option<Vec<ExpectedEvent>>,
}

/// What is expected of one event. What is not named may be anything.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExpectedEvent {
    pub(super) handler: Option<String>,
    pub(super) r#type: Option<String>,
    pub(super) key: Option<String>,
    pub(super) data: Option<toml::Value>,
    /// The names of its sinks, in any order.
    pub(super) sinks: Option<Vec<String>>,
}

/// The cases of a file.
pub(super) struct Cases {
    pub(super) environment: BTreeMap<String, String>,
    pub(super) cases: Vec<Case>,
}

/// A case.
pub(super) struct Case {
    pub(super) name: String,
    /// Where it begins in the file.
    pub(super) line: usize,
    pub(super) answers: BTreeMap<String, Canned>,
    pub(super) expect: Expect,
    command: String,
    app: Option<String>,
    /// What is wrong with the body needs no configuration to be seen, and yet fails this case alone.
    body: Result<String, String>,
    query: Query,
}

impl Cases {
    /// Reads a file.
    pub(super) fn parse(file: &str, text: &str) -> Result<Cases, String> {
        let line = |at: usize| text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1;
        let read: File = toml::from_str(text).map_err(|err| {
            let at = err.span().map_or(0, |span| line(span.start));
            format!("{file}:{at}: {}; crates/dispatcher/TESTING.md shows what may stand here", err.message())
        })?;
        if read.test.is_empty() {
            return Err(format!("{file}: no test is in it; write [[test]] with name, command and expect"));
        }
        let cases = read.test.into_iter().map(|case| Case::of(line(case.span().start), case.into_inner()));
        Ok(Cases { environment: read.environment, cases: cases.collect() })
    }
}

impl Case {
    fn of(line: usize, written: Written) -> Case {
        let body = written.body();
        let Written { name, command, app, query, answers, expect, .. } = written;
        Case { name, line, answers, expect, command, app, body, query }
    }

    /// The callback, as the intake would make it.
    pub(super) fn prepare(&self, config: &Config) -> Result<Callback, String> {
        self.check(config)?;
        let app = config.apps.iter().find(|app| self.app.as_ref().is_none_or(|name| app.name == *name));
        let app = app.ok_or_else(|| format!("no app {:?} in the configuration", self.app.as_deref().unwrap_or("")))?;
        let body = self.body.as_ref().map_err(Clone::clone)?;
        let envelope = tencent_chat::inspect(body.as_bytes(), &self.command)
            .map_err(|err| format!("the intake refuses this body: {err}"))?;
        let client_ip = self.query.client_ip.as_deref().unwrap_or(CLIENT_IP);
        let platform = self.query.opt_platform.as_deref().unwrap_or(PLATFORM);
        let query = tencent_chat::query_string(app.sdk_app_id, &self.command, Some(client_ip), Some(platform), None);
        Ok(Callback::new(CallbackParts {
            id: CallbackId::mint(),
            app: App::new(app.sdk_app_id, &app.name),
            command: Command::new(&self.command),
            query: query.into(),
            body: Bytes::copy_from_slice(body.as_bytes()),
            received_at: Timestamp::now(),
            event_time: envelope.event_time.map(Timestamp::from_millis),
            key: envelope.key.map(Into::into),
            // Nothing else is there that it could be a repeat of.
            identity: None,
        }))
    }

    /// Names that are not there would be expected in vain, or never.
    fn check(&self, config: &Config) -> Result<(), String> {
        let Expect { decision, by, reply, events } = &self.expect;
        if decision.is_none() && by.is_none() && reply.is_none() && events.is_none() {
            return Err("nothing is expected; write decision, by, reply or events".to_owned());
        }
        if let Some(word) = decision
            && !DecisionResult::ALL.iter().any(|result| result.as_str() == word)
        {
            let all: Vec<&str> = DecisionResult::ALL.iter().map(|result| result.as_str()).collect();
            return Err(format!("expect.decision: {word:?} is no decision; write one of {}", all.join(", ")));
        }
        let handler = |name: &str| config.handlers.iter().find(|handler| handler.name == name);
        let events = events.iter().flatten();
        for name in
            by.iter().chain(self.answers.keys()).chain(events.clone().filter_map(|event| event.handler.as_ref()))
        {
            if handler(name).is_none() {
                return Err(format!("no handler {name:?} in the configuration"));
            }
        }
        for (name, canned) in &self.answers {
            let role = handler(name).map(|handler| handler.plugin.role).unwrap_or_default();
            canned.check(role).map_err(|why| format!("answers.{name}: {why}"))?;
        }
        for name in events.flat_map(|event| event.sinks.iter().flatten()) {
            if !config.sinks.iter().any(|sink| sink.name == *name) {
                return Err(format!("no sink {name:?} in the configuration"));
            }
        }
        Ok(())
    }
}

impl Written {
    /// The body's JSON.
    fn body(&self) -> Result<String, String> {
        let is_changed = self.sample.is_some() || !self.without.is_empty();
        let mut body = match &self.body {
            Some(_) if is_changed => return Err("body is the whole body; leave sample and without out".to_owned()),
            Some(toml::Value::String(text)) => return Ok(text.clone()),
            Some(toml::Value::Table(table)) => return Ok(json(&toml::Value::Table(table.clone())).to_string()),
            Some(_) => return Err("body: write a table, or a string of JSON".to_owned()),
            None => {
                let info = tencent_chat::command(&self.command).ok_or_else(|| {
                    format!("{:?} is not in the catalogue, so there is no sample of it; write body", self.command)
                })?;
                let sample: Result<Value, _> = serde_json::from_str(info.sample);
                sample.map_err(|err| format!("the sample of {}: {err}", info.name))?
            }
        };
        for (name, value) in self.sample.iter().flatten() {
            merge(&mut body[name], &json(value));
        }
        for path in &self.without {
            let (parents, last) =
                path.rsplit_once('.').map_or((None, path.as_str()), |(parents, last)| (Some(parents), last));
            let table = parents.into_iter().flat_map(|parents| parents.split('.')).try_fold(
                &mut body,
                |value, name| match name.parse::<usize>() {
                    Ok(idx) if value.is_array() => value.get_mut(idx),
                    _ => value.get_mut(name),
                },
            );
            let taken = table.and_then(Value::as_object_mut).and_then(|table: &mut Map<_, _>| table.remove(last));
            if taken.is_none() {
                return Err(format!("without: {path:?} is not in the sample of {}", self.command));
            }
        }
        Ok(body.to_string())
    }
}

fn merge(value: &mut Value, other: &Value) {
    match (value, other) {
        (Value::Object(members), Value::Object(others)) => {
            for (name, other) in others {
                merge(members.entry(name).or_insert(Value::Null), other);
            }
        }
        (value, other) => *value = other.clone(),
    }
}

/// As JSON; a date is a string.
pub(super) fn json(value: &toml::Value) -> Value {
    match value {
        toml::Value::String(text) => text.as_str().into(),
        toml::Value::Integer(number) => (*number).into(),
        toml::Value::Float(number) => (*number).into(),
        toml::Value::Boolean(truth) => (*truth).into(),
        toml::Value::Datetime(time) => time.to_string().into(),
        toml::Value::Array(elements) => elements.iter().map(json).collect(),
        toml::Value::Table(table) => table.iter().map(|(name, value)| (name.clone(), json(value))).collect(),
    }
}
