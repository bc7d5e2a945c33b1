//! What a group is for: one order, proven, through crashes and restarts.

use super::world::{GENERATION, PATIENCE, World, config};
use crate::testing::{device, identity, voter_set};
use crate::wire::{Answer, ReplyEnvelope, Request, RequestEnvelope, RequestKind, VoteCall};
use crate::{Ballot, NodeId, ProposeError, RaftConfig};
use rhizome_block::Version;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_voters_agree_on_one_order_with_proofs() {
    let mut world = World::of(&[1, 2, 3], &[]).await;
    for count in [1, 3, 700] {
        world.commit(count).await;
    }
    world.check();
    for voter in world.voters.values() {
        let log = voter.log.borrow();
        let bodies: BTreeSet<_> =
            log.entries.iter().map(|entry| format!("{:?}", entry.body)).collect();
        assert_eq!(bodies.len(), 704);
        assert_eq!((log.entries[0].g, log.entries[0].i), (2, 11));
        assert_eq!(log.refused, Vec::<String>::new());
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_leader_crashes_another_goes_on_and_nothing_committed_is_lost() {
    let mut world = World::of(&[1, 2, 3], &[]).await;
    world.commit(5).await;
    let leader = world.leader().await;
    let crashed = world.crash(leader).await;
    world.commit(5).await;
    world.check();
    world.restart(crashed).await;
    world.commit(1).await;
    world.check();
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_restarts_from_its_disks() {
    let mut world = World::of(&[1, 2, 3], &[2]).await;
    world.commit(5).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut crashed = Vec::new();
    for n in [1, 2, 3] {
        crashed.push(world.crash(n).await);
    }
    for mut voter in crashed {
        voter.config.applied = voter.log.borrow().entries.last().unwrap().i;
        world.restart(voter).await;
    }
    world.commit(1).await;
    for voter in world.voters.values() {
        let first = voter.log.borrow().entries[0].i;
        assert!(first > voter.config.applied, "what was applied is handed out again");
    }
    world.stop().await;
}

/// Asks voter 3 for its vote in the name of `n`.
async fn ask(world: &World, n: u8, term: u64) -> bool {
    let cid = *world.set.admitted.get(&device(n)).unwrap();
    let node = NodeId::of(&identity(), GENERATION, &device(n), &cid);
    let ballot = Ballot { term, node, granted: false };
    let request = RequestEnvelope {
        k: RequestKind,
        v: Version,
        identity: identity(),
        generation: GENERATION,
        certificate: None,
        request: Request::Vote(VoteCall { ballot, last: None }),
    };
    let reply = world.voter(3).order.handle(device(n), &request.encode()).await;
    match ReplyEnvelope::read(&reply).unwrap().answer {
        Answer::Voted(voted) => voted.granted && voted.ballot == ballot,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vote_is_remembered_across_a_crash() {
    let set = voter_set(&[1, 2, 3], &[]);
    let mut world = World::empty(&set);
    let quiet = RaftConfig { founding: false, ..config(3, &set) };
    world.start(3, quiet, Arc::default(), Arc::default()).await;
    let node = |n: u8| NodeId::of(&identity(), GENERATION, &device(n), &set.admitted[&device(n)]);
    // In one term the greater node id wins; the smaller must not get a second vote.
    let (greater, smaller) = if node(1) > node(2) { (1, 2) } else { (2, 1) };
    assert!(ask(&world, greater, 5).await);
    let crashed = world.crash(3).await;
    world.restart(crashed).await;
    assert!(!ask(&world, smaller, 5).await);
    assert!(!ask(&world, greater, 4).await);
    assert!(ask(&world, greater, 5).await, "the same vote again is the same vote");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voter_whose_disk_fails_stops_and_the_others_go_on() {
    let mut world = World::of(&[1, 2, 3], &[]).await;
    world.commit(2).await;
    let leader = world.leader().await;
    *world.voter(leader).disk.broken.lock().unwrap() = true;
    let order = world.voter(leader).order.clone();
    let _ = order.propose(vec![crate::testing::body(1_000_000)]).await;
    let mut log = world.voter(leader).log.clone();
    let failed = log.wait_for(|log| log.failed.is_some());
    tokio::time::timeout(PATIENCE, failed).await.unwrap().unwrap();
    assert_eq!(order.propose(Vec::new()).await, Err(ProposeError::Stopped));
    world.crash(leader).await;
    world.commit(2).await;
    world.check();
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_disk_of_the_leader_holds_up_certificates_but_loses_nothing() {
    let mut world = World::of(&[1, 2, 3], &[]).await;
    world.commit(1).await;
    let leader = world.leader().await;
    let disk = Arc::clone(&world.voter(leader).disk);
    *disk.held.lock().unwrap() = true;
    let bodies = vec![crate::testing::body(1_000_000)];
    world.voter(leader).order.propose(bodies.clone()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(40)).await;
    for voter in world.voters.values() {
        let log = voter.log.borrow();
        assert!(log.entries.iter().all(|entry| entry.body != bodies[0]), "not durable yet");
    }
    // It is cut off before its disk goes on.
    let goes_on = async { *disk.held.lock().unwrap() = false };
    let (crashed, ()) = tokio::join!(world.crash(leader), goes_on);
    world.commit(2).await;
    world.restart(crashed).await;
    world.commit(2).await;
    world.check();
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_witness_never_leads_and_never_founds() {
    let set = voter_set(&[1, 2, 3], &[]);
    let mut world = World::empty(&set);
    for n in [1, 2, 3] {
        let config = RaftConfig { may_lead: n != 1, ..config(n, &set) };
        world.start(n, config, Arc::default(), Arc::default()).await;
    }
    world.commit(1).await;
    for _ in 0..2 {
        let leader = world.leader().await;
        assert_ne!(leader, 1);
        let refusal = world.voter(1).order.propose(Vec::new()).await;
        assert!(matches!(refusal, Err(ProposeError::NotLeader { .. })));
        let crashed = world.crash(leader).await;
        world.commit(1).await;
        world.restart(crashed).await;
        world.commit(1).await;
    }
    world.check();
    world.stop().await;
}
