//! The catalogue: which sheets count, newest first. It is one value in sled, so that it changes
//! together with what sled itself holds.

use super::bytes::{Reader, checked, put_check, put_number};

const VERSION: u8 = 1;

/// A sheet in the catalogue.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Listed {
    pub(super) id: u64,
    pub(super) bytes: u64,
}

/// Writes the catalogue.
pub(super) fn write(sheets: &[Listed]) -> Vec<u8> {
    let mut out = vec![VERSION];
    put_number(&mut out, sheets.len() as u64);
    for sheet in sheets {
        put_number(&mut out, sheet.id);
        put_number(&mut out, sheet.bytes);
    }
    put_check(&mut out, 0);
    out
}

/// Reads it; `None` if it is damaged or of another version.
pub(super) fn read(bytes: &[u8]) -> Option<Vec<Listed>> {
    let (&version, rest) = checked(bytes)?.split_first()?;
    let mut reader = Reader::new(rest);
    let count = reader.number()?;
    let sheets: Option<Vec<Listed>> = (0..count)
        .map(|_| Some(Listed { id: reader.number()?, bytes: reader.number()? }))
        .collect();
    sheets.filter(|_| version == VERSION && reader.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_catalogue_comes_back_and_damage_does_not() {
        let sheets = [Listed { id: 7, bytes: 300 }, Listed { id: 2, bytes: u64::MAX }];
        let mut bytes = write(&sheets);
        assert_eq!(read(&bytes).unwrap(), sheets);
        assert_eq!(read(&write(&[])).unwrap(), []);
        bytes[0] ^= 3;
        assert_eq!(read(&bytes), None);
        let mut newer = vec![VERSION + 1, 0];
        put_check(&mut newer, 0);
        assert_eq!(read(&newer), None);
    }
}
