//! Imports through the socket.

use crate::client::TestPod;
use rhizome_api::data::GetRequest;
use rhizome_api::import::{
    ApplyAnswer, ApplyEvent, ApplyRequest, ImportKind, PlanRequest, UndoAnswer, UndoRequest,
};
use rhizome_api::{
    DataGet, DataHash, Empty, ImportApply, ImportList, ImportPlan, ImportUndo, Status,
};
use serde_json::json;
use std::path::Path;

fn request(path: &Path) -> ApplyRequest {
    ApplyRequest {
        kind: ImportKind::Markdown,
        path: path.display().to_string(),
        ..ApplyRequest::default()
    }
}

async fn apply(pod: &TestPod, path: &Path) -> (Vec<ApplyEvent>, ApplyAnswer) {
    pod.stream::<ImportApply>(&request(path)).await.all().await.unwrap()
}

async fn undo(pod: &TestPod, batch: &str) -> UndoAnswer {
    pod.call::<ImportUndo>(&UndoRequest { batch: batch.into() }).await.unwrap()
}

/// Notes, one with an attachment of several blocks, one too long for an event.
fn vault() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..250 {
        std::fs::write(dir.path().join(format!("{n}.md")), format!("# Note {n}\n")).unwrap();
    }
    let noise: Vec<u8> =
        (0..3_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    std::fs::write(dir.path().join("photo.png"), noise).unwrap();
    std::fs::write(dir.path().join("with.md"), "# With\n\n![](photo.png)\n").unwrap();
    std::fs::write(dir.path().join("long.md"), "word ".repeat(80_000)).unwrap();
    dir
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_is_planned_applied_and_repeated_without_effect() {
    let pod = TestPod::new().await;
    let vault = vault();
    let plan = PlanRequest {
        kind: ImportKind::Markdown,
        path: vault.path().display().to_string(),
        collection: None,
    };
    let planned = pod.call::<ImportPlan>(&plan).await.unwrap();
    assert_eq!((planned.new, planned.attachments, planned.collection.as_str()), (252, 1, "notes"));
    assert!(!planned.sample.is_empty());

    let (events, done) = apply(&pod, vault.path()).await;
    assert!(matches!(&events[0], ApplyEvent::Started { batch } if *batch == done.batch));
    let last = events.last().unwrap();
    assert!(matches!(last, ApplyEvent::Progress { done: 252, total: 252, .. }), "{last:?}");
    assert!(events.len() > 3, "an import of several events tells its progress");
    assert_eq!((done.imported, done.attachments, done.failed.len()), (252, 1, 0));

    let status = pod.call::<Status>(&Empty {}).await.unwrap();
    // The photo, and the text that was too long.
    assert_eq!(status.storage.attachments, 2);
    let before = pod.call::<DataHash>(&Empty {}).await.unwrap();
    let (_, again) = apply(&pod, vault.path()).await;
    assert_eq!((again.imported, again.updated, again.unchanged), (0, 0, 252));
    assert_eq!(pod.call::<DataHash>(&Empty {}).await.unwrap(), before);
    let batches = pod.call::<ImportList>(&Empty {}).await.unwrap().batches;
    assert_eq!(batches.len(), 1);
    assert!(batches[0].finished && batches[0].imported == 252);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_is_undone_except_for_what_somebody_changed() {
    let pod = TestPod::new().await;
    let dir = tempfile::tempdir().unwrap();
    for name in ["a", "b"] {
        std::fs::write(dir.path().join(format!("{name}.md")), format!("# {name}\n")).unwrap();
    }
    let (_, first) = apply(&pod, dir.path()).await;
    std::fs::write(dir.path().join("a.md"), "# a\n\nmore\n").unwrap();
    std::fs::write(dir.path().join("c.md"), "# c\n").unwrap();
    let (_, second) = apply(&pod, dir.path()).await;
    assert_eq!((second.imported, second.updated, second.unchanged), (1, 1, 1));
    let taken = undo(&pod, &second.batch).await;
    assert_eq!((taken.removed, taken.restored, taken.kept.len()), (1, 1, 0));
    let kept = {
        let request =
            rhizome_api::data::LsRequest { collection: Some("notes".into()), ..Default::default() };
        pod.call::<rhizome_api::DataLs>(&request).await.unwrap().documents
    };
    assert_eq!(kept.len(), 2);
    assert!(kept.iter().all(|note| !note.fields.to_string().contains("more")));
    pod.set(&kept[0].path, json!({"mine": true})).await;
    let taken = undo(&pod, &first.batch).await;
    assert_eq!((taken.removed, taken.kept.len()), (1, 1));
    assert_eq!(taken.kept[0].path, kept[0].path);
    let mine = GetRequest { path: kept[0].path.clone(), ..GetRequest::default() };
    assert_eq!(pod.call::<DataGet>(&mine).await.unwrap().document.fields, json!({"mine": true}));
    let again = pod.call::<ImportUndo>(&UndoRequest { batch: "none".into() }).await;
    assert_eq!(again.unwrap_err().id, "RZ-0110");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_whose_caller_goes_away_stops_and_goes_on_later() {
    let pod = TestPod::new().await;
    let vault = tempfile::tempdir().unwrap();
    for n in 0..3_000 {
        let text = format!("# Note {n}\n\n{}\n", "word ".repeat(400));
        std::fs::write(vault.path().join(format!("{n}.md")), text).unwrap();
    }
    let mut stream = pod.stream::<ImportApply>(&request(vault.path())).await;
    let ApplyEvent::Started { batch } = stream.event().await else { panic!("it starts") };
    let ApplyEvent::Progress { done, .. } = stream.event().await else { panic!("it goes on") };
    assert!(done < 3_000);
    drop(stream);
    // It goes on in the same batch, and nothing is there twice.
    let (events, rest) = apply(&pod, vault.path()).await;
    assert!(matches!(&events[0], ApplyEvent::Started { batch: same } if *same == batch));
    assert_eq!(rest.imported + rest.unchanged, 3_000);
    assert!(rest.unchanged >= done);
    let batches = pod.call::<ImportList>(&Empty {}).await.unwrap().batches;
    assert_eq!((batches.len(), batches[0].imported), (1, 3_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_not_there_is_refused() {
    let pod = TestPod::new().await;
    let plan = PlanRequest { path: "/nowhere/at/all".into(), ..PlanRequest::default() };
    assert_eq!(pod.call::<ImportPlan>(&plan).await.unwrap_err().id, "RZ-0401");
    let relative = PlanRequest { path: "notes".into(), ..PlanRequest::default() };
    assert_eq!(pod.call::<ImportPlan>(&relative).await.unwrap_err().id, "RZ-0002");
}
