//! Connections between devices, and what is on its way.
//!
//! A replica sees QUIC: within a connection messages arrive whole, once and in order, however many
//! packets were lost, doubled or swapped below. What is left to go wrong is time and the end of a
//! connection: messages are late, one direction is silent until the connection is given up, and
//! either side hears of its end when it does.

use crate::dice::Dice;
use rhizome_identity::DeviceId;
use rhizome_replica::Message;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// How long a side waits for a silent one before it gives the connection up.
const IDLE_MS: u64 = 30_000;

/// What arrives at a device.
#[derive(Clone, Debug)]
pub enum Arrival {
    /// A connection to this device is up.
    Up(DeviceId),
    /// It is gone.
    Down(DeviceId),
    /// The device said something.
    Said(DeviceId, Vec<u8>),
}

/// Something on its way.
#[derive(Clone, Debug)]
pub struct Flight {
    /// When it arrives.
    pub at_ms: u64,
    /// Where.
    pub to: DeviceId,
    /// Over which connection.
    pub connection: u64,
    /// What.
    pub arrival: Arrival,
}

struct Connection {
    number: u64,
    /// Direction in which nothing arrives any more: from this device.
    silent: Option<DeviceId>,
    latency_ms: u64,
    /// When the newest message of each direction arrives, by sender.
    newest_ms: BTreeMap<DeviceId, u64>,
}

/// All connections and everything on its way.
#[derive(Default)]
pub struct Network {
    connections: BTreeMap<(DeviceId, DeviceId), Connection>,
    flights: BTreeMap<(u64, u64), Flight>,
    order: BinaryHeap<Reverse<(u64, u64)>>,
    numbers: u64,
}

fn key(a: DeviceId, b: DeviceId) -> (DeviceId, DeviceId) {
    if a < b { (a, b) } else { (b, a) }
}

impl Network {
    /// When the next thing arrives.
    #[must_use]
    pub fn next_ms(&self) -> Option<u64> {
        self.order.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes the next thing that arrives.
    pub fn take_next(&mut self) -> Option<Flight> {
        let Reverse(at) = self.order.pop()?;
        self.flights.remove(&at)
    }

    fn send(&mut self, flight: Flight) {
        self.numbers += 1;
        let at = (flight.at_ms, self.numbers);
        self.flights.insert(at, flight);
        self.order.push(Reverse(at));
    }

    /// Connects two devices, unless they are.
    pub fn connect(&mut self, now_ms: u64, dice: &mut Dice, a: DeviceId, b: DeviceId) {
        if self.connections.contains_key(&key(a, b)) {
            return;
        }
        self.numbers += 1;
        let number = self.numbers;
        let latency_ms = [1, 20, 150, 2_000][dice.index(4)];
        let newest_ms = BTreeMap::from([(a, now_ms), (b, now_ms)]);
        let connection = Connection { number, silent: None, latency_ms, newest_ms };
        self.connections.insert(key(a, b), connection);
        for (to, other) in [(a, b), (b, a)] {
            let at_ms = now_ms + dice.below(latency_ms + 1);
            let arrival = Arrival::Up(other);
            self.send(Flight { at_ms, to, connection: number, arrival });
            // What the other says next must not overtake the news that it is there.
            if let Some(connection) = self.connections.get_mut(&key(a, b)) {
                connection.newest_ms.insert(other, at_ms);
            }
        }
    }

    /// Ends a connection. Each side hears of it in its own time, and of nothing said later.
    pub fn cut(&mut self, now_ms: u64, dice: &mut Dice, a: DeviceId, b: DeviceId) -> bool {
        let Some(connection) = self.connections.remove(&key(a, b)) else { return false };
        for (to, other) in [(a, b), (b, a)] {
            let patience = if connection.silent.is_some() { IDLE_MS } else { 500 };
            let at_ms = now_ms + dice.below(patience);
            let lost = |flight: &Flight| {
                flight.to == to && flight.connection == connection.number && flight.at_ms > at_ms
            };
            self.drop_flights(lost);
            let arrival = Arrival::Down(other);
            self.send(Flight { at_ms, to, connection: connection.number, arrival });
        }
        true
    }

    /// From now on nothing that `from` says arrives at `to`.
    pub fn silence(&mut self, from: DeviceId, to: DeviceId) -> bool {
        let Some(connection) = self.connections.get_mut(&key(from, to)) else { return false };
        connection.silent = Some(from);
        let number = connection.number;
        self.drop_flights(|flight| {
            flight.to == to
                && flight.connection == number
                && matches!(flight.arrival, Arrival::Said(..))
        });
        true
    }

    fn drop_flights(&mut self, lost: impl Fn(&Flight) -> bool) {
        self.flights.retain(|_, flight| !lost(flight));
        let flights = &self.flights;
        self.order.retain(|Reverse(at)| flights.contains_key(at));
    }

    /// A device says something to another. Without a connection nobody hears it.
    pub fn say(
        &mut self,
        now_ms: u64,
        dice: &mut Dice,
        (from, to): (DeviceId, DeviceId),
        connection: u64,
        message: &Message,
    ) {
        let Some(open) = self.connections.get_mut(&key(from, to)) else { return };
        if open.number != connection || open.silent == Some(from) {
            return;
        }
        let after = now_ms + dice.below(open.latency_ms + 1);
        let newest = open.newest_ms.entry(from).or_default();
        *newest = after.max(*newest);
        let at_ms = *newest;
        let bytes = message.to_bytes().expect("what a replica says fits into a frame");
        let arrival = Arrival::Said(from, bytes);
        self.send(Flight { at_ms, to, connection, arrival });
    }

    /// A device is switched off: its connections end, and nothing more arrives there.
    pub fn forget(&mut self, now_ms: u64, dice: &mut Dice, device: DeviceId) {
        let of = |(a, b): &&(DeviceId, DeviceId)| *a == device || *b == device;
        let gone: Vec<(DeviceId, DeviceId)> = self.connections.keys().filter(of).copied().collect();
        for (a, b) in gone {
            self.cut(now_ms, dice, a, b);
        }
        self.drop_flights(|flight| flight.to == device);
    }

    /// Whether two devices have a connection that works both ways.
    #[must_use]
    pub fn linked(&self, a: DeviceId, b: DeviceId) -> bool {
        self.connections.get(&key(a, b)).is_some_and(|connection| connection.silent.is_none())
    }

    /// Who has a connection with whom.
    #[must_use]
    pub fn pairs(&self) -> Vec<(DeviceId, DeviceId)> {
        self.connections.keys().copied().collect()
    }

    /// Connections that are silent one way.
    #[must_use]
    pub fn silent_pairs(&self) -> Vec<(DeviceId, DeviceId)> {
        let silent = self.connections.iter().filter(|(_, one)| one.silent.is_some());
        silent.map(|(pair, _)| *pair).collect()
    }
}
