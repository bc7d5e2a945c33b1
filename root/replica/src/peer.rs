//! Conversations with the identity's other devices.
//!
//! A peer proved its key when it connected; here it must also be a live device of the identity. A
//! device we do not know yet may show the control records that admit it, and nothing else.

use crate::access::{Access, ReplicaError};
use crate::input::{CloseReason, Effect, Tick};
use crate::message::{ControlHead, Message};
use crate::order::ENTRIES_MAX;
use crate::state::{Replica, Role};
use rhizome_block::Cid;
use rhizome_block::planted::{Bug, planted};
use rhizome_cluster::{Certificate, Entry};
use rhizome_identity::DeviceId;
use rhizome_log::{LogId, Run, Seen, Session, SessionEffect, SessionInput};
use std::collections::{BTreeMap, BTreeSet};

/// Most control records of one message; an identity that needs more sends several.
pub(crate) const CONTROL_RECORDS_MAX: usize = 512;

/// Most entries under way to a peer that has not said it stored them.
pub(crate) const ENTRIES_UNDER_WAY_MAX: u64 = 8 * ENTRIES_MAX as u64;

/// How far a voter may lag behind before a fellow voter sends it the order. The group itself brings
/// it, so the links are left alone until that does not work; small, since it is also how far one
/// may stay behind where it never does.
const FELLOW_LAG_MAX: u64 = 64;

/// One connected device.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// It said hello and belongs to the identity.
    pub greeted: bool,
    /// We asked it to show the control records that admit it.
    pub asked: bool,
    /// What to ship it.
    pub session: Session,
    /// How far it holds the order.
    pub order_at: u64,
    /// How far entries were sent.
    pub order_sent: u64,
    /// Its control head.
    pub control: Option<ControlHead>,
    /// Sets of blocks it holds.
    pub kept: BTreeSet<Cid>,
    /// How far the order was when it was last told.
    pub order_told: u64,
    /// Logs it was told to send no more of.
    pub enough: BTreeSet<LogId>,
    /// Heads of those that it told and that are not here yet.
    pub promised: BTreeMap<LogId, u64>,
    /// It was shown control records that lost.
    pub shown_aside: bool,
    /// Its hello, until it is known.
    pub hello: Option<Message>,
}

impl Peer {
    fn new() -> Self {
        Self {
            greeted: false,
            asked: false,
            session: Session::default(),
            order_at: 0,
            order_sent: 0,
            order_told: 0,
            enough: BTreeSet::new(),
            promised: BTreeMap::new(),
            control: None,
            kept: BTreeSet::new(),
            shown_aside: false,
            hello: None,
        }
    }

    fn holds_order(&mut self, i: u64) {
        self.order_at = self.order_at.max(i);
        self.order_sent = self.order_sent.max(i);
    }
}

impl Replica {
    pub(crate) fn peer_up(
        &mut self,
        access: &mut Access<'_, '_>,
        device: DeviceId,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ReplicaError> {
        if let Some(reason) = self.refusal(&device) {
            self.tell_removed(device, effects);
            effects.push(Effect::Close(device, reason));
            return Ok(());
        }
        self.peers.insert(device, Peer::new());
        if self.control.state().is_live(&device) {
            let hello = self.hello(access)?;
            effects.push(Effect::Send(device, hello));
        }
        Ok(())
    }

    /// A removed device is told so; an unknown one may still introduce itself.
    fn refusal(&self, device: &DeviceId) -> Option<CloseReason> {
        let known = self.control.state().device(device);
        known.filter(|one| !one.is_live()).map(|_| CloseReason::Revoked)
    }

    fn hello(&self, access: &Access<'_, '_>) -> Result<Message, ReplicaError> {
        let heads = self.signed_heads();
        let pins = self.pins_held(access)?;
        let control = self.control_head();
        Ok(Message::Hello { control, order: self.order.end, heads, pins })
    }

    pub(crate) fn control_head(&self) -> ControlHead {
        let state = self.control.state();
        ControlHead { height: state.height(), record: state.record() }
    }

    fn signed_heads(&self) -> Vec<(LogId, u64)> {
        let signed = |(log, state): (&LogId, &crate::state::LogState)| (*log, state.row.signed);
        self.logs.iter().map(signed).filter(|(_, seq)| *seq > 0).collect()
    }

    pub(crate) fn peer_said(
        &mut self,
        tick: Tick,
        access: &mut Access<'_, '_>,
        device: DeviceId,
        message: Message,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ReplicaError> {
        if !self.peers.contains_key(&device) {
            return Ok(());
        }
        if !self.control.state().is_live(&device) {
            return self.stranger_said(tick, access, device, message, effects);
        }
        match message {
            Message::Hello { control, order, heads, pins } => {
                self.greet(access, device, control, order, heads, &pins, effects)
            }
            Message::Introduce => {
                self.send_records(device, 1, effects);
                Ok(())
            }
            Message::Control { records } => {
                self.take_control(tick, access, device, records, effects)
            }
            Message::Order { entries, certificate } => {
                self.order_said(access, device, &entries, certificate, effects)
            }
            Message::OrderAt { seen } => self.order_at(access, device, seen, effects),
            Message::Heads { heads } => self.heads_moved(access, device, heads, effects),
            Message::Run { run } => self.run_said(access, device, run, effects),
            Message::Enough { log } => {
                self.session_step(access, device, SessionInput::Enough(log), effects)
            }
            Message::Want { log, after } => {
                self.session_step(access, device, SessionInput::Wanted { log, after }, effects)
            }
            Message::Refused { log, held } => {
                tracing::debug!(peer = %device.short(), ?log, held, "peer refused a run");
                self.show_aside(device, effects);
                Ok(())
            }
            Message::Offer { manifest } => self.offered(access, device, &manifest, effects),
            Message::WantBlocks { cids } => self.send_blocks(access, device, &cids, effects),
            Message::Blocks { blocks } => self.take_blocks(access, device, blocks, effects),
            Message::Seals { seals } => {
                self.take_seals(device, &seals, effects);
                Ok(())
            }
            Message::Kept { pins } => self.peer_kept(access, device, pins, effects),
        }
    }

    /// Somebody unknown may say hello and show control records.
    fn stranger_said(
        &mut self,
        tick: Tick,
        access: &mut Access<'_, '_>,
        device: DeviceId,
        message: Message,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ReplicaError> {
        match message {
            Message::Hello { .. } => {
                let Some(peer) = self.peers.get_mut(&device) else { return Ok(()) };
                peer.hello = Some(message);
                peer.asked = true;
                effects.push(Effect::Send(device, Message::Introduce));
                Ok(())
            }
            Message::Control { records } => {
                let more = records.len() >= CONTROL_RECORDS_MAX;
                self.take_control(tick, access, device, records, effects)?;
                if !self.control.state().is_live(&device) && more {
                    return Ok(());
                }
                if !self.control.state().is_live(&device) {
                    effects.push(Effect::Close(device, CloseReason::NotAdmitted));
                    return Ok(());
                }
                let hello = self.hello(access)?;
                effects.push(Effect::Send(device, hello));
                match self.peers.get_mut(&device).and_then(|peer| peer.hello.take()) {
                    Some(hello) => self.peer_said(tick, access, device, hello, effects),
                    None => Ok(()),
                }
            }
            _ => {
                effects.push(Effect::Close(device, CloseReason::NotAdmitted));
                Ok(())
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one message")]
    fn greet(
        &mut self,
        access: &mut Access<'_, '_>,
        device: DeviceId,
        control: ControlHead,
        order: Seen,
        heads: Vec<(LogId, u64)>,
        pins: &[Cid],
        effects: &mut Vec<Effect>,
    ) -> Result<(), ReplicaError> {
        let ours = self.signed_heads();
        let Some(peer) = self.peers.get_mut(&device) else { return Ok(()) };
        if std::mem::replace(&mut peer.greeted, true) {
            // It can take now what it refused before: begin from what it holds.
            peer.session = Session::default();
        }
        peer.control = Some(control);
        (peer.order_at, peer.order_sent) = (order.i, order.i);
        peer.kept = pins.iter().copied().collect();
        self.learn_sets(access, device, pins, effects)?;
        if self.height_of(&control.record).is_some() {
            self.compare_end(access, device, order, effects)?;
        }
        self.send_control(device, effects);
        self.ship_order(access, device, effects)?;
        self.heads_moved(access, device, heads, effects)?;
        // Again what the hello said: heads may have moved since, and acknowledge some of its own.
        self.session_step(access, device, SessionInput::OursMoved(ours), effects)?;
        self.want_again(device, effects);
        self.show_lost_epochs(device, effects);
        self.offer_pins(access, device, effects)?;
        self.show_seals(device, effects);
        self.settle_doubt(access);
        Ok(())
    }

    /// The control log says more: whoever sent what could not be taken before is told to begin
    /// again from what is held here.
    pub(crate) fn greet_again(
        &mut self,
        access: &Access<'_, '_>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ReplicaError> {
        for device in std::mem::take(&mut self.refused) {
            if self.peers.get(&device).is_some_and(|peer| peer.greeted) {
                let hello = self.hello(access)?;
                effects.push(Effect::Send(device, hello));
            }
        }
        Ok(())
    }

    /// Two ends of the order at one index must carry one hash. What a peer says of its end proves
    /// nothing yet.
    fn compare_end(
        &self,
        access: &Access<'_, '_>,
        device: DeviceId,
        theirs: Seen,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ReplicaError> {
        if self.contradicts(access, &theirs)? {
            self.go_back(access, device, theirs.i / 2, effects)?;
        }
        Ok(())
    }

    fn order_said(
        &mut self,
        access: &mut Access<'_, '_>,
        device: DeviceId,
        entries: &[serde_bytes::ByteBuf],
        certificate: Certificate,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ReplicaError> {
        let read: Result<Vec<Entry>, _> =
            entries.iter().take(ENTRIES_MAX).map(|bytes| Entry::read(bytes)).collect();
        match read {
            Ok(entries) => {
                let counts = !self.is_fenced(&certificate.seen);
                if let Some(peer) = self.peers.get_mut(&device).filter(|_| counts) {
                    peer.holds_order(certificate.seen.i);
                }
                self.take_entries(access, device, &entries, certificate, effects)
            }
            Err(error) => {
                tracing::warn!(peer = %device.short(), %error, "refused entries");
                effects.push(Effect::Close(device, CloseReason::Misbehaved));
                Ok(())
            }
        }
    }

    fn order_at(
        &mut self,
        access: &mut Access<'_, '_>,
        device: DeviceId,
        seen: Seen,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ReplicaError> {
        if self.contradicts(access, &seen)? {
            return self.go_back(access, device, seen.i / 2, effects);
        }
        let Some(peer) = self.peers.get_mut(&device) else { return Ok(()) };
        if seen.i < peer.order_at {
            // It looks for the last place that both hold.
            (peer.order_at, peer.order_sent) = (seen.i, seen.i);
            return self.ship_order(access, device, effects);
        }
        peer.holds_order(seen.i);
        self.keep_in_step(access, device, effects)
    }

    fn heads_moved(
        &mut self,
        access: &mut Access<'_, '_>,
        device: DeviceId,
        heads: Vec<(LogId, u64)>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ReplicaError> {
        self.note_forgotten(&heads);
        self.want_if_nobody_brings(device, &heads, effects);
        self.session_step(access, device, SessionInput::TheirsMoved(heads), effects)
    }

    /// A run says of its sender what heads would.
    fn run_said(
        &mut self,
        access: &mut Access<'_, '_>,
        device: DeviceId,
        run: Run,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ReplicaError> {
        let (log, head) = (run.log, run.signature.head);
        let heads = vec![(log, head.seq)];
        self.note_forgotten(&heads);
        if !self.has_already(access, device, log, head, effects)? {
            self.take_run(access, device, run, effects)?;
        }
        self.session_step(access, device, SessionInput::TheirsMoved(heads), effects)
    }

    /// Looks for what this device wrote and does not hold.
    fn note_forgotten(&mut self, heads: &[(LogId, u64)]) {
        let me = self.device();
        for (log, seq) in heads.iter().filter(|(log, _)| log.author == me) {
            // A peer holds more of our own log than we do: this disk was restored or cut. What was
            // signed is never signed again.
            if *seq > self.held(log) {
                let next = self.cut.entry(log.tag).or_default();
                *next = (*next).max(log.incarnation.saturating_add(1));
            }
        }
    }

    /// Tells every peer what a durable batch changed.
    pub(crate) fn tell_peers(
        &mut self,
        access: &mut Access<'_, '_>,
        moved: &BTreeMap<LogId, u64>,
        before: Seen,
        control: bool,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ReplicaError> {
        let greeted = |(device, peer): (&DeviceId, &Peer)| peer.greeted.then_some(*device);
        let devices: Vec<DeviceId> = self.peers.iter().filter_map(greeted).collect();
        let heads: Vec<(LogId, u64)> = moved.iter().map(|(log, seq)| (*log, *seq)).collect();
        for device in devices {
            if control {
                self.send_control(device, effects);
            }
            if self.order.end.i > before.i {
                self.keep_in_step(access, device, effects)?;
                self.tell_order(device, effects);
            }
            if !heads.is_empty() {
                let input = SessionInput::OursMoved(heads.clone());
                self.session_step(access, device, input, effects)?;
            }
        }
        Ok(())
    }

    /// Steps the sync session with a peer and performs what it asks for.
    pub(crate) fn session_step(
        &mut self,
        access: &mut Access<'_, '_>,
        device: DeviceId,
        input: SessionInput,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ReplicaError> {
        let Some(peer) = self.peers.get_mut(&device) else { return Ok(()) };
        let mut todo = peer.session.step(input);
        while let Some(effect) = todo.pop() {
            match effect {
                SessionEffect::Announce(heads) => {
                    effects.push(Effect::Send(device, Message::Heads { heads }));
                }
                SessionEffect::Ship { log, after } => {
                    let to = match self.pack_run(access, &log, after)? {
                        Some(run) => {
                            let to = run.signature.head.seq;
                            if !planted(Bug::OutboxDrops) || effects.len() < 4 {
                                effects.push(Effect::Send(device, Message::Run { run }));
                            }
                            to
                        }
                        // Nothing of it is on this disk (a snapshot stands for it): skip it.
                        None => self.held(&log),
                    };
                    let Some(peer) = self.peers.get_mut(&device) else { return Ok(()) };
                    todo.extend(peer.session.step(SessionInput::Shipped { log, to }));
                }
            }
        }
        Ok(())
    }

    /// Sends a peer what it lacks of the order, unless its group brings it.
    fn keep_in_step(
        &mut self,
        access: &mut Access<'_, '_>,
        device: DeviceId,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ReplicaError> {
        let Some(peer) = self.peers.get(&device) else { return Ok(()) };
        let lag = self.order.end.i.saturating_sub(peer.order_at);
        let brought = peer.order_at >= self.order.control_at && self.votes_with(&device);
        if lag < FELLOW_LAG_MAX && brought {
            Ok(())
        } else {
            self.ship_order(access, device, effects)
        }
    }

    /// Tells a peer how far the order is here, unless entries just did: a fellow voter now and
    /// then, so that it knows us in step.
    fn tell_order(&mut self, device: DeviceId, effects: &mut Vec<Effect>) {
        let (seen, fellow) = (self.order.end, self.votes_with(&device));
        let Some(peer) = self.peers.get_mut(&device) else { return };
        let now_and_then = fellow && peer.order_told >= self.order.control_at;
        let due = peer.order_told + if now_and_then { FELLOW_LAG_MAX / 4 } else { 1 };
        if self.order.role == Role::Sequencer || seen.i < due {
            return;
        }
        peer.order_told = seen.i;
        effects.push(Effect::Send(device, Message::OrderAt { seen }));
    }

    /// Whether this device and the peer are voters of one group.
    fn votes_with(&self, device: &DeviceId) -> bool {
        let sets = self.order.voters.get(&self.order.generation);
        matches!(self.order.role, Role::Voter { .. })
            && sets.and_then(|sets| sets.last()).is_some_and(|voters| voters.contains(device))
    }

    /// Sends entries the peer lacks, one generation a message, with a bounded number under way.
    fn ship_order(
        &mut self,
        access: &mut Access<'_, '_>,
        device: DeviceId,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ReplicaError> {
        loop {
            let Some(peer) = self.peers.get(&device) else { return Ok(()) };
            let from = peer.order_sent;
            if from >= self.order.end.i || from - peer.order_at >= ENTRIES_UNDER_WAY_MAX {
                return Ok(());
            }
            let Some((entries, certificate)) = self.pack_order(access, from)? else {
                return Ok(());
            };
            let to = certificate.seen.i;
            if let Some(peer) = self.peers.get_mut(&device) {
                (peer.order_sent, peer.order_told) = (to, to);
            }
            effects.push(Effect::Send(device, Message::Order { entries, certificate }));
        }
    }

    /// Acknowledges sets of blocks to every device of the identity that is connected; a stranger
    /// who waits to be known is not told what is kept.
    pub(crate) fn tell_kept(
        &mut self,
        access: &mut Access<'_, '_>,
        kept: &[Cid],
        effects: &mut Vec<Effect>,
    ) -> Result<(), ReplicaError> {
        if kept.is_empty() {
            return Ok(());
        }
        let state = self.control.state();
        let live = self.peers.keys().copied().filter(|device| state.is_live(device));
        for device in live.collect::<Vec<DeviceId>>() {
            effects.push(Effect::Send(device, Message::Kept { pins: kept.to_vec() }));
            self.offer_pins(access, device, effects)?;
        }
        Ok(())
    }
}
