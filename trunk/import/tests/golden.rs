//! Real files of other platforms, and everything that becomes of them, side by side.
#![expect(clippy::disallowed_methods, reason = "the fixtures of a test are on disk")]
#![expect(clippy::unwrap_used, reason = "the whole file is a test")]

use std::collections::BTreeMap;
use std::io::{Cursor, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use rhizome_import::{
    Action, AttachmentId, ContentHash, Field, Import, Importer, ItemKey, Known, Listed,
    MemorySource, Options, Plan, Provenance, Source, ZipSource, content_hash,
};
use serde_json::{Value, json};
use zip::write::{SimpleFileOptions, ZipWriter};

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Reads a folder into memory, as the pod's own source does from a disk.
fn folder(root: &Path) -> MemorySource {
    let mut source = MemorySource::new();
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
            source.insert(&name, std::fs::read(&path).unwrap(), None);
        }
    }
    source
}

fn plan(import: &mut Import<'_>, known: &dyn Fn(&ItemKey) -> Option<Known>) -> Plan {
    import.plan(known, &mut |_| ControlFlow::Continue(())).unwrap()
}

/// Everything that an import of `source` does, as JSON.
fn outcome(source: &MemorySource, importer: Importer) -> Value {
    let mut import = Import::open(source, importer, Options::default()).unwrap();
    let plan = plan(&mut import, &|_| None);
    let mut stored = BTreeMap::new();
    let mut items = Vec::new();
    for item in &plan.items {
        let mut shown = json!({ "path": item.path, "originalId": item.key.original_id });
        match &item.action {
            Action::New => {
                let read = import.read_item(item).unwrap();
                stored.insert(item.key.clone(), read.provenance.content_hash);
                shown["document"] = json!(format!("{}/{}", read.collection, read.id));
                shown["contentHash"] = json!(read.provenance.content_hash);
                shown["originalTimeMs"] = json!(read.provenance.original_time_ms);
                shown["fields"] = Field::Map(read.fields).to_json();
                shown["attachments"] = json!(read.attachments);
                shown["losses"] =
                    read.losses.iter().map(|loss| json!(loss.what)).collect::<Value>();
            }
            other => shown["action"] = json!(other),
        }
        items.push(shown);
    }
    let known = |key: &ItemKey| {
        let content_hash = *stored.get(key)?;
        Some(Known { content_hash, batch: "first".to_owned() })
    };
    let mut again = Import::open(source, importer, Options::default()).unwrap();
    let second = self::plan(&mut again, &known);
    assert_eq!(second.totals.same, plan.totals.new, "a second import changes nothing");
    assert_eq!(second.totals.new + second.totals.update, 0, "a second import changes nothing");
    json!({ "totals": plan.totals, "losses": plan.losses, "items": items })
}

#[track_caller]
fn check(name: &str, importer: Importer) {
    let root = here("tests/spec/import").join(name);
    let json = outcome(&folder(&root.join("input")), importer);
    let text = serde_json::to_string_pretty(&json).unwrap() + "\n";
    expect_test::expect_file![root.join("expected.json")].assert_eq(&text);
}

#[test]
fn keep_notes_become_documents_and_broken_ones_are_reported() {
    check("keep", Importer::Keep);
}

#[test]
fn markdown_notes_become_documents() {
    check("markdown", Importer::Markdown);
}

#[test]
fn notes_from_bear_become_documents() {
    check("bear", Importer::Markdown);
}

#[test]
fn tables_become_documents() {
    check("csv", Importer::Csv);
}

#[test]
fn our_own_sample_notes_import_without_any_loss() {
    let source = folder(&here("../../examples/notes-sample"));
    let mut import = Import::open(&source, Importer::Markdown, Options::default()).unwrap();
    let plan = plan(&mut import, &|_| None);
    assert_eq!(plan.losses, []);
    assert!(plan.items.iter().all(|item| item.action == Action::New), "{:?}", plan.items);
    assert_eq!((plan.totals.new, plan.totals.attachments), (12, 1));
    for item in &plan.items {
        let read = import.read_item(item).unwrap();
        let title = |name: &str| read.fields.get(name).and_then(Field::as_text).map(str::to_owned);
        assert!(title("title").is_some() && read.fields.contains_key("tags"), "{}", item.path);
    }
}

/// Packs `source` into a zip archive and opens that.
fn zipped(source: &MemorySource) -> ZipSource<Cursor<Vec<u8>>> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default();
    let mut pack = |listed: Listed| {
        writer.start_file(listed.path(), options).unwrap();
        writer.write_all(&source.read(listed.path(), u64::MAX).unwrap()).unwrap();
    };
    source.entries(&mut pack).unwrap();
    ZipSource::open(writer.finish().unwrap()).unwrap()
}

#[test]
fn a_zip_and_a_folder_of_the_same_files_become_the_same_documents() {
    for (name, importer) in [
        ("tests/spec/import/keep/input", Importer::Keep),
        ("tests/spec/import/csv/input", Importer::Csv),
        ("../../examples/notes-sample", Importer::Markdown),
    ] {
        let source = folder(&here(name));
        let documents = |source: &dyn Source| {
            let mut import = Import::open(source, importer, Options::default()).unwrap();
            let plan = plan(&mut import, &|_| None);
            let new = plan.items.iter().filter(|item| item.action.writes());
            let read = |item| {
                let read = import.read_item(item).unwrap();
                (read.id, read.provenance.content_hash)
            };
            new.map(read).collect::<BTreeMap<_, _>>()
        };
        let from_folder = documents(&source);
        assert!(!from_folder.is_empty(), "{name}");
        assert_eq!(documents(&zipped(&source)), from_folder, "{name}");
    }
}

/// Version 1 of everything that later releases must compute alike; `docs/format/import.md`.
#[test]
fn ids_hashes_and_provenance_are_those_of_version_1() {
    let key = ItemKey {
        importer: Importer::Markdown,
        scope: "vault".to_owned(),
        original_id: "a/b.md".to_owned(),
    };
    let attachment = AttachmentId::of(&[7; 32]);
    let values = [
        ("null", Field::Null),
        ("bool", Field::Bool(true)),
        ("int", Field::Int(-1)),
        ("double", Field::Double(0.5)),
        ("time", Field::TimestampMicros(1)),
        ("text", Field::text("é")),
        ("list", Field::List(vec![Field::Int(1), Field::text("2")])),
        ("map", Field::Map(BTreeMap::from([("x".to_owned(), Field::Null)]))),
        ("attachment", Field::Attachment(attachment.clone())),
    ];
    let fields = values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let provenance = Provenance {
        importer: Importer::Markdown,
        scope: "vault".to_owned(),
        original_id: "a/b.md".to_owned(),
        original_time_ms: Some(1_700_000_000_000),
        content_hash: ContentHash([1; 32]),
    };
    let json = json!({
        "documentId": key.document_id(),
        "attachmentId": attachment,
        "contentHash": content_hash("notes", &fields),
        "provenance": provenance.to_field("batch-1").to_json(),
    });
    let text = serde_json::to_string_pretty(&json).unwrap() + "\n";
    expect_test::expect_file![here("fixtures/v1.json")].assert_eq(&text);
}
