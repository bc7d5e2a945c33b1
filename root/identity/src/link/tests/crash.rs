//! Kill -9 at every effect, on either side, briefly and for long.

use super::world::*;
use crate::link::*;

/// Runs a linking with these kills and checks what must hold at its end.
fn check(kills: &[Kill]) -> (Option<AdmitterOutcome>, Option<NewcomerOutcome>) {
    let mut world = World::new();
    world.kills = kills.to_vec();
    world.run();
    let (admitter, newcomer) = world.ends();
    let linked = newcomer == Some(NewcomerOutcome::Linked);
    let story = || format!("{kills:?} ended {admitter:?}, {newcomer:?}\n{}", world.log.join("\n"));
    assert!(newcomer.is_some(), "newcomer hangs: {}", story());
    match admitter {
        Some(AdmitterOutcome::Linked(_)) => assert!(linked, "only one side linked: {}", story()),
        // The newcomer's last word was lost, or it was dead for a day; the caller is told.
        Some(AdmitterOutcome::Unclaimed(_)) => {
            assert_eq!(world.admissions, 1, "unclaimed what was not given: {}", story());
        }
        Some(AdmitterOutcome::Refused(_)) => {
            assert!(!linked, "newcomer linked to nothing: {}", story());
            assert_eq!(world.admissions, 0, "admitted and refused: {}", story());
        }
        None => panic!("admitter hangs: {}", story()),
    }
    assert_eq!(linked, world.joined.is_some(), "joined without an end: {}", story());
    assert!(world.admitter_disk.is_none() && world.newcomer_disk.is_none(), "{}", story());
    (admitter, newcomer)
}

fn every_kill(dead_ms: u64) -> Vec<Kill> {
    let mut straight = World::new();
    straight.run();
    let mut kills = Vec::new();
    for at in 0..straight.effects() {
        for side in [Side::Admitter, Side::Newcomer] {
            for after in [false, true] {
                kills.push(Kill { at, side, after, dead_ms });
            }
        }
    }
    kills
}

#[test]
fn killed_at_any_step_for_a_second_it_ends_linked_or_was_never_begun() {
    let mut linked = 0;
    let mut clean = Vec::new();
    for kill in every_kill(1_000) {
        match check(&[kill]) {
            (_, Some(NewcomerOutcome::Linked)) => linked += 1,
            _ => clean.push(kill),
        }
    }
    // Only a side that was killed before it had stored anything has nothing to come back to.
    assert!(clean.iter().all(|kill| kill.at <= 2), "{clean:?}");
    assert!(linked > 70, "{linked}");
}

#[test]
fn killed_at_any_step_for_long_it_ends_linked_or_clean() {
    for dead_ms in [CODE_LIFETIME_MS, ANSWER_MS + CODE_LIFETIME_MS, ADMISSION_KEPT_MS * 2] {
        for kill in every_kill(dead_ms) {
            check(&[kill]);
        }
    }
}

#[test]
fn killed_twice_in_a_row_it_ends_linked_or_clean() {
    let kills = every_kill(1_000);
    for first in kills.iter().filter(|kill| kill.after) {
        for second in kills.iter().filter(|kill| kill.after) {
            if (first.at + 1..first.at + 5).contains(&second.at) {
                check(&[*first, *second]);
            }
        }
    }
}

#[test]
fn a_newcomer_that_was_away_while_it_was_admitted_asks_again_and_gets_the_same() {
    let mut straight = World::new();
    straight.run();
    let asked = straight.log.iter().position(|line| line.contains("AskPerson")).unwrap();
    let mut world = World::new();
    world.kills =
        vec![Kill { at: asked, side: Side::Newcomer, after: true, dead_ms: ADMISSION_KEPT_MS / 2 }];
    world.run();
    assert_eq!(world.ends().1, Some(NewcomerOutcome::Linked), "{}", world.log.join("\n"));
    assert!(matches!(world.ends().0, Some(AdmitterOutcome::Linked(_))));
    assert_eq!(world.joined.unwrap().admission, ADMISSION);
}
