//! Events and segments.

use crate::format::{bytes, count, moment, span};
use crate::look::{Look, Tone, clean_line};
use crate::render::{done, durability, short};
use rhizome_api::log::{Entry, VerifyAnswer};

/// One event, on one line.
pub(crate) fn entry(entry: &Entry, look: &Look) -> String {
    let id = if look.plain { clean_line(&entry.id) } else { short(&entry.id) };
    let place = entry.position.map_or_else(|| "-".to_owned(), |at| format!("{}:{}", at.g, at.i));
    let app = entry.app.as_deref().unwrap_or("control");
    let cells = [
        moment(entry.at_ms),
        clean_line(&entry.device),
        clean_line(app),
        entry.seq.to_string(),
        place,
        clean_line(&entry.summary),
        durability(entry.durability).to_owned(),
        id,
    ];
    cells.join(if look.plain { "\t" } else { "  " }) + "\n"
}

/// The answer to `log verify`.
pub(crate) fn verify(answer: &VerifyAnswer, look: &Look) -> String {
    let read = format!(
        "{} segments, {} blocks, {} events, {} signatures, {} in {}",
        count(answer.segments),
        count(answer.blocks),
        count(answer.events),
        count(answer.signatures),
        bytes(answer.bytes),
        span(answer.took_ms),
    );
    if answer.damage.is_empty() {
        return done(&format!("Whole: {read}."), look);
    }
    let mut out = format!("Read {read}.\n");
    for damage in &answer.damage {
        let (sign, tone, end) = match damage.repaired {
            true => ("✔", Tone::Attention, "repaired from a peer"),
            false => ("✘", Tone::Bad, "not repaired"),
        };
        let place = format!("{} at {}", clean_line(&damage.segment), damage.offset);
        let what = clean_line(&damage.what);
        out += &format!("{} {place}: {what} ({end})\n", look.paint(tone, sign));
    }
    out
}
