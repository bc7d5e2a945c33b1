//! The group changes while it works.

use super::world::{Log, PATIENCE, World, config};
use crate::testing::voter_set;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};

impl World {
    /// Changes the group to `numbers`, as a control record would make every voter do, and goes on
    /// proposing until it is done. Every proposal must be committed on every remaining voter.
    async fn change_to(&mut self, numbers: &[u8], trusted: &[u8]) {
        let (old, new) = (self.set.clone(), voter_set(numbers, trusted));
        let first = self.voters.values().next().unwrap();
        let mut history = first.config.history.clone();
        history.push(old);
        let first = first.order.metrics().certified.i;
        for n in numbers.iter().copied() {
            if !self.voters.contains_key(&n) {
                let mut joining = config(n, &new);
                (joining.founding, joining.history) = (false, history.clone());
                joining.applied = first;
                self.start(n, joining, Arc::default(), Arc::default()).await;
            }
        }
        for voter in self.voters.values_mut() {
            voter.order.reconcile(&new);
            (voter.config.history, voter.config.voters) = (history.clone(), new.clone());
        }
        let until = Instant::now() + PATIENCE;
        loop {
            self.commit_on(3, numbers).await;
            let leader = self.voter(self.leader().await).order.metrics();
            if leader.settled {
                break;
            }
            assert!(Instant::now() < until, "the group did not change");
        }
        self.set = new;
        let gone: Vec<u8> = self.voters.keys().copied().filter(|n| !numbers.contains(n)).collect();
        for n in gone {
            self.crash(n).await;
        }
        self.commit(3).await;
        let expected: BTreeSet<_> = self.set.devices();
        let until = Instant::now() + PATIENCE;
        for voter in self.voters.values() {
            // A follower hears of a change of the group some time after it was committed.
            loop {
                let voters: BTreeSet<_> = voter.order.metrics().voters.into_iter().collect();
                if voters == expected {
                    break;
                }
                assert!(Instant::now() < until, "voter {} counts {voters:?}", voter.number);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_become_five_and_three_again_while_everything_proposed_is_committed() {
    let mut world = World::of(&[1, 2, 3], &[1]).await;
    world.commit(3).await;
    world.change_to(&[1, 2, 3, 4, 5], &[1, 4]).await;
    let leader = world.leader().await;
    let stay: Vec<u8> = (1..=5).filter(|n| *n != leader).take(3).collect();
    world.change_to(&stay, &stay).await;
    world.check_from_first();
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voter_is_replaced_even_if_it_leads() {
    let mut world = World::of(&[1, 2, 3], &[]).await;
    world.commit(3).await;
    let leader = world.leader().await;
    let stay: Vec<u8> = (1..=4).filter(|n| *n != leader).collect();
    world.change_to(&stay, &[]).await;
    world.check_from_first();
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_founder_that_comes_late_founds_no_second_group() {
    let set = voter_set(&[1, 2, 3], &[]);
    let mut world = World::empty(&set);
    for n in [1, 2] {
        world.start(n, config(n, &set), Arc::default(), Arc::default()).await;
    }
    world.commit(3).await;
    world.change_to(&[1, 2, 4], &[]).await;
    let now = voter_set(&[1, 3, 4], &[]);
    let history = vec![set, world.set.clone()];
    let late = crate::RaftConfig { history: history.clone(), ..config(3, &now) };
    world.start(3, late, Arc::default(), Arc::default()).await;
    let founded = |world: &World| {
        let state = world.voter(3).order.shared.state();
        state.ledger.get(0).map(|held| held.entry.clone())
    };
    let first = world.voter(1).order.shared.state().ledger.get(0).map(|held| held.entry.clone());
    assert_eq!(founded(&world), first, "its first entry is everybody's first");
    world.change_to(&[1, 3, 4], &[]).await;
    world.check_from_first();
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn untrusted_voters_commit_only_with_a_trusted_one() {
    let mut world = World::of(&[1, 2, 3], &[3]).await;
    world.commit(3).await;
    world.net.cut(3);
    let bodies = world.propose(1).await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    for n in [1, 2] {
        let log = world.voter(n).log.borrow();
        let has = log.entries.iter().any(|entry| bodies.contains(&entry.body));
        assert!(!has, "without the trusted one");
    }
    world.net.heal();
    world.commit(1).await;
    world.check();
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voter_acknowledges_nothing_whose_bytes_it_lacks_and_stays_a_follower() {
    let mut world = World::of(&[1, 2, 3], &[]).await;
    world.commit(1).await;
    let leader = world.leader().await;
    let (poor, away) = match leader {
        1 => (2, 3),
        2 => (3, 1),
        _ => (1, 2),
    };
    world.net.cut(away);
    let missing = crate::testing::body(1_000_001);
    world.voter(poor).stock.miss(&missing);
    let term = world.voter(leader).order.metrics().term;
    world.voter(leader).order.propose(vec![missing.clone()]).await.unwrap();
    let has = |log: &Log| log.entries.iter().any(|entry| entry.body == missing);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!has(&world.voter(leader).log.borrow()));
    let status = world.voter(poor).order.metrics();
    assert_eq!((status.term, status.leader), (term, Some(crate::testing::device(leader))));
    world.voter(poor).stock.find(&missing);
    let mut log = world.voter(leader).log.clone();
    timeout(PATIENCE, log.wait_for(has)).await.unwrap().unwrap();
    world.net.heal();
    world.commit(1).await;
    world.check();
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voter_that_was_away_for_long_starts_from_a_position_once_its_replica_is_there() {
    let mut world = World::of(&[1, 2, 3], &[]).await;
    world.commit(1).await;
    let leader = world.leader().await;
    let away = if leader == 1 { 2 } else { 1 };
    world.net.cut(away);
    for _ in 0..1_700 {
        world.commit_on(1, &[leader]).await;
    }
    let status = world.voter(leader).order.metrics();
    assert!(status.held < 1_000 + 2 * 500, "the log in memory is bounded: {}", status.held);
    let stock = Arc::clone(&world.voter(away).stock);
    stock.reached.send_replace(0);
    world.net.heal();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(world.voter(away).order.metrics().end.i, 11, "it waits for its replica");
    stock.reached.send_replace(u64::MAX);
    world.commit(1).await;
    let crashed = world.crash(away).await;
    world.restart(crashed).await;
    world.commit(1).await;
    world.stop().await;
}
