//! What sheets promise besides the suite: they survive, they stay few, and they notice damage.

use super::*;
use crate::index::suite::{put, scan, suite};
use rhizome_log::Batch;

/// Everything becomes a sheet, or almost.
const EAGER: Bounds = Bounds { bulk_bytes_min: 400, small_bytes_max: 1_000 };

struct Kept {
    index: Option<SheetIndex>,
    folder: tempfile::TempDir,
}

impl Kept {
    fn new(bounds: Bounds) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut kept = Self { index: None, folder };
        kept.open(bounds).unwrap();
        kept
    }

    /// Opens it, after closing it.
    fn open(&mut self, bounds: Bounds) -> Result<(), IndexError> {
        drop(self.index.take());
        let config = SledConfig::default();
        self.index = Some(SheetIndex::open_with(self.folder.path(), &config, bounds)?);
        Ok(())
    }

    fn index(&self) -> &SheetIndex {
        self.index.as_ref().unwrap()
    }

    fn files(&self) -> Vec<String> {
        let names = fs::read_dir(self.folder.path().join(SHEETS_FOLDER)).unwrap();
        let mut names: Vec<String> =
            names.map(|name| name.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Index for Kept {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        self.index().get(key)
    }
    fn scan(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        reverse: bool,
        visit: &mut Visit<'_>,
    ) -> Result<(), IndexError> {
        self.index().scan(from, to, reverse, visit)
    }
    fn write(&self, batch: Batch) -> Result<(), IndexError> {
        self.index().write(batch)
    }
}

fn everything(index: &dyn Index) -> Vec<(Vec<u8>, Vec<u8>)> {
    scan(index, (Bound::Unbounded, Bound::Unbounded), false, usize::MAX)
}

fn key(n: u32) -> Vec<u8> {
    [b"key ".as_slice(), &n.to_be_bytes()].concat()
}

/// A batch that is large enough to become a sheet.
fn bulk(from: u32, value: &[u8]) -> Batch {
    let mut batch = Batch::default();
    (from..from + 100).for_each(|n| batch.put(key(n), value));
    batch
}

#[test]
fn sheets_pass_the_suite() {
    suite(|| Box::new(Kept::new(EAGER)));
    let never = Bounds { bulk_bytes_min: 1, small_bytes_max: 0 };
    suite(|| Box::new(Kept::new(never)));
    let only_sled = Bounds { bulk_bytes_min: usize::MAX, small_bytes_max: usize::MAX };
    suite(|| Box::new(Kept::new(only_sled)));
}

#[test]
fn what_was_written_is_there_after_opening_again() {
    let mut kept = Kept::new(EAGER);
    kept.write(bulk(0, b"old")).unwrap();
    kept.write(bulk(50, b"new")).unwrap();
    put(&kept, &[(b"small", b"x"), (b"key", b"y")]);
    let mut batch = Batch::default();
    batch.remove(key(0));
    batch.remove(*b"never there");
    kept.write(batch).unwrap();
    let before = everything(&kept);
    assert_eq!(before.len(), 151);
    kept.open(EAGER).unwrap();
    assert_eq!(everything(&kept), before);
    assert_eq!(kept.get(&key(0)).unwrap(), None);
    assert_eq!(kept.get(&key(49)).unwrap().unwrap(), b"old");
    assert_eq!(kept.get(&key(50)).unwrap().unwrap(), b"new");
    assert_eq!(kept.get(b"small").unwrap().unwrap(), b"x");
    assert_eq!(kept.files().len(), 2);
}

#[test]
fn sheets_are_merged_and_their_files_go() {
    let mut kept = Kept::new(EAGER);
    for round in 0..40_u32 {
        kept.write(bulk(round * 50, &round.to_be_bytes())).unwrap();
    }
    kept.index().wait_for_merging();
    kept.index().merge_if_due();
    kept.index().wait_for_merging();
    let before = everything(&kept);
    assert_eq!(before.len(), 40 * 50 + 50);
    assert!(kept.files().len() <= 4, "{:?}", kept.files());
    kept.open(EAGER).unwrap();
    assert_eq!(everything(&kept), before);
}

#[test]
fn what_is_removed_everywhere_takes_no_place_in_the_last_sheet() {
    let kept = Kept::new(EAGER);
    kept.write(bulk(0, b"value")).unwrap();
    for _ in 0..4 {
        let mut batch = Batch::default();
        (0..100).for_each(|n| batch.remove(key(n)));
        kept.write(batch).unwrap();
    }
    kept.index().wait_for_merging();
    kept.index().merge_if_due();
    kept.index().wait_for_merging();
    assert_eq!(everything(&kept), []);
    let sheets = kept.index().shared.state().sheets;
    assert!(sheets.iter().all(|sheet| sheet.bytes < 1_000), "hiding entries are kept");
}

#[test]
fn a_scan_goes_on_while_sheets_come_and_go() {
    let kept = Kept::new(EAGER);
    kept.write(bulk(0, b"first")).unwrap();
    let mut seen = 0;
    let visit = &mut |_: &[u8], value: &[u8]| {
        assert_eq!(value, b"first");
        if seen % 10 == 0 {
            kept.write(bulk(0, b"later")).unwrap();
            kept.index().wait_for_merging();
        }
        seen += 1;
        ControlFlow::Continue(())
    };
    kept.scan(Bound::Unbounded, Bound::Unbounded, true, visit).unwrap();
    assert_eq!(seen, 100);
    assert_eq!(kept.get(&key(3)).unwrap().unwrap(), b"later");
}

#[test]
fn files_nobody_knows_are_removed() {
    let mut kept = Kept::new(EAGER);
    kept.write(bulk(0, b"value")).unwrap();
    let stray = kept.folder.path().join(SHEETS_FOLDER).join(file_name(99));
    fs::write(stray, "half of it").unwrap();
    kept.open(EAGER).unwrap();
    assert_eq!(kept.files(), [file_name(1)]);
    // The number of a file that went is not in the way of the next.
    kept.write(bulk(0, b"value")).unwrap();
    assert_eq!(kept.files(), [file_name(1), file_name(2)]);
}

#[test]
fn damage_is_noticed_wherever_it_is() {
    let mut kept = Kept::new(EAGER);
    kept.write(bulk(0, &[7; 300])).unwrap();
    let path = kept.folder.path().join(SHEETS_FOLDER).join(file_name(1));
    let whole = fs::read(&path).unwrap();
    let all = everything(&kept);
    for at in (0..whole.len()).step_by(97).chain([whole.len() - 1]) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        fs::write(&path, &bytes).unwrap();
        let opened = kept.open(EAGER);
        let noticed = opened.is_err() || {
            let mut seen = 0;
            let read = kept.scan(Bound::Unbounded, Bound::Unbounded, false, &mut |_, _| {
                seen += 1;
                ControlFlow::Continue(())
            });
            read.is_err() && seen < all.len()
        };
        assert!(noticed, "a flipped bit at {at} of {}", whole.len());
    }
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    assert!(kept.open(EAGER).is_err(), "a sheet that is cut");
    fs::remove_file(&path).unwrap();
    assert!(kept.open(EAGER).is_err(), "a sheet that is gone");
    fs::write(&path, &whole).unwrap();
    kept.open(EAGER).unwrap();
    assert_eq!(everything(&kept), all);
}

#[test]
fn a_sheet_of_version_1_is_read() {
    let stored = include_bytes!("../../../fixtures/sheet-1.sheet");
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &Path| {
        let mut sheet = SheetWriter::create(path, 1).unwrap();
        sheet.push(b"", Some(b"an empty key")).unwrap();
        for n in 0..300 {
            let value = (n % 7 != 0).then(|| vec![n as u8; n as usize % 90]);
            sheet.push(&key(n), value.as_deref()).unwrap();
        }
        sheet.finish().unwrap()
    };
    drop(write(folder.path()));
    let written = fs::read(folder.path().join(file_name(1))).unwrap();
    assert_eq!(written, stored, "version 1 is written as it always was");
    let sheet = Sheet::open(folder.path(), 1, stored.len() as u64).unwrap();
    let get = |key: &[u8]| sheet.get(key, filter::hash(key)).unwrap();
    assert_eq!(get(b""), Some(Some(b"an empty key".to_vec())));
    assert_eq!(get(&key(8)), Some(Some(vec![8; 8])));
    assert_eq!(get(&key(7)), Some(None));
    assert_eq!(get(&key(300)), None);
}
