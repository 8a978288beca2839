//! Frames: how the Engine sends standard output and error over one connection.

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Length of a frame's header: kind, three zeros, length of the payload.
const HEADER: usize = 8;

/// Room for one read; the Engine sends frames of 32 KiB.
const ROOM: usize = 256 << 10;

/// Less room than this is not read into.
const LEAST_ROOM: usize = 64 << 10;

/// Which stream a piece belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Stdout,
    Stderr,
}

/// The connection does not carry whole frames.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    #[error("the output ended in the middle of a frame")]
    Cut,
    #[error("docker sent a frame of the unknown kind {0}")]
    UnknownKind(u8),
    #[error("docker says: {0}")]
    System(String),
    #[error("read the output")]
    Read(#[source] std::io::Error),
}

/// Takes frames apart as they come; payloads are passed on in pieces, never gathered.
#[derive(Debug)]
pub(super) struct Frames<R> {
    from: R,
    buffer: BytesMut,
    kind: u8,
    left: usize,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    pub(super) fn new(from: R, early: &[u8]) -> Self {
        Self { from, buffer: BytesMut::from(early), kind: 0, left: 0 }
    }

    /// The next piece; none at a clean end between two frames.
    ///
    /// # Cancel safety
    ///
    /// Safe: bytes that were read are in the buffer.
    pub(super) async fn next(&mut self) -> Result<Option<(Kind, Bytes)>, FrameError> {
        loop {
            if let Some(piece) = self.piece()? {
                return Ok(Some(piece));
            }
            if self.buffer.capacity() - self.buffer.len() < LEAST_ROOM {
                self.buffer.reserve(ROOM);
            }
            if self.from.read_buf(&mut self.buffer).await.map_err(FrameError::Read)? == 0 {
                let whole = self.buffer.is_empty() && self.left == 0;
                return if whole { Ok(None) } else { Err(FrameError::Cut) };
            }
        }
    }

    /// What can be passed on of what was read.
    fn piece(&mut self) -> Result<Option<(Kind, Bytes)>, FrameError> {
        while self.left == 0 {
            let Some(&[kind, _, _, _, a, b, c, d]) = self.buffer.first_chunk::<HEADER>() else {
                return Ok(None);
            };
            self.buffer.advance(HEADER);
            self.kind = kind;
            self.left = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        }
        let here = self.left.min(self.buffer.len());
        if here == 0 {
            return Ok(None);
        }
        let payload = self.buffer.split_to(here).freeze();
        self.left -= here;
        match self.kind {
            1 => Ok(Some((Kind::Stdout, payload))),
            2 => Ok(Some((Kind::Stderr, payload))),
            3 => Err(FrameError::System(crate::docker::plain(
                &String::from_utf8_lossy(&payload),
                1000,
            ))),
            other => Err(FrameError::UnknownKind(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&[kind, 0, 0, 0], &length[..], payload].concat()
    }

    async fn all(bytes: &[u8]) -> (Vec<u8>, Vec<u8>, Result<(), String>) {
        let mut frames = Frames::new(bytes, &[]);
        let (mut out, mut err) = (Vec::new(), Vec::new());
        loop {
            match frames.next().await {
                Ok(Some((Kind::Stdout, piece))) => out.extend_from_slice(&piece),
                Ok(Some((Kind::Stderr, piece))) => err.extend_from_slice(&piece),
                Ok(None) => return (out, err, Ok(())),
                Err(error) => return (out, err, Err(error.to_string())),
            }
        }
    }

    #[tokio::test]
    async fn output_and_errors_are_kept_apart() {
        let sent = [frame(1, b"one"), frame(2, b"oh"), frame(1, b""), frame(1, b"two")].concat();
        assert_eq!(all(&sent).await, (b"onetwo".to_vec(), b"oh".to_vec(), Ok(())));
    }

    #[tokio::test]
    async fn every_cut_within_a_frame_is_an_error_and_never_an_end() {
        let sent = [frame(1, b"one"), frame(1, b"two")].concat();
        for end in 1..sent.len() {
            let whole = end == sent.len() / 2;
            assert_eq!(all(&sent[..end]).await.2.is_ok(), whole, "cut at {end}");
        }
    }

    #[tokio::test]
    async fn what_is_no_frame_is_refused() {
        let (_, _, end) = all(b"OCI runtime exec failed").await;
        assert!(end.unwrap_err().contains("unknown kind 79"));
    }
}
