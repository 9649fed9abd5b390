//! What a request is refused with: HTTP status, error code, and a text that helps.

use std::borrow::Cow;

use bytes::Bytes;
use dispatcher_journal::AppendError;
use tencent_chat::{EnvelopeError, QueryError};
use warp::http::{HeaderValue, Response, StatusCode, header};

/// Why a request was refused. The number of each is its `ErrorCode`: the HTTP status, then three digits. Tencent's own
/// codes end at 130000. The numbers are stable: alarms are built on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Refusal {
    /// One of our query parameters occurs twice.
    ParameterTwice = 400_001,
    /// One of our query parameters is not percent-encoded UTF-8.
    ParameterEncoding = 400_002,
    /// No command in the query, and a body that is not empty.
    CommandMissing = 400_003,
    /// The command in the query is longer than 128 bytes, or has something other than printable ASCII without spaces.
    CommandMalformed = 400_004,
    /// The body broke off, or is not what its headers say.
    BodyBroken = 400_005,
    /// The body is not JSON in UTF-8.
    NotJson = 400_006,
    /// The body is JSON, but not an object.
    NotAnObject = 400_007,
    /// The body has `CallbackCommand` twice.
    CommandTwice = 400_008,
    /// The body's `CallbackCommand` is another than the query's, or not a string.
    CommandDiffers = 400_009,
    /// A header of the request cannot be read.
    HeaderMalformed = 400_010,
    /// The body is nested too deeply.
    TooDeep = 400_011,
    /// `Sign` or `RequestTime` is missing.
    SignatureMissing = 401_001,
    /// `Sign` is not the signature of `RequestTime` with any token of the app.
    SignatureWrong = 401_002,
    /// `RequestTime` is right, but too far from this machine's clock.
    SignatureStale = 401_003,
    /// The signature came with another callback before, and that is not allowed.
    SignatureReused = 401_004,
    /// `SdkAppid` is missing.
    AppMissing = 403_001,
    /// `SdkAppid` is none of the configured apps.
    AppUnknown = 403_002,
    /// The request does not come from where the app's callbacks may come from.
    SourceNotAllowed = 403_003,
    /// Another path than the configured one.
    PathUnknown = 404_001,
    /// Another method than POST.
    MethodNotPost = 405_001,
    /// The body was not there by the deadline.
    BodyLate = 408_001,
    /// The body is longer than the limit.
    BodyTooLong = 413_001,
    /// The query string is longer than the limit.
    QueryTooLong = 414_001,
    /// The journal's queue is full.
    JournalFull = 503_001,
    /// The journal could not store the callback: its disk fails, it is poisoned, or it is closing.
    JournalFailed = 503_002,
    /// The journal did not store the callback by the deadline; it may still do so.
    JournalLate = 503_003,
    /// As many callbacks as may be are being answered.
    TooBusy = 503_004,
}

impl Refusal {
    /// All of them, by number.
    pub const ALL: [Refusal; 27] = [
        Refusal::ParameterTwice,
        Refusal::ParameterEncoding,
        Refusal::CommandMissing,
        Refusal::CommandMalformed,
        Refusal::BodyBroken,
        Refusal::NotJson,
        Refusal::NotAnObject,
        Refusal::CommandTwice,
        Refusal::CommandDiffers,
        Refusal::HeaderMalformed,
        Refusal::TooDeep,
        Refusal::SignatureMissing,
        Refusal::SignatureWrong,
        Refusal::SignatureStale,
        Refusal::SignatureReused,
        Refusal::AppMissing,
        Refusal::AppUnknown,
        Refusal::SourceNotAllowed,
        Refusal::PathUnknown,
        Refusal::MethodNotPost,
        Refusal::BodyLate,
        Refusal::BodyTooLong,
        Refusal::QueryTooLong,
        Refusal::JournalFull,
        Refusal::JournalFailed,
        Refusal::JournalLate,
        Refusal::TooBusy,
    ];

    /// The `ErrorCode` of the reply.
    #[must_use]
    pub fn error_code(self) -> u32 {
        self as u32
    }

    /// The HTTP status of the reply.
    #[must_use]
    pub fn status(self) -> u16 {
        (self.error_code() / 1000) as u16
    }

    /// Its name in counters and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Refusal::ParameterTwice => "parameter_twice",
            Refusal::ParameterEncoding => "parameter_encoding",
            Refusal::CommandMissing => "command_missing",
            Refusal::CommandMalformed => "command_malformed",
            Refusal::BodyBroken => "body_broken",
            Refusal::NotJson => "not_json",
            Refusal::NotAnObject => "not_an_object",
            Refusal::CommandTwice => "command_twice",
            Refusal::CommandDiffers => "command_differs",
            Refusal::HeaderMalformed => "header_malformed",
            Refusal::TooDeep => "too_deep",
            Refusal::SignatureMissing => "signature_missing",
            Refusal::SignatureWrong => "signature_wrong",
            Refusal::SignatureStale => "signature_stale",
            Refusal::SignatureReused => "signature_reused",
            Refusal::AppMissing => "app_missing",
            Refusal::AppUnknown => "app_unknown",
            Refusal::SourceNotAllowed => "source_not_allowed",
            Refusal::PathUnknown => "path_unknown",
            Refusal::MethodNotPost => "method_not_post",
            Refusal::BodyLate => "body_late",
            Refusal::BodyTooLong => "body_too_long",
            Refusal::QueryTooLong => "query_too_long",
            Refusal::JournalFull => "journal_full",
            Refusal::JournalFailed => "journal_failed",
            Refusal::JournalLate => "journal_late",
            Refusal::TooBusy => "too_busy",
        }
    }

    /// With the text for whoever reads Tencent's side. It names parameters and numbers, never a token, an expected
    /// signature or what a body says.
    pub(crate) fn because(self, info: impl Into<Cow<'static, str>>) -> Refused {
        Refused { refusal: self, info: info.into() }
    }
}

/// A refusal and the `ErrorInfo` that explains it.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) refusal: Refusal,
    pub(crate) info: Cow<'static, str>,
}

impl Refused {
    /// Tencent's shape of a failure.
    pub(crate) fn response(&self) -> Response<Bytes> {
        let mut response = json(Bytes::from(tencent_chat::failure(self.refusal.error_code(), &self.info)));
        *response.status_mut() =
            StatusCode::from_u16(self.refusal.status()).expect("every code starts with an HTTP status");
        let headers = response.headers_mut();
        match self.refusal {
            Refusal::MethodNotPost => {
                headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
            }
            // The rest of the body is not read, so nothing that follows it on this connection can be.
            Refusal::BodyTooLong | Refusal::BodyLate | Refusal::BodyBroken => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        response
    }
}

/// The reply that allows, or acknowledges.
pub(crate) fn ok() -> Response<Bytes> {
    json(Bytes::from_static(tencent_chat::OK.as_bytes()))
}

/// A reply of this JSON.
pub(crate) fn json(body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

impl From<QueryError> for Refused {
    fn from(err: QueryError) -> Refused {
        let refusal = match err {
            QueryError::Twice(_) => Refusal::ParameterTwice,
            QueryError::BadEncoding(_) => Refusal::ParameterEncoding,
        };
        refusal.because(err.to_string())
    }
}

impl From<EnvelopeError> for Refused {
    fn from(err: EnvelopeError) -> Refused {
        match err {
            EnvelopeError::NotUtf8 | EnvelopeError::NotJson { .. } => Refusal::NotJson.because(err.to_string()),
            EnvelopeError::NotAnObject => Refusal::NotAnObject.because(err.to_string()),
            EnvelopeError::CommandTwice => Refusal::CommandTwice.because(err.to_string()),
            EnvelopeError::CommandNotAString => Refusal::CommandDiffers.because(err.to_string()),
            // Its own text quotes the body.
            EnvelopeError::CommandDiffers { .. } => Refusal::CommandDiffers
                .because("CallbackCommand in the body is not the one in the query; send the same in both"),
        }
    }
}

impl From<AppendError> for Refused {
    fn from(err: AppendError) -> Refused {
        match err {
            AppendError::QueueFull => Refusal::JournalFull
                .because("the journal has more to store than it takes; send the callback again later"),
            // What is wrong with the disk is for those who run it, and in their log.
            AppendError::Failed(_) | AppendError::Poisoned(_) | AppendError::Closed => {
                Refusal::JournalFailed.because("the journal could not store the callback; send it again later")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_has_a_number_and_a_name_of_its_own_and_an_http_status() {
        assert!(Refusal::ALL.is_sorted_by_key(|refusal| refusal.error_code()));
        assert_eq!(Refusal::ALL.map(Refusal::error_code).into_iter().collect::<HashSet<_>>().len(), Refusal::ALL.len());
        assert_eq!(Refusal::ALL.map(Refusal::name).into_iter().collect::<HashSet<_>>().len(), Refusal::ALL.len());
        for refusal in Refusal::ALL {
            assert_eq!(refusal.because("").response().status().as_u16(), refusal.status());
        }
    }

    #[test]
    fn the_readme_lists_all() {
        let readme = include_str!("../README.md");
        for refusal in Refusal::ALL {
            let row = format!("| {} | {} | `{}` |", refusal.error_code(), refusal.status(), refusal.name());
            assert!(readme.contains(&row), "README.md has no row that begins with {row}");
        }
    }

    #[test]
    fn does_not_quote_the_body() {
        let refused = Refused::from(EnvelopeError::CommandDiffers { in_body: "secret".to_owned() });
        assert!(!refused.info.contains("secret"), "{}", refused.info);
    }
}
