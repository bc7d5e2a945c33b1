//! Opening one identity: its store, its index, the replay of what the index lacks, its actor.

use crate::actor::{self, Notice, Parts};
use crate::clock;
use crate::handle::Handle;
use crate::home::{HomeError, IdentityHome};
use crate::journal::{Fence, Segments};
use crate::lasting::{Renewal, SHARED_PREFIX_BYTES, Shelf};
use rhizome_block::{Cid, peek_kind};
use rhizome_engine::{Engine, EngineError, Fold};
use rhizome_identity::{DeviceId, Genesis, IdentityId};
use rhizome_log::{Index, IndexError, Place};
use rhizome_net::Link;
use rhizome_replica::{Access, Alarm, Base, Replica, ReplicaError, ReplicaKeys, space};
use rhizome_store::{
    FlushIndex, FolderError, Mark, OpenError, PrefixIndex, Report, SegmentsConfig, Store,
    StoreFolder,
};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Notify, mpsc};

/// Blocks replayed between two writes of the index, so that a long replay needs little memory.
const REPLAY_STRETCH: usize = 4096;

/// Most folds in a row: each learns of one more reform that wins, and people reform rarely.
const REWINDS_MAX: usize = 16;

/// Alarms kept for `status`; older ones are in the log.
const ALARMS_MAX: usize = 64;

/// Why an identity could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenIdentityError {
    /// Its folder.
    #[error("identity cannot be read")]
    Home(#[from] HomeError),
    /// Its store folder.
    #[error("store cannot be opened")]
    Folder(#[from] FolderError),
    /// Its segments.
    #[error("segments cannot be opened")]
    Segments(#[from] OpenError),
    /// A file.
    #[error("store cannot be used")]
    Disk(#[from] io::Error),
    /// Its index.
    #[error("index cannot be opened; `rhizome doctor --rebuild` makes it anew")]
    Index(#[from] IndexError),
    /// Its replica.
    #[error("replica cannot be opened")]
    Replica(#[from] ReplicaError),
    /// What its segments hold beyond its index.
    #[error("segments cannot be folded into the index")]
    Fold(#[from] EngineError),
}

/// An identity that is open in this process.
pub struct Identity {
    /// Its folder.
    pub home: IdentityHome,
    /// Asks its actor.
    pub handle: Handle,
    /// Whether it is somebody else's, hosted here.
    pub hosted: bool,
    /// What was found when the segments were opened.
    pub report: Report,
    /// When it was opened here.
    pub opened_ms: u64,
    /// Live connections.
    pub links: Mutex<BTreeMap<DeviceId, (u64, Link)>>,
    /// Wakes whoever dials.
    pub wake: Notify,
    /// The newest alarms.
    pub alarms: Mutex<Vec<Alarm>>,
    /// Holds the index's mark back for other appenders.
    pub fence: Fence,
    /// The group of voters, while this device is one of several.
    pub order: crate::order::Slot,
    /// Locks the folder for as long as the identity is open.
    pub folder: StoreFolder,
}

impl Identity {
    /// The identity's id.
    #[must_use]
    pub fn id(&self) -> IdentityId {
        self.handle.identity
    }

    /// The connection to a device, if there is one.
    #[must_use]
    pub fn link(&self, device: &DeviceId) -> Option<Link> {
        self.links().get(device).map(|(_, link)| link.clone())
    }

    /// Locks the table of connections.
    pub fn links(&self) -> std::sync::MutexGuard<'_, BTreeMap<DeviceId, (u64, Link)>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps an alarm for `status`.
    pub fn raise(&self, alarm: Alarm) {
        tracing::error!(?alarm, "ALARM");
        let mut alarms = self.alarms.lock().unwrap_or_else(PoisonError::into_inner);
        if alarms.len() < ALARMS_MAX && !alarms.contains(&alarm) {
            alarms.push(alarm);
        }
    }
}

/// Where hosted identities keep their index: one for all, so that an idle one costs no memory.
pub type SharedIndex = Arc<dyn FlushIndex>;

/// Opens an identity and starts its actor.
///
/// `whole` is how far the segments were seen to be whole, when the index is made anew on purpose.
pub fn open(
    home: IdentityHome,
    shared: Option<&SharedIndex>,
    whole: Option<Mark>,
) -> Result<(Arc<Identity>, mpsc::UnboundedReceiver<Notice>), OpenIdentityError> {
    let genesis = home.genesis()?;
    let identity = genesis.identity_id();
    let hosted = shared.is_some();
    let keys = keys_of(&home, &genesis, hosted)?;
    let folder = StoreFolder::open(&home.store_dir())?;
    let mut renewal = None;
    let index: Arc<dyn FlushIndex> = match shared {
        Some(shared) => {
            let prefix = identity.0.digest()[..SHARED_PREFIX_BYTES].to_vec();
            Arc::new(PrefixIndex::new(Arc::clone(shared), prefix))
        }
        None => {
            let shelf = Shelf::new(&folder.index_path());
            let opened = shelf.open(0)?;
            renewal = Some(Renewal::new(shelf, opened.in_memory));
            opened.index
        }
    };
    let mut engine = Engine::open(keys, genesis, &*index)?;
    let mark = index.get(&[space::MARK])?;
    let since = mark.as_deref().and_then(Mark::from_bytes);
    let fence = Fence::default();
    let (journal, report) = open_segments(&folder, &*index, &mut engine, since, &fence)?;
    engine = rewound(engine, &home, hosted, &*index, &journal)?;
    if report.torn.is_some() || report.damages_count > 0 {
        engine.start_new_incarnations();
    }
    let vouched = mark.is_some() || whole.is_some_and(|whole| journal.store().end() >= whole);
    // Nothing at all is what a new identity has, unless a part of it or its end is known.
    let is_new = report.sections == 0 && report.torn.is_none() && whole.is_none();
    if report.damages_count > 0 || (!vouched && !is_new) {
        tracing::warn!("this disk may have forgotten something: asking the other devices");
        engine.doubt(&*index, known_devices(&home))?;
    }
    if mark.is_none() && is_new {
        // From here on an index without a mark was lost, and is not just late.
        index.flush()?;
    }
    let home_again = home.clone();
    let reopen: actor::Reopen = Box::new(move |index, journal| {
        let engine = opened(&home_again, hosted, index, journal)?;
        rewound(engine, &home_again, hosted, index, journal)
    });
    let parts = Parts { identity, engine, index, renewal, journal, reopen };
    let (handle, notices) = actor::start(parts);
    let open = Identity {
        home,
        handle,
        hosted,
        report,
        opened_ms: clock::now_ms(),
        links: Mutex::default(),
        wake: Notify::new(),
        alarms: Mutex::default(),
        fence,
        order: crate::order::Slot::default(),
        folder,
    };
    Ok((Arc::new(open), notices))
}

/// Opens an engine from the rows of its index and what the segments hold beyond them.
fn opened(
    home: &IdentityHome,
    hosted: bool,
    index: &dyn Index,
    journal: &Segments,
) -> Result<Engine, EngineError> {
    let gone = |error: HomeError| ReplicaError::Open { what: error.to_string() };
    let genesis = home.genesis().map_err(gone)?;
    let keys = keys_of(home, &genesis, hosted).map_err(gone)?;
    let mut engine = Engine::open(keys, genesis, index)?;
    let since = index.get(&[space::MARK])?.and_then(|bytes| Mark::from_bytes(&bytes));
    let mut blocks = Blocks::new();
    let visited = journal.store().visit_from(since.unwrap_or_default(), &mut |p, cid, bytes| {
        blocks.push((p, cid, bytes.to_vec()));
    });
    visited.map_err(|error| ReplicaError::Open { what: error.to_string() })?;
    fold(&blocks, index, &mut engine, journal)?;
    Ok(engine)
}

/// Folds the segments into an emptied index for as long as a reform makes what was ordered void.
fn rewound(
    mut engine: Engine,
    home: &IdentityHome,
    hosted: bool,
    index: &dyn Index,
    journal: &Segments,
) -> Result<Engine, EngineError> {
    for _ in 0..REWINDS_MAX {
        if !engine.rewinds() {
            return Ok(engine);
        }
        engine.rewind(index)?;
        engine = opened(home, hosted, index, journal)?;
    }
    let what = "reforms overrule each other without end".to_owned();
    Err(ReplicaError::Open { what }.into())
}

/// Devices whose address somebody told: the records that admit them may be what was forgotten.
fn known_devices(home: &IdentityHome) -> BTreeSet<DeviceId> {
    let meta = home.meta().unwrap_or_default();
    meta.addresses.keys().filter_map(|id| id.parse().ok()).collect()
}

/// A cloud peer signs and opens nothing; a device of the identity reads.
fn keys_of(home: &IdentityHome, genesis: &Genesis, hosted: bool) -> Result<ReplicaKeys, HomeError> {
    let device = home.keys()?.device;
    Ok(if hosted {
        ReplicaKeys::blind(genesis.root(), device.signing)
    } else {
        ReplicaKeys::trusted(genesis.root(), device)
    })
}

/// Blocks in the order of the segments.
type Blocks = Vec<(Place, Cid, Vec<u8>)>;

/// Opens the segments and folds what they hold beyond the index.
fn open_segments(
    folder: &StoreFolder,
    index: &dyn Index,
    engine: &mut Engine,
    since: Option<Mark>,
    fence: &Fence,
) -> Result<(Segments, Report), OpenIdentityError> {
    let disk = Arc::new(folder.segments_disk()?);
    let mut blocks = Blocks::new();
    let (store, report) =
        Store::open(disk, SegmentsConfig::default(), since, &mut |place, cid, bytes| {
            blocks.push((place, cid, bytes.to_vec()));
        })?;
    let journal = Segments::new(store, fence.clone());
    fold(&blocks, index, engine, &journal)?;
    Ok((journal, report))
}

/// Folds blocks into the index, in stretches.
fn fold(
    blocks: &Blocks,
    index: &dyn Index,
    engine: &mut Engine,
    journal: &Segments,
) -> Result<(), EngineError> {
    let mut fold = Fold::default();
    for stretch in blocks.chunks(REPLAY_STRETCH) {
        engine.fold(&mut fold, index, journal, stretch, &mut fold_others)?;
    }
    engine.finish_fold(fold, index, journal)
}

/// What lies in the segments and is not the replica's: the voters' log, and what a checkpoint that
/// a replica began at stands for.
fn fold_others(replica: &Replica, access: &mut Access<'_, '_>, place: Place, bytes: &[u8]) {
    crate::order::replay(access, place, bytes);
    if peek_kind(bytes) == Some("base")
        && let Ok(base) = Base::read(bytes)
        && crate::snapshot::import_base(replica, access, &base).is_none()
    {
        tracing::error!("a checkpoint this replica began at is not whole on this disk");
    }
}
