//! What a checkpoint is made of: nodes of prolly trees, nodes of trees, bases, manifests, sealed
//! blocks.
//!
//! Mended: bytes are cut into blocks, and whichever block a reader asks for is given it as if the
//! hash were right, so that nodes below nodes are reached; a manifest is signed by its author.

use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::{Aead, KeyInit};
use rhizome_block::prolly::{Reader, Root, build, node_links};
use rhizome_block::tree::{CHUNK_BYTES, TreeRef, Walk};
use rhizome_block::{Block, Cid, Codec, Link, decode, encode};
use rhizome_identity::SigningKeys;
use rhizome_replica::{Base, Manifest};
use rhizome_seal::{EpochSecret, open_block, seal_block, sealed_block_bytes};
use serde_bytes::ByteBuf;

/// Blocks that one input may be supplied as, however often a tree asks.
const SUPPLIED_MAX: usize = 256;

/// Entries a reader takes.
const ENTRIES_MAX: u64 = 1 << 20;

/// Bytes that may come out of a sealed block here. Readers of checkpoints take a chunk of a tree.
const PLAIN_BYTES_MAX: usize = CHUNK_BYTES;

/// Version, method and length of the plaintext in front of a frame.
const FRAME_HEAD_BYTES: usize = 6;

/// Bytes of the tag behind it.
const TAG_BYTES: usize = 16;

/// Bytes of a value whose blocks the fuzzer supplies.
const VALUE_BYTES_MAX: u64 = 64 << 20;

/// How many doors the bytes pass.
pub fn run(bytes: &[u8]) -> u32 {
    let blocks = decode::<Vec<ByteBuf>>(bytes).unwrap_or_else(|_| vec![bytes.to_vec().into()]);
    node(bytes) + base(bytes) + manifest(bytes) + sealed(bytes) + tree(&blocks) + prolly(&blocks)
}

fn node(bytes: &[u8]) -> u32 {
    let Ok(links) = node_links(bytes) else { return 0 };
    u32::from(links.children.len() + links.values.len() > 0) + 1
}

fn base(bytes: &[u8]) -> u32 {
    let Ok(base) = Base::read(bytes) else { return 0 };
    assert_eq!(base.block().bytes, bytes, "a base has one form");
    1
}

fn manifest(bytes: &[u8]) -> u32 {
    let passed = u32::from(Manifest::read(bytes).is_ok());
    let Ok(manifest) = decode::<Manifest>(bytes) else { return passed };
    assert_eq!(encode(&manifest).expect("it was read"), bytes, "a manifest has one form");
    let signed = manifest.sign(&SigningKeys::from_secret([1; 32]));
    let Ok(read) = Manifest::read(&signed.bytes) else { return passed + 1 };
    assert_eq!(read.author, SigningKeys::from_secret([1; 32]).device_id());
    passed + 2
}

/// Bytes as a sealed block, as the frame in one, and, now and then because compressing is slow, as
/// the plaintext of one.
fn sealed(bytes: &[u8]) -> u32 {
    let key = [3; 32];
    let open =
        |sealed: &[u8]| open_block(&Cid::of(Codec::Raw, sealed), &key, sealed, PLAIN_BYTES_MAX);
    assert!(open(bytes).is_err(), "nobody sealed this");
    if bytes.first().is_some_and(|first| first % 16 == 0) {
        let block = seal_block(&EpochSecret::from_bytes([2; 32]), bytes);
        let opened = open_block(&block.cid, &block.key, &block.bytes, bytes.len());
        assert_eq!(opened.expect("it was sealed a line above"), bytes, "sealing loses nothing");
    }
    let cipher = XChaCha20Poly1305::new((&key).into());
    let seal = |frame: &[u8]| cipher.encrypt((&[0; 24]).into(), frame).expect("inputs are short");
    let passed = u32::from(open(&seal(bytes)).is_ok());
    let Some(framed) = framed(bytes) else { return passed };
    let Ok(plain) = open(&seal(&framed)) else { return passed };
    assert!(plain.len() <= PLAIN_BYTES_MAX, "no more comes out than the caller takes");
    passed + 1
}

/// The bytes as the frame of a sealed block: version, method, length of the plaintext as they
/// stand, then the right length of the contents and the right padding.
fn framed(bytes: &[u8]) -> Option<Vec<u8>> {
    let (head, contents) = bytes.split_at_checked(FRAME_HEAD_BYTES)?;
    let length = u32::try_from(contents.len()).ok()?;
    let mut frame = [head, &length.to_le_bytes(), contents].concat();
    let padded = sealed_block_bytes(contents.len()) - TAG_BYTES;
    frame.resize(padded, 0);
    Some(frame)
}

/// The first block says which tree; every block that is wanted is the next one.
fn tree(blocks: &[ByteBuf]) -> u32 {
    let Some(Ok(tree)) = blocks.first().map(|first| decode::<TreeRef>(first)) else { return 0 };
    let Ok(mut walk) = Walk::new(tree, VALUE_BYTES_MAX) else { return 1 };
    let mut given = 0;
    for block in blocks.iter().skip(1).cycle().take(SUPPLIED_MAX) {
        let Some(cid) = walk.wanted(1).first().copied() else { break };
        let mut open = |_: &Link, sealed: &[u8]| Ok(sealed.to_vec());
        if walk.supply(&cid, block, &mut open).is_err() {
            break;
        }
        while let Some(chunk) = walk.next_chunk() {
            given += chunk.len() as u64;
        }
    }
    assert!(given <= tree.bytes, "a tree gives no more than it says");
    assert!(!walk.is_done() || given == tree.bytes, "and no less, once it is whole");
    2 + u32::from(walk.is_done())
}

/// The first block is the root, or the top node of the smallest tree it can be the top of.
fn prolly(blocks: &[ByteBuf]) -> u32 {
    let Some(first) = blocks.first() else { return 0 };
    let (root, nodes) = match decode::<Root>(first) {
        Ok(root) => (root, &blocks[1..]),
        Err(_) => match top(first) {
            Some(root) => (root, blocks),
            None => return 0,
        },
    };
    let Ok(mut reader) = Reader::new(root, ENTRIES_MAX) else { return 1 };
    let mut open = |_: &Link, sealed: &[u8]| Ok(sealed.to_vec());
    let (mut entries, mut passed) = (Vec::new(), 1);
    for block in nodes.iter().cycle().take(SUPPLIED_MAX) {
        let Some(cid) = reader.wanted(1).first().copied() else { break };
        match reader.supply(&cid, block, &mut open) {
            Ok(found) => entries.extend(found),
            Err(_) => break,
        }
        passed = 2;
    }
    assert_eq!(reader.found(), entries.len() as u64);
    assert!(reader.found() <= root.count, "a tree holds no more than it says");
    if !reader.is_done() {
        return passed;
    }
    assert_eq!(reader.found(), root.count, "and no less, once it is whole");
    entries.sort_by(|one, other| one.key.cmp(&other.key));
    assert!(entries.is_sorted_by(|one, other| one.key < other.key), "keys are unique");
    let entries = entries.into_iter().map(|one| (one.key, one.value, one.newest));
    let mut seal = |plain: &[u8]| Link { cid: Block::raw(plain.to_vec()).cid, key: [0; 32] };
    let rebuilt = build(entries, &[5; 32], &mut seal).expect("read entries are sorted and bounded");
    assert_eq!((rebuilt.count, rebuilt.newest), (root.count, root.newest));
    passed + 1
}

/// A root whose only node is `node`, if it can be one.
fn top(node: &[u8]) -> Option<Root> {
    let links = node_links(node).ok()?;
    let newest = sum(node);
    let depth = u8::from(!links.children.is_empty());
    let link = Link { cid: Cid::of(Codec::Raw, node), key: [0; 32] };
    let (count, newest) = newest?;
    Some(Root { link, count, newest, depth })
}

/// What a node adds up to, read without the reader's own rules.
fn sum(node: &[u8]) -> Option<(u64, u64)> {
    use ipld_core::ipld::Ipld;
    let Ok(Ipld::Map(mut node)) = decode::<Ipld>(node) else { return None };
    let Some(Ipld::Map(rows)) = node.remove("rows") else { return None };
    let (name, Ipld::List(rows)) = rows.into_iter().next()? else { return None };
    let (mut count, mut newest) = (0_u64, 0_u64);
    for row in rows {
        let Ipld::Map(row) = row else { return None };
        let number = |name: &str| match row.get(name) {
            Some(Ipld::Integer(number)) => u64::try_from(*number).ok(),
            _ => None,
        };
        let leaves = name.eq_ignore_ascii_case("leaves");
        count = count.checked_add(if leaves { 1 } else { number("count")? })?;
        newest = newest.max(number("newest")?);
    }
    Some((count, newest))
}
