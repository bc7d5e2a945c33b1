//! Ordinary archives are read; hostile and damaged ones are refused.

use std::io::{Cursor, Write};

use proptest::prelude::*;
use zip::write::{SimpleFileOptions, ZipWriter};

use super::*;

/// One entry of an archive written by hand, so that it can lie.
struct Raw<'a> {
    name: &'a [u8],
    data: &'a [u8],
    flags: u16,
    mode: u32,
}

fn raw<'a>(name: &'a str, data: &'a [u8]) -> Raw<'a> {
    Raw { name: name.as_bytes(), data, flags: 0x800, mode: 0o100_644 }
}

fn crc32(data: &[u8]) -> u32 {
    !data.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 }
        })
    })
}

fn archive(entries: &[Raw<'_>]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for entry in entries {
        let at = bytes.len() as u32;
        let length = entry.data.len() as u32;
        let mut common = Vec::new();
        common.extend(20_u16.to_le_bytes());
        common.extend(entry.flags.to_le_bytes());
        common.extend([0; 6]);
        common.extend(crc32(entry.data).to_le_bytes());
        common.extend(length.to_le_bytes());
        common.extend(length.to_le_bytes());
        common.extend((entry.name.len() as u16).to_le_bytes());
        common.extend([0; 2]);
        bytes.extend(b"PK\x03\x04");
        bytes.extend(&common);
        bytes.extend(entry.name);
        bytes.extend(entry.data);
        directory.extend(b"PK\x01\x02\x14\x03");
        directory.extend(&common);
        directory.extend([0; 6]);
        directory.extend((entry.mode << 16).to_le_bytes());
        directory.extend(at.to_le_bytes());
        directory.extend(entry.name);
    }
    let (start, count) = (bytes.len() as u32, entries.len() as u16);
    let size = directory.len() as u32;
    bytes.extend(directory);
    bytes.extend(b"PK\x05\x06\0\0\0\0");
    bytes.extend(count.to_le_bytes());
    bytes.extend(count.to_le_bytes());
    bytes.extend(size.to_le_bytes());
    bytes.extend(start.to_le_bytes());
    bytes.extend([0; 2]);
    bytes
}

fn open(bytes: Vec<u8>) -> ZipSource<Cursor<Vec<u8>>> {
    ZipSource::open(Cursor::new(bytes)).unwrap()
}

fn listing(source: &dyn Source) -> Vec<String> {
    let mut lines = Vec::new();
    let line = |listed| match listed {
        Listed::Entry(entry) => format!("{} {}", entry.path, entry.bytes),
        Listed::Refused { path, reason } => format!("{path}: {reason}"),
    };
    source.entries(&mut |listed| lines.push(line(listed))).unwrap();
    lines
}

fn deflated(name: &str, data: &[u8]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
    writer.start_file(name, options).unwrap();
    writer.write_all(data).unwrap();
    writer.finish().unwrap().into_inner()
}

#[test]
fn an_ordinary_archive_is_listed_and_read() {
    let source = open(archive(&[raw("b/ü.md", b"two"), raw("./a.md", b"one"), raw("b/", b"")]));
    assert_eq!(listing(&source), ["a.md 3", "b/ü.md 3"]);
    assert_eq!(source.read("b/ü.md", 3).unwrap(), b"two");
    assert!(matches!(source.read("b/ü.md", 2), Err(SourceError::TooLarge { .. })));
    assert!(matches!(source.read("c", 2), Err(SourceError::NotFound)));
    let text = "compressed ".repeat(100);
    assert_eq!(open(deflated("a", text.as_bytes())).read("a", 9_999).unwrap(), text.as_bytes());
}

#[test]
fn every_hostile_entry_is_refused_with_its_reason() {
    let long = "n".repeat(300);
    let mut link = raw("link", b"/etc/passwd");
    link.mode = 0o120_777;
    let mut pipe = raw("pipe", b"");
    pipe.mode = 0o010_644;
    let mut secret = raw("secret", b"x");
    secret.flags |= 1;
    let source = open(archive(&[
        raw("../up", b"x"),
        raw("/etc/x", b"x"),
        raw("a\\b", b"x"),
        raw("nul\0", b"x"),
        raw(&long, b"x"),
        link,
        pipe,
        secret,
        raw("twice", b"1"),
        raw("twice", b"2"),
        raw("same/x", b"1"),
        raw("same//x", b"2"),
        raw("fine", b"x"),
    ]));
    let expected = [
        "../up: name contains `..`".to_owned(),
        "/etc/x: name is absolute".to_owned(),
        "a\\b: name contains a backslash".to_owned(),
        "fine 1".to_owned(),
        "link: symbolic link".to_owned(),
        format!("{}: name is too long", "n".repeat(255)),
        "nul\u{fffd}: name contains a control character".to_owned(),
        "pipe: not a regular file".to_owned(),
        "same/x: name occurs more than once".to_owned(),
        "secret: encrypted entry".to_owned(),
        "twice: name occurs more than once".to_owned(),
    ];
    assert_eq!(listing(&source), expected);
    assert!(matches!(source.read("twice", 9), Err(SourceError::NotFound)));
    assert!(matches!(source.read("same/x", 9), Err(SourceError::NotFound)));
}

#[test]
fn a_bomb_that_admits_its_size_is_refused_when_listed() {
    let source = open(deflated("bomb", &vec![0; 8 << 20]));
    assert_eq!(listing(&source), ["bomb: inflates suspiciously: looks like a zip bomb"]);
}

#[test]
fn a_bomb_that_lies_about_its_size_is_stopped_while_it_inflates() {
    let mut bytes = deflated("bomb", &vec![0; 64 << 20]);
    for (signature, at) in [(b"PK\x03\x04", 22), (b"PK\x01\x02", 24)] {
        let found = bytes.windows(4).position(|window| window == signature).unwrap();
        bytes[found + at..found + at + 4].copy_from_slice(&100_u32.to_le_bytes());
    }
    let source = open(bytes);
    assert_eq!(listing(&source), ["bomb 100"]);
    let mut handed_out = 0;
    let outcome = source.stream("bomb", u64::MAX, &mut |piece| handed_out += piece.len());
    assert!(outcome.is_err(), "{outcome:?}");
    assert!(handed_out < 16 << 20, "{handed_out} bytes were handed out");
}

#[test]
fn a_bomb_is_stopped_even_if_the_archive_reader_lets_it_through() {
    let mut handed_out = 0;
    let endless = &mut std::io::repeat(0);
    let outcome = hand_out(endless, 10_000, u64::MAX, &mut |piece| handed_out += piece.len());
    assert!(matches!(outcome, Err(SourceError::Bomb)), "{outcome:?}");
    assert!(handed_out as u64 <= 10_000 * ZIP_RATIO_MAX, "{handed_out} bytes were handed out");
    let outcome = hand_out(endless, 1 << 30, 100_000, &mut |_| ());
    assert!(matches!(outcome, Err(SourceError::TooLarge { bytes_max: 100_000 })));
}

#[test]
fn entries_that_share_bytes_are_refused() {
    let data = [7_u8; 100_000];
    let mut bytes = archive(&[raw("a", &data), raw("b", b"")]);
    let second = bytes.windows(4).rposition(|window| window == b"PK\x01\x02").unwrap();
    bytes[second + 20..second + 28].copy_from_slice(&[0xa0, 0x86, 1, 0, 0xa0, 0x86, 1, 0]);
    let outcome = ZipSource::open(Cursor::new(bytes));
    assert!(matches!(outcome, Err(ZipOpenError::Overlapping)));
}

#[test]
fn a_directory_that_claims_the_impossible_is_refused_before_it_is_believed() {
    let mut bytes = archive(&[raw("a", b"x")]);
    let end = bytes.len() - 22;
    let mut record = b"PK\x06\x06".to_vec();
    record.extend(44_u64.to_le_bytes());
    record.extend([0; 12]);
    for claim in [1_u64 << 40, 1 << 40, 1 << 50, 0] {
        record.extend(claim.to_le_bytes());
    }
    record.extend(b"PK\x06\x07\0\0\0\0");
    record.extend((end as u64).to_le_bytes());
    record.extend(1_u32.to_le_bytes());
    bytes.splice(end..end, record);
    let at = bytes.len() - 14;
    bytes[at..at + 12].fill(0xff);
    let outcome = ZipSource::open(Cursor::new(bytes));
    assert!(matches!(outcome, Err(ZipOpenError::TooManyEntries { entries }) if entries == 1 << 40));
}

#[test]
fn damaged_bytes_do_not_pass_their_checksum() {
    let mut bytes = archive(&[raw("a", b"payload")]);
    let at = bytes.windows(7).position(|window| window == b"payload").unwrap();
    bytes[at] ^= 1;
    assert!(matches!(open(bytes).read("a", 99), Err(SourceError::Read { .. })));
}

proptest! {
    #[test]
    fn any_bytes_are_an_archive_or_an_error(bytes: Vec<u8>) {
        let _ = ZipSource::open(Cursor::new(bytes));
    }

    #[test]
    fn a_damaged_archive_is_read_or_refused(at in 0_usize..400, value: u8) {
        let data = b"some text that is stored as it is";
        let mut bytes = archive(&[raw("a", data), raw("b/c", data), raw("d", data)]);
        let at = at % bytes.len();
        bytes[at] = value;
        if let Ok(source) = ZipSource::open(Cursor::new(bytes)) {
            for path in ["a", "b/c", "d"] {
                let _ = source.read(path, 1_000);
            }
        }
    }
}
