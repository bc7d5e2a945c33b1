//! Bytes of any length come back, and trees that lie are refused.

use super::*;
use crate::link::clear::{Shelf, open};
use crate::{BLOCK_BYTES_MAX, fixture};
use proptest::prelude::*;

fn read(shelf: &Shelf, tree: TreeRef) -> Result<Vec<u8>, TreeError> {
    let mut walk = Walk::new(tree, u64::MAX)?;
    let mut bytes = Vec::new();
    while !walk.is_done() {
        // The last one first, so that chunks arrive out of order.
        if let Some(cid) = walk.wanted(WINDOW).last() {
            walk.supply(cid, &shelf.blocks[cid], &mut open)?;
        }
        while let Some(chunk) = walk.next_chunk() {
            bytes.extend_from_slice(&chunk);
        }
    }
    Ok(bytes)
}

fn bytes_of(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(b"tree").finalize_xof().fill(&mut bytes);
    bytes
}

#[test]
fn bytes_of_any_length_come_back() {
    for length in [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES + 7] {
        let bytes = bytes_of(length);
        let mut shelf = Shelf::default();
        let tree = build(&bytes, &mut |plain| shelf.seal(plain));
        assert_eq!((tree.bytes, tree.depth), (length as u64, u8::from(length > CHUNK_BYTES)));
        assert_eq!(read(&shelf, tree).unwrap(), bytes);
        assert!(shelf.blocks.values().all(|block| block.len() < BLOCK_BYTES_MAX));
    }
}

#[test]
fn equal_chunks_share_one_block_and_still_come_back() {
    let bytes = vec![7; 40 * CHUNK_BYTES + 1];
    let mut shelf = Shelf::default();
    let tree = build(&bytes, &mut |plain| shelf.seal(plain));
    assert_eq!(shelf.blocks.len(), 3);
    assert!(read(&shelf, tree).unwrap() == bytes);
}

#[test]
fn a_tree_of_two_levels_comes_back() {
    // Chunks of zeros are sealed once, so that the test moves no gigabyte.
    let chunk = vec![0; CHUNK_BYTES];
    let mut shelf = Shelf::default();
    let first = shelf.seal(&chunk);
    let mut builder = Builder { bytes: span(1), ..Builder::default() };
    for _ in 0..FANOUT {
        builder.add(0, first, &mut |plain| shelf.seal(plain));
    }
    builder.push(b"and one more", &mut |plain| shelf.seal(plain));
    let tree = builder.finish(&mut |plain| shelf.seal(plain));
    assert_eq!(tree.depth, 2);
    let mut walk = Walk::new(tree, u64::MAX).unwrap();
    let mut length = 0;
    while !walk.is_done() {
        for cid in walk.wanted(WINDOW) {
            match walk.supply(&cid, &shelf.blocks[&cid], &mut open) {
                // The first node unfolded and pushed the second out of the window.
                Ok(()) | Err(TreeError::Unwanted { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        assert!(walk.queue.len() <= 2 * FANOUT);
        while let Some(chunk) = walk.next_chunk() {
            length += chunk.len() as u64;
        }
    }
    assert_eq!(length, tree.bytes);
}

#[test]
fn pieces_of_any_size_give_the_same_tree() {
    let bytes = bytes_of(2 * CHUNK_BYTES + 999);
    let mut shelf = Shelf::default();
    let whole = build(&bytes, &mut |plain| shelf.seal(plain));
    for size in [999, 65_536, CHUNK_BYTES, CHUNK_BYTES + 1] {
        let mut builder = Builder::default();
        for piece in bytes.chunks(size) {
            builder.push(piece, &mut |plain| shelf.seal(plain));
        }
        assert_eq!(builder.finish(&mut |plain| shelf.seal(plain)), whole, "{size}");
    }
}

#[test]
fn a_tree_that_lies_about_itself_is_refused() {
    let mut shelf = Shelf::default();
    let tree = build(&bytes_of(2 * CHUNK_BYTES), &mut |plain| shelf.seal(plain));
    let message = |tree: TreeRef| read(&shelf, tree).unwrap_err().to_string();
    let lie = |bytes: u64, depth: u8| TreeRef { bytes, depth, ..tree };
    let bytes = tree.bytes;
    assert_eq!(
        message(lie(u64::MAX, 3)),
        format!("tree of {} bytes cannot have depth 3", u64::MAX)
    );
    assert_eq!(message(lie(bytes, 2)), format!("tree of {bytes} bytes cannot have depth 2"));
    assert_eq!(message(lie(9, 255)), "tree of 9 bytes cannot have depth 255");
    assert!(matches!(
        read(&shelf, lie(bytes + 1, 1)),
        Err(TreeError::Shape { found: 2, expected: 3, .. })
    ));
    let short = lie(bytes - 1, 1);
    assert!(matches!(read(&shelf, short), Err(TreeError::Shape { expected: 1_032_127, .. })));
    let deep = lie(span(1) + 1, 2);
    assert!(matches!(read(&shelf, deep), Err(TreeError::Node { .. })));
    assert!(matches!(Walk::new(tree, bytes - 1), Err(TreeError::TooLarge { .. })));
}

#[test]
fn a_refused_block_changes_nothing() {
    let mut shelf = Shelf::default();
    let bytes = bytes_of(CHUNK_BYTES + 5);
    let tree = build(&bytes, &mut |plain| shelf.seal(plain));
    let mut walk = Walk::new(tree, u64::MAX).unwrap();
    let [top] = walk.wanted(9)[..] else { panic!("one block is wanted") };
    let mut bad = shelf.blocks[&top].clone();
    bad[20] ^= 1;
    assert!(matches!(walk.supply(&top, &bad, &mut open), Err(TreeError::Seal { .. })));
    assert_eq!(walk.wanted(9), [top]);
    walk.supply(&top, &shelf.blocks[&top], &mut open).unwrap();
    assert!(matches!(
        walk.supply(&top, &shelf.blocks[&top], &mut open),
        Err(TreeError::Unwanted { .. })
    ));
    assert_eq!(walk.wanted(1).len(), 1);
    assert_eq!(walk.wanted(9).len(), 2);
}

proptest! {
    #[test]
    fn hostile_nodes_never_panic(
        plain in proptest::collection::vec(any::<u8>(), 0..200),
        bytes: u64,
        depth in 0..5_u8,
    ) {
        let mut shelf = Shelf::default();
        let link = shelf.seal(&plain);
        let _ = read(&shelf, TreeRef { link, bytes, depth });
        let _ = node_links(link.cid, &plain);
    }
}

#[test]
fn version_1_reads_as_it_was_written() {
    let mut shelf = Shelf::default();
    let bytes = bytes_of(CHUNK_BYTES + 5);
    let tree = build(&bytes, &mut |plain| shelf.seal(plain));
    let stored = fixture::check("tree-node-v1.cbor", &shelf.blocks[&tree.link.cid]);
    assert_eq!(node_links(tree.link.cid, &stored).unwrap().len(), 2);
    let stored = fixture::check("tree-ref-v1.cbor", &encode(&tree).unwrap());
    assert_eq!(decode::<TreeRef>(&stored).unwrap(), tree);
}
