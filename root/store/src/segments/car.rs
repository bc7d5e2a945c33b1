//! The bytes of a segment, as far as `rhizome_block::car` does not know them: the names of the
//! files, the header without roots, and heads of sections whose data may be missing or damaged.

use rhizome_block::car::SECTION_OVERHEAD_MAX;
use rhizome_block::{BLOCK_BYTES_READ_MAX, Cid};

/// The header of every segment: length 17, then `{roots: [], version: 1}` in DAG-CBOR. A segment
/// has no roots, because nobody knows what it will hold when it begins.
pub(super) const HEADER: [u8; 18] = *b"\x11\xa2\x65roots\x80\x67version\x01";

/// Most bytes in front of a section's data.
pub(super) const HEAD_BYTES_MAX: usize = SECTION_OVERHEAD_MAX;

/// Most bytes of a section's length.
pub(super) const LENGTH_BYTES_MAX: usize = SECTION_OVERHEAD_MAX - Cid::BYTES;

/// What stands in front of a section's data.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    /// Bytes of the head itself.
    pub(super) bytes: usize,
    /// Bytes of the data.
    pub(super) data_bytes: usize,
    /// The name of the data.
    pub(super) cid: Cid,
}

/// The file that holds a segment.
pub(super) fn segment_name(segment: u32) -> String {
    format!("{segment:08}.car")
}

/// The segment that a file holds.
pub(super) fn segment_number(name: &str) -> Option<u32> {
    let segment = name.strip_suffix(".car")?.parse().ok().filter(|segment| *segment > 0)?;
    (segment_name(segment) == name).then_some(segment)
}

/// Adds a section to `buffer`; returns where its data begins.
pub(super) fn put_section(buffer: &mut Vec<u8>, cid: &Cid, data: &[u8]) -> usize {
    rhizome_block::car::write_section(buffer, cid, data);
    buffer.len() - data.len()
}

/// Reads the head at the start of `bytes`, if they hold one.
pub(super) fn read_head(bytes: &[u8]) -> Option<Head> {
    let (length, length_bytes) = read_length(bytes)?;
    let data_bytes = length.checked_sub(Cid::BYTES)?;
    if data_bytes > BLOCK_BYTES_READ_MAX {
        return None;
    }
    let cid = Cid::from_bytes(bytes.get(length_bytes..length_bytes + Cid::BYTES)?).ok()?;
    Some(Head { bytes: length_bytes + Cid::BYTES, data_bytes, cid })
}

/// Reads an unsigned LEB128 number in its shortest form.
fn read_length(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut length = 0;
    for (at, byte) in bytes.iter().take(LENGTH_BYTES_MAX).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            let shortest = at == 0 || *byte != 0;
            return shortest.then_some((length, at + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use rhizome_block::Codec;

    #[test]
    fn the_header_is_that_of_a_car_without_roots() {
        assert_eq!(rhizome_block::car::header(&[]), HEADER);
    }

    #[test]
    fn a_section_reads_back_as_it_was_put() {
        for bytes in [0, 1, 91, 92, 16_347, 16_348, BLOCK_BYTES_READ_MAX] {
            let data = vec![7; bytes];
            let cid = Cid::of(Codec::Raw, &data);
            let mut buffer = HEADER.to_vec();
            let offset = put_section(&mut buffer, &cid, &data);
            let head = read_head(&buffer[HEADER.len()..]).unwrap();
            assert_eq!((head.cid, head.data_bytes), (cid, bytes));
            assert_eq!(HEADER.len() + head.bytes, offset);
            assert_eq!(buffer.len(), offset + bytes);
        }
    }

    #[test]
    fn a_length_that_is_cut_long_or_too_large_is_no_length() {
        assert_eq!(read_length(&[0x7f]), Some((127, 1)));
        assert_eq!(read_length(&[0x80, 0x01]), Some((128, 2)));
        assert_eq!(read_length(&[0x80, 0x00]), None);
        assert_eq!(read_length(&[0x80]), None);
        assert_eq!(read_length(&[]), None);
        assert_eq!(read_length(&[0xff, 0xff, 0xff, 0xff, 0x01]), None);
    }

    #[test]
    fn only_names_of_segments_have_numbers() {
        assert_eq!(segment_number("00000001.car"), Some(1));
        assert_eq!(segment_number("4294967295.car"), Some(u32::MAX));
        for name in ["00000000.car", "1.car", "00000001.car.old", "+0000001.car", "LOCK"] {
            assert_eq!(segment_number(name), None, "{name}");
        }
    }
}
