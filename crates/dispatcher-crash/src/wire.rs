//! The little HTTP that both ends need: heads that may come in pieces, bodies of a known length.

use std::io::{self, ErrorKind, Read};

/// How much a head or a body may be; nothing here comes near it.
const LIMIT: usize = 4 << 20;

/// A request or an answer, as it came.
pub(crate) struct Message {
    /// The status; 0 of a request.
    pub(crate) status: u16,
    /// The path and query of a request; empty in an answer.
    pub(crate) target: String,
    pub(crate) body: Vec<u8>,
}

/// Reads one message, and leaves in `buffer` what came behind it. `None` at an orderly end before its first byte.
pub(crate) fn read(stream: &mut impl Read, buffer: &mut Vec<u8>, is_request: bool) -> io::Result<Option<Message>> {
    loop {
        if let Some((head_len, body_len, status, target)) = parse(buffer, is_request)? {
            let end = head_len + body_len;
            while buffer.len() < end {
                if fill(stream, buffer)? == 0 {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
            }
            let body = buffer[head_len..end].to_vec();
            buffer.drain(..end);
            return Ok(Some(Message { status, target, body }));
        }
        if fill(stream, buffer)? == 0 {
            return if buffer.is_empty() { Ok(None) } else { Err(ErrorKind::UnexpectedEof.into()) };
        }
    }
}

fn fill(stream: &mut impl Read, buffer: &mut Vec<u8>) -> io::Result<usize> {
    if buffer.len() > LIMIT {
        return Err(io::Error::other("too long"));
    }
    let mut piece = [0; 16 * 1024];
    let n = stream.read(&mut piece)?;
    buffer.extend_from_slice(&piece[..n]);
    Ok(n)
}

/// Lengths of head and body, status and target, once the head is whole.
fn parse(buffer: &[u8], is_request: bool) -> io::Result<Option<(usize, usize, u16, String)>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let (parsed, status, target, headers) = if is_request {
        let mut request = httparse::Request::new(&mut headers);
        let parsed = request.parse(buffer).map_err(io::Error::other)?;
        (parsed, 0, request.path.unwrap_or_default().to_owned(), request.headers)
    } else {
        let mut response = httparse::Response::new(&mut headers);
        let parsed = response.parse(buffer).map_err(io::Error::other)?;
        (parsed, response.code.unwrap_or_default(), String::new(), response.headers)
    };
    let httparse::Status::Complete(head_len) = parsed else { return Ok(None) };
    let length = headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length = match length {
        None => 0,
        Some(header) => {
            std::str::from_utf8(header.value).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(LIMIT)
        }
    };
    Ok(Some((head_len, length, status, target)))
}
