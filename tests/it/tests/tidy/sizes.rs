//! How long files, lines and functions may be.
//!
//! Functions are measured with a counter of braces from `fn` to the brace that closes the body,
//! over code without comments and strings. What a macro makes is measured as it is written.

use crate::lexer::{Piece, block_end, line_of, only};
use crate::none;
use crate::tree::{Source, rust};

const FILE_LINES_MAX: usize = 800;
const LINE_COLUMNS_MAX: usize = 100;
const FUNCTION_LINES_MAX: usize = 70;

fn long_file(source: &Source) -> Vec<String> {
    let lines = source.text.lines().count();
    let long = lines > FILE_LINES_MAX;
    long.then(|| format!("{}: {lines} lines", source.path)).into_iter().collect()
}

fn long_lines(source: &Source) -> Vec<String> {
    let long = |(n, line): (usize, &str)| {
        let columns = line.chars().count();
        let at = format!("{}:{}", source.path, n + 1);
        (columns > LINE_COLUMNS_MAX).then(|| format!("{at}: {columns} columns"))
    };
    source.text.lines().enumerate().filter_map(long).collect()
}

fn long_functions(source: &Source) -> Vec<String> {
    let code = only(&source.text, Piece::Code);
    let mut said = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|letter| letter.is_alphanumeric() || letter == '_') {
            continue;
        }
        let rest = &code[at..];
        let Some(open) = body(rest) else { continue };
        let lines = rest[..block_end(rest, open)].matches('\n').count() + 1;
        if lines > FUNCTION_LINES_MAX {
            let name = rest[3..].split(['(', '<']).next().unwrap_or_default();
            let place = format!("{}:{}", source.path, line_of(&code, at));
            said.push(format!("{place}: {name} has {lines} lines"));
        }
    }
    said
}

/// Where the body of the function at the start of `rest` opens, if it has one.
fn body(rest: &str) -> Option<usize> {
    let mut depth = 0_i32;
    for (at, letter) in rest.char_indices() {
        match letter {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            '{' if depth == 0 => return Some(at),
            ';' | '}' | ',' if depth <= 0 => return None,
            _ if depth < 0 => return None,
            _ => {}
        }
    }
    None
}

#[test]
fn files_lines_and_functions_end_in_time() {
    let rules = [long_file, long_lines, long_functions];
    none(rust().iter().flat_map(|source| rules.iter().flat_map(|rule| rule(source))).collect());
}

#[test]
fn what_is_too_long_is_noticed() {
    let lines = |n: usize| Source::sample("a.rs", &"x\n".repeat(n));
    assert_eq!((long_file(&lines(800)).len(), long_file(&lines(801)).len()), (0, 1));
    let columns = |n: usize| Source::sample("a.rs", &"é".repeat(n));
    assert_eq!((long_lines(&columns(100)).len(), long_lines(&columns(101)).len()), (0, 1));
    let function = |n: usize| {
        let text = format!("fn f(g: fn (u8) -> u8) -> [u8; 3] {{\n{}}}\n", "{ '}' }\n".repeat(n));
        long_functions(&Source::sample("a.rs", &text)).len()
    };
    assert_eq!((function(68), function(69)), (0, 1));
}
