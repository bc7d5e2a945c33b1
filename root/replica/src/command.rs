//! Changes of the identity that a person or the pod asks for.

use crate::access::Access;
use crate::input::{Effect, Tick, Ticket};
use crate::reform::ReformPlan;
use crate::stage::Staged;
use crate::state::Replica;
use rhizome_block::Cid;
use rhizome_cluster::{Candidate, VoterPolicy, plan_voters};
use rhizome_identity::{
    Acceptance, AddDevice, Adopt, Author, Capability, CertificateBody, ChangeVoters, ControlBody,
    ControlError, ControlRecord, DeviceCertificate, DeviceId, DeviceKind, Dormant, EpochChange,
    RecoveryKit, RevokeDevice, Signature,
};
use rhizome_log::EventError;
use std::collections::BTreeSet;
use std::sync::Arc;

pub use rhizome_identity::RevokeReason;

/// While an identity has fewer admin devices than this, a newly linked one becomes admin: losing
/// one device must not lose the power to remove it. From three on, changing an admin needs two.
pub(crate) const ADMINS_WANTED: usize = 2;

/// A change of the identity.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Let a device in that accepted with its own signature.
    Admit {
        /// What it accepted.
        acceptance: Acceptance,
        /// Its signature.
        signature: Signature,
        /// Its name.
        name: String,
    },
    /// Remove a device and change the keys.
    Revoke {
        /// The device.
        device: DeviceId,
        /// Why.
        reason: RevokeReason,
    },
    /// Give a device another name, which every device shows.
    Rename {
        /// The device.
        device: DeviceId,
        /// Its name from now on.
        name: String,
    },
    /// Change the keys.
    Rotate,
    /// Choose voters for the devices that are present, if others than now would be better.
    PlanVoters {
        /// Devices heard from recently.
        present: BTreeSet<DeviceId>,
        /// Laptops whose owner keeps them running.
        mostly_on: BTreeSet<DeviceId>,
        /// What the person prefers.
        policy: VoterPolicy,
    },
    /// The voters are lost for good: begin the next generation without them.
    Reform(ReformPlan),
    /// Graft another identity of this person onto this one, with all its logs.
    Adopt(Box<Adopt>),
    /// Count a device as absent for long, or as back: it does not vote, and nobody waits for what
    /// it has not seen or sealed.
    Dormant {
        /// Which.
        device: DeviceId,
        /// Whether it is absent from here on.
        dormant: bool,
    },
    /// Say what the state is, at the next place at which everything held has taken effect.
    Seal,
    /// Take a control record that somebody else signed (the recovery kit, say).
    Take(Box<ControlRecord>),
}

/// What a command did.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// A control record now says so.
    Recorded {
        /// The record.
        record: Cid,
    },
    /// A set of blocks is whole and durable.
    Pinned {
        /// Its manifest.
        manifest: Cid,
    },
    /// There was nothing to do.
    Unchanged,
}

/// Why a write or command was refused.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// This device holds no keys.
    #[error("this device stores sealed data and cannot write")]
    NoKeys,
    /// This device was removed from the identity.
    #[error("this device was removed from the identity")]
    Removed,
    /// This device may not administer.
    #[error("this device may not change who belongs to the identity")]
    NoAdmin,
    /// The recovery kit is of another identity.
    #[error("the recovery kit is of another identity")]
    OtherKit,
    /// The event could not be made.
    #[error("write does not fit an event")]
    Event {
        /// Why.
        source: Arc<EventError>,
    },
    /// The rules of the control log forbid it.
    #[error("change of the identity is refused")]
    Control {
        /// Which rule.
        source: Arc<ControlError>,
    },
    /// The certificate could not be made.
    #[error("certificate is refused: {what}")]
    Certificate {
        /// What is wrong with it.
        what: String,
    },
    /// Rows of the index could not be read.
    #[error("index cannot be read: {what}")]
    Unreadable {
        /// Why.
        what: String,
    },
    /// This replica holds something already.
    #[error("a replica that holds data cannot begin at a checkpoint")]
    NotEmpty,
    /// More blocks than a manifest may list.
    #[error("set of {blocks} blocks is too large")]
    TooManyBlocks {
        /// How many.
        blocks: usize,
    },
}

impl PartialEq for CommandError {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl Replica {
    pub(crate) fn command(
        &mut self,
        tick: Tick,
        access: &mut Access<'_, '_>,
        ticket: Ticket,
        command: Command,
        effects: &mut Vec<Effect>,
    ) {
        let result = match self.body_of(tick, access, command) {
            Ok(Change::Record(body)) => self.record(tick, *body).map(Some),
            Ok(Change::Signed(record)) => self.stage_control(*record, None).map(Some),
            Ok(Change::Nothing) => Ok(None),
            Err(error) => Err(error),
        };
        match result {
            // A record that was known before stages nothing there would be a reason to wait for.
            Ok(Some(record)) if self.staged.is_empty() => {
                effects.push(Effect::Done(ticket, Outcome::Recorded { record }));
            }
            Ok(Some(record)) => {
                self.staged.push(Staged::Command(ticket, Outcome::Recorded { record }));
                self.note_signed(access, record);
                self.control_changed(effects);
            }
            Ok(None) => effects.push(Effect::Done(ticket, Outcome::Unchanged)),
            Err(error) => effects.push(Effect::Rejected(ticket, error)),
        }
    }

    fn body_of(
        &mut self,
        tick: Tick,
        access: &Access<'_, '_>,
        command: Command,
    ) -> Result<Change, CommandError> {
        match command {
            Command::Take(record) => return Ok(Change::Signed(record)),
            Command::Seal => {
                self.want_seal();
                return Ok(Change::Nothing);
            }
            // A device that was counted as absent says itself that it is back.
            Command::Dormant { device, dormant: false } if device == self.device() => {
                let body = ControlBody::Dormant(Dormant { device, dormant: false });
                return Ok(Change::Record(Box::new(body)));
            }
            _ => {}
        }
        if !self.control.state().may(&self.device(), Capability::Admin) {
            let no = matches!(command, Command::PlanVoters { .. });
            return if no { Ok(Change::Nothing) } else { Err(CommandError::NoAdmin) };
        }
        let body = match command {
            Command::Admit { acceptance, signature, name } => {
                self.add_device(tick, &acceptance, signature, &name)
            }
            Command::Revoke { device, reason } => self.removal(tick, device, reason),
            Command::Rename { device, name } => match self.renamed(tick, device, &name)? {
                Some(body) => Ok(body),
                None => return Ok(Change::Nothing),
            },
            Command::Rotate => self.epoch_change(tick, &[]).map(ControlBody::RotateEpoch),
            Command::PlanVoters { present, mostly_on, policy } => {
                return Ok(self.plan(&present, &mostly_on, policy));
            }
            Command::Reform(plan) => self.reform_body(tick, access, &plan),
            Command::Adopt(adopt) => Ok(ControlBody::Adopt(*adopt)),
            Command::Dormant { device, dormant } => {
                Ok(ControlBody::Dormant(Dormant { device, dormant }))
            }
            Command::Take(record) => return Ok(Change::Signed(record)),
            Command::Seal => return Ok(Change::Nothing),
        };
        body.map(|body| Change::Record(Box::new(body)))
    }

    fn add_device(
        &self,
        tick: Tick,
        acceptance: &Acceptance,
        signature: Signature,
        name: &str,
    ) -> Result<ControlBody, CommandError> {
        let state = self.control.state();
        let admins = state.admins().count();
        let body = CertificateBody {
            root: acceptance.root,
            signing: acceptance.signing,
            sealing: acceptance.sealing,
            name_sealed: self.keys.seal_name(name, &tick.entropy).ok_or(CommandError::NoKeys)?,
            kind: acceptance.kind,
            capabilities: capabilities(acceptance.kind, admins < ADMINS_WANTED),
            serial: 1,
            made_ms: tick.now_ms,
        };
        let certificate = self.certificate(body, signature)?;
        let wraps =
            self.keys.wrap_newest(acceptance.sealing, &tick.entropy).ok_or(CommandError::NoKeys)?;
        Ok(ControlBody::AddDevice(AddDevice { certificate, wraps }))
    }

    /// A device's next certificate, which differs in its name: a name stands nowhere else.
    pub(crate) fn renamed(
        &self,
        tick: Tick,
        device: DeviceId,
        name: &str,
    ) -> Result<Option<ControlBody>, CommandError> {
        let known = self.control.state().device(&device).filter(|one| one.is_live());
        let known = known.ok_or_else(|| CommandError::Control {
            source: Arc::new(ControlError::NotLive { device }),
        })?;
        let before = known.certificate.body();
        if self.keys.open_name(&before.name_sealed).as_deref() == Some(name) {
            return Ok(None);
        }
        let name_sealed = self.keys.seal_name(name, &tick.entropy).ok_or(CommandError::NoKeys)?;
        let serial = before.serial.saturating_add(1);
        let body = CertificateBody { name_sealed, serial, made_ms: tick.now_ms, ..before.clone() };
        let certificate = self.certificate(body, known.certificate.acceptance())?;
        let next = AddDevice { certificate, wraps: Vec::new() };
        Ok(Some(ControlBody::AddDevice(next)))
    }

    pub(crate) fn certificate(
        &self,
        body: CertificateBody,
        acceptance: Signature,
    ) -> Result<DeviceCertificate, CommandError> {
        let by = Author::Device(self.device());
        DeviceCertificate::issue(body, acceptance, by, self.keys.signing())
            .map_err(|error| CommandError::Certificate { what: error.to_string() })
    }

    /// Whether this device can remove another by its own signature ([`Command::Revoke`]).
    pub fn may_remove(&self, tick: Tick, device: DeviceId) -> Result<(), CommandError> {
        if !self.control.state().may(&self.device(), Capability::Admin) {
            return Err(CommandError::NoAdmin);
        }
        let body = self.removal(tick, device, RevokeReason::Lost)?;
        self.control
            .check(&self.signed(tick, body))
            .map_err(|source| CommandError::Control { source: Arc::new(source) })
    }

    /// The record by which the kit removes a device: it needs nobody else's signature.
    pub fn removal_by_kit(
        &self,
        tick: Tick,
        device: DeviceId,
        reason: RevokeReason,
        kit: &RecoveryKit,
    ) -> Result<ControlRecord, CommandError> {
        if kit.root().public() != self.control.state().root() {
            return Err(CommandError::OtherKit);
        }
        let body = self.removal(tick, device, reason)?;
        let (clock, seen) = (tick.now_ms << 16, Some(self.order.applied));
        Ok(self.control.draft(Author::Recovery, clock, seen, body).sign(&kit.recovery()))
    }

    /// Removes a device, with its last event held here as the last one accepted.
    fn removal(
        &self,
        tick: Tick,
        device: DeviceId,
        reason: RevokeReason,
    ) -> Result<ControlBody, CommandError> {
        let last = self.heads_of(&device);
        let epoch = self.epoch_change(tick, &[device])?;
        Ok(ControlBody::RevokeDevice(RevokeDevice { device, last, epoch, reason }))
    }

    pub(crate) fn epoch_change(
        &self,
        tick: Tick,
        without: &[DeviceId],
    ) -> Result<EpochChange, CommandError> {
        let state = self.control.state();
        let recipients = state.recipients(without);
        let (wraps, previous) = self
            .keys
            .rotate(recipients, &tick.entropy, &self.lost_epochs())
            .ok_or(CommandError::NoKeys)?;
        Ok(EpochChange { n: state.epoch().id.n + 1, wraps, previous })
    }

    fn plan(
        &self,
        present: &BTreeSet<DeviceId>,
        mostly_on: &BTreeSet<DeviceId>,
        policy: VoterPolicy,
    ) -> Change {
        let state = self.control.state();
        let candidate = |(device, one): (DeviceId, &rhizome_identity::Device)| Candidate {
            device,
            kind: one.certificate.body().kind,
            mostly_on: mostly_on.contains(&device),
            present: device == self.device() || present.contains(&device),
        };
        let candidates: Vec<Candidate> = state
            .devices()
            .filter(|(_, one)| {
                one.is_live() && !one.dormant && one.certificate.may(Capability::Sequencer)
            })
            .map(candidate)
            .collect();
        let current: BTreeSet<DeviceId> = state.voters().iter().copied().collect();
        let voters = plan_voters(&candidates, &current, policy);
        if voters == current || voters.is_empty() || !self.may_change_voters(&current, present) {
            return Change::Nothing;
        }
        let stays = current.len() > 1 && voters.len() > 1;
        let generation = state.generation() + u64::from(!stays);
        let voters = voters.into_iter().collect();
        let base = self.order.applied;
        let change = ChangeVoters { generation, voters, base };
        Change::Record(Box::new(ControlBody::ChangeVoters(change)))
    }

    /// Only the present voters can commit a change of voters, and one change at a time is enough.
    fn may_change_voters(
        &self,
        current: &BTreeSet<DeviceId>,
        present: &BTreeSet<DeviceId>,
    ) -> bool {
        let me = self.device();
        let here = current.iter().filter(|voter| **voter == me || present.contains(voter)).count();
        let committed = self.control.committed_state();
        let changing = committed.generation() != self.control.state().generation()
            || committed.voters() != self.control.state().voters();
        here > current.len() / 2 && !changing
    }

    fn record(&mut self, tick: Tick, body: ControlBody) -> Result<Cid, CommandError> {
        self.stage_control(self.signed(tick, body), None)
    }

    /// The record that follows the head, signed by this device.
    pub(crate) fn signed(&self, tick: Tick, body: ControlBody) -> ControlRecord {
        let (clock, seen) = (tick.now_ms << 16, Some(self.order.applied));
        let author = Author::Device(self.device());
        self.control.draft(author, clock, seen, body).sign(self.keys.signing())
    }
}

/// What a command amounts to.
enum Change {
    Record(Box<ControlBody>),
    Signed(Box<ControlRecord>),
    Nothing,
}

/// What a new device may do.
pub(crate) fn capabilities(kind: DeviceKind, admin: bool) -> BTreeSet<Capability> {
    if kind == DeviceKind::CloudPeer {
        return BTreeSet::from([Capability::Sequencer]);
    }
    let mut all = BTreeSet::from([Capability::Writer, Capability::Reader, Capability::Sequencer]);
    if admin && kind != DeviceKind::Browser {
        all.insert(Capability::Admin);
    }
    all
}
