//! Answers as people read them. Pure: an answer and a look give a text.

pub(crate) mod cluster;
pub(crate) mod data;
pub(crate) mod device;
pub(crate) mod identity;
pub(crate) mod import;
pub(crate) mod log;
pub(crate) mod peer;
pub(crate) mod recovery;
pub(crate) mod snapshot;
pub(crate) mod status;

use crate::look::{Look, Tone, clean_line};
use rhizome_api::Durability;

/// How far something has travelled, in the words people know.
pub(crate) const fn durability(level: Durability) -> &'static str {
    match level {
        Durability::Local => "saved here",
        Durability::Copied => "copied",
        Durability::Committed => "confirmed",
        Durability::Pinned => "confirmed, in a kept checkpoint",
    }
}

/// `✔ text` on a line.
pub(crate) fn done(text: &str, look: &Look) -> String {
    format!("{} {}\n", look.paint(Tone::Good, "✔"), clean_line(text))
}

/// The start of a long id, enough to name it.
pub(crate) fn short(id: &str) -> String {
    /// Ids begin alike: the first characters say the kind of hash.
    const SHOWN: usize = 12;
    clean_line(&id.chars().take(SHOWN).collect::<String>())
}

#[cfg(test)]
mod tests;
