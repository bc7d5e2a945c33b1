//! The list of seeds that found something. They stay, and are run with every check.

use crate::Kind;

/// Each seed of `seeds.txt`, and the kind of its world.
#[must_use]
pub fn listed() -> Vec<(u64, Kind)> {
    include_str!("../seeds.txt").lines().filter_map(read).collect()
}

/// A line is a seed, the kind of world unless it is a plain one, and what it found.
fn read(line: &str) -> Option<(u64, Kind)> {
    let mut words = line.split_whitespace();
    let seed = words.next()?.parse().ok()?;
    let kind = words.next().and_then(Kind::named);
    Some((seed, kind.unwrap_or(Kind::Plain)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_list_is_a_seed_and_some_are_of_other_worlds() {
        let lines = include_str!("../seeds.txt").lines();
        let seeds = lines.filter(|line| !line.starts_with('#')).count();
        assert_eq!(listed().len(), seeds);
        for kind in [Kind::Plain, Kind::Contested, Kind::Lost] {
            assert!(listed().iter().any(|(_, one)| *one == kind), "{kind:?}");
        }
    }
}
