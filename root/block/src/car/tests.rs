//! What is written is read; torn, damaged and foreign bytes are told apart.

use super::*;
use crate::{Block, Codec, fixture};
use proptest::prelude::*;

fn car(blocks: &[Block]) -> Vec<u8> {
    let roots: Vec<Cid> = blocks.iter().take(1).map(|block| block.cid).collect();
    let mut bytes = header(&roots);
    for block in blocks {
        write_section(&mut bytes, &block.cid, &block.bytes);
    }
    bytes
}

fn blocks(contents: &[Vec<u8>]) -> Vec<Block> {
    contents.iter().cloned().map(Block::raw).collect()
}

/// Reads a whole CAR, checking every hash.
fn read_all(bytes: &[u8]) -> Result<Vec<Block>, CarError> {
    let (_, start) = read_header(bytes)?;
    sections(bytes, start)
        .map(|section| {
            let section = section?;
            let data = section.verify(bytes)?.to_vec();
            Ok(Block { cid: section.cid, bytes: data })
        })
        .collect()
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        contents in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..9),
    ) {
        let blocks = blocks(&contents);
        let bytes = car(&blocks);
        prop_assert_eq!(read_all(&bytes).unwrap(), blocks);
    }

    #[test]
    fn a_cut_is_a_torn_tail_unless_it_falls_between_sections(
        contents in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 1..6),
        cut: proptest::sample::Index,
    ) {
        let blocks = blocks(&contents);
        let bytes = car(&blocks);
        let (_, first) = read_header(&bytes).unwrap();
        let mut ends: Vec<usize> = vec![first];
        ends.extend(sections(&bytes, first).map(|section| section.unwrap().end));
        let cut = cut.index(bytes.len());
        match read_all(&bytes[..cut]) {
            Ok(read) => {
                prop_assert!(ends.contains(&cut));
                prop_assert_eq!(&read[..], &blocks[..read.len()]);
            }
            Err(CarError::Truncated { at, missing }) => {
                prop_assert!(!ends.contains(&cut));
                prop_assert!(at <= cut && cut + missing <= bytes.len());
            }
            Err(other) => prop_assert!(false, "{}", other),
        }
    }

    #[test]
    fn a_flipped_bit_is_never_a_block(
        contents in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..90), 1..6),
        place: proptest::sample::Index,
        bit in 0..8_u32,
    ) {
        let blocks = blocks(&contents);
        let mut bytes = car(&blocks);
        let (_, first) = read_header(&bytes).unwrap();
        let place = first + place.index(bytes.len() - first);
        bytes[place] ^= 1 << bit;
        match read_all(&bytes) {
            // The codec of a name is not under its hash: raw turned into DAG-CBOR reads whole.
            Ok(read) => prop_assert!(read.iter().all(Block::holds)),
            Err(error) => drop(error),
        }
    }

    #[test]
    fn hostile_bytes_never_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..120),
        at in 0..160_usize,
    ) {
        let _ = read_header(&bytes);
        let _ = read_section(&bytes, at.min(bytes.len()));
        for section in sections(&bytes, 0) {
            let _ = section;
        }
    }
}

#[test]
fn a_section_is_as_long_as_foretold() {
    for length in [0, 1, 91, 92, 93, 16_347, 16_348, 1 << 20, BLOCK_BYTES_READ_MAX] {
        let block = Block::raw(vec![7; length]);
        let mut bytes = Vec::new();
        write_section(&mut bytes, &block.cid, &block.bytes);
        assert_eq!(bytes.len(), section_bytes(length), "{length}");
        assert_eq!(read_section(&bytes, 0).unwrap().unwrap().end, bytes.len());
    }
}

#[track_caller]
fn refuse(bytes: &[u8], message: &str) {
    let error = read_section(bytes, 0).unwrap_err();
    let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
    assert_eq!(format!("{error}{}", source.unwrap_or_default()), message);
}

#[test]
fn each_fault_has_its_own_error() {
    let mut name = vec![37];
    name.extend_from_slice(&Cid::of(Codec::Raw, b"a").to_bytes());
    refuse(&[0], "CAR is malformed at 0: section length is out of bounds");
    refuse(&[0x80, 0], "CAR is malformed at 0: length is not in its shortest form");
    refuse(&[0xff; 9], "CAR is malformed at 0: length is out of bounds");
    refuse(&[0xff, 0xff, 0xff, 0x7f], "CAR is malformed at 0: section length is out of bounds");
    refuse(&[0x80], "CAR ends early: at least 1 more bytes belong to what starts at 0");
    refuse(&name, "CAR ends early: at least 1 more bytes belong to what starts at 0");
    refuse(&name[..20], "CAR ends early: at least 18 more bytes belong to what starts at 0");
    refuse(
        &[5, 1, 0x55, 0, 1, b'a'],
        "section at 0 has a name that is not accepted: hash function 0x0 is not accepted",
    );
    refuse(
        &[4, 1, 0x55, 0, 0],
        "section at 0 has a name that is not accepted: hash function 0x0 is not accepted",
    );
    name[2] = 0x70;
    name.push(b'a');
    refuse(&name, "section at 0 has a name that is not accepted: codec 0x70 is not accepted");
    name[2] = 0x55;
    *name.last_mut().unwrap() = b'b';
    let section = read_section(&name, 0).unwrap().unwrap();
    assert!(matches!(section.verify(&name), Err(CarError::HashMismatch { at: 0, .. })));
}

#[test]
fn a_car_of_version_2_is_told_apart() {
    let pragma = data_encoding::HEXLOWER.decode(b"0aa16776657273696f6e02").unwrap();
    assert!(matches!(read_header(&pragma), Err(CarError::Version { version: 2 })));
}

#[test]
fn the_header_is_the_one_of_the_specification() {
    // The pragma-less header of a CARv1 without roots, as go-car and js-car write it.
    let empty = header(&[]);
    assert_eq!(data_encoding::HEXLOWER.encode(&empty), "11a265726f6f7473806776657273696f6e01");
    assert_eq!(read_header(&empty).unwrap(), (vec![], empty.len()));
}

#[test]
fn version_1_reads_as_it_was_written() {
    let contents = [b"first".to_vec(), Vec::new(), vec![0x5a; 200]];
    let blocks = blocks(&contents);
    let stored = fixture::check("car-v1.car", &car(&blocks));
    assert_eq!(read_all(&stored).unwrap(), blocks);
}
