//! Finds tokens in bytes, whatever common form they were written in.

use data_encoding::{BASE64, BASE64URL, Encoding, HEXLOWER, HEXUPPER};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

/// How much of a pattern is compared with the table before all of it is.
const HEAD: usize = 8;

/// A token, and the form it was found in.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Hit {
    pub token: usize,
    pub form: &'static str,
}

/// Looks for many tokens at once.
pub struct Scanner {
    patterns: HashMap<[u8; HEAD], Vec<(Hit, Vec<u8>)>>,
}

/// The forms of a token.
pub fn forms(token: &str) -> Vec<(&'static str, Vec<u8>)> {
    let utf16: Vec<u16> = token.encode_utf16().collect();
    let bytes = token.as_bytes();
    let mut forms = vec![
        ("raw", bytes.to_vec()),
        ("UTF-16, little-endian", utf16.iter().flat_map(|unit| unit.to_le_bytes()).collect()),
        ("UTF-16, big-endian", utf16.iter().flat_map(|unit| unit.to_be_bytes()).collect()),
        ("hex, lower case", HEXLOWER.encode(bytes).into_bytes()),
        ("hex, upper case", HEXUPPER.encode(bytes).into_bytes()),
    ];
    for shift in 0..3 {
        forms.push(("base64", base64(&BASE64, bytes, shift)));
        forms.push(("base64url", base64(&BASE64URL, bytes, shift)));
    }
    forms
}

/// The characters that `bytes` become when `shift` bytes of something else stand in front: those
/// at the ends depend on the neighbours and are left out.
fn base64(encoding: &Encoding, bytes: &[u8], shift: usize) -> Vec<u8> {
    let text = encoding.encode(&[&vec![0; shift], bytes].concat()).into_bytes();
    let first = (shift * 8).div_ceil(6);
    let last = (shift + bytes.len()) * 8 / 6;
    text[first..last].to_vec()
}

impl Scanner {
    pub fn new(tokens: &[String]) -> Self {
        let mut patterns: HashMap<[u8; HEAD], Vec<(Hit, Vec<u8>)>> = HashMap::new();
        for (token, text) in tokens.iter().enumerate() {
            for (form, pattern) in forms(text) {
                let head = *pattern.first_chunk::<HEAD>().expect("tokens are longer");
                patterns.entry(head).or_default().push((Hit { token, form }, pattern));
            }
        }
        Self { patterns }
    }

    /// Everything that is found in `bytes`.
    pub fn scan(&self, bytes: &[u8]) -> BTreeSet<Hit> {
        let mut hits = BTreeSet::new();
        for (at, head) in bytes.windows(HEAD).enumerate() {
            let head: &[u8; HEAD] = head.try_into().expect("a window is as long as it is");
            let Some(patterns) = self.patterns.get(head) else { continue };
            let found = patterns.iter().filter(|(_, pattern)| bytes[at..].starts_with(pattern));
            hits.extend(found.map(|(hit, _)| *hit));
        }
        hits
    }

    /// Everything that is found in the files below `dir` and in their names.
    pub fn scan_folder(&self, dir: &Path) -> BTreeMap<String, BTreeSet<Hit>> {
        let mut hits = BTreeMap::new();
        for (path, bytes) in crate::support::folder::files(dir) {
            let path = path.display().to_string();
            let mut found = self.scan(&bytes);
            found.extend(self.scan(path.as_bytes()));
            if !found.is_empty() {
                hits.insert(path, found);
            }
        }
        hits
    }
}

#[test]
fn a_token_is_found_in_every_form_and_at_every_place() {
    let tokens: Vec<String> = (0..50).map(|n| format!("{n:02}{}", super::token())).collect();
    let scanner = Scanner::new(&tokens);
    for (token, text) in tokens.iter().enumerate() {
        for shift in 0..3 {
            let around = [&vec![200; shift], text.as_bytes(), &[201, 202, 203]].concat();
            for (form, written) in [
                ("base64", BASE64.encode(&around)),
                ("base64url", BASE64URL.encode(&around)),
                ("hex, lower case", HEXLOWER.encode(&around)),
                ("hex, upper case", HEXUPPER.encode(&around)),
            ] {
                let found = scanner.scan(format!("noise{written}noise").as_bytes());
                assert!(found.iter().any(|hit| hit.token == token), "{form} at {shift}");
            }
        }
        for (form, written) in forms(text) {
            let found = scanner.scan(&[b"noise", &written[..], b"noise"].concat());
            assert!(found.contains(&Hit { token, form }), "{form}: {found:?}");
        }
    }
    let other: Vec<u8> =
        (0..100_000).map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    assert!(scanner.scan(&other).is_empty());
}
