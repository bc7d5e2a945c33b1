//! The recovery kit and what it brings back.

use crate::format::{bytes, count, counted, moment, span};
use crate::look::{Look, Tone, clean_line};
use crate::render::{device, done};
use crate::table::Table;
use rhizome_api::device::Device;
use rhizome_api::recovery::{ConfirmAnswer, KitAnswer, RestoreAnswer, TestAnswer};

/// Words per line of the sheet.
const WORDS_PER_LINE: usize = 4;

/// Characters of the code between two spaces.
const CODE_GROUP: usize = 4;

/// The sheet to write down or to print.
pub(crate) fn kit(kit: &KitAnswer, look: &Look) -> String {
    let name = look.paint(Tone::Strong, clean_line(&kit.identity));
    let mut out = format!("Recovery kit {} of {name}\n\n", clean_line(&kit.key_id));
    let words: Vec<&str> = kit.words.expose().split_whitespace().collect();
    for (row, line) in words.chunks(WORDS_PER_LINE).enumerate() {
        let cells = line.iter().enumerate().map(|(column, word)| {
            format!("{:>4}. {:<12}", row * WORDS_PER_LINE + column + 1, clean_line(word))
        });
        out += &format!("{}\n", cells.collect::<String>().trim_end());
    }
    let code: Vec<char> = clean_line(kit.code.expose()).chars().collect();
    let groups: Vec<String> = code.chunks(CODE_GROUP).map(|group| group.iter().collect()).collect();
    out += &format!("\nThe same as a code:\n  {}\n", groups.join(" "));
    if !kit.peers.is_empty() {
        out += &format!("\nEncrypted copy at: {}\n", clean_line(&kit.peers.join(", ")));
    }
    out += "
Whoever has this sheet can read everything. Write it by hand or print it, and keep it
away from this computer. It stays valid when devices come and go. To use it:
  rhizome recovery restore --peer ADDRESS
";
    out
}

/// The kit was written down.
pub(crate) fn confirmed(answer: &ConfirmAnswer, look: &Look) -> String {
    let when = moment(answer.confirmed_ms);
    done(&format!("Recovery kit {} confirmed, {when}.", answer.key_id), look)
}

/// What a rehearsal showed.
pub(crate) fn tested(answer: &TestAnswer, look: &Look) -> String {
    let (came, here) = (count(answer.documents), count(answer.documents_here));
    let from = clean_line(&answer.from);
    let took = span(answer.took_ms);
    let mut out = match answer.complete {
        true => done(&format!("All {came} documents came back from {from} in {took}."), look),
        false => {
            let cross = look.paint(Tone::Bad, "✘");
            format!("{cross} {came} of {here} documents came back from {from} in {took}.\n")
        }
    };
    if answer.newer_here > 0 {
        let changes = counted(answer.newer_here, "change", "changes");
        out += &format!("  {changes} made here since had not reached {from}.\n");
    }
    out
}

/// What the peer has.
pub(crate) fn found(
    name: &str,
    devices: &[Device],
    last_change_ms: Option<u64>,
    look: &Look,
) -> String {
    let last = last_change_ms.map_or_else(|| "unknown".to_owned(), |then| look.when(then));
    let name = look.paint(Tone::Strong, clean_line(name));
    let number = counted(devices.len() as u64, "device", "devices");
    let mut table = Table::new(&["name", "what", "last heard"]);
    for one in devices {
        table.row(&[&one.name, device::sort(one), &device::heard(one, look)]);
    }
    format!("Found {name}, last change {last}, {number}\n{}", table.text(look).trim_end())
}

/// Everything is back, or would be.
pub(crate) fn restored(answer: &RestoreAnswer, dry_run: bool, look: &Look) -> String {
    let name = &answer.identity.name;
    if dry_run {
        return done(&format!("{name} can be brought back; nothing was changed."), look);
    }
    let documents = counted(answer.documents, "document", "documents");
    let (size, took) = (bytes(answer.bytes), span(answer.took_ms));
    let mut out = done(&format!("{name} is back: {documents}, {size}, in {took}."), look);
    if let Some(newest) = answer.newest_ms {
        out += &format!("  The newest change is of {}.\n", moment(newest));
    }
    if !answer.retired.is_empty() {
        out += &format!("  Removed: {}.\n", clean_line(&answer.retired.join(", ")));
    }
    out
}
