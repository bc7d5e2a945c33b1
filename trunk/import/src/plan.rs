//! The first phase: what an import would do, item by item, before anything is written.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use serde::Serialize;

use crate::csv_table;
use crate::field::Field;
use crate::import::{Draft, Import};
use crate::item::{
    Action, DocumentId, Importer, ItemError, ItemKey, Known, Loss, PlannedItem, SkipReason,
};
use crate::keep;
use crate::markdown;
use crate::path::{extension, hidden_part};
use crate::report::REPORT_LINES_MAX;

/// How many items one import may have; a plan of this size takes a few hundred megabytes.
pub const ITEMS_MAX: usize = 1_000_000;

/// How many documents a plan shows as a taste.
const SAMPLE_MAX: usize = 5;

/// How many rows pass between two words about progress.
const ROWS_PER_WORD: u64 = 1_000;

/// Extensions of archives, which are not looked into from inside a source.
const ARCHIVES: [&str; 7] = ["zip", "tgz", "gz", "tar", "7z", "rar", "textpack"];

/// What an import would do.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// The kind of source.
    pub importer: Importer,
    /// Everything found, in the order of paths.
    pub items: Vec<PlannedItem>,
    /// The same in numbers.
    pub totals: Totals,
    /// What could not be taken over, of items that would be written; at most [`REPORT_LINES_MAX`].
    pub losses: Vec<Loss>,
    /// How many losses did not fit.
    pub losses_left_out: u64,
    /// The first few documents.
    pub sample: Vec<Sample>,
}

/// A plan in numbers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Totals {
    /// New documents.
    pub new: u64,
    /// Documents that change.
    pub update: u64,
    /// Documents that are there already.
    pub same: u64,
    /// Files left out on purpose.
    pub skip: u64,
    /// Items that cannot be read.
    pub fail: u64,
    /// Bytes of the source that would be read for items, attachments left out.
    pub bytes: u64,
    /// Attachments of items that would be written.
    pub attachments: u64,
    /// Their bytes; a file that two items share counts twice.
    pub attachment_bytes: u64,
}

/// A document as a taste.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Sample {
    /// The file it comes from.
    pub path: String,
    /// The collection it would be in.
    pub collection: String,
    /// Its id there.
    pub id: DocumentId,
    /// Its title, if it has one.
    pub title: Option<String>,
}

/// How far planning has come.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Progress {
    /// Items looked at.
    pub items: u64,
    /// Bytes looked at.
    pub bytes_done: u64,
    /// Bytes there are.
    pub bytes: u64,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The caller stopped it.
    #[error("planning was stopped")]
    Stopped,
    /// There are too many items.
    #[error("source has more than {items_max} items")]
    TooManyItems {
        /// The limit.
        items_max: usize,
    },
}

/// When work will be done that took `elapsed_ms` for `done` of `total`: milliseconds from now.
#[must_use]
pub fn eta_ms(elapsed_ms: u64, done: u64, total: u64) -> Option<u64> {
    let left = u128::from(total.saturating_sub(done));
    (left * u128::from(elapsed_ms)).checked_div(u128::from(done))?.try_into().ok()
}

impl Import<'_> {
    /// Looks at everything in the source and says what would happen to it. `known` tells what the
    /// pod remembers of an item; `progress` is called often, and its break ends the planning.
    ///
    /// # Errors
    ///
    /// When the caller stops it or there are too many items; broken items are part of the plan.
    pub fn plan(
        &mut self,
        known: &dyn Fn(&ItemKey) -> Option<Known>,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Plan, PlanError> {
        let candidates = self.candidates();
        let length = |path: &String| self.library.entries.get(path).map_or(0, |file| file.bytes);
        let bytes = candidates.iter().map(length).sum();
        let mut planner = Planner {
            known,
            progress,
            at: Progress { bytes, ..Progress::default() },
            taken: BTreeSet::new(),
            plan: Plan {
                importer: self.importer,
                items: Vec::new(),
                totals: Totals::default(),
                losses: Vec::new(),
                losses_left_out: 0,
                sample: Vec::new(),
            },
        };
        for path in &candidates {
            let bytes = self.library.entries.get(path).map_or(0, |file| file.bytes);
            if self.importer == Importer::Csv {
                planner.table(self, path, bytes)?;
            } else {
                let draft = self.draft(path, None);
                planner.outcome(self, path, None, bytes, draft)?;
            }
            planner.at.bytes_done += bytes;
            planner.word()?;
        }
        planner.leftovers(self, &candidates)?;
        planner
            .plan
            .items
            .sort_by(|left, right| (&left.path, left.row).cmp(&(&right.path, right.row)));
        Ok(planner.plan)
    }

    /// The files that are items or hold items. A single file counts whatever it is called.
    fn candidates(&self) -> Vec<String> {
        let extensions: &[&str] = match self.importer {
            Importer::Markdown => &markdown::EXTENSIONS,
            Importer::Keep => &keep::EXTENSIONS,
            Importer::Csv => &csv_table::EXTENSIONS,
        };
        let mut found = self.library.with_extension(extensions);
        found.retain(|path| hidden_part(path).is_none());
        if found.is_empty() && self.library.entries.len() == 1 {
            found.extend(self.library.entries.keys().cloned());
        }
        found
    }
}

struct Planner<'a> {
    known: &'a dyn Fn(&ItemKey) -> Option<Known>,
    progress: &'a mut dyn FnMut(Progress) -> ControlFlow<()>,
    at: Progress,
    taken: BTreeSet<String>,
    plan: Plan,
}

impl Planner<'_> {
    fn table(&mut self, import: &mut Import<'_>, path: &str, bytes: u64) -> Result<(), PlanError> {
        let (rows, losses) = match import.table(path) {
            Ok(table) => (table.rows(), table.losses().to_vec()),
            Err(error) => return self.outcome(import, path, None, bytes, Err(error)),
        };
        for what in losses {
            self.lose(Loss { path: path.to_owned(), what });
        }
        if rows == 0 {
            return self.left(import, path, bytes, Action::Skip(SkipReason::NoRows));
        }
        for row in 0..rows {
            let share = bytes / rows;
            let draft = import.draft(path, Some(row));
            self.outcome(import, path, Some(row), share, draft)?;
            if row % ROWS_PER_WORD == 0 {
                self.word()?;
            }
        }
        Ok(())
    }

    fn outcome(
        &mut self,
        import: &Import<'_>,
        path: &str,
        row: Option<u64>,
        bytes: u64,
        draft: Result<Option<Draft>, ItemError>,
    ) -> Result<(), PlanError> {
        self.at.items += 1;
        let (original_id, action) = match draft {
            Ok(Some(draft)) => {
                let original_id = self.unused(&draft.original_id, path);
                let key = key(import, original_id.clone());
                (original_id, self.judge(draft, &key, path))
            }
            Ok(None) => (path.to_owned(), Action::Skip(SkipReason::NotKeep)),
            Err(error) => (path.to_owned(), Action::Fail(error.chain())),
        };
        let key = key(import, original_id);
        self.add(PlannedItem { key, action, path: path.to_owned(), row, bytes })
    }

    /// The item's own name, with its path behind it if another item has the name already.
    fn unused(&mut self, original_id: &str, path: &str) -> String {
        let mut name = original_id.to_owned();
        if self.taken.contains(&name) {
            name = with_path(original_id, path);
        }
        self.taken.insert(name.clone());
        name
    }

    fn judge(&mut self, draft: Draft, key: &ItemKey, path: &str) -> Action {
        let item = draft.finish(key, path);
        let action = match (self.known)(key) {
            None => Action::New,
            Some(known) if known.content_hash == item.provenance.content_hash => Action::Same,
            Some(_) => Action::Update,
        };
        if action.writes() {
            self.plan.totals.attachments += item.attachments.len() as u64;
            self.plan.totals.attachment_bytes +=
                item.attachments.iter().map(|attachment| attachment.bytes).sum::<u64>();
            item.losses.into_iter().for_each(|loss| self.lose(loss));
            if self.plan.sample.len() < SAMPLE_MAX {
                let title = item.fields.get("title").and_then(Field::as_text).map(str::to_owned);
                let (path, collection) = (path.to_owned(), item.collection);
                self.plan.sample.push(Sample { path, collection, id: item.id, title });
            }
        }
        action
    }

    fn leftovers(&mut self, import: &Import<'_>, used: &[String]) -> Result<(), PlanError> {
        let used: BTreeSet<&String> = used.iter().collect();
        for (path, reason) in &import.library.refused {
            let action = Action::Fail(ItemError::from(*reason).chain());
            self.left(import, path, 0, action)?;
        }
        let mut last_hidden = "";
        for (path, entry) in &import.library.entries {
            if used.contains(path) || import.library.is_referenced(path) {
                continue;
            }
            if let Some(hidden) = hidden_part(path) {
                // One line for a hidden folder, not one for each of its thousand files.
                if hidden != last_hidden {
                    self.left(import, hidden, 0, Action::Skip(SkipReason::Hidden))?;
                }
                last_hidden = hidden;
                continue;
            }
            let reason = leftover_reason(import, path);
            self.left(import, path, entry.bytes, Action::Skip(reason))?;
        }
        Ok(())
    }

    fn left(
        &mut self,
        import: &Import<'_>,
        path: &str,
        bytes: u64,
        action: Action,
    ) -> Result<(), PlanError> {
        let key = key(import, path.to_owned());
        self.add(PlannedItem { key, action, path: path.to_owned(), row: None, bytes })
    }

    fn add(&mut self, item: PlannedItem) -> Result<(), PlanError> {
        if self.plan.items.len() >= ITEMS_MAX {
            return Err(PlanError::TooManyItems { items_max: ITEMS_MAX });
        }
        let totals = &mut self.plan.totals;
        match &item.action {
            Action::New => totals.new += 1,
            Action::Update => totals.update += 1,
            Action::Same => totals.same += 1,
            Action::Skip(_) => totals.skip += 1,
            Action::Fail(_) => totals.fail += 1,
        }
        if item.action.writes() {
            totals.bytes += item.bytes;
        }
        self.plan.items.push(item);
        Ok(())
    }

    fn lose(&mut self, loss: Loss) {
        if self.plan.losses.len() < REPORT_LINES_MAX {
            self.plan.losses.push(loss);
        } else {
            self.plan.losses_left_out += 1;
        }
    }

    fn word(&mut self) -> Result<(), PlanError> {
        match (self.progress)(self.at) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(PlanError::Stopped),
        }
    }
}

/// The name of an item whose own name another item has already.
pub(crate) fn with_path(original_id: &str, path: &str) -> String {
    format!("{original_id}/{path}")
}

fn key(import: &Import<'_>, original_id: String) -> ItemKey {
    ItemKey { importer: import.importer, scope: import.options.scope.clone(), original_id }
}

fn leftover_reason(import: &Import<'_>, path: &str) -> SkipReason {
    let ending = extension(path);
    if ARCHIVES.contains(&ending.as_str()) {
        return SkipReason::NestedArchive;
    }
    let twin = path.rsplit_once('.').map(|(stem, _)| format!("{stem}.json"));
    let has_twin = twin.is_some_and(|twin| import.library.entries.contains_key(&twin));
    match import.importer {
        Importer::Keep if ending == "html" && has_twin => SkipReason::HtmlTwin,
        Importer::Keep | Importer::Markdown => SkipReason::NotReferenced,
        Importer::Csv => SkipReason::OtherKind,
    }
}

#[cfg(test)]
mod tests;
