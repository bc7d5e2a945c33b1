//! Blocks sealed under a key of their own content, drawn in `docs/format/sealed-block.md`.
//!
//! The plaintext is compressed if that helps, framed, padded, and encrypted under a key that is a
//! keyed hash *of the padded frame*. So equal content gives an equal block within an epoch, which
//! is what lets snapshots share blocks, and a block has nothing in common with anybody else's.
//!
//! The nonce is zero. That is sound because a key never meets two messages: it is a function of the
//! whole message. (Were it a function of the uncompressed plaintext, two devices with two versions
//! of the compressor would encrypt two frames under one key and nonce, and give both away.)

use crate::cipher::{self, TAG_BYTES};
use crate::padding::padded;
use crate::secret::EpochSecret;
use hkdf::Hkdf;
use rhizome_block::{BLOCK_BYTES_MAX, BLOCK_BYTES_READ_MAX, Cid, Codec, Link, tree};
use ruzstd::decoding::FrameDecoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use sha2::Sha256;
use std::fmt;
use zeroize::Zeroizing;

/// Version of the frame.
const VERSION: u8 = 1;

/// The contents stand as they are.
const STORED: u8 = 0;

/// The contents are a Zstandard frame (RFC 8878).
const ZSTANDARD: u8 = 1;

/// Version, method, length of the plaintext, length of the contents.
const HEAD_BYTES: usize = 10;

/// Below this, a Zstandard frame costs more than it saves.
const COMPRESSED_BYTES_MIN: usize = 64;

/// Largest window a Zstandard frame may ask memory for: that of the largest block.
const WINDOW_BYTES_MAX: u64 = BLOCK_BYTES_READ_MAX as u64;

/// Most bytes of a plaintext: what still fits a block of [`BLOCK_BYTES_MAX`] when nothing helps.
pub const BLOCK_PLAIN_BYTES_MAX: usize = tree::CHUNK_BYTES;

const _: () = assert!(
    padded(HEAD_BYTES + BLOCK_PLAIN_BYTES_MAX) + TAG_BYTES <= BLOCK_BYTES_MAX,
    "a full chunk fits a sealed block"
);

/// A sealed block with the key that opens it.
#[derive(Clone, Eq, PartialEq)]
pub struct SealedBlock {
    /// The name of `bytes`, codec raw.
    pub cid: Cid,
    /// The key. Secret.
    pub key: [u8; 32],
    /// The sealed bytes.
    pub bytes: Vec<u8>,
}

impl SealedBlock {
    /// What a parent keeps of it.
    #[must_use]
    pub const fn link(&self) -> Link {
        Link { cid: self.cid, key: self.key }
    }
}

impl fmt::Debug for SealedBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedBlock({}, {} bytes)", self.cid, self.bytes.len())
    }
}

/// Bytes of a sealed block whose contents take `contents_bytes` after compression.
#[must_use]
pub const fn sealed_block_bytes(contents_bytes: usize) -> usize {
    padded(HEAD_BYTES + contents_bytes) + TAG_BYTES
}

/// Seals a block. The same plaintext in the same epoch gives the same block, as long as the
/// compressor stays the same; a block sealed by another version still opens.
///
/// # Panics
///
/// If the plaintext exceeds [`BLOCK_PLAIN_BYTES_MAX`].
#[must_use]
pub fn seal_block(secret: &EpochSecret, plaintext: &[u8]) -> SealedBlock {
    assert!(plaintext.len() <= BLOCK_PLAIN_BYTES_MAX, "larger strings are cut into trees");
    let compressed = compress(plaintext);
    let (method, contents) = match &compressed {
        Some(compressed) => (ZSTANDARD, &compressed[..]),
        None => (STORED, plaintext),
    };
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("checked above").to_le_bytes();
    let mut bytes = Vec::with_capacity(sealed_block_bytes(contents.len()));
    bytes.extend_from_slice(&[VERSION, method]);
    bytes.extend_from_slice(&length(plaintext));
    bytes.extend_from_slice(&length(contents));
    bytes.extend_from_slice(contents);
    bytes.resize(padded(bytes.len()), 0);
    let key = frame_key(secret, &bytes);
    let tag = cipher::seal(&key, &[0; 24], &[], &mut bytes);
    bytes.extend_from_slice(&tag);
    SealedBlock { cid: Cid::of(Codec::Raw, &bytes), key, bytes }
}

/// The key of one padded frame.
fn frame_key(secret: &EpochSecret, frame: &[u8]) -> [u8; 32] {
    let mut key = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(None, secret.as_bytes())
        .expand(b"rhizome block v1", &mut *key)
        .expect("HKDF-SHA256 gives up to 8,160 bytes");
    *blake3::keyed_hash(&key, frame).as_bytes()
}

/// Why a sealed block does not open.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenBlockError {
    /// The block is longer than any we read.
    #[error("block of {bytes} bytes exceeds {BLOCK_BYTES_READ_MAX}")]
    TooLarge {
        /// Its bytes.
        bytes: usize,
    },
    /// The bytes are not what their name says.
    #[error("block is not what its name says")]
    Name,
    /// The key does not open the block.
    #[error("key does not open the block")]
    Tag,
    /// The frame is of a newer version or method.
    #[error("frame has version {version}, method {method}, which this program does not know")]
    Version {
        /// Its version.
        version: u8,
        /// Its method.
        method: u8,
    },
    /// The key's holder sealed something that breaks a rule of the format.
    #[error("frame breaks a rule: {rule}")]
    Frame {
        /// The rule.
        rule: &'static str,
    },
    /// The plaintext is longer than the caller takes.
    #[error("plaintext of {bytes} bytes exceeds the {bytes_max} wanted")]
    Inflated {
        /// Its bytes.
        bytes: usize,
        /// The caller's limit.
        bytes_max: usize,
    },
}

/// Opens a block: checks its name, its seal and its frame, and gives at most `bytes_max` bytes out.
pub fn open_block(
    cid: &Cid,
    key: &[u8; 32],
    bytes: &[u8],
    bytes_max: usize,
) -> Result<Vec<u8>, OpenBlockError> {
    if bytes.len() > BLOCK_BYTES_READ_MAX {
        return Err(OpenBlockError::TooLarge { bytes: bytes.len() });
    }
    if cid.codec() != Codec::Raw || !cid.names(bytes) {
        return Err(OpenBlockError::Name);
    }
    let (frame, tag) = bytes.split_last_chunk::<TAG_BYTES>().ok_or(OpenBlockError::Tag)?;
    let mut frame = frame.to_vec();
    cipher::open(key, &[0; 24], &[], &mut frame, tag).map_err(|_| OpenBlockError::Tag)?;
    read_frame(frame, bytes_max)
}

fn read_frame(mut frame: Vec<u8>, bytes_max: usize) -> Result<Vec<u8>, OpenBlockError> {
    let must = |holds: bool, rule| if holds { Ok(()) } else { Err(OpenBlockError::Frame { rule }) };
    let (head, rest) =
        frame.split_first_chunk().ok_or(OpenBlockError::Frame { rule: "a frame has a head" })?;
    let [version, method, p0, p1, p2, p3, c0, c1, c2, c3]: [u8; HEAD_BYTES] = *head;
    if version != VERSION || method > ZSTANDARD {
        return Err(OpenBlockError::Version { version, method });
    }
    let plain_bytes = u32::from_le_bytes([p0, p1, p2, p3]) as usize;
    let contents_bytes = u32::from_le_bytes([c0, c1, c2, c3]) as usize;
    if plain_bytes > bytes_max {
        return Err(OpenBlockError::Inflated { bytes: plain_bytes, bytes_max });
    }
    must(contents_bytes <= rest.len(), "contents end within the frame")?;
    let (contents, zeros) = rest.split_at(contents_bytes);
    must(padded(HEAD_BYTES + contents_bytes) == frame.len(), "padding is the shortest step")?;
    must(zeros.iter().all(|byte| *byte == 0), "padding is zeros")?;
    if method == ZSTANDARD {
        must(contents_bytes < plain_bytes, "compression is used where it helps")?;
        let plain = decompress(contents, plain_bytes);
        return plain.ok_or(OpenBlockError::Frame { rule: "contents are a Zstandard frame" });
    }
    must(contents_bytes == plain_bytes, "stored contents are the plaintext")?;
    frame.truncate(HEAD_BYTES + contents_bytes);
    frame.drain(..HEAD_BYTES);
    Ok(frame)
}

/// The Zstandard frame of `plaintext`, if that is shorter once padded.
fn compress(plaintext: &[u8]) -> Option<Vec<u8>> {
    if plaintext.len() < COMPRESSED_BYTES_MIN || crate::UNSEALED {
        return None;
    }
    let compressed = compress_to_vec(plaintext, CompressionLevel::Fastest);
    let helps = sealed_block_bytes(compressed.len()) < sealed_block_bytes(plaintext.len());
    // Whoever seals a block may drop the original, so what does not come back is not used.
    let whole = || decompress(&compressed, plaintext.len()).is_some_and(|plain| plain == plaintext);
    (helps && whole()).then_some(compressed)
}

/// The contents of one Zstandard frame, which must be exactly `plain_bytes` long.
fn decompress(contents: &[u8], plain_bytes: usize) -> Option<Vec<u8>> {
    let mut plain = vec![0; plain_bytes];
    let mut decoder = FrameDecoder::new();
    decoder.set_max_window_size(WINDOW_BYTES_MAX);
    let written = decoder.decode_all(contents, &mut plain).ok()?;
    (written == plain_bytes).then_some(plain)
}

#[cfg(test)]
mod tests;
