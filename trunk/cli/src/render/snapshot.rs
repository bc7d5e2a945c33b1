//! Checkpoints.

use crate::format::{bytes, counted};
use crate::look::{Look, Tone, clean_line};
use crate::render::{done, short};
use crate::table::Table;
use rhizome_api::snapshot::{CreateAnswer, ExportAnswer, ListAnswer, Snapshot, VerifyAnswer};

/// The answer to `snapshot create`.
pub(crate) fn created(answer: &CreateAnswer, look: &Look) -> String {
    let cut = &answer.snapshot;
    let size = format!("{}, {} of them new", bytes(cut.bytes), bytes(cut.new_bytes));
    let documents = counted(cut.documents, "document", "documents");
    let mut out = done(&format!("Checkpoint {}: {documents}, {size}.", short(&cut.id)), look);
    out += &format!("  {}\n", kept(cut));
    if !answer.waiting_for.is_empty() {
        out += &format!("  Waiting for {}.\n", clean_line(&answer.waiting_for.join(", ")));
    }
    if !answer.unsealed_by.is_empty() {
        let silent = clean_line(&answer.unsealed_by.join(", "));
        out += &format!("  Not compared yet with {silent}.\n");
    }
    out
}

fn kept(snapshot: &Snapshot) -> String {
    match snapshot.pinned_by.as_slice() {
        [] => "Kept by nobody else yet.".to_owned(),
        holders => format!("Kept by {}.", clean_line(&holders.join(", "))),
    }
}

/// The answer to `snapshot list`.
pub(crate) fn list(answer: &ListAnswer, look: &Look) -> String {
    let mut table = Table::new(&["checkpoint", "when", "documents", "size", "sealed", "kept by"]);
    for snapshot in &answer.snapshots {
        let id = if look.plain { snapshot.id.clone() } else { short(&snapshot.id) };
        let sealed = if snapshot.sealed { "yes" } else { "not yet" };
        let holders = match snapshot.pinned_by.as_slice() {
            [] => "-".to_owned(),
            holders => holders.join(", "),
        };
        let age = look.when(snapshot.created_ms);
        let (documents, size) = (look.count(snapshot.documents), bytes(snapshot.bytes));
        table.row(&[&id, &age, &documents, &size, sealed, &holders]);
    }
    table.text(look)
}

/// The answer to `snapshot verify`.
pub(crate) fn verified(answer: &VerifyAnswer, look: &Look) -> String {
    let id = short(&answer.snapshot.id);
    let blocks = counted(answer.blocks, "block", "blocks");
    let mut out = match (answer.root_matches, answer.missing.as_slice()) {
        (true, []) => done(&format!("{id}: the log gives the same state; {blocks} whole."), look),
        (false, _) => {
            let cross = look.paint(Tone::Bad, "✘");
            format!("{cross} {id}: the log gives another state than was sealed.\n")
        }
        (true, _) => String::new(),
    };
    for block in &answer.missing {
        out += &format!("{} {} is missing or damaged\n", look.paint(Tone::Bad, "✘"), short(block));
    }
    for holder in &answer.holders {
        let (sign, tone) =
            if holder.had == holder.asked { ("✔", Tone::Good) } else { ("✘", Tone::Bad) };
        let name = clean_line(&holder.holder);
        let (had, asked) = (holder.had, holder.asked);
        out += &format!("{} {name} had {had} of {asked} blocks\n", look.paint(tone, sign));
    }
    out
}

/// The answer to `snapshot export`.
pub(crate) fn exported(answer: &ExportAnswer, look: &Look) -> String {
    let blocks = counted(answer.blocks, "block", "blocks");
    let size = bytes(answer.bytes);
    done(&format!("{}: {blocks}, {size}, root {}", answer.path, answer.root), look)
}
