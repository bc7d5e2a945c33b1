//! Power cuts: at every moment, whatever part of what was not synced survives.

use super::*;
use crate::Crash;
use std::sync::Mutex;

/// A disk in memory that keeps a copy of itself before every sync, and how much was acknowledged.
#[derive(Default)]
struct Camera {
    disk: MemoryDisk,
    acknowledged: Mutex<usize>,
    pictures: Mutex<Vec<(usize, MemoryDisk)>>,
}

impl Camera {
    fn shoot(&self) {
        let picture = (*self.acknowledged.lock().unwrap(), self.disk.fork());
        self.pictures.lock().unwrap().push(picture);
    }
}

impl Disk for Camera {
    fn create(&self, name: &str) -> io::Result<()> {
        self.disk.create(name)
    }
    fn append(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.disk.append(name, bytes)
    }
    fn sync(&self, name: &str) -> io::Result<()> {
        self.shoot();
        self.disk.sync(name)
    }
    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.disk.read_at(name, offset, buffer)
    }
    fn len(&self, name: &str) -> io::Result<u64> {
        self.disk.len(name)
    }
    fn truncate(&self, name: &str, len: u64) -> io::Result<()> {
        self.disk.truncate(name, len)
    }
    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn sync_dir(&self) -> io::Result<()> {
        self.shoot();
        self.disk.sync_dir()
    }
}

/// Everything that was written, and a picture of the disk at every sync on the way.
fn story(commits: usize) -> (Vec<Found>, Vec<(usize, MemoryDisk)>) {
    let camera = Arc::new(Camera::default());
    let (mut segments, _, _) = open(camera.clone(), 600, None);
    let mut random = Random(20);
    let mut all = Vec::new();
    for _ in 0..commits {
        let sizes: Vec<_> = (0..=random.below(3)).map(|_| random.below(90)).collect();
        all.extend(commit(&mut segments, &mut random, &sizes).unwrap());
        *camera.acknowledged.lock().unwrap() = all.len();
    }
    camera.shoot();
    let pictures = std::mem::take(&mut *camera.pictures.lock().unwrap());
    (all, pictures)
}

#[test]
fn every_prefix_of_what_was_not_synced_opens_with_all_that_was_acknowledged() {
    let (all, pictures) = story(25);
    let mut tried = 0;
    for (acknowledged, picture) in pictures {
        for operations in 0..=picture.pending_operations() {
            for torn_bytes in 0..400 {
                let disk = Arc::new(picture.fork());
                disk.crash(Crash::Prefix { operations, torn_bytes });
                let (_, report, found) = open(disk, 600, None);
                assert_eq!(report.damages, []);
                assert!(found.len() >= acknowledged, "{} of {acknowledged}", found.len());
                assert_eq!(found, all[..found.len()]);
                tried += 1;
            }
        }
    }
    assert!(tried > 10_000, "{tried}");
}

#[test]
fn whatever_sectors_survive_all_that_was_acknowledged_is_there() {
    let (all, pictures) = story(25);
    let mut random = Random(21);
    for (acknowledged, picture) in pictures {
        for _ in 0..50 {
            let disk = Arc::new(picture.fork());
            disk.crash(Crash::Picked(&mut || random.below(2) == 0));
            let (mut segments, _, found) = open(disk.clone(), 600, None);
            assert!(found.len() >= acknowledged, "{} of {acknowledged}", found.len());
            assert_eq!(found[..acknowledged], all[..acknowledged]);
            assert!(found.iter().all(|one| all.contains(one)));
            let new = commit(&mut segments, &mut random, &[30]).unwrap();
            let (_, _, again) = open(disk, 600, None);
            assert_eq!(again, [found, new].concat());
        }
    }
}

#[test]
fn what_a_killed_process_left_is_durable_once_it_was_visited() {
    let (all, pictures) = story(25);
    for (_, picture) in pictures {
        let disk = Arc::new(picture);
        let (segments, _, found) = open(disk.clone(), 600, None);
        drop(segments);
        disk.crash(Crash::Nothing);
        let (_, _, again) = open(disk, 600, None);
        assert_eq!(again, found);
        assert_eq!(found, all[..found.len()]);
    }
}
