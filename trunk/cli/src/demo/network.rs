//! The network is cut below QUIC, both sides write, the cut is mended, and nothing is lost.
//!
//! Laptop and phone each change a field of their own and one that both change: the first two must
//! both be there afterwards, and of the third one value must be seen and the other kept.

use super::Stage;
use super::figures::{Cut, ms};
use super::places::{Place, agree};
use crate::format;
use rhizome_api::data::{Document, GetRequest, HistoryRequest, LsRequest, UpdateRequest};
use rhizome_api::{ApiError, DataGet, DataHistory, DataLs, DataUpdate, Problem, ReadLevel};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// How many documents are looked through for one with a text to edit.
const LOOKED_AT: u64 = 100;

/// Cuts, writes on both sides, mends, compares.
pub(super) async fn show(stage: &mut Stage<'_>) -> Result<(), ApiError> {
    stage.story.chapter("No network");
    let (document, field) = chosen(stage).await?;
    let old = document.fields.get(&field).and_then(Value::as_str).unwrap_or("note").to_owned();
    let texts = [format!("{old} (laptop)"), format!("{old} (phone)")];
    for place in [&stage.laptop, &stage.phone, &stage.cloud] {
        place.cable().cut();
    }
    let dropped_before = dropped(stage);
    stage.story.fact("all cables cut: not one packet passes");
    stage.story.note(&format!("both now edit the same note: {old}"));
    let path = &document.path;
    let ours = json!({ "rating": 5, &field: texts[0] });
    let theirs = json!({ "place": "on the train", &field: texts[1] });
    let on_laptop = edit(&stage.laptop, path, ours).await?;
    stage.story.found(&format!("laptop writes rating and {field}, durable there"), on_laptop);
    let on_phone = edit(&stage.phone, path, theirs).await?;
    stage.story.found(&format!("phone writes place and {field} of the same note"), on_phone);
    apart(stage, path).await?;
    for place in [&stage.laptop, &stage.phone, &stage.cloud] {
        place.cable().mend();
    }
    let since = Instant::now();
    let hash = agree(&stage.laptop, &stage.phone).await?;
    let merged = since.elapsed();
    let same = "cables mended; same order and same hash on laptop and phone";
    stage.story.found(same, merged);
    stage.story.note(&format!("state {}", hash.state_hash));
    let seen = merged_document(stage, path).await?;
    check(&seen, &field, &texts)?;
    stage.figures.cut = Cut {
        laptop_write_ms: ms(on_laptop),
        phone_write_ms: ms(on_phone),
        dropped_packets: dropped(stage) - dropped_before,
        merged_ms: ms(merged),
        conflicts: seen.conflicts,
    };
    tell(stage, &seen, &field, &texts).await
}

fn dropped(stage: &Stage<'_>) -> u64 {
    let places = [&stage.laptop, &stage.phone, &stage.cloud];
    places.into_iter().map(|place| place.carried().dropped_packets).sum()
}

/// A document that was imported, and a field of it that holds text: its title, if it has one.
async fn chosen(stage: &Stage<'_>) -> Result<(Document, String), ApiError> {
    let request = LsRequest {
        collection: Some(stage.figures.import.collection.clone()),
        limit: Some(LOOKED_AT),
        ..LsRequest::default()
    };
    let documents = stage.laptop.call::<DataLs>(&request).await?.documents;
    let titled = documents.iter().find(|document| {
        document.fields.get("title").and_then(Value::as_str).is_some_and(|text| !text.is_empty())
    });
    if let Some(document) = titled {
        return Ok((document.clone(), "title".to_owned()));
    }
    let document = documents.into_iter().next().ok_or_else(|| {
        ApiError::new(Problem::NOT_FOUND, "nothing was imported that could be edited")
    })?;
    let field = text_field(&document.fields).unwrap_or_else(|| "remark".to_owned());
    Ok((document, field))
}

/// The first field with a plain name that holds text.
fn text_field(fields: &Value) -> Option<String> {
    let plain = |name: &str| {
        let mut letters = name.chars();
        letters.next().is_some_and(|first| first.is_ascii_alphabetic())
            && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
    };
    let texts = fields.as_object()?.iter().filter(|(_, value)| value.is_string());
    texts.map(|(name, _)| name).find(|name| plain(name)).cloned()
}

/// Changes fields and waits for this device's disk alone.
async fn edit(place: &Place, path: &str, fields: Value) -> Result<Duration, ApiError> {
    let Value::Object(fields) = fields else { unreachable!("fields are written as an object") };
    let request = UpdateRequest {
        path: path.to_owned(),
        fields: fields.into_iter().collect(),
        ..UpdateRequest::default()
    };
    let since = Instant::now();
    place.call::<DataUpdate>(&request).await?;
    Ok(since.elapsed())
}

async fn get(place: &Place, path: &str) -> Result<Document, ApiError> {
    let request = GetRequest { path: path.to_owned(), level: ReadLevel::Local, app: None };
    Ok(place.call::<DataGet>(&request).await?.document)
}

/// Checks that neither side saw what the other wrote.
async fn apart(stage: &Stage<'_>, path: &str) -> Result<(), ApiError> {
    let ours = get(&stage.laptop, path).await?;
    let theirs = get(&stage.phone, path).await?;
    if ours.fields["place"] == "on the train" || theirs.fields["rating"] == 5 {
        let message = "a write passed cables that were cut";
        return Err(ApiError::new(Problem::INTERNAL, message));
    }
    stage.story.fact("neither sees what the other wrote");
    Ok(())
}

/// The document as both see it now.
async fn merged_document(stage: &Stage<'_>, path: &str) -> Result<Document, ApiError> {
    let ours = get(&stage.laptop, path).await?;
    let theirs = get(&stage.phone, path).await?;
    if ours.fields == theirs.fields && ours.conflicts == theirs.conflicts {
        return Ok(ours);
    }
    let message = format!("laptop and phone show different versions of {path}");
    Err(ApiError::new(Problem::DAMAGED, message))
}

/// Checks that both sides' own fields are there, and of the shared one a value and what yielded.
fn check(seen: &Document, field: &str, texts: &[String; 2]) -> Result<(), ApiError> {
    let shared = seen.fields[field].as_str().unwrap_or_default();
    let lost = if seen.fields["rating"] != 5 {
        "what the laptop wrote"
    } else if seen.fields["place"] != "on the train" {
        "what the phone wrote"
    } else if !texts.iter().any(|text| text == shared) {
        "the field that both wrote"
    } else if seen.conflicts == 0 {
        "the value that yielded"
    } else {
        return Ok(());
    };
    let message = format!("{lost} is not in {} after the merge", seen.path);
    Err(ApiError::new(Problem::DAMAGED, message))
}

async fn tell(
    stage: &Stage<'_>,
    seen: &Document,
    field: &str,
    texts: &[String; 2],
) -> Result<(), ApiError> {
    let shared = seen.fields[field].as_str().unwrap_or_default();
    let [ours, theirs] = texts;
    let (winner, loser) = if shared == ours { ("laptop", theirs) } else { ("phone", ours) };
    stage.story.fact("merged: rating from the laptop, place from the phone");
    stage.story.fact(&format!("{field} was written by both: the {winner}'s is seen"));
    let kept = format::counted(seen.conflicts, "value is kept", "values are kept");
    stage.story.note(&format!("{kept} beside it: {loser}"));
    let request = HistoryRequest { path: seen.path.clone(), limit: None, app: None };
    let history = stage.laptop.call::<DataHistory>(&request).await?;
    let yielded = history.entries.iter().find(|entry| entry.yielded);
    if let Some(entry) = yielded {
        stage.story.note(&format!("its history names who yielded: {}", entry.device));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(fields: Value, conflicts: u64) -> Document {
        Document { path: "notes/1".into(), fields, conflicts, ..Document::default() }
    }

    #[test]
    fn a_merge_that_lost_something_is_an_error() {
        let texts = ["A (laptop)".to_owned(), "A (phone)".to_owned()];
        let check = |fields, conflicts| {
            check(&merged(fields, conflicts), "title", &texts).map_err(|error| error.message)
        };
        let whole = json!({"rating": 5, "place": "on the train", "title": "A (phone)"});
        assert_eq!(check(whole.clone(), 1), Ok(()));
        assert!(check(whole, 0).unwrap_err().starts_with("the value that yielded"));
        let mine = json!({"rating": 5, "title": "A (laptop)"});
        assert!(check(mine, 1).unwrap_err().starts_with("what the phone wrote"));
        let old = json!({"rating": 5, "place": "on the train", "title": "A"});
        assert!(check(old, 1).unwrap_err().starts_with("the field that both wrote"));
    }

    #[test]
    fn a_field_with_a_plain_name_and_text_is_edited() {
        let fields = json!({"a.b": "x", "count": 3, "name": "y"});
        assert_eq!(text_field(&fields).as_deref(), Some("name"));
        assert_eq!(text_field(&json!({"count": 3})), None);
    }
}
