//! What only the owner may read, what only a newer program may touch, what only one pod may use.

use crate::support::folder::{contains, files, store};
use crate::support::{Node, World, binary, export};
use data_encoding::{BASE64, HEXLOWER};
use rhizome_api::data::ExportDocument;
use rhizome_api::snapshot::ExportRequest;
use rhizome_api::{DeviceKind, Empty, SnapshotCreate, SnapshotExport};
use rhizome_pod::Home;
use serde_json::json;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Output};

async fn founded(world: &World) -> Node {
    let mut laptop = world.node("laptop").await;
    laptop.start().await;
    laptop.create("Ana", DeviceKind::Laptop).await;
    laptop.set("notes/one", json!({ "text": "something of mine" })).await;
    laptop
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_for_their_owner_alone_and_leave_in_no_export() {
    let world = World::new();
    let mut laptop = founded(&world).await;
    laptop.ask::<SnapshotCreate>(&Empty {}).await;
    let car = world.dir().join("checkpoint.car");
    let request = ExportRequest { to: car.display().to_string(), id: None };
    laptop.ask::<SnapshotExport>(&request).await;
    let (documents, _) = export(&laptop).await;
    let mut text = Vec::new();
    for ((app, path), fields) in documents {
        text.extend_from_slice(ExportDocument { app, path, fields }.line().as_bytes());
    }
    laptop.stop().await;

    let home = Home::open(&laptop.dir).unwrap().identities().unwrap().remove(0);
    let secrets = [home.dir().join("keys"), laptop.dir.join("transport.key")];
    for path in &secrets {
        let mode = std::fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", path.display());
    }
    assert_eq!(std::fs::metadata(&laptop.dir).unwrap().mode() & 0o777, 0o700);

    let keys = home.keys().unwrap();
    let device = keys.device.to_bytes();
    let parts = [&device[..32], &device[32..], &keys.kit.unwrap()[..]];
    let leaves = |bytes: &[u8]| {
        parts.iter().any(|part| {
            let forms = [part.to_vec(), HEXLOWER.encode(part).into(), BASE64.encode(part).into()];
            forms.iter().any(|form| contains(bytes, &form[..form.len() - 2]))
        })
    };
    assert!(leaves(&std::fs::read(&secrets[0]).unwrap()), "the search finds what is there");
    assert!(!leaves(&std::fs::read(car).unwrap()), "a key left in a checkpoint");
    assert!(!leaves(&text), "a key left in an export");
    for (path, bytes) in files(&store(&laptop.dir)) {
        assert!(!leaves(&bytes), "a key is in {}", path.display());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_of_a_newer_program_is_left_untouched() {
    let world = World::new();
    let mut laptop = founded(&world).await;
    laptop.stop().await;
    let format = store(&laptop.dir).join("FORMAT");
    let known = std::fs::read_to_string(&format).unwrap();
    std::fs::write(&format, "rhizome-store 99\n").unwrap();
    let before = files(&laptop.dir);
    laptop.spawn();
    let status = laptop.end().await;
    let said = std::fs::read_to_string(&laptop.log).unwrap();
    assert_eq!(status.code(), Some(11), "{said}");
    assert!(said.contains("RZ-0304"), "{said}");
    assert!(before == files(&laptop.dir), "the folder was touched");
    std::fs::write(&format, known).unwrap();
    laptop.start().await;
    assert_eq!(laptop.get("notes/one").await.unwrap()["text"], json!("something of mine"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_pod_on_a_folder_says_that_there_is_a_first() {
    let world = World::new();
    let mut empty = world.node("empty").await;
    empty.start().await;
    let said = second(&empty);
    assert!(said.contains("another pod"), "{said}");

    let laptop = founded(&world).await;
    let said = second(&laptop);
    assert!(said.contains("RZ-0305"), "{said}");
    laptop.set("notes/two", json!({ "text": "the first goes on" })).await;
}

/// What a second pod says before it ends, without having done anything.
fn second(first: &Node) -> String {
    let mut command = Command::new(binary());
    command.arg("--dir").arg(&first.dir).args(["run", "--no-lan"]).env("NO_COLOR", "1");
    let Output { status, stderr, .. } = command.output().unwrap();
    let said = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(6), "{said}");
    said
}
