//! A healed world is settled: everything is ordered, and equal orders gave byte-identical states.

use crate::book::APP;
use crate::world::World;
use rhizome_doc::Documents;
use rhizome_identity::DeviceKind;

pub fn check(world: &World) {
    let documents = Documents::new(APP);
    let mut states = Vec::new();
    for at in world.live() {
        let device = &world.devices[at];
        let Some(replica) = device.replica() else { continue };
        let status = replica.status();
        assert!(
            replica.all_committed() && status.control_waiting == 0,
            "device {at} still waits for the order:\n{}",
            describe(world)
        );
        let hash = (device.kind != DeviceKind::CloudPeer)
            .then(|| documents.state_hash(device.index()).expect("documents can be read"));
        states.push((at, replica.applied(), replica.control().head(), hash));
    }
    let hashes = states.iter().filter_map(|(.., hash)| *hash);
    let first = states.first().map(|(_, applied, control, _)| (*applied, *control));
    for (at, applied, control, _) in &states {
        assert_eq!(
            Some((*applied, *control)),
            first,
            "device {at} follows another order:\n{}",
            describe(world)
        );
    }
    let hashes: Vec<_> = hashes.collect();
    let equal = hashes.windows(2).all(|two| two[0] == two[1]);
    assert!(equal, "equal orders, other states:\n{}{}", differences(world), describe(world));
}

/// Rows that some devices have otherwise than the first.
fn differences(world: &World) -> String {
    let rows = |at: usize| {
        let mut rows = std::collections::BTreeMap::new();
        for space in 0x10..=0x13u8 {
            let put = &mut |key: &[u8], value: &[u8]| {
                rows.insert(key.to_vec(), value.to_vec());
                std::ops::ControlFlow::Continue(())
            };
            rhizome_log::scan_prefix(world.devices[at].index(), &[space], false, put)
                .expect("an index in memory");
        }
        rows
    };
    let reads = |at: &usize| world.devices[*at].kind != DeviceKind::CloudPeer;
    let mut readers = world.live().into_iter().filter(reads);
    let Some(first) = readers.next() else { return String::new() };
    let ours = rows(first);
    let mut text = String::new();
    for at in readers {
        let theirs = rows(at);
        for key in ours.keys().chain(theirs.keys()).collect::<std::collections::BTreeSet<_>>() {
            if ours.get(key) != theirs.get(key) {
                let key = String::from_utf8_lossy(key);
                text += &format!("row {key:?} of {first} and {at} differs\n");
            }
        }
    }
    text
}

/// Where everybody stands, for whoever looks into a failure.
fn describe(world: &World) -> String {
    let mut text = String::new();
    for (at, device) in world.devices.iter().enumerate() {
        let Some(replica) = device.replica() else { continue };
        let (status, control) = (replica.status(), replica.control());
        let removed = if world.is_removed(at) { " removed" } else { "" };
        let (end, applied) = (status.end, status.applied);
        let (height, committed) = (control.state().height(), control.committed_state().height());
        let greeted: Vec<String> = status
            .peers
            .iter()
            .filter_map(|peer| peer.greeted.then(|| world.at(peer.device)).flatten())
            .map(|at| at.to_string())
            .collect();
        let known: Vec<String> = control
            .state()
            .devices()
            .filter_map(|(id, one)| one.is_live().then(|| world.at(id)).flatten())
            .map(|at| at.to_string())
            .collect();
        text += &format!(
            "{at} {:?}{removed} {}: order {}.{} applied {}.{}, control {height} of which \
             {committed} committed, {} beside, voters {:?}, knows {}, talks with {}\n",
            device.kind,
            device.id(),
            end.g,
            end.i,
            applied.g,
            applied.i,
            control.tentative().len(),
            control.committed_state().voters().iter().map(|id| world.at(*id)).collect::<Vec<_>>(),
            known.join(" "),
            greeted.join(" "),
        );
        for log in &status.logs {
            text += &format!(
                "    log of {:?} {}: held {} placed {} effective {}\n",
                world.at(log.log.author),
                log.log.incarnation,
                log.held,
                log.placed,
                log.effective
            );
        }
    }
    text
}
