//! No acknowledged write is lost. A device that was removed is heard up to its cut-off only, so
//! what it acknowledged to its own apps is promised no further.

use crate::book::{APP, Fate, mark};
use crate::world::World;
use rhizome_doc::Documents;
use rhizome_identity::DeviceKind;

pub fn check(world: &World) {
    let documents = Documents::new(APP);
    let readers = world.live();
    let readers = readers.iter().filter(|at| world.devices[**at].kind != DeviceKind::CloudPeer);
    for at in readers {
        let index = world.devices[*at].index();
        for (n, promise) in &world.book.promises {
            let Fate::Acknowledged { log, seq } = promise.fate else { continue };
            let found = documents.get(index, &mark(*n)).expect("documents can be read");
            assert!(
                found.is_some()
                    || world.is_removed(promise.device)
                    || world.is_gone(promise.device),
                "write {n}, acknowledged by device {} as {log:?} {seq}, is not on device {at}",
                promise.device
            );
        }
    }
}
