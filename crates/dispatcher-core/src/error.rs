//! What plugins report when something does not work. Each type says whose failure it is.

use std::{fmt, io};

/// Why one item – a callback in a handler, an event in a sink – was not done.
///
/// It takes one of the item's attempts. The message is kept with the pending item or the dead letter and shown to
/// people: say what was refused and by whom, without secrets and without message contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    message: String,
    permanent: bool,
}

impl Failure {
    /// Trying again may help: it will be, after backoff, while attempts last.
    pub fn retry(message: impl fmt::Display) -> Failure {
        Failure { message: message.to_string(), permanent: false }
    }

    /// Trying again cannot help: it becomes a dead letter at once.
    pub fn permanent(message: impl fmt::Display) -> Failure {
        Failure { message: message.to_string(), permanent: true }
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

/// Why a handler could not make events of a callback.
///
/// Any error can be raised with `?`; it then counts as one that trying again may help.
#[derive(Clone, PartialEq, Eq)]
pub struct HandlerError(Failure);

impl HandlerError {
    /// Trying again may help: it will be, after backoff, while attempts last.
    pub fn retry(message: impl fmt::Display) -> HandlerError {
        HandlerError(Failure::retry(message))
    }

    /// Trying again cannot help: the callback becomes a dead letter of this handler, and of this handler only.
    pub fn permanent(message: impl fmt::Display) -> HandlerError {
        HandlerError(Failure::permanent(message))
    }

    /// The failure it stands for.
    #[must_use]
    pub fn into_failure(self) -> Failure {
        self.0
    }
}

// Not `std::error::Error`: then `From` for every error, which makes `?` work, could not be.
impl<E: std::error::Error> From<E> for HandlerError {
    fn from(err: E) -> HandlerError {
        HandlerError::retry(err)
    }
}

impl fmt::Debug for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
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
