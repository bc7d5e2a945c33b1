//! Finds the pod of a folder, or starts one.

use crate::client::Client;
use crate::config::PodConfig;
use crate::platform;
use rhizome_api::pod::PingAnswer;
use rhizome_api::{ApiError, Empty, Exit, PROBLEMS, PodPing, Problem};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::time::Instant;

/// How long a pod may take to answer after it was started. Opening is quick whatever it holds.
const START_LIMIT: Duration = Duration::from_secs(5);

/// How often a pod that is starting is asked.
const START_POLL: Duration = Duration::from_millis(20);

/// How long to go on after our own child ended: another command may have started one, too.
const RACE_LIMIT: Duration = Duration::from_secs(1);

/// How large the log of pods started on demand may become before it begins anew.
const LOG_BYTES_MAX: u64 = 4 << 20;

/// How much of the log's end is searched for the reason of a failed start.
const LOG_TAIL_BYTES: u64 = 8 << 10;

/// A client of the pod of `dir`, which is started if `start` says so.
pub(crate) async fn reach(dir: &Path, start: bool) -> Result<(Client, PingAnswer), ApiError> {
    let client = Client::new(dir);
    match client.call::<PodPing>(&Empty {}).await {
        Ok((ping, _)) => Ok((client, ping)),
        Err(error) if error.id != Problem::POD_UNREACHABLE.id || !start => Err(error),
        Err(_) if rhizome_pod::is_host(dir) && !hosts(dir)? => Err(host_is_off(dir)),
        Err(_) => {
            let mut start = launch(dir, &[])?;
            let ping = wait_for(&client, &mut start, dir).await?;
            Ok((client, ping))
        }
    }
}

/// Whether a pod started here would host, by its settings alone.
fn hosts(dir: &Path) -> Result<bool, ApiError> {
    Ok(PodConfig::of_surroundings(dir)?.host == Some(true))
}

/// A pod without the flags of a host would answer here, and serve nobody: none is started.
fn host_is_off(dir: &Path) -> ApiError {
    let message = format!("{} hosts encrypted copies, and its pod is not running", dir.display());
    ApiError::new(Problem::POD_UNREACHABLE, message).hint("rhizome run --host --listen ADDRESS")
}

/// Where a pod that was started on demand writes what it has to say.
pub(crate) fn log_path(dir: &Path) -> PathBuf {
    dir.join("run").join("pod.log")
}

/// A pod that is starting.
#[derive(Debug)]
pub(crate) struct Start {
    /// Its process.
    pub(crate) child: Child,
    /// How long the log was before: what stands there was said by others.
    log_from: u64,
}

/// Starts a process of the pod of `dir` with further flags of `run`; whether it comes up, only
/// [`wait_for`] says.
pub(crate) fn launch(dir: &Path, flags: &[String]) -> Result<Start, ApiError> {
    let failed = |source: std::io::Error| {
        ApiError::new(Problem::POD_UNREACHABLE, "pod cannot be started")
            .caused_by(&source)
            .hint("rhizome run")
    };
    platform::create_private_dir(&dir.join("run")).map_err(failed)?;
    let log = open_log(&log_path(dir)).map_err(failed)?;
    let log_from = log.metadata().map_err(failed)?.len();
    let mut command = Command::new(std::env::current_exe().map_err(failed)?);
    command
        .arg("run")
        .arg("--dir")
        .arg(dir)
        .args(flags)
        .stdin(Stdio::null())
        .stdout(log.try_clone().map_err(failed)?)
        .stderr(log);
    platform::detach(&mut command);
    Ok(Start { child: command.spawn().map_err(failed)?, log_from })
}

fn open_log(path: &Path) -> std::io::Result<File> {
    let log = OpenOptions::new().create(true).append(true).open(path)?;
    if log.metadata()?.len() > LOG_BYTES_MAX {
        log.set_len(0)?;
    }
    Ok(log)
}

/// Waits until a pod that was started answers, or says why it does not.
pub(crate) async fn wait_for(
    client: &Client,
    start: &mut Start,
    dir: &Path,
) -> Result<PingAnswer, ApiError> {
    let mut deadline = Instant::now() + START_LIMIT;
    let mut ended = None;
    loop {
        if let Ok((ping, _)) = client.call::<PodPing>(&Empty {}).await {
            return Ok(ping);
        }
        if ended.is_none() {
            ended = start.child.try_wait().ok().flatten();
            if ended.is_some() {
                deadline = deadline.min(Instant::now() + RACE_LIMIT);
            }
        }
        if Instant::now() >= deadline {
            let code = ended.and_then(|status| status.code());
            return Err(start_failure(&tail(&log_path(dir), start.log_from), code, &log_path(dir)));
        }
        tokio::time::sleep(START_POLL).await;
    }
}

/// Why the pod did not come up: what it said last itself, or that it said nothing. A reason with an
/// exit of its own keeps it; any other means that the pod is not reachable.
fn start_failure(said: &str, code: Option<i32>, log: &Path) -> ApiError {
    let own = said.lines().rev().find_map(own_error);
    let error = match (own, code) {
        (Some((problem, message)), Some(_)) => {
            let precise = !matches!(problem.exit, Exit::Ok | Exit::Error);
            let problem = if precise { problem } else { Problem::POD_UNREACHABLE };
            ApiError::new(problem, format!("pod cannot be started: {message}"))
        }
        (None, Some(code)) => {
            let message = format!("pod ended with {code} while starting");
            ApiError::new(Problem::POD_UNREACHABLE, message)
        }
        (_, None) => {
            let message = format!("pod did not answer within {} s", START_LIMIT.as_secs());
            ApiError::new(Problem::POD_UNREACHABLE, message)
        }
    };
    error.hint(format!("cat {}", log.display()))
}

/// Reads back the first line of an error that this binary printed.
fn own_error(line: &str) -> Option<(Problem, String)> {
    let rest = line.trim().strip_prefix("error[")?;
    let (id, message) = rest.split_once("] ")?;
    let problem = PROBLEMS.iter().find(|problem| problem.id == id)?;
    Some((*problem, message.to_owned()))
}

/// The end of the log, but nothing before `from`.
fn tail(path: &Path, from: u64) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let from = file.metadata()?.len().saturating_sub(LOG_TAIL_BYTES).max(from);
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.take(LOG_TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn check(said: &str, code: Option<i32>, expected: &expect_test::Expect) {
        let error = start_failure(said, code, Path::new("/pod/run/pod.log"));
        expected.assert_eq(&format!("{} {} {}", error.id, error.exit, error.message));
    }

    #[test]
    fn a_pod_that_says_why_it_ends_is_quoted() {
        check(
            "old line\nerror[RZ-0304] store is of version 9\ntry: update\n",
            Some(11),
            &expect!["RZ-0304 11 pod cannot be started: store is of version 9"],
        );
    }

    #[test]
    fn a_pod_that_breaks_while_starting_is_not_reachable() {
        check(
            "error[RZ-0001] cannot listen\n",
            Some(1),
            &expect!["RZ-0003 3 pod cannot be started: cannot listen"],
        );
    }

    #[test]
    fn what_an_earlier_pod_said_does_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        std::fs::write(&log, "error[RZ-0304] old\nnew\n").unwrap();
        assert_eq!(tail(&log, 19), "new\n");
        assert_eq!(tail(&log, 0).lines().count(), 2);
        assert_eq!(tail(&dir.path().join("none"), 0), "");
    }

    #[test]
    fn a_pod_that_ends_silently_is_unreachable() {
        check("", Some(101), &expect!["RZ-0003 3 pod ended with 101 while starting"]);
    }

    #[test]
    fn a_pod_that_hangs_is_unreachable_whatever_an_older_one_said() {
        check(
            "error[RZ-0304] store is of version 9\n",
            None,
            &expect!["RZ-0003 3 pod did not answer within 5 s"],
        );
    }

    #[tokio::test]
    async fn no_pod_is_started_in_the_folder_of_a_host_unless_it_would_host() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("hosting-index")).unwrap();
        let error = reach(dir.path(), true).await.unwrap_err();
        assert_eq!((error.exit, error.id.as_str()), (3, "RZ-0003"));
        assert!(error.message.contains("hosts encrypted copies"), "{}", error.message);
        assert_eq!(error.hint.as_deref(), Some("rhizome run --host --listen ADDRESS"));
        assert!(!dir.path().join("run").exists(), "nothing was created");
        std::fs::write(dir.path().join("config.toml"), "[pod]\nhost = true\n").unwrap();
        assert!(hosts(dir.path()).unwrap());
    }

    #[tokio::test]
    async fn without_a_pod_and_without_leave_to_start_one_the_exit_is_3() {
        let dir = tempfile::tempdir().unwrap();
        let error = reach(dir.path(), false).await.unwrap_err();
        assert_eq!((error.exit, error.id.as_str()), (3, "RZ-0003"));
        assert_eq!(error.hint.as_deref(), Some("rhizome run"));
        assert!(!dir.path().join("run").exists(), "nothing was created");
    }
}
