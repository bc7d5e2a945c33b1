//! Pure crates open nothing, spawn nothing, draw no randomness and never ask for the time.
//!
//! Clippy's `disallowed_methods` sees calls; this sees names, so that a path that clippy's list
//! lacks is noticed too. Tests beside the code may do all of it.

use crate::imports::TABLE;
use crate::lexer::{line_of, shipped};
use crate::none;
use crate::tree::{Crate, Source, crates, rust};

/// Beginnings of paths in the standard library that act.
const PATHS: &[&str] = &[
    "std::env",
    "std::fs",
    "std::io::stderr",
    "std::io::stdin",
    "std::io::stdout",
    "std::net",
    "std::os",
    "std::process",
    "std::random",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "std::time::UNIX_EPOCH",
];

/// Macros that print.
const MACROS: &[&str] = &["println!", "eprintln!", "print!", "eprint!"];

/// Packages that act, or bring randomness along.
const PACKAGES: &[&str] = &[
    "axum",
    "chrono",
    "directories",
    "fs4",
    "futures-util",
    "getrandom",
    "hyper",
    "mdns-sd",
    "openraft",
    "quinn",
    "rand",
    "reqwest",
    "rustls",
    "sled",
    "socket2",
    "tempfile",
    "time",
    "tokio",
];

/// The crate opens its lib.rs with this when it acts.
const SHELL: &str = "#![expect(clippy::disallowed_methods, reason = \"IO shell: ";

/// Every path below `std`, with groups spelt out, and where it stands.
fn std_paths(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("std::") {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|letter| letter.is_alphanumeric() || letter == '_') {
            continue;
        }
        let mut paths = Vec::new();
        spell_out("std", &code[at + 3..], &mut paths);
        found.extend(paths.into_iter().map(|path| (at, path)));
    }
    found
}

/// Reads `::name` and `::{…}` after `prefix`; returns what is left.
fn spell_out<'a>(prefix: &str, rest: &'a str, paths: &mut Vec<String>) -> &'a str {
    let Some(rest) = rest.trim_start().strip_prefix("::") else {
        paths.push(prefix.to_owned());
        return rest;
    };
    let rest = rest.trim_start();
    let Some(mut rest) = rest.strip_prefix('{') else {
        let end = rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_');
        let (name, rest) = rest.split_at(end.unwrap_or(rest.len()));
        return spell_out(&format!("{prefix}::{name}"), rest, paths);
    };
    loop {
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix('}') {
            return after;
        }
        let end = rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_');
        let (name, after) = rest.split_at(end.unwrap_or(rest.len()));
        let after = spell_out(&format!("{prefix}::{name}"), after, paths);
        let next = after.find([',', '}']).unwrap_or(after.len());
        rest = after[next..].trim_start_matches(',');
        if rest.is_empty() {
            return rest;
        }
    }
}

/// What one source of a pure crate does that it must not.
fn impure(source: &Source) -> Vec<String> {
    let code = shipped(&source.text);
    let mut said = Vec::new();
    let begins = |path: &str, with: &str| {
        path == with || path.strip_prefix(with).is_some_and(|rest| rest.starts_with("::"))
    };
    for (at, path) in std_paths(&code) {
        if PATHS.iter().any(|forbidden| begins(&path, forbidden)) {
            said.push(format!("{}:{}: {path}", source.path, line_of(&code, at)));
        }
    }
    for word in MACROS {
        if let Some(at) = code.find(word) {
            said.push(format!("{}:{}: {word}", source.path, line_of(&code, at)));
        }
    }
    said
}

/// Packages of a pure crate that act.
fn impure_packages(one: &Crate) -> Vec<String> {
    let found = one.packages("dependencies").into_iter();
    let found = found.filter(|name| PACKAGES.contains(&name.as_str()));
    found.map(|name| format!("{} depends on {name}", one.folder)).collect()
}

fn is_pure(path: &str) -> bool {
    let row = TABLE.iter().find(|row| path.strip_prefix(row.folder).is_some_and(starts_below));
    row.is_some_and(|row| row.pure)
}

fn starts_below(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with('/')
}

#[test]
fn pure_crates_only_decide() {
    let sources = rust().iter().filter(|source| is_pure(&source.path) && !source.is_test());
    let mut said: Vec<String> = sources.flat_map(impure).collect();
    said.extend(crates().iter().filter(|one| is_pure(&one.folder)).flat_map(impure_packages));
    none(said);
}

#[test]
fn crates_that_act_say_so_in_their_first_line() {
    let says = |source: &Source| source.text.contains(SHELL);
    let mut said = Vec::new();
    for row in TABLE {
        let path = format!("{}/src/lib.rs", row.folder);
        let main = format!("{}/src/main.rs", row.folder);
        let roots: Vec<&Source> =
            rust().iter().filter(|source| source.path == path || source.path == main).collect();
        if row.pure && roots.iter().any(|source| says(source)) {
            said.push(format!("{path} is pure and says that it acts"));
        }
        let acts = |source: &&Source| {
            let prefix = format!("{}/src/", row.folder);
            source.path.starts_with(&prefix) && !source.is_test() && !impure(source).is_empty()
        };
        if !row.pure && !roots.iter().any(|source| says(source)) && rust().iter().any(|s| acts(&s))
        {
            said.push(format!("{} acts and does not say so", row.folder));
        }
    }
    none(said);
}

#[test]
fn each_way_to_act_is_noticed() {
    let bad = [
        "use std::fs;",
        "use std::{collections::BTreeMap, fs::File};",
        "use std::time::{Duration, Instant};",
        "fn f() { std::thread::spawn(g); }",
        "use std::net::SocketAddr;",
        "let x = std::env::var(NAME);",
        "fn f() { println!(); }",
        "use std::{io, time::{self, SystemTime}};",
    ];
    for text in bad {
        assert_eq!(impure(&Source::sample("root/log/src/a.rs", text)).len(), 1, "{text}");
    }
    let good = "use std::time::Duration; // std::fs\nconst A: &str = \"std::fs\";\nuse my_std::fs;
        #[cfg(test)]\nmod tests { use std::fs; }";
    assert_eq!(impure(&Source::sample("root/log/src/a.rs", good)), [""; 0]);
}

#[test]
fn a_package_that_acts_is_noticed() {
    let manifest = "[dependencies]\ntokio = \"1\"\nserde = \"1\"\n[dev-dependencies]\nrand = \"1\"";
    let one = Crate { folder: "root/log".to_owned(), manifest: manifest.parse().unwrap() };
    assert_eq!(impure_packages(&one), ["root/log depends on tokio"]);
}
