//! CAR files: header, sections, names and contents.
//!
//! Mended: every section is given the name of its contents.

use rhizome_block::Cid;
use rhizome_block::car::{CarError, Section, header, read_header, sections, write_section};

/// How many of its parts are in order: the header, the sections, the contents of each.
pub fn run(bytes: &[u8]) -> u32 {
    let Ok((roots, start)) = read_header(bytes) else {
        return whole(bytes, 0, Vec::new());
    };
    let written = header(&roots);
    assert_eq!(written, bytes[..start], "a header has one form");
    let mended = mend(bytes, start, written.clone());
    let passed = whole(bytes, start, written);
    if mended.len() == bytes.len() {
        let (_, start) = read_header(&mended).expect("the header was not touched");
        for section in sections(&mended, start).flatten() {
            section.verify(&mended).expect("it was given the name of its contents");
        }
    }
    1 + passed
}

/// Reads all sections from `at` on and writes those that were whole behind `written` again.
fn whole(bytes: &[u8], at: usize, mut written: Vec<u8>) -> u32 {
    let (mut end, mut held) = (at, 0);
    for read in sections(bytes, at) {
        let section = match read {
            Ok(section) => section,
            Err(error) => {
                told(bytes, end, &error);
                break;
            }
        };
        assert!(section.at == end && section.end <= bytes.len(), "sections follow each other");
        write_section(&mut written, &section.cid, section.data(bytes));
        held += u32::from(section.verify(bytes).is_ok());
        end = section.end;
    }
    assert_eq!(written, bytes[..end], "a section has one form");
    held
}

/// An error is about the part that was not read, and asks for no more than a part can be.
fn told(bytes: &[u8], end: usize, error: &CarError) {
    match error {
        CarError::Truncated { at, missing } => {
            assert!(*at == end && *missing > 0, "what is missing follows what was read");
            assert!(*missing <= rhizome_block::BLOCK_BYTES_READ_MAX + 64, "parts are bounded");
        }
        CarError::Malformed { at, .. } | CarError::Name { at, .. } => {
            assert!(*at == end && *at < bytes.len(), "the part that is refused is there");
        }
        other => panic!("a section is not {other}"),
    }
}

/// Gives every section that can be read the name of its contents.
fn mend(bytes: &[u8], start: usize, mut out: Vec<u8>) -> Vec<u8> {
    for section in sections(bytes, start).flatten() {
        let Section { cid, .. } = section;
        let data = section.data(bytes);
        write_section(&mut out, &Cid::of(cid.codec(), data), data);
    }
    out
}
