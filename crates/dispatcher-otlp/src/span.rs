//! From a line of the log to a span.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, KeyValue, any_value},
    trace::v1::{Span, Status, span::SpanKind, status::StatusCode},
};

use crate::trace::{self, Trace};

/// What a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A request, from its head to its answer.
    Callback,
    /// A decision, or one decider's part in it.
    Decision,
    /// An attempt to handle a callback or to deliver an event.
    Attempt,
}

impl Kind {
    /// The target of its lines.
    pub(crate) const fn target(self) -> &'static str {
        match self {
            Kind::Callback => "dispatcher::callback",
            Kind::Decision => "dispatcher::decision",
            Kind::Attempt => "dispatcher::attempt",
        }
    }

    pub(crate) fn of(target: &str) -> Option<Kind> {
        [Kind::Callback, Kind::Decision, Kind::Attempt].into_iter().find(|kind| kind.target() == target)
    }

    /// The fields that become attributes. None of them has what people write, a token or a key.
    pub(crate) fn fields(self) -> &'static [&'static str] {
        match self {
            Kind::Callback => &["outcome", "refusal", "id", "app", "command", "decision", "peer", "body_bytes"],
            Kind::Decision => &["handler", "said", "then", "decision", "by", "id", "app", "command"],
            Kind::Attempt => &["consumer", "seq", "attempt", "outcome", "error", "id", "event", "app", "command"],
        }
    }
}

/// What was told, and what it is to become a span with.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) kind: Kind,
    pub(crate) ended_at: SystemTime,
    pub(crate) micros: u64,
    pub(crate) trace: Trace,
    /// The callback's.
    pub(crate) id: Option<u128>,
    pub(crate) fields: Vec<(&'static str, Value)>,
}

#[derive(Debug)]
pub(crate) enum Value {
    Text(String),
    Number(i64),
}

/// In `Span::flags`: sampled; whether it is known where the parent is; whether that is elsewhere.
const SAMPLED: u32 = 0x01;
const PARENT_IS_KNOWN: u32 = 0x100;
const PARENT_IS_ELSEWHERE: u32 = 0x200;

impl Told {
    fn text(&self, field: &str) -> Option<&str> {
        self.fields.iter().find_map(|(name, value)| match value {
            Value::Text(text) if *name == field => Some(text.as_str()),
            _ => None,
        })
    }

    pub(crate) fn into_span(self) -> Span {
        let own_decision = self.id.map(trace::decision);
        let (name, kind) = self.name();
        let (span_id, parent) = match self.kind {
            Kind::Callback => (self.trace.request, self.trace.parent),
            Kind::Decision if self.text("handler").is_some() => (trace::any_span(), own_decision),
            Kind::Decision => (own_decision.unwrap_or_else(trace::any_span), Some(self.trace.request)),
            Kind::Attempt => (trace::any_span(), Some(self.trace.request)),
        };
        let is_elsewhere = self.kind == Kind::Callback && parent.is_some();
        let ended_at = self.ended_at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let begun_at = ended_at.saturating_sub(Duration::from_micros(self.micros));
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let status = self.status();
        Span {
            trace_id: self.trace.id.to_be_bytes().to_vec(),
            span_id: span_id.to_be_bytes().to_vec(),
            parent_span_id: parent.map(|parent| parent.to_be_bytes().to_vec()).unwrap_or_default(),
            flags: SAMPLED | PARENT_IS_KNOWN | if is_elsewhere { PARENT_IS_ELSEWHERE } else { 0 },
            name,
            kind: kind.into(),
            start_time_unix_nano: nanos(begun_at),
            end_time_unix_nano: nanos(ended_at),
            attributes: self.fields.into_iter().map(attribute).collect(),
            status,
            ..Span::default()
        }
    }

    /// Few names: those of the configuration, and fixed ones.
    fn name(&self) -> (String, SpanKind) {
        match self.kind {
            Kind::Callback => ("callback".to_owned(), SpanKind::Server),
            Kind::Decision => match self.text("handler") {
                Some(handler) => (format!("decide {handler}"), SpanKind::Internal),
                None => ("decision".to_owned(), SpanKind::Internal),
            },
            Kind::Attempt => match self.text("consumer").and_then(|consumer| consumer.split_once(':')) {
                Some(("handler", name)) => (format!("handle {name}"), SpanKind::Internal),
                Some(("sink", name)) => (format!("deliver {name}"), SpanKind::Producer),
                _ => ("replay".to_owned(), SpanKind::Internal),
            },
        }
    }

    /// An error where something failed, in the words of the log.
    fn status(&self) -> Option<Status> {
        let error = match self.kind {
            Kind::Callback => match self.text("outcome")? {
                "refused" => self.text("refusal").unwrap_or("refused"),
                "gone" => "gone",
                _ => return None,
            },
            Kind::Decision => match self.text("said")? {
                said @ ("late" | "failed" | "busy") => said,
                _ => return None,
            },
            Kind::Attempt => match self.text("outcome")? {
                "done" => return None,
                outcome => self.text("error").unwrap_or(outcome),
            },
        };
        Some(Status { message: error.to_owned(), code: StatusCode::Error.into() })
    }
}

pub(crate) fn attribute((name, value): (&'static str, Value)) -> KeyValue {
    let value = match value {
        Value::Text(text) => any_value::Value::StringValue(text),
        Value::Number(number) => any_value::Value::IntValue(number),
    };
    KeyValue { key: name.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}
