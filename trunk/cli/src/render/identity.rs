//! Identities.

use crate::look::Look;
use crate::render::{done, short};
use crate::table::Table;
use rhizome_api::identity::{CreateAnswer, ListAnswer, UseAnswer};

/// A new identity.
pub(crate) fn created(answer: &CreateAnswer, dir: &str, look: &Look) -> String {
    let (name, device) = (&answer.identity.name, &answer.device.name);
    done(&format!("Created {name}, with {device} as its first device, in {dir}"), look)
}

/// There was one already.
pub(crate) fn already(answer: &CreateAnswer, look: &Look) -> String {
    done(&format!("{} is here already; nothing was changed.", answer.identity.name), look)
}

/// The answer to `identity list`.
pub(crate) fn list(answer: &ListAnswer, look: &Look) -> String {
    let mut table = Table::new(&["", "name", "recovery kit", "id"]);
    for identity in &answer.identities {
        let kit = match (identity.locked, identity.kit_confirmed) {
            (true, _) => "needed to unlock",
            (false, true) => "written down",
            (false, false) => "not confirmed",
        };
        let kit = format!("{} {kit}", identity.kit_key_id);
        let id = if look.plain { identity.id.clone() } else { short(&identity.id) };
        let mark = if identity.current { "*" } else { "" };
        table.row(&[mark, &identity.name, &kit, &id]);
    }
    table.text(look)
}

/// The answer to `identity use`.
pub(crate) fn chosen(answer: &UseAnswer, look: &Look) -> String {
    done(&format!("Every command speaks about {} now.", answer.identity.name), look)
}
