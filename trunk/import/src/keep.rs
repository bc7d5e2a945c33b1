//! Google Keep as Google Takeout writes it: one JSON file for each note, attachments beside it.
//!
//! What is understood gets fields of its own; what is not is kept under `properties`. The HTML copy
//! of each note, inside the JSON and beside it, says the same again and is left out.

use serde_json::{Map, Value};

use crate::field::{FIELD_DEPTH_MAX, Field, Fields};
use crate::import::{Draft, Origin};
use crate::item::{ItemError, LossKind};
use crate::library::Reference;
use crate::media::stated_media_type;
use crate::names::{cut, field_name};
use crate::path::stem;
use crate::text::decode;

/// Longest note that is read. Keep allows some 20,000 letters; JSON of 2 MiB still parses into
/// less than 200 MB whatever it contains.
pub const KEEP_BYTES_MAX: u64 = 2 << 20;

/// Extensions of note files.
pub(crate) const EXTENSIONS: [&str; 1] = ["json"];

/// How many attachments of one note are taken; Keep itself allows fewer than 100.
const ATTACHMENTS_MAX: usize = 1_000;

/// Longest title made from a note's first line.
const TITLE_BYTES_MAX: usize = 80;

/// Fields that only a Keep note has; one of them and one time make a note.
const MARKS: [&str; 5] = ["textContent", "listContent", "isTrashed", "isArchived", "isPinned"];

/// The note's names for the two times.
const CREATED: &str = "createdTimestampUsec";
const EDITED: &str = "userEditedTimestampUsec";

/// Reads the note at `path`; none if the JSON is something else.
pub(crate) fn read(origin: &mut Origin<'_>, path: &str) -> Result<Option<Draft>, ItemError> {
    let bytes = origin.source.read(path, KEEP_BYTES_MAX)?;
    let decoded = decode(&bytes, origin.encoding)?;
    let value: Value = serde_json::from_str(&decoded.text)?;
    let Value::Object(mut json) = value else { return Ok(None) };
    let created = json.get(CREATED).and_then(micros);
    let edited = json.get(EDITED).and_then(micros);
    let marked = MARKS.iter().any(|mark| json.contains_key(*mark));
    let (true, Some(first)) = (marked, created.or(edited)) else { return Ok(None) };

    // The time of creation stays when a note is renamed, and no two notes share a microsecond.
    let original_id = if created.is_some() { first.to_string() } else { path.to_owned() };
    let mut draft = Draft::new("notes", original_id);
    draft.losses.extend(decoded.loss);
    draft.original_time_ms = Some(first / 1_000);
    draft.time("createdAt", created);
    draft.time("modifiedAt", edited);
    for name in [CREATED, EDITED, "textContentHtml"] {
        json.remove(name);
    }
    let body = take_text(&mut json, "textContent").unwrap_or_default();
    let items = checklist(&mut json);
    let title = take_text(&mut json, "title").filter(|title| !title.trim().is_empty());
    let title = title.or_else(|| first_line(&body, &items));
    draft.text("title", title.unwrap_or_else(|| stem(path).to_owned()));
    draft.text("body", body);
    if !items.is_empty() {
        draft.fields.insert("items".to_owned(), Field::List(items));
    }
    for (name, flag) in
        [("pinned", "isPinned"), ("archived", "isArchived"), ("trashed", "isTrashed")]
    {
        if let Some(value) = json.get(flag).and_then(Value::as_bool) {
            json.remove(flag);
            draft.fields.insert(name.to_owned(), Field::Bool(value));
        }
    }
    if let Some(color) = take_text(&mut json, "color") {
        draft.text("color", color.to_lowercase());
    }
    draft.texts("tags", labels(&mut json));
    let urls = json.get("annotations").map(|value| texts_at(value, "url")).unwrap_or_default();
    draft.texts("links", urls);
    attach(origin, path, &mut json, &mut draft);
    keep_rest(json, &mut draft);
    Ok(Some(draft))
}

/// A time as a number, or as a number in quotes.
fn micros(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

fn take_text(json: &mut Map<String, Value>, name: &str) -> Option<String> {
    let text = json.get(name)?.as_str()?.to_owned();
    json.remove(name);
    Some(text)
}

/// The checklist, if every entry is one; otherwise it stays among the properties.
fn checklist(json: &mut Map<String, Value>) -> Vec<Field> {
    let entry = |value: &Value| {
        let text = value.get("text")?.as_str()?;
        let checked = value.get("isChecked").and_then(Value::as_bool).unwrap_or(false);
        let entries = [("text", Field::text(text)), ("checked", Field::Bool(checked))];
        Some(Field::Map(entries.map(|(name, field)| (name.to_owned(), field)).into()))
    };
    let list = json.get("listContent").and_then(Value::as_array);
    let items: Option<Vec<Field>> = list.and_then(|list| list.iter().map(entry).collect());
    if items.is_some() {
        json.remove("listContent");
    }
    items.unwrap_or_default()
}

fn first_line(body: &str, items: &[Field]) -> Option<String> {
    let item = items.iter().find_map(|item| match item {
        Field::Map(fields) => fields.get("text")?.as_text(),
        _ => None,
    });
    let lines = body.lines().chain(item);
    let line = lines.map(str::trim).find(|line| !line.is_empty())?;
    Some(cut(line, TITLE_BYTES_MAX).to_owned())
}

fn labels(json: &mut Map<String, Value>) -> Vec<String> {
    let Some(labels) = json.get("labels") else { return Vec::new() };
    let names = texts_at(labels, "name");
    if labels.as_array().is_some_and(|labels| labels.len() == names.len()) {
        json.remove("labels");
    }
    names
}

fn texts_at(list: &Value, name: &str) -> Vec<String> {
    let entries = list.as_array().map(Vec::as_slice).unwrap_or_default();
    let text = |entry: &Value| Some(entry.get(name)?.as_str()?.to_owned());
    entries.iter().filter_map(text).collect()
}

fn attach(origin: &mut Origin<'_>, path: &str, json: &mut Map<String, Value>, draft: &mut Draft) {
    let Some(Value::Array(list)) = json.get("attachments") else { return };
    if list.len() > ATTACHMENTS_MAX {
        draft.losses.push(LossKind::ListCut { list: "attachments", max: ATTACHMENTS_MAX });
    }
    let mut described = Vec::new();
    let mut understood = true;
    for entry in list.iter().take(ATTACHMENTS_MAX) {
        let Some(target) = entry.get("filePath").and_then(Value::as_str) else {
            understood = false;
            continue;
        };
        let stated = entry.get("mimetype").and_then(Value::as_str).and_then(stated_media_type);
        let found = other_spelling(origin, path, target);
        let reference =
            Reference { from: path, target: &found, with_path: false, media_type: stated };
        let attached = origin.library.attach(
            origin.source,
            origin.options,
            &reference,
            &mut draft.attachments,
        );
        match attached {
            Ok(field) => described.extend(field),
            Err(loss) => {
                // The reference stays among the properties, so that nothing is forgotten.
                understood = false;
                draft.losses.push(loss);
            }
        }
    }
    if understood {
        json.remove("attachments");
    }
    if !described.is_empty() {
        draft.fields.insert("attachments".to_owned(), Field::List(described));
    }
}

/// Takeout writes `.jpeg` in the note and `.jpg` on the file, or the other way round.
fn other_spelling(origin: &Origin<'_>, path: &str, target: &str) -> String {
    if origin.library.find(path, target).is_some() {
        return target.to_owned();
    }
    let other = match target.rsplit_once('.') {
        Some((stem, "jpeg")) => format!("{stem}.jpg"),
        Some((stem, "jpg")) => format!("{stem}.jpeg"),
        _ => return target.to_owned(),
    };
    if origin.library.find(path, &other).is_some() { other } else { target.to_owned() }
}

/// Keeps what was not understood.
fn keep_rest(json: Map<String, Value>, draft: &mut Draft) {
    let mut properties = Fields::new();
    for (name, value) in json {
        let name = field_name(&name);
        if MARKS.contains(&name.as_str()) || ["title", "color", "labels"].contains(&name.as_str()) {
            draft.losses.push(LossKind::Unexpected { name: name.clone() });
        }
        let field = match to_field(&value, FIELD_DEPTH_MAX - 1) {
            Some(field) => field,
            None => {
                draft.losses.push(LossKind::Nested { name: name.clone() });
                Field::Text(value.to_string())
            }
        };
        properties.insert(name, field);
    }
    if !properties.is_empty() {
        draft.fields.insert("properties".to_owned(), Field::Map(properties));
    }
}

/// JSON as a field; none when it nests deeper than `depth`.
fn to_field(value: &Value, depth: usize) -> Option<Field> {
    let deeper = depth.checked_sub(1);
    Some(match value {
        Value::Null => Field::Null,
        Value::Bool(value) => Field::Bool(*value),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Field::Int(whole),
            (None, Some(double)) if !number.is_u64() => Field::Double(double),
            _ => Field::Text(number.to_string()),
        },
        Value::String(text) => Field::text(&**text),
        Value::Array(items) => {
            let items: Option<Vec<Field>> =
                items.iter().map(|item| to_field(item, deeper?)).collect();
            Field::List(items?)
        }
        Value::Object(entries) => {
            let entry = |(name, value): (&String, &Value)| {
                Some((field_name(name), to_field(value, deeper?)?))
            };
            let fields: Option<Fields> = entries.iter().map(entry).collect();
            Field::Map(fields?)
        }
    })
}

#[cfg(test)]
mod tests;
