//! The demo: three real processes, an import, a cut, an outage, a recovery, and at the end the same
//! export on every device, on notes of different kinds.

use crate::support::{World, binary, export};
use serde_json::Value as Json;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A world with the notes of other programs, where there is one beside the repository.
const SHARED: &str = "../shared/fixtures/import/obsidian-importer";

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

/// Runs the demo and opens what it left.
async fn shows(notes: &Path, kind: &str) {
    let world = World::new();
    let dir = world.dir().join("demo");
    let mut command = Command::new(binary());
    command.arg("--json").arg("--dir").arg(&dir).arg("demo").arg(notes);
    command.env("NO_COLOR", "1").stdin(Stdio::null());
    let run = tokio::task::spawn_blocking(move || command.output().unwrap());
    let Output { status, stdout, stderr } = run.await.unwrap();
    let said = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{status}: {said}");
    let answer: Json = serde_json::from_slice(&stdout).unwrap();
    let figures = &answer["data"];
    assert_eq!(figures["import"]["kind"], kind, "{figures}");
    assert!(figures["import"]["documents"].as_u64().unwrap() > 1, "{figures}");

    // What the devices themselves say, each in a process that knows nothing of the demo.
    let mut hashes = vec![figures["export_hash"].as_str().unwrap().to_owned()];
    for name in ["laptop", "phone"] {
        let mut node = world.node(name).await;
        node.place(&dir.join(name));
        node.start().await;
        let (documents, exported) = export(&node).await;
        assert!(documents.len() > 1, "{documents:?}");
        hashes.push(exported.hash);
        node.stop().await;
    }
    assert!(hashes.windows(2).all(|pair| pair[0] == pair[1]), "{hashes:?}");
    println!(
        "demo on {}: {} documents, {} ms, export {}",
        notes.display(),
        figures["import"]["documents"],
        figures["took_ms"],
        hashes[0]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_ends_with_one_export_on_every_device() {
    shows(&top().join("examples/notes-sample"), "markdown").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_shows_notes_of_other_programs() {
    let shared = top().join(SHARED);
    for (notes, kind) in [("bear/expected/markdown-samples", "markdown"), ("keep/notes", "keep")] {
        let notes = shared.join(notes);
        if notes.is_dir() {
            shows(&notes, kind).await;
        } else {
            println!("skipped: there is no {}", notes.display());
        }
    }
}
