//! The documentation: words, links, indexes, and what it says a host can see.

use crate::none;
use crate::tree::{Source, names, pages, top};
use expect_test::expect;

/// Words of which each has one meaning here.
const WORDS: &[&str] = &[
    "Acknowledgement",
    "Admission",
    "Author",
    "Base",
    "Batch",
    "Block",
    "Certificate",
    "Checkpoint",
    "Cid",
    "Cloud peer",
    "Cluster",
    "Collection",
    "Control log",
    "Delivery",
    "Device",
    "Document",
    "Effect",
    "Entry",
    "Epoch",
    "Event",
    "Generation",
    "Genesis",
    "Heads",
    "Identity",
    "Incarnation",
    "Index",
    "Input",
    "Kit",
    "Listener",
    "Log",
    "Manifest",
    "Order",
    "Peer",
    "Pin",
    "Pod",
    "Query",
    "Replica",
    "Run",
    "Schema",
    "Segment",
    "Session",
    "Snapshot",
    "View",
    "Voter",
];

fn page(path: &str) -> String {
    std::fs::read_to_string(top().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Targets of relative links, without what stands in fenced code.
fn links(text: &str) -> Vec<String> {
    let mut fenced = false;
    let mut found = Vec::new();
    for line in text.lines() {
        fenced ^= line.trim_start().starts_with("```");
        // What stands between backticks is code as well.
        let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join(" ");
        for part in prose.split("](").skip(1).filter(|_| !fenced) {
            let target = part.split([')', '#']).next().unwrap_or_default();
            if !target.is_empty() && !target.contains("://") {
                found.push(target.to_owned());
            }
        }
    }
    found
}

/// Lines on which fenced code begins that does not say its language.
fn bare_fences(page: &Source) -> Vec<String> {
    let fences = page.text.lines().enumerate().filter(|(_, line)| line.trim().starts_with("```"));
    let opening = fences.step_by(2).filter(|(_, line)| line.trim() == "```");
    opening.map(|(n, _)| format!("{}:{}: code without a language", page.path, n + 1)).collect()
}

/// Pages of a folder that its index does not link to.
fn unlisted(folder: &str, index: &str) -> Vec<String> {
    let linked = links(index);
    let pages = names(&top().join(folder));
    let missing = pages.into_iter().filter(|name| name != "README.md" && !linked.contains(name));
    missing.map(|name| format!("{folder}/README.md does not list {name}")).collect()
}

#[test]
fn the_glossary_has_every_word() {
    let text = page("docs/glossary.md");
    let defined = |word: &&&str| !text.contains(&format!("**{word}**"));
    none(WORDS.iter().filter(defined).map(|word| format!("{word} is not explained")).collect());
}

#[test]
fn every_link_leads_somewhere() {
    let mut said = Vec::new();
    for page in pages() {
        let folder = top().join(&page.path);
        let folder = folder.parent().unwrap();
        let broken = links(&page.text).into_iter().filter(|link| !folder.join(link).exists());
        said.extend(broken.map(|link| format!("{} links to {link}", page.path)));
    }
    none(said);
}

#[test]
fn every_page_is_listed_in_its_index() {
    let indexes = ["docs/format", "docs/decision"];
    let of = |folder: &&str| unlisted(folder, &page(&format!("{folder}/README.md")));
    none(indexes.iter().flat_map(of).collect());
}

#[test]
fn all_code_in_pages_says_its_language() {
    none(pages().iter().flat_map(bare_fences).collect());
}

#[test]
fn a_broken_link_and_bare_code_are_noticed() {
    let text =
        "[a](b.md#c) `[k](l)` ![d](e.png)\n```text\n[f](g)\n```\n[h](https://i)\n```\nj\n```";
    assert_eq!(links(text), ["b.md", "e.png"]);
    assert_eq!(bare_fences(&Source::sample("a.md", text)), ["a.md:6: code without a language"]);
    assert!(unlisted("docs/format", "[event](event.md)").len() > 10);
}

/// What a host can see is a promise: changing it must be seen here.
#[test]
fn what_the_host_sees_is_written_down() {
    let text = page("docs/architecture.md");
    let table = text.split_once("## What the host sees\n").expect("the section").1;
    let rows: Vec<&str> = table
        .lines()
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .collect();
    expect![[r#"
        | the host sees | the host does not see |
        | --- | --- |
        | the identity's id (a pseudonym) | whose it is; that person's other identities, by key |
        | ids, kinds and number of devices | names of devices |
        | kinds of control records | names of apps and their ids |
        | log tag, sequence, time, size step of each event | contents, document ids, schemas |
        | epochs | secrets, which events depend on which |
        | addresses and times online | contacts |
        | voters | |
        | number and sizes of blocks | contents of blocks, which documents they hold |"#]]
    .assert_eq(&rows.join("\n"));
}
