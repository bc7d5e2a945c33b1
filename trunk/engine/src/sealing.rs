//! What a seal says: the state at one place of the order, as a keyed hash.
//!
//! When a device seals, and what becomes of seals, is the replica's.

use rhizome_doc::{DocumentError, Documents};
use rhizome_log::Index;
use rhizome_replica::Replica;
use std::collections::BTreeSet;

/// The state at the place that the replica has applied: a keyed hash over the place, the control
/// record that is final there, and the committed documents of every app. A function of the
/// committed prefix where everything held has taken effect. `None`: no keys here. Drawn in
/// `docs/format/seal.md`.
pub fn state_root(replica: &Replica, index: &dyn Index) -> Result<Option<[u8; 32]>, DocumentError> {
    if !replica.keys().can_read() {
        return Ok(None);
    }
    let seen = replica.applied();
    let mut data = Vec::new();
    data.extend_from_slice(&seen.g.to_be_bytes());
    data.extend_from_slice(&seen.i.to_be_bytes());
    data.extend_from_slice(&seen.c);
    data.extend_from_slice(replica.control().committed_head().digest());
    // Whose events have no effect yet may be known here and not elsewhere.
    let counts = replica.status().logs.into_iter().filter(|log| log.effective > 0);
    let apps: BTreeSet<String> = counts.filter_map(|log| log.app).collect();
    for app in apps {
        let hash = Documents::new(&app).committed_hash(index)?;
        data.extend_from_slice(&(app.len() as u64).to_be_bytes());
        data.extend_from_slice(app.as_bytes());
        data.extend_from_slice(&hash);
    }
    Ok(replica.keys().state_root(&data))
}
