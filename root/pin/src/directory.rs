//! A folder of CAR files: an attic disk, a network share, whatever has a path.
//!
//! Each [`PinTarget::put`] becomes one CARv1 file named after its first root, complete before its
//! name appears; any IPFS tool imports it (`ipfs dag import FILE`). Nothing is ever changed in
//! place. Opening reads the names, not the contents: contents are checked whenever a block is
//! audited. The layout is described in `docs/guide/pins.md`.

use crate::target::{Audit, PUT_BYTES_MAX, PinError, PinTarget};
use rhizome_block::car::{self, CarError};
use rhizome_block::{Block, Cid};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Ending of the files.
const ENDING: &str = "car";

/// Largest file that is read: what [`PinTarget::put`] writes, and room for names.
const FILE_BYTES_MAX: u64 = PUT_BYTES_MAX as u64 + (8 << 20);

/// Why a folder cannot be used as a target.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The folder or a file cannot be read.
    #[error("cannot use {path}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Where a block lies.
#[derive(Clone, Copy, Debug)]
struct Place {
    file: usize,
    start: u64,
    bytes: usize,
}

/// A folder that keeps blocks in CAR files.
#[derive(Debug)]
pub struct DirectoryTarget {
    name: String,
    dir: PathBuf,
    files: Vec<PathBuf>,
    /// Every copy there is, the newest last.
    blocks: BTreeMap<Cid, Vec<Place>>,
}

impl DirectoryTarget {
    /// Uses `dir`, which is made if it is missing. A file that is no CAR is passed over with a
    /// warning: the folder may be shared, and what it held is then simply missing.
    pub fn open(name: &str, dir: &Path) -> Result<Self, OpenError> {
        let wrong = |source| OpenError::File { path: dir.to_owned(), source };
        fs::create_dir_all(dir).map_err(wrong)?;
        let entries = fs::read_dir(dir).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let mut files: Vec<PathBuf> =
            entries.map_err(wrong)?.into_iter().map(|entry| entry.path()).collect();
        files.retain(|path| path.extension().is_some_and(|ending| ending == ENDING));
        files.sort();
        let (name, dir) = (name.to_owned(), dir.to_owned());
        let mut target = Self { name, dir, files: Vec::new(), blocks: BTreeMap::new() };
        for path in files {
            target.add(&path).map_err(|source| OpenError::File { path, source })?;
        }
        Ok(target)
    }

    /// Notes what a file holds, as far as it is a CAR.
    fn add(&mut self, path: &Path) -> io::Result<()> {
        let bytes = match read_file(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                let path = path.display();
                tracing::warn!(%path, %error, "file of a pin folder is passed over");
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let file = self.files.len();
        self.files.push(path.to_owned());
        if let Err(error) = self.note(file, &bytes) {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(path = %path.display(), error, "CAR of a pin folder ends here");
        }
        Ok(())
    }

    fn note(&mut self, file: usize, bytes: &[u8]) -> Result<(), CarError> {
        let (_, mut at) = car::read_header(bytes)?;
        while let Some(section) = car::read_section(bytes, at)? {
            let bytes = section.end - section.start;
            let place = Place { file, start: section.start as u64, bytes };
            self.blocks.entry(section.cid).or_default().push(place);
            at = section.end;
        }
        Ok(())
    }

    fn unavailable(&self, source: io::Error) -> PinError {
        PinError::Unavailable { target: self.name.clone(), source: Box::new(source) }
    }

    /// Whether the bytes at a place are the block.
    fn proves(&self, cid: &Cid, place: Place) -> bool {
        let read = || -> io::Result<Vec<u8>> {
            let mut file = File::open(&self.files[place.file])?;
            file.seek(SeekFrom::Start(place.start))?;
            let mut bytes = vec![0; place.bytes];
            file.read_exact(&mut bytes)?;
            Ok(bytes)
        };
        read().is_ok_and(|bytes| cid.names(&bytes))
    }

    /// Writes a file whole under a name nobody looks at, then gives it its name.
    fn write(&self, root: &Cid, bytes: &[u8]) -> io::Result<PathBuf> {
        let number = self.files.len();
        let path = self.dir.join(format!("{number:08}-{root}.{ENDING}"));
        let unfinished = path.with_extension("part");
        let mut file = File::create(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        drop(file);
        fs::rename(&unfinished, &path)?;
        sync_folder(&self.dir)?;
        Ok(path)
    }
}

/// Makes a new name in a folder durable. Windows has no handle for that and orders names itself.
fn sync_folder(dir: &Path) -> io::Result<()> {
    if cfg!(windows) { Ok(()) } else { File::open(dir)?.sync_all() }
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let message = format!("larger than {FILE_BYTES_MAX} bytes, so not written by a target");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok(bytes)
}

impl PinTarget for DirectoryTarget {
    fn name(&self) -> &str {
        &self.name
    }

    fn holds(&self, cid: &Cid) -> Result<bool, PinError> {
        Ok(self.blocks.contains_key(cid))
    }

    fn put(&mut self, blocks: &[Block]) -> Result<(), PinError> {
        let Some(first) = blocks.first() else { return Ok(()) };
        let bytes = blocks.iter().map(|block| block.bytes.len()).sum();
        if bytes > PUT_BYTES_MAX {
            return Err(PinError::TooMuch { bytes });
        }
        if let Some(wrong) = blocks.iter().find(|block| !block.holds()) {
            return Err(PinError::NotTheBlock { cid: wrong.cid });
        }
        let mut car = car::header(&[first.cid]);
        let mut seen = BTreeSet::new();
        for block in blocks.iter().filter(|block| seen.insert(block.cid)) {
            car::write_section(&mut car, &block.cid, &block.bytes);
        }
        let path = self.write(&first.cid, &car).map_err(|error| self.unavailable(error))?;
        self.add(&path).map_err(|error| self.unavailable(error))
    }

    fn audit(&mut self, cids: &[Cid]) -> Result<Audit, PinError> {
        let mut audit = Audit::default();
        for cid in cids {
            let places = self.blocks.get(cid).cloned().unwrap_or_default();
            if places.iter().rev().any(|place| self.proves(cid, *place)) {
                audit.proven.push(*cid);
            } else {
                self.blocks.remove(cid);
                audit.missing.push(*cid);
            }
        }
        Ok(audit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(range: std::ops::Range<u8>) -> Vec<Block> {
        range.map(|n| Block::raw(vec![n; usize::from(n) + 1])).collect()
    }

    fn cids(blocks: &[Block]) -> Vec<Cid> {
        blocks.iter().map(|block| block.cid).collect()
    }

    fn open(dir: &Path) -> DirectoryTarget {
        DirectoryTarget::open("attic", dir).unwrap()
    }

    #[test]
    fn what_was_put_is_held_and_proven_also_after_opening_again() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (blocks(0..10), blocks(10..20));
        let mut target = open(dir.path());
        target.put(&one).unwrap();
        target.put(&two).unwrap();
        drop(target);
        let mut target = open(dir.path());
        assert!(target.holds(&one[0].cid).unwrap());
        let all: Vec<Cid> = cids(&one).into_iter().chain(cids(&two)).collect();
        assert_eq!(target.audit(&all).unwrap().proven, all);
        let strange = Block::raw(b"strange".to_vec()).cid;
        assert!(!target.holds(&strange).unwrap());
        assert_eq!(target.audit(&[strange]).unwrap().missing, [strange]);
    }

    #[test]
    fn a_file_is_a_car_whose_every_section_is_what_its_name_says() {
        let dir = tempfile::tempdir().unwrap();
        let one = blocks(0..10);
        open(dir.path()).put(&one).unwrap();
        let entry = fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap();
        let bytes = fs::read(entry.path()).unwrap();
        let (roots, mut at) = car::read_header(&bytes).unwrap();
        assert_eq!(roots, [one[0].cid]);
        let mut found = Vec::new();
        while let Some(section) = car::read_section(&bytes, at).unwrap() {
            section.verify(&bytes).unwrap();
            found.push(section.cid);
            at = section.end;
        }
        assert_eq!(found, cids(&one));
    }

    #[test]
    fn a_wrong_block_is_refused_and_nothing_is_stored() {
        let dir = tempfile::tempdir().unwrap();
        let wrong = Block { cid: Block::raw(b"a".to_vec()).cid, bytes: b"b".to_vec() };
        let refused = open(dir.path()).put(&[wrong]);
        assert!(matches!(refused, Err(PinError::NotTheBlock { .. })));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_damaged_copy_is_noticed_by_the_audit_and_a_new_one_heals_it() {
        let dir = tempfile::tempdir().unwrap();
        let one = blocks(0..10);
        let mut target = open(dir.path());
        target.put(&one).unwrap();
        let path = target.files[0].clone();
        let mut bytes = fs::read(&path).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(&path, bytes).unwrap();
        let lost = one[9].cid;
        assert_eq!(target.audit(&cids(&one)).unwrap().missing, [lost]);
        assert!(!target.holds(&lost).unwrap());
        target.put(&one[9..]).unwrap();
        assert_eq!(target.audit(&[lost]).unwrap().proven, [lost]);
    }

    #[test]
    fn torn_and_strange_files_are_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let one = blocks(0..10);
        let mut target = open(dir.path());
        target.put(&one).unwrap();
        let path = target.files[0].clone();
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        fs::write(dir.path().join("holiday.car"), b"not a car").unwrap();
        fs::write(dir.path().join("00000009-x.part"), b"unfinished").unwrap();
        let target = open(dir.path());
        assert!(target.holds(&one[8].cid).unwrap());
        assert!(!target.holds(&one[9].cid).unwrap(), "the last section is cut off");
    }
}
