//! The commands that the pages show exist, with the flags they are shown with.
//!
//! Each is given to the binary with `--help` behind it: a word or flag it does not know is an
//! error, and nothing is done.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "test: reads pages, starts the binary, and fails where it cannot"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

/// The binary lies beside the folder of this test.
fn binary() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(2).unwrap().join(format!("rhizome{}", std::env::consts::EXE_SUFFIX))
}

fn pages(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            pages(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "md") {
            found.push(path);
        }
    }
}

/// Arguments of each `rhizome` in the shell code of a page.
fn commands(text: &str) -> Vec<Vec<String>> {
    let mut shell = false;
    let mut found = Vec::new();
    for line in text.lines() {
        let line = line.trim();
        if let Some(language) = line.strip_prefix("```") {
            shell = matches!(language, "sh" | "console" | "shell");
            continue;
        }
        let line = line.strip_prefix("$ ").unwrap_or(line);
        let starts = ["rhizome ", "cargo run -- ", "cargo run --release -- "];
        let rest = starts.iter().find_map(|start| line.strip_prefix(start));
        found.extend(rest.filter(|_| shell).map(arguments));
    }
    found
}

/// Splits like a shell, as far as pages need it; what follows `#`, `|`, `>`, `&` is not ours.
fn arguments(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut quote = None;
    let mut word = String::new();
    for letter in line.chars() {
        match (quote, letter) {
            (Some(open), letter) if letter == open => quote = None,
            (Some(_), letter) => word.push(letter),
            (None, '"' | '\'') => quote = Some(letter),
            (None, '#' | '|' | '>' | '&' | ';') => break,
            (None, ' ') => words.push(std::mem::take(&mut word)),
            (None, letter) => word.push(letter),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

fn understands(arguments: &[String]) -> Result<(), String> {
    let said = Command::new(binary()).args(arguments).arg("--help").output().unwrap();
    let error = String::from_utf8_lossy(&said.stderr);
    let first = error.lines().next().unwrap_or_default();
    if said.status.success() { Ok(()) } else { Err(format!("rhizome {arguments:?}: {first}")) }
}

#[test]
fn every_command_of_the_pages_exists() {
    let mut paths = vec![top().join("README.md")];
    pages(&top().join("docs"), &mut paths);
    let mut said = Vec::new();
    for path in paths {
        let read = std::fs::read_to_string(&path);
        let text = read.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for arguments in commands(&text) {
            let refused = understands(&arguments).err();
            said.extend(refused.map(|why| format!("{}: {why}", path.display())));
        }
    }
    assert!(said.is_empty(), "{}", said.join("\n"));
}

#[test]
fn a_command_or_flag_that_does_not_exist_is_noticed() {
    let text =
        "```console\n$ rhizome sattus\n$ rhizome status --jsno # x\n$ rhizome status --json\n```";
    let refused = commands(text).iter().filter(|arguments| understands(arguments).is_err()).count();
    assert_eq!((commands(text).len(), refused), (3, 2));
    assert_eq!(arguments("data set a 'b c=\"d\"' | cat"), ["data", "set", "a", "b c=\"d\""]);
}
