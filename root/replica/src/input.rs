//! What goes into a replica and what comes out.

use crate::base::Base;
use crate::command::{Command, CommandError, Outcome};
use crate::dispute::Proof;
use crate::message::Message;
use crate::pins::PinSet;
use rhizome_block::{Block, Cid};
use rhizome_cluster::{Certificate, Entry, EntryBody};
use rhizome_identity::DeviceId;
use rhizome_log::{Delivery, EventId, LogId, Place, Run, Seen};
use std::collections::BTreeSet;

/// Time and randomness of one step.
#[derive(Clone, Copy)]
pub struct Tick {
    /// Milliseconds since 1970, by this device's clock.
    pub now_ms: u64,
    /// Fresh random bytes, never used for another step.
    pub entropy: [u8; 32],
}

/// Whoever asked for something is told by this number.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Ticket(pub u64);

/// A local write.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Write {
    /// Who asks.
    pub ticket: Ticket,
    /// Name of the app.
    pub app: String,
    /// The schema the body is written under.
    pub schema: Option<Cid>,
    /// What the app writes.
    pub body: Vec<u8>,
}

/// News from the group of voters, brought by the openraft adapter.
#[derive(Clone, Debug, PartialEq)]
pub enum OrderNews {
    /// Entries were committed.
    Committed {
        /// The entries, in order.
        entries: Vec<Entry>,
        /// Covers the last of them.
        certificate: Certificate,
    },
    /// Whether this device leads now.
    Leading(bool),
}

/// What the outside world tells the replica.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// The driver opened the replica and is ready to perform effects.
    Opened,
    /// An app wrote.
    Write(Write),
    /// The person or the pod wants a change of the identity.
    Command(Ticket, Command),
    /// A connection to a device that proved its key is up.
    PeerUp(DeviceId),
    /// It is gone.
    PeerDown(DeviceId),
    /// The peer said something.
    PeerSaid(DeviceId, Message),
    /// The group of voters said something.
    Order(OrderNews),
    /// Events of a log that this identity adopted, from the same installation.
    Graft(Box<Run>),
    /// Blocks of a checkpoint to keep, without a manifest of this device.
    Keep(Ticket, Vec<Block>),
    /// Begin at a checkpoint.
    Begin(Ticket, Box<Base>),
    /// Blocks to keep, as one set (attachments, a snapshot).
    Pin(Ticket, PinSet),
    /// The state at the place that [`crate::Replica::seal_asked`] names, derived by the driver.
    Seal(Seen, [u8; 32]),
    /// The layer above wants blocks that are not here.
    Want(Vec<Cid>),
    /// The driver drained its queue: close the batch.
    Flush,
    /// What the last [`Effect::Append`] asked for is durable, at these places.
    Durable(Vec<Place>),
}

/// One set of voters.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct VoterList {
    /// Voters and the control record that admitted each.
    pub admitted: BTreeSet<(DeviceId, Cid)>,
    /// The voters that hold keys.
    pub trusted: BTreeSet<DeviceId>,
}

/// How the driver runs the group of voters this device belongs to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum OrderCommand {
    /// Start, or go on in, a generation.
    Run {
        /// Generation.
        generation: u64,
        /// Last entry of the generation before.
        base: Seen,
        /// The sets of voters of this generation, oldest first; the last is in force.
        sets: Vec<VoterList>,
        /// How far this replica already holds the order.
        applied: Seen,
    },
    /// This device leads: place these.
    Propose(Vec<EntryBody>),
    /// Leave the group.
    Stop,
}

/// Why a connection is closed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CloseReason {
    /// The device does not belong to the identity.
    NotAdmitted,
    /// The device was removed.
    Revoked,
    /// The peer sent what no honest replica sends.
    Misbehaved,
}

/// Something the person must hear about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Alarm {
    /// Two certified orders for one position.
    Equivocation {
        /// Ours.
        ours: Seen,
        /// Theirs.
        theirs: Seen,
        /// Who showed it.
        shown_by: DeviceId,
        /// Both stories, with what their voters signed.
        proof: Box<Proof>,
    },
    /// An author signed two events for one place.
    ForkedLog {
        /// The log.
        log: LogId,
        /// The place.
        seq: u64,
    },
    /// The order names another event than the author of the log signed to this device: whoever
    /// orders invented it, or the author forked its log, which only its signature would prove.
    Misplaced {
        /// The log.
        log: LogId,
        /// The place.
        seq: u64,
    },
    /// Two devices came to different states at one place of one order: one of them is damaged, is
    /// another program, or lies.
    SealsDiffer {
        /// The place.
        seen: Seen,
        /// One of them.
        one: DeviceId,
        /// The other.
        other: DeviceId,
    },
    /// A block on this disk is damaged; it was asked for again.
    Damage {
        /// The block.
        cid: Cid,
    },
}

/// What must happen because of an input, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Append these blocks and make them durable, then report [`Input::Durable`].
    Append(Vec<Block>),
    /// A write is durable here.
    Written {
        /// Who asked.
        ticket: Ticket,
        /// Its log.
        log: LogId,
        /// Its place there.
        seq: u64,
        /// The event.
        id: EventId,
    },
    /// A command took effect, durably here.
    Done(Ticket, Outcome),
    /// A write or command was refused and changed nothing.
    Rejected(Ticket, CommandError),
    /// Send this to a peer.
    Send(DeviceId, Message),
    /// Close the connection to a peer.
    Close(DeviceId, CloseReason),
    /// Hand this to the layer above.
    Deliver(Vec<Delivery>),
    /// Blocks that were wanted are here and durable.
    Arrived(Vec<Cid>),
    /// Run the group of voters.
    Order(OrderCommand),
    /// Tell the person.
    Alarm(Alarm),
    /// The control log changed: devices, voters or epochs may be others now.
    ControlChanged,
}
