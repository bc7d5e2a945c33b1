//! The recovery kit: 32 bytes on paper from which an identity can be had back.
//!
//! The bytes are written as 24 words or as one code of 52 characters, and give three keys: root
//! signing, recovery signing, recovery sealing. The key id `K-7F3A` tells sheets apart without
//! telling their secret. Printing, and when to ask for it, is left to the callers.

use crate::keys::sealing_public;
use crate::words::{self, UnknownWord};
use crate::{SealingPublic, SigningKeys, SigningPublic};
use bip39::{Language, Mnemonic};
use data_encoding::BASE32_NOPAD;
use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use std::fmt;
use zeroize::Zeroizing;

/// Words on the sheet.
pub const KIT_WORDS: usize = 24;

/// Characters of the code: 256 bits and a checksum of four, at five bits each.
pub const KIT_CODE_CHARACTERS: usize = 52;

/// Words that are asked back when the kit is checked.
pub const KIT_CHECK_WORDS: usize = 3;

/// Most characters of typed text that are looked at: 24 of the longest words, generously spaced.
const TYPED_MAX: usize = 1024;

/// Why typed text is not a recovery kit.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KitError {
    /// Not 24 words, nor 52 characters.
    #[error("a recovery kit has {KIT_WORDS} words, this has {count}")]
    WordCount {
        /// How many there are.
        count: usize,
    },
    /// One word is not on the list.
    #[error("word {position} is not on the list")]
    UnknownWord {
        /// Which one, counted from 1 as on the sheet.
        position: usize,
        /// The word and what was probably meant.
        source: UnknownWord,
    },
    /// All words are on the list, but they do not belong together in this order.
    #[error("every word is on the list, but one is wrong or two are swapped")]
    Checksum,
    /// The code has the wrong length.
    #[error("a recovery code has {KIT_CODE_CHARACTERS} characters, this has {count}")]
    CodeLength {
        /// How many there are, without spaces and hyphens.
        count: usize,
    },
    /// A character of the code is not one of A to Z and 2 to 7.
    #[error("character {position} of the code, `{character}`, is not one of A-Z and 2-7")]
    CodeCharacter {
        /// Which one, counted from 1, without spaces and hyphens.
        position: usize,
        /// What it is.
        character: char,
    },
    /// The code is of the right form, but mistyped.
    #[error("the code is mistyped somewhere")]
    CodeChecksum,
}

/// The secret on the sheet. It is wiped when dropped and never printed by accident.
#[derive(Clone)]
pub struct RecoveryKit {
    entropy: Zeroizing<[u8; 32]>,
}

impl RecoveryKit {
    /// The kit of 32 random bytes.
    #[must_use]
    pub fn from_entropy(entropy: [u8; 32]) -> Self {
        Self { entropy: Zeroizing::new(entropy) }
    }

    /// The bytes, for the key store until the person has confirmed the sheet.
    #[must_use]
    pub fn entropy(&self) -> &[u8; 32] {
        &self.entropy
    }

    /// The 24 words (BIP-39, English).
    #[must_use]
    pub fn words(&self) -> [&'static str; KIT_WORDS] {
        let mnemonic = Mnemonic::from_entropy(&*self.entropy).expect("32 bytes make 24 words");
        let mut words = [""; KIT_WORDS];
        for (place, word) in words.iter_mut().zip(mnemonic.words()) {
            *place = word;
        }
        words
    }

    /// The code of 52 characters, in groups of four.
    #[must_use]
    pub fn code(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new([0; 33]);
        bytes[..32].copy_from_slice(&*self.entropy);
        bytes[32] = code_checksum(&self.entropy);
        let symbols = Zeroizing::new(BASE32_NOPAD.encode(&*bytes));
        let groups: Vec<&str> =
            (0..KIT_CODE_CHARACTERS).step_by(4).map(|at| &symbols[at..at + 4]).collect();
        Zeroizing::new(groups.join("-"))
    }

    /// Reads what a person typed: the words or the code, with any spacing, hyphens and case.
    pub fn parse(typed: &str) -> Result<Self, KitError> {
        let typed: Zeroizing<String> = Zeroizing::new(typed.chars().take(TYPED_MAX).collect());
        let pieces: Vec<&str> = typed
            .split(|character: char| character.is_whitespace() || is_hyphen(character))
            .filter(|piece| !piece.is_empty())
            .collect();
        if is_code(&pieces) { Self::parse_code(&pieces) } else { Self::parse_words(&pieces) }
    }

    fn parse_words(pieces: &[&str]) -> Result<Self, KitError> {
        let mut found = Vec::with_capacity(KIT_WORDS);
        for (at, word) in pieces.iter().enumerate().take(KIT_WORDS) {
            let word = words::find(word)
                .map_err(|source| KitError::UnknownWord { position: at + 1, source })?;
            found.push(words::list()[usize::from(word)]);
        }
        if pieces.len() != KIT_WORDS {
            return Err(KitError::WordCount { count: pieces.len() });
        }
        let phrase = Zeroizing::new(found.join(" "));
        let mnemonic = Mnemonic::parse_in_normalized(Language::English, &phrase)
            .map_err(|_| KitError::Checksum)?;
        let entropy = Zeroizing::new(mnemonic.to_entropy());
        Ok(Self::from_entropy(entropy.as_slice().try_into().map_err(|_| KitError::Checksum)?))
    }

    fn parse_code(pieces: &[&str]) -> Result<Self, KitError> {
        let mut code = Zeroizing::new(String::with_capacity(TYPED_MAX));
        for (at, character) in pieces.iter().flat_map(|piece| piece.chars()).enumerate() {
            // Digits that are not in the alphabet are the letters they look like.
            code.push(match character.to_ascii_uppercase() {
                '0' => 'O',
                '1' => 'I',
                '8' => 'B',
                symbol @ ('A'..='Z' | '2'..='7') => symbol,
                _ => return Err(KitError::CodeCharacter { position: at + 1, character }),
            });
        }
        if code.len() != KIT_CODE_CHARACTERS {
            return Err(KitError::CodeLength { count: code.len() });
        }
        code.push('A');
        let bytes = Zeroizing::new(
            BASE32_NOPAD.decode(code.as_bytes()).map_err(|_| KitError::CodeChecksum)?,
        );
        let entropy: [u8; 32] =
            bytes[..32].try_into().expect("53 symbols of five bits are 33 bytes");
        if bytes[32] != code_checksum(&entropy) {
            return Err(KitError::CodeChecksum);
        }
        Ok(Self::from_entropy(entropy))
    }

    /// The key that signs the genesis.
    #[must_use]
    pub fn root(&self) -> SigningKeys {
        SigningKeys::from_secret(*self.derive(b"root-sign"))
    }

    /// The key that signs control records when devices are lost.
    #[must_use]
    pub fn recovery(&self) -> SigningKeys {
        SigningKeys::from_secret(*self.derive(b"recovery-sign"))
    }

    /// The secret that opens epoch secrets wrapped to the kit.
    #[must_use]
    pub fn sealing_secret(&self) -> Zeroizing<[u8; 32]> {
        self.derive(b"recovery-seal")
    }

    /// The public key to which epoch secrets are wrapped.
    #[must_use]
    pub fn sealing_public(&self) -> SealingPublic {
        sealing_public(&self.sealing_secret())
    }

    /// What the sheet is called.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        KeyId::of(&self.root().public())
    }

    /// Which words to ask back, as positions counted from 1, ascending and all different.
    #[must_use]
    pub fn check_positions(random: [u8; 12]) -> [usize; KIT_CHECK_WORDS] {
        let mut left: Vec<usize> = (1..=KIT_WORDS).collect();
        let mut chosen = [0; KIT_CHECK_WORDS];
        for (place, bytes) in chosen.iter_mut().zip(random.chunks_exact(4)) {
            let number = u32::from_le_bytes(bytes.try_into().expect("chunks of four"));
            *place = left.remove(number as usize % left.len());
        }
        chosen.sort_unstable();
        chosen
    }

    /// Whether `typed` is the word at `position`, counted from 1.
    #[must_use]
    pub fn has_word(&self, position: usize, typed: &str) -> bool {
        let word = position.checked_sub(1).and_then(|at| self.words().get(at).copied());
        let typed = words::find(typed.trim()).map(|at| words::list()[usize::from(at)]);
        typed.is_ok_and(|typed| word == Some(typed))
    }

    fn derive(&self, purpose: &[u8]) -> Zeroizing<[u8; 32]> {
        let mut key = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(Some(b"rhizome recovery kit v1"), &*self.entropy)
            .expand(purpose, &mut *key)
            .expect("32 bytes are less than HKDF can give");
        key
    }
}

impl fmt::Debug for RecoveryKit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecoveryKit({}, secret)", self.key_id())
    }
}

/// What a sheet is called: two bytes of a hash of the root public key, which anyone may know.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct KeyId(pub [u8; 2]);

impl KeyId {
    /// The name of the sheet from which this root key comes.
    #[must_use]
    pub fn of(root: &SigningPublic) -> Self {
        let hash = Sha256::new().chain_update(b"rhizome kit id v1\0").chain_update(root.0);
        let hash = hash.finalize();
        Self([hash[0], hash[1]])
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "K-{:02X}{:02X}", self.0[0], self.0[1])
    }
}

/// Four bits in the upper half of a byte, which fill the code up to 52 whole symbols.
fn code_checksum(entropy: &[u8; 32]) -> u8 {
    let hash = Sha256::new().chain_update(b"rhizome kit code v1\0").chain_update(entropy);
    hash.finalize()[0] & 0xf0
}

/// Whether typed pieces are meant as the code: one piece, or few short ones, or few with digits.
fn is_code(pieces: &[&str]) -> bool {
    let short = pieces.iter().all(|piece| piece.chars().count() <= 4);
    let digits = pieces.iter().any(|piece| piece.contains(|one: char| one.is_ascii_digit()));
    pieces.len() == 1 || pieces.len() < KIT_WORDS && (short || digits)
}

fn is_hyphen(character: char) -> bool {
    matches!(character, '-' | '\u{2010}'..='\u{2015}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kit() -> RecoveryKit {
        RecoveryKit::from_entropy(std::array::from_fn(|at| at as u8 * 7 + 1))
    }

    #[test]
    fn version_1_of_the_sheet_still_gives_the_same_keys() {
        let kit = kit();
        let sheet = format!(
            "{}\n{}\n{}\nroot {}\nrecovery {}\nsealing {}\n",
            kit.key_id(),
            kit.words().join(" "),
            *kit.code(),
            data_encoding::HEXLOWER.encode(&kit.root().public().0),
            data_encoding::HEXLOWER.encode(&kit.recovery().public().0),
            data_encoding::HEXLOWER.encode(&kit.sealing_public().0),
        );
        crate::fixture::check("recovery-kit.v1.txt", sheet.as_bytes());
    }

    #[test]
    fn both_forms_are_read_with_any_spacing_and_case() {
        let kit = kit();
        let words = kit.words().join(" \n ").to_uppercase();
        assert_eq!(RecoveryKit::parse(&words).unwrap().entropy(), kit.entropy());
        let code = kit.code().to_lowercase().replace('-', " ");
        assert_eq!(RecoveryKit::parse(&code).unwrap().entropy(), kit.entropy());
        let looks_alike = kit.code().replace('O', "0").replace('I', "1").replace('B', "8");
        assert_eq!(RecoveryKit::parse(&looks_alike).unwrap().entropy(), kit.entropy());
    }

    #[test]
    fn an_unknown_word_is_named_with_its_place_and_a_suggestion() {
        let mut words = kit().words().map(str::to_owned);
        words[10] = "zzebra".to_owned();
        match RecoveryKit::parse(&words.join(" ")) {
            Err(KitError::UnknownWord { position: 11, source }) => {
                assert_eq!(source.suggestion, "zebra");
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn swapped_words_and_wrong_counts_are_told_apart() {
        let mut words = kit().words();
        assert!(matches!(
            RecoveryKit::parse(&words[..23].join(" ")),
            Err(KitError::WordCount { count: 23 })
        ));
        let two = words.join(" ") + " " + &words.join(" ");
        assert!(matches!(RecoveryKit::parse(&two), Err(KitError::WordCount { count: 48 })));
        words.swap(0, 1);
        assert!(matches!(RecoveryKit::parse(&words.join(" ")), Err(KitError::Checksum)));
    }

    #[test]
    fn a_bent_code_is_refused_with_its_reason() {
        let code = kit().code().to_string();
        assert!(matches!(
            RecoveryKit::parse(&code[..code.len() - 1]),
            Err(KitError::CodeLength { count: 51 })
        ));
        let wrong = format!("{}9", &code[..code.len() - 1]);
        assert!(matches!(
            RecoveryKit::parse(&wrong),
            Err(KitError::CodeCharacter { position: 52, character: '9' })
        ));
        let caught = (0..KIT_CODE_CHARACTERS)
            .filter(|at| {
                let at = at + at / 4;
                let symbol = if &code[at..=at] == "A" { "C" } else { "A" };
                let bent = format!("{}{symbol}{}", &code[..at], &code[at + 1..]);
                RecoveryKit::parse(&bent).is_err()
            })
            .count();
        assert!(caught >= 44, "four bits catch fifteen of sixteen, caught {caught} of 52");
    }

    #[test]
    fn the_three_keys_differ_and_none_is_printed() {
        let kit = kit();
        assert_ne!(kit.root().public(), kit.recovery().public());
        assert_ne!(*kit.sealing_secret(), *kit.root().secret());
        let printed = format!("{kit:?}");
        assert!(printed.len() < 40, "{printed}");
    }

    #[test]
    fn three_words_prove_the_sheet() {
        let kit = kit();
        for position in RecoveryKit::check_positions(*b"some random!") {
            let word = kit.words()[position - 1];
            assert!(kit.has_word(position, &word.to_uppercase()));
            assert!(!kit.has_word(position, if word == "zoo" { "able" } else { "zoo" }));
        }
        assert!(!kit.has_word(0, "zoo") && !kit.has_word(25, "zoo"));
    }

    proptest! {
        #[test]
        fn positions_are_different_and_on_the_sheet(random: [u8; 12]) {
            let [first, second, third] = RecoveryKit::check_positions(random);
            prop_assert!(1 <= first && first < second && second < third && third <= KIT_WORDS);
        }

        #[test]
        fn every_kit_survives_both_forms(entropy: [u8; 32]) {
            let kit = RecoveryKit::from_entropy(entropy);
            let from_words = RecoveryKit::parse(&kit.words().join(" ")).unwrap();
            prop_assert_eq!(from_words.entropy(), &entropy);
            let from_code = RecoveryKit::parse(&kit.code()).unwrap();
            prop_assert_eq!(from_code.entropy(), &entropy);
        }

        #[test]
        fn any_text_is_answered_without_a_panic(text in "\\PC{0,200}") {
            let _ = RecoveryKit::parse(&text);
        }
    }
}
