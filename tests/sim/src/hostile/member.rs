//! What a member can do: a device that reads, writes and carries, and lies.

use super::host::order::{believes, ends, next_entry};
use super::script::Must::Refuse;
use super::script::Role::Member;
use super::script::{Entry, Script};
use crate::book::APP;
use crate::world::World;
use rhizome_block::{Cid, Codec};
use rhizome_cluster::{Ack, Certificate, Entry as Placed, EntryBody};
use rhizome_doc::{Batch, Mutation};
use rhizome_identity::DeviceId;
use rhizome_log::Seen;
use rhizome_replica::{Input, Message, Ticket, Write};
use rhizome_schema::{DocPath, Fields, Value};
use serde_bytes::ByteBuf;

/// Tickets of what the actor writes.
const TICKETS: u64 = 1 << 51;

/// The scripts of a member.
pub fn scripts() -> Vec<Entry> {
    vec![
        Entry {
            name: "framing",
            line: "makes it look as if the voter had confirmed two orders",
            role: Member,
            must: Refuse,
            make: || Box::new(Framing),
        },
        Entry {
            name: "usurpation",
            line: "confirms an order although it has no vote",
            role: Member,
            must: Refuse,
            make: || Box::<Usurpation>::default(),
        },
        Entry {
            name: "clock-jumps",
            line: "writes with clocks years behind and centuries ahead",
            role: Member,
            must: Refuse,
            make: || Box::<ClockJumps>::default(),
        },
        Entry {
            name: "flood",
            line: "writes far more than anybody, in values up to the limit and beyond",
            role: Member,
            must: Refuse,
            make: || Box::<Flood>::default(),
        },
    ]
}

/// False ends, and false entries under true certificates.
struct Framing;

impl Script for Framing {
    fn says(
        &mut self,
        world: &mut World,
        _face: usize,
        _to: DeviceId,
        message: Message,
    ) -> Vec<Message> {
        match message {
            Message::Hello { control, mut order, heads, pins } => {
                world.lied("false end");
                order.c = world.dice.bytes32();
                vec![Message::Hello { control, order, heads, pins }]
            }
            Message::Order { entries, certificate } => {
                world.lied("false entries");
                let record = Cid::of(Codec::DagCbor, &world.dice.bytes32());
                let twist = |bytes: ByteBuf| match Placed::read(&bytes) {
                    Ok(entry) => {
                        let body = EntryBody::Control { record };
                        ByteBuf::from(Placed::new(entry.position(), body).block().bytes)
                    }
                    Err(_) => bytes,
                };
                let entries = entries.into_iter().map(twist).collect();
                vec![Message::Order { entries, certificate }]
            }
            message => vec![message],
        }
    }
}

/// Entries that go on where the others are, under a true signature of a device that has no vote.
#[derive(Default)]
struct Usurpation {
    forged: Vec<Seen>,
}

impl Script for Usurpation {
    fn act(&mut self, world: &mut World, actor: usize) {
        let keys = world.devices[actor].keys.signing.clone();
        for (to, end) in ends(world, actor) {
            let (entry, seen) = next_entry(world, end);
            let acks = vec![(keys.device_id(), Ack::sign(&keys, seen).sig)];
            let certificate = Certificate::new(seen, acks);
            self.forged.push(seen);
            world.lied("vote without a vote");
            world.utter(actor, to, &Message::Order { entries: vec![entry], certificate });
        }
    }

    fn took_effect(&self, world: &World) -> Option<String> {
        believes(world, &self.forged)
    }
}

/// The actor writes a document of its own, of so many bytes.
fn write(world: &mut World, actor: usize, n: u64, bytes: usize) {
    let path: DocPath = format!("hostile/{n:06}").parse().expect("a valid path");
    let text = Value::from("x".repeat(bytes).as_str());
    let body = Batch::new(vec![Mutation::set(path, Fields::from([("x".into(), text)]))]).to_body();
    let Ok(body) = body else { return };
    world.lied("wrote");
    let write = Write { ticket: Ticket(TICKETS + n), app: APP.to_owned(), schema: None, body };
    world.step(actor, vec![Input::Write(write)]);
}

/// A clock that is never right.
#[derive(Default)]
struct ClockJumps {
    written: u64,
}

impl Script for ClockJumps {
    fn act(&mut self, world: &mut World, actor: usize) {
        let year_ms = 365 * 24 * 60 * 60 * 1000_i64;
        let years = [-50, -1, 1, 500, 2_000];
        world.devices[actor].skew_ms = years[world.dice.index(years.len())] * year_ms;
        self.written += 1;
        write(world, actor, self.written, 10);
    }
}

/// Events without end, and as large as they get.
#[derive(Default)]
struct Flood {
    written: u64,
}

impl Script for Flood {
    fn act(&mut self, world: &mut World, actor: usize) {
        for _ in 0..40 {
            self.written += 1;
            write(world, actor, self.written, 100);
        }
        for bytes in [200_000, 300_000] {
            self.written += 1;
            write(world, actor, self.written, bytes);
        }
    }
}
