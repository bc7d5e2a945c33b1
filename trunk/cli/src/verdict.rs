//! Whether the data is safe, from acknowledgements alone.

use crate::format;
use crate::look::{Look, Tone};
use rhizome_api::status::{State, StateWord, StatusAnswer};

/// How safe everything is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Verdict {
    /// How good that is.
    pub(crate) level: Level,
    /// In a sentence.
    pub(crate) sentence: String,
}

/// How good a verdict is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Level {
    /// Everything is confirmed, and somebody else acknowledged holding all of it.
    Safe,
    /// Nothing is lost, but something waits or exists once only.
    Waiting,
    /// A person must do something.
    Alarm,
}

impl Level {
    /// The sign and its tone; the sign alone says it, too.
    pub(crate) const fn mark(self) -> (&'static str, Tone) {
        match self {
            Self::Safe => ("●", Tone::Good),
            Self::Waiting => ("◐", Tone::Attention),
            Self::Alarm => ("✘", Tone::Bad),
        }
    }
}

/// Judges. What the pod says about itself is not enough for [`Level::Safe`]: each fact that it
/// rests on must be there, too.
pub(crate) fn verdict(status: &StatusAnswer) -> Verdict {
    let say = |level, sentence: String| Verdict { level, sentence };
    match status.state.is {
        _ if status.identity.is_none() => {
            say(Level::Waiting, "There is no identity here yet.".to_owned())
        }
        StateWord::NeedsAttention | StateWord::LowDisk | StateWord::Locked => {
            say(Level::Alarm, state_sentence(&status.state, status.now_ms))
        }
        StateWord::UpToDate => match doubt(status) {
            Some(doubt) => say(Level::Waiting, doubt),
            None => say(Level::Safe, safe_sentence(status)),
        },
        _ => say(Level::Waiting, state_sentence(&status.state, status.now_ms)),
    }
}

/// Why it cannot be called safe although the pod has nothing left to do.
fn doubt(status: &StatusAnswer) -> Option<String> {
    let changes = |number| format::counted(number, "change", "changes");
    let others = status.devices.iter().filter(|device| !device.this);
    if let Some(waiting) = status.order.waiting.first() {
        let since = format::ago(status.now_ms, waiting.since_ms);
        return Some(format!("{} wait for {}, {since}.", waiting.what, waiting.for_whom));
    }
    if !status.order.committed_all {
        return Some("Saved here; waiting for order.".to_owned());
    }
    if others.clone().count() == 0 {
        return Some("Saved on this device only; nobody else holds a copy.".to_owned());
    }
    if status.durability.local_only > 0 {
        return Some(format!("{} on this device only.", changes(status.durability.local_only)));
    }
    if status.durability.full_copies == 0 || !others.clone().any(|device| device.holds_all) {
        return Some("Saved here; nobody else acknowledged holding everything.".to_owned());
    }
    None
}

fn safe_sentence(status: &StatusAnswer) -> String {
    let copies = status.durability.full_copies;
    let elsewhere = format::counted(copies, "other place", "other places");
    format!("All changes confirmed. Everything is here and in {elsewhere}.")
}

/// The state in a sentence: who, since when, why.
pub(crate) fn state_sentence(state: &State, now_ms: u64) -> String {
    let who = state.who.as_deref().unwrap_or("another device");
    let since = state.since_ms.map(|then| format!(", since {}", format::ago(now_ms, then)));
    let since = since.unwrap_or_default();
    let reason = state.reason.as_deref();
    match state.is {
        StateWord::UpToDate => "Up to date.".to_owned(),
        StateWord::SavingHere => "Saving here.".to_owned(),
        StateWord::Copying => match state.left {
            Some(left) => format!("Copying: {} left to {who}{since}.", format::count(left)),
            None => format!("Copying to {who}{since}."),
        },
        StateWord::WaitingForDevice => format!("Saved here; waiting for {who}{since}."),
        StateWord::OrderPending => {
            format!("Saved here; waiting for order: {who} is unreachable{since}.")
        }
        StateWord::NeedsAttention => {
            format!("Needs attention: {}{since}.", reason.unwrap_or("see rhizome doctor"))
        }
        StateWord::Paused => format!("Paused{since}."),
        StateWord::LowDisk => "Low disk: writing stops or has stopped; reading goes on.".to_owned(),
        StateWord::Locked => {
            format!("Locked: recovery kit {} is needed.", reason.unwrap_or("(unknown)"))
        }
    }
}

/// The verdict with its sign.
pub(crate) fn line(verdict: &Verdict, look: &Look) -> String {
    let (sign, tone) = verdict.level.mark();
    format!("{} {}", look.paint(tone, sign), look.paint(Tone::Strong, &verdict.sentence))
}

#[cfg(test)]
mod tests;
