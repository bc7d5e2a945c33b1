//! The files of the tree, read once.

use crate::lexer;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// Folders that hold crates.
const PARENTS: &[&str] = &["root", "trunk", "sdk", "tests"];

/// One text file.
pub struct Source {
    /// Its path below the top folder, with slashes.
    pub path: String,
    /// What is in it.
    pub text: String,
    /// Whether it is compiled for tests only.
    is_test: bool,
}

impl Source {
    /// A sample for a rule's own test.
    pub fn sample(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned(), is_test: false }
    }

    /// Whether it is compiled for tests only.
    pub fn is_test(&self) -> bool {
        self.is_test
    }
}

/// One crate.
pub struct Crate {
    /// Its folder below the top folder.
    pub folder: String,
    /// Its Cargo.toml.
    pub manifest: toml::Table,
}

impl Crate {
    /// Names of the packages in one table of dependencies.
    pub fn packages(&self, table: &str) -> Vec<String> {
        let table = self.manifest.get(table).and_then(toml::Value::as_table);
        table.map(|table| table.keys().cloned().collect()).unwrap_or_default()
    }
}

/// The top folder.
pub fn top() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap().to_owned()
}

/// All Rust sources of crates.
pub fn rust() -> &'static [Source] {
    static SOURCES: LazyLock<Vec<Source>> = LazyLock::new(|| {
        let mut sources = Vec::new();
        PARENTS.iter().for_each(|parent| read(&top().join(parent), "rs", &mut sources));
        mark_tests(&mut sources);
        sources
    });
    &SOURCES
}

/// Marks the crates of tests, the test targets of others, and modules that say `#[cfg(test)]`.
fn mark_tests(sources: &mut [Source]) {
    let mut begins: Vec<String> = Vec::new();
    for source in sources.iter() {
        let (folder, file) = source.path.rsplit_once('/').unwrap();
        let folder = match file {
            "lib.rs" | "main.rs" | "mod.rs" => folder.to_owned(),
            _ => source.path.trim_end_matches(".rs").to_owned(),
        };
        let modules = lexer::test_modules(&source.text).into_iter();
        begins.extend(
            modules.flat_map(|name| ["/", ".rs"].map(|end| format!("{folder}/{name}{end}"))),
        );
    }
    for source in sources {
        let path = &source.path;
        let target = path.split('/').nth(2) == Some("tests");
        source.is_test = target
            || path.starts_with("tests/")
            || begins.iter().any(|begin| path.starts_with(begin));
    }
}

/// All Markdown pages of the project, those of the samples left out.
pub fn pages() -> Vec<Source> {
    let mut pages = Vec::new();
    read(&top().join("docs"), "md", &mut pages);
    read(&top().join("tests"), "md", &mut pages);
    let readme = top().join("README.md");
    if let Ok(text) = std::fs::read_to_string(readme) {
        pages.push(Source::sample("README.md", &text));
    }
    pages
}

/// All crates of the workspace.
pub fn crates() -> Vec<Crate> {
    let mut crates = Vec::new();
    for parent in PARENTS {
        for folder in names(&top().join(parent)) {
            let folder = format!("{parent}/{folder}");
            let Ok(text) = std::fs::read_to_string(top().join(&folder).join("Cargo.toml")) else {
                continue;
            };
            crates.push(Crate { folder, manifest: text.parse().unwrap() });
        }
    }
    crates
}

/// Names in a folder, ascending.
pub fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let name = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.unwrap().file_name().into_string().unwrap()
    };
    let mut names: Vec<String> = entries.map(name).collect();
    names.sort();
    names
}

fn read(folder: &Path, ending: &str, sources: &mut Vec<Source>) {
    for name in names(folder) {
        let path = folder.join(&name);
        // What `spec` folders hold came from elsewhere, as it is.
        if path.is_dir() && name != "target" && name != "spec" && !name.starts_with('.') {
            read(&path, ending, sources);
        } else if path.extension().is_some_and(|found| found == ending) {
            let text = std::fs::read_to_string(&path).unwrap();
            let path = path.strip_prefix(top()).unwrap().to_str().unwrap().replace('\\', "/");
            sources.push(Source { path, text, is_test: false });
        }
    }
}
