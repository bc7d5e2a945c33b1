//! Devices, linking and joining.

use crate::format::{count, counted};
use crate::look::{Look, Tone, clean_line};
use crate::qr;
use crate::render::{done, short};
use crate::table::Table;
use rhizome_api::DeviceKind;
use rhizome_api::device::{
    AwayAnswer, Device, JoinAnswer, LinkEvent, ListAnswer, LostAnswer, RenameAnswer, Role,
};
use rhizome_api::identity::Identity;

/// What a device is, for this person.
pub(crate) const fn sort(device: &Device) -> &'static str {
    if device.this {
        return "this device";
    }
    if !device.trusted {
        return "encrypted copy";
    }
    kind(device.kind)
}

const fn kind(kind: DeviceKind) -> &'static str {
    match kind {
        DeviceKind::Desktop => "desktop",
        DeviceKind::Laptop => "laptop",
        DeviceKind::Phone => "phone",
        DeviceKind::Browser => "browser",
        DeviceKind::HomeServer => "home server",
        DeviceKind::CloudPeer => "cloud peer",
    }
}

/// What it acknowledged holding.
pub(crate) fn holds(device: &Device) -> String {
    match (device.holds_all, device.behind) {
        (true, _) => "everything".to_owned(),
        (false, Some(behind)) => format!("{} behind", count(behind)),
        (false, None) => "unknown".to_owned(),
    }
}

/// What it does about the order.
pub(crate) const fn role(device: &Device) -> &'static str {
    match device.role {
        Role::Orders => "orders",
        Role::Votes => "votes",
        Role::Follows => "follows",
    }
}

/// When it was heard of.
pub(crate) fn heard(device: &Device, look: &Look) -> String {
    if device.this || device.connected {
        return "now".to_owned();
    }
    let then = device.last_heard_ms.map_or_else(|| "never".to_owned(), |then| look.when(then));
    if device.away { format!("{then}, away") } else { then }
}

/// The answer to `device list`.
pub(crate) fn list(answer: &ListAnswer, look: &Look) -> String {
    let mut table = Table::new(&["name", "what", "holds", "order", "last heard", "id"]);
    for device in &answer.devices {
        let id = if look.plain { device.id.clone() } else { short(&device.id) };
        let heard = heard(device, look);
        table.row(&[&device.name, sort(device), &holds(device), role(device), &heard, &id]);
    }
    table.text(look)
}

/// The code to scan or to type.
pub(crate) fn code(event: &LinkEvent, look: &Look) -> String {
    let LinkEvent::Code { words, qr_text, expires_ms, addresses } = event else {
        return String::new();
    };
    let left = expires_ms.saturating_sub(look.now_ms) / 1_000;
    let mut out = String::new();
    if let Some(drawn) = qr::half_blocks(qr_text.expose()) {
        out += &format!("Scan with the new device (one use, {}:{:02}):\n", left / 60, left % 60);
        out += &(drawn + "\n");
    }
    let words = look.paint(Tone::Strong, clean_line(words.expose()));
    out += &format!("or run  rhizome device join  there and type:  {words}\n");
    if !addresses.is_empty() {
        let places: Vec<String> =
            addresses.iter().map(|address| format!("--at {}", clean_line(address))).collect();
        out += &format!("On another network add:  {}\n", places.join(" "));
    }
    out + "Waiting…"
}

/// Somebody wants to join. The name is what the newcomer says of itself.
pub(crate) fn asking(name: &str, is: DeviceKind, address: &str, look: &Look) -> String {
    let name = look.paint(Tone::Strong, format!("\"{}\"", clean_line(name)));
    format!("{name} ({}) wants to join, from {}", kind(is), clean_line(address))
}

/// Linking is finished.
pub(crate) fn linked(device: &Device, look: &Look) -> String {
    let order = match device.role {
        Role::Follows => "it does not hold up ordering",
        Role::Votes | Role::Orders => "it takes part in ordering",
    };
    done(&format!("Linked: {} ({}); {order}.", device.name, kind(device.kind)), look)
}

/// The digits to type on the other device.
pub(crate) fn digits(digits: &str, look: &Look) -> String {
    let middle = digits.len() / 2;
    let grouped = match digits.is_char_boundary(middle) {
        true => format!("{} {}", &digits[..middle], &digits[middle..]),
        false => digits.to_owned(),
    };
    let grouped = look.paint(Tone::Strong, clean_line(&grouped));
    format!("Type these digits on the other device:  {grouped}")
}

/// This device belongs to the identity; documents may still arrive.
pub(crate) fn joined(identity: &Identity, adopted: u64, look: &Look) -> String {
    let mut out = done(&format!("Joined {}.", identity.name), look);
    if adopted > 0 {
        let documents = counted(adopted, "document", "documents");
        out += &format!("  {documents} that were here before came along.\n");
    }
    out.trim_end().to_owned()
}

/// Joining is finished.
pub(crate) fn join_done(answer: &JoinAnswer, look: &Look) -> String {
    let documents = counted(answer.documents, "document", "documents");
    let (device, identity) = (&answer.device.name, &answer.identity.name);
    done(&format!("{documents} copied. {device} is a device of {identity}."), look)
}

/// The answer to `device rename`.
pub(crate) fn renamed(answer: &RenameAnswer, look: &Look) -> String {
    done(&format!("It is called {} now.", answer.device.name), look)
}

/// The answer to `device away`.
pub(crate) fn away(answer: &AwayAnswer, look: &Look) -> String {
    let name = clean_line(&answer.device.name);
    match answer.device.away {
        true => done(&format!("{name} counts as away: nobody waits for it."), look),
        false => done(&format!("{name} counts as here."), look),
    }
}

/// What losing a device does or did.
pub(crate) fn lost(answer: &LostAnswer, look: &Look) -> String {
    let name = clean_line(&answer.device.name);
    let mut out = if answer.done {
        String::new()
    } else {
        format!("{} {name} will:\n", look.paint(Tone::Attention, "Removing"))
    };
    for step in &answer.steps {
        let sign = if answer.done { look.paint(Tone::Good, "✔") } else { "•".to_owned() };
        out += &format!("  {sign} {}\n", clean_line(step));
    }
    if let Some(why) = answer.needs_kit.as_ref().filter(|_| !answer.done) {
        out += &format!("{} {}.\n", look.paint(Tone::Attention, "Note:"), clean_line(why));
    }
    let documents = counted(answer.may_hold_documents, "document", "documents");
    out += &format!("It may still hold what it already had: {documents}.\n");
    let heard = heard(&answer.device, look);
    out += &format!("It was last heard of: {heard}.\n");
    if let (Some(before), Some(after)) = (&answer.key_before, &answer.key_after) {
        let (before, after) = (clean_line(before), clean_line(after));
        out += &format!("Keys changed ({before} → {after}). ");
        out += "Your recovery kit is still valid; nothing to reprint.\n";
    }
    if answer.done && !answer.committed {
        out += "Removed here; the others learn of it when they are reached.\n";
    }
    out
}
