//! Posts events, one after the other over one connection.

use async_trait::async_trait;
use bytes::Bytes;
use dispatcher_core::{DeliverContext, DeliveryError, Event, Failure, Outcome, Outcomes, Secret, Sink, Timestamp};
use reqwest::{
    Client, Method, Request, Response, Url,
    header::{CONTENT_TYPE, HeaderName, HeaderValue},
};
use tokio::time::{Instant, timeout_at};

use crate::{
    config::Format,
    excerpt::{EXCERPT_MAX, excerpt},
    target,
    verdict::{Answer, without_answer},
    webhook::{self, SigningKey},
};

/// How much of an answer's body is read so that the connection can be used again. A longer one costs the connection.
const ANSWER_MAX: usize = 64 * 1024;

/// One lane's connection to the receiver.
pub(crate) struct HttpSink {
    pub(crate) client: Client,
    pub(crate) url: Url,
    pub(crate) format: Format,
    pub(crate) token: Option<Secret>,
    pub(crate) keys: Vec<SigningKey>,
    /// Values of headers: left out where a receiver repeats them.
    pub(crate) secret: Vec<HeaderValue>,
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
        let request = match self.request(event) {
            Ok(request) => request,
            Err(failure) => return Ok(Outcome::Failed(failure)),
        };
        let sent = request.try_clone(); // Shares the body; kept to see what a refusal repeats of it.
        let mut response = match timeout_at(deadline, self.client.execute(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(err)) => return without_answer(&self.url, &err),
            Err(_) => {
                let from = target::shown(&self.url);
                return Ok(Outcome::Failed(Failure::retry(format!("no answer from {from} in time"))));
            }
        };
        // The status has decided; the rest of the answer is read for the connection's sake, and for people.
        let mut body = Vec::new();
        let _ = timeout_at(deadline, read(&mut response, &mut body)).await;
        let excerpt = if response.status().is_success() { String::new() } else { self.excerpt(&body, sent.as_ref()) };
        let (status, headers) = (response.status(), response.headers());
        Answer { url: &self.url, status, headers, excerpt: &excerpt, proxied: self.proxied }.verdict()
    }

    fn request(&self, event: &Event) -> Result<Request, Failure> {
        let time = Timestamp::now().as_millis() / 1000;
        let (url, content_type, body) = match self.format {
            Format::CloudEvents => {
                let mut body = Vec::new();
                event.write_json(&mut body);
                (self.url.clone(), "application/cloudevents+json; charset=utf-8", Bytes::from(body))
            }
            Format::Raw if event.is_forwarded() => {
                (self.signed_url(event, time), "application/json", event.callback.body_bytes().clone())
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
        let mut request = Request::new(Method::POST, url);
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(HeaderName::from_static("webhook-id"), header(&id)?);
        if !self.keys.is_empty() {
            let signatures = webhook::signatures(&self.keys, &id, time, &body);
            headers.insert(HeaderName::from_static("webhook-timestamp"), HeaderValue::from(time));
            headers.insert(HeaderName::from_static("webhook-signature"), header(&signatures)?);
        }
        *request.body_mut() = Some(body.into());
        Ok(request)
    }

    /// The URL with Tencent's parameters after its own, as Tencent would append them.
    fn signed_url(&self, event: &Event, time: i64) -> Url {
        let raw = event.callback.query();
        let query = match &self.token {
            Some(token) => tencent_chat::resign(raw, token.expose(), u64::try_from(time).unwrap_or(0)),
            None => tencent_chat::without_signature(raw).into_owned(),
        };
        let mut url = self.url.clone();
        let query = match url.query() {
            Some(own) if !own.is_empty() => format!("{own}&{query}"),
            _ => query,
        };
        url.set_query(Some(&query));
        url
    }

    fn excerpt(&self, body: &[u8], sent: Option<&Request>) -> String {
        // Bytes in memory are always cloned; should they once not be, nothing is shown rather than too much.
        let Some(sent) = sent else { return String::new() };
        let request_body = sent.body().and_then(|body| body.as_bytes()).unwrap_or_default();
        excerpt(body, &[request_body, sent.url().query().unwrap_or_default().as_bytes()], &self.secret)
    }
}

/// Reads the body to its end or to the limit, and keeps its beginning. An error is an end, too.
async fn read(response: &mut Response, kept: &mut Vec<u8>) {
    let mut len = 0;
    while let Ok(Some(chunk)) = response.chunk().await {
        kept.extend_from_slice(&chunk[..chunk.len().min(EXCERPT_MAX - kept.len())]);
        len += chunk.len();
        if len > ANSWER_MAX {
            return;
        }
    }
}
