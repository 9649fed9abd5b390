//! Takes the lines of the log that are about callbacks, as they arise.

use std::{fmt, fmt::Write as _, sync::Arc, time::SystemTime};

use tokio::sync::mpsc;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer::Context};

use crate::{
    exporter::Tally,
    span::{Kind, Told, Value},
    trace::{self, Trace},
};

/// The targets of the lines that spans are made of, each with the level from which on it has to be switched on for that.
pub const TARGETS: [(&str, Level); 3] = [
    (Kind::Callback.target(), Level::DEBUG),
    (Kind::Decision.target(), Level::TRACE),
    (Kind::Attempt.target(), Level::TRACE),
];

/// The longest text that is kept of a field, in bytes.
const LONGEST: usize = 256;

/// A layer of the log's subscriber: of each line that is about a callback it keeps what a span is made of, in a queue. It never
/// waits, for the queue nor for anything else; what finds no room is dropped and counted.
pub struct SpanLayer {
    pub(crate) queue: mpsc::Sender<Told>,
    pub(crate) tally: Arc<Tally>,
    pub(crate) sample: f64,
}

impl<S: Subscriber> Layer<S> for SpanLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let Some(kind) = Kind::of(event.metadata().target()) else { return };
        let mut kept = Kept { kind, id: None, traceparent: None, micros: 0, fields: Vec::with_capacity(10) };
        event.record(&mut kept);
        let Kept { id, traceparent, micros, fields, .. } = kept;
        // What is not verified is a stranger's.
        if kind == Kind::Callback && !fields.iter().any(|(name, _)| *name == "command") {
            return;
        }
        let trace = Trace::of(id, traceparent.as_deref());
        if !trace.is_exported(self.sample) {
            return;
        }
        let told = Told { kind, ended_at: SystemTime::now(), micros, trace, id, fields };
        if self.queue.try_send(told).is_err() {
            self.tally.count_dropped(1);
        }
    }
}

/// What is kept of a line: what it is known to have, and nothing that somebody may add to it one day.
struct Kept {
    kind: Kind,
    id: Option<u128>,
    traceparent: Option<String>,
    micros: u64,
    fields: Vec<(&'static str, Value)>,
}

impl Kept {
    fn keep(&mut self, field: &Field, value: impl FnOnce() -> Value) {
        if self.kind.fields().contains(&field.name()) {
            self.fields.push((field.name(), value()));
        }
    }

    fn text(&mut self, field: &Field, text: &str) {
        match field.name() {
            "traceparent" => self.traceparent = Some(text.to_owned()),
            "id" => {
                self.id = trace::id(text);
                self.keep(field, || Value::Text(text.to_owned()));
            }
            _ => self.keep(field, || Value::Text(text[..text.floor_char_boundary(LONGEST)].to_owned())),
        }
    }
}

impl Visit for Kept {
    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "micros" => self.micros = value,
            _ => self.keep(field, || Value::Number(i64::try_from(value).unwrap_or(i64::MAX))),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.keep(field, || Value::Number(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "id" || self.kind.fields().contains(&field.name()) {
            let mut text = String::new();
            let _ = write!(text, "{value:?}");
            self.text(field, &text);
        }
    }
}
