//! What an answer, or the lack of one, means for the event and for the sink. The README has it as a table.

use std::{
    error::Error as _,
    time::{Duration, SystemTime},
};

use dispatcher_core::{DeliveryError, Failure, Outcome};
use reqwest::{
    StatusCode, Url,
    header::{HeaderMap, LOCATION, RETRY_AFTER},
};

use crate::target;

/// The longest wait that a receiver can ask for. A slip of the pen in its `Retry-After` must not stop a sink for a year.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60 * 60);

/// An answer as far as it decides anything.
pub(crate) struct Answer<'a> {
    /// The URL that was posted to.
    pub(crate) url: &'a Url,
    pub(crate) status: StatusCode,
    pub(crate) headers: &'a HeaderMap,
    /// The beginning of its body, fit for an error text; empty if there is none.
    pub(crate) excerpt: &'a str,
    /// Whether a proxy stands in between.
    pub(crate) proxied: bool,
}

impl Answer<'_> {
    /// Whose failure it is, if it is one.
    pub(crate) fn verdict(&self) -> Result<Outcome, DeliveryError> {
        match self.status.as_u16() {
            200..=299 => Ok(Outcome::Done),
            // The receiver did not wait for all of the request, or did not want it early: this one, this time.
            408 | 425 => Ok(Outcome::Failed(self.failure(Failure::retry(self.text())))),
            // These speak of the receiver and not of the event: the next event would fare no better.
            429 | 503 => {
                let down = DeliveryError::down(self.text());
                Err(match retry_after(self.headers, SystemTime::now()) {
                    Some(wait) => down.retry_after(wait),
                    None => down,
                })
            }
            // Said by the proxy, of every request alike.
            407 if self.proxied => Err(DeliveryError::down(format!(
                "{}; the proxy wants credentials: write them into `proxy`",
                self.text()
            ))),
            410 => Err(DeliveryError::gone(format!(
                "{}; the receiver says that nothing is to come here any more: correct `url` or remove the sink",
                self.text()
            ))),
            // A bug that this event meets, or a gateway's bad moment; the two look alike from here. Many in a row count
            // as the sink's in the delivery loop.
            500..=599 => Ok(Outcome::Failed(self.failure(Failure::retry(self.text())))),
            300..=399 => Ok(Outcome::Failed(self.failure(Failure::permanent(self.redirect())))),
            _ => Ok(Outcome::Failed(self.failure(Failure::permanent(self.text())))),
        }
    }

    /// The event's own failure, with what the receiver said and asked for.
    fn failure(&self, failure: Failure) -> Failure {
        let failure = failure.with_response(self.status.as_u16(), self.excerpt);
        match retry_after(self.headers, SystemTime::now()) {
            Some(wait) => failure.retry_after(wait),
            None => failure,
        }
    }

    fn text(&self) -> String {
        let (status, from) = (self.status.as_u16(), target::shown(self.url));
        match self.excerpt {
            "" => format!("status {status} from {from}"),
            excerpt => format!("status {status} from {from}: {excerpt:?}"),
        }
    }

    fn redirect(&self) -> String {
        let (status, from) = (self.status.as_u16(), target::shown(self.url));
        let location = self.headers.get(LOCATION).and_then(|location| location.to_str().ok());
        match location.and_then(|location| self.url.join(location).ok()) {
            Some(to) => format!(
                "status {status} from {from}, to {}; redirects are not followed: write the new address into `url`",
                target::shown(&to)
            ),
            None => format!("status {status} from {from}; redirects are not followed: write the address into `url`"),
        }
    }
}

/// What it means that no answer came, and why none did.
pub(crate) fn without_answer(url: &Url, err: &reqwest::Error) -> Result<Outcome, DeliveryError> {
    let from = target::shown(url);
    let mut cause: &dyn std::error::Error = err;
    while let Some(source) = cause.source() {
        cause = source;
    }
    // Only the innermost cause: the outermost quotes the whole URL, and those between say less.
    if err.is_connect() {
        return Err(DeliveryError::down(format!("cannot connect to {from}: {cause}")));
    }
    if err.source().is_none() {
        return Ok(Outcome::Failed(Failure::retry(format!("no answer from {from}"))));
    }
    // The request may have arrived; the idempotency key tells the receiver when it comes again.
    Ok(Outcome::Failed(Failure::retry(format!("no answer from {from}: {cause}"))))
}

/// The wait that the answer asks for, in seconds or until a date. None where it asks for none, or in no way we know.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        Duration::from_secs(text.parse().unwrap_or(u64::MAX)) // All digits: only too many of them do not parse.
    } else {
        httpdate::parse_http_date(text).ok()?.duration_since(now).ok()?
    };
    (!wait.is_zero()).then_some(wait.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_as_long_as_asked_but_not_for_ever() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        for (text, wait) in [
            ("7", Some(7)),
            (" 120 ", Some(120)),
            ("86400", Some(3600)),
            ("99999999999999999999999", Some(3600)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("Sunday, 06-Nov-94 08:50:37 GMT", Some(60)),
            ("Mon, 07 Nov 1994 08:49:37 GMT", Some(3600)),
            ("0", None),
            ("Sun, 06 Nov 1994 08:49:00 GMT", None),
            ("-1", None),
            ("soon", None),
            ("", None),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]);
            assert_eq!(retry_after(&headers, now), wait.map(Duration::from_secs), "{text:?}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
