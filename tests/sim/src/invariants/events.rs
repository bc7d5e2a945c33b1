//! Sealed events, opened apart from the replica, for those invariants that work something out anew.

use rhizome_identity::EpochId;
use rhizome_log::{Clock, Dep, LogId};
use rhizome_replica::{Access, Replica};
use rhizome_seal::EventKey;

/// One event.
#[derive(Clone, Debug)]
pub struct Opened {
    /// Its place in its log.
    pub seq: u64,
    /// The epoch under which it is sealed.
    pub epoch: EpochId,
    /// What it depends on; nothing if it does not open.
    pub deps: Vec<Dep>,
    /// Its author's clock.
    pub hlc: Clock,
    /// What the app wrote.
    pub body: Vec<u8>,
}

/// The events of a log behind `after` that a device holds, with the secrets it has.
pub fn behind(
    replica: &Replica,
    access: &Access<'_, '_>,
    log: &LogId,
    mut after: u64,
) -> Vec<Opened> {
    let mut opened = Vec::new();
    while let Some(run) = replica.pack_run(access, log, after).expect("events can be read") {
        let (events, signature) = run.unpack().expect("a run that was taken holds");
        for event in events {
            let (seq, epoch) = (event.header.seq, event.header.epoch);
            let secret = replica.keys().secret_of(&epoch);
            let key = secret.map(|secret| EventKey::derive(secret, &log.tag.0));
            let payload = key.and_then(|key| event.open(&key).ok());
            let (deps, hlc, body) = payload
                .map(|payload| (payload.deps, payload.hlc, payload.body))
                .unwrap_or_default();
            opened.push(Opened { seq, epoch, deps, hlc, body });
        }
        after = signature.head.seq;
    }
    opened
}
