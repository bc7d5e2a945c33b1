//! One suite for every disk, and what a crash does to the one in memory.

use super::{Crash, Disk, FaultDisk, FileDisk, MemoryDisk};
use std::io::ErrorKind;
use std::sync::Arc;

fn suite(disk: &dyn Disk) {
    disk.create("b").unwrap();
    disk.create("a").unwrap();
    assert_eq!(disk.create("a").unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(disk.append("none", b"x").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(disk.list().unwrap(), ["a", "b"]);

    disk.append("a", b"hello ").unwrap();
    disk.append("a", b"disk").unwrap();
    disk.sync("a").unwrap();
    disk.sync_dir().unwrap();
    assert_eq!(disk.len("a").unwrap(), 10);
    let mut buffer = [0; 8];
    assert_eq!(disk.read_at("a", 6, &mut buffer).unwrap(), 4);
    assert_eq!(&buffer[..4], b"disk");
    assert_eq!(disk.read_at("a", 10, &mut buffer).unwrap(), 0);
    assert_eq!(disk.read_at("a", 99, &mut buffer).unwrap(), 0);

    disk.truncate("a", 5).unwrap();
    disk.append("a", b"!").unwrap();
    assert_eq!(disk.read_at("a", 0, &mut buffer).unwrap(), 6);
    assert_eq!(&buffer[..6], b"hello!");

    disk.rename("a", "b").unwrap();
    assert_eq!(disk.list().unwrap(), ["b"]);
    assert_eq!(disk.len("b").unwrap(), 6);
    disk.remove("b").unwrap();
    assert_eq!(disk.len("b").unwrap_err().kind(), ErrorKind::NotFound);
    assert!(disk.list().unwrap().is_empty());
}

#[test]
fn real_files_pass_the_suite() {
    let folder = tempfile::tempdir().unwrap();
    suite(&FileDisk::open(&folder.path().join("new")).unwrap());
}

#[test]
fn appends_end_before_the_reserve_and_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut disk = FileDisk::open(folder.path()).unwrap();
    disk.create("a").unwrap();
    disk.append("a", b"before").unwrap();
    disk.reserve_bytes = u64::MAX;
    let refused = disk.append("a", b"after").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::StorageFull);
    assert!(refused.to_string().contains("are kept for the index"), "{refused}");
    assert_eq!(disk.len("a").unwrap(), 6);
    disk.reserve_bytes = 0;
    disk.append("a", b"after").unwrap();
    assert_eq!(disk.len("a").unwrap(), 11);
}

#[test]
fn memory_passes_the_suite() {
    suite(&MemoryDisk::default());
}

#[test]
fn a_faultless_fault_disk_passes_the_suite() {
    suite(&FaultDisk::new(Arc::new(MemoryDisk::default())));
}

#[cfg(unix)]
#[test]
fn files_and_folders_are_their_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let disk = FileDisk::open(&folder.path().join("new")).unwrap();
    disk.create("a").unwrap();
    let mode = |path: &str| {
        let metadata = std::fs::metadata(folder.path().join(path)).unwrap();
        metadata.permissions().mode() & 0o777
    };
    assert_eq!(mode("new"), 0o700);
    assert_eq!(mode("new/a"), 0o600);
}

/// A synced "aaaa", then an unsynced "bbbb" and an unsynced file.
fn half_synced() -> MemoryDisk {
    let disk = MemoryDisk::default();
    disk.create("a").unwrap();
    disk.append("a", b"aaaa").unwrap();
    disk.sync("a").unwrap();
    disk.sync_dir().unwrap();
    disk.append("a", b"bbbb").unwrap();
    disk.create("c").unwrap();
    disk
}

#[test]
fn a_crash_loses_what_was_not_synced() {
    let disk = half_synced();
    disk.crash(Crash::Nothing);
    assert_eq!(disk.bytes("a").unwrap(), b"aaaa");
    assert_eq!(disk.bytes("c"), None);
}

#[test]
fn a_crash_keeps_the_prefix_it_is_told_to() {
    let disk = half_synced();
    assert_eq!(disk.pending_operations(), 2);
    let torn = disk.fork();
    torn.crash(Crash::Prefix { operations: 0, torn_bytes: 3 });
    assert_eq!(torn.bytes("a").unwrap(), b"aaaabbb");
    disk.crash(Crash::Prefix { operations: 2, torn_bytes: 0 });
    assert_eq!(disk.bytes("a").unwrap(), b"aaaabbbb");
    assert_eq!(disk.bytes("c").unwrap(), b"");
}

#[test]
fn a_lost_sector_before_a_kept_one_reads_as_zeros() {
    let disk = half_synced();
    disk.append("a", &[7; 600]).unwrap();
    let mut picks = [false, true, true, false].into_iter();
    disk.crash(Crash::Picked(&mut || picks.next().unwrap()));
    let bytes = disk.bytes("a").unwrap();
    assert_eq!(bytes[..9], *b"aaaa\0\0\0\0\x07");
    assert_eq!(bytes.len(), 512);
}
