//! A checkpoint, a laptop that is gone, and everything back from words and ciphertext.

use super::Stage;
use super::figures::{Checkpoint, Recovery, ms};
use super::places::{LOOK_EVERY, Place, agree};
use crate::client::Next;
use crate::format;
use rhizome_api::data::{ExportEvent, ExportRequest, SetRequest};
use rhizome_api::recovery::{RestoreAnswer, RestoreRequest};
use rhizome_api::{
    ApiError, DataExport, DataSet, DeviceKind, Durability, Empty, Problem, RecoveryRestore,
    SnapshotCreate, SnapshotList,
};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::time::{Duration, Instant};

/// How long the cloud peer may need to acknowledge a checkpoint.
const PIN_LIMIT: Duration = Duration::from_secs(30);

/// How long the first write after a recovery may need to be confirmed.
const WRITE_LIMIT_MS: u64 = 20_000;

/// Cuts a checkpoint, wipes the laptop, recovers it, compares.
pub(super) async fn show(stage: &mut Stage<'_>) -> Result<(), ApiError> {
    checkpoint(stage).await?;
    stage.story.chapter("The laptop is gone");
    let before = export(&stage.laptop).await?;
    stage.laptop.kill();
    stage.laptop.wipe()?;
    stage.story.fact("laptop killed, its folder removed, keys and all");
    let since = Instant::now();
    stage.laptop.start().await?;
    stage.story.found("a new laptop, empty", since.elapsed());
    let since = Instant::now();
    let answer = restore(stage).await?;
    let took = since.elapsed();
    let documents = format::counted(answer.documents, "document", "documents");
    stage.story.found(&format!("{documents} back from words and ciphertext"), took);
    let after = export(&stage.laptop).await?;
    same(&before, &after)?;
    stage.story.fact("the export is the same as before, byte for byte");
    stage.story.note(&format!("sha256 {}", after.hash));
    let settled = resume(stage).await?;
    stage.figures.recovery = Recovery {
        documents: answer.documents,
        bytes: answer.bytes,
        took_ms: ms(took),
        settled_ms: ms(settled),
    };
    Ok(())
}

async fn checkpoint(stage: &mut Stage<'_>) -> Result<(), ApiError> {
    stage.story.chapter("A checkpoint");
    let since = Instant::now();
    let cut = stage.laptop.call::<SnapshotCreate>(&Empty {}).await?.snapshot;
    let created = since.elapsed();
    let documents = format::counted(cut.documents, "document", "documents");
    let size = format::bytes(cut.bytes);
    stage.story.found(&format!("{documents} sealed into a tree of {size}"), created);
    while !pinned(&stage.laptop, &cut.id).await? {
        if since.elapsed() > PIN_LIMIT {
            let seconds = PIN_LIMIT.as_secs();
            let message = format!("the cloud does not hold the checkpoint after {seconds} s");
            return Err(ApiError::new(Problem::NOT_CONFIRMED, message).saved());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    stage.story.found("the cloud acknowledged holding all of it", since.elapsed());
    stage.figures.checkpoint = Checkpoint {
        id: cut.id,
        documents: cut.documents,
        bytes: cut.bytes,
        created_ms: ms(created),
        pinned_ms: ms(since.elapsed()),
    };
    Ok(())
}

async fn pinned(laptop: &Place, id: &str) -> Result<bool, ApiError> {
    let known = laptop.call::<SnapshotList>(&Empty {}).await?.snapshots;
    Ok(known.iter().any(|one| one.id == id && !one.pinned_by.is_empty()))
}

/// An export, as far as it matters: how many lines, how long, and what hash.
#[derive(Debug, Eq, PartialEq)]
struct Exported {
    documents: u64,
    bytes: u64,
    hash: String,
}

/// Exports everything. The hash is computed here, from what came; the pod must say the same.
async fn export(place: &Place) -> Result<Exported, ApiError> {
    let mut events = place.stream::<DataExport>(&ExportRequest::default()).await?;
    let mut hash = Sha256::new();
    let mut bytes = 0;
    loop {
        match place.next(&mut events).await? {
            Next::Event(ExportEvent::Document(document)) => {
                let line = document.line() + "\n";
                hash.update(line.as_bytes());
                bytes += line.len() as u64;
            }
            Next::Done(answer) => {
                let hash: String =
                    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
                if hash == answer.hash {
                    return Ok(Exported { documents: answer.documents, bytes, hash });
                }
                let message = format!("the {} says its export has another hash", place.name);
                return Err(ApiError::new(Problem::DAMAGED, message));
            }
        }
    }
}

fn same(before: &Exported, after: &Exported) -> Result<(), ApiError> {
    if before == after {
        return Ok(());
    }
    let shown = |one: &Exported| format!("{} documents, {} bytes", one.documents, one.bytes);
    let message = format!(
        "what came back is not what was there: {} with hash {}, before {} with hash {}",
        shown(after),
        after.hash,
        shown(before),
        before.hash
    );
    Err(ApiError::new(Problem::DAMAGED, message))
}

async fn restore(stage: &Stage<'_>) -> Result<RestoreAnswer, ApiError> {
    let request = RestoreRequest {
        words: stage.kit.words.clone(),
        peer: stage.cloud_invite.clone(),
        name: Some("new laptop".to_owned()),
        kind: Some(DeviceKind::Laptop),
        ..RestoreRequest::default()
    };
    let mut events = stage.laptop.stream::<RecoveryRestore>(&request).await?;
    stage.laptop.done(&mut events).await
}

/// The new laptop writes, its write is confirmed, and the phone has the same.
async fn resume(stage: &mut Stage<'_>) -> Result<Duration, ApiError> {
    let since = Instant::now();
    let request = SetRequest {
        path: "notes/after-the-recovery".to_owned(),
        fields: json!({"title": "Written on the new laptop"}),
        wait: Some(Durability::Committed),
        timeout_ms: Some(WRITE_LIMIT_MS),
        ..SetRequest::default()
    };
    stage.laptop.call::<DataSet>(&request).await?;
    stage.story.found("the new laptop writes, and its write is confirmed", since.elapsed());
    let hash = agree(&stage.laptop, &stage.phone).await?;
    let settled = since.elapsed();
    stage.story.found("new laptop and phone: same order, same hash", settled);
    stage.figures.export_hash = hash.export_hash;
    stage.figures.state_hash = hash.state_hash;
    Ok(settled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_export_that_differs_is_damage() {
        let one = |hash: &str| Exported { documents: 12, bytes: 90, hash: hash.into() };
        assert!(same(&one("aa"), &one("aa")).is_ok());
        let error = same(&one("aa"), &one("bb")).unwrap_err();
        assert_eq!(error.exit, 8);
        assert!(error.message.contains("hash bb") && error.message.contains("hash aa"));
    }
}
