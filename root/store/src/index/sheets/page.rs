//! A page: some entries of a sheet in key order, each key without what it shares with the one
//! before. Pages are read whole and checked whole.

use super::bytes::{Reader, put_number};

/// A key with its value; `None` hides the key in older sheets.
pub(super) type Entry<'a> = (&'a [u8], Option<&'a [u8]>);

/// A page being filled.
#[derive(Default)]
pub(super) struct PageWriter {
    /// The entries so far.
    pub(super) bytes: Vec<u8>,
    last: Vec<u8>,
}

impl PageWriter {
    /// Adds an entry, whose key must be greater than all before.
    pub(super) fn push(&mut self, key: &[u8], value: Option<&[u8]>) {
        let shared = self.last.iter().zip(key).take_while(|(a, b)| a == b).count();
        put_number(&mut self.bytes, shared as u64);
        put_number(&mut self.bytes, (key.len() - shared) as u64);
        put_number(&mut self.bytes, value.map_or(0, |value| value.len() as u64 + 1));
        self.bytes.extend_from_slice(&key[shared..]);
        self.bytes.extend_from_slice(value.unwrap_or_default());
        self.last.truncate(shared);
        self.last.extend_from_slice(&key[shared..]);
    }

    /// Begins the next page.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.last.clear();
    }
}

/// Reads the entries of a page one after the other.
struct PageReader<'a> {
    reader: Reader<'a>,
    key: Vec<u8>,
}

impl<'a> PageReader<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { reader: Reader::new(bytes), key: Vec::new() }
    }

    /// The next entry's value, its key being in `self.key`; `None` if the page is malformed.
    fn next(&mut self) -> Option<Option<&'a [u8]>> {
        let shared = self.reader.length()?;
        let rest = self.reader.length()?;
        let value = self.reader.length()?;
        if shared > self.key.len() {
            return None;
        }
        self.key.truncate(shared);
        self.key.extend_from_slice(self.reader.take(rest)?);
        match value.checked_sub(1) {
            Some(length) => Some(Some(self.reader.take(length)?)),
            None => Some(None),
        }
    }
}

/// The value of `key` in a page: `Ok(None)` if the page does not have it, `Err` if it is malformed.
pub(super) fn find<'a>(bytes: &'a [u8], key: &[u8]) -> Result<Option<Option<&'a [u8]>>, ()> {
    let mut page = PageReader::new(bytes);
    while !page.reader.is_empty() {
        let value = page.next().ok_or(())?;
        match page.key.as_slice().cmp(key) {
            std::cmp::Ordering::Less => {}
            std::cmp::Ordering::Equal => return Ok(Some(value)),
            std::cmp::Ordering::Greater => return Ok(None),
        }
    }
    Ok(None)
}

/// A page whose entries can be visited in both directions.
#[derive(Default)]
pub(super) struct Page {
    keys: Vec<u8>,
    values: Vec<u8>,
    /// Where key and value of an entry end, and whether it has a value.
    ends: Vec<(usize, usize, bool)>,
}

impl Page {
    /// Reads all entries.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut page = Self::default();
        let mut reader = PageReader::new(bytes);
        while !reader.reader.is_empty() {
            let value = reader.next()?;
            page.keys.extend_from_slice(&reader.key);
            page.values.extend_from_slice(value.unwrap_or_default());
            page.ends.push((page.keys.len(), page.values.len(), value.is_some()));
        }
        Some(page)
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Entry `n`, which must be there.
    pub(super) fn entry(&self, n: usize) -> Entry<'_> {
        let (key_start, value_start) =
            n.checked_sub(1).map_or((0, 0), |before| (self.ends[before].0, self.ends[before].1));
        let (key_end, value_end, has_value) = self.ends[n];
        let value = has_value.then(|| &self.values[value_start..value_end]);
        (&self.keys[key_start..key_end], value)
    }

    /// How many entries come before those for which `after` holds.
    pub(super) fn position(&self, after: impl Fn(&[u8]) -> bool) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            if after(self.entry(middle).0) { high = middle } else { low = middle + 1 }
        }
        low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(entries: &[Entry<'_>]) -> Vec<u8> {
        let mut page = PageWriter::default();
        entries.iter().for_each(|(key, value)| page.push(key, *value));
        page.bytes
    }

    #[test]
    fn entries_come_back_and_are_found() {
        let long = [9; 300];
        let entries: [Entry<'_>; 5] = [
            (b"", Some(b"empty key")),
            (b"a", None),
            (b"ab", Some(b"")),
            (b"abc", Some(&long)),
            (b"b", Some(b"x")),
        ];
        let bytes = write(&entries);
        let page = Page::read(&bytes).unwrap();
        assert_eq!((0..page.len()).map(|n| page.entry(n)).collect::<Vec<_>>(), entries);
        for (key, value) in entries {
            assert_eq!(find(&bytes, key), Ok(Some(value)));
        }
        for missing in [&b"A"[..], b"aa", b"abcd", b"c"] {
            assert_eq!(find(&bytes, missing), Ok(None));
        }
        assert_eq!(page.position(|key| key >= b"ab".as_slice()), 2);
        assert_eq!(page.position(|_| false), 5);
    }

    #[test]
    fn what_is_cut_or_shares_too_much_is_malformed() {
        let bytes = write(&[(b"abc", Some(b"value")), (b"abd", Some(b"value"))]);
        let whole: Vec<usize> =
            (0..=bytes.len()).filter(|end| Page::read(&bytes[..*end]).is_some()).collect();
        assert_eq!(whole, [0, 11, bytes.len()]);
        assert!(find(&bytes[..bytes.len() - 1], b"abd").is_err());
        assert!(Page::read(&[1, 1, 1, b'a']).is_none(), "nothing can be shared with the first");
    }
}
