//! The index is a function of the blocks: built anew, it holds the same documents and order.

use crate::book::APP;
use crate::world::World;
use rhizome_doc::Documents;
use rhizome_log::Index;
use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

/// Rows shown of a difference: more help nobody.
const LINES_MAX: usize = 12;

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

pub fn check(world: &World) {
    let documents = Documents::new(APP);
    for at in world.live() {
        let device = &world.devices[at];
        let anew = device.folded_anew();
        let live = documents.state_hash(device.index()).expect("documents can be read");
        let again = documents.state_hash(&anew).expect("documents can be read");
        assert!(
            live == again,
            "device {at}: an index built anew holds other documents:\n{}",
            difference(device.index(), &anew)
        );
    }
}

/// Rows that only one of two indexes has.
fn difference(live: &dyn Index, anew: &dyn Index) -> String {
    let (live, anew) = (rows(live), rows(anew));
    let only = |a: &Rows, b: &Rows, whose: &str| -> String {
        let only = a.iter().filter(|(key, value)| b.get(*key) != Some(value));
        let line = |(key, value): (&Vec<u8>, &Vec<u8>)| {
            format!("{whose} {} = {}\n", key.escape_ascii(), value.escape_ascii())
        };
        only.map(line).take(LINES_MAX).collect()
    };
    only(&live, &anew, "live") + &only(&anew, &live, "anew")
}

fn rows(index: &dyn Index) -> Rows {
    let mut rows = Rows::new();
    let mut visit = |key: &[u8], value: &[u8]| {
        rows.insert(key.to_vec(), value.to_vec());
        ControlFlow::Continue(())
    };
    index.scan(Bound::Unbounded, Bound::Unbounded, false, &mut visit).expect("memory answers");
    rows
}
