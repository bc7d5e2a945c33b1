//! The codec fixtures of the IPLD project, read and written by this crate.
//!
//! `spec/ipld/dag-cbor` holds the 128 blocks in DAG-CBOR of
//! <https://github.com/ipld/codec-fixtures>, each named by its CID; `spec/ipld/duplicate-keys.json`
//! holds its negatives for decoding.
#![expect(clippy::disallowed_methods, reason = "test: reads committed fixtures")]

use ipld_core::ipld::Ipld;
use rhizome_block::{Cid, Codec, decode, encode};
use std::path::PathBuf;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/spec/ipld")
}

#[test]
fn every_fixture_decodes_and_encodes_to_its_own_cid() {
    let mut count = 0;
    for entry in std::fs::read_dir(folder().join("dag-cbor")).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let value: Ipld = decode(&bytes).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        let encoded = encode(&value).unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert_eq!(Cid::of(Codec::DagCbor, &encoded).to_string(), name);
        count += 1;
    }
    assert_eq!(count, 128);
}

#[test]
fn every_negative_fixture_is_refused() {
    let text = std::fs::read_to_string(folder().join("duplicate-keys.json")).unwrap();
    let cases: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        let hex = case["hex"].as_str().unwrap();
        let bytes = data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap();
        assert!(decode::<Ipld>(&bytes).is_err(), "{} was accepted", case["name"]);
    }
}
