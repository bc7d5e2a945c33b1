//! The answers of `rhizome cluster`.

use super::{clean_line, done};
use crate::look::{Look, Tone};
use rhizome_api::cluster::ReformAnswer;

/// What a reform does or did.
pub(crate) fn reform(answer: &ReformAnswer, look: &Look) -> String {
    let name = clean_line(&answer.voter.name);
    let mut out = String::new();
    if !answer.done {
        let before = names(&answer.voters_before);
        out += &format!("{} without {before}:\n", look.paint(Tone::Attention, "Going on"));
    }
    for step in &answer.steps {
        let sign = if answer.done { look.paint(Tone::Good, "✔") } else { "•".to_owned() };
        out += &format!("  {sign} {}\n", clean_line(step));
    }
    if !answer.done && answer.unreachable.is_empty() {
        let note = look.paint(Tone::Attention, "Note:");
        out += &format!("{note} all devices that order can be reached; nothing is lost.\n");
    }
    if let Some(why) = answer.needs_kit.as_ref().filter(|_| !answer.done) {
        out += &format!("{} {}.\n", look.paint(Tone::Attention, "Note:"), clean_line(why));
    }
    if answer.done && answer.committed {
        out += &done(&format!("{name} confirms from now on."), look);
        out += "\n";
    }
    if answer.done && !answer.committed {
        out += &format!("Decided here; it counts once {name} hears of it.\n");
    }
    out
}

fn names(all: &[String]) -> String {
    let all: Vec<String> = all.iter().map(|name| clean_line(name)).collect();
    all.join(", ")
}
