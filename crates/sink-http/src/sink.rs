//! Posts events, one after the other over one connection.

use async_trait::async_trait;
use bytes::Bytes;
use dispatcher_core::{DeliverContext, DeliveryError, Event, Failure, Outcome, Outcomes, Secret, Sink, Timestamp};
use dispatcher_http::{Client, EXCERPT_MAX, target};
use reqwest::{
    Url,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use tokio::time::Instant;

use crate::{
    config::Format,
    verdict::{verdict, without_answer},
    webhook::{self, SigningKey},
};

/// One lane's connection to the receiver.
pub(crate) struct HttpSink {
    pub(crate) client: Client,
    pub(crate) url: Url,
    pub(crate) format: Format,
    pub(crate) token: Option<Secret>,
    pub(crate) keys: Vec<SigningKey>,
    pub(crate) proxied: bool,
}

#[async_trait]
impl Sink for HttpSink {
    /// A POST is an event, so a batch is usually one. Of a larger one, only the first event has all the time that there is:
    /// one that runs out of it later counts as not tried, and so does all that follows when the receiver turns out to be
    /// down. The next batch then begins with it.
    async fn deliver(&mut self, batch: &[Event], cx: &DeliverContext) -> Result<Outcomes, DeliveryError> {
        let mut outcomes = Vec::with_capacity(batch.len());
        let mut blocked = Vec::new();
        for event in batch {
            let key = event.key.as_ref().map(|key| (event.callback.app().sdk_app_id(), key));
            if key.is_some_and(|key| blocked.contains(&key)) {
                outcomes.push(Outcome::NotTried);
                continue;
            }
            let outcome = match self.post(event, cx.deadline.into()).await {
                Ok(outcome) => outcome,
                Err(err) if outcomes.is_empty() => return Err(err),
                Err(_) => break,
            };
            if outcome != Outcome::Done {
                if !outcomes.is_empty() && cx.time_left().is_zero() {
                    break;
                }
                blocked.extend(key);
            }
            outcomes.push(outcome);
        }
        Ok(Outcomes::each(outcomes)) // Those that are missing count as not tried.
    }
}

impl HttpSink {
    async fn post(&self, event: &Event, deadline: Instant) -> Result<Outcome, DeliveryError> {
        let (url, headers, body) = match self.request(event) {
            Ok(request) => request,
            Err(failure) => return Ok(Outcome::Failed(failure)),
        };
        // The status decides; the rest of the answer is read for the connection's sake, and for people.
        match self.client.post(url, headers, body, EXCERPT_MAX, deadline).await {
            Ok(answer) => verdict(&answer, self.proxied),
            Err(no_answer) => without_answer(no_answer),
        }
    }

    fn request(&self, event: &Event) -> Result<(Url, HeaderMap, Bytes), Failure> {
        let time = Timestamp::now().as_millis() / 1000;
        let (url, content_type, body) = match self.format {
            Format::CloudEvents => {
                let mut body = Vec::new();
                event.write_json(&mut body);
                (self.url.clone(), "application/cloudevents+json; charset=utf-8", Bytes::from(body))
            }
            Format::Raw if event.is_forwarded() => {
                let url = target::with_query_of(&event.callback, &self.url, self.token.as_ref(), time);
                (url, "application/json", event.callback.body_bytes().clone())
            }
            Format::Raw => {
                return Err(Failure::permanent(
                    "not a forwarded callback, and format = \"raw\" posts nothing else; feed this sink from a handler of \
                     type \"forward\"",
                ));
            }
        };
        let id = event.idempotency_key();
        let header = |value: &str| {
            HeaderValue::from_bytes(value.as_bytes())
                .map_err(|_| Failure::permanent("the handler's name cannot stand in a header; rename the handler"))
        };
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(HeaderName::from_static("webhook-id"), header(&id)?);
        if let Some(trace) = event.callback.traceparent().and_then(|trace| HeaderValue::from_str(trace).ok()) {
            headers.insert(HeaderName::from_static("traceparent"), trace);
        }
        if !self.keys.is_empty() {
            let signatures = webhook::signatures(&self.keys, &id, time, &body);
            headers.insert(HeaderName::from_static("webhook-timestamp"), HeaderValue::from(time));
            headers.insert(HeaderName::from_static("webhook-signature"), header(&signatures)?);
        }
        Ok((url, headers, body))
    }
}
