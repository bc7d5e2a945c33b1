//! Documents as lines of JSON, in one order and one form, so that equal documents on two devices
//! are equal bytes.
//!
//! A line is `{"path":"notes/a","fields":{…}}`; lines are in the order of paths. Only what people
//! wrote is in it: no stamps, positions or pending marks.

use crate::engine::{DocumentError, Documents};
use rhizome_log::Index;
use rhizome_schema::{CollectionPath, json};
use std::ops::ControlFlow;

impl Documents {
    /// Visits the lines of a collection (its own documents), or of all documents, each without
    /// its line feed.
    pub fn export_lines(
        &self,
        index: &dyn Index,
        collection: Option<&CollectionPath>,
        visit: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<(), DocumentError> {
        let prefix = collection.map(CollectionPath::key).unwrap_or_default();
        self.each_record(index, &prefix, &mut |path, record| {
            let Some(fields) = &record.value else { return ControlFlow::Continue(()) };
            let mut line = "{\"path\":".to_owned();
            json::write_text(&mut line, path.as_str());
            line.push_str(",\"fields\":");
            line.push_str(&json::fields_to_json(fields));
            line.push('}');
            visit(&line)
        })
    }

    /// How many lines [`Documents::export_lines`] gives, and the BLAKE3 of them with a line feed
    /// after each: equal on devices with equal documents.
    pub fn export_hash(
        &self,
        index: &dyn Index,
        collection: Option<&CollectionPath>,
    ) -> Result<(u64, [u8; 32]), DocumentError> {
        let mut hasher = blake3::Hasher::new();
        let mut lines = 0;
        self.export_lines(index, collection, &mut |line| {
            hasher.update(line.as_bytes());
            hasher.update(b"\n");
            lines += 1;
            ControlFlow::Continue(())
        })?;
        Ok((lines, hasher.finalize().into()))
    }
}
