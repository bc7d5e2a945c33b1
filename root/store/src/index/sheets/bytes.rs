//! Small numbers and checked bytes, as sheets and their catalogue write them.

use rhizome_log::IndexError;

/// Bytes of a checksum: enough that a damaged sheet is not taken for a whole one by chance.
pub(super) const CHECK_BYTES: usize = 8;

/// What is said of bytes that nobody wrote like this.
pub(super) fn damaged(what: &str) -> IndexError {
    IndexError { what: format!("{what} is damaged; the index must be built again") }
}

/// Writes a number, seven bits a byte, the low ones first.
pub(super) fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// The checksum of bytes.
pub(super) fn check_of(bytes: &[u8]) -> [u8; CHECK_BYTES] {
    let hash = blake3::hash(bytes);
    *hash.as_bytes().first_chunk().expect("a hash has 32 bytes")
}

/// Adds the checksum of everything from `start` on.
pub(super) fn put_check(out: &mut Vec<u8>, start: usize) {
    let check = check_of(&out[start..]);
    out.extend_from_slice(&check);
}

/// The bytes in front of their checksum, if it is theirs.
pub(super) fn checked(bytes: &[u8]) -> Option<&[u8]> {
    let (content, check) = bytes.split_last_chunk::<CHECK_BYTES>()?;
    (check_of(content) == *check).then_some(content)
}

/// Reads what was written, front to back.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    pub(super) fn length(&mut self) -> Option<usize> {
        usize::try_from(self.number()?).ok()
    }

    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_width_come_back() {
        for shift in 0..64 {
            for number in [1_u64 << shift, (1 << shift) - 1, u64::MAX >> shift] {
                let mut out = Vec::new();
                put_number(&mut out, number);
                let mut reader = Reader::new(&out);
                assert_eq!(reader.number(), Some(number));
                assert!(reader.is_empty());
                assert_eq!(Reader::new(&out[..out.len() - 1]).number(), None);
            }
        }
    }

    #[test]
    fn a_flipped_bit_fails_the_check() {
        let mut bytes = b"content".to_vec();
        put_check(&mut bytes, 0);
        assert_eq!(checked(&bytes), Some(&b"content"[..]));
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(checked(&bytes), None);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        assert_eq!(checked(b"short"), None);
    }
}
