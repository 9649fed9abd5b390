//! How requests and answers travel: lines of JSON, one request and its answers per connection.
//!
//! The request is `{"version": 1, "request": …}`. The version is that of the protocol: a dispatcher that speaks another one
//! says so, and does nothing.
//!
//! Over HTTP the request is the body of a `POST`, and the answers are the body of its response; nothing else differs.

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{Answer, Request};

/// The protocol that this program speaks.
const VERSION: u32 = 1;

/// Where requests are posted over HTTP.
pub const CONTROL_PATH: &str = "/control";

/// The longest request, in bytes.
pub(crate) const MAX_REQUEST: u64 = 1 << 20;

/// Where a dispatcher with this journal listens: `<journal>.sock`.
#[must_use]
pub fn socket_path(journal: &Path) -> PathBuf {
    let mut path = OsString::from(journal);
    path.push(".sock");
    path.into()
}

#[derive(Serialize, Deserialize)]
struct Line<T> {
    version: u32,
    request: T,
}

/// A request as a line, as [`Admin`](crate::Admin) takes it posted to [`CONTROL_PATH`].
///
/// # Errors
/// None that is known: a request is JSON.
pub fn request_line(request: &Request) -> io::Result<Vec<u8>> {
    line(&Line { version: VERSION, request })
}

/// The request in a line.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn read_request(line: &[u8]) -> Result<Request, String> {
    let invalid = |err: serde_json::Error| {
        format!("this is no request: {err}; write {{\"version\": {VERSION}, \"request\": …}} in one line")
    };
    let line: Line<&RawValue> = serde_json::from_slice(line).map_err(invalid)?;
    if line.version != VERSION {
        return Err(format!(
            "the dispatcher that runs speaks version {VERSION} of this protocol, and was asked in version {}; use the \
             same version of the program",
            line.version
        ));
    }
    serde_json::from_str(line.request.get()).map_err(invalid)
}

/// An answer as a line.
pub(crate) fn answer_line(answer: &Answer) -> io::Result<Vec<u8>> {
    line(answer)
}

fn line<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}
