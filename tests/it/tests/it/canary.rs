//! A thousand words nobody else uses are written on the laptop; the host's disk, its log and the
//! wire carry none of them.

#[cfg(feature = "unsealed")]
mod control;
mod scan;

use crate::support::{Node, World, add_peer, export, random};
use data_encoding::BASE32_NOPAD;
use rhizome_api::data::{BatchRequest, ExportDocument, Write};
use rhizome_api::device::RenameRequest;
use rhizome_api::import::{ApplyRequest, ImportKind};
use rhizome_api::{
    DataBatch, DeviceKind, DeviceRename, Durability, Empty, IdentityList, ImportApply,
    SnapshotCreate,
};
use rhizome_net::capture_datagrams;
use scan::{Hit, Scanner};
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const CANARIES: usize = 1000;

/// A word of 24 letters and digits that stands nowhere else.
fn token() -> String {
    BASE32_NOPAD.encode(&random::<15>()).to_lowercase()
}

/// Gives out the canaries, each once.
struct Cage {
    tokens: Vec<String>,
    used: usize,
}

impl Cage {
    fn next(&mut self) -> String {
        self.used += 1;
        self.tokens[self.used - 1].clone()
    }

    fn left(&self) -> usize {
        self.tokens.len() - self.used
    }
}

/// Notes with attachments, as somebody would import them; text, file names and bytes are canaries.
fn lay_notes(dir: &Path, cage: &mut Cage) -> PathBuf {
    let notes = dir.join("notes-to-import");
    std::fs::create_dir(&notes).unwrap();
    for _ in 0..10 {
        let file = format!("{}.png", cage.next());
        let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
        bytes.extend_from_slice(cage.next().as_bytes());
        bytes.extend(random::<2000>());
        std::fs::write(notes.join(&file), bytes).unwrap();
        let text = format!("# {}\n\n![]({file})\n", cage.next());
        std::fs::write(notes.join(format!("{}.md", cage.next())), text).unwrap();
    }
    notes
}

/// Writes all that are left as documents: names of apps, collections, documents and fields, values.
async fn write_documents(laptop: &Node, cage: &mut Cage) {
    while cage.left() > 100 {
        let app = Some(cage.next());
        for _ in 0..3 {
            let ops = (0..3).map(|_| set(cage)).collect();
            let app = app.clone();
            laptop.ask::<DataBatch>(&BatchRequest { app, ops, ..BatchRequest::default() }).await;
        }
    }
    while cage.left() > 0 {
        let path = format!("rest/{}", cage.left());
        laptop.set(&path, json!({ "value": cage.next() })).await;
    }
}

/// A document of ten canaries.
fn set(cage: &mut Cage) -> Write {
    let path = format!("{}/{}", cage.next(), cage.next());
    let mut fields = Map::new();
    fields.insert(cage.next(), json!(cage.next()));
    fields.insert(cage.next(), json!({ "deep": [cage.next(), { "x": cage.next() }] }));
    fields.insert("text".to_owned(), json!(format!("{} {}", cage.next(), cage.next())));
    fields.insert("more".to_owned(), json!({ cage.next(): true }));
    Write::Set { path, fields: Json::Object(fields), merge: false }
}

/// Everything the person sees, as text.
async fn plain(laptop: &Node, notes: &Path) -> Vec<u8> {
    let mut plain = Vec::new();
    for ((app, path), fields) in export(laptop).await.0 {
        plain.extend_from_slice(ExportDocument { app, path, fields }.line().as_bytes());
    }
    let identities = laptop.ask::<IdentityList>(&Empty {}).await;
    plain.extend(serde_json::to_vec(&(identities, laptop.devices().await)).unwrap());
    for (path, bytes) in crate::support::folder::files(notes) {
        plain.extend_from_slice(path.to_str().unwrap().as_bytes());
        plain.extend_from_slice(&bytes);
    }
    plain
}

fn tokens_of(hits: &BTreeSet<Hit>) -> BTreeSet<usize> {
    hits.iter().map(|hit| hit.token).collect()
}

#[cfg(not(feature = "unsealed"))]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_canaries_leave_no_trace_on_disk_log_and_wire_of_the_host() {
    let world = World::new();
    let tokens: Vec<String> = (0..CANARIES).map(|_| token()).collect();
    let scanner = Scanner::new(&tokens);
    let mut cage = Cage { tokens, used: 0 };
    let (mut laptop, mut cloud) = (world.node("laptop").await, world.host("cloud").await);
    cloud.filter = "trace".to_owned();
    laptop.name = cage.next();
    let (up, down) = (world.dir().join("cloud.capture"), world.dir().join("laptop.capture"));
    cloud.cable.capture(&up).await.unwrap();
    laptop.cable.capture(&down).await.unwrap();
    laptop.start().await;
    cloud.start().await;
    laptop.create(&cage.next(), DeviceKind::Laptop).await;
    add_peer(&laptop, &cloud).await;
    let rename = RenameRequest { device: "cloud".to_owned(), name: cage.next() };
    laptop.ask::<DeviceRename>(&rename).await;
    let notes = lay_notes(world.dir(), &mut cage);
    let path = notes.display().to_string();
    let request = ApplyRequest { kind: ImportKind::Markdown, path, ..ApplyRequest::default() };
    let imported = laptop.stream::<ImportApply>(&request).await.finish(|_| {}).await.unwrap();
    assert_eq!((imported.imported, imported.attachments), (10, 10), "{imported:?}");
    write_documents(&laptop, &mut cage).await;
    assert_eq!(cage.left(), 0);
    laptop.settle(Durability::Committed).await;
    laptop.ask::<SnapshotCreate>(&Empty {}).await;
    laptop.settle(Durability::Pinned).await;

    // The same search finds every one of them where they may be.
    let seen = tokens_of(&scanner.scan(&plain(&laptop, &notes).await));
    assert_eq!(seen.len(), CANARIES, "the search overlooks some");
    laptop.stop().await;
    cloud.stop().await;
    cloud.cable.end_capture().await.unwrap();
    laptop.cable.end_capture().await.unwrap();
    let at_home: BTreeSet<usize> =
        scanner.scan_folder(&laptop.dir).values().flat_map(tokens_of).collect();
    assert!(at_home.len() > CANARIES / 2, "the search overlooks an index: {}", at_home.len());

    let disk = scanner.scan_folder(&cloud.dir);
    assert!(disk.is_empty(), "the host's disk tells {disk:#?}");
    let log = std::fs::read(&cloud.log).unwrap();
    assert!(log.len() > 10_000, "the host logged only {} bytes", log.len());
    let told = scanner.scan(&log);
    assert!(told.is_empty(), "the host's log tells {told:?}");
    for path in [up, down] {
        let capture = std::fs::read(path).unwrap();
        for (_, datagram) in capture_datagrams(&capture) {
            let told = scanner.scan(datagram);
            assert!(told.is_empty(), "the wire tells {told:?}");
        }
    }
    let bytes: usize = crate::support::folder::files(&cloud.dir).values().map(Vec::len).sum();
    println!("{CANARIES} canaries, {bytes} bytes of the host's disk, {} of its log", log.len());
}
