//! Limits of the ordering group, each with its reason.

use std::time::Duration;

/// Most bodies one Raft entry carries: one fsync and one signature serve them all, and the entry
/// stays below a tenth of the request that carries it.
pub const BODIES_PER_ENTRY_MAX: usize = 512;

/// Most Raft entries in one request. A follower that catches up takes them in steps it can check
/// within a heartbeat.
pub const ENTRIES_PER_REQUEST_MAX: usize = 64;

/// Most bodies in one request: about 0.7 MiB at the 170 bytes of a body.
pub const BODIES_PER_REQUEST_MAX: usize = 4_096;

/// Most bytes of a request. [`BODIES_PER_REQUEST_MAX`] bodies fit.
pub const REQUEST_BYTES_MAX: usize = 1 << 20;

/// Most bytes of a reply: a handful of acknowledgements of about 200 bytes.
pub const REPLY_BYTES_MAX: usize = 16 << 10;

/// Most acknowledgements a reply carries (see [`ACK_GRID`] and [`ACK_TAIL`]).
pub const ACKS_PER_REPLY_MAX: usize = 16;

/// Every voter acknowledges Raft indexes divisible by this, so that voters who receive the same
/// entries in different batches still acknowledge common positions.
pub const ACK_GRID: u64 = 16;

/// Besides, every voter acknowledges the last entries of a batch: under steady load batches are
/// this short, so every entry is acknowledged by every voter.
pub const ACK_TAIL: u64 = 4;

/// Raft entries of this leader that may wait for a majority at once. One would leave the wire idle
/// while the disk works; four make batches so small that throughput halves (`tests/measure.rs`).
pub const PROPOSALS_IN_FLIGHT_MAX: usize = 2;

/// Bodies that may wait to be proposed, about 3 MiB. Beyond, [`crate::ProposeError::Busy`].
pub const PROPOSALS_WAITING_MAX: usize = 16_384;

/// Bodies that may be placed without being certified, so that a trusted voter who is away cannot
/// make a leader's memory grow: about 11 MiB.
pub const UNCERTIFIED_MAX: u64 = 65_536;

/// Raft entries kept behind the certified one, so that a voter who was away for a moment needs no
/// snapshot.
pub const LOG_KEEP: u64 = 1_000;

/// Certified Raft entries between two snapshots. With [`LOG_KEEP`] it bounds the log in memory.
pub const SNAPSHOT_EVERY: u64 = 500;

/// Events the reader of the event channel may lag behind; then emission waits, nothing is lost.
pub const EVENTS_WAITING_MAX: usize = 256;

/// Most entries in one [`crate::RaftEvent::Committed`].
pub const ENTRIES_PER_EVENT_MAX: usize = 4_096;

/// Appends that may wait for the disk. openraft issues one at a time; the leader's own run ahead.
pub const DISK_JOBS_MAX: usize = 256;

/// Certificates kept for entries that have not arrived here yet.
pub const CERTIFICATES_WAITING_MAX: usize = 64;

/// Positions for which acknowledgements are collected at once.
pub const ACK_POSITIONS_MAX: usize = 1_024;

/// Own acknowledgements remembered, so that a heartbeat costs no signature.
pub const SIGNED_KEPT: usize = 64;

/// Voter sets one generation may go through. A longer history starts a new generation.
pub const VOTER_SETS_MAX: usize = 64;

/// How far a term may jump ahead of ours. Elections raise it by one; a device that was cut off for
/// a month and called an election every second is still within it after a few messages.
pub const TERM_JUMP_MAX: u64 = 1 << 16;

/// No term is beyond this: at one jump of [`TERM_JUMP_MAX`] per permitted message it takes a
/// hostile voter years to get there, and it leaves openraft room to count.
pub const TERM_MAX: u64 = 1 << 48;

/// Raft indexes stay below this, so that adding to one never overflows.
pub const INDEX_MAX: u64 = 1 << 56;

/// Requests a peer may send per second, and at once. Twice what a leader sends at full speed.
pub const REQUESTS_PER_S: u64 = 20_000;

/// Bytes a peer may send per second, and at once: a busy leader sends a tenth of it.
pub const BYTES_PER_S: u64 = 64 << 20;

/// Vote requests a peer may send per second, and at once: an election timeout is 80 ms at least.
pub const VOTES_PER_S: u64 = 20;

/// How long an announcement of a certificate may take before the next heartbeat replaces it.
pub const ANNOUNCE_PATIENCE: Duration = Duration::from_secs(2);

/// How long a snapshot position may take to be accepted: the voter first pulls the order itself.
pub const SNAPSHOT_PATIENCE: Duration = Duration::from_secs(5);

/// How far a new voter may lag behind when it starts to vote (`security.md` 5.2).
pub const JOIN_LAG_MAX: u64 = 100;
