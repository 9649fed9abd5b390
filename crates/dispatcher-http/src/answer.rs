//! What came of a request: an answer, or the lack of one, in words that tell no contents.

use std::{
    error::Error as _,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use dispatcher_core::Failure;
use reqwest::{
    StatusCode, Url,
    header::{HeaderMap, HeaderValue, LOCATION, RETRY_AFTER},
};

use crate::{excerpt::excerpt, target};

/// The longest wait that a receiver can ask for. A slip of the pen in its `Retry-After` must not stop a sink for a year.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60 * 60);

/// An answer.
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// The beginning of its body: as much as was to be kept.
    pub body: Vec<u8>,
    /// Whether that is all of it.
    pub end: BodyEnd,
    pub(crate) url: Url,
    pub(crate) sent: Bytes,
    pub(crate) secret: Arc<[HeaderValue]>,
}

/// How a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyEnd {
    /// It is there from beginning to end.
    Whole,
    /// It is longer than what was to be kept.
    TooLong,
    /// The connection broke, or time was up.
    Broken,
}

impl Answer {
    /// Where it came from, as people may see it.
    #[must_use]
    pub fn from(&self) -> String {
        target::shown(&self.url)
    }

    /// The beginning of its body as one line, without what repeats the request; empty if nothing is left.
    #[must_use]
    pub fn excerpt(&self) -> String {
        excerpt(&self.body, &[&self.sent, self.url.query().unwrap_or_default().as_bytes()], &self.secret)
    }

    /// Its status, where it came from, and, where it is no success, its [excerpt](Answer::excerpt).
    #[must_use]
    pub fn text(&self) -> String {
        let (status, from) = (self.status.as_u16(), self.from());
        if self.status.is_success() {
            return format!("status {status} from {from}");
        }
        match &*self.excerpt() {
            "" => format!("status {status} from {from}"),
            excerpt => format!("status {status} from {from}: {excerpt:?}"),
        }
    }

    /// What to say of a status that points elsewhere. Another path than the request's is left out: it is the receiver's, and
    /// may quote the request in a way that cannot be told.
    #[must_use]
    pub fn redirect(&self) -> String {
        let (status, from) = (self.status.as_u16(), self.from());
        let location = self.headers.get(LOCATION).and_then(|location| location.to_str().ok());
        match location.and_then(|location| self.url.join(location).ok()) {
            Some(mut to) => {
                let is_same = to.path().trim_end_matches('/') == self.url.path().trim_end_matches('/');
                if !is_same {
                    to.set_path("/");
                }
                let more = if is_same { "" } else { "…" };
                format!(
                    "status {status} from {from}, to {}{more}; redirects are not followed: write the new address into `url`",
                    target::shown(&to)
                )
            }
            None => format!("status {status} from {from}; redirects are not followed: write the address into `url`"),
        }
    }

    /// The wait that it asks for (`Retry-After`), an hour at most. None where it asks for none, or in no way we know.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        retry_after(&self.headers, SystemTime::now())
    }

    /// The failure with what the receiver said and asked for.
    #[must_use]
    pub fn explain(&self, failure: Failure) -> Failure {
        let failure = failure.with_response(self.status.as_u16(), self.excerpt());
        match self.retry_after() {
            Some(wait) => failure.retry_after(wait),
            None => failure,
        }
    }
}

/// Why there is no answer, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// Nothing was sent, for want of a connection.
    NotConnected(String),
    /// The request may have arrived.
    Lost(String),
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (NoAnswer::NotConnected(why) | NoAnswer::Lost(why)) = self;
        f.write_str(why)
    }
}

impl NoAnswer {
    pub(crate) fn because(url: &Url, err: &reqwest::Error) -> NoAnswer {
        let from = target::shown(url);
        let mut cause: &dyn std::error::Error = err;
        while let Some(source) = cause.source() {
            cause = source;
        }
        // Only the innermost cause: the outermost quotes the whole URL, and those between say less.
        if err.is_connect() {
            return NoAnswer::NotConnected(format!("cannot connect to {from}: {cause}"));
        }
        if err.source().is_none() {
            return NoAnswer::Lost(format!("no answer from {from}"));
        }
        NoAnswer::Lost(format!("no answer from {from}: {cause}"))
    }
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
