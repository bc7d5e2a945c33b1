//! Notes become documents with their text untouched, whatever is in them.

use std::ops::ControlFlow;

use expect_test::{Expect, expect};
use proptest::prelude::*;

use crate::fold::fold;
use crate::{Import, ImportedItem, Importer, MemorySource, Options};

/// Imports `source` and returns its first item.
fn import(source: &MemorySource) -> ImportedItem {
    let mut import = Import::open(source, Importer::Markdown, Options::default()).unwrap();
    let plan = import.plan(&|_| None, &mut |_| ControlFlow::Continue(())).unwrap();
    let item = plan.items.iter().find(|item| item.action.writes()).unwrap();
    import.read_item(item).unwrap()
}

#[track_caller]
fn check(source: &MemorySource, expected: &Expect) {
    let item = import(source);
    let fields: Vec<String> =
        item.fields.iter().map(|(name, field)| format!("{name}: {}", field.to_json())).collect();
    let losses = item.losses.iter().map(|loss| format!("! {}", loss.what));
    let lines: Vec<String> = fields.into_iter().chain(losses).collect();
    expected.assert_eq(&fold(&lines.join("\n")));
}

#[test]
fn a_note_becomes_a_document_with_its_text_untouched() {
    let note = "---\ntitle: Tea\ntags: [drinks, '#warm']\ncreated: 2024-02-29T12:30:00Z\n---\n\
                # Ignored\r\n#warm #green\r\n[[Cups|cup]] ![[leaf.png]]\r\n";
    check(
        &MemorySource::new().with("kitchen/tea.md", note).with("img/leaf.png", &b"PNG"[..]),
        &expect![[r##"
            attachments: [{"bytes":3,"content":{"$attachment":"pfqsba3wstj7h4uslhh6"},"m
            » ediaType":"image/png","name":"leaf.png","path":"img/leaf.png","target":"leaf
            » .png"}]
            body: "# Ignored\r\n#warm #green\r\n[[Cups|cup]] ![[leaf.png]]\r\n"
            createdAt: {"$time":1709209800000000}
            frontMatter: "---\ntitle: Tea\ntags: [drinks, '#warm']\ncreated: 2024-02-29T
            » 12:30:00Z\n---\n"
            links: ["Cups"]
            path: "kitchen/tea.md"
            properties: {"created":"2024-02-29T12:30:00Z","tags":["drinks","#warm"],"tit
            » le":"Tea"}
            tags: ["drinks","warm","green"]
            title: "Tea"
        "##]],
    );
}

#[test]
fn references_are_resolved_or_reported() {
    let note = "![](../pics/a%20b.png) ![x](missing.png) ![[Other note]] [doc](d.pdf) \
                [gone](e.pdf) [n](sub/Other%20note.md) ![up](../../../x.png) \
                ![web](https://example.org/x.png)";
    check(
        &MemorySource::new()
            .with("notes/a.md", note)
            .with("pics/a b.png", &b"1"[..])
            .with("notes/d.pdf", &b"2"[..])
            .with("notes/sub/Other note.md", "x"),
        &expect![[r#"
            attachments: [{"bytes":1,"content":{"$attachment":"nodle477gt6odhllqbhp"},"m
            » ediaType":"image/png","name":"a b.png","path":"pics/a b.png","target":"../pi
            » cs/a b.png"},{"bytes":1,"content":{"$attachment":"2rzv4orglylo5yb7lfyy"},"me
            » diaType":"application/pdf","name":"d.pdf","path":"notes/d.pdf","target":"d.p
            » df"}]
            body: "![](../pics/a%20b.png) ![x](missing.png) ![[Other note]] [doc](d.pdf)
            »  [gone](e.pdf) [n](sub/Other%20note.md) ![up](../../../x.png) ![web](https:/
            » /example.org/x.png)"
            links: ["Other note","sub/Other note.md"]
            path: "notes/a.md"
            title: "a"
            ! attachment not found: missing.png
            ! attachment not found: ../../../x.png
        "#]],
    );
}

#[test]
fn broken_front_matter_keeps_the_text_whole_and_says_so() {
    check(
        &MemorySource::new().with("a.md", "---\ntitle: [oops\n---\n# Head\n"),
        &expect![[r#"
            body: "---\ntitle: [oops\n---\n# Head\n"
            path: "a.md"
            title: "Head"
            ! front matter is left in the text: did not find expected ',' or ']' at line
            »  2 column 1, while parsing a flow sequence at line 1 column 8
        "#]],
    );
}

#[test]
fn an_old_encoding_is_read_and_reported() {
    check(
        &MemorySource::new().with("caf\u{e9}.md", &b"caf\xe9"[..]),
        &expect![[r#"
            body: "café"
            path: "café.md"
            title: "café"
            ! not UTF-8: read as windows-1252, some letters may be wrong
        "#]],
    );
}

#[test]
fn a_file_copied_at_another_time_is_the_same_document() {
    let at = |modified_ms| {
        let mut source = MemorySource::new();
        source.insert("a.md", b"text".to_vec(), Some(modified_ms));
        import(&source)
    };
    let (first, second) = (at(1_000), at(2_000));
    assert_ne!(first.fields, second.fields);
    assert_eq!(first.provenance.content_hash, second.provenance.content_hash);
}

#[test]
fn another_picture_under_the_same_name_is_another_document() {
    let with = |picture: &'static [u8]| {
        import(&MemorySource::new().with("a.md", "![](p.png)").with("p.png", picture))
    };
    let (first, second) = (with(b"1"), with(b"2"));
    assert_ne!(first.provenance.content_hash, second.provenance.content_hash);
}

#[test]
fn one_picture_shown_twice_is_one_attachment() {
    let note = "![](p.png) ![[p.png]] ![](copy.png)";
    let source = MemorySource::new().with("a.md", note).with("p.png", "1").with("copy.png", "1");
    assert_eq!(import(&source).attachments.len(), 1);
}

proptest! {
    #[test]
    fn front_matter_and_body_are_the_file(
        text in "(---\n[a-c: \\[\\]\n]{0,30}---\n)?[#\\[\\]!()a-z \r\n中]{0,80}",
    ) {
        let item = import(&MemorySource::new().with("a.md", &*text));
        let part = |name: &str| {
            item.fields.get(name).and_then(|field| field.as_text()).unwrap_or_default()
        };
        prop_assert_eq!(format!("{}{}", part("frontMatter"), part("body")), text);
    }
}
