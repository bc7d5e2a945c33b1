//! What waits to become durable, and what it will mean then.
//!
//! Memory moves on when something is staged, so that one batch can hold a chain of events; rows,
//! deliveries and acknowledgements wait for [`crate::Input::Durable`]. If the append fails, the
//! driver drops the replica and opens it again from the disk.

use crate::input::Ticket;
use crate::state::Replica;
use rhizome_block::{Block, Cid};
use rhizome_cluster::{Certificate, OrderedEntry};
use rhizome_log::{Event, EventId, Head, LogId, Payload, RunSignature};

/// An event between its staging and its durability.
#[derive(Clone, Debug)]
pub(crate) struct StagedEvent {
    /// Its log.
    pub log: LogId,
    /// Its place.
    pub seq: u64,
    /// Its id.
    pub id: EventId,
    /// Its contents, where this replica could open it.
    pub payload: Option<Payload>,
    /// The secret that it is sealed under is not known yet.
    pub sealed: bool,
    /// Who waits for it.
    pub ticket: Option<Ticket>,
}

/// What a staged block means once it is durable.
#[derive(Clone, Debug)]
pub(crate) enum Staged {
    /// Header of the event that follows.
    Header,
    /// Body of an event.
    Body(Box<StagedEvent>),
    /// A signed head.
    Signature(RunSignature),
    /// A control record.
    Control {
        /// Its name.
        cid: Cid,
        /// Its height.
        height: u64,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// An entry of the order.
    Entry(Box<OrderedEntry>),
    /// Proof for the entries before it.
    Certificate(Certificate),
    /// Where this replica begins.
    Base(Box<crate::base::Base>),
    /// A sealed block.
    Block(Cid),
    /// A set of blocks that is whole with this block, its manifest.
    Pin {
        /// The manifest.
        manifest: Cid,
        /// Its bytes.
        bytes: Vec<u8>,
        /// Who waits for it.
        ticket: Option<Ticket>,
    },
    /// What a device says the state is.
    Seal {
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// Nothing to note, but somebody waits.
    Command(Ticket, crate::command::Outcome),
}

impl Replica {
    pub(crate) fn stage_event(&mut self, event: Event, staged: StagedEvent) {
        let head = Head { seq: staged.seq, id: staged.id };
        self.log_mut(staged.log).row.held = Some(head);
        let body_cid = event.body_cid();
        if !self.peers.is_empty() {
            self.recent.insert((staged.log, staged.seq), event.clone());
        }
        self.blocks.push(Block { cid: staged.id.0, bytes: event.header_bytes });
        self.staged.push(Staged::Header);
        self.blocks.push(Block { cid: body_cid, bytes: event.body });
        self.staged.push(Staged::Body(Box::new(staged)));
    }

    pub(crate) fn stage_entry(&mut self, placed: OrderedEntry) {
        self.blocks.push(placed.block.clone());
        self.staged.push(Staged::Entry(Box::new(placed)));
    }

    pub(crate) fn stage_certificate(&mut self, certificate: Certificate) {
        self.blocks.push(certificate.block());
        self.staged.push(Staged::Certificate(certificate));
    }

    pub(crate) fn stage_block(&mut self, block: Block) {
        self.staged.push(Staged::Block(block.cid));
        self.blocks.push(block);
    }
}
