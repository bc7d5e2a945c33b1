//! What a run did and found.

use std::fmt;
use std::ops::AddAssign;

/// What was done in a run.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Batches.
    pub steps: u64,
    /// Writes asked for.
    pub writes: u64,
    /// Writes acknowledged.
    pub acknowledged: u64,
    /// Messages between devices.
    pub messages: u64,
    /// Connections cut, or silenced one way.
    pub cuts: u64,
    /// Power cuts.
    pub crashes: u64,
    /// Power cuts that took the index along, in part or whole.
    pub index_losses: u64,
    /// Disk faults armed.
    pub disk_faults: u64,
    /// Appends that a disk refused.
    pub refused_appends: u64,
    /// Devices linked.
    pub links: u64,
    /// Earlier identities adopted.
    pub adoptions: u64,
    /// Devices removed.
    pub removals: u64,
    /// Times a group of voters was started or told anew.
    pub group_runs: u64,
    /// Times a majority of the voters vanished.
    pub losses: u64,
    /// Reforms that were signed.
    pub reforms: u64,
    /// Times a device folded its disk anew, because what was ordered did not count.
    pub rewinds: u64,
    /// Entries in the order.
    pub entries: u64,
}

impl Counts {
    /// How often something went wrong on purpose.
    #[must_use]
    pub const fn faults(&self) -> u64 {
        self.cuts + self.crashes + self.disk_faults + self.removals + self.losses
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.steps += other.steps;
        self.writes += other.writes;
        self.acknowledged += other.acknowledged;
        self.messages += other.messages;
        self.cuts += other.cuts;
        self.crashes += other.crashes;
        self.index_losses += other.index_losses;
        self.disk_faults += other.disk_faults;
        self.refused_appends += other.refused_appends;
        self.links += other.links;
        self.adoptions += other.adoptions;
        self.removals += other.removals;
        self.group_runs += other.group_runs;
        self.losses += other.losses;
        self.reforms += other.reforms;
        self.rewinds += other.rewinds;
        self.entries += other.entries;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "steps           {:>10}", self.steps)?;
        writeln!(f, "writes          {:>10}  {} acknowledged", self.writes, self.acknowledged)?;
        writeln!(f, "messages        {:>10}", self.messages)?;
        writeln!(f, "entries ordered {:>10}", self.entries)?;
        writeln!(f, "voter groups    {:>10}", self.group_runs)?;
        let (removals, adoptions) = (self.removals, self.adoptions);
        write!(f, "devices linked  {:>10}  {removals} removed, ", self.links)?;
        writeln!(f, "{adoptions} identities adopted")?;
        let (reforms, rewinds) = (self.reforms, self.rewinds);
        writeln!(f, "quorums lost    {:>10}  {reforms} reforms, {rewinds} rewinds", self.losses)?;
        writeln!(f, "cuts            {:>10}", self.cuts)?;
        writeln!(f, "crashes         {:>10}  {} lost index", self.crashes, self.index_losses)?;
        write!(f, "disk faults     {:>10}  {} refused", self.disk_faults, self.refused_appends)
    }
}
