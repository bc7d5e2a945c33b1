//! No nonce seals two bodies: with one key that would open both. A host sees every nonce, at the
//! front of the bodies it carries, so they are compared there: with every run that is sent.

use rhizome_log::Run;
use std::collections::BTreeMap;

const NONCE_BYTES: usize = 24;

/// Each nonce that travelled, and the body behind it.
#[derive(Default)]
pub struct Nonces(BTreeMap<[u8; NONCE_BYTES], blake3::Hash>);

impl Nonces {
    /// A run is sent.
    pub fn see(&mut self, run: &Run) {
        for body in run.stretches.iter().flat_map(|stretch| &stretch.bodies) {
            let Some(nonce) = body.first_chunk::<NONCE_BYTES>() else { continue };
            let hash = blake3::hash(body);
            let known = *self.0.entry(*nonce).or_insert(hash);
            assert_eq!(known, hash, "one nonce sealed two bodies of {:?}", run.log);
        }
    }
}
