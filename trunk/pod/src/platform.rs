//! Everything of the local API that differs between systems: where it listens, who may connect,
//! what the computer is called, whom files belong to.
//!
//! On Unix it is a socket in a folder of its owner alone. Elsewhere it is a port on loopback and a
//! secret in a file of its owner alone. What is said there is `serve`'s.

use rhizome_api::socket_path;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// Longest name of a computer that is taken for a device's name.
const NAME_CHARACTERS_MAX: usize = 64;

/// What accepts connections of the local API.
pub type Listener = system::Listener;

/// Where the local API listens.
pub struct Door {
    /// What accepts connections.
    pub listener: Listener,
    /// What callers must show, where the system does not check who they are.
    pub token: Option<String>,
    /// Keeps the folder for this process.
    pub claim: Claim,
}

/// This process's claim on the folder; dropping it removes what others would knock at.
pub struct Claim {
    trace: PathBuf,
    _lock: File,
}

impl Drop for Claim {
    fn drop(&mut self) {
        // If it stays, the next pod removes it.
        let _ = std::fs::remove_file(&self.trace);
    }
}

/// Takes the pod's folder for this process and listens. What an earlier pod left is removed.
pub async fn open_door(dir: &Path) -> io::Result<Door> {
    let run = dir.join("run");
    rhizome_store::create_private_folder(&run)?;
    let lock = lock(&run.join("lock"))?;
    let path = socket_path(dir);
    let (listener, token, trace) = system::listen(dir, &path).await?;
    Ok(Door { listener, token, claim: Claim { trace, _lock: lock } })
}

/// Holds a file that only one pod of a folder can hold; the system lets go of it when the process
/// ends, however it ends.
fn lock(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(io::Error::new(io::ErrorKind::AddrInUse, "another pod serves this folder"))
        }
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// What the computer is called, for a device that got no name.
pub fn computer_name() -> String {
    let name = system::host_name().unwrap_or_default();
    let name: String = name.trim().chars().take(NAME_CHARACTERS_MAX).collect();
    if name.is_empty() { "this computer".to_owned() } else { name }
}

/// Whether the computer runs on a battery.
pub fn has_battery() -> bool {
    let Ok(supplies) = std::fs::read_dir("/sys/class/power_supply") else { return false };
    supplies.flatten().any(|one| one.file_name().to_string_lossy().starts_with("BAT"))
}

/// Whether a file may be read by others than its owner; `None` where the system does not say.
pub fn is_open_to_others(path: &Path) -> io::Result<Option<bool>> {
    system::is_open_to_others(path)
}

#[cfg(unix)]
mod system {
    use std::fs::Permissions;
    use std::io;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::path::{Path, PathBuf};
    use tokio::net::UnixListener;

    pub(super) type Listener = UnixListener;

    pub(super) async fn listen(
        dir: &Path,
        path: &Path,
    ) -> io::Result<(Listener, Option<String>, PathBuf)> {
        let folder = path.parent().unwrap_or(Path::new("/"));
        rhizome_store::create_private_folder(folder)?;
        if path.starts_with(dir) {
            std::fs::set_permissions(folder, Permissions::from_mode(0o700))?;
        }
        // A folder outside of `dir` lies where others may write.
        let (theirs, ours) = (std::fs::symlink_metadata(folder)?, std::fs::metadata(dir)?);
        if !theirs.is_dir() || theirs.uid() != ours.uid() || theirs.mode() & 0o077 != 0 {
            let message = format!("{} belongs to somebody else", folder.display());
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
        }
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
        Ok((listener, None, path.to_owned()))
    }

    pub(super) fn host_name() -> Option<String> {
        let read = |path| std::fs::read_to_string(path).ok();
        read("/proc/sys/kernel/hostname").or_else(|| read("/etc/hostname"))
    }

    pub(super) fn is_open_to_others(path: &Path) -> io::Result<Option<bool>> {
        Ok(Some(std::fs::metadata(path)?.mode() & 0o077 != 0))
    }
}

#[cfg(not(unix))]
mod system {
    use std::io;
    use std::net::Ipv4Addr;
    use std::path::{Path, PathBuf};
    use tokio::net::TcpListener;

    pub(super) type Listener = TcpListener;

    /// The file beside where the socket would be: port and secret, a line each.
    pub(super) async fn listen(
        _dir: &Path,
        path: &Path,
    ) -> io::Result<(Listener, Option<String>, PathBuf)> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let secret = crate::clock::random::<32>();
        let token = secret.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
        let path = path.with_extension("port");
        let text = format!("{}\n{token}\n", listener.local_addr()?.port());
        rhizome_store::write_private(&path, text.as_bytes())?;
        Ok((listener, Some(token), path))
    }

    pub(super) fn host_name() -> Option<String> {
        std::env::var("COMPUTERNAME").ok()
    }

    pub(super) fn is_open_to_others(_path: &Path) -> io::Result<Option<bool>> {
        Ok(None)
    }
}
