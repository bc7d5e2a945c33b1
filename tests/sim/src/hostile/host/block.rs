//! Lies about blocks, told by whoever keeps them for others.

use super::super::script::Script;
use crate::world::World;
use rhizome_block::{Block, Cid, Codec};
use rhizome_identity::DeviceId;
use rhizome_replica::{Input, Message, PinPurpose, PinSet, Ticket};
use serde_bytes::ByteBuf;

/// Tickets of what is pinned here: nobody else uses them.
const TICKETS: u64 = 1 << 50;

/// Longer than any block may be.
const TOO_LONG: usize = (1 << 20) + 4096;

/// Other bytes under the names that were asked for.
#[derive(Default)]
pub struct CorruptBlocks {
    pinned: Vec<Block>,
}

impl CorruptBlocks {
    fn pin(&mut self, world: &mut World) {
        let bytes = [world.dice.bytes32(), world.dice.bytes32()].concat();
        let block = Block { cid: Cid::of(Codec::Raw, &bytes), bytes };
        let (cids, blocks) = (vec![block.cid], vec![block.clone()]);
        let set = PinSet { purpose: PinPurpose::Attachment, root: vec![0; 40], cids, blocks };
        let ticket = Ticket(TICKETS + self.pinned.len() as u64);
        self.pinned.push(block);
        world.step(0, vec![Input::Pin(ticket, set)]);
    }
}

impl Script for CorruptBlocks {
    fn begin(&mut self, world: &mut World, _actor: usize) {
        self.pin(world);
    }

    fn act(&mut self, world: &mut World, _actor: usize) {
        self.pin(world);
    }

    fn says(
        &mut self,
        world: &mut World,
        _face: usize,
        _to: DeviceId,
        message: Message,
    ) -> Vec<Message> {
        let Message::Blocks { mut blocks } = message else { return vec![message] };
        world.lied("corrupt blocks");
        match world.dice.below(4) {
            0 => blocks.iter_mut().for_each(|(_, bytes)| bytes[0] ^= 1),
            1 => blocks.iter_mut().for_each(|(_, bytes)| bytes.clear()),
            2 => blocks[0].1 = ByteBuf::from(vec![7; TOO_LONG]),
            _ => blocks.clear(),
        }
        vec![Message::Blocks { blocks }]
    }

    fn took_effect(&self, world: &World) -> Option<String> {
        for (at, device) in world.devices.iter().enumerate().filter(|(at, _)| !world.is_actor(*at))
        {
            for block in &self.pinned {
                let held = device.look(|one, access| one.block(access, &block.cid).ok().flatten());
                if held.flatten().as_ref() != Some(&block.bytes) {
                    return Some(format!("device {at} does not hold {} as it was", block.cid));
                }
            }
        }
        None
    }
}
