//! The pod: one process, one folder, one endpoint, some identities.

use crate::clock;
use crate::handle::AskError;
use crate::home::{Home, HomeError, IdentityHome, IdentityMeta, KeyFile, server_name};
use crate::identity::{self, Identity, OpenIdentityError, SharedIndex};
use crate::lasting::Shelf;
use crate::peers;
use rhizome_api::{ApiError, Problem};
use rhizome_identity::{
    DeviceKeys, DeviceKind, GenesisError, IdentityId, RecoveryKit, SigningKeys,
};
use rhizome_net::{BindError, Endpoint, KeyRing, NetConfig};
use rhizome_replica::{Founding, found};
use rhizome_store::{FolderError, Mark};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, Weak};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// Under this name a pod answers a device that wants to link.
pub const LINK_NAME: &str = "link.rhizome";

/// Under this name a cloud peer answers a recovery kit.
pub const RECOVER_NAME: &str = "recover.rhizome";

/// Under this name a cloud peer answers somebody who wants to be hosted.
pub const HOST_NAME: &str = "host.rhizome";

/// How long an ending pod waits for its tasks to let go of its folders, so that whoever opens them
/// next finds them free; a task that hangs must not keep the process.
const RELEASE_LIMIT: Duration = Duration::from_secs(5);

/// How often it looks: tasks end within a few turns of the runtime.
const RELEASE_PAUSE: Duration = Duration::from_millis(1);

/// How a pod is started.
#[derive(Clone, Debug, Default)]
pub struct PodOptions {
    /// Its folder.
    pub dir: PathBuf,
    /// Where it listens for other devices; loopback with a free port by default.
    pub listen: Option<SocketAddr>,
    /// Addresses it tells its other devices, where they differ from where it listens.
    pub advertise: Vec<String>,
    /// Whether it takes other people's identities in, as their cloud peer.
    pub host: bool,
    /// Whether it announces itself on the local network.
    pub lan: bool,
    /// Where it shows what it counts, as text for Prometheus; nowhere by default. Whoever can
    /// connect there learns how busy the pod is, so keep it to loopback or a network of your own.
    pub metrics: Option<SocketAddr>,
}

/// Why a pod could not be started or asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PodError {
    /// Its folder.
    #[error("folder of the pod cannot be used")]
    Home(#[from] HomeError),
    /// Its socket.
    #[error("cannot listen for other devices")]
    Bind(#[from] BindError),
    /// An identity.
    #[error("identity cannot be opened")]
    Identity(#[from] OpenIdentityError),
    /// The address for its figures.
    #[error("figures cannot be shown at {address}")]
    Metrics {
        /// Which.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The local API.
    #[error("local API cannot be served")]
    Serve(#[source] std::io::Error),
    /// Founding failed.
    #[error("identity cannot be founded")]
    Genesis(#[from] GenesisError),
    /// The actor gave no answer.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// There is no identity yet.
    #[error("there is no identity here yet")]
    NoIdentity,
    /// There is no such identity.
    #[error("no identity is called `{name}`")]
    UnknownIdentity {
        /// What was asked for.
        name: String,
    },
}

/// A running pod. Cloning shares it.
#[derive(Clone)]
pub struct Pod {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub home: Home,
    pub options: PodOptions,
    pub endpoint: Endpoint,
    pub transport: SigningKeys,
    pub started_ms: u64,
    pub link: crate::link::Desk,
    /// An identity was opened, or its records changed; the local network listens.
    pub identities_moved: Notify,
    ring: Arc<Ring>,
    open: Mutex<BTreeMap<IdentityId, Arc<Identity>>>,
    /// Found last; holds nobody, so that an identity can be closed.
    chosen: Mutex<Weak<Identity>>,
    names: RwLock<BTreeMap<String, IdentityHome>>,
    shared: OnceLock<SharedIndex>,
    stop: watch::Sender<bool>,
}

impl Inner {
    /// Whether the pod is ending.
    pub fn endpoint_closed(&self) -> bool {
        *self.stop.borrow()
    }
}

/// The keys this process answers with, from memory.
#[derive(Default)]
struct Ring {
    seeds: RwLock<BTreeMap<String, [u8; 32]>>,
}

impl Ring {
    fn add(&self, name: &str, keys: &SigningKeys) {
        let mut seeds = self.seeds.write().unwrap_or_else(PoisonError::into_inner);
        seeds.insert(name.to_owned(), *keys.secret());
    }
}

impl KeyRing for Ring {
    fn server_key(&self, name: &str) -> Option<[u8; 32]> {
        self.seeds.read().unwrap_or_else(PoisonError::into_inner).get(name).copied()
    }
}

impl Pod {
    /// Opens the folder, starts the identities of this device, and listens.
    pub async fn start(options: PodOptions) -> Result<Self, PodError> {
        let home = Home::open(&options.dir)?;
        let transport = home.transport_key(clock::random())?;
        let ring = Arc::new(Ring::default());
        ring.add(LINK_NAME, &transport);
        if options.host {
            ring.add(RECOVER_NAME, &transport);
            ring.add(HOST_NAME, &transport);
        }
        let listen = options.listen.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let reset_secret = Some(*transport.secret());
        let config = NetConfig { listen, reset_secret, ..NetConfig::default() };
        let endpoint = Endpoint::bind(config, Arc::clone(&ring) as Arc<dyn KeyRing>)?;
        let (stop, _) = watch::channel(false);
        let inner = Inner {
            home,
            options,
            endpoint,
            transport,
            started_ms: clock::now_ms(),
            link: crate::link::Desk::default(),
            identities_moved: Notify::new(),
            ring,
            open: Mutex::default(),
            chosen: Mutex::default(),
            names: RwLock::default(),
            shared: OnceLock::new(),
            stop,
        };
        let pod = Self { inner: Arc::new(inner) };
        if pod.inner.options.host {
            pod.inner.home.mark_as_host()?;
        }
        for home in pod.inner.home.identities()? {
            pod.admit(&home)?;
        }
        if let Some(address) = pod.inner.options.metrics {
            let shown = crate::exporter::start(&pod, address).await;
            shown.map_err(|source| PodError::Metrics { address, source })?;
        }
        tokio::spawn(peers::accept(pod.clone()));
        crate::link::resume(&pod);
        crate::lan::start(&pod);
        Ok(pod)
    }

    /// Makes an identity of the folder known. One of this device is opened; a hosted one waits
    /// until somebody connects, so that idle tenants cost nothing.
    pub(crate) fn admit(&self, home: &IdentityHome) -> Result<(), PodError> {
        let identity = home.genesis()?.identity_id();
        let name = server_name(&identity);
        self.inner.ring.add(&name, &home.keys()?.device.signing);
        let mut names = self.inner.names.write().unwrap_or_else(PoisonError::into_inner);
        names.insert(name, home.clone());
        drop(names);
        if !home.meta()?.hosted {
            self.open(home)?;
        }
        Ok(())
    }

    /// Opens an identity that is known, if it is not open yet.
    pub(crate) fn open(&self, home: &IdentityHome) -> Result<Arc<Identity>, PodError> {
        self.open_again(home, None)
    }

    /// Opens an identity whose segments were seen to be whole up to a mark.
    pub(crate) fn open_again(
        &self,
        home: &IdentityHome,
        whole: Option<Mark>,
    ) -> Result<Arc<Identity>, PodError> {
        let id = home.genesis()?.identity_id();
        let mut open = self.opened();
        if let Some(identity) = open.get(&id).filter(|one| !one.handle.ask.is_closed()) {
            return Ok(Arc::clone(identity));
        }
        self.forget_chosen();
        // One that stopped (its disk refused, say) gives its folder free before it opens again.
        open.remove(&id);
        let shared = if home.meta()?.hosted { Some(self.shared_index()?) } else { None };
        let (identity, notices) = identity::open(home.clone(), shared.as_ref(), whole)?;
        open.insert(id, Arc::clone(&identity));
        drop(open);
        peers::attend(self.clone(), Arc::clone(&identity), notices);
        self.inner.identities_moved.notify_one();
        Ok(identity)
    }

    /// Takes an identity that was closed out of the table.
    pub(crate) fn forget(&self, identity: &IdentityId) {
        self.opened().remove(identity);
    }

    fn shared_index(&self) -> Result<SharedIndex, PodError> {
        if let Some(index) = self.inner.shared.get() {
            return Ok(Arc::clone(index));
        }
        let path = self.inner.home.hosting_index();
        let index = Shelf::shared(&path).on_disk_or_in_memory();
        let index = index.map_err(OpenIdentityError::from)?.index;
        Ok(Arc::clone(self.inner.shared.get_or_init(|| index)))
    }

    /// The identity that answers for a name on the endpoint.
    pub(crate) fn by_name(&self, name: &str) -> Option<IdentityHome> {
        let names = self.inner.names.read().unwrap_or_else(PoisonError::into_inner);
        names.get(name).cloned()
    }

    fn opened(&self) -> MutexGuard<'_, BTreeMap<IdentityId, Arc<Identity>>> {
        self.inner.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The open identities.
    #[must_use]
    pub fn identities(&self) -> Vec<Arc<Identity>> {
        self.opened().values().cloned().collect()
    }

    /// How many identities are hosted here for others, open or not.
    #[must_use]
    pub fn tenants(&self) -> usize {
        let names = self.inner.names.read().unwrap_or_else(PoisonError::into_inner);
        names.values().filter(|home| home.meta().is_ok_and(|meta| meta.hosted)).count()
    }

    /// Chooses the identity that commands speak about.
    pub(crate) fn choose(&self, identity: &IdentityId) -> Result<(), HomeError> {
        self.inner.home.set_current(identity)?;
        self.forget_chosen();
        Ok(())
    }

    /// The identity that commands speak about: the chosen one, or the only one.
    pub fn current(&self) -> Result<Arc<Identity>, PodError> {
        // Finding it reads every identity of the folder, and every command asks for it.
        let known = self.chosen().upgrade();
        if let Some(identity) = known.filter(|one| !one.handle.ask.is_closed()) {
            return Ok(identity);
        }
        let identity = self.find_current()?;
        *self.chosen() = Arc::downgrade(&identity);
        Ok(identity)
    }

    fn chosen(&self) -> MutexGuard<'_, Weak<Identity>> {
        self.inner.chosen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go of the identity that was found last: it may be another now, or closed.
    pub(crate) fn forget_chosen(&self) {
        *self.chosen() = Weak::new();
    }

    fn find_current(&self) -> Result<Arc<Identity>, PodError> {
        let own: Vec<IdentityHome> = self
            .inner
            .home
            .identities()?
            .into_iter()
            .filter(|home| home.meta().is_ok_and(|meta| !meta.hosted && meta.adopted_by.is_none()))
            .collect();
        let chosen = self.inner.home.current();
        let is_chosen = |home: &&IdentityHome| {
            let id = home.genesis().map(|genesis| genesis.identity_id().to_string());
            id.ok() == chosen
        };
        let home = own.iter().find(is_chosen).or_else(|| own.first());
        self.open(home.ok_or(PodError::NoIdentity)?)
    }

    /// Founds an identity with this device as its first.
    pub fn create_identity(
        &self,
        name: &str,
        device_name: &str,
        kind: DeviceKind,
    ) -> Result<Arc<Identity>, PodError> {
        let entropy: [u8; 32] = clock::random();
        let kit = RecoveryKit::from_entropy(clock::random());
        let device = DeviceKeys::from_bytes(&clock::random());
        let genesis = found(&Founding {
            kit: &kit,
            keys: &device,
            kind,
            name: device_name,
            entropy,
            now_ms: clock::now_ms(),
        })?;
        let meta = IdentityMeta {
            name: name.to_owned(),
            kit_key_id: kit.key_id().to_string(),
            ..IdentityMeta::default()
        };
        let keys = KeyFile { device, kit: Some(*kit.entropy()) };
        let home = self.inner.home.create(&genesis, &keys, &meta)?;
        self.choose(&genesis.identity_id())?;
        self.admit(&home)?;
        self.open(&home)
    }

    /// Where this pod listens for other devices.
    #[must_use]
    pub fn listening(&self) -> SocketAddr {
        self.inner.endpoint.local_addr()
    }

    /// Addresses that other devices should try.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        if !self.inner.options.advertise.is_empty() {
            return self.inner.options.advertise.clone();
        }
        let local = self.listening();
        if local.ip().is_unspecified() { Vec::new() } else { vec![local.to_string()] }
    }

    /// What a person gives to `peer add` on another device.
    #[must_use]
    pub fn invite(&self) -> String {
        let address = self.addresses().into_iter().next();
        let address = address.unwrap_or_else(|| self.listening().to_string());
        format!("rhizome-peer://{address}#{}", self.inner.transport.device_id())
    }

    /// Its folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.inner.home.dir()
    }

    /// Asks the pod to end.
    pub fn ask_to_stop(&self) {
        self.inner.stop.send_replace(true);
    }

    /// Resolves when somebody asked the pod to end.
    pub async fn asked_to_stop(&self) {
        let mut stop = self.inner.stop.subscribe();
        // The sender lives as long as `self`.
        let _ = stop.wait_for(|stop| *stop).await;
    }

    /// Ends the pod: stops intake, writes what is queued, flushes.
    pub async fn stop(&self) {
        self.ask_to_stop();
        self.inner.endpoint.close().await;
        let identities = self.identities();
        for identity in &identities {
            identity.order.stop().await;
            identity.handle.close().await;
            // Whoever dials is waiting for its pause to end, and lets go of the folder.
            identity.wake.notify_one();
        }
        self.opened().clear();
        self.forget_chosen();
        let released = async {
            while identities.iter().any(|identity| Arc::strong_count(identity) > 1) {
                tokio::time::sleep(RELEASE_PAUSE).await;
            }
        };
        if tokio::time::timeout(RELEASE_LIMIT, released).await.is_err() {
            tracing::warn!("somebody still holds an identity of this pod");
        }
    }
}

impl PodError {
    /// The problem it is for whoever started the pod.
    fn problem(&self) -> Problem {
        match self {
            Self::Identity(OpenIdentityError::Folder(error)) => match error {
                FolderError::Newer { .. } => Problem::FORMAT,
                FolderError::Locked { .. } => Problem::DIR_BUSY,
                _ => Problem::DISK,
            },
            Self::Identity(OpenIdentityError::Disk(_)) => Problem::DISK,
            Self::Home(_) | Self::Identity(_) => Problem::DAMAGED,
            Self::Serve(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                Problem::DIR_BUSY
            }
            Self::NoIdentity => Problem::NO_IDENTITY,
            Self::UnknownIdentity { .. } => Problem::UNKNOWN_NAME,
            _ => Problem::INTERNAL,
        }
    }
}

/// Starts a pod, serves its local API, and returns when it is asked to end.
pub async fn run(options: PodOptions) -> Result<(), ApiError> {
    if rhizome_seal::UNSEALED {
        let message = "this program was built without sealing, for a test; it holds no real data";
        return Err(ApiError::new(Problem::INTERNAL, message));
    }
    let failed = |error: PodError| ApiError::from_error(error.problem(), &error);
    let pod = Pod::start(options).await.map_err(failed)?;
    let served = crate::serve::serve(pod.clone()).await.map_err(PodError::Serve);
    pod.stop().await;
    served.map_err(failed)
}
