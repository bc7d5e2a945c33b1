//! Opening a pod, and what its documents take on disk.

use crate::child::Child;
use crate::documents;
use crate::library::Library;
use crate::measure::{count, folder_bytes, size, time};
use crate::table::{Table, Target};
use crate::world::Node;
use crate::{Outcome, Run};
use rhizome_identity::DeviceKind;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// What a child said about opening.
struct Opened {
    opened: Duration,
    read: Duration,
    queried: Duration,
    memory: f64,
}

fn open(dir: &Path) -> Outcome<Opened> {
    let child = Child::start("open", dir)?;
    let words: Vec<&str> = child.said().split(' ').collect();
    let [opened, read, queried, memory, ..] = words.as_slice() else {
        return Err(format!("the child said `{}`", child.said()).into());
    };
    let us = |text: &str| text.parse().map(Duration::from_micros);
    Ok(Opened {
        opened: us(opened)?,
        read: us(read)?,
        queried: us(queried)?,
        memory: memory.parse()?,
    })
}

/// Opens an empty pod, the library, and the library without its index.
pub async fn run(run: &Run) -> Outcome<()> {
    let mut library = Library::of(run).await?;
    let made = library.as_mut().ok_or("the library was just made")?;
    let store = made.node().await?.pod.current()?.home.store_dir();
    made.close().await;
    let columns = ["pod", "opened", "first document", "20 documents", "memory", "target"];
    let mut table = Table::new("Opening a pod in a new process", &columns);
    let mut add = |what: String, one: &Opened, target: String| {
        let times = [one.opened, one.read, one.queried].map(time);
        let [opened, read, queried] = times;
        table.row(vec![what, opened, read, queried, size(one.memory), target]);
    };
    let empty = run.folder()?;
    Node::found(empty.path(), DeviceKind::Laptop).await?.pod.stop().await;
    add("without documents".to_owned(), &open(empty.path())?, String::new());
    let many = count(made.documents as f64);
    let mut best = open(&made.dir)?;
    for _ in 0..4 {
        let again = open(&made.dir)?;
        if again.read < best.read {
            best = again;
        }
    }
    let speed = Target::most(best.read.as_secs_f64() * 1e3, 20.0, "20 ms").cell();
    let memory = Target::most(best.memory, 60e6, "60 MB").cell();
    add(format!("{many} documents, best of 5"), &best, format!("{speed}, {memory}"));
    let copy = run.dir.join("without-index");
    let copied = Command::new("cp").arg("-r").arg(&made.dir).arg(&copy).status()?;
    if !copied.success() {
        return Err("the library could not be copied".into());
    }
    let within = store.strip_prefix(&made.dir)?;
    let index = find_index(&copy.join(within))?;
    std::fs::remove_dir_all(index)?;
    add(format!("{many} documents, index lost"), &open(&copy)?, String::new());
    table.print();
    disk(made.documents, &store)
}

fn find_index(store: &Path) -> Outcome<std::path::PathBuf> {
    Ok(rhizome_store::StoreFolder::open(store)?.index_path())
}

/// Bytes on disk against bytes of documents.
fn disk(many: u64, store: &Path) -> Outcome<()> {
    let columns = ["what", "bytes", "per document", "per byte of document"];
    let mut table = Table::new("On disk", &columns);
    let documents: u64 = (0..many).map(documents::json_bytes).sum();
    let index = folder_bytes(&find_index(store)?)?;
    let all = folder_bytes(store)?;
    let rows = [("documents as JSON", documents), ("segments", all - index), ("index", index)];
    for (what, bytes) in rows.into_iter().chain([("segments and index", all)]) {
        let ratio = bytes as f64 / documents as f64;
        let each = size(bytes as f64 / many as f64);
        table.row(vec![what.to_owned(), size(bytes as f64), each, count(ratio)]);
    }
    table.print();
    Ok(())
}
