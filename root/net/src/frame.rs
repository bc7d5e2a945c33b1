//! Frames on a stream: `length: u32 big-endian ‖ bytes`, drawn in `docs/format/frame.md`.
//!
//! The receiver looks at the length before it allocates anything, and grows its buffer only as
//! bytes arrive. What the bytes mean is decided above.

use crate::link::LinkError;
use bytes::{Bytes, BytesMut};
use quinn::{ReadError, VarInt, WriteError};
use std::collections::VecDeque;

/// Most bytes of a frame: a block of 2 MiB with its neighbours fits, and one peer that claims more
/// cannot make us hold more than the window of a link.
pub const FRAME_BYTES_MAX: usize = 4 << 20;

/// Bytes of the length before each frame.
const HEADER_BYTES: usize = 4;

/// Up to this size a frame and its header leave in one piece; above, the extra copy costs more
/// than a second piece.
const SMALL_BYTES: usize = 4 << 10;

/// Most bytes taken from a stream at once.
const CHUNK_BYTES: usize = 64 << 10;

/// A stream was given up by us in the middle of a frame.
const CODE_TORN: u32 = 1;
/// The peer announced a frame above [`FRAME_BYTES_MAX`].
const CODE_TOO_LONG: u32 = 2;
/// Nobody reads the stream any more.
const CODE_UNREAD: u32 = 3;

/// Why a frame could not be sent or received.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The frame is, or claims to be, larger than [`FRAME_BYTES_MAX`].
    #[error("frame of {bytes} bytes is larger than {FRAME_BYTES_MAX}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The stream ended inside a frame.
    #[error("stream ended {missing} bytes before the end of a frame")]
    Torn {
        /// How many bytes were still to come.
        missing: usize,
    },
    /// The peer gave up the stream.
    #[error("peer gave up the stream with code {code}")]
    GivenUp {
        /// The code it gave.
        code: u64,
    },
    /// The stream was finished or given up here before.
    #[error("stream is finished")]
    Finished,
    /// The link ended.
    #[error("link ended under a stream")]
    Link {
        /// How it ended.
        source: LinkError,
    },
}

impl From<WriteError> for FrameError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Stopped(code) => Self::GivenUp { code: code.into_inner() },
            WriteError::ConnectionLost(cause) => Self::Link { source: cause.into() },
            WriteError::ClosedStream | WriteError::ZeroRttRejected => Self::Finished,
        }
    }
}

impl From<ReadError> for FrameError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Reset(code) => Self::GivenUp { code: code.into_inner() },
            ReadError::ConnectionLost(cause) => Self::Link { source: cause.into() },
            ReadError::ClosedStream
            | ReadError::IllegalOrderedRead
            | ReadError::ZeroRttRejected => Self::Finished,
        }
    }
}

/// The sending half of a stream.
///
/// A frame is on its way as soon as the call returns: there is nothing to flush, and the call waits
/// only while the peer's window is full. Any call may be dropped while it waits; the frames it
/// began then leave whole with the next call. Dropping the sender ends the stream.
#[derive(Debug)]
pub struct FrameSender {
    stream: quinn::SendStream,
    /// What is left of the frames of one call.
    pieces: VecDeque<Bytes>,
}

impl FrameSender {
    /// A sender whose stream begins with the byte `kind`.
    pub(crate) async fn open(mut stream: quinn::SendStream, kind: u8) -> Result<Self, FrameError> {
        stream.write_all(&[kind]).await?;
        Ok(Self::new(stream))
    }

    pub(crate) fn new(stream: quinn::SendStream) -> Self {
        Self { stream, pieces: VecDeque::new() }
    }

    /// Sends one frame.
    pub async fn send(&mut self, frame: &[u8]) -> Result<(), FrameError> {
        self.send_many(&[frame]).await
    }

    /// Sends one frame without copying it.
    pub async fn send_bytes(&mut self, frame: Bytes) -> Result<(), FrameError> {
        let header = header_of(&frame)?;
        if frame.len() <= SMALL_BYTES {
            return self.send_many(&[frame]).await;
        }
        self.flush().await?;
        self.pieces.push_back(Bytes::copy_from_slice(&header));
        self.pieces.push_back(frame);
        self.flush().await
    }

    /// Sends frames in this order, in as few datagrams as they fit. Nothing is sent if one of them
    /// is too long.
    pub async fn send_many<F: AsRef<[u8]>>(&mut self, frames: &[F]) -> Result<(), FrameError> {
        let mut total = 0;
        for frame in frames {
            header_of(frame.as_ref())?;
            total += HEADER_BYTES + frame.as_ref().len();
        }
        self.flush().await?;
        let mut piece = BytesMut::with_capacity(total);
        for frame in frames {
            piece.extend_from_slice(&header_of(frame.as_ref())?);
            piece.extend_from_slice(frame.as_ref());
        }
        self.pieces.push_back(piece.freeze());
        self.flush().await
    }

    /// Waits until what an earlier, dropped call left behind is on its way.
    pub async fn flush(&mut self) -> Result<(), FrameError> {
        while !self.pieces.is_empty() {
            self.stream.write_chunks(self.pieces.make_contiguous()).await?;
            while self.pieces.front().is_some_and(Bytes::is_empty) {
                self.pieces.pop_front();
            }
        }
        Ok(())
    }

    /// How much this stream matters beside the others of its link: higher goes first, 0 is usual.
    pub fn set_priority(&self, priority: i32) {
        // The only failure is a stream that has ended, for which nothing is left to order.
        self.stream.set_priority(priority).ok();
    }

    /// Sends what is left and tells the peer that no more frames follow. Data under way is still
    /// delivered while the link lives.
    pub async fn finish(mut self) -> Result<(), FrameError> {
        self.flush().await?;
        self.stream.finish().map_err(|_| FrameError::Finished)
    }
}

impl Drop for FrameSender {
    fn drop(&mut self) {
        if !self.pieces.is_empty() {
            // Half a frame must not look like an orderly end.
            self.stream.reset(VarInt::from_u32(CODE_TORN)).ok();
        }
    }
}

/// The length of `frame` as it stands before it.
fn header_of(frame: &[u8]) -> Result<[u8; HEADER_BYTES], FrameError> {
    match u32::try_from(frame.len()) {
        Ok(length) if frame.len() <= FRAME_BYTES_MAX => Ok(length.to_be_bytes()),
        _ => Err(FrameError::TooLong { bytes: frame.len() }),
    }
}

/// The receiving half of a stream. Dropping it tells the peer to send no more.
#[derive(Debug)]
pub struct FrameReceiver {
    stream: quinn::RecvStream,
    cutter: Cutter,
}

impl FrameReceiver {
    pub(crate) fn new(stream: quinn::RecvStream) -> Self {
        Self { stream, cutter: Cutter::default() }
    }

    /// The next frame, or `None` once the peer finished. May be dropped while it waits; nothing is
    /// lost. After [`FrameError::TooLong`] the stream is given up.
    pub async fn receive(&mut self) -> Result<Option<Bytes>, FrameError> {
        loop {
            match self.cutter.next() {
                Ok(Some(frame)) => return Ok(Some(frame)),
                Ok(None) => {}
                Err(error) => {
                    metrics::counter!("rhizome_net_frames_too_long_total").increment(1);
                    self.stream.stop(VarInt::from_u32(CODE_TOO_LONG)).ok();
                    return Err(error);
                }
            }
            match self.stream.read_chunk(CHUNK_BYTES, true).await? {
                Some(chunk) => self.cutter.put(chunk.bytes),
                None => return self.cutter.end(),
            }
        }
    }
}

impl Drop for FrameReceiver {
    fn drop(&mut self) {
        // Fails for a stream that has ended, which is as good.
        self.stream.stop(VarInt::from_u32(CODE_UNREAD)).ok();
    }
}

/// Cuts what arrives into frames, wherever it was torn apart on the way. Pure.
#[derive(Debug, Default)]
struct Cutter {
    /// Arrived and not yet looked at.
    arrived: Bytes,
    header: [u8; HEADER_BYTES],
    /// How many bytes of `header` are known.
    header_known: usize,
    /// The beginning of a frame that did not arrive in one piece.
    partial: BytesMut,
}

impl Cutter {
    /// Takes what arrived. Only after [`Self::next`] returned `None`.
    fn put(&mut self, arrived: Bytes) {
        assert!(self.arrived.is_empty(), "bytes put before the earlier ones were cut");
        self.arrived = arrived;
    }

    /// The next whole frame, or `None` if more must arrive.
    fn next(&mut self) -> Result<Option<Bytes>, FrameError> {
        let known = self.header_known;
        let more = self.arrived.len().min(HEADER_BYTES - known);
        self.header[known..known + more].copy_from_slice(&self.arrived.split_to(more));
        self.header_known += more;
        if self.header_known < HEADER_BYTES {
            return Ok(None);
        }
        let length = self.length();
        if length > FRAME_BYTES_MAX {
            return Err(FrameError::TooLong { bytes: length });
        }
        let missing = length - self.partial.len();
        if self.arrived.len() < missing {
            self.partial.extend_from_slice(&self.arrived);
            self.arrived = Bytes::new();
            return Ok(None);
        }
        let rest = self.arrived.split_to(missing);
        self.header_known = 0;
        if self.partial.is_empty() {
            return Ok(Some(rest));
        }
        let mut frame = std::mem::take(&mut self.partial);
        frame.extend_from_slice(&rest);
        Ok(Some(frame.freeze()))
    }

    /// Nothing more arrives.
    fn end(&self) -> Result<Option<Bytes>, FrameError> {
        match self.header_known {
            0 => Ok(None),
            HEADER_BYTES => Err(FrameError::Torn { missing: self.length() - self.partial.len() }),
            known => Err(FrameError::Torn { missing: HEADER_BYTES - known }),
        }
    }

    fn length(&self) -> usize {
        u32::from_be_bytes(self.header) as usize
    }
}

/// Cuts `pieces` into frames as a receiver does, for the fuzzer. The frames before an error come
/// with it.
#[cfg(feature = "fuzz")]
pub fn cut(pieces: impl IntoIterator<Item = Bytes>) -> (Vec<Bytes>, Result<(), FrameError>) {
    let (mut cutter, mut frames) = (Cutter::default(), Vec::new());
    for piece in pieces {
        cutter.put(piece);
        loop {
            match cutter.next() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Err(error)),
            }
        }
    }
    let end = cutter.end().map(drop);
    (frames, end)
}

#[cfg(test)]
mod tests;
