//! Words that do not belong into the sources.

use crate::lexer::{Piece, line_of, only, without_tests};
use crate::none;
use crate::tree::{Source, pages, rust};

/// Code that says it is not finished, or hides what a tool says.
const CODE: &[&str] = &["todo!(", "unimplemented!(", "dbg!(", "#[ignore", "#[allow(", "#![allow("];

/// Remarks that somebody will come back.
const COMMENTS: &[&str] = &["TODO", "FIXME", "XXX", "HACK"];

/// Beginnings of paths that exist on one machine.
const PATHS: &[&str] = &["/work/", "/root/", "/tmp/"];

/// Those that a page has no reason to name either; a page may say where a socket lies.
const PAGE_PATHS: &[&str] = &["/work/", "/root/"];

fn unfinished(source: &Source) -> Vec<String> {
    let code = only(&source.text, Piece::Code);
    let comments = only(&source.text, Piece::Comment);
    let mut said = find(&source.path, &code, CODE);
    said.extend(find(&source.path, &comments, COMMENTS));
    said
}

fn find(path: &str, text: &str, words: &[&str]) -> Vec<String> {
    let found = words.iter().flat_map(|word| text.match_indices(word));
    found.map(|(at, word)| format!("{path}:{}: {word}", line_of(text, at))).collect()
}

/// Paths of one machine in `text`; `root/log` as part of a longer path is none.
fn machine_paths(path: &str, text: &str, paths: &[&str]) -> Vec<String> {
    let begins = |at: usize| {
        let before = text[..at].chars().next_back();
        before.is_none_or(|letter| letter.is_whitespace() || "\"'`(=:<>[".contains(letter))
    };
    let found = paths.iter().flat_map(|start| text.match_indices(start));
    let found = found.filter(|(at, _)| begins(*at));
    found.map(|(at, start)| format!("{path}:{}: {start}", line_of(text, at))).collect()
}

#[test]
fn nothing_says_that_it_is_unfinished() {
    none(rust().iter().flat_map(unfinished).collect());
}

#[test]
fn nothing_names_a_path_of_one_machine() {
    let sources = rust().iter().filter(|source| !source.is_test());
    let mut said: Vec<String> = sources
        .flat_map(|source| {
            let text = only(&without_tests(&source.text), Piece::Text);
            machine_paths(&source.path, &text, PATHS)
        })
        .collect();
    said.extend(pages().iter().flat_map(|page| machine_paths(&page.path, &page.text, PAGE_PATHS)));
    none(said);
}

#[test]
fn unfinished_code_and_machine_paths_are_noticed() {
    let bad = ["fn f() { todo!() }", "#[ignore]\nfn f() {}", "// XXX later", "#[allow(dead_code)]"];
    for text in bad {
        assert_eq!(unfinished(&Source::sample("a.rs", text)).len(), 1, "{text}");
    }
    let good = Source::sample("a.rs", "const A: &str = \"todo!()\"; // ignore, allow");
    assert_eq!(unfinished(&good), [""; 0]);
    assert_eq!(machine_paths("a", "at \"/tmp/x\" and `/work/y`", PATHS).len(), 2);
    assert_eq!(machine_paths("a", "./root/log, sdk/root/x and a/tmp/b", PATHS).len(), 0);
}
