//! Keep notes become documents without loss, and other files a reason.

use std::ops::ControlFlow;

use expect_test::{Expect, expect};
use proptest::prelude::*;

use crate::fold::fold;
use crate::{Action, Import, Importer, MemorySource, Options, Source};

/// Plans `source`, reads every item that would be written, and lists all of it.
fn outcome(source: &dyn Source) -> String {
    let mut import = Import::open(source, Importer::Keep, Options::default()).unwrap();
    let plan = import.plan(&|_| None, &mut |_| ControlFlow::Continue(())).unwrap();
    let mut lines = String::new();
    for item in &plan.items {
        lines.push_str(&format!("{} ({}): ", item.path, item.key.original_id));
        match &item.action {
            Action::Skip(reason) => lines.push_str(&format!("skip, {reason}\n")),
            Action::Fail(reason) => lines.push_str(&format!("fail, {reason}\n")),
            _ => {
                let read = import.read_item(item).unwrap();
                lines.push('\n');
                for (name, field) in &read.fields {
                    lines.push_str(&format!("  {name}: {}\n", field.to_json()));
                }
                for loss in &read.losses {
                    lines.push_str(&format!("  ! {}\n", loss.what));
                }
            }
        }
    }
    lines
}

#[track_caller]
fn check(source: &MemorySource, expected: &Expect) {
    expected.assert_eq(&fold(&outcome(source)));
}

#[test]
fn a_note_with_everything_loses_nothing() {
    let json = r#"{
        "title": "", "listContent": [{"text": "milk", "textHtml": "<p>", "isChecked": true}],
        "textContentHtml": "<p>", "color": "TEAL", "isPinned": true, "isArchived": false,
        "isTrashed": false, "createdTimestampUsec": 1000000, "userEditedTimestampUsec": "2000000",
        "labels": [{"name": "shop"}], "annotations": [{"url": "https://example.org", "title": "E"}],
        "attachments": [{"filePath": "p.jpeg", "mimetype": "image/jpeg"}, {"filePath": "q.png"}],
        "sharees": [{"email": "ana@example.org", "isOwner": true}], "odd": 1.5
    }"#;
    check(
        &MemorySource::new().with("Keep/n.json", json).with("Keep/p.jpg", "j"),
        &expect![[r#"
            Keep/n.json (1000000):
              archived: false
              attachments: [{"bytes":1,"content":{"$attachment":"dcpuaa2l46qzt4p2tciw"},
            » "mediaType":"image/jpeg","name":"p.jpg","target":"p.jpg"}]
              body: ""
              color: "teal"
              createdAt: {"$time":1000000}
              items: [{"checked":true,"text":"milk"}]
              links: ["https://example.org"]
              modifiedAt: {"$time":2000000}
              pinned: true
              properties: {"annotations":[{"title":"E","url":"https://example.org"}],"at
            » tachments":[{"filePath":"p.jpeg","mimetype":"image/jpeg"},{"filePath":"q.png
            » "}],"odd":1.5,"sharees":[{"email":"ana@example.org","isOwner":true}]}
              tags: ["shop"]
              title: "milk"
              trashed: false
              ! attachment not found: q.png
        "#]],
    );
}

#[test]
fn what_is_no_note_is_left_out_with_a_reason() {
    check(
        &MemorySource::new()
            .with("a.json", r#"{"title": "A" "isPinned": true}"#)
            .with("b.json", "[1, 2]")
            .with("c.json", r#"{"createdTimestampUsec": 1}"#)
            .with("d.json", &b"\x00\x01\x02"[..])
            .with("e.json", "[".repeat(100_000))
            .with("f.html", "<p>")
            .with("b.html", "<p>")
            .with("Labels.txt", "shop")
            .with("../up.json", "{}")
            .with("inner.zip", "PK"),
        &expect![[r#"
            ../up.json (../up.json): fail, refused: name contains `..`
            Labels.txt (Labels.txt): skip, not referred to by any item
            a.json (a.json): fail, not valid JSON: expected `,` or `}` at line 1 column 
            » 15
            b.html (b.html): skip, the same note as HTML
            b.json (b.json): skip, not a Keep note
            c.json (c.json): skip, not a Keep note
            d.json (d.json): fail, not text: looks like a binary file
            e.json (e.json): fail, not valid JSON: recursion limit exceeded at line 1 co
            » lumn 128
            f.html (f.html): skip, not referred to by any item
            inner.zip (inner.zip): skip, archive inside the source: unpack it and import
            »  it by itself
        "#]],
    );
}

#[test]
fn fields_of_unexpected_kinds_are_kept_as_properties() {
    let nested = "[".repeat(60) + &"]".repeat(60);
    let json = format!(
        r#"{{"createdTimestampUsec": 7, "isPinned": "yes", "textContent": 5, "title": null,
            "labels": [{{"n": 1}}], "listContent": [1], "deep": {nested}}}"#
    );
    check(
        &MemorySource::new().with("n.json", json),
        &expect![[r#"
            n.json (7):
              body: ""
              createdAt: {"$time":7}
              properties: {"deep":"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[
            » [[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]","isPinn
            » ed":"yes","labels":[{"n":1}],"listContent":[1],"textContent":5,"title":null}
              title: "n"
              ! deep nests too deeply and is kept as text
              ! isPinned is not what it should be and is kept as a property
              ! labels is not what it should be and is kept as a property
              ! listContent is not what it should be and is kept as a property
              ! textContent is not what it should be and is kept as a property
              ! title is not what it should be and is kept as a property
        "#]],
    );
}

#[test]
fn a_renamed_note_stays_the_same_document_and_twins_stay_apart() {
    let json = r#"{"createdTimestampUsec": 7, "textContent": "x"}"#;
    let ids = |source: &MemorySource| {
        let mut import = Import::open(source, Importer::Keep, Options::default()).unwrap();
        let plan = import.plan(&|_| None, &mut |_| ControlFlow::Continue(())).unwrap();
        let read = |item| import.read_item(item).unwrap().id.to_string();
        plan.items.iter().map(read).collect::<Vec<String>>()
    };
    let one = ids(&MemorySource::new().with("a.json", json));
    assert_eq!(one, ids(&MemorySource::new().with("b.json", json)));
    let two = ids(&MemorySource::new().with("a.json", json).with("b.json", json));
    assert_eq!(two.len(), 2);
    assert_eq!(two[0], one[0]);
    assert_ne!(two[0], two[1]);
}

proptest! {
    #[test]
    fn any_bytes_are_a_note_or_a_reason(bytes: Vec<u8>) {
        outcome(&MemorySource::new().with("a.json", bytes));
    }

    #[test]
    fn any_value_in_any_field_is_taken(
        name in "title|textContent|listContent|labels|annotations|attachments|color|isPinned|x",
        value in proptest::sample::select(vec![
            "null", "true", "-1", "1e400", "18446744073709551615", r#""t""#, "[]", "[1]", "{}",
            r#"[{"text":1}]"#, r#"[{"name":"a"},2]"#,
        ]),
    ) {
        let json = format!(r#"{{"createdTimestampUsec":1,"isTrashed":false,"{name}":{value}}}"#);
        outcome(&MemorySource::new().with("a.json", json));
    }
}
