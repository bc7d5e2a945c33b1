//! Blocks open as they were sealed; damaged and hostile ones do not.

use super::*;
use proptest::prelude::*;

fn secret() -> EpochSecret {
    EpochSecret::from_bytes([4; 32])
}

fn open(block: &SealedBlock) -> Result<Vec<u8>, OpenBlockError> {
    open_block(&block.cid, &block.key, &block.bytes, BLOCK_PLAIN_BYTES_MAX)
}

/// Random bytes, of which only every `sparse`-th is not zero.
fn bytes_of(length: usize, sparse: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(b"block").finalize_xof().fill(&mut bytes);
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte *= u8::from(at % sparse == 0);
    }
    bytes
}

/// Seals raw bytes where a padded frame belongs.
fn seal_frame(frame: &[u8]) -> SealedBlock {
    let mut bytes = frame.to_vec();
    let key = frame_key(&secret(), frame);
    let tag = cipher::seal(&key, &[0; 24], &[], &mut bytes);
    bytes.extend_from_slice(&tag);
    SealedBlock { cid: Cid::of(Codec::Raw, &bytes), key, bytes }
}

fn frame(head: [u8; 2], plain: u32, contents: u32, rest: &[u8], size: usize) -> Vec<u8> {
    let mut frame = head.to_vec();
    frame.extend_from_slice(&plain.to_le_bytes());
    frame.extend_from_slice(&contents.to_le_bytes());
    frame.extend_from_slice(rest);
    frame.resize(size.max(frame.len()), 0);
    frame
}

proptest! {
    #[test]
    fn what_is_sealed_opens(length in 0..5_000_usize, sparse in 1..40_usize) {
        let plain = bytes_of(length, sparse);
        let block = seal_block(&secret(), &plain);
        prop_assert_eq!(open(&block).unwrap(), plain.clone());
        prop_assert_eq!(seal_block(&secret(), &plain), block);
    }

    #[test]
    fn text_comes_back(words in proptest::collection::vec("[a-e]{1,5}", 0..400)) {
        let plain = words.join(" ").into_bytes();
        prop_assert_eq!(open(&seal_block(&secret(), &plain)).unwrap(), plain);
    }

    #[test]
    fn any_flipped_bit_is_noticed(
        length in 0..300_usize,
        place: proptest::sample::Index,
        bit in 0..8_u32,
    ) {
        let mut block = seal_block(&secret(), &bytes_of(length, 7));
        let place = place.index(block.bytes.len() + 32);
        match block.bytes.get_mut(place) {
            Some(byte) => {
                *byte ^= 1 << bit;
                prop_assert_eq!(open(&block), Err(OpenBlockError::Name));
                block.cid = Cid::of(Codec::Raw, &block.bytes);
            }
            None => block.key[place - block.bytes.len()] ^= 1 << bit,
        }
        prop_assert_eq!(open(&block), Err(OpenBlockError::Tag));
    }

    #[test]
    fn hostile_frames_never_panic(
        head: [u8; HEAD_BYTES],
        rest in proptest::collection::vec(any::<u8>(), 0..300),
        flips in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..5),
    ) {
        let mut hostile = head.to_vec();
        hostile.extend_from_slice(&rest);
        let _ = open(&seal_frame(&hostile));
        let _ = open(&seal_frame(&rest));
        // A genuine Zstandard frame with some bytes changed, read without its seal.
        let mut compressed = compress_to_vec(&bytes_of(3_000, 5)[..], CompressionLevel::Fastest);
        for (place, byte) in flips {
            let place = place.index(compressed.len());
            compressed[place] = byte;
        }
        let _ = decompress(&compressed, 3_000);
        let _ = decompress(&rest, 3_000);
    }
}

#[test]
fn a_full_chunk_fits_a_block_whether_it_compresses_or_not() {
    for sparse in [1, 50] {
        let plain = bytes_of(BLOCK_PLAIN_BYTES_MAX, sparse);
        let block = seal_block(&secret(), &plain);
        assert!(block.bytes.len() <= BLOCK_BYTES_MAX);
        assert_eq!(block.bytes.len() * 4 < plain.len(), sparse > 1 && !crate::UNSEALED);
        assert!(open(&block).unwrap() == plain);
    }
}

#[test]
fn another_epoch_or_content_gives_another_block() {
    let block = seal_block(&secret(), b"same");
    assert_ne!(seal_block(&EpochSecret::from_bytes([5; 32]), b"same").cid, block.cid);
    let other = seal_block(&secret(), b"sama");
    assert_ne!(other.key, block.key);
    assert_eq!(open_block(&block.cid, &other.key, &block.bytes, 100), Err(OpenBlockError::Tag));
}

#[test]
fn a_small_block_does_not_inflate_beyond_what_is_wanted() {
    let plain = vec![0; 900_000];
    let block = seal_block(&secret(), &plain);
    assert_eq!(
        open_block(&block.cid, &block.key, &block.bytes, 899_999),
        Err(OpenBlockError::Inflated { bytes: 900_000, bytes_max: 899_999 })
    );
    // A frame that holds more or less than it says is refused.
    let compressed = compress_to_vec(&plain[..], CompressionLevel::Fastest);
    let size = padded(HEAD_BYTES + compressed.len());
    for claimed in [1_000, 900_001] {
        let lie = frame([1, 1], claimed, compressed.len() as u32, &compressed, size);
        assert_eq!(
            open(&seal_frame(&lie)),
            Err(OpenBlockError::Frame { rule: "contents are a Zstandard frame" })
        );
    }
}

#[test]
fn a_window_beyond_the_bound_is_refused_before_memory_is_taken() {
    // Zstandard's magic number, a descriptor without flags, the window, one empty last block.
    let with_window = |window| [0x28, 0xb5, 0x2f, 0xfd, 0x00, window, 0x01, 0x00, 0x00];
    assert_eq!(decompress(&with_window(11 << 3), 0), Some(vec![]), "2 MiB");
    assert_eq!(decompress(&with_window(12 << 3), 0), None, "4 MiB");
    assert_eq!(decompress(&with_window(31 << 3), 0), None, "2 TiB");
}

#[test]
fn each_rule_of_the_frame_is_kept() {
    let refuse = |frame: Vec<u8>| match open(&seal_frame(&frame)).unwrap_err() {
        OpenBlockError::Frame { rule } => rule.to_owned(),
        other => other.to_string(),
    };
    assert_eq!(open(&seal_frame(&frame([1, 0], 3, 3, b"abc", 32))).unwrap(), b"abc");
    let rules = [
        (vec![1; 9], "a frame has a head"),
        (
            frame([2, 0], 3, 3, b"abc", 32),
            "frame has version 2, method 0, which this program does not know",
        ),
        (
            frame([1, 2], 3, 3, b"abc", 32),
            "frame has version 1, method 2, which this program does not know",
        ),
        (frame([1, 0], 3, 23, b"abc", 32), "contents end within the frame"),
        (frame([1, 0], 3, 3, b"abc", 64), "padding is the shortest step"),
        (frame([1, 0], 3, 3, b"abcd", 32), "padding is zeros"),
        (frame([1, 0], 4, 3, b"abc", 32), "stored contents are the plaintext"),
        (frame([1, 1], 3, 3, b"abc", 32), "compression is used where it helps"),
        (frame([1, 1], 4, 3, b"abc", 32), "contents are a Zstandard frame"),
    ];
    for (frame, rule) in rules {
        assert_eq!(refuse(frame), rule);
    }
}

#[cfg(not(feature = "unsealed"))]
#[test]
fn version_1_opens_as_it_was_sealed() {
    let text = "What the first version of a sealed block holds, often. ".repeat(20);
    for (name, plain) in [("sealed-block-stored-v1.bin", "short"), ("sealed-block-v1.bin", &text)] {
        let block = seal_block(&secret(), plain.as_bytes());
        let mut bytes = block.key.to_vec();
        bytes.extend_from_slice(&block.bytes);
        // The compressor may improve, so the stored bytes are opened and not compared.
        let stored = crate::fixture::stored(name, &bytes);
        let (key, sealed) = stored.split_first_chunk().unwrap();
        assert_eq!(sealed.len() < plain.len(), name == "sealed-block-v1.bin");
        let cid = Cid::of(Codec::Raw, sealed);
        assert_eq!(open_block(&cid, key, sealed, 2_000).unwrap(), plain.as_bytes());
    }
}

#[test]
fn plaintext_shows_only_in_a_build_that_says_so() {
    let canary = b"CANARY-1234567890";
    let block = seal_block(&secret(), &canary.repeat(9));
    let shows = block.bytes.windows(canary.len()).any(|window| window == canary);
    assert_eq!(shows, crate::UNSEALED);
}

/// Prolly trees and byte trees over real seals, as `root/block` leaves them to us.
#[test]
fn trees_of_sealed_blocks_are_written_and_read() {
    use rhizome_block::{OpenError, prolly};
    use std::collections::BTreeMap;
    let mut shelf: BTreeMap<Cid, Vec<u8>> = BTreeMap::new();
    let long = bytes_of(BLOCK_PLAIN_BYTES_MAX + 5, 3);
    let entries = (0..300_u64).map(|i| {
        let value = if i == 7 { long.clone() } else { vec![i as u8; 20] };
        (format!("{i:05}").into_bytes(), value, i)
    });
    let root = prolly::build(entries, &[1; 32], &mut |plain| {
        let block = seal_block(&secret(), plain);
        let link = block.link();
        shelf.insert(block.cid, block.bytes);
        link
    })
    .unwrap();
    let mut open = |link: &Link, sealed: &[u8]| -> Result<Vec<u8>, OpenError> {
        Ok(open_block(&link.cid, &link.key, sealed, BLOCK_PLAIN_BYTES_MAX)?)
    };
    let mut reader = prolly::Reader::new(root, 1_000).unwrap();
    let mut found = BTreeMap::new();
    while !reader.is_done() {
        for cid in reader.wanted(4) {
            for entry in reader.supply(&cid, &shelf[&cid], &mut open).unwrap() {
                found.insert(entry.key, entry.value);
            }
        }
    }
    assert_eq!(found.len(), 300);
    assert!(found[&b"00007"[..]] == long);
}

/// What snapshots cost once sealed: 20,000 entries with values of 90 bytes, 32
/// of them random.
#[cfg(not(feature = "unsealed"))]
#[test]
fn sealed_snapshots_cost_what_the_format_page_says() {
    use rhizome_block::prolly;
    use std::collections::{BTreeMap, BTreeSet};
    let value = |i: u64| blake3::hash(&i.to_le_bytes()).as_bytes().repeat(3)[..90].to_vec();
    let mut state: BTreeMap<u64, u64> = (0..20_000).map(|i| (i, i)).collect();
    let mut held: BTreeSet<Cid> = BTreeSet::new();
    let mut cut = |state: &BTreeMap<u64, u64>| {
        let (mut plain_bytes, mut sealed_bytes) = (0, 0);
        let entries = state
            .iter()
            .map(|(i, change)| (format!("notes/{i:08}").into_bytes(), value(*change), *change));
        prolly::build(entries, &[9; 32], &mut |plain| {
            let block = seal_block(&secret(), plain);
            if held.insert(block.cid) {
                plain_bytes += plain.len();
                sealed_bytes += block.bytes.len();
            }
            block.link()
        })
        .unwrap();
        format!("{} KiB of nodes, {} KiB sealed", plain_bytes / 1024, sealed_bytes / 1024)
    };
    let mut costs = vec![format!("all: {}", cut(&state))];
    for (count, name) in [(1, "1 update"), (26, "26 updates"), (200, "200 updates")] {
        let mut next = state.clone();
        for i in 0..count {
            next.insert((i + 1) * 7_919 % 20_000, 1_000_000 + count * 1_000 + i);
        }
        costs.push(format!("{name}: {}", cut(&next)));
    }
    state.extend((20_000..20_025).map(|i| (i, i)));
    costs.push(format!("25 appends: {}", cut(&state)));
    expect_test::expect![[r#"
        all: 2869 KiB of nodes, 1201 KiB sealed
        1 update: 9 KiB of nodes, 6 KiB sealed
        26 updates: 176 KiB of nodes, 92 KiB sealed
        200 updates: 959 KiB of nodes, 416 KiB sealed
        25 appends: 9 KiB of nodes, 5 KiB sealed"#]]
    .assert_eq(&costs.join("\n"));
}
