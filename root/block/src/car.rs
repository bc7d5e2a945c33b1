//! CARv1: blocks behind one another in one byte string, each after its length and its name.
//!
//! The format on disk, in transfer and for export (<https://ipld.io/specs/transport/car/carv1/>;
//! drawn in `docs/format/car.md`). The reader borrows: a section is a name and a range, so that
//! scanning a segment allocates nothing. It tells apart what the caller must treat differently:
//! bytes that stop early (a torn tail), bytes that are no section, names outside our allow-list,
//! and contents that are not what their name says. It leaves files to `root/store`.

use crate::{BLOCK_BYTES_READ_MAX, Cid, CidError, decode, encode};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Most bytes of a header: room for some thousand roots, more than any CAR we write or ask for.
pub const HEADER_BYTES_MAX: usize = 64 * 1024;

/// Most bytes in front of a block: a length of four bytes and a name.
pub const SECTION_OVERHEAD_MAX: usize = 4 + Cid::BYTES;

/// Most bytes of a section behind its length.
const SECTION_BYTES_MAX: usize = Cid::BYTES + BLOCK_BYTES_READ_MAX;

/// Why bytes are not a CAR, or not from here on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CarError {
    /// The bytes end before the header or section does.
    #[error("CAR ends early: at least {missing} more bytes belong to what starts at {at}")]
    Truncated {
        /// Where the unfinished part starts.
        at: usize,
        /// How many bytes are missing at least.
        missing: usize,
    },
    /// No header or section looks like this.
    #[error("CAR is malformed at {at}: {what}")]
    Malformed {
        /// Where the part starts.
        at: usize,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The section is named by a codec, hash or version that we do not accept.
    #[error("section at {at} has a name that is not accepted")]
    Name {
        /// Where the section starts.
        at: usize,
        /// What is wrong with the name.
        source: CidError,
    },
    /// The contents of a section are not what its name says.
    #[error("section at {at} does not hold {cid}")]
    HashMismatch {
        /// Where the section starts.
        at: usize,
        /// Its name.
        cid: Cid,
    },
    /// The header is not the DAG-CBOR of a CARv1 header.
    #[error("CAR header is malformed")]
    Header {
        /// What the decoder said.
        source: crate::CborError,
    },
    /// The header is of another version of CAR.
    #[error("CAR has version {version}, not 1")]
    Version {
        /// Its version.
        version: u64,
    },
}

#[derive(Serialize, Deserialize)]
struct Header {
    roots: Vec<Cid>,
    version: u64,
}

/// The header of a CAR with these roots. Some tools refuse to import a CAR without roots, so what
/// is exported names at least one.
///
/// # Panics
///
/// If the header would exceed [`HEADER_BYTES_MAX`].
#[must_use]
pub fn header(roots: &[Cid]) -> Vec<u8> {
    let body = encode(&Header { roots: roots.to_vec(), version: 1 })
        .expect("links and an integer have a DAG-CBOR form");
    assert!(body.len() <= HEADER_BYTES_MAX, "a CAR of ours has few roots");
    let mut prefix = [0; 4];
    let start = varint(&mut prefix, body.len());
    let mut out = Vec::with_capacity(start + body.len());
    out.extend_from_slice(&prefix[..start]);
    out.extend_from_slice(&body);
    out
}

/// Appends one section.
///
/// # Panics
///
/// If the block exceeds [`BLOCK_BYTES_READ_MAX`]: nobody could read it back.
#[inline]
pub fn write_section(out: &mut Vec<u8>, cid: &Cid, bytes: &[u8]) {
    assert!(bytes.len() <= BLOCK_BYTES_READ_MAX, "a block fits a section");
    let mut prefix = [0; SECTION_OVERHEAD_MAX];
    let name = varint(&mut prefix, Cid::BYTES + bytes.len());
    prefix[name..name + Cid::BYTES].copy_from_slice(&cid.to_bytes());
    out.reserve(SECTION_OVERHEAD_MAX + bytes.len());
    out.extend_from_slice(&prefix[..name + Cid::BYTES]);
    out.extend_from_slice(bytes);
}

/// Bytes of the section of a block of `block_bytes`.
#[must_use]
#[inline]
pub const fn section_bytes(block_bytes: usize) -> usize {
    let length = Cid::BYTES + block_bytes;
    let prefix = match length {
        ..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => 4,
    };
    prefix + length
}

/// Reads the header at the start of `bytes`: the roots, and where the sections start.
pub fn read_header(bytes: &[u8]) -> Result<(Vec<Cid>, usize), CarError> {
    let (length, start) = read_varint(bytes, 0)?;
    if length == 0 || length > HEADER_BYTES_MAX {
        return Err(CarError::Malformed { at: 0, what: "header length is out of bounds" });
    }
    let end = start + length;
    let body = bytes
        .get(start..end)
        .ok_or_else(|| CarError::Truncated { at: 0, missing: end - bytes.len() })?;
    let Header { roots, version } =
        decode(body).map_err(|source| match decode::<Pragma>(body) {
            Ok(pragma) => CarError::Version { version: pragma.version },
            Err(_) => CarError::Header { source },
        })?;
    if version != 1 {
        return Err(CarError::Version { version });
    }
    Ok((roots, end))
}

/// What CARv2 puts where CARv1 has its header.
#[derive(Serialize, Deserialize)]
struct Pragma {
    version: u64,
}

/// One section of a CAR: a block by name and by where its bytes stand.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Section {
    /// Where the section starts.
    pub at: usize,
    /// The name of its block.
    pub cid: Cid,
    /// Where the block's bytes start.
    pub start: usize,
    /// Where the block's bytes, and the section, end.
    pub end: usize,
}

impl Section {
    /// Where the block's bytes stand.
    #[must_use]
    #[inline]
    pub const fn range(&self) -> Range<usize> {
        self.start..self.end
    }

    /// The block's bytes; `bytes` is what the section was read from.
    #[must_use]
    #[inline]
    pub fn data<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.range()]
    }

    /// Checks that the block is what its name says, and returns its bytes.
    #[inline]
    pub fn verify<'a>(&self, bytes: &'a [u8]) -> Result<&'a [u8], CarError> {
        let data = self.data(bytes);
        if self.cid.names(data) {
            Ok(data)
        } else {
            Err(CarError::HashMismatch { at: self.at, cid: self.cid })
        }
    }
}

/// Reads the section that starts at `at`, or `None` when `bytes` end exactly there. The hash is not
/// checked; [`Section::verify`] does that.
#[inline]
pub fn read_section(bytes: &[u8], at: usize) -> Result<Option<Section>, CarError> {
    if at == bytes.len() {
        return Ok(None);
    }
    let (length, name) = read_varint(bytes, at)?;
    if length == 0 || length > SECTION_BYTES_MAX {
        return Err(CarError::Malformed { at, what: "section length is out of bounds" });
    }
    let end = name + length;
    if length < Cid::BYTES {
        return Err(short_name(bytes, at, name..end));
    }
    let start = name + Cid::BYTES;
    let Some(cid) = bytes.get(name..start) else {
        return Err(CarError::Truncated { at, missing: end.saturating_sub(bytes.len()) });
    };
    let cid = Cid::from_bytes(cid).map_err(|source| CarError::Name { at, source })?;
    if end > bytes.len() {
        return Err(CarError::Truncated { at, missing: end - bytes.len() });
    }
    Ok(Some(Section { at, cid, start, end }))
}

/// Why a section too short for one of our names is refused: most often an identity hash.
#[cold]
fn short_name(bytes: &[u8], at: usize, range: Range<usize>) -> CarError {
    match bytes.get(range.clone()).map(Cid::from_bytes) {
        Some(Err(source)) => CarError::Name { at, source },
        Some(Ok(_)) => unreachable!("a name of ours has {} bytes", Cid::BYTES),
        None => CarError::Truncated { at, missing: range.end - bytes.len() },
    }
}

/// The sections of `bytes` from `at` on. Ends behind the last one or with the first error.
pub fn sections(
    bytes: &[u8],
    mut at: usize,
) -> impl Iterator<Item = Result<Section, CarError>> + '_ {
    let mut over = false;
    std::iter::from_fn(move || {
        if over {
            return None;
        }
        let section = read_section(bytes, at).transpose();
        match &section {
            Some(Ok(section)) => at = section.end,
            Some(Err(_)) | None => over = true,
        }
        section
    })
}

/// Writes an unsigned LEB128 number to the front of `out` and returns how many bytes it takes: four
/// at most, for what we write.
#[inline]
fn varint(out: &mut [u8], mut value: usize) -> usize {
    let mut place = 0;
    while value >= 0x80 {
        out[place] = value as u8 | 0x80;
        value >>= 7;
        place += 1;
    }
    out[place] = value as u8;
    place + 1
}

/// Reads an unsigned LEB128 number in its shortest form, of at most four bytes: no length that we
/// accept needs more.
#[inline]
fn read_varint(bytes: &[u8], at: usize) -> Result<(usize, usize), CarError> {
    let mut value = 0;
    for place in 0..4 {
        let Some(&byte) = bytes.get(at + place) else {
            return Err(CarError::Truncated { at, missing: (at + place + 1) - bytes.len() });
        };
        value |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            if byte == 0 && place > 0 {
                return Err(CarError::Malformed { at, what: "length is not in its shortest form" });
            }
            return Ok((value, at + place + 1));
        }
    }
    Err(CarError::Malformed { at, what: "length is out of bounds" })
}

#[cfg(test)]
mod tests;
