//! What lies where, and what each file and crate must have.

use crate::none;
use crate::tree::{Crate, Source, crates, names, rust, top};

/// What the top folder may hold besides hidden entries.
const TOP: &[&str] = &[
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "docs",
    "examples",
    "root",
    "sdk",
    "target",
    "tests",
    "trunk",
];

/// Fewest characters of a sentence that says what a crate is for.
const PURPOSE_CHARACTERS_MIN: usize = 12;

fn unopened(source: &Source) -> Vec<String> {
    let first = source.text.lines().next().unwrap_or_default();
    let purpose = first.strip_prefix("//! ").unwrap_or_default();
    let bare = purpose.is_empty() || purpose == "placeholder";
    bare.then(|| format!("{} does not open with its purpose", source.path)).into_iter().collect()
}

/// What a crate lacks; `sources` are its own.
fn lacking(one: &Crate, sources: &[&Source]) -> Vec<String> {
    let folder = &one.folder;
    let package = one.manifest.get("package").and_then(toml::Value::as_table);
    let text = |key: &str| package.and_then(|table| table.get(key)).and_then(toml::Value::as_str);
    let name = match folder.as_str() {
        "sdk/rust" => "rhizome-sdk".to_owned(),
        _ => format!("rhizome-{}", folder.rsplit('/').next().unwrap()),
    };
    let mut said = Vec::new();
    if text("name") != Some(&name) {
        said.push(format!("{folder} is not called {name}"));
    }
    let purpose = text("description").unwrap_or_default();
    if purpose.len() < PURPOSE_CHARACTERS_MIN || !purpose.ends_with('.') {
        said.push(format!("{folder} has no purpose statement"));
    }
    let lints = one.manifest.get("lints").and_then(|lints| lints.get("workspace"));
    if lints.and_then(toml::Value::as_bool) != Some(true) {
        said.push(format!("{folder} does not take the lints of the workspace"));
    }
    let tests = ["#[test]", "#[tokio::test", "proptest! {"];
    if !sources.iter().any(|source| tests.iter().any(|test| source.text.contains(test))) {
        said.push(format!("{folder} has no test"));
    }
    said
}

#[test]
fn the_top_folder_holds_nothing_else() {
    let allowed = |name: &String| name.starts_with('.') || TOP.contains(&name.as_str());
    none(names(&top()).into_iter().filter(|name| !allowed(name)).collect());
}

#[test]
fn every_file_opens_with_its_purpose() {
    none(rust().iter().flat_map(unopened).collect());
}

#[test]
fn every_crate_has_a_name_a_purpose_lints_and_a_test() {
    let mut said = Vec::new();
    for one in crates() {
        let prefix = format!("{}/", one.folder);
        let own: Vec<&Source> =
            rust().iter().filter(|source| source.path.starts_with(&prefix)).collect();
        said.extend(lacking(&one, &own));
    }
    none(said);
}

#[test]
fn a_file_without_purpose_and_a_crate_without_anything_are_noticed() {
    assert_eq!(unopened(&Source::sample("a.rs", "use std::fs;")).len(), 1);
    assert_eq!(unopened(&Source::sample("a.rs", "//! placeholder")).len(), 1);
    let good = Source::sample("a.rs", "//! Tells apples from pears.\n#[test]\nfn f() {}");
    assert_eq!(unopened(&good), [""; 0]);
    let manifest = "[package]\nname = \"rhizome-a\"\ndescription = \"Tells apples from pears.\"
        [lints]\nworkspace = true";
    let whole = Crate { folder: "root/a".to_owned(), manifest: manifest.parse().unwrap() };
    assert_eq!(lacking(&whole, &[&good]), [""; 0]);
    let bare = Crate { folder: "root/a".to_owned(), manifest: toml::Table::new() };
    assert_eq!(lacking(&bare, &[]).len(), 4);
}
