//! What a writer and a scan promise, and what becomes of torn, flipped and missing bytes.

mod crashes;
mod faults;

use super::*;
use crate::{FileDisk, MemoryDisk};
use rhizome_block::Codec;

/// A small generator, so that every run tries the same cases.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.below(256) as u8).collect()
    }
}

/// A block as it was written or found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Found {
    pub(crate) place: Place,
    pub(crate) cid: Cid,
    pub(crate) bytes: Vec<u8>,
}

impl Found {
    /// Where its section begins, whose length takes one or two bytes here.
    fn start(&self) -> u64 {
        let length_bytes = if self.bytes.len() + Cid::BYTES < 0x80 { 1 } else { 2 };
        self.place.offset - Cid::BYTES as u64 - length_bytes
    }

    fn end(&self) -> u64 {
        self.place.offset + u64::from(self.place.bytes)
    }
}

/// Commits blocks of `sizes` together.
pub(crate) fn commit(
    segments: &mut Segments,
    random: &mut Random,
    sizes: &[usize],
) -> Result<Vec<Found>, StoreError> {
    let blocks: Vec<_> = sizes
        .iter()
        .map(|size| {
            let bytes = random.bytes(*size);
            let codec = [Codec::Raw, Codec::DagCbor][size % 2];
            (Cid::of(codec, &bytes), bytes)
        })
        .collect();
    let sections: Vec<_> = blocks.iter().map(|(cid, bytes)| Section { cid: *cid, bytes }).collect();
    let places = segments.append(&sections)?;
    segments.commit()?;
    let found = places.into_iter().zip(blocks);
    Ok(found.map(|(place, (cid, bytes))| Found { place, cid, bytes }).collect())
}

/// Opens `disk` and returns what is there.
pub(crate) fn open(
    disk: Arc<dyn Disk>,
    segment_bytes_max: u64,
    since: Option<Mark>,
) -> (Segments, Report, Vec<Found>) {
    let mut all = Vec::new();
    let config = SegmentsConfig { segment_bytes_max };
    let (segments, report) = Segments::open(disk, config, since, &mut |place, cid, bytes| {
        all.push(Found { place, cid, bytes: bytes.to_vec() });
    })
    .unwrap();
    (segments, report, all)
}

/// Writes `commits` commits of up to six small blocks; returns all blocks.
fn fill(segments: &mut Segments, random: &mut Random, commits: usize) -> Vec<Found> {
    let mut all = Vec::new();
    for _ in 0..commits {
        let sizes: Vec<_> = (0..=random.below(6)).map(|_| random.below(300)).collect();
        all.extend(commit(segments, random, &sizes).unwrap());
    }
    all
}

fn memory(bytes: &[u8]) -> Arc<MemoryDisk> {
    let disk = MemoryDisk::default();
    disk.put("00000001.car", bytes.to_vec());
    Arc::new(disk)
}

fn mark(segment: u32, offset: u64) -> Mark {
    Mark { segment, offset, ..Mark::default() }
}

const LARGE: u64 = 64 << 20;

#[test]
fn blocks_read_back_and_scan_back_in_order_across_segments() {
    let disk = Arc::new(MemoryDisk::default());
    let (mut segments, report, none) = open(disk.clone(), 4_000, None);
    assert_eq!((report, none.len(), segments.end()), (Report::default(), 0, Mark::default()));
    let all = fill(&mut segments, &mut Random(1), 60);
    let end = segments.end();
    assert!(end.segment > 5, "{end:?}");
    for one in &all {
        assert_eq!(segments.read(one.place, Some(&one.cid)).unwrap(), one.bytes);
        assert_eq!(segments.read(one.place, None).unwrap(), one.bytes);
    }
    let (segments, report, found) = open(disk, 4_000, None);
    assert_eq!((report.damages_count, report.torn), (0, None));
    assert_eq!(report.sections, all.len() as u64);
    assert_eq!((found, segments.end()), (all, end));
}

#[test]
fn a_segment_is_a_car() {
    let disk = Arc::new(MemoryDisk::default());
    let (mut segments, _, _) = open(disk.clone(), LARGE, None);
    let all = fill(&mut segments, &mut Random(2), 5);
    let bytes = disk.bytes("00000001.car").unwrap();
    let (roots, start) = rhizome_block::car::read_header(&bytes).unwrap();
    assert_eq!(roots, []);
    let read = rhizome_block::car::sections(&bytes, start).map(Result::unwrap);
    let read: Vec<_> =
        read.map(|section| (section.cid, section.verify(&bytes).unwrap().to_vec())).collect();
    let all: Vec<_> = all.into_iter().map(|one| (one.cid, one.bytes)).collect();
    assert_eq!(read, all);
}

/// The fixture of version 1 holds two commits. It is written once, by running this test with
/// UPDATE_FIXTURES=1.
#[test]
#[expect(clippy::disallowed_methods, reason = "test")]
fn a_segment_of_version_1_reads_back() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/segment-1.car");
    if std::env::var("UPDATE_FIXTURES").is_ok() {
        let disk = Arc::new(MemoryDisk::default());
        let (mut segments, _, _) = open(disk.clone(), LARGE, None);
        let mut random = Random(7);
        commit(&mut segments, &mut random, &[0, 91, 92]).unwrap();
        commit(&mut segments, &mut random, &[300]).unwrap();
        std::fs::write(path, disk.bytes("00000001.car").unwrap()).unwrap();
    }
    let (segments, report, found) = open(memory(&std::fs::read(path).unwrap()), LARGE, None);
    assert_eq!(report, Report { sections: 4, bytes: 483, ..Report::default() });
    assert_eq!(segments.end(), mark(1, 18 + 37 + 128 + 130 + 338));
    let mut random = Random(7);
    for (one, size) in found.iter().zip([0, 91, 92, 300]) {
        assert_eq!(one.bytes, random.bytes(size));
    }
}

#[test]
fn a_scan_from_a_mark_visits_what_came_after_it() {
    let disk = Arc::new(MemoryDisk::default());
    let (mut segments, _, _) = open(disk.clone(), 1_000, None);
    let mut random = Random(3);
    fill(&mut segments, &mut random, 5);
    let mark = segments.end();
    let later = fill(&mut segments, &mut random, 5);
    let end = segments.end();
    let (segments, report, found) = open(disk.clone(), 1_000, Some(mark));
    assert_eq!((found, report.damages_count, segments.end()), (later, 0, end));
    let (_, report, found) = open(disk, 1_000, Some(end));
    assert_eq!((found.len(), report), (0, Report::default()));
}

#[test]
fn a_mark_reads_back_with_its_generation() {
    for generation in [0, 1, u32::MAX] {
        let mark = Mark { generation, segment: 7, offset: 1 << 40 };
        assert_eq!(Mark::from_bytes(&mark.to_bytes()), Some(mark));
    }
    assert_eq!(mark(1, 2).to_bytes(), [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2]);
    for bytes in [0, 3, 11, 13, 15, 17] {
        assert_eq!(Mark::from_bytes(&vec![1; bytes]), None, "{bytes} bytes");
    }
}

#[test]
fn a_thousand_cuts_leave_exactly_what_was_whole() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(FileDisk::open(folder.path()).unwrap());
    let (mut segments, _, _) = open(disk, LARGE, None);
    let mut random = Random(4);
    let all = fill(&mut segments, &mut random, 40);
    let bytes = std::fs::read(folder.path().join("00000001.car")).unwrap();
    for round in 0..1_000 {
        // The first rounds cut the header, the next ones close to the end.
        let cut = match round {
            0..20 => round,
            20..100 => bytes.len() - (round - 20),
            _ => random.below(bytes.len() + 1),
        };
        let disk = memory(&bytes[..cut]);
        let (mut segments, report, found) = open(disk.clone(), LARGE, None);
        let whole: Vec<_> = all.iter().filter(|one| one.end() <= cut as u64).cloned().collect();
        assert_eq!(found, whole, "cut at {cut}");
        let end = whole.last().map_or(if cut < 18 { 0 } else { 18 }, Found::end);
        assert_eq!(report.damages, []);
        let torn = Torn { mark: mark(1, end), bytes: cut as u64 - end };
        assert_eq!(report.torn, (torn.bytes > 0).then_some(torn), "cut at {cut}");
        assert_eq!(disk.bytes("00000001.car").unwrap().len() as u64, end);

        let new = commit(&mut segments, &mut random, &[50]).unwrap();
        let (_, report, found) = open(disk, LARGE, None);
        assert_eq!((report.damages_count, report.torn), (0, None), "cut at {cut}");
        assert_eq!(found, [whole, new].concat(), "cut at {cut}");
    }
}

#[test]
fn a_thousand_flips_give_right_bytes_or_an_error() {
    let disk = Arc::new(MemoryDisk::default());
    let (mut segments, _, _) = open(disk.clone(), 4_000, None);
    let mut random = Random(5);
    let all = fill(&mut segments, &mut random, 30);
    let names = disk.list().unwrap();
    assert!(names.len() > 3);
    let (mut lost, mut cut) = (0, 0);
    for _ in 0..1_000 {
        let disk = Arc::new(disk.fork());
        let name = &names[random.below(names.len())];
        let mut bytes = disk.bytes(name).unwrap();
        let at = random.below(bytes.len());
        bytes[at] ^= 1 << random.below(8);
        disk.put(name, bytes);

        let (segments, report, found) = open(disk.clone(), 4_000, None);
        cut += usize::from(report.torn.is_some());
        assert!(report.torn.is_some() || report.damages_count > 0, "{name} at {at} went unseen");
        assert!(found.iter().all(|one| all.contains(one)), "{name} at {at}: wrong bytes");
        for one in all.iter().filter(|one| !found.contains(one)) {
            lost += 1;
            let torn = report.torn.map(|torn| (torn.mark, torn.bytes));
            let damaged = report.damages.iter().map(|damage| (damage.mark, damage.bytes));
            let covered = torn.into_iter().chain(damaged).any(|(mark, bytes)| {
                mark.segment == one.place.segment
                    && mark.offset < one.end()
                    && mark.offset + bytes > one.start()
            });
            assert!(covered, "{name} at {at}: {:?} was skipped silently", one.place);
        }
        for one in &all {
            match segments.read(one.place, Some(&one.cid)) {
                Ok(bytes) => assert_eq!(bytes, one.bytes, "{name} at {at}"),
                Err(error) => assert!(matches!(error, ReadError::Damaged { .. }), "{error:?}"),
            }
            if let Ok(bytes) = segments.read(one.place, None) {
                assert_eq!(bytes, one.bytes, "{name} at {at}");
            }
        }
    }
    assert!(lost > 900 && cut > 0, "flips struck: {lost} lost, {cut} cut");
}

#[test]
fn damage_before_whole_sections_is_reported_and_stays() {
    let disk = Arc::new(MemoryDisk::default());
    let (mut segments, _, _) = open(disk.clone(), LARGE, None);
    let mut random = Random(6);
    let all = commit(&mut segments, &mut random, &[100, 101, 102, 103]).unwrap();
    let mut bytes = disk.bytes("00000001.car").unwrap();
    bytes[all[1].place.offset as usize + 5] ^= 1;
    bytes[all[2].place.offset as usize + 5] ^= 1;
    let disk = memory(&bytes);
    let (mut segments, report, found) = open(disk.clone(), LARGE, None);
    assert_eq!(found, [all[0].clone(), all[3].clone()]);
    let damage = |one: &Found| Damage {
        mark: mark(1, one.start()),
        bytes: one.end() - one.start(),
        cid: Some(one.cid),
        kind: DamageKind::Changed,
    };
    assert_eq!(report.damages, [damage(&all[1]), damage(&all[2])]);
    assert_eq!((report.torn, segments.end().offset), (None, bytes.len() as u64));
    let new = commit(&mut segments, &mut random, &[9]).unwrap();
    assert_eq!(new[0].place.segment, 1);
    assert!(disk.bytes("00000001.car").unwrap().starts_with(&bytes), "nothing was cut");
}

#[test]
fn a_bad_end_of_a_closed_segment_is_damage_and_stays() {
    let disk = Arc::new(MemoryDisk::default());
    let (mut segments, _, _) = open(disk.clone(), 100, None);
    let mut random = Random(8);
    commit(&mut segments, &mut random, &[100]).unwrap();
    commit(&mut segments, &mut random, &[100]).unwrap();
    let bytes = disk.bytes("00000001.car").unwrap();
    disk.put("00000001.car", bytes[..bytes.len() - 3].to_vec());
    let (_, report, found) = open(disk.clone(), 100, None);
    assert_eq!((found.len(), report.torn, report.damages_count), (1, None, 1));
    assert_eq!(disk.bytes("00000001.car").unwrap().len(), bytes.len() - 3);
}

#[test]
fn a_damaged_header_costs_no_section() {
    let disk = Arc::new(MemoryDisk::default());
    let (mut segments, _, _) = open(disk.clone(), LARGE, None);
    let all = commit(&mut segments, &mut Random(9), &[10, 20]).unwrap();
    let mut bytes = disk.bytes("00000001.car").unwrap();
    bytes[3] ^= 4;
    let (_, report, found) = open(memory(&bytes), LARGE, None);
    assert_eq!(found, all);
    assert_eq!((report.damages[0].bytes, report.damages_count), (18, 1));
}

#[test]
fn missing_segments_and_ends_are_reported_and_their_numbers_not_reused() {
    let disk = Arc::new(MemoryDisk::default());
    let (mut segments, _, _) = open(disk.clone(), 100, None);
    let mut random = Random(10);
    for _ in 0..4 {
        commit(&mut segments, &mut random, &[100]).unwrap();
    }
    let end = segments.end();
    assert_eq!(end.segment, 4);

    let hole = Arc::new(disk.fork());
    hole.remove("00000002.car").unwrap();
    let (_, report, found) = open(hole, 100, None);
    assert_eq!((found.len(), report.damages_count), (3, 1));
    assert_eq!(report.damages[0].kind, DamageKind::Missing);
    assert_eq!(report.damages[0].mark, mark(2, 0));

    let short = Arc::new(disk.fork());
    short.truncate("00000004.car", 18).unwrap();
    let (_, report, _) = open(short, 100, Some(end));
    assert_eq!(report.damages[0].kind, DamageKind::Missing);
    assert_eq!(report.damages[0].mark, mark(4, 18));

    disk.remove("00000004.car").unwrap();
    let (mut segments, report, _) = open(disk, 100, Some(end));
    assert_eq!((report.damages_count, report.damages[0].kind), (1, DamageKind::Missing));
    let new = commit(&mut segments, &mut random, &[5]).unwrap();
    assert_eq!(new[0].place.segment, 5);
}

/// A block whose contents pose as the heads of a great many large sections.
fn posing_block() -> Vec<u8> {
    let mut head = Vec::new();
    car::put_section(&mut head, &Cid::from_digest(Codec::Raw, [9; 32]), &[0; 1 << 20]);
    head[..40].repeat((1 << 20) / 40)
}

#[test]
fn a_search_that_foreign_bytes_would_drag_out_is_given_up_and_nothing_is_cut() {
    let bytes = posing_block();
    let cid = Cid::of(Codec::Raw, &bytes);
    let mut file = car::HEADER.to_vec();
    for _ in 0..2 {
        car::put_section(&mut file, &cid, &bytes);
    }
    file[18] = 0;
    let len = file.len();
    let disk = memory(&file);
    let (mut segments, report, found) = open(disk.clone(), LARGE, None);
    assert_eq!((found.len(), report.torn, report.damages_count), (0, None, 1));
    assert_eq!(disk.bytes("00000001.car").unwrap().len(), len);
    let new = commit(&mut segments, &mut Random(11), &[5]).unwrap();
    assert_eq!(new[0].place.segment, 2);
    let (_, _, found) = open(disk, LARGE, None);
    assert_eq!(found, new);
}

#[test]
fn places_that_lie_outside_read_as_damage() {
    let disk = Arc::new(MemoryDisk::default());
    let (mut segments, _, _) = open(disk, LARGE, None);
    let one = commit(&mut segments, &mut Random(12), &[50]).unwrap().remove(0);
    for place in [
        Place { segment: 2, ..one.place },
        Place { offset: 0, ..one.place },
        Place { offset: u64::MAX, ..one.place },
        Place { bytes: u32::MAX, ..one.place },
        Place { bytes: 49, ..one.place },
        Place { offset: one.place.offset + 1, ..one.place },
    ] {
        for expected in [None, Some(&one.cid)] {
            let error = segments.read(place, expected).unwrap_err();
            assert!(matches!(error, ReadError::Damaged { .. }), "{place:?}: {error:?}");
        }
    }
}

#[test]
fn a_block_nobody_would_read_is_not_taken() {
    let (mut segments, _, _) = open(Arc::new(MemoryDisk::default()), LARGE, None);
    let bytes = vec![0; BLOCK_BYTES_READ_MAX + 1];
    let section = Section { cid: Cid::of(Codec::Raw, &bytes), bytes: &bytes };
    assert!(matches!(segments.append(&[section]), Err(StoreError::TooLarge { .. })));
}
