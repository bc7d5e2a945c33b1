//! Every format is drawn on a page and has its first version stored.

use crate::lexer::{block_end, shipped};
use crate::none;
use crate::tree::{Source, rust, top};

/// Kind, page below `docs/format`, stored bytes.
const FORMATS: &[(&str, &str, &str)] = &[
    ("ack", "order.md", "root/cluster/fixtures/ack-v1.cbor"),
    ("addresses", "conversations.md", "trunk/pod/fixtures/addresses-v1.cbor"),
    ("admission", "conversations.md", "trunk/pod/fixtures/admission-v1.cbor"),
    ("adopted-keys", "control-log.md", "root/replica/fixtures/adopted-keys-v1.cbor"),
    ("base", "base.md", "root/replica/fixtures/base-v1.cbor"),
    ("batch", "batch.md", "trunk/doc/fixtures/batch-v1.cbor"),
    ("certificate", "order.md", "root/cluster/fixtures/certificate-v1.cbor"),
    ("checkpoint", "checkpoint.md", "trunk/pod/fixtures/checkpoint-v1.cbor"),
    ("control", "control-log.md", "root/identity/fixtures/control-add-device.v1.cbor"),
    ("device-certificate", "certificate.md", "root/identity/fixtures/certificate.v1.cbor"),
    ("entry", "order.md", "root/cluster/fixtures/entry-range-v1.cbor"),
    ("event", "event.md", "root/log/fixtures/event-header-v1.cbor"),
    ("genesis", "genesis.md", "root/identity/fixtures/genesis.v1.cbor"),
    ("host", "conversations.md", "trunk/pod/fixtures/host-v1.cbor"),
    ("joining", "conversations.md", "trunk/pod/fixtures/joining-v1.cbor"),
    ("keyring", "keyring.md", "root/seal/fixtures/keyring-v1.cbor"),
    ("keys", "keys.md", "trunk/pod/fixtures/keys-v1.cbor"),
    ("link", "linking.md", "root/identity/fixtures/link-02-hello.v1.cbor"),
    ("link-admitter", "linking.md", "root/identity/fixtures/link-00-admitter.v1.cbor"),
    ("link-newcomer", "linking.md", "root/identity/fixtures/link-01-newcomer.v1.cbor"),
    ("manifest", "manifest.md", "root/replica/fixtures/manifest-snapshot-v1.cbor"),
    ("message", "session.md", "root/replica/fixtures/message-hello-v1.cbor"),
    ("payload", "event.md", "root/log/fixtures/payload-v1.cbor"),
    ("prolly", "prolly.md", "root/block/fixtures/prolly-root-v1.cbor"),
    ("raft-base", "raft.md", "root/raft/fixtures/raft-base.1.cbor"),
    ("raft-commit", "raft.md", "root/raft/fixtures/raft-commit.1.cbor"),
    ("raft-entry", "raft.md", "root/raft/fixtures/raft-entry.1.cbor"),
    ("raft-purge", "raft.md", "root/raft/fixtures/raft-purge.1.cbor"),
    ("raft-reply", "raft.md", "root/raft/fixtures/raft-reply.voted.1.cbor"),
    ("raft-request", "raft.md", "root/raft/fixtures/raft-request.append.1.cbor"),
    ("raft-truncate", "raft.md", "root/raft/fixtures/raft-truncate.1.cbor"),
    ("raft-vote", "raft.md", "root/raft/fixtures/raft-vote.1.cbor"),
    ("recover", "conversations.md", "trunk/pod/fixtures/recover-v1.cbor"),
    ("run", "run.md", "root/log/fixtures/run-signature-v1.cbor"),
    ("seal", "seal.md", "root/replica/fixtures/seal-v1.cbor"),
    ("schema", "schema.md", "trunk/schema/fixtures/schema-v1.cbor"),
    ("tree", "tree.md", "root/block/fixtures/tree-node-v1.cbor"),
];

/// Formats that are no block of ours, hence without a kind.
const OTHERS: &[(&str, &str)] = &[
    ("car.md", "root/block/fixtures/car-v1.car"),
    ("document.md", "trunk/doc/fixtures/document-v2.bin"),
    ("envelope.md", "root/seal/fixtures/envelope-v1.bin"),
    ("event.md", "root/log/fixtures/event-body-v1.bin"),
    ("frame.md", "root/net/fixtures/frames-v1.bin"),
    ("import.md", "trunk/import/fixtures/v1.json"),
    ("index.md", "trunk/doc/fixtures/index-v2.bin"),
    ("key-wrap.md", "root/seal/fixtures/key-wrap-v1.bin"),
    ("local-api.md", "trunk/api/fixtures/v1.json"),
    ("order.md", "root/cluster/fixtures/chain-v1.bin"),
    ("recovery-kit.md", "root/identity/fixtures/recovery-kit.v1.txt"),
    ("run.md", "root/log/fixtures/run-v1.cbor"),
    ("sealed-block.md", "root/seal/fixtures/sealed-block-v1.bin"),
    ("segment.md", "root/store/fixtures/segment-1.car"),
    ("store-folder.md", "root/store/fixtures/FORMAT-1"),
];

/// Kinds that a source declares, tests left out.
fn kinds(source: &Source) -> Vec<String> {
    let code = shipped(&source.text);
    let mut kinds = Vec::new();
    for (at, _) in code.match_indices("kind!") {
        let Some(open) = code[at..].find(['{', '(']).map(|open| at + open) else { continue };
        let end = match code[open..].strip_prefix('(') {
            Some(rest) => rest.find(')').map_or(code.len(), |end| open + 1 + end),
            None => block_end(&code, open),
        };
        // Code and source have the same columns, but text is blank in the code.
        let lines = |at: usize| code[..at].matches('\n').count();
        let (first, last) = (lines(open), lines(end));
        let body = source.text.lines().skip(first).take(last - first + 1);
        let named = body.filter(|line| !line.trim_start().starts_with("//"));
        let text: String = named.collect();
        kinds.extend(
            text.split_once("= \"")
                .and_then(|(_, rest)| rest.split_once('"'))
                .map(|(kind, _)| kind.to_owned()),
        );
    }
    kinds
}

/// What is missing of one format.
fn missing(page: &str, fixture: &str) -> Vec<String> {
    let page = format!("docs/format/{page}");
    let exists = |path: &&String| !top().join(path).is_file();
    [page, fixture.to_owned()].iter().filter(exists).map(|path| format!("no {path}")).collect()
}

#[test]
fn every_kind_is_drawn_and_has_its_first_version_stored() {
    let mut said = Vec::new();
    for source in rust().iter().filter(|source| !source.is_test()) {
        for kind in kinds(source) {
            if !FORMATS.iter().any(|(known, ..)| *known == kind) {
                said.push(format!("{}: kind {kind} is not in the table", source.path));
            }
        }
    }
    let declared: Vec<String> =
        rust().iter().filter(|source| !source.is_test()).flat_map(kinds).collect();
    for (kind, page, fixture) in FORMATS {
        if !declared.iter().any(|one| one == kind) {
            said.push(format!("kind {kind} stands in the table and in no source"));
        }
        said.extend(missing(page, fixture));
    }
    OTHERS.iter().for_each(|(page, fixture)| said.extend(missing(page, fixture)));
    none(said);
}

#[test]
fn every_stored_version_is_named_by_a_page() {
    let pages: String = crate::tree::pages().into_iter().map(|page| page.text).collect();
    let mut said = Vec::new();
    for (_, fixture) in FORMATS
        .iter()
        .map(|(_, page, fixture)| (page, fixture))
        .chain(OTHERS.iter().map(|(page, fixture)| (page, fixture)))
    {
        let (folder, _) = fixture.rsplit_once('/').unwrap();
        let name = fixture.rsplit('/').next().unwrap();
        if !pages.contains(name) && !pages.contains(folder) && !pages.contains(stem(name)) {
            said.push(format!("no page names {fixture}"));
        }
    }
    none(said);
}

/// `control-add-device.v1.cbor` → `control-`, as pages say `control-<body>.v1.cbor`.
fn stem(name: &str) -> &str {
    name.find('-').map_or(name, |at| &name[..=at])
}

#[test]
fn a_kind_is_found_however_it_is_written() {
    let text = "kind! {\n    /// Of a b.\n    pub Name = \"one\"\n}\nrhizome_block::kind!(\n    \
        pub(crate) Other = \"two\"\n);\n#[cfg(test)]\nmod t { kind! { T = \"three\" } }";
    assert_eq!(kinds(&Source::sample("a.rs", text)), ["one", "two"]);
}
