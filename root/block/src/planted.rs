//! Bugs planted on purpose, to see whether the simulator finds them.
//!
//! An ordinary build has none of them: there [`planted`] is `false` before the compiler begins, and
//! a place that asks it says so in one line. With `RUSTFLAGS="--cfg rhizome_planted"`, which
//! `cargo verify planted` sets, the simulator switches on one bug at a time for the whole process.
//! It lies in the lowest crate because any crate may hold one.

/// Names each bug once: its variant, what the harness calls it, and what goes wrong.
macro_rules! bugs {
    ($($variant:ident $name:literal $what:literal)*) => {
        /// One bug.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        #[repr(u8)]
        pub enum Bug {
            $(#[doc = $what] $variant,)*
        }

        impl Bug {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// What the harness calls it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What goes wrong.
            #[must_use]
            pub const fn what(self) -> &'static str {
                match self { $(Self::$variant => $what,)* }
            }
        }
    };
}

bugs! {
    SyncSkipped "sync-skipped" "what is written is not made durable"
    SyncErrorIgnored "sync-error-ignored" "an error of the disk while syncing is passed over"
    AckedNotStored "acked-not-stored" "a full disk's refusal counts as stored"
    SequenceReused "sequence-reused" "a log goes on in its old incarnation after a cut"
    LeftOverCounts "left-over-counts" "entries of a batch never acknowledged count when folded"
    FoldStartsLate "fold-starts-late" "each stretch of a fold begins one block too late"
    FoldForgetsOrder "fold-forgets-order" "an index built anew forgets the newest of the order"
    EffectTwice "effect-twice" "a committed event is applied twice"
    NonceReused "nonce-reused" "the nonce depends on the place in the log alone"
    PlainText "plain-text" "bodies are not enciphered"
    OldKeysUsed "old-keys-used" "events are sealed under the first epoch for ever"
    RemovedGetsKeys "removed-gets-keys" "new keys are wrapped to a device that is being removed"
    UnknownEpochTaken "unknown-epoch-taken" "events sealed under keys not known yet are taken"
    RemovedCounts "removed-counts" "events of a removed device behind its cut-off take effect"
    RemovedStaysConnected "removed-stays-connected" "connections to a removed device go on"
    RemovedStaysShown "removed-stays-shown" "what a removed device wrote is not taken back"
    HeadUnchecked "head-unchecked" "a run need not lead to its signed head"
    SignatureUnchecked "signature-unchecked" "the signature over a run is not checked"
    OutboxDrops "outbox-drops" "a run is dropped where many messages wait, and counts as sent"
    CertificateUnchecked "certificate-unchecked" "certificates over the order are not checked"
    DepsIgnored "deps-ignored" "an event takes effect before what it depends on"
    ArrivalOrder "arrival-order" "a placed log takes effect as far as it has arrived"
    NotHeldApplied "not-held-applied" "an entry is applied although what it names is not here"
    NotProposedAgain "not-proposed-again" "what a lost leader was given is not given to the next"
    LeaderForgets "leader-forgets" "a new leader drops an entry that was committed"
    VotersEven "voters-even" "two devices are made voters"
    FenceIgnored "fence-ignored" "what an old generation orders behind a reform's base is taken"
    AsideLost "aside-lost" "records of a branch that lost are forgotten"
    MiddleNotRefolded "middle-not-refolded" "an event that lands in the middle moves no view"
    ArrivalClock "arrival-clock" "the time of arrival decides which edit is later"
    TombstoneForgotten "tombstone-forgotten" "a delete leaves no mark behind"
    WriteWaits "write-waits" "a write waits until somebody is connected"
    QueueUnbounded "queue-unbounded" "events that were sent stay in memory"
}

/// Whether this bug is switched on: never, in an ordinary build.
#[cfg(not(rhizome_planted))]
#[inline(always)]
#[must_use]
pub const fn planted(_: Bug) -> bool {
    false
}

/// Whether this bug is switched on.
#[cfg(rhizome_planted)]
#[must_use]
pub fn planted(bug: Bug) -> bool {
    switch::ON.load(std::sync::atomic::Ordering::Relaxed) == bug as u8
}

/// Switches a bug on, or all off; `false` if this build has none.
#[cfg(not(rhizome_planted))]
pub const fn plant(_: Option<Bug>) -> bool {
    false
}

/// Switches a bug on, or all off; `false` if this build has none.
#[cfg(rhizome_planted)]
pub fn plant(bug: Option<Bug>) -> bool {
    let number = bug.map_or(u8::MAX, |bug| bug as u8);
    switch::ON.store(number, std::sync::atomic::Ordering::Relaxed);
    true
}

#[cfg(rhizome_planted)]
mod switch {
    /// The bug that is on; there are fewer than 255.
    pub(super) static ON: std::sync::atomic::AtomicU8 = std::sync::atomic::AtomicU8::new(u8::MAX);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_bugs_share_a_name_and_no_ordinary_build_has_one() {
        let names: std::collections::BTreeSet<_> = Bug::ALL.iter().map(|bug| bug.name()).collect();
        assert_eq!(names.len(), Bug::ALL.len());
        assert!(Bug::ALL.iter().all(|bug| !planted(*bug)));
    }
}
