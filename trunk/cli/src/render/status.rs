//! `status` and `doctor`: is my data safe, where is it, who is waiting for whom since when.

use crate::format::{ago, bytes, count, counted, span};
use crate::look::{Look, Tone, clean_line};
use crate::render::device;
use crate::table::Table;
use crate::verdict;
use rhizome_api::status::{DoctorAnswer, FindingLevel, StatusAnswer};

/// The answer to `status`.
pub(crate) fn status(status: &StatusAnswer, look: &Look) -> String {
    let look = &Look { now_ms: status.now_ms, ..*look };
    let verdict = verdict::line(&verdict::verdict(status), look);
    let mut out = format!("{}\n{verdict}\n", title(status, look));
    if let Some(action) = &status.state.action {
        out += &format!("  {}\n", clean_line(action));
    }
    if status.identity.is_some() {
        out += &("\n".to_owned() + &travelled(status, look));
        out += &("\n".to_owned() + &places(status, look));
        out += &waiting(status, look);
        out += &("\n".to_owned() + &facts(status, look));
    }
    out
}

fn title(status: &StatusAnswer, look: &Look) -> String {
    let this = status.devices.iter().find(|device| device.this);
    let name = match (&status.identity, this) {
        (Some(identity), Some(this)) => format!("{} on {}", identity.name, this.name),
        (Some(identity), None) => identity.name.clone(),
        (None, _) => "Rhizome".to_owned(),
    };
    let place = format!("{} · {}", status.version, status.dir);
    let name = look.paint(Tone::Strong, clean_line(&name));
    format!("{name}  {}", look.paint(Tone::Faint, clean_line(&place)))
}

fn travelled(status: &StatusAnswer, look: &Look) -> String {
    let far = &status.durability;
    let parts = [
        (far.local_only, "on this device only"),
        (far.copied, "copied, not confirmed"),
        (far.committed, "confirmed"),
        (far.pinned, "in a kept checkpoint"),
        (far.aside, "of removed devices, set aside"),
    ];
    let told = parts.iter().filter(|(number, _)| *number > 0);
    let told: Vec<String> =
        told.map(|(number, what)| format!("{} {what}", count(*number))).collect();
    let told = if told.is_empty() { "none yet".to_owned() } else { told.join(" · ") };
    format!("{}  {told}\n", look.paint(Tone::Strong, "Changes"))
}

fn places(status: &StatusAnswer, look: &Look) -> String {
    let mut table = Table::new(&["where", "what", "holds", "order", "last heard"]);
    for one in &status.devices {
        table.row(&[
            &one.name,
            device::sort(one),
            &device::holds(one),
            device::role(one),
            &device::heard(one, look),
        ]);
    }
    table.text(look)
}

fn waiting(status: &StatusAnswer, look: &Look) -> String {
    let mut out = String::new();
    for wait in &status.order.waiting {
        let line = format!("{} for {}", clean_line(&wait.what), clean_line(&wait.for_whom));
        let since = look.when(wait.since_ms);
        let mark = look.paint(Tone::Attention, "Waiting");
        out += &format!("\n{mark}  {line}, since {since}\n");
        if !wait.action.is_empty() {
            out += &format!("         {}\n", clean_line(&wait.action));
        }
    }
    out
}

fn facts(status: &StatusAnswer, look: &Look) -> String {
    let mut out = String::new();
    let mut fact = |name: &str, text: &str| {
        let name = look.paint(Tone::Strong, format!("{name:<13}"));
        out += &format!("{name} {}\n", clean_line(text));
    };
    let order = &status.order;
    let leader = order.leader.as_deref().unwrap_or("nobody known");
    let index = format!("generation {}, index {}", order.generation, count(order.index));
    let behind = order.index.saturating_sub(order.applied);
    let behind =
        if behind == 0 { String::new() } else { format!(", {} to apply here", count(behind)) };
    fact("Order", &format!("{index}{behind} · {leader} orders · {}", voters(&order.voters)));
    let stored = &status.storage;
    fact(
        "Storage",
        &format!(
            "{} · {} · {} and {} of index",
            counted(stored.documents, "document", "documents"),
            counted(stored.attachments, "attachment", "attachments"),
            bytes(stored.segment_bytes),
            bytes(stored.index_bytes),
        ),
    );
    match &status.snapshot {
        Some(newest) => {
            let age = ago(status.now_ms, newest.created_ms);
            let held = match newest.pinned_by.as_slice() {
                [] => "kept by nobody else yet".to_owned(),
                holders => format!("kept by {}", holders.join(", ")),
            };
            fact("Checkpoint", &format!("{age} · {held}"));
        }
        None => fact("Checkpoint", "none yet"),
    }
    if let Some(identity) = &status.identity {
        let state = if identity.kit_confirmed {
            "written down".to_owned()
        } else {
            "not confirmed yet: rhizome recovery kit".to_owned()
        };
        fact("Recovery kit", &format!("{} {state}", identity.kit_key_id));
    }
    if !status.listening.is_empty() {
        fact("Listening", &status.listening.join(", "));
    }
    if let Some(hosting) = &status.hosting {
        let identities = counted(hosting.identities, "identity", "identities");
        fact("Hosting", &format!("{identities}, {}", bytes(hosting.bytes)));
    }
    out
}

fn voters(names: &[String]) -> String {
    match names {
        [] => "nobody votes".to_owned(),
        [only] => format!("{only} alone votes"),
        several => format!("{} vote", several.join(", ")),
    }
}

/// The answer to `doctor`.
pub(crate) fn doctor(answer: &DoctorAnswer, look: &Look) -> String {
    let mut out = String::new();
    for finding in &answer.findings {
        let (sign, tone) = match finding.level {
            FindingLevel::Ok => ("✔", Tone::Good),
            FindingLevel::Warning => ("!", Tone::Attention),
            FindingLevel::Problem => ("✘", Tone::Bad),
        };
        let what = clean_line(&finding.what);
        let detail = match finding.detail.as_str() {
            "" => String::new(),
            detail => format!(": {}", clean_line(detail)),
        };
        out += &format!("{} {what}{detail}\n", look.paint(tone, sign));
        if let Some(action) = &finding.action {
            out += &format!("  {}\n", clean_line(action));
        }
    }
    if answer.rebuilt {
        out += &format!("The index was rebuilt in {}.\n", span(answer.took_ms));
    }
    out
}
