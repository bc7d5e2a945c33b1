//! Archives of other platforms, read into documents.
//!
//! An import has two phases. [`Import::plan`] looks at everything and says what would happen to
//! each item; [`Import::read_item`] then reads one planned item at a time, so that the caller can
//! show progress, stop between two items, and start again later without doing anything twice.
//!
//! This crate decides and parses. It never opens a file: bytes come through [`Source`], which has a
//! twin in memory and one over zip archives here; the pod provides one over folders. Storing
//! documents and attachments, naming batches and undoing them is left to the pod, which finds all
//! it needs in [`Provenance`].

mod csv_table;
mod field;
#[cfg(test)]
mod fold;
mod import;
mod item;
mod keep;
mod library;
mod markdown;
mod media;
mod names;
mod path;
mod plan;
mod report;
mod source;
mod text;
mod time;
mod zip_source;

pub use csv_table::{CELL_BYTES_MAX, COLUMNS_MAX, CSV_BYTES_MAX};
pub use field::{AttachmentId, ContentHash, FIELD_DEPTH_MAX, Field, Fields, content_hash};
pub use import::{ATTACHMENT_BYTES_MAX, Import, OpenError, Options};
pub use item::{
    Action, Attachment, DocumentId, ImportedItem, Importer, ItemError, ItemFailure, ItemKey, Known,
    Loss, LossKind, PlannedItem, Provenance, SkipReason,
};
pub use keep::KEEP_BYTES_MAX;
pub use markdown::NOTE_BYTES_MAX;
pub use path::{PATH_BYTES_MAX, PathError, SEGMENT_BYTES_MAX, safe_path};
pub use plan::{ITEMS_MAX, Plan, PlanError, Progress, Sample, Totals, eta_ms};
pub use report::{REPORT_LINES_MAX, Report, ReportLine};
pub use source::{Entry, Listed, MemorySource, Refusal, Source, SourceError};
pub use zip_source::{
    ZIP_ENTRIES_MAX, ZIP_RATIO_MAX, ZIP_RATIO_SLACK_BYTES, ZipOpenError, ZipSource,
};
