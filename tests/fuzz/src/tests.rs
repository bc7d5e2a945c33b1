//! Stored formats and seeds, replayed: each passes the doors that it is kept for, so that a change
//! which shuts a door is seen here, and what once did harm is tried again.
#![expect(clippy::disallowed_methods, reason = "tests: read and first write what is kept")]

use crate::{car, control, event, link, raft, seeds, session, snapshot};
use std::path::{Path, PathBuf};

type Run = fn(&[u8]) -> u32;

/// The targets by name.
const TARGETS: &[(&str, Run)] = &[
    ("event", event::run),
    ("control", control::run),
    ("session", session::run),
    ("raft", raft::run),
    ("snapshot", snapshot::run),
    ("car", car::run),
    ("link", link::run),
];

/// Target, stored format, doors it passes.
const STORED: &[(&str, &str, u32)] = &[
    ("event", "root/log/fixtures/event-header-v1.cbor", 1),
    ("event", "root/log/fixtures/payload-v1.cbor", 1),
    ("event", "root/log/fixtures/run-signature-v1.cbor", 1),
    ("event", "root/log/fixtures/run-v1.cbor", 3),
    ("control", "root/identity/fixtures/genesis.v1.cbor", 1),
    ("control", "root/identity/fixtures/certificate.v1.cbor", 2),
    ("control", "root/identity/fixtures/control-add-device.v1.cbor", 2),
    ("control", "root/identity/fixtures/control-adopt.v1.cbor", 3),
    ("control", "root/identity/fixtures/control-dormant.v1.cbor", 3),
    ("control", "root/identity/fixtures/control-revoke-device.v1.cbor", 3),
    ("control", "root/identity/fixtures/control-rotate-epoch.v1.cbor", 3),
    ("control", "root/identity/fixtures/control-set-policy.v1.cbor", 3),
    ("session", "root/replica/fixtures/message-hello-v1.cbor", 1),
    ("session", "root/replica/fixtures/message-run-v1.cbor", 1),
    ("raft", "root/cluster/fixtures/ack-v1.cbor", 2),
    ("raft", "root/cluster/fixtures/certificate-v1.cbor", 2),
    ("raft", "root/cluster/fixtures/entry-range-v1.cbor", 1),
    ("raft", "root/raft/fixtures/raft-request.append.1.cbor", 3),
    ("raft", "root/raft/fixtures/raft-request.vote.1.cbor", 3),
    ("raft", "root/raft/fixtures/raft-request.certified.1.cbor", 2),
    ("raft", "root/raft/fixtures/raft-reply.voted.1.cbor", 3),
    ("raft", "root/raft/fixtures/raft-reply.conflict.1.cbor", 3),
    ("raft", "root/raft/fixtures/raft-vote.1.cbor", 2),
    ("snapshot", "root/block/fixtures/prolly-root-v1.cbor", 1),
    ("snapshot", "root/block/fixtures/tree-ref-v1.cbor", 2),
    ("snapshot", "root/replica/fixtures/base-v1.cbor", 1),
    ("snapshot", "root/replica/fixtures/manifest-snapshot-v1.cbor", 1),
    ("car", "root/block/fixtures/car-v1.car", 4),
    ("car", "root/store/fixtures/segment-1.car", 5),
    ("link", "root/identity/fixtures/link-02-hello.v1.cbor", 6),
    ("link", "root/identity/fixtures/link-06-confirm.v1.cbor", 6),
    ("link", "root/identity/fixtures/link-09-admitter.v1.cbor", 1),
    ("link", "root/identity/fixtures/link-12-newcomer.v1.cbor", 1),
];

fn target(name: &str) -> Run {
    TARGETS.iter().find(|(target, _)| *target == name).map(|(_, run)| *run).unwrap()
}

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

#[test]
fn every_stored_format_passes_its_doors() {
    for (name, path, doors) in STORED {
        let bytes = std::fs::read(here().join("../..").join(path)).unwrap();
        assert_eq!(target(name)(&bytes), *doors, "{name}: {path}");
    }
}

#[test]
fn every_seed_is_kept_and_passes_its_doors() {
    for seed in seeds::all() {
        let path = here().join("corpus").join(seed.target).join(seed.name);
        if !path.exists() && std::env::var_os("UPDATE_FIXTURES").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &seed.bytes).unwrap();
        }
        let kept = std::fs::read(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        // What is kept stays as it is when replicas begin to say the same in other words.
        assert_eq!(target(seed.target)(&kept), seed.doors, "{path:?}");
    }
}

#[test]
fn nothing_that_is_kept_does_harm_in_any_target() {
    let mut kept = 0;
    for folder in std::fs::read_dir(here().join("corpus")).unwrap() {
        for file in std::fs::read_dir(folder.unwrap().path()).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            for (_, run) in TARGETS {
                run(&bytes);
            }
            kept += 1;
        }
    }
    assert!(kept >= seeds::all().len(), "{kept} files are kept");
}

#[test]
fn bytes_that_are_nothing_pass_no_door() {
    for (name, run) in TARGETS {
        for bytes in [&[][..], &[0], &[0xff; 64], b"no format of ours"] {
            assert_eq!(run(bytes), 0, "{name}: {bytes:?}");
        }
    }
}
