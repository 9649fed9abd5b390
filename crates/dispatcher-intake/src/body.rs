//! Reads a body, and no more of it than the limit.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use futures_util::Stream;

use crate::refusal::{Refusal, Refused};

/// What is set aside at once for a body that says how long it will be. A longer one has to arrive before it gets more.
const TRUSTED_LENGTH: u64 = 64 << 10;

/// The body, copied once out of the connection's buffer: held slices of it would keep the whole buffer.
///
/// `length` is what the header says, if it does; the bytes are counted all the same.
pub(crate) async fn read<S, B>(mut body: Pin<&mut S>, length: Option<u64>, limit: usize) -> Result<Bytes, Refused>
where
    S: Stream<Item = Result<B, warp::Error>>,
    B: Buf,
{
    if length.is_some_and(|length| length > limit as u64) {
        return Err(too_long(limit));
    }
    let Some(first) = next(body.as_mut()).await? else { return Ok(Bytes::new()) };
    if first.remaining() > limit {
        return Err(too_long(limit));
    }
    // Nearly always the first piece is all of it.
    if length == Some(first.remaining() as u64) {
        return Ok(Bytes::copy_from_slice(first.chunk()));
    }
    let expected = length.unwrap_or_default().min(TRUSTED_LENGTH);
    let mut bytes = Vec::with_capacity(first.remaining().max(usize::try_from(expected).unwrap_or(0)));
    let mut piece = Some(first);
    while let Some(rest) = piece {
        if rest.remaining() > limit - bytes.len() {
            return Err(too_long(limit));
        }
        bytes.extend_from_slice(rest.chunk());
        piece = next(body.as_mut()).await?;
    }
    Ok(bytes.into())
}

/// The next piece of a body, in one stretch of memory, as hyper hands it out; `None` at its end.
async fn next<S, B>(mut body: Pin<&mut S>) -> Result<Option<B>, Refused>
where
    S: Stream<Item = Result<B, warp::Error>>,
{
    poll_fn(|cx| body.as_mut().poll_next(cx)).await.transpose().map_err(broken)
}

/// Whether the body is known to be empty without waiting for any of it. Takes the first piece, if it is there.
pub(crate) fn is_empty<S: Stream>(body: Pin<&mut S>, cx: &mut Context<'_>) -> bool {
    matches!(body.poll_next(cx), Poll::Ready(None))
}

/// Whether the body ends with the piece that is there, if one is, so that nothing of it is still to come. Takes that
/// piece.
pub(crate) fn is_over<S: Stream>(mut body: Pin<&mut S>, cx: &mut Context<'_>) -> bool {
    is_empty(body.as_mut(), cx) || is_empty(body, cx)
}

fn too_long(limit: usize) -> Refused {
    Refusal::BodyTooLong.because(format!("the body is longer than {limit} bytes; raise [intake] body_limit"))
}

fn broken(_: warp::Error) -> Refused {
    Refusal::BodyBroken.because("the body broke off, or is not what its headers say")
}
