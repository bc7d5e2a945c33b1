//! Each write took effect once and whole: as many were counted as left their mark.

use crate::book::{APP, Fate, counter, mark};
use crate::world::World;
use rhizome_doc::Documents;
use rhizome_identity::DeviceKind;
use rhizome_schema::Value;

pub fn check(world: &World) {
    let documents = Documents::new(APP);
    for at in world.live() {
        let device = &world.devices[at];
        if device.kind == DeviceKind::CloudPeer {
            continue;
        }
        let get = |path| documents.get(device.index(), &path).expect("documents can be read");
        let marks = world.book.promises.keys().filter(|n| get(mark(**n)).is_some()).count();
        let counted = get(counter()).and_then(|doc| doc.fields.get("count").cloned());
        let counted = counted.unwrap_or(Value::from(0));
        let marks = Value::from(i64::try_from(marks).unwrap_or(i64::MAX));
        assert_eq!(counted, marks, "device {at} counted other writes than left their mark");
        for (n, promise) in &world.book.promises {
            let refused = promise.fate == Fate::Refused;
            assert!(!refused || get(mark(*n)).is_none(), "write {n} was refused and is there");
        }
    }
}
