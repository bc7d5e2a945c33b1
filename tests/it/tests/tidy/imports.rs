//! Who may import whom. A new edge is a design change: add it here, and say why in the commit.

use crate::none;
use crate::tree::{Crate, crates, rust};
use std::collections::BTreeSet;

/// One row of the table.
pub struct Row {
    /// The crate's folder.
    pub folder: &'static str,
    /// Whether it only decides: no clock, disk, socket, task or randomness of its own.
    pub pure: bool,
    /// Folders of the crates it imports.
    imports: &'static [&'static str],
}

const fn pure(folder: &'static str, imports: &'static [&'static str]) -> Row {
    Row { folder, pure: true, imports }
}

const fn io(folder: &'static str, imports: &'static [&'static str]) -> Row {
    Row { folder, pure: false, imports }
}

/// The table, lowest first. A crate imports only what stands above it here.
pub const TABLE: &[Row] = &[
    pure("root/block", &[]),
    pure("root/identity", &["root/block"]),
    pure("root/seal", &["root/block", "root/identity"]),
    pure("root/log", &["root/block", "root/seal", "root/identity"]),
    pure("root/cluster", &["root/block", "root/identity", "root/log"]),
    pure("root/replica", &["root/block", "root/seal", "root/identity", "root/log", "root/cluster"]),
    io("root/store", &["root/block", "root/log"]),
    io("root/raft", &["root/block", "root/identity", "root/log", "root/cluster"]),
    io("root/net", &["root/identity"]),
    io("root/pin", &["root/block"]),
    pure("trunk/schema", &["root/block"]),
    pure("trunk/doc", &["root/block", "root/identity", "root/log", "trunk/schema"]),
    pure("trunk/engine", &["root/block", "root/identity", "root/log", "root/replica", "trunk/doc"]),
    pure("trunk/import", &[]),
    pure("trunk/api", &["trunk/schema"]),
    io(
        "trunk/pod",
        &[
            "root/block",
            "root/seal",
            "root/identity",
            "root/log",
            "root/cluster",
            "root/replica",
            "root/store",
            "root/raft",
            "root/net",
            "trunk/schema",
            "trunk/doc",
            "trunk/engine",
            "trunk/import",
            "trunk/api",
        ],
    ),
    io("trunk/cli", &["root/net", "trunk/schema", "trunk/import", "trunk/api", "trunk/pod"]),
    io(
        "sdk/rust",
        &["root/identity", "root/log", "root/replica", "trunk/schema", "trunk/doc", "trunk/pod"],
    ),
];

/// The package of a folder.
fn package(folder: &str) -> String {
    match folder {
        "sdk/rust" => "rhizome-sdk".to_owned(),
        _ => format!("rhizome-{}", folder.rsplit('/').next().unwrap()),
    }
}

/// What is wrong with the imports of one crate.
fn complaints(one: &Crate, table: &[Row]) -> Vec<String> {
    let folder = &one.folder;
    let Some(at) = table.iter().position(|row| row.folder == *folder) else {
        return vec![format!("{folder} is not in the table of imports")];
    };
    let ours = |names: Vec<String>| names.into_iter().filter(|name| name.starts_with("rhizome-"));
    let found: BTreeSet<String> = ours(one.packages("dependencies")).collect();
    let allowed: BTreeSet<String> = table[at].imports.iter().map(|name| package(name)).collect();
    let above: BTreeSet<String> = table[..at].iter().map(|row| package(row.folder)).collect();
    let mut said = Vec::new();
    for name in found.difference(&allowed) {
        said.push(format!("{folder} imports {name}, which the table does not allow"));
    }
    for name in allowed.difference(&found) {
        said.push(format!("the table lets {folder} import {name}, which it does not"));
    }
    for name in found.union(&allowed).filter(|name| !above.contains(*name)) {
        said.push(format!("{folder} imports {name}, which does not stand above it"));
    }
    for name in ours(one.packages("dev-dependencies")).filter(|name| !above.contains(name)) {
        said.push(format!("tests of {folder} import {name}, which does not stand above it"));
    }
    said
}

/// Dependencies that no source of the crate names.
fn unused(one: &Crate, text: &str, table: &str) -> Vec<String> {
    let named = |name: &String| !text.contains(&name.replace('-', "_"));
    let unused = one.packages(table).into_iter().filter(named);
    unused.map(|name| format!("{} does not use {name} of its [{table}]", one.folder)).collect()
}

fn sample(folder: &str, manifest: &str) -> Crate {
    Crate { folder: folder.to_owned(), manifest: manifest.parse().unwrap() }
}

#[test]
fn imports_are_those_of_the_table() {
    let crates = crates();
    let mut said: Vec<String> = Vec::new();
    for one in crates.iter().filter(|one| !one.folder.starts_with("tests/")) {
        said.extend(complaints(one, TABLE));
    }
    for row in TABLE.iter().filter(|row| !crates.iter().any(|one| one.folder == row.folder)) {
        said.push(format!("{} stands in the table and is not there", row.folder));
    }
    none(said);
}

#[test]
fn a_foreign_a_missing_and_an_upward_import_are_noticed() {
    let table = [pure("root/a", &["root/b"]), pure("root/b", &["root/a"])];
    let lines = |folder, manifest| complaints(&sample(folder, manifest), &table).len();
    assert_eq!(lines("root/b", "[dependencies]\nrhizome-a = \"1\""), 0);
    assert_eq!(lines("root/b", "[dependencies]\nserde = \"1\""), 1, "a promised import is gone");
    assert_eq!(lines("root/a", "[dependencies]\nrhizome-b = \"1\""), 1, "upward");
    assert_eq!(lines("root/b", "[dependencies]\nrhizome-a = \"1\"\nrhizome-c = \"1\""), 2);
    assert_eq!(lines("root/c", ""), 1, "not in the table");
}

#[test]
fn every_dependency_is_used() {
    let mut said = Vec::new();
    for one in crates().iter().filter(|one| !one.folder.starts_with("tests/")) {
        let prefix = format!("{}/", one.folder);
        let own = rust().iter().filter(|source| source.path.starts_with(&prefix));
        let text: String = own.map(|source| source.text.as_str()).collect();
        said.extend(unused(one, &text, "dependencies"));
        said.extend(unused(one, &text, "dev-dependencies"));
    }
    none(said);
}

#[test]
fn an_unused_dependency_is_noticed() {
    let one = sample("root/a", "[dependencies]\nserde-bytes = \"1\"\ncsv = \"1\"");
    assert_eq!(unused(&one, "use serde_bytes::ByteBuf;", "dependencies").len(), 1);
}

#[test]
fn the_browser_is_built_for_with_every_pure_crate() {
    let text = std::fs::read_to_string(crate::tree::top().join("tests/verify/src/web.rs")).unwrap();
    let list = text.split_once("PURE: &[&str] = &[").unwrap().1.split_once("];").unwrap().0;
    let listed: Vec<&str> = list.split('"').skip(1).step_by(2).collect();
    let pure: Vec<String> =
        TABLE.iter().filter(|row| row.pure).map(|row| package(row.folder)).collect();
    assert_eq!(listed, pure);
}
