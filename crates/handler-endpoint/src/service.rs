//! The endpoint on the other side: what is posted to it.

use std::sync::Arc;

use bytes::Bytes;
use dispatcher_core::{Callback, Event, EventData, Secret, Timestamp};
use dispatcher_http::{Answer, Client, NoAnswer, target};
use reqwest::{
    Url,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use tokio::time::Instant;

/// The longest reply that is taken.
pub(crate) const REPLY_MAX: usize = 64 * 1024;

/// Where to post, and how. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) client: Client,
    pub(crate) url: Url,
    pub(crate) format: Format,
    /// The handler's name.
    pub(crate) name: Arc<str>,
}

/// What is posted.
#[derive(Clone)]
pub(crate) enum Format {
    /// Tencent's own request, signed with the token if there is one.
    Raw {
        token: Option<Secret>,
    },
    CloudEvents,
}

impl Service {
    /// Posts a callback. `replay`: it is handled again because someone asked for it.
    pub(crate) async fn post(&self, callback: &Callback, replay: bool, deadline: Instant) -> Result<Answer, NoAnswer> {
        let event = self.event(callback, replay);
        let (url, content_type, body) = match &self.format {
            Format::Raw { token } => {
                let time = Timestamp::now().as_millis() / 1000;
                let url = target::with_query_of(callback, &self.url, token.as_ref(), time);
                (url, "application/json", callback.body_bytes().clone())
            }
            Format::CloudEvents => {
                let mut body = Vec::new();
                event.write_json(&mut body);
                (self.url.clone(), "application/cloudevents+json; charset=utf-8", Bytes::from(body))
            }
        };
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        // A name that cannot stand in a header costs the key, and not the callback.
        if let Ok(id) = HeaderValue::from_bytes(event.idempotency_key().as_bytes()) {
            headers.insert(HeaderName::from_static("webhook-id"), id);
        }
        if let Some(trace) = callback.traceparent().and_then(|trace| HeaderValue::from_str(trace).ok()) {
            headers.insert(HeaderName::from_static("traceparent"), trace);
        }
        self.client.post(url, headers, body, REPLY_MAX, deadline).await
    }

    /// Where it is, as people may see it.
    pub(crate) fn shown(&self) -> String {
        target::shown(&self.url)
    }

    /// The event that the handler `forward` would make of it.
    fn event(&self, callback: &Callback, replay: bool) -> Event {
        Event {
            seq: 0, // It is no event of the journal.
            handler: self.name.clone(),
            n: 0,
            event_type: format!("tencent-chat.callback.{}", callback.command()).into(),
            key: callback.key().cloned(),
            time: callback.event_time().unwrap_or(callback.received_at()),
            data: EventData::Callback,
            callback: Arc::new(callback.clone()),
            replay,
        }
    }
}
