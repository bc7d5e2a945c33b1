//! Documents.

use crate::format::{count, counted, span};
use crate::look::{Look, Tone, clean_json, clean_line};
use crate::render::{done, durability};
use crate::table::Table;
use rhizome_api::data::{
    Aggregate, Change, ChangeKind, Document, Explain, ExportAnswer, GetAnswer, HashAnswer,
    HistoryAnswer, LsAnswer, QueryAnswer, SettleAnswer, WriteAnswer,
};
use serde_json::Value;

/// How much of a document a row shows.
const ROW_CHARACTERS: usize = 64;

/// The answer to `data ls`.
pub(crate) fn ls(answer: &LsAnswer, look: &Look) -> String {
    if !answer.documents.is_empty() {
        return documents(&answer.documents, look);
    }
    let mut table = Table::new(&["collection", "documents"]);
    for collection in &answer.collections {
        table.row(&[&collection.path, &look.count(collection.documents)]);
    }
    table.text(look)
}

fn documents(documents: &[Document], look: &Look) -> String {
    let mut table = Table::new(&["path", "state", "fields"]);
    for document in documents {
        let fields = one_line(&document.fields, look);
        table.row(&[&document.path, durability(document.durability), &fields]);
    }
    table.text(look)
}

/// Fields on one line, cut for people, whole for programs.
fn one_line(fields: &Value, look: &Look) -> String {
    let text = clean_json(&fields.to_string());
    if look.plain || text.chars().count() <= ROW_CHARACTERS {
        return text;
    }
    text.chars().take(ROW_CHARACTERS - 1).chain(['…']).collect()
}

/// The answer to `data get`: the fields, as JSON.
pub(crate) fn get(answer: &GetAnswer, _look: &Look) -> String {
    let text = serde_json::to_string_pretty(&answer.document.fields);
    clean_json(&text.expect("JSON values always become text")) + "\n"
}

/// How far a document has travelled, and when it changed.
pub(crate) fn travelled(document: &Document, look: &Look) -> String {
    let mut out = durability(document.durability).to_owned();
    if let Some(then) = document.updated_ms {
        out += &format!(" · changed {}", look.when(then));
    }
    if document.conflicts > 0 {
        let kept = counted(document.conflicts, "other version", "other versions");
        out += &format!(" · {kept} kept beside it");
    }
    out
}

/// The answer to every write.
pub(crate) fn written(answer: &WriteAnswer, look: &Look) -> String {
    let paths = answer.paths.join(", ");
    let copies = match answer.copies {
        0 => String::new(),
        copies => format!(" · on {}", counted(copies, "other device", "other devices")),
    };
    done(&format!("{paths}: {}{copies}", durability(answer.durability)), look)
}

/// The answer to `data query`.
pub(crate) fn query(answer: &QueryAnswer, look: &Look) -> String {
    documents(&answer.documents, look)
}

/// What the numbers about a result are called.
pub(crate) fn number_names(numbers: &[Aggregate]) -> Vec<String> {
    let name = |number: &Aggregate| match number {
        Aggregate::Count => "count".to_owned(),
        Aggregate::Sum(field) => format!("sum of {}", clean_line(field)),
        Aggregate::Average(field) => format!("average of {}", clean_line(field)),
    };
    numbers.iter().map(name).collect()
}

/// Numbers about a result, a line each.
pub(crate) fn numbers(names: &[String], values: &[Value]) -> String {
    let line =
        |(name, value): (&String, &Value)| format!("{name}  {}\n", clean_json(&value.to_string()));
    names.iter().zip(values).map(line).collect()
}

/// How a query was answered.
pub(crate) fn explain(explain: &Explain) -> String {
    let how = match &explain.index {
        Some(how) => clean_line(how),
        None => "scan of the collection".to_owned(),
    };
    let (scanned, matched) = (count(explain.scanned), count(explain.matched));
    format!("{how}: {scanned} looked at, {matched} matched, {} µs", count(explain.took_us))
}

/// One change of a query that is watched.
pub(crate) fn change(change: &Change, look: &Look) -> String {
    let (sign, tone) = match change.kind {
        ChangeKind::Added => ("+", Tone::Good),
        ChangeKind::Modified => ("~", Tone::Attention),
        ChangeKind::Removed => ("-", Tone::Bad),
    };
    let path = clean_line(&change.path);
    let state = look.paint(Tone::Faint, format!("[{}]", durability(change.durability)));
    let fields = clean_json(&change.fields.to_string());
    format!("{} {path}  {fields}  {state}\n", look.paint(tone, sign))
}

/// The answer to `data history`.
pub(crate) fn history(answer: &HistoryAnswer, look: &Look) -> String {
    let mut table = Table::new(&["when", "device", "did", "fields", "state"]);
    for entry in &answer.entries {
        let when = look.when(entry.at_ms);
        let state = match entry.yielded {
            true => format!("{}, partly yielded", durability(entry.durability)),
            false => durability(entry.durability).to_owned(),
        };
        let fields = one_line(&entry.fields, look);
        table.row(&[&when, &entry.device, &entry.kind, &fields, &state]);
    }
    table.text(look)
}

/// The end of `data export`.
pub(crate) fn exported(answer: &ExportAnswer) -> String {
    let documents = counted(answer.documents, "document", "documents");
    format!("{documents}, SHA-256 {}", clean_line(&answer.hash))
}

/// The answer to `data settle`.
pub(crate) fn settled(answer: &SettleAnswer, look: &Look) -> String {
    let changes = counted(answer.events, "change", "changes");
    let (level, waited) = (durability(answer.level), span(answer.waited_ms));
    done(&format!("{changes} {level}, after {waited}"), look)
}

/// The answer to `data hash`.
pub(crate) fn hash(answer: &HashAnswer, _look: &Look) -> String {
    let indexes = if answer.indexes_ok { "as if rebuilt" } else { "differ from rebuilt ones" };
    format!(
        "documents  {}\nexport     {}\nstate      {}\nconfirmed  {}\nindexes    {indexes}\n",
        answer.documents,
        clean_line(&answer.export_hash),
        clean_line(&answer.state_hash),
        clean_line(&answer.committed_hash),
    )
}
