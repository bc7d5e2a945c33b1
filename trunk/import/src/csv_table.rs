//! Tables of comma-separated values: one row, one document.
//!
//! Delimiter and encoding are found out; a column becomes numbers or truth values only if every
//! cell would be written back exactly as it was. The table's text stays in memory as long as its
//! rows are read; the rows themselves are parsed one by one.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use csv::{Reader, ReaderBuilder, StringRecord};
use sha2::{Digest, Sha256};

use crate::field::{Field, short_base32};
use crate::import::{Draft, Origin};
use crate::item::{ItemError, LossKind};
use crate::names::{collection_name, cut, field_name};
use crate::path::{extension, stem};
use crate::plan::ITEMS_MAX;
use crate::text::decode;

/// Longest table that is read: its text is held in memory, on a phone too.
pub const CSV_BYTES_MAX: u64 = 256 << 20;

/// Longest cell; a longer one mostly means that a quote is missing and swallowed the rows below.
pub const CELL_BYTES_MAX: usize = 1 << 20;

/// Most columns; spreadsheets end at 16,384, but a document that wide is a mistake.
pub const COLUMNS_MAX: usize = 2_000;

/// Extensions of tables.
pub(crate) const EXTENSIONS: [&str; 2] = ["csv", "tsv"];

/// Delimiters that are tried, the likeliest first.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// How much of a table is looked at to find its delimiter.
const SNIFF_BYTES: usize = 64 * 1024;

/// How many rows are looked at to find the delimiter.
const SNIFF_ROWS: usize = 100;

/// Names of columns that name rows, the best first.
const ID_COLUMNS: [&str; 5] = ["id", "uuid", "guid", "uid", "_id"];

/// What all cells of a column are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Bool,
    Int,
    Double,
    Text,
}

struct Row {
    at: Range<usize>,
    line: u64,
    original_id: String,
    repeats_id: bool,
}

/// A table that was read.
pub(crate) struct Table {
    path: String,
    collection: String,
    text: String,
    delimiter: u8,
    columns: Vec<(String, Kind)>,
    rows: Vec<Row>,
    losses: Vec<LossKind>,
}

/// Reads the table at `path`.
pub(crate) fn load(origin: &Origin<'_>, path: &str) -> Result<Table, ItemError> {
    let bytes = origin.source.read(path, CSV_BYTES_MAX)?;
    let decoded = decode(&bytes, origin.encoding)?;
    drop(bytes);
    let mut losses: Vec<LossKind> = decoded.loss.into_iter().collect();
    let text = decoded.text;
    let (delimiter, start) = dialect(&text, &extension(path));
    let mut reader = reader(text.as_bytes().get(start..).unwrap_or_default(), delimiter);
    let mut record = StringRecord::new();
    if !reader.read_record(&mut record)? {
        return Err(ItemError::EmptyTable);
    }
    if record.len() > COLUMNS_MAX {
        return Err(ItemError::TooManyColumns { columns_max: COLUMNS_MAX });
    }
    let names = header(&record, &mut losses);
    let id_column = id_column(&names, origin.options.id_column.as_deref());
    let mut kinds = vec![None; names.len()];
    let mut ids = Ids { path, column: id_column, taken: BTreeSet::new(), twins: BTreeMap::new() };
    let mut rows = Vec::new();
    loop {
        let line = reader.position().line();
        if !reader.read_record(&mut record)? {
            break;
        }
        if rows.len() >= ITEMS_MAX {
            losses.push(LossKind::ListCut { list: "rows", max: ITEMS_MAX });
            break;
        }
        let from = record.position().map_or(0, csv::Position::byte);
        let at = start + place(from)..start + place(reader.position().byte());
        for (kind, cell) in kinds.iter_mut().zip(&record) {
            narrow(kind, cell);
        }
        let (original_id, repeats_id) = ids.name(&record);
        let line = record.position().map_or(line, csv::Position::line);
        rows.push(Row { at, line, original_id, repeats_id });
    }
    let kinds = kinds.into_iter().map(|kind| kind.unwrap_or(Kind::Text));
    Ok(Table {
        path: path.to_owned(),
        collection: collection_name(stem(path)),
        delimiter,
        columns: names.into_iter().zip(kinds).collect(),
        rows,
        losses,
        text,
    })
}

impl Table {
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    pub(crate) fn rows(&self) -> u64 {
        self.rows.len() as u64
    }

    /// What was lost of the table as a whole.
    pub(crate) fn losses(&self) -> &[LossKind] {
        &self.losses
    }

    /// The document that row `row` becomes; none if there is no such row.
    pub(crate) fn draft(&self, row: u64) -> Result<Option<Draft>, ItemError> {
        let row = usize::try_from(row).ok().and_then(|row| self.rows.get(row));
        let Some(row) = row else { return Ok(None) };
        let text = self.text.get(row.at.clone()).unwrap_or_default();
        let mut record = StringRecord::new();
        reader(text.as_bytes(), self.delimiter).read_record(&mut record)?;
        if record.iter().any(|cell| cell.len() > CELL_BYTES_MAX) {
            return Err(ItemError::CellTooLarge { line: row.line, bytes_max: CELL_BYTES_MAX });
        }
        if record.len() > COLUMNS_MAX {
            return Err(ItemError::TooManyColumns { columns_max: COLUMNS_MAX });
        }
        let mut draft = Draft::new(&*self.collection, row.original_id.clone());
        for (index, cell) in record.iter().enumerate() {
            let (name, field) = match self.columns.get(index) {
                Some((name, kind)) => (name.clone(), value(*kind, cell)),
                None => {
                    let names = draft.fields.keys().map(String::as_str);
                    let name = unused(&format!("column {}", index + 1), &names.collect());
                    (name, value(Kind::Text, cell))
                }
            };
            draft.fields.insert(name, field);
        }
        if record.len() != self.columns.len() {
            draft.losses.push(LossKind::Ragged {
                line: row.line,
                cells: record.len(),
                columns: self.columns.len(),
            });
        }
        if row.repeats_id {
            draft.losses.push(LossKind::RepeatedId { line: row.line });
        }
        Ok(Some(draft))
    }
}

fn reader(bytes: &[u8], delimiter: u8) -> Reader<&[u8]> {
    ReaderBuilder::new().delimiter(delimiter).has_headers(false).flexible(true).from_reader(bytes)
}

fn place(byte: u64) -> usize {
    usize::try_from(byte).expect("the text is in memory, so a place in it fits")
}

/// The delimiter, and where the table starts: behind the `sep=;` that some spreadsheets write.
fn dialect(text: &str, extension: &str) -> (u8, usize) {
    let first = text.split_inclusive('\n').next().unwrap_or_default();
    if let Some(&[delimiter]) =
        first.trim_end_matches(['\r', '\n']).strip_prefix("sep=").map(str::as_bytes)
    {
        return (delimiter, first.len());
    }
    if extension == "tsv" {
        return (b'\t', 0);
    }
    let sample = cut(text, SNIFF_BYTES);
    let mut best = (DELIMITERS[0], (0, 0));
    for delimiter in DELIMITERS {
        let score = fitness(sample, delimiter);
        if score > best.1 {
            best = (delimiter, score);
        }
    }
    (best.0, 0)
}

/// How many rows in a thousand are as wide as the first, and how wide that is.
fn fitness(sample: &str, delimiter: u8) -> (usize, usize) {
    let mut reader = reader(sample.as_bytes(), delimiter);
    let rows = reader.records().take(SNIFF_ROWS);
    let widths: Vec<usize> = rows.filter_map(Result::ok).map(|record| record.len()).collect();
    match widths.first() {
        Some(&width) if width > 1 => {
            let even = widths.iter().filter(|other| **other == width).count();
            (even * 1_000 / widths.len(), width)
        }
        _ => (0, 0),
    }
}

/// Names for all columns, each once.
fn header(record: &StringRecord, losses: &mut Vec<LossKind>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (index, cell) in record.iter().enumerate() {
        let plain = cell.trim();
        let wanted =
            if plain.is_empty() { format!("column {}", index + 1) } else { field_name(plain) };
        let name = unused(&wanted, &names.iter().map(String::as_str).collect());
        if name != plain {
            let from = cut(plain, 200).to_owned();
            losses.push(LossKind::Renamed { from, to: name.clone() });
        }
        names.push(name);
    }
    names
}

fn unused(wanted: &str, taken: &BTreeSet<&str>) -> String {
    let mut name = wanted.to_owned();
    let mut count = 1;
    while taken.contains(name.as_str()) {
        count += 1;
        name = format!("{wanted} {count}");
    }
    name
}

fn id_column(names: &[String], wanted: Option<&str>) -> Option<usize> {
    let at = |wanted: &str| names.iter().position(|name| name.eq_ignore_ascii_case(wanted));
    match wanted {
        Some(wanted) => at(wanted),
        None => ID_COLUMNS.iter().find_map(|name| at(name)),
    }
}

/// Names rows: by their id where it is new, else by their content.
struct Ids<'a> {
    path: &'a str,
    column: Option<usize>,
    taken: BTreeSet<String>,
    twins: BTreeMap<String, u64>,
}

impl Ids<'_> {
    fn name(&mut self, record: &StringRecord) -> (String, bool) {
        let id = self.column.and_then(|column| record.get(column)).map(str::trim);
        let id = id.filter(|id| !id.is_empty() && id.len() <= 1_000);
        let repeats_id = match id {
            Some(id) if self.taken.insert(id.to_owned()) => {
                return (format!("{}#id={id}", self.path), false);
            }
            other => other.is_some(),
        };
        let mut hash = Sha256::new();
        for cell in record {
            hash.update((cell.len() as u64).to_be_bytes());
            hash.update(cell);
        }
        let hash = short_base32(&hash.finalize().into());
        let count = self.twins.entry(hash.clone()).or_insert(0);
        *count += 1;
        (format!("{}#row={hash}.{count}", self.path), repeats_id)
    }
}

/// Takes one more cell into account: the kind of a column is the narrowest that fits all of them.
fn narrow(kind: &mut Option<Kind>, cell: &str) {
    if cell.is_empty() {
        return;
    }
    let int = cell.parse::<i64>().is_ok_and(|value| value.to_string() == cell);
    let this = match cell {
        "true" | "false" => Kind::Bool,
        _ if int => Kind::Int,
        _ if exact_double(cell) => Kind::Double,
        _ => Kind::Text,
    };
    *kind = Some(match (*kind, this) {
        (None, this) => this,
        (Some(before), this) if before == this => this,
        (Some(Kind::Int), Kind::Double) | (Some(Kind::Double), Kind::Int) => Kind::Double,
        _ => Kind::Text,
    });
}

/// Whether a number comes back as it was when it is held as a double.
fn exact_double(cell: &str) -> bool {
    let number = cell.starts_with(|letter: char| letter.is_ascii_digit() || letter == '-');
    number && cell.parse::<f64>().is_ok_and(|value| value.is_finite() && value.to_string() == cell)
}

fn value(kind: Kind, cell: &str) -> Field {
    if cell.is_empty() {
        return Field::Null;
    }
    let typed = match kind {
        Kind::Bool => cell.parse().ok().map(Field::Bool),
        Kind::Int => cell.parse().ok().map(Field::Int),
        Kind::Double if exact_double(cell) => cell.parse().ok().map(Field::Double),
        Kind::Double | Kind::Text => None,
    };
    // A whole number too large for a double stays as it is.
    typed.unwrap_or_else(|| Field::text(cell))
}

#[cfg(test)]
mod tests;
