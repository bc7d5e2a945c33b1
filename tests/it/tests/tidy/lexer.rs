//! Just enough of Rust's lexical grammar to tell code from comments and text.

/// What a piece of a source is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Piece {
    /// Code, delimiters of strings included.
    Code,
    /// Contents of strings and characters.
    Text,
    /// Comments.
    Comment,
}

/// `source` with everything but `keep` turned into spaces; lines and columns stay.
pub fn only(source: &str, keep: Piece) -> String {
    let blank = |(letter, piece): (char, Piece)| {
        if piece == keep || letter == '\n' { letter } else { ' ' }
    };
    pieces(source).into_iter().map(blank).collect()
}

/// Each character and what it belongs to.
fn pieces(source: &str) -> Vec<(char, Piece)> {
    let letters: Vec<char> = source.chars().collect();
    let mut out = Vec::with_capacity(letters.len());
    while out.len() < letters.len() {
        let at = out.len();
        let rest = &letters[at..];
        let (length, piece) = match rest {
            ['/', '/', ..] => (line_end(rest), Piece::Comment),
            ['/', '*', ..] => (comment_end(rest), Piece::Comment),
            ['"', ..] => (string_end(rest), Piece::Text),
            ['r', '"' | '#', ..] if !follows_word(&letters, at) && raw_end(rest).is_some() => {
                (raw_end(rest).unwrap(), Piece::Text)
            }
            ['\'', '\\', ..] => (2 + position(&rest[3..], '\'') + 2, Piece::Text),
            ['\'', _, '\'', ..] => (3, Piece::Text),
            _ => (1, Piece::Code),
        };
        out.extend(rest.iter().take(length).map(|letter| (*letter, piece)));
    }
    out
}

fn follows_word(letters: &[char], at: usize) -> bool {
    // `b` before `r` belongs to the string.
    let before = at.checked_sub(1).map(|before| letters[before]);
    before.is_some_and(|before| before != 'b' && (before.is_alphanumeric() || before == '_'))
}

fn position(letters: &[char], wanted: char) -> usize {
    letters.iter().position(|letter| *letter == wanted).unwrap_or(letters.len())
}

fn line_end(rest: &[char]) -> usize {
    position(rest, '\n')
}

fn comment_end(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match &rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn string_end(rest: &[char]) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != '"' {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// The end of a raw string, if one begins here.
fn raw_end(rest: &[char]) -> Option<usize> {
    let marks = rest[1..].iter().take_while(|letter| **letter == '#').count();
    if rest.get(1 + marks) != Some(&'"') {
        return None;
    }
    let begin = marks + 2;
    let ends = |at: &usize| {
        rest[*at] == '"' && rest[at + 1..].iter().take_while(|l| **l == '#').count() >= marks
    };
    (begin..rest.len()).find(ends).map(|at| at + 1 + marks)
}

/// The code of `source` without its test modules.
pub fn shipped(source: &str) -> String {
    only(&without_tests(source), Piece::Code)
}

/// `source` with its test modules turned into spaces; lines and columns stay.
pub fn without_tests(source: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut letters: Vec<char> = source.chars().collect();
    // Every letter as one byte, so that places in code are places in `letters`.
    let code: String = only(source, Piece::Code)
        .chars()
        .map(|letter| if letter.is_ascii() { letter } else { '_' })
        .collect();
    for (begin, _) in code.match_indices(MARK) {
        let rest = &code[begin..];
        let stop = rest.find(['{', ';']).unwrap_or(rest.len() - 1);
        let end = if rest[stop..].starts_with('{') { block_end(rest, stop) } else { stop + 1 };
        let cut = letters[begin..begin + end].iter_mut().filter(|letter| **letter != '\n');
        cut.for_each(|letter| *letter = ' ');
    }
    letters.into_iter().collect()
}

/// Names of the modules in files of their own that only tests compile.
pub fn test_modules(source: &str) -> Vec<String> {
    let code = only(source, Piece::Code);
    let declared = code.split("#[cfg(test)]").skip(1).filter_map(|rest| {
        let (head, _) = rest.split_once([';', '{'])?;
        let is_file = rest[head.len()..].starts_with(';');
        let name = head.trim().rsplit_once("mod ")?.1.trim();
        is_file.then(|| name.to_owned())
    });
    declared.collect()
}

/// First byte after the block that opens at `open`.
pub fn block_end(code: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, letter) in code[open..].char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return open + at + 1;
        }
    }
    code.len()
}

/// The line, counted from 1, on which byte `at` stands.
pub fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

#[test]
fn code_text_and_comments_are_told_apart() {
    let source = "let a = \"x // y\"; // z\nf('\"', '\\'', r#\"q\"#, &'a b); /* /* c */ */ g";
    let code = only(source, Piece::Code);
    assert!(!code.contains(['x', 'y', 'z', 'q', 'c', '"']), "{code}");
    assert!(code.contains("&'a b") && code.ends_with(" g"), "{code}");
    assert_eq!(only(source, Piece::Comment).trim().split('\n').count(), 2);
    assert!(only(source, Piece::Text).contains("x // y"));
}

#[test]
fn test_modules_are_not_shipped() {
    let source = "a\n#[cfg(test)]\nmod tests { fn b() { c } }\n#[cfg(test)]\nmod d;\ne";
    let code = shipped(source);
    assert_eq!(code.split_whitespace().collect::<Vec<_>>(), ["a", "e"]);
    assert_eq!(code.lines().count(), source.lines().count());
    assert_eq!(test_modules(source), ["d"]);
}
