//! Where the pod of a folder listens. Pod and client compute it alike; neither creates it here.

use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// The longest socket path that every system takes: macOS stops at 104 bytes with the closing zero.
pub const SOCKET_PATH_BYTES_MAX: usize = 100;

/// Where short paths live. Fixed, not taken from the environment, so that a pod and a client that
/// were started differently still meet.
const SHORT_ROOT: &str = "/tmp";

/// The path of the socket of the pod whose folder is `dir`, which should be absolute.
///
/// It is `<dir>/run/rhizome.sock`. Where that is too long for a socket, it is `rhizome.sock` in a
/// folder of its own below the system's temporary folder, named by a hash of `dir`. Others may
/// write there: the pod creates that folder for its owner alone, and both sides check who owns it.
#[must_use]
pub fn socket_path(dir: &Path) -> PathBuf {
    let near = dir.join("run").join("rhizome.sock");
    if near.as_os_str().len() <= SOCKET_PATH_BYTES_MAX {
        return near;
    }
    let hash = Sha256::digest(dir.as_os_str().as_encoded_bytes());
    let name =
        hash[..8].iter().fold("rhizome-".to_owned(), |name, byte| format!("{name}{byte:02x}"));
    Path::new(SHORT_ROOT).join(name).join("rhizome.sock")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_folder_holds_its_own_socket() {
        assert_eq!(
            socket_path(Path::new("/home/ana/.local/share/rhizome")),
            Path::new("/home/ana/.local/share/rhizome/run/rhizome.sock")
        );
    }

    #[test]
    fn a_long_folder_gets_a_short_path_that_depends_on_it_alone() {
        let long = PathBuf::from(format!("/home/{}", "a".repeat(90)));
        let other = PathBuf::from(format!("/home/{}", "b".repeat(90)));
        assert_eq!(socket_path(&long), Path::new("/tmp/rhizome-49a5674a695a540e/rhizome.sock"));
        assert_ne!(socket_path(&long), socket_path(&other));
        assert!(socket_path(&long).as_os_str().len() <= SOCKET_PATH_BYTES_MAX);
    }

    #[test]
    fn the_bound_itself_still_fits() {
        let tail = "/run/rhizome.sock".len();
        let dir = PathBuf::from(format!("/{}", "a".repeat(SOCKET_PATH_BYTES_MAX - tail - 1)));
        assert_eq!(socket_path(&dir), dir.join("run/rhizome.sock"));
        let longer = PathBuf::from(format!("{}a", dir.display()));
        assert!(socket_path(&longer).starts_with("/tmp"));
    }
}
