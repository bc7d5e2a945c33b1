//! Documents, logs, checkpoints, recoveries and imports.

use super::{LOOK, NOW, ana, check, checkpoint, cloud, phone};
use crate::render;
use expect_test::expect;
use rhizome_api::data::{
    Change, ChangeKind, Collection, Document, Explain, HashAnswer, HistoryAnswer, HistoryEntry,
    LsAnswer, QueryAnswer, SettleAnswer, WriteAnswer,
};
use rhizome_api::import::{ApplyAnswer, Item, Loss, PlanAnswer, SampleDocument, UndoAnswer};
use rhizome_api::log::{Damage, Entry, VerifyAnswer as LogVerifyAnswer};
use rhizome_api::recovery::{KitAnswer, RestoreAnswer, TestAnswer as Rehearsal};
use rhizome_api::snapshot::VerifyAnswer as SnapshotVerifyAnswer;
use rhizome_api::snapshot::{Audit, CreateAnswer as Cut, ListAnswer as Snapshots};
use rhizome_api::{Durability, Secret};
use serde_json::json;

#[test]
fn documents_and_writes() {
    let document = Document {
        path: "todos/1".into(),
        fields: json!({"text": "oat milk", "done": false}),
        durability: Durability::Committed,
        updated_ms: Some(NOW - 60_000),
        conflicts: 1,
        ..Document::default()
    };
    let long = Document {
        path: "todos/2".into(),
        fields: json!({"text": "x".repeat(80)}),
        ..Document::default()
    };
    let found = QueryAnswer { documents: vec![document.clone(), long], explain: None };
    check(
        &render::data::query(&found, &LOOK),
        &expect![[r#"
            PATH     STATE       FIELDS
            todos/1  confirmed   {"done":false,"text":"oat milk"}
            todos/2  saved here  {"text":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…
        "#]],
    );
    check(
        &render::data::travelled(&document, &LOOK),
        &expect![
            "confirmed · changed 1 min ago (2026-03-01T14:01:11Z) · 1 other version kept beside it"
        ],
    );
    let get = rhizome_api::data::GetAnswer { document };
    check(
        &render::data::get(&get, &LOOK),
        &expect![[r#"
        {
          "done": false,
          "text": "oat milk"
        }
    "#]],
    );
    let collections = vec![Collection { path: "todos".into(), documents: 1_284 }];
    let ls = LsAnswer { collections, ..LsAnswer::default() };
    check(
        &render::data::ls(&ls, &LOOK),
        &expect![[r#"
        COLLECTION  DOCUMENTS
        todos       1 284
    "#]],
    );
    let written = WriteAnswer { paths: vec!["todos/1".into()], copies: 1, ..Default::default() };
    check(
        &render::data::written(&written, &LOOK),
        &expect![[r#"
        ✔ todos/1: saved here · on 1 other device
    "#]],
    );
    let explain = Explain { index: None, scanned: 1_284, matched: 2, took_us: 310 };
    check(
        &render::data::explain(&explain),
        &expect!["scan of the collection: 1 284 looked at, 2 matched, 310 µs"],
    );
    let settled = SettleAnswer { level: Durability::Committed, events: 84, waited_ms: 1_234 };
    check(
        &render::data::settled(&settled, &LOOK),
        &expect![[r#"
        ✔ 84 changes confirmed, after 1.2 s
    "#]],
    );
}

#[test]
fn changes_history_and_hashes() {
    let change = |kind| Change {
        kind,
        path: "todos/1".into(),
        fields: json!({"done": true}),
        ..Change::default()
    };
    let kinds = [ChangeKind::Added, ChangeKind::Modified, ChangeKind::Removed];
    let text: String = kinds.map(|kind| render::data::change(&change(kind), &LOOK)).concat();
    check(
        &text,
        &expect![[r#"
        + todos/1  {"done":true}  [saved here]
        ~ todos/1  {"done":true}  [saved here]
        - todos/1  {"done":true}  [saved here]
    "#]],
    );
    let entry = HistoryEntry {
        at_ms: NOW - 3_600_000,
        device: "laptop".into(),
        kind: "update".into(),
        fields: json!({"done": true}),
        yielded: true,
        ..HistoryEntry::default()
    };
    let history = HistoryAnswer { path: "todos/1".into(), entries: vec![entry] };
    check(
        &render::data::history(&history, &LOOK),
        &expect![[r#"
        WHEN                            DEVICE  DID     FIELDS         STATE
        1 h ago (2026-03-01T13:02:11Z)  laptop  update  {"done":true}  saved here, partly yielded
    "#]],
    );
    let hash = HashAnswer {
        documents: 2,
        export_hash: "aa".into(),
        state_hash: "bb".into(),
        committed_hash: "cc".into(),
        indexes_ok: true,
    };
    check(
        &render::data::hash(&hash, &LOOK),
        &expect![[r#"
        documents  2
        export     aa
        state      bb
        confirmed  cc
        indexes    as if rebuilt
    "#]],
    );
}

#[test]
fn logs_and_damage() {
    let entry = Entry {
        id: "bafyreiacig7uemcqwslcici".into(),
        at_ms: NOW,
        device: "laptop".into(),
        app: Some("todo".into()),
        seq: 7,
        summary: "set todos/1".into(),
        ..Entry::default()
    };
    check(
        &render::log::entry(&entry, &LOOK),
        &expect![[r#"
            2026-03-01T14:02:11Z  laptop  todo  7  -  set todos/1  saved here  bafyreiacig7
        "#]],
    );
    let mut answer = LogVerifyAnswer {
        segments: 2,
        blocks: 2_600,
        events: 1_290,
        signatures: 88,
        bytes: 1_258_291,
        took_ms: 42,
        damage: Vec::new(),
    };
    check(
        &render::log::verify(&answer, &LOOK),
        &expect![[r#"
        ✔ Whole: 2 segments, 2 600 blocks, 1 290 events, 88 signatures, 1.1 MiB in 42 ms.
    "#]],
    );
    let damage = |repaired| Damage {
        segment: "0001.car".into(),
        offset: 4_096,
        what: "hash differs".into(),
        repaired,
    };
    answer.damage = vec![damage(true), damage(false)];
    check(
        &render::log::verify(&answer, &LOOK),
        &expect![[r#"
        Read 2 segments, 2 600 blocks, 1 290 events, 88 signatures, 1.1 MiB in 42 ms.
        ✔ 0001.car at 4096: hash differs (repaired from a peer)
        ✘ 0001.car at 4096: hash differs (not repaired)
    "#]],
    );
}

#[test]
fn checkpoints() {
    let cut = Cut { snapshot: checkpoint(), waiting_for: vec!["phone".into()], ..Cut::default() };
    check(
        &render::snapshot::created(&cut, &LOOK),
        &expect![[r#"
            ✔ Checkpoint bafyreiacig7: 1 284 documents, 2.2 MiB, 79.1 KiB of them new.
              Kept by cloud.
              Waiting for phone.
        "#]],
    );
    let list = Snapshots { snapshots: vec![checkpoint()] };
    check(
        &render::snapshot::list(&list, &LOOK),
        &expect![[r#"
            CHECKPOINT    WHEN                            DOCUMENTS  SIZE     SEALED  KEPT BY
            bafyreiacig7  1 h ago (2026-03-01T13:02:11Z)  1 284      2.2 MiB  yes     cloud
        "#]],
    );
    let audit = |holder: &str, had| Audit { holder: holder.into(), asked: 8, had };
    let mut verified = SnapshotVerifyAnswer {
        snapshot: checkpoint(),
        root_matches: true,
        blocks: 312,
        holders: vec![audit("cloud", 8), audit("box", 7)],
        ..SnapshotVerifyAnswer::default()
    };
    check(
        &render::snapshot::verified(&verified, &LOOK),
        &expect![[r#"
            ✔ bafyreiacig7: the log gives the same state; 312 blocks whole.
            ✔ cloud had 8 of 8 blocks
            ✘ box had 7 of 8 blocks
        "#]],
    );
    verified.root_matches = false;
    verified.missing = vec!["bafyreia2x5mgcqwslci2apn3d5t6".into()];
    check(
        &render::snapshot::verified(&verified, &LOOK),
        &expect![[r#"
            ✘ bafyreiacig7: the log gives another state than was sealed.
            ✘ bafyreia2x5m is missing or damaged
            ✔ cloud had 8 of 8 blocks
            ✘ box had 7 of 8 blocks
        "#]],
    );
}

#[test]
fn the_recovery_kit_is_a_sheet_to_write_down() {
    let words: Vec<String> = (1..=24).map(|number| format!("word{number}")).collect();
    let kit = KitAnswer {
        identity: "Ana".into(),
        words: Secret(words.join(" ")),
        code: Secret("A".repeat(52)),
        key_id: "K-7F3A".into(),
        peers: vec!["pods.example.org:7733".into()],
        ..KitAnswer::default()
    };
    check(
        &render::recovery::kit(&kit, &LOOK),
        &expect![[r#"
        Recovery kit K-7F3A of Ana

           1. word1          2. word2          3. word3          4. word4
           5. word5          6. word6          7. word7          8. word8
           9. word9         10. word10        11. word11        12. word12
          13. word13        14. word14        15. word15        16. word16
          17. word17        18. word18        19. word19        20. word20
          21. word21        22. word22        23. word23        24. word24

        The same as a code:
          AAAA AAAA AAAA AAAA AAAA AAAA AAAA AAAA AAAA AAAA AAAA AAAA AAAA

        Encrypted copy at: pods.example.org:7733

        Whoever has this sheet can read everything. Write it by hand or print it, and keep it
        away from this computer. It stays valid when devices come and go. To use it:
          rhizome recovery restore --peer ADDRESS
    "#]],
    );
}

#[test]
fn a_rehearsal_says_whether_all_came_back() {
    let mut test = Rehearsal {
        complete: true,
        documents: 1_284,
        documents_here: 1_284,
        from: "cloud".into(),
        took_ms: 2_140,
        newer_here: 2,
    };
    check(
        &render::recovery::tested(&test, &LOOK),
        &expect![[r#"
        ✔ All 1 284 documents came back from cloud in 2.1 s.
          2 changes made here since had not reached cloud.
    "#]],
    );
    test.complete = false;
    test.documents = 1_200;
    check(
        &render::recovery::tested(&test, &LOOK),
        &expect![[r#"
        ✘ 1 200 of 1 284 documents came back from cloud in 2.1 s.
          2 changes made here since had not reached cloud.
    "#]],
    );
}

#[test]
fn what_is_found_and_what_is_back_after_a_loss() {
    let found = render::recovery::found("Ana", &[phone(), cloud()], Some(NOW - 86_400_000), &LOOK);
    check(
        &found,
        &expect![[r#"
            Found Ana, last change 24 h ago (2026-02-28T14:02:11Z), 2 devices
            NAME   WHAT            LAST HEARD
            phone  phone           3 min ago (2026-03-01T13:59:11Z)
            cloud  encrypted copy  now"#]],
    );
    let restored = RestoreAnswer {
        identity: ana(),
        documents: 1_284,
        bytes: 2_400_000,
        retired: vec!["laptop".into()],
        newest_ms: Some(NOW - 86_400_000),
        took_ms: 9_800,
        ..RestoreAnswer::default()
    };
    check(
        &render::recovery::restored(&restored, false, &LOOK),
        &expect![[r#"
        ✔ Ana is back: 1 284 documents, 2.2 MiB, in 9.8 s.
          The newest change is of 2026-02-28T14:02:11Z.
          Removed: laptop.
    "#]],
    );
    check(
        &render::recovery::restored(&restored, true, &LOOK),
        &expect![[r#"
        ✔ Ana can be brought back; nothing was changed.
    "#]],
    );
}

fn item(path: &str, reason: &str) -> Item {
    Item { path: path.into(), reason: reason.into() }
}

#[test]
fn an_import_is_shown_before_it_happens() {
    let plan = PlanAnswer {
        path: "/home/ana/notes".into(),
        collection: "notes".into(),
        new: 411,
        updated: 1,
        unchanged: 0,
        attachments: 12,
        bytes: 2_400_000,
        sample: vec![SampleDocument {
            path: "notes/x1".into(),
            source: "a/b.md".into(),
            fields: json!({"title": "B"}),
        }],
        losses: vec![Loss { what: "comments".into(), count: 3 }],
        failed: vec![item("../etc/passwd", "path leaves the folder")],
        ..PlanAnswer::default()
    };
    check(
        &render::import::plan(&plan, &LOOK),
        &expect![[r#"
        /home/ana/notes → notes: 411 new, 1 changed, 0 already there, 12 attachments, 2.2 MiB
          notes/x1  from a/b.md
            {"title":"B"}
        would be lost: comments, 3 times
        cannot be read: ../etc/passwd: path leaves the folder
    "#]],
    );
}

#[test]
fn imports_tell_what_they_did_and_what_was_taken_back() {
    let report = ApplyAnswer {
        batch: "b1".into(),
        collection: "notes".into(),
        imported: 411,
        updated: 1,
        failed: (0..22).map(|at| item(&format!("n{at}.md"), "not UTF-8")).collect(),
        bytes: 2_400_000,
        took_ms: 2_140,
        ..ApplyAnswer::default()
    };
    let text = render::import::report(&report, &LOOK);
    assert_eq!(text.lines().count(), 22, "20 of 22 are shown");
    let head = text.lines().next().expect("a summary").replace(", ", "\n");
    check(
        &head,
        &expect![[r#"
        ✔ 411 imported
        1 updated
        0 already there
        0 skipped
        22 failed
        0 attachments
        2.2 MiB in 2.1 s"#]],
    );
    let ends: Vec<&str> = text.lines().skip(1).take(1).chain(text.lines().last()).collect();
    check(
        &ends.join("\n"),
        &expect![[r#"
            failed: n0.md: not UTF-8
              … and 2 more; --json lists all"#]],
    );
    let undone = UndoAnswer {
        batch: "b1".into(),
        removed: 410,
        restored: 1,
        kept: vec![item("notes/x1", "changed on phone since")],
    };
    check(
        &render::import::undone(&undone, &LOOK),
        &expect![[r#"
        ✔ Import b1 taken back: 410 documents removed, 1 as before.
        kept: notes/x1: changed on phone since
    "#]],
    );
}
