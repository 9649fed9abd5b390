//! The way in for `crates/dispatcher-fuzz`, to what reads a request from the socket. Only with the feature `fuzzing`, and
//! no promise to anybody.

use std::{io, os::unix::net::UnixStream};

use crate::{Answer, Request, server, wire};

/// The request that a client wrote, or what is wrong with it. Blocks until it is there.
///
/// # Errors
/// The client wrote nothing, or nothing that ends in time.
pub fn read(stream: &UnixStream) -> io::Result<Result<Request, String>> {
    server::read(stream)
}

/// A request as the client writes it.
///
/// # Errors
/// It has no form in JSON.
pub fn request_line(request: &Request) -> io::Result<Vec<u8>> {
    wire::request_line(request)
}

/// An answer as the server writes it.
///
/// # Errors
/// It has no form in JSON.
pub fn answer_line(answer: &Answer) -> io::Result<Vec<u8>> {
    wire::answer_line(answer)
}
