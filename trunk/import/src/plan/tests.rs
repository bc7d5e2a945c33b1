//! Imports that repeat, stop and go on, and report everything they found.

use std::collections::BTreeMap;

use expect_test::expect;
use proptest::prelude::*;

use super::*;
use crate::{ContentHash, MemorySource, Options, Report, Source};

fn go(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Plans and carries out an import against `pod`, as the real pod does.
fn run(source: &dyn Source, pod: &mut BTreeMap<String, ContentHash>) -> Report {
    let mut import = Import::open(source, Importer::Markdown, Options::default()).unwrap();
    let known = |key: &ItemKey| {
        let content_hash = *pod.get(key.document_id().as_str())?;
        Some(Known { content_hash, batch: "earlier".to_owned() })
    };
    let plan = import.plan(&known, &mut go).unwrap();
    let mut report = Report::begin("batch", &plan);
    for item in plan.items.iter().filter(|item| item.action.writes()) {
        match import.read_item(item) {
            Ok(read) => {
                report.wrote(&item.action, &read);
                pod.insert(read.id.to_string(), read.provenance.content_hash);
            }
            Err(failure) => report.failed(&failure),
        }
    }
    report
}

#[test]
fn a_second_import_changes_nothing_and_a_third_only_what_changed() {
    let mut pod = BTreeMap::new();
    let source = MemorySource::new().with("a.md", "A").with("b.md", "B");
    let first = run(&source, &mut pod);
    assert_eq!((first.imported, first.updated, first.same), (2, 0, 0));
    let before = pod.clone();
    let second = run(&source, &mut pod);
    assert_eq!((second.imported, second.updated, second.same), (0, 0, 2));
    assert_eq!(pod, before);
    let third = run(&source.with("b.md", "changed").with("c.md", "C"), &mut pod);
    assert_eq!((third.imported, third.updated, third.same), (1, 1, 1));
    assert_eq!(pod.len(), 3);
}

#[test]
fn an_import_stopped_between_items_goes_on_where_it_was() {
    let source = MemorySource::new().with("a.md", "A").with("b.md", "B").with("c.md", "C");
    let mut pod = BTreeMap::new();
    run(&MemorySource::new().with("a.md", "A"), &mut pod);
    let rest = run(&source, &mut pod);
    assert_eq!((rest.imported, rest.same), (2, 1));
}

#[test]
fn everything_found_is_in_the_report_with_its_reason() {
    let source = MemorySource::new()
        .with("good.md", "![](gone.png)")
        .with("binary.md", &b"\x00\x01"[..])
        .with("../escape.md", "x")
        .with(".obsidian/app.json", "{}")
        .with(".obsidian/core.json", "{}")
        .with("loose.png", "x")
        .with("more.zip", "PK");
    let report = run(&source, &mut BTreeMap::new());
    assert!(report.is_partial());
    expect![[r#"
        {
          "v": 1,
          "batch": "batch",
          "importer": "markdown",
          "imported": 1,
          "updated": 0,
          "same": 0,
          "attachments": 0,
          "attachment_bytes": 0,
          "skipped": [
            {
              "path": ".obsidian",
              "reason": "hidden or system file"
            },
            {
              "path": "loose.png",
              "reason": "not referred to by any item"
            },
            {
              "path": "more.zip",
              "reason": "archive inside the source: unpack it and import it by itself"
            }
          ],
          "failed": [
            {
              "path": "../escape.md",
              "reason": "refused: name contains `..`"
            },
            {
              "path": "binary.md",
              "reason": "not text: looks like a binary file"
            }
          ],
          "losses": [
            {
              "path": "good.md",
              "what": "attachment not found: gone.png"
            }
          ],
          "left_out": 0,
          "stopped": false
        }
    "#]]
    .assert_eq(&(serde_json::to_string_pretty(&report).unwrap() + "\n"));
}

#[test]
fn a_file_that_changes_after_planning_is_no_surprise() {
    let source = MemorySource::new().with("a.csv", "id,x\n1,2\n3,4\n");
    let mut import = Import::open(&source, Importer::Csv, Options::default()).unwrap();
    let plan = import.plan(&|_| None, &mut go).unwrap();
    let changed = MemorySource::new().with("a.csv", "id,x\n9,9\n");
    let mut import = Import::open(&changed, Importer::Csv, Options::default()).unwrap();
    for item in &plan.items {
        let failure = import.read_item(item).unwrap_err();
        assert!(matches!(failure.source, ItemError::Changed));
    }
}

#[test]
fn planning_stops_when_asked() {
    let source = MemorySource::new().with("a.md", "A").with("b.md", "B");
    let mut import = Import::open(&source, Importer::Markdown, Options::default()).unwrap();
    let stopped = import.plan(&|_| None, &mut |_| ControlFlow::Break(()));
    assert!(matches!(stopped, Err(PlanError::Stopped)));
}

#[test]
fn progress_ends_at_the_whole() {
    let source = MemorySource::new().with("a.md", "AA").with("b.md", "B");
    let mut import = Import::open(&source, Importer::Markdown, Options::default()).unwrap();
    let mut last = Progress::default();
    let mut follow = |progress| {
        last = progress;
        ControlFlow::Continue(())
    };
    import.plan(&|_| None, &mut follow).unwrap();
    assert_eq!(last, Progress { items: 2, bytes_done: 3, bytes: 3 });
    assert_eq!(eta_ms(1_000, 1, 4), Some(3_000));
    assert_eq!(eta_ms(1_000, 0, 4), None);
}

#[test]
fn attachments_can_be_left_behind_or_capped() {
    let source = MemorySource::new().with("a.md", "![](p.png)").with("p.png", "12345");
    let read = |options: Options| {
        let mut import = Import::open(&source, Importer::Markdown, options).unwrap();
        let plan = import.plan(&|_| None, &mut go).unwrap();
        (plan.totals.attachments, plan.totals.skip, plan.losses.len())
    };
    assert_eq!(read(Options::default()), (1, 0, 0));
    assert_eq!(read(Options { attachments: false, ..Options::default() }), (0, 0, 0));
    assert_eq!(read(Options { attachment_bytes_max: 4, ..Options::default() }), (0, 0, 1));
}

proptest! {
    #[test]
    fn any_files_are_imported_or_reported(
        files in proptest::collection::btree_map("[a-c./\\\\]{1,6}(\\.md)?", any::<Vec<u8>>(), 0..6)
    ) {
        let mut source = MemorySource::new();
        for (path, bytes) in files {
            source.insert(&path, bytes, None);
        }
        run(&source, &mut BTreeMap::new());
    }
}
