//! The replica's state and its one way in.

use crate::access::{Access, ReplicaError};
use crate::input::{Effect, Input, Tick};
use crate::keys::ReplicaKeys;
use crate::peer::Peer;
use crate::rows::LogRow;
use crate::stage::Staged;
use rhizome_block::{Block, Cid};
use rhizome_cluster::{Chain, EffectCursors};
use rhizome_identity::{ControlLog, DeviceId};
use rhizome_log::{Clock, Event, Knowledge, LogId, LogTag, OpenEvent, Seen};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One log in memory.
#[derive(Clone, Debug)]
pub(crate) struct LogState {
    /// What is also in the index.
    pub row: LogRow,
    /// What the author knew, ready to share.
    pub knows: Arc<Knowledge>,
    /// Name of the app, once an event told it.
    pub app: Option<Arc<str>>,
    /// Last event that an entry staged here, or a proposal under way, places.
    pub proposed: u64,
}

impl LogState {
    pub(crate) fn new(row: LogRow) -> Self {
        let knows = Arc::new(row.knowledge());
        let app = row.app.as_deref().map(Arc::from);
        let proposed = row.placed;
        Self { row, knows, app, proposed }
    }
}

/// How this replica takes part in ordering.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Role {
    /// It is the one voter.
    Sequencer,
    /// It is one of several voters.
    Voter {
        /// It leads the group at the moment.
        leading: bool,
    },
    /// It pulls what others order.
    Follower,
}

/// The order as far as it is known here.
#[derive(Clone, Debug)]
pub(crate) struct OrderState {
    /// End of everything staged or held.
    pub chain: Chain,
    /// Last certified entry that is durable.
    pub end: Seen,
    /// Last entry applied.
    pub applied: Seen,
    /// How this replica takes part.
    pub role: Role,
    /// The generation in force.
    pub generation: u64,
    /// Voters of each generation, oldest first; several where they changed within it.
    pub voters: BTreeMap<u64, Vec<BTreeSet<DeviceId>>>,
    /// Last entry before each generation, once known.
    pub base_of: BTreeMap<u64, Seen>,
    /// The last control record that took effect, or where this replica was opened: whoever has not
    /// reached it may not know yet who votes.
    pub control_at: u64,
    /// A change of voters was placed: nothing may be placed until it is applied.
    pub closing: bool,
    /// Control records placed but not yet seen committed.
    pub proposed_control: u64,
}

/// One whole replica.
#[cfg_attr(feature = "fuzz", derive(Clone))]
pub struct Replica {
    pub(crate) keys: ReplicaKeys,
    pub(crate) control: ControlLog,
    pub(crate) logs: BTreeMap<LogId, LogState>,
    /// Logs of each app.
    pub(crate) tags: BTreeMap<LogTag, BTreeSet<LogId>>,
    pub(crate) order: OrderState,
    pub(crate) cursors: EffectCursors,
    pub(crate) peers: BTreeMap<DeviceId, Peer>,
    /// Who last brought something new of each log.
    pub(crate) feeds: BTreeMap<LogId, DeviceId>,
    /// What waits for the next append, and what it means.
    pub(crate) blocks: Vec<Block>,
    pub(crate) staged: Vec<Staged>,
    /// Logs whose row must be written with the next batch.
    pub(crate) dirty: BTreeSet<LogId>,
    /// Logs with events staged by this device that no signature covers yet, and their bytes.
    pub(crate) unsigned: BTreeMap<LogId, usize>,
    /// Events opened in this batch, not delivered yet.
    pub(crate) fresh: Vec<OpenEvent>,
    /// How far logs of removed devices are depended on by events without effect yet.
    pub(crate) vouched: BTreeMap<LogId, u64>,
    /// The control head for which `vouched` holds; `None` while no device is removed.
    pub(crate) vouched_at: Option<Cid>,
    /// Apps whose log of this device must go on in a new incarnation, and the lowest one.
    pub(crate) cut: BTreeMap<LogTag, u32>,
    /// What devices say the state is.
    pub(crate) seals: crate::seal::Seals,
    /// What the disk may have forgotten is not clear yet.
    pub(crate) doubt: Option<crate::doubt::Doubt>,
    /// Hashes of places and events over which an alarm was raised.
    pub(crate) disputed: BTreeSet<[u8; 32]>,
    /// The greatest clock this device has stamped or accepted.
    pub(crate) clock: Clock,
    /// Blocks that the layer above waits for.
    pub(crate) wanted: BTreeSet<Cid>,
    /// Sets of blocks being fetched, by manifest.
    pub(crate) fetching: BTreeMap<Cid, crate::pins::Fetch>,
    /// Events of the batch under way, which peers are about to be sent: they need not be read back
    /// from the disk. Empty between batches, so that an idle replica keeps none.
    pub(crate) recent: BTreeMap<(LogId, u64), Event>,
    /// What this device decided and does not count.
    pub(crate) owed: crate::again::Owed,
    /// What is known of reforms besides the control log.
    pub(crate) reforms: crate::reform::Reforms,
    /// Devices that sent what cannot be taken before the control log says more.
    pub(crate) refused: BTreeSet<DeviceId>,
    /// An append was handed to the driver and is not durable yet.
    pub(crate) appending: bool,
}

impl Replica {
    /// Takes one input and returns what must happen because of it, in this order.
    ///
    /// A driver drains its queue, steps each input, steps [`Input::Flush`], performs the effects,
    /// and steps [`Input::Durable`] before anything else whenever it appended.
    pub fn step(
        &mut self,
        tick: Tick,
        access: &mut Access<'_, '_>,
        input: Input,
    ) -> Result<Vec<Effect>, ReplicaError> {
        assert!(
            !self.appending || matches!(input, Input::Durable(_)),
            "the driver makes an append durable before it goes on"
        );
        let mut effects = Vec::new();
        match input {
            Input::Opened => {
                self.settle_doubt(access);
                self.find_owed(access)?;
                self.contest(access)?;
                self.settle_reform(access)?;
                self.find_repeated(access)?;
                self.control_changed(&mut effects);
            }
            Input::Write(write) => self.write(tick, access, write, &mut effects)?,
            Input::Command(ticket, command) => {
                self.command(tick, access, ticket, command, &mut effects);
            }
            Input::PeerUp(device) => self.peer_up(access, device, &mut effects)?,
            Input::PeerDown(device) => {
                self.peers.remove(&device);
                self.want_from_others(device, &mut effects);
            }
            Input::PeerSaid(device, message) => {
                self.peer_said(tick, access, device, message, &mut effects)?;
            }
            Input::Order(news) => self.order_news(access, news, &mut effects)?,
            Input::Graft(run) => {
                let me = self.device();
                self.take_run(access, me, *run, &mut effects)?;
            }
            Input::Keep(ticket, blocks) => self.keep(access, ticket, blocks, &mut effects)?,
            Input::Begin(ticket, base) => self.begin_at(ticket, *base, &mut effects),
            Input::Pin(ticket, set) => self.pin(access, ticket, set, &mut effects)?,
            Input::Seal(seen, state) => self.seal_state(seen, state),
            Input::Want(cids) => self.want(access, cids, &mut effects)?,
            Input::Flush => self.flush(tick, &mut effects),
            Input::Durable(places) => self.complete(access, &places, &mut effects)?,
        }
        Ok(effects)
    }

    /// This device.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        self.keys.device()
    }

    /// Who belongs to the identity.
    #[must_use]
    pub fn control(&self) -> &ControlLog {
        &self.control
    }

    /// The keys, for sealing what travels beside events.
    #[must_use]
    pub fn keys(&self) -> &ReplicaKeys {
        &self.keys
    }

    /// The newest order applied here.
    #[must_use]
    pub fn applied(&self) -> Seen {
        self.order.applied
    }

    pub(crate) fn log_mut(&mut self, log: LogId) -> &mut LogState {
        self.tags.entry(log.tag).or_default().insert(log);
        self.dirty.insert(log);
        self.logs.entry(log).or_insert_with(|| LogState::new(LogRow::empty()))
    }

    pub(crate) fn held(&self, log: &LogId) -> u64 {
        self.logs.get(log).map_or(0, |state| state.row.held_seq())
    }
}
