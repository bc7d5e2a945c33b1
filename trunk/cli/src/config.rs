//! Settings of the pod: flags win over the environment, that over files, those over defaults.
//!
//! Files are read in this order, and the first that names a setting decides it: `config.toml` in
//! the pod's folder, the person's own (`~/.config/rhizome/config.toml` on Linux), and the system's
//! (`/etc/rhizome/config.toml` on Unix). The folder one happens to stand in is not asked: it must
//! not decide where a pod listens. Flags are `commands/run.rs`'s.

use directories::ProjectDirs;
use rhizome_api::{ApiError, Problem};
use serde::Deserialize;
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// What the file is called.
const FILE: &str = "config.toml";

/// A file of settings.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ConfigFile {
    pod: PodConfig,
}

/// How the pod behaves; what is not set is left to the next layer.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct PodConfig {
    /// Where other devices reach this pod. On loopback (the default) only this machine does; on
    /// `0.0.0.0` everybody who can send it a datagram tries.
    pub(crate) listen: Option<SocketAddr>,
    /// Addresses to tell other devices. Without any they are told `listen`, which helps nobody
    /// behind a router.
    pub(crate) advertise: Option<Vec<String>>,
    /// Whether to keep encrypted copies for other people. Their bytes count against this disk.
    pub(crate) host: Option<bool>,
    /// Whether to find devices on the local network and be found there; on by default. Whoever
    /// listens there learns that a pod is here, and no more.
    pub(crate) lan: Option<bool>,
    /// Where to show figures for Prometheus; nowhere by default. Whoever can connect there learns
    /// how busy this pod is.
    pub(crate) metrics: Option<SocketAddr>,
}

impl PodConfig {
    /// What is set here, and what `next` sets where nothing is.
    pub(crate) fn or(self, next: Self) -> Self {
        Self {
            listen: self.listen.or(next.listen),
            advertise: self.advertise.or(next.advertise),
            host: self.host.or(next.host),
            lan: self.lan.or(next.lan),
            metrics: self.metrics.or(next.metrics),
        }
    }

    /// What the environment and the files set, for the pod of `dir`.
    pub(crate) fn of_surroundings(dir: &Path) -> Result<Self, ApiError> {
        let mut config = Self::of_environment(&|name| std::env::var_os(name))?;
        for path in paths(dir) {
            config = config.or(Self::of_file(&path)?);
        }
        Ok(config)
    }

    /// What variables set: `RHIZOME_LISTEN`, `RHIZOME_ADVERTISE` (several with commas between),
    /// `RHIZOME_HOST`, `RHIZOME_LAN`, `RHIZOME_METRICS`. An empty one counts as not set.
    fn of_environment(variable: &dyn Fn(&str) -> Option<OsString>) -> Result<Self, ApiError> {
        let text = |name: &str| -> Result<Option<String>, ApiError> {
            let value = variable(name).filter(|value| !value.is_empty());
            let text = value.map(OsString::into_string).transpose();
            text.map_err(|_| ApiError::new(Problem::USAGE, format!("{name} is not text")))
        };
        let advertise = text("RHIZOME_ADVERTISE")?;
        let advertise = advertise.map(|all| all.split(',').map(|one| one.trim().into()).collect());
        Ok(Self {
            listen: parsed(text("RHIZOME_LISTEN")?, "RHIZOME_LISTEN", "an address")?,
            advertise,
            host: parsed(text("RHIZOME_HOST")?, "RHIZOME_HOST", "true or false")?,
            lan: parsed(text("RHIZOME_LAN")?, "RHIZOME_LAN", "true or false")?,
            metrics: parsed(text("RHIZOME_METRICS")?, "RHIZOME_METRICS", "an address")?,
        })
    }

    /// What a file sets; one that is not there sets nothing.
    fn of_file(path: &Path) -> Result<Self, ApiError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => {
                let message = format!("settings in {} cannot be read", path.display());
                return Err(ApiError::new(Problem::LOCAL_FILE, message).caused_by(&error));
            }
        };
        let file: ConfigFile = toml::from_str(&text).map_err(|error| {
            let message = format!("settings in {} are not understood", path.display());
            ApiError::new(Problem::USAGE, message).caused_by(&error)
        })?;
        Ok(file.pod)
    }
}

/// The files that may hold settings, the deciding one first.
fn paths(dir: &Path) -> Vec<PathBuf> {
    let own = ProjectDirs::from("", "", "rhizome").map(|dirs| dirs.config_dir().join(FILE));
    let system = cfg!(unix).then(|| PathBuf::from("/etc/rhizome").join(FILE));
    [Some(dir.join(FILE)), own, system].into_iter().flatten().collect()
}

fn parsed<T: std::str::FromStr>(
    text: Option<String>,
    name: &str,
    form: &str,
) -> Result<Option<T>, ApiError> {
    let Some(text) = text else { return Ok(None) };
    match text.parse() {
        Ok(value) => Ok(Some(value)),
        Err(_) => {
            let message = format!("{name} is `{text}`, which is not {form}");
            Err(ApiError::new(Problem::USAGE, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &str) -> Option<OsString> {
        match name {
            "RHIZOME_LISTEN" => Some("127.0.0.1:1".into()),
            "RHIZOME_ADVERTISE" => Some("a:1, b:2".into()),
            "RHIZOME_LAN" => Some("false".into()),
            "RHIZOME_HOST" => Some("".into()),
            _ => None,
        }
    }

    #[test]
    fn the_first_layer_that_sets_something_decides_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        let text = "[pod]\nlisten = \"127.0.0.1:2\"\nhost = true\nmetrics = \"127.0.0.1:9464\"\n";
        fs::write(&path, text).unwrap();
        let flags = PodConfig { host: Some(false), ..PodConfig::default() };
        let config = flags.or(PodConfig::of_environment(&environment).unwrap());
        let config = config.or(PodConfig::of_file(&path).unwrap());
        assert_eq!(config.host, Some(false), "a flag");
        assert_eq!(config.listen, Some("127.0.0.1:1".parse().unwrap()), "a variable");
        assert_eq!(config.advertise, Some(vec!["a:1".to_owned(), "b:2".to_owned()]));
        assert_eq!(config.lan, Some(false));
        assert_eq!(config.metrics, Some("127.0.0.1:9464".parse().unwrap()), "a file");
    }

    #[test]
    fn a_file_that_is_not_there_sets_nothing_and_the_pods_own_is_asked_first() {
        let dir = tempfile::tempdir().unwrap();
        let paths = paths(dir.path());
        assert_eq!(paths[0], dir.path().join(FILE));
        assert_eq!(PodConfig::of_file(&paths[0]).unwrap(), PodConfig::default());
    }

    #[test]
    fn an_unknown_setting_and_a_wrong_value_are_told_with_their_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        fs::write(&path, "[pod]\nlisen = \"127.0.0.1:2\"\n").unwrap();
        let error = PodConfig::of_file(&path).unwrap_err();
        assert_eq!(error.exit, 2);
        assert!(error.message.contains(&path.display().to_string()), "{}", error.message);
        assert!(error.causes.iter().any(|cause| cause.contains("lisen")), "{:?}", error.causes);
        let wrong = |name: &str| (name == "RHIZOME_METRICS").then(|| "9464".into());
        let error = PodConfig::of_environment(&wrong).unwrap_err();
        assert_eq!(error.message, "RHIZOME_METRICS is `9464`, which is not an address");
    }
}
