//! New, foreign, newer, older and held folders.

use super::migrate::Progress;
use super::*;
use std::cell::{Cell, RefCell};

fn read(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A folder whose FORMAT says `version`.
fn folder_of(version: u32) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    drop(StoreFolder::open_as(folder.path(), version, &[]).unwrap());
    folder
}

#[test]
fn a_new_folder_gets_its_files_and_opens_again() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("a/b");
    drop(StoreFolder::open(&folder).unwrap());
    assert_eq!(names(&folder), ["FORMAT", "LOCK", "index", "segments"]);
    assert_eq!(read(&folder, "FORMAT"), include_str!("../../fixtures/FORMAT-1"));
    let store = StoreFolder::open(&folder).unwrap();
    assert_eq!(store.path(), folder);
}

#[test]
fn a_second_opener_is_told_that_the_folder_is_in_use() {
    let folder = folder_of(1);
    let first = StoreFolder::open(folder.path()).unwrap();
    let error = StoreFolder::open(folder.path()).unwrap_err();
    assert!(matches!(error, FolderError::Locked { source: LockError::Held, .. }), "{error:?}");
    drop(first);
    StoreFolder::open(folder.path()).unwrap();
}

#[test]
fn a_newer_folder_stays_untouched() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("FORMAT"), "rhizome-store 2\nwho knows\n").unwrap();
    std::fs::write(folder.path().join("novelty"), "x").unwrap();
    let error = StoreFolder::open(folder.path()).unwrap_err();
    assert!(matches!(error, FolderError::Newer { found: 2, known: 1, .. }), "{error:?}");
    assert_eq!(names(folder.path()), ["FORMAT", "novelty"]);
    assert_eq!(read(folder.path(), "FORMAT"), "rhizome-store 2\nwho knows\n");
}

#[test]
fn a_folder_that_a_newer_program_was_bringing_forward_stays_untouched() {
    let folder = folder_of(1);
    std::fs::write(folder.path().join("MIGRATION"), "rhizome-migration 1 1 2 17\n").unwrap();
    let before = names(folder.path());
    let error = StoreFolder::open(folder.path()).unwrap_err();
    assert!(matches!(error, FolderError::Newer { found: 2, known: 1, .. }), "{error:?}");
    assert_eq!(names(folder.path()), before);
}

#[test]
fn a_folder_of_something_else_stays_untouched() {
    for text in [None, Some(""), Some("rhizome-store 1"), Some("rhizome-store 01\n"), Some("x\n")] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("diary.txt"), "dear").unwrap();
        if let Some(text) = text {
            std::fs::write(folder.path().join("FORMAT"), text).unwrap();
        }
        let before = names(folder.path());
        let error = StoreFolder::open(folder.path()).unwrap_err();
        assert!(matches!(error, FolderError::Foreign { .. }), "{error:?}");
        assert_eq!(names(folder.path()), before);
    }
}

#[test]
fn a_folder_killed_before_its_format_was_written_is_new() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("LOCK"), "").unwrap();
    std::fs::write(folder.path().join("FORMAT.new"), "rhizome").unwrap();
    StoreFolder::open(folder.path()).unwrap();
    assert_eq!(read(folder.path(), "FORMAT"), "rhizome-store 1\n");
}

#[test]
fn an_older_folder_is_brought_forward_and_goes_on_where_it_was_killed() {
    let folder = folder_of(1);
    let done = RefCell::new(Vec::new());
    let dies_at = Cell::new(Some(3));
    let work = |_: &Path, progress: &mut Progress<'_>| {
        for piece in progress.done()..5 {
            if dies_at.get() == Some(piece) {
                return Err(io::Error::other("killed"));
            }
            done.borrow_mut().push(piece);
            progress.save(piece + 1)?;
        }
        Ok(())
    };
    let last = |_: &Path, _: &mut Progress<'_>| {
        done.borrow_mut().push(99);
        Ok(())
    };
    let steps = [
        Step { from: 1, name: "five pieces", run: &work },
        Step { from: 2, name: "one piece", run: &last },
    ];

    let error = StoreFolder::open_as(folder.path(), 3, &steps).unwrap_err();
    assert!(matches!(error, FolderError::Migration { step: "five pieces", .. }), "{error:?}");
    assert_eq!(read(folder.path(), "FORMAT"), "rhizome-store 1\n");
    assert_eq!(read(folder.path(), "MIGRATION"), "rhizome-migration 1 1 2 3\n");

    dies_at.set(None);
    drop(StoreFolder::open_as(folder.path(), 3, &steps).unwrap());
    assert_eq!(*done.borrow(), [0, 1, 2, 3, 4, 99]);
    assert_eq!(read(folder.path(), "FORMAT"), "rhizome-store 3\n");
    assert_eq!(names(folder.path()), ["FORMAT", "LOCK", "index", "segments"]);

    drop(StoreFolder::open_as(folder.path(), 3, &steps).unwrap());
    assert_eq!(done.borrow().len(), 6);
}

#[test]
fn a_migration_killed_after_its_format_was_written_only_tidies_up() {
    let folder = folder_of(2);
    std::fs::write(folder.path().join("MIGRATION"), "rhizome-migration 1 1 2 5\n").unwrap();
    drop(StoreFolder::open_as(folder.path(), 2, &[]).unwrap());
    assert_eq!(names(folder.path()), ["FORMAT", "LOCK", "index", "segments"]);
}

#[test]
fn a_folder_without_a_way_forward_says_so() {
    let folder = folder_of(1);
    let error = StoreFolder::open_as(folder.path(), 2, &[]).unwrap_err();
    assert!(matches!(error, FolderError::TooOld { found: 1, .. }), "{error:?}");
}

#[test]
fn a_wiped_index_is_empty_and_the_segments_stay() {
    let folder = folder_of(1);
    let store = StoreFolder::open(folder.path()).unwrap();
    std::fs::write(store.index_path().join("db"), "x").unwrap();
    std::fs::write(folder.path().join("segments/00000001.car"), "x").unwrap();
    store.wipe_index().unwrap();
    assert!(names(&store.index_path()).is_empty());
    assert_eq!(names(&folder.path().join("segments")), ["00000001.car"]);
    assert_eq!(names(folder.path()), ["FORMAT", "LOCK", "index", "segments"]);
}
