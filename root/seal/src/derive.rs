//! What is derived from secrets: log tags, the keys of state roots and tree boundaries.
//!
//! The secret made at genesis never rotates, so these stay the same for as long as the identity
//! lives: a log keeps its tag, equal states keep equal roots, and snapshots keep their boundaries.

use crate::Secret;

/// A keyed BLAKE3 hash for one purpose: of the context's length in eight little-endian bytes, the
/// context, and `data`.
#[must_use]
pub fn keyed_hash(key: &[u8; 32], context: &str, data: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_keyed(key);
    hasher.update(&(context.len() as u64).to_le_bytes());
    hasher.update(context.as_bytes());
    hasher.update(data);
    *hasher.finalize().as_bytes()
}

/// The tag of an app's logs: tells a host that two logs are of one app, and not of which.
#[must_use]
pub fn log_tag(genesis_secret: &Secret, app: &str) -> [u8; 16] {
    let hash = keyed_hash(genesis_secret.as_bytes(), "rhizome log tag v1", app.as_bytes());
    *hash.first_chunk().expect("a hash has 32 bytes")
}

/// The key under which plaintext state is hashed to the state root that devices compare.
#[must_use]
pub fn state_root_key(genesis_secret: &Secret) -> [u8; 32] {
    keyed_hash(genesis_secret.as_bytes(), "rhizome state root v1", &[])
}

/// The key that decides where the nodes of a state tree end.
#[must_use]
pub fn boundary_key(genesis_secret: &Secret) -> [u8; 32] {
    keyed_hash(genesis_secret.as_bytes(), "rhizome boundary v1", &[])
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn what_is_derived_never_changes() {
        let secret = Secret::from_bytes([7; 32]);
        let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
        let derived = [
            hex(&log_tag(&secret, "org.rhizome.pod")),
            hex(&state_root_key(&secret)),
            hex(&boundary_key(&secret)),
        ];
        expect![[r#"
            9a08b5c515a097d7e2819e46450d3e7c
            354a421284b983926d7836505010394d1ee1c815a28826da2a2b1748c2261221
            1f73154dcca62ddc0d87ba4bf09b8bad28042faf5aeabbc5eec5c3e5729febec"#]]
        .assert_eq(&derived.join("\n"));
    }

    #[test]
    fn apps_and_identities_have_nothing_in_common() {
        let (ours, theirs) = (Secret::from_bytes([1; 32]), Secret::from_bytes([2; 32]));
        assert_ne!(log_tag(&ours, "notes"), log_tag(&ours, "photos"));
        assert_ne!(log_tag(&ours, "notes"), log_tag(&theirs, "notes"));
        assert_ne!(state_root_key(&ours), boundary_key(&ours));
    }

    #[test]
    fn context_and_data_do_not_run_together() {
        assert_ne!(keyed_hash(&[1; 32], "ab", b"c"), keyed_hash(&[1; 32], "a", b"bc"));
    }
}
