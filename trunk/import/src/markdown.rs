//! Markdown notes: one file, one document, its text kept byte for byte.
//!
//! Front matter becomes properties; title, tags, links, times and attachments are read out of the
//! note into fields of their own, while `frontMatter` and `body` together remain the file.

mod front_matter;
mod scan;

use crate::field::{Field, Fields};
use crate::import::{Draft, Origin};
use crate::item::{ItemError, LossKind};
use crate::library::Reference;
use crate::path::{extension, percent_decode, stem};
use crate::text::decode;
use crate::time;

use front_matter::Split;
use scan::{Embed, EmbedKind};

/// Longest note that is read. Longer "notes" are data dumps and belong in attachments.
pub const NOTE_BYTES_MAX: u64 = 16 << 20;

/// Extensions of Markdown files.
pub(crate) const EXTENSIONS: [&str; 2] = ["md", "markdown"];

/// Names under which note takers keep the time of creation, in order of trust.
const CREATED: [&str; 7] =
    ["created", "createdAt", "created_at", "date created", "creation_date", "date", "created time"];

/// Names under which note takers keep the time of the last change.
const MODIFIED: [&str; 9] = [
    "modified",
    "updated",
    "modifiedAt",
    "modified_at",
    "updatedAt",
    "updated_at",
    "last_modified",
    "lastmod",
    "date modified",
];

/// Reads the note at `path`.
pub(crate) fn read(origin: &mut Origin<'_>, path: &str) -> Result<Draft, ItemError> {
    let bytes = origin.source.read(path, NOTE_BYTES_MAX)?;
    let decoded = decode(&bytes, origin.encoding)?;
    let mut draft = Draft::new("notes", path.to_owned());
    draft.losses.extend(decoded.loss);
    let Split { front, properties, body, loss } = front_matter::split(&decoded.text);
    draft.losses.extend(loss);
    let scan = scan::scan(body);
    draft.losses.extend(scan.cut);

    let title = properties.get("title").and_then(plain).or(scan.title);
    draft.text("title", title.unwrap_or_else(|| stem(path).to_owned()));
    draft.text("body", body);
    draft.text("path", path);
    if !front.is_empty() {
        draft.text("frontMatter", front);
    }
    let mut tags = front_tags(&properties);
    tags.extend(scan.tags);
    draft.texts("tags", tags);
    let mut links = scan.links;
    attach(origin, path, &scan.embeds, &mut links, &mut draft);
    draft.texts("links", links);
    times(origin, path, &properties, &mut draft);
    if !properties.is_empty() {
        draft.fields.insert("properties".to_owned(), Field::Map(properties));
    }
    Ok(draft)
}

fn attach(
    origin: &mut Origin<'_>,
    path: &str,
    embeds: &[Embed],
    links: &mut Vec<String>,
    draft: &mut Draft,
) {
    let mut described = Vec::new();
    for embed in embeds {
        let decoded = percent_decode(&embed.target);
        let exact = origin.library.find(path, &embed.target).is_some();
        let wanted = if exact { &embed.target } else { &decoded };
        let found = origin.library.find(path, wanted);
        let ending = extension(found.as_deref().unwrap_or(wanted));
        let note = EXTENSIONS.contains(&ending.as_str());
        let embedded_note = embed.kind == EmbedKind::Wiki && ending.is_empty() && found.is_none();
        if note || embedded_note {
            links.push(wanted.clone());
            continue;
        }
        if found.is_none() && embed.kind == EmbedKind::Link {
            continue;
        }
        let reference = Reference { from: path, target: wanted, with_path: true, media_type: None };
        let attached = origin.library.attach(
            origin.source,
            origin.options,
            &reference,
            &mut draft.attachments,
        );
        match attached {
            Ok(field) => described.extend(field),
            Err(loss) => draft.losses.push(loss),
        }
    }
    if !described.is_empty() {
        draft.fields.insert("attachments".to_owned(), Field::List(described));
    }
}

fn times(origin: &Origin<'_>, path: &str, properties: &Fields, draft: &mut Draft) {
    let stated = |names: &[&str]| {
        names.iter().find_map(|name| time::parse(properties.get(*name)?.as_text()?))
    };
    let (created, modified) = (stated(&CREATED), stated(&MODIFIED));
    let file_time = origin.library.entries.get(path).and_then(|entry| entry.modified_ms);
    let file_time = file_time.and_then(|time_ms| i64::try_from(time_ms).ok()?.checked_mul(1_000));
    draft.time("createdAt", created);
    draft.time("modifiedAt", modified);
    if modified.is_none() {
        // A file's own time changes whenever it is copied, so it says nothing about the content.
        draft.unhashed_time("modifiedAt", file_time);
    }
    draft.original_time_ms = created.or(modified).or(file_time).map(|micros| micros / 1_000);
}

/// A scalar as the text it would be written as.
fn plain(field: &Field) -> Option<String> {
    match field {
        Field::Text(text) if !text.trim().is_empty() => Some(text.trim().to_owned()),
        Field::Int(value) => Some(value.to_string()),
        Field::Double(value) => Some(value.to_string()),
        _ => None,
    }
}

/// Tags in front matter: a list, or a text with commas or spaces between them.
fn front_tags(properties: &Fields) -> Vec<String> {
    let mut tags = Vec::new();
    for name in ["tags", "tag", "Tags"] {
        match properties.get(name) {
            Some(Field::List(items)) => tags.extend(items.iter().filter_map(plain)),
            Some(Field::Text(text)) if text.contains(',') => {
                tags.extend(text.split(',').map(|tag| tag.trim().to_owned()));
            }
            Some(Field::Text(text)) => tags.extend(text.split_whitespace().map(str::to_owned)),
            _ => {}
        }
    }
    let bare = tags.iter().map(|tag| tag.trim_start_matches('#').to_owned());
    bare.filter(|tag| !tag.is_empty()).collect()
}

/// What was cut off a list, for the report.
fn list_cut(list: &'static str, max: usize) -> LossKind {
    LossKind::ListCut { list, max }
}

#[cfg(test)]
mod tests;
