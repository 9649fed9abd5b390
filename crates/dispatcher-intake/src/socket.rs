//! A connection's socket, which keeps its clock.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{connection::Connection, stream::Stream};

/// What is read and thrown away at most of a request that was refused unread.
const LINGER_BYTES: usize = 256 << 10;

/// The socket. Tells the clock when bytes arrive and when all are sent.
pub(crate) struct Socket {
    stream: Stream,
    connection: Arc<Connection>,
    closing: Closing,
}

#[derive(PartialEq)]
enum Closing {
    No,
    /// We send no more; the peer still does, and this much of it is still taken.
    Lingering(usize),
}

impl Socket {
    pub(crate) fn new(stream: Stream, connection: Arc<Connection>) -> Socket {
        Socket { stream, connection, closing: Closing::No }
    }

    fn stream(self: Pin<&mut Self>) -> Pin<&mut Stream> {
        Pin::new(&mut self.get_mut().stream)
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let n_before = buf.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buf);
        if buf.filled().len() > n_before {
            this.connection.received();
        }
        read
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.stream().poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.stream).poll_flush(cx))?;
        this.connection.flushed();
        Poll::Ready(Ok(()))
    }

    /// A socket that is closed while the peer is still sending makes the kernel reset the connection, and the reset
    /// overtakes the reply: the peer would never read why its body was refused. So what it sends is taken for a
    /// while, up to [`LINGER_BYTES`] and the limit for reading a reply.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.closing == Closing::No {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
            if !this.connection.is_unread() {
                return Poll::Ready(Ok(()));
            }
            this.connection.reply();
            this.closing = Closing::Lingering(LINGER_BYTES);
        }
        let mut taken = [0; 4096];
        while let Closing::Lingering(left @ 1..) = this.closing {
            let mut buf = ReadBuf::new(&mut taken);
            ready!(this.stream.raw().poll_read(cx, &mut buf))?;
            match buf.filled().len() {
                0 => break,
                n => this.closing = Closing::Lingering(left.saturating_sub(n)),
            }
        }
        Poll::Ready(Ok(()))
    }
}
