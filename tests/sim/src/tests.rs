//! A world of each kind. `cargo verify sim` runs many, and every seed that ever found something.

use crate::Kind;
use crate::run;

#[test]
fn the_same_seed_is_the_same_run() {
    for kind in Kind::ALL {
        assert_eq!(run(1, kind), run(1, kind), "{kind:?}");
    }
}

#[test]
fn another_seed_is_another_run() {
    assert_ne!(run(2, Kind::Lost).1, run(3, Kind::Lost).1);
}

#[test]
fn worlds_side_by_side_run_as_they_do_alone() {
    let kind = Kind::Lost;
    let together = crate::sweep::all(4..6, 2, |seed| run(seed, kind));
    assert_eq!(together, [run(4, kind), run(5, kind)]);
}

#[test]
fn the_page_about_hostile_scripts_lists_each_of_them() {
    let page = include_str!("../../../docs/hostile.md");
    for entry in crate::hostile::scripts() {
        let line = format!("| {} | {} |", entry.name, entry.line);
        assert!(page.contains(&line), "docs/hostile.md does not say: {line}");
    }
}
