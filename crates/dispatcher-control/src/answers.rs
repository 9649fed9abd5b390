//! Answers as the body of a response: those that are there, or those that come.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::mpsc as std_mpsc,
    task::{Context, Poll},
};

use hyper::body::{Body, Bytes, Frame};
use tokio::sync::mpsc;

pub(crate) enum Answers {
    Whole(Option<Bytes>),
    Coming {
        lines: mpsc::Receiver<Bytes>,
        /// Dropped with the rest, which tells who answers that nobody listens.
        _stays: std_mpsc::Sender<()>,
    },
}

impl Answers {
    pub(crate) fn whole(text: Vec<u8>) -> Answers {
        Answers::Whole(Some(text.into()))
    }

    /// `stays` is dropped when nobody reads on.
    pub(crate) fn coming(lines: mpsc::Receiver<Bytes>, stays: std_mpsc::Sender<()>) -> Answers {
        Answers::Coming { lines, _stays: stays }
    }
}

impl Body for Answers {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = match self.get_mut() {
            Answers::Whole(text) => Poll::Ready(text.take()),
            Answers::Coming { lines, .. } => lines.poll_recv(cx),
        };
        next.map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}
