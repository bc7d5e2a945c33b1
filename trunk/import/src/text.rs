//! Bytes into text: byte order marks, UTF-8, UTF-16, and an honest guess for everything else.

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

use crate::item::{ItemError, LossKind};

/// How many bytes are looked at to tell text from junk; enough for any header.
const SNIFF_BYTES: usize = 4_096;

/// Text and what was lost on the way.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Decoded {
    /// The text, without its byte order mark.
    pub(crate) text: String,
    /// What was lost, if anything.
    pub(crate) loss: Option<LossKind>,
}

/// Decodes `bytes`: by `stated` if the caller knows the encoding, otherwise by byte order mark, as
/// UTF-8, as UTF-16 by its zeros, and at last as windows-1252, which is what most old files are.
pub(crate) fn decode(
    bytes: &[u8],
    stated: Option<&'static Encoding>,
) -> Result<Decoded, ItemError> {
    if let Some((encoding, mark)) = Encoding::for_bom(bytes) {
        return by(encoding, bytes.get(mark..).unwrap_or_default());
    }
    if let Some(encoding) = stated {
        return by(encoding, bytes);
    }
    if let Some(encoding) = utf_16_by_zeros(bytes) {
        let (text, replaced) = encoding.decode_without_bom_handling(bytes);
        if !replaced && !text.chars().any(is_odd) {
            return Ok(Decoded { text: text.into_owned(), loss: None });
        }
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        return text_or_junk(text.to_owned(), None);
    }
    if looks_binary(bytes) {
        return Err(ItemError::Binary);
    }
    let (text, _) = WINDOWS_1252.decode_without_bom_handling(bytes);
    let loss = LossKind::Encoding { encoding: WINDOWS_1252.name() };
    text_or_junk(text.into_owned(), Some(loss))
}

fn by(encoding: &'static Encoding, bytes: &[u8]) -> Result<Decoded, ItemError> {
    let (text, replaced) = encoding.decode_without_bom_handling(bytes);
    let loss = replaced.then(|| LossKind::Replaced { encoding: encoding.name() });
    if replaced && encoding == UTF_8 && looks_binary(bytes) {
        return Err(ItemError::Binary);
    }
    text_or_junk(text.into_owned(), loss)
}

fn text_or_junk(text: String, loss: Option<LossKind>) -> Result<Decoded, ItemError> {
    if text.contains('\0') { Err(ItemError::Binary) } else { Ok(Decoded { text, loss }) }
}

/// Whether more than one byte in a hundred is a control character that text does not have.
fn looks_binary(bytes: &[u8]) -> bool {
    let sample = bytes.get(..SNIFF_BYTES).unwrap_or(bytes);
    let odd = sample.iter().filter(|byte| is_odd(char::from(**byte))).count();
    sample.contains(&0) || odd * 100 > sample.len()
}

/// A control character that text does not have.
fn is_odd(letter: char) -> bool {
    letter < ' ' && !matches!(letter, '\t' | '\n' | '\r' | '\u{c}' | '\u{1b}')
}

/// UTF-16 without a mark shows in Latin text as a zero in every other byte, on one side only.
fn utf_16_by_zeros(bytes: &[u8]) -> Option<&'static Encoding> {
    let sample = bytes.get(..SNIFF_BYTES).unwrap_or(bytes);
    if bytes.len() < 4 || !bytes.len().is_multiple_of(2) {
        return None;
    }
    let zeros = |side: usize| sample.iter().skip(side).step_by(2).filter(|b| **b == 0).count();
    let (even, odd, pairs) = (zeros(0), zeros(1), sample.len() / 2);
    match () {
        () if even == 0 && odd * 10 >= pairs * 4 => Some(UTF_16LE),
        () if odd == 0 && even * 10 >= pairs * 4 => Some(UTF_16BE),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn utf_16(text: &str, little: bool) -> Vec<u8> {
        let bytes = |unit: u16| if little { unit.to_le_bytes() } else { unit.to_be_bytes() };
        text.encode_utf16().flat_map(bytes).collect()
    }

    #[test]
    fn byte_order_marks_decide_and_disappear() {
        for bytes in [
            "\u{feff}café".as_bytes().to_vec(),
            utf_16("\u{feff}café", true),
            utf_16("\u{feff}café", false),
            utf_16("café", true),
            utf_16("café", false),
        ] {
            let decoded = decode(&bytes, None).unwrap();
            assert_eq!(decoded, Decoded { text: "café".to_owned(), loss: None });
        }
    }

    #[test]
    fn old_western_text_is_read_with_a_reported_loss() {
        let decoded = decode(b"caf\xe9 \x80 5", None).unwrap();
        assert_eq!(decoded.text, "café € 5");
        assert!(matches!(decoded.loss, Some(LossKind::Encoding { .. })));
    }

    #[test]
    fn a_stated_encoding_is_used() {
        let shift_jis = Encoding::for_label(b"shift_jis");
        let decoded = decode(b"\x93\xfa\x96\x7b", shift_jis).unwrap();
        assert_eq!(decoded, Decoded { text: "日本".to_owned(), loss: None });
    }

    #[test]
    fn junk_is_refused() {
        for junk in [
            &b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"[..],
            b"a\0b",
            b"\0\x01\0\x02\x03\x04",
            b"\xff\xd8\xff\xe0\0\x10JFIF",
        ] {
            assert!(matches!(decode(junk, None), Err(ItemError::Binary)), "{junk:?}");
        }
    }

    proptest! {
        #[test]
        fn valid_text_comes_through_untouched(text in "[^\0\u{feff}]{0,80}") {
            let decoded = decode(text.as_bytes(), None).unwrap();
            prop_assert_eq!(decoded.text, text);
        }

        #[test]
        fn any_bytes_are_text_or_refused(bytes: Vec<u8>) {
            let _ = decode(&bytes, None);
        }
    }
}
