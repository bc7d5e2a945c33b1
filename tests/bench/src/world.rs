//! Pods for benchmarks, and devices that are linked without a person: the newcomer's certificate is
//! made by the same commands that linking ends in.

use crate::Outcome;
use rhizome_identity::{Acceptance, DeviceId, DeviceKeys, DeviceKind};
use rhizome_pod::{Handle, Home, IdentityMeta, KeyFile, Pod, PodOptions};
use rhizome_replica::Command;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// Pauses between two looks at something that tells nobody when it changes.
pub const LOOK_PAUSE: Duration = Duration::from_millis(1);

/// How long anything may take to come about before the run ends with an error.
const PATIENCE: Duration = Duration::from_secs(60);

/// A pod with one identity.
pub struct Node {
    /// The pod.
    pub pod: Pod,
    /// Asks the identity.
    pub handle: Handle,
}

/// Random bytes.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives randomness");
    bytes
}

/// A pod as these benchmarks start it.
pub fn options(dir: &Path, host: bool) -> PodOptions {
    PodOptions { dir: dir.to_owned(), host, ..PodOptions::default() }
}

impl Node {
    /// A pod with a new identity.
    pub async fn found(dir: &Path, kind: DeviceKind) -> Outcome<Self> {
        let pod = Pod::start(options(dir, false)).await?;
        let handle = pod.create_identity("bench", "first", kind)?.handle.clone();
        Ok(Self { pod, handle })
    }

    /// Opens a pod that was made before.
    pub async fn open(dir: &Path) -> Outcome<Self> {
        let pod = Pod::start(options(dir, false)).await?;
        let handle = pod.current()?.handle.clone();
        Ok(Self { pod, handle })
    }

    /// Admits a device and prepares its folder, which knows where `peers` are.
    pub async fn admit(
        &self,
        dir: &Path,
        kind: DeviceKind,
        peers: BTreeMap<String, Vec<String>>,
    ) -> Outcome<DeviceId> {
        let identity = self.pod.current()?;
        let genesis = identity.home.genesis()?;
        let keys = DeviceKeys::from_bytes(&random());
        let acceptance = Acceptance::of(&keys, genesis.root(), kind);
        let signature = acceptance.sign(&keys.signing);
        let command = Command::Admit { acceptance, signature, name: "newcomer".to_owned() };
        self.handle.command(command).await?;
        let meta = IdentityMeta {
            name: "bench".to_owned(),
            hosted: kind == DeviceKind::CloudPeer,
            addresses: peers,
            ..IdentityMeta::default()
        };
        let device = keys.device_id();
        Home::open(dir)?.create(&genesis, &KeyFile { device: keys, kit: None }, &meta)?;
        Ok(device)
    }

    /// What another device needs to dial this one.
    pub fn address(&self) -> BTreeMap<String, Vec<String>> {
        let at = vec![self.pod.listening().to_string()];
        BTreeMap::from([(self.handle.device().to_string(), at)])
    }

    /// Tells this device where another one is.
    pub fn meet(&self, device: &DeviceId, at: String) -> Outcome<()> {
        let identity = self.pod.current()?;
        identity.home.change_meta(|meta| {
            meta.addresses.insert(device.to_string(), vec![at]);
        })?;
        identity.wake.notify_one();
        Ok(())
    }

    /// Waits until this device knows that it belongs to the identity.
    pub async fn belong(&self) -> Outcome<()> {
        let me = self.handle.device();
        let known = self.handle.until(move |replica| replica.control().state().is_live(&me));
        Ok(tokio::time::timeout(PATIENCE, known).await??)
    }

    /// Bytes that the present links have carried, both ways.
    pub fn wire_bytes(&self) -> u64 {
        let identities = self.pod.identities();
        let links = identities.iter().flat_map(|identity| {
            let links = identity.links();
            links
                .values()
                .map(|(_, link)| link.sent_bytes() + link.received_bytes())
                .collect::<Vec<_>>()
        });
        links.sum()
    }

    /// How many links are up.
    pub fn links(&self) -> usize {
        self.pod.identities().iter().map(|identity| identity.links().len()).sum()
    }
}

/// Looks again and again until something is so.
pub async fn until(what: &str, mut is: impl AsyncFnMut() -> Outcome<bool>) -> Outcome<()> {
    let looking = async {
        while !is().await? {
            tokio::time::sleep(LOOK_PAUSE).await;
        }
        Ok(())
    };
    match tokio::time::timeout(PATIENCE, looking).await {
        Ok(looked) => looked,
        Err(_) => Err(format!("not within {} s: {what}", PATIENCE.as_secs()).into()),
    }
}
