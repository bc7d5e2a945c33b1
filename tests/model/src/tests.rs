//! Both worlds explored to their end, whole and without each rule that their properties hang on.

use crate::control::{self, What};
use crate::order;
use stateright::{Checker, HasDiscoveries, Model};
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::hash::Hash;

/// States that each long exploration has at least.
const LONG_STATES_MIN: usize = 1_000_000;

const SAME: &str = "the same records make the same members";
const REMOVED: &str = "whoever was removed admits nobody";
const SECRET: &str = "the current secret is for all who live and nobody else";
const MUTUAL: &str = "both admins removed each other";
const FORKED: &str = "one branch wins over another";

const PROOF: &str = "two orders for one index prove that a host lied";
const FRAMED: &str = "no honest voter can be framed";
const ALONE: &str = "hosts commit nothing alone";
const ONE_ORDER: &str = "without lies there is one order";
const UNPROVEN: &str = "two orders and no proof";
const COMMITTED: &str = "something is committed";

/// Explores a world to its end and compares what was discovered: counterexamples of what should
/// always hold, and examples of what should sometimes happen. Returns how many states there are.
#[track_caller]
fn explore<M>(world: M, expected: &[&'static str]) -> usize
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + Send + Sync + PartialEq,
    M::Action: Clone + Debug + PartialEq,
{
    let checker = world.checker().threads(2).spawn_bfs().join();
    let found: BTreeSet<&str> = checker.discoveries().keys().copied().collect();
    let expected: BTreeSet<&str> = expected.iter().copied().collect();
    assert_eq!(found, expected, "in {} states", checker.unique_state_count());
    checker.unique_state_count()
}

/// Looks for a counterexample and ends with it.
#[track_caller]
fn refutes<M>(world: M, property: &'static str)
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + Send + Sync + PartialEq,
    M::Action: Clone + Debug + PartialEq,
{
    let wanted = HasDiscoveries::AllOf([property].into());
    let checker = world.checker().finish_when(wanted).spawn_bfs().join();
    let states = checker.unique_state_count();
    assert!(checker.discovery(property).is_some(), "{property} holds in {states} states");
}

fn is_long() -> bool {
    std::env::var_os("RHIZOME_LONG").is_some()
}

fn identity(records: usize, whats: &[What], without: control::Without) -> control::World {
    control::World::new(records, whats, without)
}

fn voters(length: usize, hosts: usize, lies: usize) -> order::World {
    order::World { length, hosts, lies, replicas: 1, without: order::Without::Nothing }
}

#[test]
fn an_identity_keeps_its_members_whatever_is_heard_when() {
    use What::{Admit, Promote, Remove, Rotate};
    let all = [Admit(4), Promote(5), Remove(1), Remove(2), Remove(3), Rotate];
    explore(identity(2, &all, control::Without::Nothing), &[FORKED, MUTUAL]);
    let few = [Admit(4), Remove(1), Remove(2)];
    explore(identity(3, &few, control::Without::Nothing), &[FORKED, MUTUAL]);
    if is_long() {
        let more = [Admit(4), Remove(1), Remove(2), Rotate];
        let states = explore(identity(4, &more, control::Without::Nothing), &[FORKED, MUTUAL]);
        assert!(states >= LONG_STATES_MIN, "{states} states");
    }
}

#[test]
fn without_the_fork_rule_replicas_with_the_same_records_differ() {
    let whats = [What::Admit(4), What::Remove(2)];
    refutes(identity(2, &whats, control::Without::ForkRule), SAME);
}

#[test]
fn without_the_cut_off_a_removed_device_admits() {
    let whats = [What::Admit(4), What::Remove(2)];
    refutes(identity(2, &whats, control::Without::CutOff), REMOVED);
}

#[test]
fn without_a_secret_of_their_own_those_who_stay_share_it_with_those_who_left() {
    refutes(identity(1, &[What::Remove(3)], control::Without::NewEpoch), SECRET);
}

#[test]
fn honest_voters_commit_one_order() {
    let two = order::World { replicas: 2, ..voters(1, 1, 0) };
    explore(two, &[COMMITTED]);
    if is_long() {
        explore(voters(2, 0, 0), &[COMMITTED]);
    }
}

/// The last of what is found here is what we would rather not find: a host that votes for a leader
/// it should not vote for can have two orders certified without signing one index twice, because an
/// honest voter may sign the index behind one whose entry was replaced. Whoever holds both orders
/// sees that they differ; nobody holds a proof of who lied. `README.md` says more.
#[test]
fn of_two_orders_for_one_index_there_is_a_proof_but_not_of_two_orders_at_all() {
    explore(order::World { replicas: 2, ..voters(1, 1, 2) }, &[COMMITTED]);
    explore(voters(2, 1, 1), &[COMMITTED, UNPROVEN]);
    if is_long() {
        let states = explore(voters(2, 1, 3), &[COMMITTED, UNPROVEN]);
        assert!(states >= LONG_STATES_MIN, "{states} states");
    }
}

#[test]
fn two_hosts_of_three_voters_commit_nothing_by_themselves() {
    explore(voters(1, 2, 2), &[COMMITTED]);
}

#[test]
fn without_the_trusted_voter_in_it_hosts_certify_alone() {
    let world = order::World { without: order::Without::Trusted, ..voters(1, 2, 2) };
    refutes(world, ALONE);
}

#[test]
fn without_signing_once_an_honest_voter_is_framed() {
    let world = order::World { without: order::Without::SignOnce, ..voters(1, 1, 2) };
    refutes(world, FRAMED);
}

#[test]
fn without_a_majority_there_are_two_orders_and_nobody_to_blame() {
    let world = order::World { without: order::Without::Majority, ..voters(1, 1, 0) };
    refutes(world, PROOF);
}

#[test]
fn without_the_promise_of_raft_honest_voters_commit_two_orders() {
    let world = order::World { without: order::Without::Raft, ..voters(2, 0, 0) };
    refutes(world, ONE_ORDER);
}
