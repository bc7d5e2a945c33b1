//! One device of the demo: its folder, its process, the cable in front of it.

use super::figures::Wire;
use crate::client::{Client, Events, Next};
use crate::daemon;
use rhizome_api::data::{HashAnswer, LsAnswer, LsRequest, SettleRequest};
use rhizome_api::{
    ApiError, DataHash, DataLs, DataSettle, Durability, Empty, Method, PodStop, Problem,
};
use rhizome_net::Cable;
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

/// How long any answer may take. Everything here takes seconds; a demo that hangs shows nothing.
const ANSWER_LIMIT: Duration = Duration::from_secs(90);

/// How long a process may take to end by itself before it is killed.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// How long devices may take to agree once they can talk. A link whose other end was killed is
/// noticed after a minute of silence at the latest.
const AGREE_LIMIT: Duration = Duration::from_secs(100);

/// How long one wait for the order may take, before it is looked at again who agrees.
const SETTLE_LIMIT: Duration = Duration::from_secs(15);

/// How often it is looked whether something has happened.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A device.
pub(super) struct Place {
    /// What it is called, on stage and on disk.
    pub(super) name: &'static str,
    dir: PathBuf,
    listen: SocketAddr,
    cable: Cable,
    client: Client,
    child: Option<Child>,
}

impl Place {
    /// Chooses a port for each, and lays a cable to it.
    pub(super) async fn lay_all(root: &Path) -> Result<[Self; 3], ApiError> {
        let no_port = |source: io::Error| {
            ApiError::new(Problem::INTERNAL, "no free port on loopback").caused_by(&source)
        };
        // All are held until all are chosen, so that they differ.
        let held = [free_port(), free_port(), free_port()];
        let mut ports = Vec::new();
        for socket in held {
            let socket = socket.map_err(no_port)?;
            ports.push((socket.local_addr().map_err(no_port)?, socket));
        }
        let mut places = Vec::new();
        for (name, (listen, socket)) in ["laptop", "phone", "cloud"].into_iter().zip(ports) {
            let near = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let cable = Cable::lay(near, listen).await;
            let cable = cable.map_err(|error| ApiError::from_error(Problem::INTERNAL, &error))?;
            let dir = root.join(name);
            let client = Client::new(&dir);
            places.push(Self { name, dir, listen, cable, client, child: None });
            drop(socket);
        }
        Ok(<[Self; 3]>::try_from(places).unwrap_or_else(|_| unreachable!("three were laid")))
    }

    /// Starts its process and waits until it answers.
    pub(super) async fn start(&mut self) -> Result<(), ApiError> {
        let mut flags = vec![
            "--no-lan".to_owned(),
            format!("--listen={}", self.listen),
            format!("--advertise={}", self.address()),
        ];
        if self.name == "cloud" {
            flags.push("--host".to_owned());
        }
        let what = format!("the process of the {} cannot be started", self.name);
        let mut start =
            daemon::launch(&self.dir, &flags).map_err(|error| because(what.clone(), error))?;
        let up = daemon::wait_for(&self.client, &mut start, &self.dir).await;
        self.child = Some(start.child);
        up.map_err(|error| because(what, error))?;
        Ok(())
    }

    /// Kills the process as `kill -9` would.
    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself; then there is nothing to kill.
            drop(child.kill());
            drop(child.wait());
        }
    }

    /// Asks the process to end, and waits until it has.
    pub(super) async fn stop(&mut self) -> Result<(), ApiError> {
        self.call::<PodStop>(&Empty {}).await?;
        let deadline = Instant::now() + STOP_LIMIT;
        while let Some(child) = &mut self.child {
            if matches!(child.try_wait(), Ok(Some(_))) {
                self.child = None;
            } else if Instant::now() > deadline {
                let seconds = STOP_LIMIT.as_secs();
                let message = format!("the {} did not end within {seconds} s", self.name);
                return Err(ApiError::new(Problem::INTERNAL, message).hint(self.log_hint()));
            } else {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
        Ok(())
    }

    /// Removes everything it has on disk. Its process must be gone.
    pub(super) fn wipe(&self) -> Result<(), ApiError> {
        assert!(self.child.is_none(), "a folder is wiped after its process ended");
        std::fs::remove_dir_all(&self.dir).map_err(|source| {
            let message = format!("folder {} cannot be removed", self.dir.display());
            ApiError::new(Problem::LOCAL_FILE, message).caused_by(&source)
        })
    }

    /// Where others reach it: the near end of its cable.
    pub(super) fn address(&self) -> SocketAddr {
        self.cable.local_addr()
    }

    /// Its cable.
    pub(super) const fn cable(&self) -> &Cable {
        &self.cable
    }

    /// What its cable carried and dropped.
    pub(super) fn carried(&self) -> Wire {
        let counts = self.cable.counts();
        Wire {
            packets: counts.up_datagrams + counts.down_datagrams,
            bytes: counts.up_bytes + counts.down_bytes,
            dropped_packets: counts.dropped_datagrams,
        }
    }

    /// A client of its own, for tasks.
    pub(super) fn client(&self) -> Client {
        self.client.clone()
    }

    /// Asks it.
    pub(super) async fn call<M: Method>(
        &self,
        request: &M::Request,
    ) -> Result<M::Answer, ApiError> {
        let answered = self.timed::<M, _>(self.client.call::<M>(request)).await?;
        Ok(answered.0)
    }

    /// Asks it for a stream.
    pub(super) async fn stream<M: Method>(
        &self,
        request: &M::Request,
    ) -> Result<Events<M>, ApiError> {
        self.timed::<M, _>(self.client.stream::<M>(request)).await
    }

    /// What a stream of it says next.
    pub(super) async fn next<M: Method>(
        &self,
        events: &mut Events<M>,
    ) -> Result<Next<M>, ApiError> {
        self.timed::<M, _>(events.next()).await
    }

    /// Reads a stream of it to its end.
    pub(super) async fn done<M: Method>(
        &self,
        events: &mut Events<M>,
    ) -> Result<M::Answer, ApiError> {
        loop {
            if let Next::Done(answer) = self.next(events).await? {
                return Ok(answer);
            }
        }
    }

    async fn timed<M: Method, T>(
        &self,
        work: impl Future<Output = Result<T, ApiError>>,
    ) -> Result<T, ApiError> {
        let limited = tokio::time::timeout(ANSWER_LIMIT, work).await;
        let what = format!("`{}` failed on the {}", M::NAME, self.name);
        match limited {
            Ok(done) => done.map_err(|error| because(what, error)),
            Err(_) => {
                let seconds = ANSWER_LIMIT.as_secs();
                let message = format!("{what}: no answer within {seconds} s");
                Err(ApiError::new(Problem::POD_UNREACHABLE, message).hint(self.log_hint()))
            }
        }
    }

    fn log_hint(&self) -> String {
        format!("cat {}", daemon::log_path(&self.dir).display())
    }

    /// How many documents there are in its collections, by path.
    pub(super) async fn documents(&self) -> Result<BTreeMap<String, u64>, ApiError> {
        let LsAnswer { collections, .. } = self.call::<DataLs>(&LsRequest::default()).await?;
        Ok(collections.into_iter().map(|one| (one.path, one.documents)).collect())
    }

    /// What it holds, in hashes.
    pub(super) async fn hash(&self) -> Result<HashAnswer, ApiError> {
        let hash = self.call::<DataHash>(&Empty {}).await?;
        if hash.indexes_ok {
            return Ok(hash);
        }
        let message = format!("the indexes of the {} differ from rebuilt ones", self.name);
        Err(ApiError::new(Problem::DAMAGED, message).hint(self.log_hint()))
    }

    /// Waits until everything it knows has its place in the order; whether it came to that.
    async fn settled(&self) -> Result<bool, ApiError> {
        let timeout_ms = u64::try_from(SETTLE_LIMIT.as_millis()).ok();
        let request = SettleRequest { level: Durability::Committed, timeout_ms };
        match self.call::<DataSettle>(&request).await {
            Ok(_) => Ok(true),
            Err(error) if error.id == Problem::NOT_CONFIRMED.id => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.kill();
    }
}

fn free_port() -> io::Result<UdpSocket> {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
}

/// `error`, as the reason for something larger that failed.
pub(super) fn because(what: String, mut error: ApiError) -> ApiError {
    error.causes.insert(0, std::mem::replace(&mut error.message, what));
    error
}

/// Waits until two devices know everything of each other, all of it has its place in the order,
/// and their hashes are the same.
pub(super) async fn agree(one: &Place, other: &Place) -> Result<HashAnswer, ApiError> {
    let deadline = Instant::now() + AGREE_LIMIT;
    loop {
        let (left, right) = tokio::try_join!(one.settled(), other.settled())?;
        let (ours, theirs) = tokio::try_join!(one.hash(), other.hash())?;
        let same = compared((one.name, &ours), (other.name, &theirs));
        if left && right && same.is_ok() {
            return Ok(ours);
        }
        if Instant::now() > deadline {
            same?;
            let slow = if left { other.name } else { one.name };
            let seconds = AGREE_LIMIT.as_secs();
            let message = format!("changes on the {slow} are not confirmed after {seconds} s");
            return Err(ApiError::new(Problem::NOT_CONFIRMED, message).saved());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Compares what two devices hold.
pub(super) fn compared(
    (one, ours): (&str, &HashAnswer),
    (other, theirs): (&str, &HashAnswer),
) -> Result<(), ApiError> {
    let pairs = [
        ("documents", &ours.export_hash, &theirs.export_hash),
        ("confirmed states", &ours.committed_hash, &theirs.committed_hash),
        ("states", &ours.state_hash, &theirs.state_hash),
    ];
    match pairs.into_iter().find(|(_, ours, theirs)| ours != theirs) {
        None => Ok(()),
        Some((what, ours, theirs)) => {
            let message = format!("{what} of {one} and {other} differ: hashes {ours} and {theirs}");
            Err(ApiError::new(Problem::DAMAGED, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn a_difference_is_named() {
        let ours = HashAnswer { export_hash: "aa".into(), ..HashAnswer::default() };
        let same = ours.clone();
        assert!(compared(("laptop", &ours), ("phone", &same)).is_ok());
        let pending = HashAnswer { state_hash: "bb".into(), ..ours.clone() };
        let error = compared(("laptop", &ours), ("phone", &pending)).unwrap_err();
        expect!["8 states of laptop and phone differ: hashes  and bb"]
            .assert_eq(&format!("{} {}", error.exit, error.message));
        let other = HashAnswer { export_hash: "cc".into(), ..ours.clone() };
        let error = compared(("laptop", &ours), ("phone", &other)).unwrap_err();
        expect!["8 documents of laptop and phone differ: hashes aa and cc"]
            .assert_eq(&format!("{} {}", error.exit, error.message));
    }

    #[test]
    fn the_reason_of_a_failed_step_stays_below_it() {
        let deep = ApiError::new(Problem::DISK, "segment cannot be written");
        let error = because("`data.set` failed on the phone".to_owned(), deep);
        assert_eq!(error.message, "`data.set` failed on the phone");
        assert_eq!(error.causes, ["segment cannot be written"]);
        assert_eq!((error.id.as_str(), error.exit), ("RZ-0302", 10));
    }

    #[tokio::test]
    async fn three_devices_have_ports_and_cables_of_their_own() {
        let places = Place::lay_all(Path::new("/demo")).await.unwrap();
        let mut seen: Vec<SocketAddr> =
            places.iter().flat_map(|place| [place.listen, place.address()]).collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 6);
        assert!(seen.iter().all(|address| address.ip().is_loopback()));
    }
}
