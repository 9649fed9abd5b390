//! Writes each event as a line of the dispatcher's own log, at level `info`.
//!
//! For looking at what happens, not for keeping it: a line counts as delivered once it is handed to the log, and the log
//! promises nothing more. The data of events is people's messages; it is left out unless asked for.

use async_trait::async_trait;
use dispatcher_core::{DeliverContext, DeliveryError, Event, OpenContext, OpenError, Outcomes, Sink, SinkConfig, sink};
use schemars::JsonSchema;
use serde::Deserialize;
use tracing::info;

inventory::submit! { sink!(LogConfig, "log", one_lane) }

/// `[sinks.<name>]` with `type = "log"`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct LogConfig {
    /// Whether lines carry the events' data. Default false: it holds what people write to each other.
    #[serde(default)]
    include_data: bool,
}

#[async_trait]
impl SinkConfig for LogConfig {
    type Sink = LogSink;

    async fn open(&self, cx: &OpenContext) -> Result<LogSink, OpenError> {
        Ok(LogSink { name: cx.name().to_owned(), include_data: self.include_data })
    }
}

struct LogSink {
    name: String,
    include_data: bool,
}

#[async_trait]
impl Sink for LogSink {
    async fn deliver(&mut self, batch: &[Event], _: &DeliverContext) -> Result<Outcomes, DeliveryError> {
        for event in batch {
            let data = self.include_data.then(|| String::from_utf8_lossy(event.data_json()));
            info!(
                sink = self.name,
                id = event.id(),
                r#type = &*event.event_type,
                subject = event.key.as_deref(),
                time = %event.time,
                app = event.callback.app().name(),
                command = event.callback.command().as_str(),
                replay = event.replay.then_some(true),
                data = data.as_deref(),
                "event"
            );
        }
        Ok(Outcomes::all_done())
    }
}
