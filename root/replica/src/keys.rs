//! What this device can open: its own keys, the epochs' secrets, the identity's fixed secret.
//!
//! Secrets of epochs come out of the control log: each is wrapped to every live sealing key, with
//! the one before it sealed under the new one. A cloud peer has no sealing key and gets none.

use rhizome_block::planted::{Bug, planted};
use rhizome_block::{Cid, Version, decode, encode, kind};
use rhizome_identity::{
    ControlState, DeviceId, DeviceKeys, EpochId, IdentityId, SealingPublic, SigningKeys,
    SigningPublic, Wrap,
};
use rhizome_log::LogTag;
use rhizome_seal::{EpochSecret, EventKey, Secret};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Bytes that are wrapped for a device: the epoch's secret and the identity's fixed secret.
const WRAPPED_BYTES: usize = 64;

/// Most derived keys kept at hand; each is used for every event of one app and epoch.
const EVENT_KEYS_MAX: usize = 1024;

/// Under this tag the secret of the epoch before is sealed.
const PREVIOUS_TAG: [u8; 16] = *b"previous epoch  ";

/// Under this tag the roots of checkpoints are sealed.
const ROOT_TAG: [u8; 16] = *b"checkpoint root ";

/// What a sealed root binds: its manifest is signed, so nothing else.
const ROOT_INFO: &[u8] = b"rhizome checkpoint root v1";

/// Under this tag device names are sealed.
const NAME_TAG: [u8; 16] = *b"device name     ";

/// Under this tag the keys of an adopted identity are sealed.
const ADOPTED_TAG: [u8; 16] = *b"adopted keys    ";

/// Keys of one device in one identity.
#[cfg_attr(feature = "fuzz", derive(Clone))]
pub struct ReplicaKeys {
    root: SigningPublic,
    device: DeviceId,
    signing: SigningKeys,
    sealing: Option<DeviceKeys>,
    secrets: BTreeMap<EpochId, EpochSecret>,
    newest: Option<EpochId>,
    fixed: Option<Secret>,
    adopted: BTreeMap<IdentityId, Secret>,
    adopted_tags: BTreeSet<LogTag>,
    event_keys: BTreeMap<(EpochId, LogTag), EventKey>,
    /// Epochs of branches that lost, by the epoch that took their secrets along.
    along: BTreeMap<EpochId, Vec<EpochId>>,
}

kind! {
    /// Kind of the keys of an adopted identity.
    pub(crate) AdoptedKeysKind = "adopted-keys"
}

/// The keys of an identity that is adopted, sealed inside the record that adopts it.
#[derive(Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) struct AdoptedKeys {
    pub(crate) k: AdoptedKeysKind,
    pub(crate) v: Version<1>,
    /// Its fixed secret.
    pub(crate) fixed: serde_bytes::ByteArray<32>,
    /// The secrets of its epochs.
    pub(crate) epochs: Vec<(EpochId, serde_bytes::ByteArray<32>)>,
    /// Tags of the logs that went along.
    pub(crate) tags: Vec<LogTag>,
}

/// What binds a wrapped epoch secret to its identity: the root key, because the first epoch is
/// wrapped inside the genesis, whose hash is the identity.
#[must_use]
pub fn epoch_info(root: &SigningPublic) -> Vec<u8> {
    [b"rhizome epoch v1".as_slice(), &root.0].concat()
}

impl ReplicaKeys {
    /// Keys of a device that can read.
    #[must_use]
    pub fn trusted(root: SigningPublic, keys: DeviceKeys) -> Self {
        let mut all = Self::blind(root, keys.signing.clone());
        all.sealing = Some(keys);
        all
    }

    /// Keys of a cloud peer: it signs and opens nothing.
    #[must_use]
    pub fn blind(root: SigningPublic, signing: SigningKeys) -> Self {
        Self {
            root,
            device: signing.device_id(),
            signing,
            sealing: None,
            secrets: BTreeMap::new(),
            newest: None,
            fixed: None,
            adopted: BTreeMap::new(),
            adopted_tags: BTreeSet::new(),
            event_keys: BTreeMap::new(),
            along: BTreeMap::new(),
        }
    }

    /// This device.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        self.device
    }

    /// Its signing key.
    #[must_use]
    pub fn signing(&self) -> &SigningKeys {
        &self.signing
    }

    /// Whether this device holds keys at all.
    #[must_use]
    pub fn can_read(&self) -> bool {
        self.sealing.is_some()
    }

    /// Learns the epochs of a control state that counts.
    pub fn learn(&mut self, state: &ControlState) {
        self.hold(state);
        self.newest = state.epochs().rev().map(|epoch| epoch.id).find(|id| self.has_epoch(id));
        if planted(Bug::OldKeysUsed) {
            self.newest = state.epochs().map(|epoch| epoch.id).find(|id| self.has_epoch(id));
        }
        for (identity, adopted) in state.adopted() {
            self.learn_adopted(identity, adopted.state.root(), &adopted.keys);
        }
    }

    /// Takes the secrets of a control state, also of one that does not count: what was written
    /// under an epoch of a branch that loses must stay readable, and what wins by the order is
    /// needed to read what the order names. Secrets once known are kept.
    pub(crate) fn hold(&mut self, state: &ControlState) {
        let Some(keys) = &self.sealing else { return };
        let public = keys.sealing_public();
        let secret = *keys.sealing_secret();
        let info = epoch_info(&self.root);
        let epochs: Vec<_> = state.epochs().collect();
        for epoch in &epochs {
            if self.secrets.contains_key(&epoch.id) {
                continue;
            }
            let opened = epoch
                .wraps
                .get(&public)
                .and_then(|wrapped| rhizome_seal::unwrap(&secret, &info, wrapped).ok());
            if let Some((epoch_secret, fixed)) = opened.as_ref().and_then(|bytes| split(bytes)) {
                self.secrets.insert(epoch.id, epoch_secret);
                self.fixed.get_or_insert(fixed);
            }
        }
        for pair in epochs.windows(2).rev() {
            self.learn_previous(pair[0].id, pair[1].id, &pair[1].previous);
        }
    }

    fn learn_previous(&mut self, older: EpochId, newer: EpochId, sealed: &[u8]) {
        if self.along.contains_key(&newer) {
            return;
        }
        let Some(secret) = self.secrets.get(&newer) else { return };
        let key = EventKey::derive(secret, &PREVIOUS_TAG);
        let Ok(bytes) = key.open(&epoch_info(&self.root), sealed) else { return };
        let Some((secret, rest)) = bytes.split_first_chunk::<32>() else { return };
        self.secrets.entry(older).or_insert_with(|| EpochSecret::from_bytes(*secret));
        let mut along = Vec::new();
        for (id, secret) in rest.chunks_exact(ALONG_BYTES).filter_map(read_along) {
            self.secrets.entry(id).or_insert(secret);
            along.push(id);
        }
        self.along.insert(newer, along);
    }

    /// Whether every device that holds the newest epoch's secret finds this one.
    pub(crate) fn finds(&self, state: &ControlState, epoch: &EpochId) -> bool {
        let along = |id| self.along.get(&id).is_some_and(|along| along.contains(epoch));
        state.epochs().any(|one| one.id == *epoch || along(one.id))
    }

    fn learn_adopted(&mut self, identity: IdentityId, root: SigningPublic, sealed: &[u8]) {
        if self.adopted.contains_key(&identity) {
            return;
        }
        let info = epoch_info(&root);
        let opened = self
            .secrets
            .values()
            .find_map(|secret| EventKey::derive(secret, &ADOPTED_TAG).open(&info, sealed).ok());
        let Some(bytes) = opened else { return };
        let keys = match decode::<AdoptedKeys>(&bytes) {
            Ok(keys) => keys,
            Err(error) => {
                tracing::warn!(%identity, %error, "keys of an adopted identity are not understood");
                return;
            }
        };
        for (epoch, secret) in keys.epochs {
            self.secrets
                .entry(epoch)
                .or_insert_with(|| EpochSecret::from_bytes(secret.into_array()));
        }
        self.adopted_tags.extend(keys.tags);
        self.adopted.insert(identity, Secret::from_bytes(keys.fixed.into_array()));
    }

    /// All keys of this identity, sealed for another that adopts it. `target` is the newest
    /// secret of the other; `tags` are the logs' tags that go along.
    #[must_use]
    pub fn seal_for_adoption(
        &self,
        target: &EpochSecret,
        tags: Vec<LogTag>,
        nonce: [u8; 24],
    ) -> Option<Vec<u8>> {
        let fixed = serde_bytes::ByteArray::new(*self.fixed.as_ref()?.as_bytes());
        let bytes = |secret: &EpochSecret| serde_bytes::ByteArray::new(*secret.as_bytes());
        let epochs = self.secrets.iter().map(|(id, secret)| (*id, bytes(secret))).collect();
        let (k, v) = (AdoptedKeysKind, Version);
        let plain = encode(&AdoptedKeys { k, v, fixed, epochs, tags }).ok()?;
        let key = EventKey::derive(target, &ADOPTED_TAG);
        Some(key.seal(&epoch_info(&self.root), nonce, &plain))
    }

    /// Whether the epoch's secret is known.
    #[must_use]
    pub fn has_epoch(&self, epoch: &EpochId) -> bool {
        self.secrets.contains_key(epoch)
    }

    /// The secret of an epoch, however long ago it was, if this device holds it: of this identity,
    /// of a branch that lost, or of an identity that was adopted.
    #[must_use]
    pub fn secret_of(&self, epoch: &EpochId) -> Option<&EpochSecret> {
        self.secrets.get(epoch)
    }

    /// The epoch to write under.
    pub(crate) fn newest_epoch(&self) -> Option<EpochId> {
        self.newest
    }

    /// The secret to seal blocks under.
    #[must_use]
    pub fn newest_secret(&self) -> Option<&EpochSecret> {
        self.secrets.get(&self.newest?)
    }

    /// The secret of the identity that never changes.
    #[must_use]
    pub fn fixed_secret(&self) -> Option<&Secret> {
        self.fixed.as_ref()
    }

    /// Hashes a state under a key that never rotates: equal on every device whatever its epochs.
    #[must_use]
    pub fn state_root(&self, state: &[u8]) -> Option<[u8; 32]> {
        let key = rhizome_seal::state_root_key(self.fixed.as_ref()?);
        Some(rhizome_seal::keyed_hash(&key, "rhizome state v1", state))
    }

    /// The tag of an app's logs.
    #[must_use]
    pub fn log_tag(&self, app: &str) -> LogTag {
        let zero = Secret::from_bytes([0; 32]);
        LogTag(rhizome_seal::log_tag(self.fixed.as_ref().unwrap_or(&zero), app))
    }

    pub(crate) fn is_adopted(&self, tag: LogTag) -> bool {
        self.adopted_tags.contains(&tag)
    }

    /// The key of an app's events in an epoch.
    pub(crate) fn event_key(&mut self, epoch: &EpochId, tag: &LogTag) -> Option<EventKey> {
        if let Some(key) = self.event_keys.get(&(*epoch, *tag)) {
            return Some(key.clone());
        }
        let key = EventKey::derive(self.secrets.get(epoch)?, &tag.0);
        if self.event_keys.len() >= EVENT_KEYS_MAX {
            self.event_keys.clear();
        }
        self.event_keys.insert((*epoch, *tag), key.clone());
        Some(key)
    }

    /// Wraps the newest epoch's secret to `recipients`.
    pub(crate) fn wrap_newest(
        &self,
        recipients: impl IntoIterator<Item = SealingPublic>,
        entropy: &[u8; 32],
    ) -> Option<Vec<Wrap>> {
        wrap_all(&self.root, self.newest_secret()?, self.fixed.as_ref()?, recipients, entropy)
    }

    /// A new epoch's secret, wrapped to `recipients`, with the newest one sealed under it, and
    /// those of epochs that would be found nowhere else.
    pub(crate) fn rotate(
        &self,
        recipients: impl IntoIterator<Item = SealingPublic>,
        entropy: &[u8; 32],
        along: &[EpochId],
    ) -> Option<(Vec<Wrap>, Vec<u8>)> {
        let secret = rhizome_seal::keyed_hash(entropy, "rhizome new epoch v1", &[]);
        let secret = EpochSecret::from_bytes(secret);
        let wraps = wrap_all(&self.root, &secret, self.fixed.as_ref()?, recipients, entropy)?;
        let nonce = nonce_of(entropy, "rhizome previous nonce v1");
        let mut plain = self.newest_secret()?.as_bytes().to_vec();
        for id in along {
            plain.extend_from_slice(&id.n.to_be_bytes());
            plain.extend_from_slice(&id.record.to_bytes());
            plain.extend_from_slice(self.secret_of(id)?.as_bytes());
        }
        let key = EventKey::derive(&secret, &PREVIOUS_TAG);
        let previous = key.seal(&epoch_info(&self.root), nonce, &plain);
        Some((wraps, previous))
    }

    /// Seals where reading a checkpoint starts, for every device with the epoch's secret.
    #[must_use]
    pub fn seal_root(&self, plain: &[u8], nonce: [u8; 24]) -> Option<Vec<u8>> {
        Some(EventKey::derive(self.newest_secret()?, &ROOT_TAG).seal(ROOT_INFO, nonce, plain))
    }

    /// Opens where reading a checkpoint starts, under whichever epoch it was sealed.
    #[must_use]
    pub fn open_root(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let mut newest_first = self.secrets.values().rev();
        newest_first
            .find_map(|secret| EventKey::derive(secret, &ROOT_TAG).open(ROOT_INFO, sealed).ok())
    }

    /// Seals a device's name, so that a host cannot read it.
    #[must_use]
    pub fn seal_name(&self, name: &str, entropy: &[u8; 32]) -> Option<Vec<u8>> {
        Some(seal_name(self.newest_secret()?, name, entropy))
    }

    /// Opens a device's name, under whichever epoch it was sealed.
    #[must_use]
    pub fn open_name(&self, sealed: &[u8]) -> Option<String> {
        self.secrets.values().rev().find_map(|secret| {
            let bytes = EventKey::derive(secret, &NAME_TAG).open(NAME_INFO, sealed).ok()?;
            String::from_utf8(bytes).ok()
        })
    }
}

/// Bytes of an epoch that a later one takes along: number, record, secret.
const ALONG_BYTES: usize = 4 + 36 + 32;

fn read_along(bytes: &[u8]) -> Option<(EpochId, EpochSecret)> {
    let (n, rest) = bytes.split_first_chunk::<4>()?;
    let (record, secret) = rest.split_first_chunk::<36>()?;
    let id = EpochId { n: u32::from_be_bytes(*n), record: Cid::from_bytes(record).ok()? };
    Some((id, EpochSecret::from_bytes(secret.try_into().ok()?)))
}

/// What a sealed name binds: nothing else, because it is sealed before its certificate exists.
const NAME_INFO: &[u8] = b"rhizome device name v1";

/// Seals a device's name under an epoch's secret.
pub(crate) fn seal_name(secret: &EpochSecret, name: &str, entropy: &[u8; 32]) -> Vec<u8> {
    let nonce = nonce_of(entropy, "rhizome name nonce v1");
    EventKey::derive(secret, &NAME_TAG).seal(NAME_INFO, nonce, name.as_bytes())
}

/// Wraps an epoch's secret and the fixed secret to each recipient.
pub(crate) fn wrap_all(
    root: &SigningPublic,
    secret: &EpochSecret,
    fixed: &Secret,
    recipients: impl IntoIterator<Item = SealingPublic>,
    entropy: &[u8; 32],
) -> Option<Vec<Wrap>> {
    let mut plain = zeroed();
    plain[..32].copy_from_slice(secret.as_bytes());
    plain[32..].copy_from_slice(fixed.as_bytes());
    let info = epoch_info(root);
    let wrap = |recipient: SealingPublic| {
        let seed = rhizome_seal::keyed_hash(entropy, "rhizome wrap seed v1", &recipient.0);
        let bytes = rhizome_seal::wrap(&recipient.0, &info, &plain, &seed).ok()?;
        Some(Wrap { recipient, bytes })
    };
    recipients.into_iter().map(wrap).collect()
}

fn zeroed() -> [u8; WRAPPED_BYTES] {
    [0; WRAPPED_BYTES]
}

pub(crate) fn split(bytes: &[u8]) -> Option<(EpochSecret, Secret)> {
    let bytes: &[u8; WRAPPED_BYTES] = bytes.try_into().ok()?;
    let (secret, fixed) = bytes.split_first_chunk::<32>()?;
    Some((EpochSecret::from_bytes(*secret), Secret::from_bytes(fixed.try_into().ok()?)))
}

fn nonce_of(entropy: &[u8; 32], context: &str) -> [u8; 24] {
    let hash = rhizome_seal::keyed_hash(entropy, context, &[]);
    *hash.first_chunk::<24>().expect("a hash has 32 bytes")
}
