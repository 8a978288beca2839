//! Stream: a TLS connection with a known peer that can be cut from outside.

use std::{
    fmt, io,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::TlsStream;
use tokio_util::sync::{CancellationToken, DropGuard, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

use crate::{connections::Lease, peer::PeerInfo};

/// A TLS connection with a known peer.
pub struct PeerStream {
    /// Boxed: it is large, and moved from future to future.
    tls: Box<TlsStream<TcpStream>>,
    /// What was read ahead while dialling.
    first: Bytes,
    peer: PeerInfo,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    end: End,
    _dropped: DropGuard,
    _lease: Option<Lease>,
}

impl fmt::Debug for PeerStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerStream").field("peer", &self.peer).finish_non_exhaustive()
    }
}

/// When and why a stream ended.
#[derive(Clone, Debug)]
pub struct End {
    over: CancellationToken,
    why: Arc<OnceLock<String>>,
}

impl End {
    fn new() -> Self {
        Self { over: CancellationToken::new(), why: Arc::new(OnceLock::new()) }
    }

    /// Returns when nobody uses the stream any more.
    pub async fn over(&self) {
        self.over.cancelled().await;
    }

    /// Whether nobody uses the stream any more.
    pub fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }

    /// Why it ended, when it was not in good order.
    pub fn why(&self) -> Option<&str> {
        self.why.get().map(String::as_str)
    }

    fn note(&self, error: &io::Error) {
        self.why.get_or_init(|| error.to_string());
    }
}

impl PeerStream {
    pub(crate) fn new(
        tls: TlsStream<TcpStream>,
        peer: PeerInfo,
        cut: CancellationToken,
        lease: Option<Lease>,
    ) -> Self {
        let end = End::new();
        let dropped = end.over.clone().drop_guard();
        let (tls, cut) = (Box::new(tls), Box::pin(cut.cancelled_owned()));
        Self { tls, first: Bytes::new(), peer, cut, end, _dropped: dropped, _lease: lease }
    }

    /// With bytes that were read ahead.
    pub(crate) fn with_first(mut self, first: Bytes) -> Self {
        self.first = first;
        self
    }

    /// Who is at the other end.
    pub const fn peer(&self) -> &PeerInfo {
        &self.peer
    }

    /// Tells when and why the stream ended, also after it is given away.
    pub fn end(&self) -> End {
        self.end.clone()
    }

    pub(crate) fn tls_state(&self) -> &rustls::CommonState {
        self.tls.get_ref().1
    }

    fn poll_cut(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.cut.as_mut().poll(cx).is_pending() {
            return Ok(());
        }
        Err(self.noted(io::Error::new(io::ErrorKind::ConnectionAborted, "the connection was cut")))
    }

    fn noted(&self, error: io::Error) -> io::Error {
        self.end.note(&error);
        error
    }
}

impl AsyncRead for PeerStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_cut(cx)?;
        if self.first.has_remaining() {
            let count = self.first.len().min(buffer.remaining());
            buffer.put_slice(&self.first.split_to(count));
            return Poll::Ready(Ok(()));
        }
        let read = ready!(Pin::new(&mut self.tls).poll_read(cx, buffer));
        Poll::Ready(read.map_err(|error| self.noted(error)))
    }
}

impl AsyncWrite for PeerStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_cut(cx)?;
        let written = ready!(Pin::new(&mut self.tls).poll_write(cx, bytes));
        Poll::Ready(written.map_err(|error| self.noted(error)))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_cut(cx)?;
        let written = ready!(Pin::new(&mut self.tls).poll_write_vectored(cx, slices));
        Poll::Ready(written.map_err(|error| self.noted(error)))
    }

    fn is_write_vectored(&self) -> bool {
        self.tls.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_cut(cx)?;
        let flushed = ready!(Pin::new(&mut self.tls).poll_flush(cx));
        Poll::Ready(flushed.map_err(|error| self.noted(error)))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_shutdown(cx)
    }
}

impl Connected for PeerStream {
    type ConnectInfo = PeerInfo;

    fn connect_info(&self) -> PeerInfo {
        self.peer.clone()
    }
}
