//! What an import did, for people and for scripts.

use serde::Serialize;

use crate::item::{Action, ImportedItem, Importer, ItemFailure, Loss};
use crate::plan::Plan;

/// How many lines of each kind a report holds; beyond that it counts.
pub const REPORT_LINES_MAX: usize = 10_000;

/// The outcome of one batch.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Report {
    /// Version of this form.
    pub v: u8,
    /// The batch, for `import undo`.
    pub batch: String,
    /// The kind of source.
    pub importer: Importer,
    /// Documents that are new.
    pub imported: u64,
    /// Documents that changed.
    pub updated: u64,
    /// Documents that were there already.
    pub same: u64,
    /// Attachments written.
    pub attachments: u64,
    /// Their bytes.
    pub attachment_bytes: u64,
    /// What was left out on purpose.
    pub skipped: Vec<ReportLine>,
    /// What could not be imported.
    pub failed: Vec<ReportLine>,
    /// What could not be taken over of documents that were imported.
    pub losses: Vec<Loss>,
    /// How many lines did not fit.
    pub left_out: u64,
    /// Whether it was stopped before its end; running it again continues.
    pub stopped: bool,
}

/// One file and what about it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct ReportLine {
    /// The file.
    pub path: String,
    /// Why.
    pub reason: String,
}

impl Report {
    /// The report of a batch that is about to carry out `plan`; what it will not write is in it.
    #[must_use]
    pub fn begin(batch: impl Into<String>, plan: &Plan) -> Report {
        let mut report = Report {
            v: 1,
            batch: batch.into(),
            importer: plan.importer,
            imported: 0,
            updated: 0,
            same: plan.totals.same,
            attachments: 0,
            attachment_bytes: 0,
            skipped: Vec::new(),
            failed: Vec::new(),
            losses: Vec::new(),
            left_out: 0,
            stopped: false,
        };
        for item in &plan.items {
            let line = |reason: String| ReportLine { path: item.path.clone(), reason };
            match &item.action {
                Action::Skip(reason) => {
                    push(&mut report.skipped, line(reason.to_string()), &mut report.left_out);
                }
                Action::Fail(reason) => {
                    push(&mut report.failed, line(reason.clone()), &mut report.left_out);
                }
                Action::New | Action::Update | Action::Same => {}
            }
        }
        report
    }

    /// An item was written.
    pub fn wrote(&mut self, action: &Action, item: &ImportedItem) {
        match action {
            Action::Update => self.updated += 1,
            _ => self.imported += 1,
        }
        self.attachments += item.attachments.len() as u64;
        self.attachment_bytes += item.attachments.iter().map(|file| file.bytes).sum::<u64>();
        for loss in &item.losses {
            push(&mut self.losses, loss.clone(), &mut self.left_out);
        }
    }

    /// An item could not be read.
    pub fn failed(&mut self, failure: &ItemFailure) {
        self.failed_for(&failure.path, failure.source.chain());
    }

    /// An item could not be written, for a reason that lies with the pod.
    pub fn failed_for(&mut self, path: &str, reason: String) {
        let line = ReportLine { path: path.to_owned(), reason };
        push(&mut self.failed, line, &mut self.left_out);
    }

    /// Whether something is missing that the person may expect: exit code 9.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.stopped || !self.failed.is_empty()
    }
}

fn push<T>(lines: &mut Vec<T>, line: T, left_out: &mut u64) {
    if lines.len() < REPORT_LINES_MAX {
        lines.push(line);
    } else {
        *left_out += 1;
    }
}
