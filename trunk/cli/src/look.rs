//! How text looks: colours or not, columns or tabs, how wide.

use crate::format;
use anstyle::{AnsiColor, Style};
use std::fmt;

/// What the terminal and the environment say about colours.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ColorFacts<'a> {
    /// `--no-color`.
    pub(crate) forbidden: bool,
    /// Whether the output is a terminal.
    pub(crate) terminal: bool,
    /// `NO_COLOR`.
    pub(crate) no_color: Option<&'a str>,
    /// `FORCE_COLOR`.
    pub(crate) force_color: Option<&'a str>,
    /// `TERM`.
    pub(crate) term: Option<&'a str>,
}

impl ColorFacts<'_> {
    /// Whether to use colours. Who forbids wins over who forces, and both over what is guessed.
    pub(crate) fn wanted(self) -> bool {
        let set = |value: Option<&str>| value.is_some_and(|value| !value.is_empty());
        if self.forbidden || set(self.no_color) {
            return false;
        }
        if set(self.force_color) {
            return self.force_color != Some("0");
        }
        self.terminal && self.term != Some("dumb")
    }
}

/// How to write for one output.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    /// Whether to use colours.
    pub(crate) color: bool,
    /// Whether tables are rows of tabs for other programs.
    pub(crate) plain: bool,
    /// The moment that `ago` counts from, in milliseconds since 1970.
    pub(crate) now_ms: u64,
}

/// What a colour stands for. Never the only carrier of a meaning.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tone {
    /// As it should be.
    Good,
    /// To be looked at.
    Attention,
    /// Wrong.
    Bad,
    /// What the eye should find first.
    Strong,
    /// What it may skip.
    Faint,
}

impl Tone {
    const fn style(self) -> Style {
        match self {
            Self::Good => AnsiColor::Green.on_default(),
            Self::Attention => AnsiColor::Yellow.on_default(),
            Self::Bad => AnsiColor::Red.on_default().bold(),
            Self::Strong => Style::new().bold(),
            Self::Faint => Style::new().dimmed(),
        }
    }
}

impl Look {
    /// Nothing but text; the time is unknown.
    pub(crate) const fn bare() -> Self {
        Self { color: false, plain: false, now_ms: 0 }
    }

    /// When something was: for people how long ago as well, for programs the moment alone.
    pub(crate) fn when(&self, then_ms: u64) -> String {
        match self.plain {
            true => format::moment(then_ms),
            false => format!("{} ({})", format::ago(self.now_ms, then_ms), format::moment(then_ms)),
        }
    }

    /// A number: grouped for people, digits for programs.
    pub(crate) fn count(&self, number: u64) -> String {
        if self.plain { number.to_string() } else { format::count(number) }
    }

    /// `text` in a tone.
    pub(crate) fn paint(&self, tone: Tone, text: impl fmt::Display) -> String {
        if !self.color {
            return text.to_string();
        }
        let style = tone.style();
        format!("{style}{text}{style:#}")
    }
}

/// Text from elsewhere, safe for a terminal: what would move the cursor or turn the direction of
/// writing is shown as its number.
pub(crate) fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if hostile(character) {
            out.extend(character.escape_unicode());
        } else {
            out.push(character);
        }
    }
    out
}

/// Whether a character would move the cursor or turn the direction of writing.
fn hostile(character: char) -> bool {
    (character.is_control() && character != '\n' && character != '\t')
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}')
        || matches!(character, '\u{2066}'..='\u{2069}')
}

/// JSON text, safe for a terminal and still the same JSON: such characters stand in strings alone.
pub(crate) fn clean_json(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match hostile(character) {
            true => out += &format!("\\u{:04x}", u32::from(character)),
            false => out.push(character),
        }
    }
    out
}

/// As [`clean`], on one line.
pub(crate) fn clean_line(text: &str) -> String {
    clean(text).replace(['\n', '\t'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_follow_the_terminal_unless_somebody_decides() {
        let terminal = ColorFacts { terminal: true, ..ColorFacts::default() };
        assert!(terminal.wanted());
        assert!(!ColorFacts::default().wanted());
        assert!(!ColorFacts { term: Some("dumb"), ..terminal }.wanted());
        assert!(!ColorFacts { no_color: Some("1"), ..terminal }.wanted());
        assert!(ColorFacts { no_color: Some(""), ..terminal }.wanted());
        assert!(!ColorFacts { forbidden: true, force_color: Some("1"), ..terminal }.wanted());
        assert!(ColorFacts { force_color: Some("1"), ..ColorFacts::default() }.wanted());
        assert!(!ColorFacts { force_color: Some("0"), ..terminal }.wanted());
    }

    #[test]
    fn paint_leaves_nothing_behind() {
        let look = Look { color: true, ..Look::bare() };
        assert_eq!(look.paint(Tone::Good, "ok"), "\u{1b}[32mok\u{1b}[0m");
        assert_eq!(Look::bare().paint(Tone::Good, "ok"), "ok");
    }

    #[test]
    fn times_and_numbers_are_for_people_or_for_programs() {
        let look = Look { now_ms: 7_200_000, ..Look::bare() };
        assert_eq!(look.when(0), "2 h ago (1970-01-01T00:00:00Z)");
        assert_eq!(look.count(1_284), "1 284");
        let plain = Look { plain: true, ..look };
        assert_eq!(plain.when(0), "1970-01-01T00:00:00Z");
        assert_eq!(plain.count(1_284), "1284");
    }

    #[test]
    fn json_stays_the_same_json() {
        let value = serde_json::json!({"a": "x\u{202e}\u{9b}\u{1b}y\n"});
        let shown = clean_json(&serde_json::to_string_pretty(&value).unwrap());
        assert!(!shown.chars().any(hostile), "{shown:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    }

    #[test]
    fn text_from_elsewhere_cannot_steer_the_terminal() {
        assert_eq!(clean("a\u{1b}[2Jb\rc"), "a\\u{1b}[2Jb\\u{d}c");
        assert_eq!(clean("x\u{202e}gpj"), "x\\u{202e}gpj");
        assert_eq!(clean_line("two\nlines"), "two lines");
        assert_eq!(clean("Zoë ☁"), "Zoë ☁");
    }
}
