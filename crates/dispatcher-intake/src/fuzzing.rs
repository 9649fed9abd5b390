//! The way in for `crates/dispatcher-fuzz`, to what reads a request before anyone is trusted. Only with the feature
//! `fuzzing`, and no promise to anybody.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use dispatcher_core::Timestamp;
use futures_util::stream;
use tencent_chat::Query;

use crate::{
    IntakeApp, Refusal, body, depth,
    refusal::Refused,
    verify::{self, Apps},
};

/// What a query string alone says: the app's SDKAppID and the command, or what a request with a body is refused with.
///
/// # Errors
/// The query is none that `apps` sent.
///
/// # Panics
/// `apps` cannot be used together.
pub fn read_query(
    raw: &str,
    apps: Vec<IntakeApp>,
    now: Timestamp,
    freshness: Duration,
) -> Result<(u64, String), Refusal> {
    let Ok(apps) = Apps::new(apps) else { panic!("no apps that can be used together") };
    let read = || {
        let query = Query::parse(raw)?;
        let (_, app) = apps.find(&query)?;
        if let Some(signed) = verify::check_signature(app, &query)? {
            verify::check_freshness(&signed, now, freshness)?;
        }
        let command = query.command.as_deref().ok_or(Refusal::CommandMissing.because(""))?;
        Ok((app.app.sdk_app_id(), verify::command(command)?.as_str().to_owned()))
    };
    read().map_err(|refused: Refused| refused.refusal)
}

/// The body whose pieces are all there.
///
/// # Errors
/// It is longer than `limit`.
pub fn read_body(pieces: Vec<Bytes>, length: Option<u64>, limit: usize) -> Result<Bytes, Refusal> {
    let pieces = pin!(stream::iter(pieces.into_iter().map(Ok::<_, warp::Error>)));
    let reading = pin!(body::read(pieces, length, limit));
    match reading.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(read) => read.map_err(|refused| refused.refusal),
        Poll::Pending => unreachable!("all pieces are there"),
    }
}

/// Whether this JSON has more than `limit` arrays and objects within each other.
#[must_use]
pub fn is_deeper(json: &[u8], limit: usize) -> bool {
    depth::is_deeper(json, limit)
}

/// What a body is refused with that does not agree with its query.
#[must_use]
pub fn refusal(err: tencent_chat::EnvelopeError) -> Refusal {
    Refused::from(err).refusal
}
