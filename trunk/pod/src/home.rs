//! The folder of a pod: which identities are in it, and their keys.
//!
//! ```text
//! DIR/current                    the identity that commands speak about
//! DIR/transport.key              with which this pod answers strangers (linking, hosting)
//! DIR/identities/NAME/genesis    the first record, public
//! DIR/identities/NAME/keys       secrets of this device, for its owner only, never backed up
//! DIR/identities/NAME/meta.json  what people call it, addresses of its devices
//! DIR/identities/NAME/store/     segments and index
//! DIR/run/                       socket and log of the running pod
//! ```

use rhizome_block::{CborError, Version, decode, encode, kind};
use rhizome_identity::{DeviceId, DeviceKeys, Genesis, IdentityId, RecoveryKit, SigningKeys};
use rhizome_store::{create_private_folder, write_private};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use zeroize::Zeroizing;

/// Characters of an identity's id that name its folder: enough that two never meet.
const FOLDER_NAME_CHARS: usize = 20;

/// Held while a `meta.json` is read and written back: several links tell of addresses at once, and
/// none may undo what another told. One for all identities, because it takes a millisecond.
static CHANGING: Mutex<()> = Mutex::new(());

kind! {
    /// Kind of the key file.
    KeysKind = "keys"
}

/// Why the folder could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HomeError {
    /// A file could not be read or written.
    #[error("cannot use {path}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is not in its format.
    #[error("{path} is damaged")]
    Format {
        /// Which.
        path: PathBuf,
        /// What the decoder said.
        source: CborError,
    },
    /// A file was written by a newer program.
    #[error("{path} has version {version}, which this program does not know")]
    Version {
        /// Which.
        path: PathBuf,
        /// Its version.
        version: u64,
    },
    /// The genesis is not valid.
    #[error("genesis in {path} is not valid")]
    Genesis {
        /// Which.
        path: PathBuf,
        /// Why.
        source: rhizome_identity::GenesisError,
    },
    /// The seed of the recovery kit is not that of the identity.
    #[error("{path} is damaged: its recovery kit is not that of the identity")]
    Kit {
        /// Which.
        path: PathBuf,
    },
    /// A text file is not in its format.
    #[error("{path} is damaged")]
    Meta {
        /// Which.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
}

/// The folder of a pod.
#[derive(Clone, Debug)]
pub struct Home {
    dir: PathBuf,
}

/// The folder of one identity.
#[derive(Clone, Debug)]
pub struct IdentityHome {
    dir: PathBuf,
}

/// Secrets of one device in one identity.
#[derive(Clone)]
pub struct KeyFile {
    /// Keys of the device. A cloud peer uses the signing half only.
    pub device: DeviceKeys,
    /// Seed of the recovery kit, until the person has confirmed the words.
    pub kit: Option<[u8; 32]>,
}

#[derive(Serialize, Deserialize)]
struct KeyFileForm {
    k: KeysKind,
    v: Version<1>,
    device: ByteArray<{ DeviceKeys::BYTES }>,
    kit: Option<ByteArray<32>>,
}

impl KeyFile {
    fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let form = KeyFileForm {
            k: KeysKind,
            v: Version,
            device: ByteArray::new(*self.device.to_bytes()),
            kit: self.kit.map(ByteArray::new),
        };
        Zeroizing::new(encode(&form).expect("keys have a DAG-CBOR form"))
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, CborError> {
        let form: KeyFileForm = decode(bytes)?;
        let kit = form.kit.map(ByteArray::into_array);
        Ok(Self { device: DeviceKeys::from_bytes(&form.device), kit })
    }
}

/// What people call an identity, and how its devices are reached.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct IdentityMeta {
    /// Its name.
    pub name: String,
    /// Key id of its recovery kit.
    pub kit_key_id: String,
    /// Whether this is somebody else's identity, hosted here.
    pub hosted: bool,
    /// The identity it was adopted by: its own data lives on there.
    pub adopted_by: Option<String>,
    /// When it was last known to be confirmed.
    pub kit_confirmed_ms: Option<u64>,
    /// Addresses of its devices, by device id.
    pub addresses: BTreeMap<String, Vec<String>>,
    /// When each device was last heard, by device id.
    pub heard_ms: BTreeMap<String, u64>,
    /// A restore that is not finished: the manifest to read from.
    pub restoring: Option<String>,
}

/// Folder of the index of all hosted identities.
const HOSTING_INDEX: &str = "hosting-index";

/// Whether a pod of this folder has hosted others: one without `--host` would not serve them.
#[must_use]
pub fn is_host(dir: &Path) -> bool {
    dir.join(HOSTING_INDEX).is_dir()
}

impl Home {
    /// Uses `dir`, which is made if it is missing.
    pub fn open(dir: &Path) -> Result<Self, HomeError> {
        let home = Self { dir: dir.to_owned() };
        for folder in [home.dir.clone(), home.dir.join("identities"), home.run_dir()] {
            create_private_folder(&folder)
                .map_err(|source| HomeError::File { path: folder, source })?;
        }
        Ok(home)
    }

    /// The folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the running pod keeps its socket and log.
    #[must_use]
    pub fn run_dir(&self) -> PathBuf {
        self.dir.join("run")
    }

    /// Where the index of all hosted identities lies.
    #[must_use]
    pub fn hosting_index(&self) -> PathBuf {
        self.dir.join(HOSTING_INDEX)
    }

    /// Tells later commands that this folder is a host's ([`is_host`]), though it hosts nobody yet:
    /// an index would cost a host without identities wake-ups.
    pub fn mark_as_host(&self) -> Result<(), HomeError> {
        let path = self.hosting_index();
        create_private_folder(&path).map_err(|source| HomeError::File { path, source })
    }

    /// The identities in it.
    pub fn identities(&self) -> Result<Vec<IdentityHome>, HomeError> {
        let path = self.dir.join("identities");
        let read = fs::read_dir(&path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let entries = read.map_err(|source| HomeError::File { path, source })?;
        let mut homes: Vec<IdentityHome> = entries
            .into_iter()
            .map(|entry| IdentityHome { dir: entry.path() })
            .filter(|home| home.dir.join("genesis").is_file() && home.dir.join("keys").is_file())
            .collect();
        homes.sort_by(|a, b| a.dir.cmp(&b.dir));
        Ok(homes)
    }

    /// The folder of an identity, there or not.
    #[must_use]
    pub fn identity(&self, identity: &IdentityId) -> IdentityHome {
        let text = identity.to_string();
        let name = &text[text.len() - FOLDER_NAME_CHARS..];
        IdentityHome { dir: self.dir.join("identities").join(name) }
    }

    /// Makes the folder of a new identity. The genesis is written last, so that a crash leaves
    /// nothing that looks like an identity.
    pub fn create(
        &self,
        genesis: &Genesis,
        keys: &KeyFile,
        meta: &IdentityMeta,
    ) -> Result<IdentityHome, HomeError> {
        let home = self.identity(&genesis.identity_id());
        create_private_folder(&home.dir)
            .map_err(|source| HomeError::File { path: home.dir.clone(), source })?;
        home.write_keys(keys)?;
        home.write_meta(meta)?;
        home.write("genesis", &genesis.to_bytes())?;
        Ok(home)
    }

    /// The identity that commands speak about.
    #[must_use]
    pub fn current(&self) -> Option<String> {
        let text = fs::read_to_string(self.dir.join("current")).ok()?;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    /// Chooses it.
    pub fn set_current(&self, identity: &IdentityId) -> Result<(), HomeError> {
        write(&self.dir.join("current"), identity.to_string().as_bytes())
    }

    /// The key with which this pod answers strangers; made on first use.
    pub fn transport_key(&self, fresh: [u8; 32]) -> Result<SigningKeys, HomeError> {
        let path = self.dir.join("transport.key");
        let seed = match fs::read(&path) {
            Ok(bytes) => <[u8; 32]>::try_from(bytes).map_err(|_| HomeError::File {
                path,
                source: io::Error::from(io::ErrorKind::InvalidData),
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                write(&path, &fresh)?;
                fresh
            }
            Err(source) => return Err(HomeError::File { path, source }),
        };
        Ok(SigningKeys::from_secret(seed))
    }
}

impl IdentityHome {
    /// The folder of the store.
    #[must_use]
    pub fn store_dir(&self) -> PathBuf {
        self.dir.join("store")
    }

    /// The folder itself.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Reads and verifies the genesis.
    pub fn genesis(&self) -> Result<Genesis, HomeError> {
        let (path, bytes) = self.read("genesis")?;
        let genesis = Genesis::from_bytes(&bytes)
            .map_err(|source| HomeError::Genesis { path: path.clone(), source })?;
        genesis.verify().map_err(|source| HomeError::Genesis { path, source })?;
        Ok(genesis)
    }

    /// Reads the keys.
    pub fn keys(&self) -> Result<KeyFile, HomeError> {
        let (path, bytes) = self.read("keys")?;
        KeyFile::from_bytes(&bytes).map_err(|source| match source {
            CborError::Version { version } => HomeError::Version { path, version },
            source => HomeError::Format { path, source },
        })
    }

    /// Writes the keys.
    pub fn write_keys(&self, keys: &KeyFile) -> Result<(), HomeError> {
        self.write("keys", &keys.to_bytes())
    }

    /// The kit, while its seed is here. Every seed has words: one that changed on the disk would
    /// show some that open nothing.
    pub fn kit(&self) -> Result<Option<RecoveryKit>, HomeError> {
        let Some(kit) = self.keys()?.kit.map(RecoveryKit::from_entropy) else { return Ok(None) };
        if kit.root().public() != self.genesis()?.root() {
            return Err(HomeError::Kit { path: self.dir.join("keys") });
        }
        Ok(Some(kit))
    }

    /// Reads what people call it.
    pub fn meta(&self) -> Result<IdentityMeta, HomeError> {
        let (path, bytes) = self.read("meta.json")?;
        serde_json::from_slice(&bytes).map_err(|source| HomeError::Meta { path, source })
    }

    /// Writes it.
    pub fn write_meta(&self, meta: &IdentityMeta) -> Result<(), HomeError> {
        let bytes = serde_json::to_vec_pretty(meta).expect("text and numbers have a JSON form");
        self.write("meta.json", &bytes)
    }

    /// Changes what people call it, one change after the other.
    pub fn change_meta(&self, change: impl FnOnce(&mut IdentityMeta)) -> Result<(), HomeError> {
        // What is guarded is a file, which is replaced whole: a panic cannot have torn it.
        let _changing = CHANGING.lock().unwrap_or_else(PoisonError::into_inner);
        let mut meta = self.meta()?;
        let before = meta.clone();
        change(&mut meta);
        if meta == before { Ok(()) } else { self.write_meta(&meta) }
    }

    /// Reads a file of the linking machine, if there is one.
    #[must_use]
    pub fn note(&self, name: &str) -> Option<Vec<u8>> {
        fs::read(self.dir.join(name)).ok()
    }

    /// Writes a file of the linking machine.
    pub fn write_note(&self, name: &str, bytes: &[u8]) -> Result<(), HomeError> {
        self.write(name, bytes)
    }

    /// Removes it.
    pub fn remove_note(&self, name: &str) {
        if let Err(error) = fs::remove_file(self.dir.join(name))
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(name, %error, "cannot remove a note");
        }
    }

    fn read(&self, name: &str) -> Result<(PathBuf, Vec<u8>), HomeError> {
        let path = self.dir.join(name);
        match fs::read(&path) {
            Ok(bytes) => Ok((path, bytes)),
            Err(source) => Err(HomeError::File { path, source }),
        }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), HomeError> {
        write(&self.dir.join(name), bytes)
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), HomeError> {
    write_private(path, bytes).map_err(|source| HomeError::File { path: path.to_owned(), source })
}

/// The name under which an identity's devices dial each other.
#[must_use]
pub fn server_name(identity: &IdentityId) -> String {
    format!("{identity}.rhizome")
}

/// A device's addresses as text, by the text of its id.
#[must_use]
pub fn addresses_of(meta: &IdentityMeta, device: &DeviceId) -> Vec<String> {
    meta.addresses.get(&device.to_string()).cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{stored, version_2};

    #[test]
    fn of_changes_at_the_same_time_none_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let home = IdentityHome { dir: dir.path().to_owned() };
        home.write_meta(&IdentityMeta::default()).unwrap();
        std::thread::scope(|scope| {
            for writer in 0..8 {
                let home = &home;
                scope.spawn(move || {
                    for turn in 0..8 {
                        let change = |meta: &mut IdentityMeta| {
                            meta.heard_ms.insert(format!("{writer}-{turn}"), 1);
                        };
                        home.change_meta(change).unwrap();
                    }
                });
            }
        });
        assert_eq!(home.meta().unwrap().heard_ms.len(), 64);
    }

    #[test]
    fn words_are_shown_only_of_the_kit_that_founded_the_identity() {
        let (kit, keys) = (RecoveryKit::from_entropy([7; 32]), DeviceKeys::from_bytes(&[9; 64]));
        let founding = rhizome_replica::Founding {
            kit: &kit,
            keys: &keys,
            kind: rhizome_identity::DeviceKind::Laptop,
            name: "laptop",
            entropy: [1; 32],
            now_ms: 1,
        };
        let genesis = rhizome_replica::found(&founding).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        let mut file = KeyFile { device: keys.clone(), kit: Some([7; 32]) };
        let home = home.create(&genesis, &file, &IdentityMeta::default()).unwrap();
        assert_eq!(home.kit().unwrap().unwrap().words(), kit.words());
        for byte in 0..32 {
            file.kit.as_mut().unwrap()[byte] ^= 0x20;
            home.write_keys(&file).unwrap();
            let Err(error) = home.kit() else { panic!("words of another kit, byte {byte}") };
            assert!(error.to_string().contains("keys is damaged"), "{error}");
            file.kit.as_mut().unwrap()[byte] ^= 0x20;
        }
    }

    #[test]
    fn keys_of_version_1_read_back_and_other_versions_are_refused_by_their_number() {
        let device = DeviceKeys::from_bytes(&std::array::from_fn(|at| at as u8));
        let file = KeyFile { device, kit: Some([9; 32]) };
        let bytes = stored("keys-v1.cbor", &file.to_bytes());
        assert_eq!(rhizome_block::peek_kind(&bytes), Some("keys"));
        let read = KeyFile::from_bytes(&bytes).unwrap();
        assert_eq!((read.device.to_bytes(), read.kit), (file.device.to_bytes(), file.kit));
        let dir = tempfile::tempdir().unwrap();
        let home = IdentityHome { dir: dir.path().to_owned() };
        home.write("keys", &version_2(&bytes)).unwrap();
        let Err(newer) = home.keys() else { panic!("keys of version 2 were read") };
        assert!(matches!(newer, HomeError::Version { version: 2, .. }), "{newer}");
        assert_eq!(rhizome_api::ApiError::from(newer).exit, 11);
    }
}
