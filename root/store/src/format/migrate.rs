//! Bringing a store folder forward, one version at a time, so that it can be killed anywhere.
//!
//! Before a step begins, the file MIGRATION names it; while it runs, MIGRATION remembers how far it
//! is; when it is done, FORMAT moves on and MIGRATION goes. A step therefore runs again from the
//! number it saved last, and must bear doing the work after that number twice.

use super::{FolderError, read_small, replace_file, write_format};
use std::io;
use std::path::Path;

const MIGRATION: &str = "MIGRATION";

/// What opens MIGRATION, in front of three numbers.
const MIGRATION_START: &str = "rhizome-migration 1 ";

/// The way from every released version to the next one. Version 1 is the first.
pub(super) const STEPS: &[Step<'static>] = &[];

/// The way from one version to the next.
pub(super) struct Step<'a> {
    /// The version it starts from; it leads to the next one.
    pub(super) from: u32,
    /// What it does, in a few words.
    pub(super) name: &'static str,
    /// Does it.
    pub(super) run: &'a dyn Fn(&Path, &mut Progress<'_>) -> io::Result<()>,
}

/// How far a step is.
pub(super) struct Progress<'a> {
    folder: &'a Path,
    under_way: UnderWay,
}

/// What MIGRATION says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct UnderWay {
    /// The version the step starts from.
    pub(super) from: u32,
    /// The version it leads to.
    pub(super) to: u32,
    /// How far it is, in numbers of its own.
    pub(super) done: u64,
}

impl Progress<'_> {
    /// The number saved last; 0 at the beginning.
    #[cfg_attr(not(test), expect(dead_code, reason = "for steps, of which there are none yet"))]
    pub(super) fn done(&self) -> u64 {
        self.under_way.done
    }

    /// Remembers that the work up to `done` is done and durable.
    pub(super) fn save(&mut self, done: u64) -> io::Result<()> {
        self.under_way.done = done;
        let UnderWay { from, to, done } = self.under_way;
        replace_file(self.folder, MIGRATION, &format!("{MIGRATION_START}{from} {to} {done}\n"))
    }
}

/// Takes `folder` from version `found` to `version`.
pub(super) fn run(
    folder: &Path,
    found: u32,
    version: u32,
    steps: &[Step<'_>],
) -> Result<(), FolderError> {
    let disk = |source| FolderError::Disk { folder: folder.to_owned(), source };
    for from in found..version {
        let step = steps.iter().find(|step| step.from == from);
        let step = step.ok_or(FolderError::TooOld { folder: folder.to_owned(), found: from })?;
        let fresh = UnderWay { from, to: from + 1, done: 0 };
        let under_way = self::under_way(folder).map_err(disk)?;
        let under_way = under_way.filter(|under_way| under_way.from == from).unwrap_or(fresh);
        tracing::info!(from, step = step.name, done = under_way.done, "bringing store forward");
        let mut progress = Progress { folder, under_way };
        progress
            .save(under_way.done)
            .and_then(|()| (step.run)(folder, &mut progress))
            .and_then(|()| write_format(folder, from + 1))
            .and_then(|()| finish(folder))
            .map_err(|source| FolderError::Migration {
                folder: folder.to_owned(),
                step: step.name,
                source,
            })?;
    }
    Ok(())
}

/// The step that was begun and not finished, if there is one.
pub(super) fn under_way(folder: &Path) -> io::Result<Option<UnderWay>> {
    let text = match read_small(&folder.join(MIGRATION)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text?,
    };
    let numbers = text.strip_prefix(MIGRATION_START).and_then(|text| text.strip_suffix('\n'));
    let mut numbers = numbers.into_iter().flat_map(|numbers| numbers.split(' '));
    let mut next = || numbers.next().and_then(|number| number.parse::<u64>().ok());
    let read = (next(), next(), next());
    let (Some(from), Some(to), Some(done)) = read else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "MIGRATION cannot be read"));
    };
    let version = |number| u32::try_from(number).map_err(io::Error::other);
    Ok(Some(UnderWay { from: version(from)?, to: version(to)?, done }))
}

/// Removes MIGRATION, once FORMAT has moved on.
pub(super) fn finish(folder: &Path) -> io::Result<()> {
    match std::fs::remove_file(folder.join(MIGRATION)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
