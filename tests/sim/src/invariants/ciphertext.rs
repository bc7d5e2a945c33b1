//! A host holds no word of what was written: no canary is among the bytes of its disk.

use crate::book::canary;
use crate::world::World;
use rhizome_identity::DeviceKind;

pub fn check(world: &World) {
    let hosts = world.devices.iter().filter(|device| device.kind == DeviceKind::CloudPeer);
    for host in hosts {
        for bytes in host.disk_bytes() {
            let text = String::from_utf8_lossy(&bytes);
            assert!(!text.contains("-sings"), "a host's disk holds what was written");
            assert!(!text.contains(&canary(1)), "a host's disk holds what was written");
        }
    }
}
