//! Frames: how a child and its parent cut the pipe between them into messages.
//!
//! A frame is the length of all that follows, the length of its head, the head as JSON, and a body
//! of any bytes. Lengths are four bytes, little-endian, and bounded: whoever is at the other end
//! can neither make this one wait for ever within a frame nor allocate what it likes.

use std::io::{self, Read, Write};

use bytes::{Buf, Bytes, BytesMut};
use serde::{Serialize, de::DeserializeOwned};

/// The longest head: some thousand ids as hex digits.
pub(crate) const HEAD_LIMIT: usize = 4 << 20;
/// The longest body: a pack of 16 MiB that got a last blob of 8 MiB, with room.
pub(crate) const BODY_LIMIT: usize = 48 << 20;

/// The pipe did not carry what it should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    /// It ended in the middle of a frame, or failed.
    #[error("use the pipe between agent and child")]
    Pipe(#[source] io::Error),
    /// It is longer than any may be.
    #[error("take a frame of {size} bytes: it is too long")]
    TooLong {
        /// How long.
        size: usize,
    },
    /// The head is longer than the frame.
    #[error("take a frame whose head is longer than itself")]
    Torn,
    /// The head is not one of the messages.
    #[error("understand a frame")]
    Head(#[source] serde_json::Error),
}

/// One message: what it says, and bytes that it carries.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    head: Vec<u8>,
    body: Bytes,
}

impl Frame {
    /// A frame that says `message` and carries `body`.
    pub(crate) fn new(message: &impl Serialize, body: Bytes) -> Result<Self, FrameError> {
        let head = serde_json::to_vec(message).map_err(FrameError::Head)?;
        if head.len() > HEAD_LIMIT {
            return Err(FrameError::TooLong { size: head.len() });
        }
        if body.len() > BODY_LIMIT {
            return Err(FrameError::TooLong { size: body.len() });
        }
        Ok(Self { head, body })
    }

    /// What stands before the body on the pipe.
    pub(crate) fn start(&self) -> Vec<u8> {
        let number = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
        let mut start = Vec::with_capacity(8 + self.head.len());
        start.extend_from_slice(&number(4 + self.head.len() + self.body.len()));
        start.extend_from_slice(&number(self.head.len()));
        start.extend_from_slice(&self.head);
        start
    }

    /// The bytes that it carries.
    pub(crate) fn body(&self) -> &Bytes {
        &self.body
    }

    /// What it says, and its body.
    pub(crate) fn open<M: DeserializeOwned>(self) -> Result<(M, Bytes), FrameError> {
        let message = serde_json::from_slice(&self.head).map_err(FrameError::Head)?;
        Ok((message, self.body))
    }

    /// Writes it, and waits until the pipe has it.
    pub(crate) fn write_to(&self, pipe: &mut impl Write) -> Result<(), FrameError> {
        let sent = pipe.write_all(&self.start());
        sent.and_then(|()| pipe.write_all(&self.body)).map_err(FrameError::Pipe)?;
        pipe.flush().map_err(FrameError::Pipe)
    }

    /// Reads the next one; nothing when the pipe ended between two.
    pub(crate) fn read_from(pipe: &mut impl Read) -> Result<Option<Self>, FrameError> {
        let mut length = [0; 4];
        match pipe.read(&mut length) {
            Ok(0) => return Ok(None),
            Ok(read) => {
                let rest = length.get_mut(read..).unwrap_or_default();
                pipe.read_exact(rest).map_err(FrameError::Pipe)?;
            }
            Err(error) => return Err(FrameError::Pipe(error)),
        }
        let size = checked_size(u32::from_le_bytes(length))?;
        let mut frame = BytesMut::zeroed(size);
        pipe.read_exact(&mut frame).map_err(FrameError::Pipe)?;
        Self::cut(frame).map(Some)
    }

    /// Takes the first frame off `buffer`; nothing while not all of it has come.
    pub(crate) fn take(buffer: &mut BytesMut) -> Result<Option<Self>, FrameError> {
        let Some(length) = buffer.first_chunk::<4>() else { return Ok(None) };
        let size = checked_size(u32::from_le_bytes(*length))?;
        if buffer.len() < 4 + size {
            buffer.reserve(4 + size - buffer.len());
            return Ok(None);
        }
        buffer.advance(4);
        Self::cut(buffer.split_to(size)).map(Some)
    }

    /// `frame` is all but the first length.
    fn cut(mut frame: BytesMut) -> Result<Self, FrameError> {
        let head = frame.first_chunk::<4>().ok_or(FrameError::Torn)?;
        let head = usize::try_from(u32::from_le_bytes(*head)).unwrap_or(usize::MAX);
        frame.advance(4);
        if head > frame.len() {
            return Err(FrameError::Torn);
        }
        let head = frame.split_to(head).to_vec();
        Ok(Self { head, body: frame.freeze() })
    }
}

fn checked_size(length: u32) -> Result<usize, FrameError> {
    let size = usize::try_from(length).unwrap_or(usize::MAX);
    if size > 4 + HEAD_LIMIT + BODY_LIMIT {
        return Err(FrameError::TooLong { size });
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(frame: &Frame) -> Vec<u8> {
        let mut pipe = Vec::new();
        frame.write_to(&mut pipe).unwrap();
        pipe
    }

    #[test]
    fn a_frame_survives_the_pipe_whole_and_in_pieces() {
        let pipe = bytes(&Frame::new(&"hello", Bytes::from_static(b"\0body")).unwrap());

        let read = Frame::read_from(&mut pipe.as_slice()).unwrap().unwrap();
        assert_eq!(read.open::<String>().unwrap(), ("hello".into(), Bytes::from_static(b"\0body")));

        let mut buffer = BytesMut::new();
        for byte in pipe.iter().take(pipe.len() - 1) {
            buffer.extend_from_slice(&[*byte]);
            assert!(Frame::take(&mut buffer).unwrap().is_none());
        }
        buffer.extend_from_slice(&pipe[pipe.len() - 1..]);
        let taken = Frame::take(&mut buffer).unwrap().unwrap();
        assert_eq!(taken.open::<String>().unwrap().0, "hello");
        assert!(buffer.is_empty());
    }

    #[test]
    fn a_pipe_that_ends_between_frames_is_at_its_end_and_within_one_is_an_error() {
        let pipe = bytes(&Frame::new(&1, Bytes::new()).unwrap());

        assert!(Frame::read_from(&mut [].as_slice()).unwrap().is_none());
        for cut in 1..pipe.len() {
            assert!(Frame::read_from(&mut &pipe[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn lengths_that_lie_are_refused_before_anything_is_allocated() {
        for pipe in [[0xff; 8], [8, 0, 0, 0, 9, 0, 0, 0], [3, 0, 0, 0, 0, 0, 0, 0]] {
            let mut whole = pipe.to_vec();
            whole.extend_from_slice(&[0; 16]);
            assert!(Frame::read_from(&mut whole.as_slice()).is_err());
            assert!(Frame::take(&mut BytesMut::from(whole.as_slice())).is_err());
        }
    }
}
