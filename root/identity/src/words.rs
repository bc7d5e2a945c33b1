//! The 2048 English words of BIP-39, and which of them somebody probably meant.

use bip39::Language;

/// Why a word is not on the list.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{word}` is not on the list; did you mean `{suggestion}`?")]
pub struct UnknownWord {
    /// What was typed, cut to a printable length.
    pub word: String,
    /// The nearest word of the list.
    pub suggestion: &'static str,
}

/// The words in their order.
pub(crate) fn list() -> &'static [&'static str; 2048] {
    Language::English.word_list()
}

/// Finds a word, in any case; the first four letters suffice, as they are unique on the list.
pub(crate) fn find(word: &str) -> Result<u16, UnknownWord> {
    let lower = word.to_lowercase();
    if let Some(at) = Language::English.find_word(&lower) {
        return Ok(at);
    }
    if lower.chars().count() == 4 {
        let mut same = list().iter().zip(0..).filter(|(word, _)| word.starts_with(&lower));
        if let (Some((_, at)), None) = (same.next(), same.next()) {
            return Ok(at);
        }
    }
    let short: String = lower.chars().take(WORD_SHOWN_MAX).collect();
    Err(UnknownWord { suggestion: nearest(&short), word: short })
}

/// Longest piece of a mistyped word that is repeated back: twice the longest word of the list.
const WORD_SHOWN_MAX: usize = 16;

/// The word of the list that fewest edits away; the earlier one of two.
fn nearest(word: &str) -> &'static str {
    let word: Vec<char> = word.chars().collect();
    list().iter().copied().min_by_key(|other| distance(&word, other)).expect("the list has words")
}

/// Levenshtein distance.
fn distance(left: &[char], right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (at, one) in left.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (to, other) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(one != other);
            diagonal = row[to + 1];
            row[to + 1] = replaced.min(diagonal + 1).min(row[to] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_word_gets_the_nearest_suggestion() {
        assert_eq!(find("abandn").unwrap_err().suggestion, "abandon");
        assert_eq!(find("ZEBRO").unwrap_err().suggestion, "zebra");
        assert_eq!(find("wrtie").unwrap_err().word, "wrtie");
    }

    #[test]
    fn case_and_everything_after_four_letters_do_not_matter() {
        assert_eq!(find("Zebra").unwrap(), find("zebra").unwrap());
        assert_eq!(find("aban").unwrap(), 0);
        assert!(find("aba").is_err());
    }

    #[test]
    fn a_huge_word_is_cut_before_it_is_compared() {
        assert_eq!(find(&"x".repeat(1 << 20)).unwrap_err().word.len(), WORD_SHOWN_MAX);
    }
}
