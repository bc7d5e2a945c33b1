//! What a path holds: Markdown notes, Keep notes, or a table.
//!
//! Only names are looked at, and at JSON files whether they are of Keep. The kind that lies nearest
//! to the top counts: notes may have a folder of other things beside them, not above them. Reading
//! what is there is left to the pod.

use rhizome_api::import::ImportKind;
use rhizome_api::{ApiError, Problem};
use rhizome_import::{Listed, Source, ZipSource};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Most names that are looked at. A kind shows itself far earlier.
const NAMES_MAX: usize = 20_000;

/// How much of a JSON file is searched for the marks of Keep; notes are smaller.
const MARKS_BYTES_MAX: u64 = 1 << 20;

/// Folders below folders that are looked into.
const DEPTH_MAX: usize = 8;

/// What will be imported.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Chosen {
    /// What it is.
    pub(super) kind: ImportKind,
    /// Where it is; nothing for the sample notes.
    pub(super) path: Option<PathBuf>,
}

/// Finds out what `path` holds; the sample notes if there is none.
pub(super) fn choose(path: Option<&Path>) -> Result<Chosen, ApiError> {
    let Some(path) = path else {
        return Ok(Chosen { kind: ImportKind::Markdown, path: None });
    };
    let unreadable = |source: std::io::Error| {
        let message = format!("{} cannot be read", path.display());
        ApiError::new(Problem::IMPORT_SOURCE, message).caused_by(&source)
    };
    let path = std::path::absolute(path).map_err(unreadable)?;
    if path.is_dir() {
        let mut seen = Seen::default();
        seen.folder(&path, 0).map_err(unreadable)?;
        return seen.nearest(&path);
    }
    match extension(&path.to_string_lossy()).as_str() {
        "csv" => Ok(Chosen { kind: ImportKind::Csv, path: Some(path) }),
        "zip" => archive(&path),
        _ => {
            std::fs::metadata(&path).map_err(unreadable)?;
            Err(nothing(&path))
        }
    }
}

fn archive(path: &Path) -> Result<Chosen, ApiError> {
    let broken = |error: &(dyn std::error::Error + 'static)| {
        let message = format!("{} cannot be read", path.display());
        ApiError::new(Problem::IMPORT_SOURCE, message).caused_by(error)
    };
    let file = File::open(path).map_err(|error| broken(&error))?;
    let zip = ZipSource::open(file).map_err(|error| broken(&error))?;
    let mut names = Vec::new();
    let listed = zip.entries(&mut |listed| {
        if let Listed::Entry(entry) = listed
            && names.len() < NAMES_MAX
        {
            names.push(entry.path);
        }
    });
    listed.map_err(|error| broken(&error))?;
    let mut seen = Seen::default();
    for name in names {
        let depth = name.matches('/').count();
        // What cannot be read is reported by the import; here it says nothing.
        let text = || zip.read(&name, MARKS_BYTES_MAX).unwrap_or_default();
        seen.note(depth, kind_of(&name, text), Path::new(&name));
    }
    seen.nearest(path)
}

fn nothing(path: &Path) -> ApiError {
    let message = format!("{} holds no Markdown notes, Keep notes or table", path.display());
    ApiError::new(Problem::IMPORT_SOURCE, message).hint("rhizome demo FOLDER")
}

fn extension(name: &str) -> String {
    name.rsplit_once('.').map(|(_, extension)| extension.to_lowercase()).unwrap_or_default()
}

/// What a file is, by its name, and for JSON by its marks.
fn kind_of(name: &str, read: impl FnOnce() -> Vec<u8>) -> Option<ImportKind> {
    match extension(name).as_str() {
        "md" | "markdown" => Some(ImportKind::Markdown),
        "csv" => Some(ImportKind::Csv),
        "json" => {
            let bytes = read();
            let text = String::from_utf8_lossy(&bytes);
            let marks = ["\"userEditedTimestampUsec\"", "\"isTrashed\""];
            marks.iter().all(|mark| text.contains(mark)).then_some(ImportKind::Keep)
        }
        _ => None,
    }
}

/// What was seen, by how deep it lies: how many of each kind, and the last table.
#[derive(Debug, Default)]
struct Seen {
    names: usize,
    levels: BTreeMap<usize, [usize; 3]>,
    table: Option<PathBuf>,
}

impl Seen {
    fn folder(&mut self, folder: &Path, depth: usize) -> std::io::Result<()> {
        let mut folders = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            self.names += 1;
            if self.names > NAMES_MAX {
                return Ok(());
            }
            // Links are not followed, here as in the import.
            let kind = entry.file_type()?;
            let path = entry.path();
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() {
                let kind = kind_of(&path.to_string_lossy(), || marks(&path));
                self.note(depth, kind, &path);
            }
        }
        if depth < DEPTH_MAX {
            for folder in folders {
                self.folder(&folder, depth + 1)?;
            }
        }
        Ok(())
    }

    fn note(&mut self, depth: usize, kind: Option<ImportKind>, path: &Path) {
        let Some(kind) = kind else { return };
        let at = match kind {
            ImportKind::Markdown => 0,
            ImportKind::Keep => 1,
            ImportKind::Csv => {
                self.table = Some(path.to_owned());
                2
            }
        };
        self.levels.entry(depth).or_default()[at] += 1;
    }

    /// The kind that lies nearest to the top, and there the one there is most of.
    fn nearest(self, path: &Path) -> Result<Chosen, ApiError> {
        let Some([markdown, keep, csv]) = self.levels.into_values().next() else {
            return Err(nothing(path));
        };
        let chosen = |kind| Ok(Chosen { kind, path: Some(path.to_owned()) });
        match (markdown + keep, csv) {
            (0, 1) => {
                let table = self.table.map(|table| path.join(table));
                Ok(Chosen { kind: ImportKind::Csv, path: table })
            }
            (0, _) => {
                let message = format!("{} holds several tables; name one", path.display());
                Err(ApiError::new(Problem::IMPORT_SOURCE, message).hint("rhizome demo FILE.csv"))
            }
            _ if keep > markdown => chosen(ImportKind::Keep),
            _ => chosen(ImportKind::Markdown),
        }
    }
}

/// The beginning of a file; what cannot be read says nothing.
fn marks(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok(file) = File::open(path) {
        // A file that breaks off is judged by what came.
        drop(file.take(MARKS_BYTES_MAX).read_to_end(&mut bytes));
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP: &str = r#"{"isTrashed":false,"title":"x","userEditedTimestampUsec":1}"#;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        dir
    }

    #[track_caller]
    fn check(files: &[(&str, &str)], expected: Option<ImportKind>) {
        let dir = folder(files);
        let chosen = choose(Some(dir.path()));
        assert_eq!(chosen.ok().map(|chosen| chosen.kind), expected, "{files:?}");
    }

    #[test]
    fn the_kind_nearest_to_the_top_counts() {
        check(&[("a.md", ""), ("img/b.png", "")], Some(ImportKind::Markdown));
        check(&[("a.json", KEEP), ("expected/a.md", ""), ("b.png", "")], Some(ImportKind::Keep));
        check(&[("Takeout/Keep/a.json", KEEP), ("Takeout/x.txt", "")], Some(ImportKind::Keep));
        check(&[("a.md", ""), ("data/t.csv", "")], Some(ImportKind::Markdown));
        check(&[("a.md", ""), ("b.json", KEEP), ("c.json", KEEP)], Some(ImportKind::Keep));
        check(&[("package.json", "{}"), ("docs/a.md", "")], Some(ImportKind::Markdown));
        check(&[("package.json", "{}")], None);
        check(&[], None);
    }

    #[test]
    fn a_table_is_taken_if_it_is_the_only_one() {
        let dir = folder(&[("books.csv", "a,b\n")]);
        let table = Chosen { kind: ImportKind::Csv, path: Some(dir.path().join("books.csv")) };
        assert_eq!(choose(Some(dir.path())).unwrap(), table);
        assert_eq!(choose(table.path.as_deref()).unwrap(), table);
        let dir = folder(&[("a.csv", ""), ("b.csv", "")]);
        let error = choose(Some(dir.path())).unwrap_err();
        assert_eq!((error.id.as_str(), error.exit), ("RZ-0401", 5));
    }

    #[test]
    fn what_is_not_there_or_something_else_is_said_to_be_so() {
        let dir = folder(&[("a.txt", ""), ("b.zip", "no archive")]);
        for name in ["none", "a.txt", "b.zip"] {
            let error = choose(Some(&dir.path().join(name))).unwrap_err();
            assert_eq!(error.id, "RZ-0401", "{name}: {}", error.message);
        }
    }

    #[test]
    fn without_a_path_it_is_the_sample() {
        assert_eq!(choose(None).unwrap(), Chosen { kind: ImportKind::Markdown, path: None });
    }
}
