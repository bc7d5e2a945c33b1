//! Stored bytes of every released version, for the tests of this crate.
//!
//! A fixture is written once, by running the test with `UPDATE_FIXTURES=1`, and committed; from
//! then on the test compares with what is stored and never writes.

use std::path::PathBuf;

/// The stored bytes, which must equal `current`.
#[track_caller]
pub(crate) fn stored(name: &str, current: &[u8]) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
    if !path.exists() && std::env::var_os("UPDATE_FIXTURES").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, current).unwrap();
    }
    let stored = std::fs::read(&path)
        .unwrap_or_else(|error| panic!("{name}: {error}; UPDATE_FIXTURES=1 writes a new one"));
    assert!(stored == current, "{name} no longer reads as it was written");
    stored
}

/// `bytes` with the version made 2.
#[track_caller]
pub(crate) fn version_2(bytes: &[u8]) -> Vec<u8> {
    assert_eq!(rhizome_block::peek_version(bytes), Some(1));
    let at = bytes.windows(3).position(|three| three == b"\x61v\x01").unwrap();
    let mut bytes = bytes.to_vec();
    bytes[at + 2] = 2;
    bytes
}
