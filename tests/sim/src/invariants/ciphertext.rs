//! A host learns no word of what was written, no name of an app or device: none is among the bytes
//! of its disk at the end, nor in any message, whoever says it to whom.

use crate::book::APP;
use crate::world::World;
use rhizome_identity::DeviceKind;

/// Part of every canary ([`crate::book::canary`]) and of nothing else.
const CANARY: &str = "-sings";

/// A message arrives.
pub fn said(world: &World, bytes: &[u8]) {
    if let Some(word) = word_in(world, bytes) {
        panic!("a message says in the clear: {word}");
    }
}

/// The world has healed.
pub fn check(world: &World) {
    let hosts = world.devices.iter().filter(|device| device.kind == DeviceKind::CloudPeer);
    for bytes in hosts.flat_map(crate::device::Device::disk_bytes) {
        if let Some(word) = word_in(world, &bytes) {
            panic!("a host's disk says in the clear: {word}");
        }
    }
}

fn word_in<'a>(world: &'a World, bytes: &[u8]) -> Option<&'a str> {
    let names = world.names.iter().map(String::as_str);
    names.chain([CANARY, APP]).find(|word| contains(bytes, word.as_bytes()))
}

fn contains(bytes: &[u8], word: &[u8]) -> bool {
    let Some(first) = word.first() else { return false };
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| byte == first) {
        if rest[at..].starts_with(word) {
            return true;
        }
        rest = &rest[at + 1..];
    }
    false
}
