//! Which segments count: the names that a compaction leaves in the folder.
//!
//! The empty file `F-L.set-aside` keeps the numbers F to L for a compaction: appends go on behind
//! them, and no segment in between counts. Renamed to `F-K-L.compacted` it says that F to K stand
//! for everything before F. A name cannot be half-written and no bit of it flips in a sector of
//! ours, which is why there is nothing in the files. Writing the segments is left to `compact`.

use super::{Mark, car};
use crate::Disk;
use std::io;

const SET_ASIDE: &str = ".set-aside";
const COMPACTED: &str = ".compacted";

/// Which segments count.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Layout {
    /// The newest compaction: its first segment, which is its generation as well.
    first: u32,
    /// Numbers that no segment has, first and last.
    gaps: Vec<(u32, u32)>,
}

/// Numbers set aside for one compaction.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct SetAside {
    /// The first of them.
    pub(super) first: u32,
    /// The last of them.
    pub(super) last: u32,
}

impl SetAside {
    /// The file that keeps the numbers.
    pub(super) fn name(self) -> String {
        format!("{:08}-{:08}{SET_ASIDE}", self.first, self.last)
    }

    /// The file that says that the segments up to `written` count, and none before.
    pub(super) fn compacted_name(self, written: u32) -> String {
        format!("{:08}-{written:08}-{:08}{COMPACTED}", self.first, self.last)
    }
}

impl Layout {
    /// Reads the names in a folder; returns those that do not count any more as well.
    pub(crate) fn read(names: &[String]) -> (Self, Vec<String>) {
        let compacted = names.iter().filter_map(|name| read_compacted(name));
        let mut layout = Self::default();
        if let Some((set_aside, written)) = compacted.max_by_key(|(one, _)| one.first) {
            layout = layout.compacted(set_aside, written);
        }
        let first = layout.first;
        let set_aside = names.iter().filter_map(|name| read_set_aside(name));
        layout
            .gaps
            .extend(set_aside.filter(|one| one.first > first).map(|one| (one.first, one.last)));
        let left = |name: &&String| match (car::segment_number(name), read_set_aside(name)) {
            (Some(segment), _) => !layout.counts(segment),
            (None, Some(one)) => one.first <= first,
            (None, None) => read_compacted(name).is_some_and(|(one, _)| one.first < first),
        };
        let left = names.iter().filter(left).cloned().collect();
        (layout, left)
    }

    /// This layout with more numbers set aside.
    pub(super) fn with(&self, set_aside: SetAside) -> Self {
        let mut layout = self.clone();
        layout.gaps.push((set_aside.first, set_aside.last));
        layout
    }

    /// What counts once the segments up to `written` stand for all before them.
    pub(super) fn compacted(&self, set_aside: SetAside, written: u32) -> Self {
        let later = self.gaps.iter().filter(|gap| gap.0 > set_aside.last).copied();
        let unused = (written < set_aside.last).then_some((written + 1, set_aside.last));
        Self { first: set_aside.first, gaps: unused.into_iter().chain(later).collect() }
    }

    /// Which compaction was the last one; 0 before the first.
    pub(crate) const fn generation(&self) -> u32 {
        self.first
    }

    /// The first segment that counts.
    pub(crate) fn first(&self) -> u32 {
        self.first.max(1)
    }

    /// The last number that was set aside; 0 if there is none.
    pub(super) fn last_set_aside(&self) -> u32 {
        self.gaps.iter().map(|gap| gap.1).max().unwrap_or(0)
    }

    /// Whether a segment counts, there or not.
    pub(super) fn counts(&self, segment: u32) -> bool {
        segment >= self.first() && !self.gaps.iter().any(|gap| (gap.0..=gap.1).contains(&segment))
    }

    /// Whether nothing before `mark` was compacted since it was taken.
    pub(super) fn knows(&self, mark: Mark) -> bool {
        mark == Mark::default() || mark.generation == self.first
    }

    /// A mark of this layout.
    pub(super) const fn mark(&self, segment: u32, offset: u64) -> Mark {
        Mark { generation: self.first, segment, offset }
    }
}

/// Reads which segments count, and removes what a compaction that was interrupted left behind.
pub(super) fn tidy(disk: &dyn Disk) -> io::Result<Layout> {
    let (layout, left) = Layout::read(&disk.list()?);
    if layout != Layout::default() {
        // What is seen here need not be durable; what it replaces goes only once it is.
        disk.sync_dir()?;
    }
    remove(disk, &left);
    Ok(layout)
}

/// Removes files that do not count. What cannot be removed does not count later either.
pub(crate) fn remove(disk: &dyn Disk, names: &[String]) {
    for name in names {
        if let Err(error) = disk.remove(name) {
            tracing::warn!(name, %error, "a file that does not count stays");
        }
    }
}

fn read_set_aside(name: &str) -> Option<SetAside> {
    let [first, last] = numbers(name.strip_suffix(SET_ASIDE)?)?;
    let read = SetAside { first, last };
    (read.name() == name).then_some(read)
}

fn read_compacted(name: &str) -> Option<(SetAside, u32)> {
    let [first, written, last] = numbers(name.strip_suffix(COMPACTED)?)?;
    let read = SetAside { first, last };
    (read.compacted_name(written) == name).then_some((read, written))
}

/// Exactly `N` numbers above 0 in ascending order, but that the second may be one below the first:
/// a compaction that kept nothing wrote no segment.
fn numbers<const N: usize>(text: &str) -> Option<[u32; N]> {
    let numbers: Option<Vec<u32>> = text.split('-').map(|part| part.parse().ok()).collect();
    let numbers: [u32; N] = numbers?.try_into().ok()?;
    let (first, last) = (numbers.first()?, numbers.last()?);
    let within = |number: &u32| *number + 1 >= *first && number <= last;
    (*first > 0 && first <= last && numbers.iter().all(within)).then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(names: &[&str]) -> (Layout, Vec<String>) {
        Layout::read(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn without_a_compaction_all_segments_count() {
        let (layout, left) = read(&["00000001.car", "00000002.car", "LOCK", "x.set-aside"]);
        assert_eq!((layout, left), (Layout::default(), Vec::new()));
    }

    #[test]
    fn numbers_that_were_set_aside_hold_nothing_and_are_not_used_again() {
        let names = ["00000001.car", "00000002-00000004.set-aside", "00000003.car", "00000005.car"];
        let (layout, left) = read(&names);
        assert_eq!(left, ["00000003.car"]);
        let counts: Vec<_> = (0..=6).filter(|segment| layout.counts(*segment)).collect();
        assert_eq!((counts, layout.last_set_aside()), (vec![1, 5, 6], 4));
        assert!(layout.knows(Mark { segment: 1, offset: 9, generation: 0 }));
    }

    #[test]
    fn a_compaction_stands_for_everything_before_it() {
        let (layout, left) = read(&[
            "00000001.car",
            "00000002-00000003.set-aside",
            "00000002-00000002-00000004.compacted",
            "00000005-00000005-00000007.compacted",
            "00000004.car",
            "00000005.car",
            "00000006.car",
            "00000008.car",
            "00000009-00000010.set-aside",
        ]);
        let gone = ["00000001.car", "00000002-00000003.set-aside"];
        let older = ["00000002-00000002-00000004.compacted", "00000004.car", "00000006.car"];
        assert_eq!(left, [&gone[..], &older[..]].concat());
        let counts: Vec<_> = (0..=12).filter(|segment| layout.counts(*segment)).collect();
        assert_eq!((counts, layout.generation()), (vec![5, 8, 11, 12], 5));
        assert!(!layout.knows(Mark { segment: 8, offset: 18, generation: 0 }));
        assert!(layout.knows(Mark::default()));
    }

    #[test]
    fn a_compaction_that_kept_nothing_has_no_segment() {
        let (layout, _) = read(&["00000002-00000001-00000003.compacted"]);
        let counts: Vec<_> = (0..=5).filter(|segment| layout.counts(*segment)).collect();
        assert_eq!((counts, layout.last_set_aside()), (vec![4, 5], 3));
    }

    #[test]
    fn names_that_are_not_exactly_ours_say_nothing() {
        for name in [
            "2-3.set-aside",
            "00000003-00000002.set-aside",
            "00000000-00000002.set-aside",
            "00000002-00000003-00000004.set-aside",
            "00000002-00000004.compacted",
            "00000004-00000002-00000006.compacted",
            "00000002-00000009-00000004.compacted",
            "+0000002-00000003.set-aside",
        ] {
            assert_eq!(read(&[name]), (Layout::default(), Vec::new()), "{name}");
        }
    }
}
