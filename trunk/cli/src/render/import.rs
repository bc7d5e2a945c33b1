//! Imports.

use crate::format::{bytes, count, counted, span};
use crate::look::{Look, Tone, clean_json, clean_line};
use crate::render::done;
use crate::table::Table;
use rhizome_api::import::{ApplyAnswer, ImportKind, Item, ListAnswer, PlanAnswer, UndoAnswer};

/// How many items of a report are shown to people; `--json` has all of them.
const ITEMS_SHOWN: usize = 20;

const fn kind(kind: ImportKind) -> &'static str {
    match kind {
        ImportKind::Markdown => "markdown",
        ImportKind::Keep => "keep",
        ImportKind::Csv => "csv",
    }
}

/// What an import would do.
pub(crate) fn plan(plan: &PlanAnswer, look: &Look) -> String {
    let (new, updated) = (count(plan.new), count(plan.updated));
    let attachments = counted(plan.attachments, "attachment", "attachments");
    let mut out = format!(
        "{} → {}: {new} new, {updated} changed, {} already there, {attachments}, {}\n",
        clean_line(&plan.path),
        clean_line(&plan.collection),
        count(plan.unchanged),
        bytes(plan.bytes),
    );
    for sample in &plan.sample {
        let (path, source) = (clean_line(&sample.path), clean_line(&sample.source));
        let fields = clean_json(&sample.fields.to_string());
        out += &format!("  {path}  from {source}\n    {}\n", look.paint(Tone::Faint, fields));
    }
    for loss in &plan.losses {
        let mark = look.paint(Tone::Attention, "would be lost:");
        out += &format!("{mark} {}, {} times\n", clean_line(&loss.what), count(loss.count));
    }
    out + &items("cannot be read", &plan.failed, look)
}

fn items(what: &str, items: &[Item], look: &Look) -> String {
    let mut out = String::new();
    for item in items.iter().take(ITEMS_SHOWN) {
        let mark = look.paint(Tone::Attention, format!("{what}:"));
        out += &format!("{mark} {}: {}\n", clean_line(&item.path), clean_line(&item.reason));
    }
    if let Some(more) = items.len().checked_sub(ITEMS_SHOWN).filter(|more| *more > 0) {
        out += &format!("  … and {more} more; --json lists all\n");
    }
    out
}

/// What an import did.
pub(crate) fn report(answer: &ApplyAnswer, look: &Look) -> String {
    let summary = format!(
        "{} imported, {} updated, {} already there, {} skipped, {} failed, {}, {} in {}",
        count(answer.imported),
        count(answer.updated),
        count(answer.unchanged),
        answer.skipped.len(),
        answer.failed.len(),
        counted(answer.attachments, "attachment", "attachments"),
        bytes(answer.bytes),
        span(answer.took_ms),
    );
    done(&summary, look)
        + &items("skipped", &answer.skipped, look)
        + &items("failed", &answer.failed, look)
}

/// What was taken back.
pub(crate) fn undone(answer: &UndoAnswer, look: &Look) -> String {
    let removed = counted(answer.removed, "document", "documents");
    let mut text = format!("Import {} taken back: {removed} removed", answer.batch);
    if answer.restored > 0 {
        text += &format!(", {} as before", count(answer.restored));
    }
    done(&(text + "."), look) + &items("kept", &answer.kept, look)
}

/// The answer to `import list`.
pub(crate) fn list(answer: &ListAnswer, look: &Look) -> String {
    let mut table = Table::new(&["batch", "kind", "when", "imported", "failed", "state", "from"]);
    for batch in &answer.batches {
        let state = match (batch.undone, batch.finished) {
            (true, _) => "taken back",
            (false, true) => "done",
            (false, false) => "interrupted",
        };
        let age = look.when(batch.at_ms);
        let (imported, failed) = (look.count(batch.imported), look.count(batch.failed));
        table.row(&[&batch.id, kind(batch.kind), &age, &imported, &failed, state, &batch.path]);
    }
    table.text(look)
}
