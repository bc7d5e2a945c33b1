//! Everything that differs between systems: sockets, owners of files, processes of their own.

use std::io;
use std::path::Path;
use std::process::Command;

/// A connection to the pod.
#[cfg(unix)]
pub(crate) type Connection = tokio::net::UnixStream;

/// Connects to the socket at `path`, if it is in the hands of whoever owns `dir`.
///
/// A socket outside of `dir` lies where others may write, so its folder must have the same owner as
/// `dir` and be closed to everybody else.
#[cfg(unix)]
pub(crate) async fn connect(path: &Path, dir: &Path) -> io::Result<Connection> {
    use std::os::unix::fs::MetadataExt;
    let folder = path.parent().unwrap_or(Path::new("/"));
    if !path.starts_with(dir) {
        let (theirs, ours) = (std::fs::symlink_metadata(folder)?, std::fs::metadata(dir)?);
        if !theirs.is_dir() || theirs.uid() != ours.uid() || theirs.mode() & 0o077 != 0 {
            let message = format!("{} belongs to somebody else", folder.display());
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
        }
    }
    Connection::connect(path).await
}

/// Connections need Unix sockets, which this system does not offer here.
#[cfg(not(unix))]
pub(crate) type Connection = tokio::io::DuplexStream;

/// Says that this system has no Unix sockets.
#[cfg(not(unix))]
pub(crate) async fn connect(_path: &Path, _dir: &Path) -> io::Result<Connection> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "no Unix sockets on this system"))
}

/// Creates a folder and those above it, for its owner alone.
pub(crate) fn create_private_dir(path: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        builder.mode(0o700);
    }
    builder.create(path)
}

/// Makes the process a group of its own, so that Ctrl-C for us does not reach it.
pub(crate) fn detach(command: &mut Command) {
    #[cfg(unix)]
    {
        use std::os::unix::process::CommandExt;
        command.process_group(0);
    }
    #[cfg(not(unix))]
    {
        use std::os::windows::process::CommandExt;
        /// From the system's process creation flags: no console, no signals of this one.
        const DETACHED_PROCESS: u32 = 0x0000_0008;
        command.creation_flags(DETACHED_PROCESS);
    }
}
