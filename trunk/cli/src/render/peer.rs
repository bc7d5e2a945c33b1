//! Cloud peers.

use crate::format::bytes;
use crate::look::{Look, Tone, clean_line};
use crate::render::{device, done};
use crate::table::Table;
use rhizome_api::peer::{AddAnswer, ListAnswer, TestAnswer};
use rhizome_api::pod::InviteAnswer;

/// The answer to `peer add`.
pub(crate) fn added(answer: &AddAnswer, look: &Look) -> String {
    let name = &answer.peer.device.name;
    let mut out = done(&format!("Added {name}. It stores encrypted data."), look);
    let told = [("It can see", &answer.sees), ("It cannot see", &answer.cannot_see)];
    for (lead, what) in told {
        if !what.is_empty() {
            out += &format!("  {lead}: {}.\n", clean_line(&what.join(", ")));
        }
    }
    out
}

/// The answer to `peer list`.
pub(crate) fn list(answer: &ListAnswer, look: &Look) -> String {
    let mut table = Table::new(&["name", "what", "holds", "size", "last heard", "address"]);
    for peer in &answer.peers {
        let size = match (peer.holds_bytes, peer.quota_bytes) {
            (Some(held), Some(quota)) => format!("{} of {}", bytes(held), bytes(quota)),
            (Some(held), None) => bytes(held),
            (None, _) => "unknown".to_owned(),
        };
        let heard = match &peer.last_error {
            Some(error) if !peer.device.connected => {
                format!("{}: {error}", device::heard(&peer.device, look))
            }
            _ => device::heard(&peer.device, look),
        };
        let (sort, holds) = (device::sort(&peer.device), device::holds(&peer.device));
        let addresses = peer.addresses.join(" ");
        table.row(&[&peer.device.name, sort, &holds, &size, &heard, &addresses]);
    }
    table.text(look)
}

/// The answer to `peer test`.
pub(crate) fn test(answer: &TestAnswer, look: &Look) -> String {
    let mut out = String::new();
    for step in &answer.steps {
        let sign = match step.ok {
            true => look.paint(Tone::Good, "✔"),
            false => look.paint(Tone::Bad, "✘"),
        };
        let detail = match step.detail.as_str() {
            "" => String::new(),
            detail => format!(": {}", clean_line(detail)),
        };
        out += &format!("{sign} {}{detail}\n", clean_line(&step.what));
    }
    let peer = clean_line(&answer.peer);
    out += &match (answer.reachable, answer.round_trip_ms) {
        (true, Some(ms)) => format!("{peer} answers within {ms} ms.\n"),
        (true, None) => format!("{peer} answers.\n"),
        (false, _) => format!("{peer} cannot be reached; your changes stay saved here.\n"),
    };
    out
}

/// The answer to `peer invite`: the text alone, to be handed on.
pub(crate) fn invite(answer: &InviteAnswer, _look: &Look) -> String {
    clean_line(&answer.url) + "\n"
}
