//! Notes come in on the laptop and arrive on the phone while they do.

use super::Stage;
use super::figures::{Import, ms};
use super::places::{LOOK_EVERY, Place};
use super::sample;
use super::source::Chosen;
use crate::format;
use rhizome_api::import::{ApplyAnswer, ApplyRequest, ImportKind};
use rhizome_api::{ApiError, ImportApply, Problem};
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long the phone may need after the import has ended.
const ARRIVE_LIMIT: Duration = Duration::from_secs(60);

/// How many unreadable items are shown.
const FAILED_SHOWN: usize = 3;

/// Imports what was chosen.
pub(super) async fn show(stage: &mut Stage<'_>, chosen: Chosen) -> Result<(), ApiError> {
    let sample = chosen.path.is_none();
    let path = match chosen.path {
        Some(path) => path,
        None => written_sample(&stage.root)?,
    };
    stage.story.chapter(&match sample {
        true => "Twelve sample notes".to_owned(),
        false => format!("Your data: {}", path.display()),
    });
    let request = ApplyRequest {
        kind: chosen.kind,
        path: path.display().to_string(),
        collection: None,
        batch: None,
    };
    let since = Instant::now();
    let expected = RefCell::new(None);
    let (import, (first, all)) = tokio::try_join!(
        import(&stage.laptop, &request, &expected),
        arrive(&stage.phone, &expected, since),
    )?;
    let (answer, documents, took) = import;
    stage.figures.import = Import {
        kind: word(chosen.kind).to_owned(),
        path: request.path,
        collection: answer.collection.clone(),
        documents,
        attachments: answer.attachments,
        failed: answer.failed.len() as u64,
        bytes: answer.bytes,
        took_ms: ms(took),
        first_on_phone_ms: ms(first),
        all_on_phone_ms: ms(all),
    };
    tell(stage, &answer, took, (first, all));
    Ok(())
}

fn written_sample(root: &Path) -> Result<PathBuf, ApiError> {
    sample::write(root).map_err(|source| {
        ApiError::new(Problem::LOCAL_FILE, "the sample notes cannot be written").caused_by(&source)
    })
}

const fn word(kind: ImportKind) -> &'static str {
    match kind {
        ImportKind::Markdown => "markdown",
        ImportKind::Keep => "keep",
        ImportKind::Csv => "csv",
    }
}

/// Which collection should hold how many documents.
type Expected = RefCell<Option<(String, u64)>>;

/// Imports, then says what the phone has to wait for.
async fn import(
    laptop: &Place,
    request: &ApplyRequest,
    expected: &Expected,
) -> Result<(ApplyAnswer, u64, Duration), ApiError> {
    let since = Instant::now();
    let mut events = laptop.stream::<ImportApply>(request).await?;
    let answer = laptop.done(&mut events).await?;
    let took = since.elapsed();
    let documents = held(laptop, &answer.collection).await?;
    if documents == 0 {
        let message = format!("nothing in {} could be imported", request.path);
        return Err(ApiError::new(Problem::IMPORT_SOURCE, message));
    }
    *expected.borrow_mut() = Some((answer.collection.clone(), documents));
    Ok((answer, documents, took))
}

/// How many documents of a collection a device holds.
async fn held(place: &Place, collection: &str) -> Result<u64, ApiError> {
    Ok(place.documents().await?.get(collection).copied().unwrap_or_default())
}

/// Watches documents arrive: when the first did, and when all had.
async fn arrive(
    phone: &Place,
    expected: &Expected,
    since: Instant,
) -> Result<(Duration, Duration), ApiError> {
    let mut first = None;
    let mut deadline = None;
    loop {
        let here = phone.documents().await?;
        if !here.is_empty() && first.is_none() {
            first = Some(since.elapsed());
        }
        if let (Some(first), Some((collection, expected))) = (first, &*expected.borrow()) {
            let here = here.get(collection).copied().unwrap_or_default();
            if here >= *expected {
                return Ok((first, since.elapsed()));
            }
            let deadline = *deadline.get_or_insert_with(|| Instant::now() + ARRIVE_LIMIT);
            if Instant::now() > deadline {
                let seconds = ARRIVE_LIMIT.as_secs();
                let message = format!("{here} of {expected} documents came in {seconds} s");
                return Err(ApiError::new(Problem::NOT_CONFIRMED, message).saved());
            }
        }
        if since.elapsed() > ARRIVE_LIMIT && first.is_none() && expected.borrow().is_some() {
            let message = "no document came to the phone";
            return Err(ApiError::new(Problem::NOT_CONFIRMED, message).saved());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn tell(
    stage: &Stage<'_>,
    answer: &ApplyAnswer,
    took: Duration,
    (first, all): (Duration, Duration),
) {
    let import = &stage.figures.import;
    let documents = format::counted(import.documents, "document", "documents");
    let attachments = match import.attachments {
        0 => String::new(),
        more => format!(", {}", format::counted(more, "attachment", "attachments")),
    };
    let size = format::bytes(import.bytes);
    let story = &stage.story;
    story.found(&format!("{documents}{attachments}, {size} imported on the laptop"), took);
    story.found("the first is on the phone", first);
    story.found(&format!("all {} are on the phone", format::count(import.documents)), all);
    for item in answer.failed.iter().take(FAILED_SHOWN) {
        story.note(&format!("could not be read: {}: {}", item.path, item.reason));
    }
}
