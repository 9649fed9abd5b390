//! Asks the dispatcher that runs.

use std::{
    fmt,
    io::{self, BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    path::Path,
};

use crate::{Answer, Request, socket_path, wire::request_line};

/// A connection to the dispatcher that has the journal open, for one request.
pub struct Client {
    stream: UnixStream,
}

/// Why there are no more answers.
#[derive(Debug)]
pub enum ClientError {
    /// The dispatcher went away before the last answer.
    Ended,
    /// The connection failed.
    Io(io::Error),
    /// An answer is none that this program knows: the dispatcher is of another version.
    Foreign(String),
}

impl Client {
    /// Connects to the dispatcher that has this journal open; `None` if none listens there.
    #[must_use]
    pub fn connect(journal: &Path) -> Option<Client> {
        Some(Client { stream: UnixStream::connect(socket_path(journal)).ok()? })
    }

    /// Asks, and passes each answer to `take` until it says that it was enough, or the last one has come. Blocks until
    /// then.
    ///
    /// # Errors
    /// There was no last answer.
    pub fn ask(self, request: &Request, mut take: impl FnMut(Answer) -> bool) -> Result<(), ClientError> {
        // A dispatcher that is too busy answers without reading.
        let asked = request_line(request).and_then(|line| (&self.stream).write_all(&line));
        let mut lines = BufReader::new(&self.stream);
        let mut line = String::new();
        loop {
            line.clear();
            match lines.read_line(&mut line) {
                Ok(0) => return asked.map_err(ClientError::Io).and(Err(ClientError::Ended)),
                Ok(_) => {}
                Err(err) if err.kind() == io::ErrorKind::ConnectionReset => return Err(ClientError::Ended),
                Err(err) => return Err(ClientError::Io(err)),
            }
            if !line.ends_with('\n') {
                return Err(ClientError::Ended);
            }
            let answer = Answer::from_line(line.as_bytes())?;
            let is_last = answer.is_last();
            if !take(answer) || is_last {
                return Ok(());
            }
        }
    }
}

impl Answer {
    /// The answer in a line that a dispatcher sent.
    ///
    /// # Errors
    /// It is none that this program knows.
    pub fn from_line(line: &[u8]) -> Result<Answer, ClientError> {
        serde_json::from_slice(line).map_err(|err| ClientError::Foreign(err.to_string()))
    }

    /// Whether none comes behind it.
    #[must_use]
    pub fn is_last(&self) -> bool {
        matches!(self, Answer::Done(_) | Answer::Failed(_))
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Ended => f.write_str("the dispatcher stopped before it had answered; ask again"),
            ClientError::Io(err) => write!(f, "the connection to the dispatcher failed: {err}"),
            ClientError::Foreign(err) => write!(
                f,
                "the dispatcher that runs answers what this program does not know ({err}); use the same version of the \
                 program"
            ),
        }
    }
}

impl std::error::Error for ClientError {}
