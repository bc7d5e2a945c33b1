//! The code that links a device, as words for people and as text for a QR code.
//!
//! `33-promote-mix-coach`: a number that finds the waiting device, which is public, and three words
//! of 11 bits each. Whoever guesses has one try among 2^33, since one wrong guess ends the code;
//! a dictionary is of no use, because SPAKE2 gives nothing to check guesses against.

use crate::words::{self, UnknownWord};
use std::fmt;
use std::str::FromStr;

/// The largest number in front of the words: two digits are quickly said.
const NUMBER_MAX: u8 = 99;

/// Words of a code.
const CODE_WORDS: usize = 3;

/// Most addresses in a QR code, so that it stays small enough for a terminal.
pub const ADDRESSES_MAX: usize = 8;

/// Most characters of one address.
pub const ADDRESS_CHARACTERS_MAX: usize = 128;

/// Most characters of typed text that are looked at.
const TYPED_MAX: usize = 2048;

/// How the text of a QR code begins.
const PREFIX: &str = "RZ1:";

/// Why typed or scanned text is no code.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CodeError {
    /// It is not a number and three words.
    #[error("a code is a number and three words")]
    Form,
    /// The number is not 1 to 99.
    #[error("the number of a code is 1 to {NUMBER_MAX}")]
    Number,
    /// A word is not on the list.
    #[error("word {position} of the code is not on the list")]
    Word {
        /// Which one, counted from 1.
        position: usize,
        /// The word and what was probably meant.
        source: UnknownWord,
    },
    /// The scanned text is not one of ours.
    #[error("the text does not begin with {PREFIX} or has no code")]
    Prefix,
    /// An address is empty, too long, one too many, or of odd characters.
    #[error("an address of the code is not usable")]
    Address,
}

/// A one-time code. It is a secret: printing it for debugging shows only the number.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Code {
    number: u8,
    words: [u16; CODE_WORDS],
}

impl Code {
    /// The code of eight random bytes.
    #[must_use]
    pub fn from_random(random: [u8; 8]) -> Self {
        let part = |at: usize| u16::from_le_bytes([random[at], random[at + 1]]);
        let number = (part(0) % u16::from(NUMBER_MAX)) as u8 + 1;
        // 2048 divides 2^16, so every word is equally likely.
        Self { number, words: [part(2) % 2048, part(4) % 2048, part(6) % 2048] }
    }

    /// The public part, by which the newcomer finds the waiting device.
    #[must_use]
    pub const fn number(&self) -> u8 {
        self.number
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.number)?;
        self.words.iter().try_for_each(|at| write!(f, "-{}", words::list()[usize::from(*at)]))
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Code({}, secret)", self.number)
    }
}

impl FromStr for Code {
    type Err = CodeError;

    /// Reads a code in any case, with hyphens or spaces.
    fn from_str(text: &str) -> Result<Self, CodeError> {
        let text: String = text.chars().take(TYPED_MAX).collect();
        let mut parts = text
            .split(|one: char| one == '-' || one.is_whitespace())
            .filter(|part| !part.is_empty());
        let number = parts.next().ok_or(CodeError::Form)?;
        let number = number.parse().map_err(|_| CodeError::Number)?;
        if !(1..=NUMBER_MAX).contains(&number) {
            return Err(CodeError::Number);
        }
        let mut found = [0; CODE_WORDS];
        for (at, place) in found.iter_mut().enumerate() {
            let word = parts.next().ok_or(CodeError::Form)?;
            *place =
                words::find(word).map_err(|source| CodeError::Word { position: at + 1, source })?;
        }
        match parts.next() {
            Some(_) => Err(CodeError::Form),
            None => Ok(Self { number, words: found }),
        }
    }
}

/// What a QR code carries: `RZ1:<address>,<address>#<code>`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Invitation {
    addresses: Vec<String>,
    code: Code,
}

impl Invitation {
    /// An invitation to these addresses, in the order in which they should be tried.
    pub fn new(addresses: Vec<String>, code: Code) -> Result<Self, CodeError> {
        let usable = |address: &String| {
            (1..=ADDRESS_CHARACTERS_MAX).contains(&address.len())
                && address.bytes().all(|one| one.is_ascii_graphic() && one != b',' && one != b'#')
        };
        if addresses.len() > ADDRESSES_MAX || !addresses.iter().all(usable) {
            return Err(CodeError::Address);
        }
        Ok(Self { addresses, code })
    }

    /// Where the waiting device may be reached; none if it has to be found nearby.
    #[must_use]
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// The code.
    #[must_use]
    pub const fn code(&self) -> &Code {
        &self.code
    }
}

impl fmt::Display for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}#{}", self.addresses.join(","), self.code)
    }
}

impl FromStr for Invitation {
    type Err = CodeError;

    fn from_str(text: &str) -> Result<Self, CodeError> {
        if text.len() > TYPED_MAX {
            return Err(CodeError::Form);
        }
        let rest = text.trim().strip_prefix(PREFIX).ok_or(CodeError::Prefix)?;
        let (addresses, code) = rest.split_once('#').ok_or(CodeError::Prefix)?;
        let addresses = match addresses {
            "" => Vec::new(),
            some => some.split(',').map(str::to_owned).collect(),
        };
        Self::new(addresses, code.parse()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use proptest::prelude::*;

    #[test]
    fn a_code_is_said_typed_and_scanned() {
        let code = Code::from_random(*b"example!");
        expect!["33-promote-mix-coach"].assert_eq(&code.to_string());
        assert_eq!(code.to_string().to_uppercase().replace('-', "  ").parse(), Ok(code));
        let addresses = vec!["192.0.2.7:7733".to_owned(), "[2001:db8::1]:7733".to_owned()];
        let invitation = Invitation::new(addresses, code).unwrap();
        expect!["RZ1:192.0.2.7:7733,[2001:db8::1]:7733#33-promote-mix-coach"]
            .assert_eq(&invitation.to_string());
        assert_eq!(invitation.to_string().parse(), Ok(invitation));
        assert!(!format!("{code:?}").contains(&code.to_string()[2..]));
    }

    #[test]
    fn mistakes_are_named() {
        let error = |text: &str| text.parse::<Code>().unwrap_err();
        assert_eq!(error(""), CodeError::Form);
        assert_eq!(error("0-able-able-able"), CodeError::Number);
        assert_eq!(error("100-able-able-able"), CodeError::Number);
        assert_eq!(error("7-able-able"), CodeError::Form);
        assert_eq!(error("7-able-able-able-able"), CodeError::Form);
        match error("7-able-zebro-able") {
            CodeError::Word { position: 2, source } => assert_eq!(source.suggestion, "zebra"),
            other => panic!("{other:?}"),
        }
        let error = |text: &str| text.parse::<Invitation>().unwrap_err();
        assert_eq!(error("https://example.org/#7-able-able-able"), CodeError::Prefix);
        assert_eq!(error("RZ1:a b#7-able-able-able"), CodeError::Address);
        assert_eq!(error("RZ1:a,,b#7-able-able-able"), CodeError::Address);
        assert_eq!(error("RZ1:1,2,3,4,5,6,7,8,9#7-able-able-able"), CodeError::Address);
    }

    proptest! {
        #[test]
        fn every_code_survives_being_typed(random: [u8; 8]) {
            let code = Code::from_random(random);
            prop_assert!((1..=99).contains(&code.number()));
            prop_assert_eq!(code.to_string().parse(), Ok(code));
            let nowhere = Invitation::new(Vec::new(), code).unwrap();
            prop_assert_eq!(nowhere.to_string().parse(), Ok(nowhere));
        }

        #[test]
        fn any_text_is_answered_without_a_panic(text in "\\PC{0,80}") {
            let _ = text.parse::<Code>();
            let _ = format!("RZ1:{text}").parse::<Invitation>();
        }
    }
}
