//! All who hold keys come to one state and say so: the place where the world became quiet is sealed
//! on every device, cloud peers included. Missing is nobody but who vanished and was never found;
//! two states at one place would be an alarm, which no honest world raises.

use crate::world::World;
use rhizome_identity::DeviceId;
use std::collections::BTreeSet;

pub fn check(world: &World) {
    let live: BTreeSet<DeviceId> = world.live().iter().map(|at| world.devices[*at].id()).collect();
    for replica in world.live().iter().filter_map(|at| world.devices[*at].replica()) {
        let (status, at) = (replica.seal_status(), replica.applied());
        let unasked = status.missing.intersection(&live).count();
        assert!(status.newest == Some(at) && unasked == 0, "who is here did not seal: {status:?}");
        let voices = replica.control().committed_state().devices();
        let counts = voices.filter(|(_, one)| {
            one.is_live() && !one.dormant && one.certificate.body().sealing.is_some()
        });
        let majority = status.missing.len() * 2 < counts.count();
        let sealed = status.sealed.is_some_and(|(seen, _)| seen == at);
        assert_eq!(sealed, majority, "{} of all are missing: {status:?}", status.missing.len());
    }
}
