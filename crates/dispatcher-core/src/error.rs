//! What plugins report when something does not work. Each type says whose failure it is.

use std::{fmt, io, time::Duration};

use crate::SettingError;

/// Why one item – a callback in a handler, an event in a sink – was not done.
///
/// It takes one of the item's attempts. The message is kept with the pending item or the dead letter and shown to
/// people: say what was refused and by whom, without secrets and without message contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    message: String,
    permanent: bool,
    response: Option<Box<Response>>,
    retry_after: Option<Duration>,
}

/// What a receiver answered when it did not take an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Its status, as of HTTP.
    pub status: u16,
    /// The beginning of its body, without what repeats the request; empty if there is none.
    pub excerpt: String,
}

impl Failure {
    /// Trying again may help: it will be, after backoff, while attempts last.
    pub fn retry(message: impl fmt::Display) -> Failure {
        Failure::new(message, false)
    }

    /// Trying again cannot help: it becomes a dead letter at once.
    pub fn permanent(message: impl fmt::Display) -> Failure {
        Failure::new(message, true)
    }

    fn new(message: impl fmt::Display, permanent: bool) -> Failure {
        Failure { message: message.to_string(), permanent, response: None, retry_after: None }
    }

    /// Keeps the receiver's answer beside the message, for people who look into it.
    #[must_use]
    pub fn with_response(mut self, status: u16, excerpt: impl Into<String>) -> Failure {
        self.response = Some(Box::new(Response { status, excerpt: excerpt.into() }));
        self
    }

    /// The receiver asked that this item be left alone for `wait`. The next attempt comes no earlier, but a wait longer than
    /// an hour counts as an hour.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Failure {
        self.retry_after = Some(wait);
        self
    }

    /// What the receiver answered, if that is known.
    #[must_use]
    pub fn response(&self) -> Option<&Response> {
        self.response.as_deref()
    }

    /// How long the receiver asked that this item be left alone, if it did.
    #[must_use]
    pub fn wait(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Whether trying again cannot help.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        self.permanent
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Why a handler could not decide about a callback, or make events of it.
///
/// Any error can be raised with `?`; it then counts as one that trying again may help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandlerError {
    failure: Failure,
    is_down: bool,
}

impl HandlerError {
    /// Trying again may help: it will be, after backoff, while attempts last.
    pub fn retry(message: impl fmt::Display) -> HandlerError {
        Failure::retry(message).into()
    }

    /// Trying again cannot help: the callback becomes a dead letter of this handler, and of this handler only.
    pub fn permanent(message: impl fmt::Display) -> HandlerError {
        Failure::permanent(message).into()
    }

    /// The handler itself does not work now, whatever callback it is given: what it depends on cannot be reached, or asks to
    /// be left alone. It is then *down*: it is tried with its oldest callback after backoff until that works, and no callback
    /// loses an attempt.
    pub fn down(message: impl fmt::Display) -> HandlerError {
        HandlerError { failure: Failure::retry(message), is_down: true }
    }

    /// Keeps what somebody else answered beside the message; see [`Failure::with_response`].
    #[must_use]
    pub fn with_response(mut self, status: u16, excerpt: impl Into<String>) -> HandlerError {
        self.failure = self.failure.with_response(status, excerpt);
        self
    }

    /// Somebody asked to be left alone for `wait`; see [`Failure::retry_after`].
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> HandlerError {
        self.failure = self.failure.retry_after(wait);
        self
    }

    /// Whether it is the handler's own failure, and no callback's.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.is_down
    }

    /// The failure it stands for.
    #[must_use]
    pub fn into_failure(self) -> Failure {
        self.failure
    }
}

/// The failure of one callback.
impl From<Failure> for HandlerError {
    fn from(failure: Failure) -> HandlerError {
        HandlerError { failure, is_down: false }
    }
}

// Not `std::error::Error`: then `From` for every error, which makes `?` work, could not be.
impl<E: std::error::Error> From<E> for HandlerError {
    fn from(err: E) -> HandlerError {
        HandlerError::retry(err)
    }
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.failure, f)
    }
}

/// Why a handler or a sink could not be opened. It is tried again after backoff; until then nothing is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenError {
    key: Option<String>,
    message: String,
}

impl OpenError {
    /// The setting named `key` is what does not work.
    pub fn key(key: impl Into<String>, message: impl fmt::Display) -> OpenError {
        OpenError { key: Some(key.into()), message: message.to_string() }
    }

    /// Something that no single setting is to blame for.
    pub fn other(message: impl fmt::Display) -> OpenError {
        OpenError { key: None, message: message.to_string() }
    }
}

/// The first of the findings: a check that passed at the start may find something at a later opening.
impl From<Vec<SettingError>> for OpenError {
    fn from(findings: Vec<SettingError>) -> OpenError {
        match findings.first() {
            Some(finding) => OpenError::key(finding.path.join("."), &finding.message),
            None => OpenError::other("the settings are not usable"),
        }
    }
}

impl From<io::Error> for OpenError {
    fn from(err: io::Error) -> OpenError {
        OpenError::other(err)
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "{key}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for OpenError {}
