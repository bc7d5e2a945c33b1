//! Which sheets are to be merged: pure.

/// How many sheets of about one size are merged into one. Fewer would write each entry more often,
/// more would let reads look into more sheets.
const FAN: usize = 4;

/// From how many sheets on they are merged although their sizes differ.
const CROWD: usize = 12;

/// Sheets up to this size count as equal: what a burst brings between two looks.
const CLASS_BYTES: u64 = 8 << 20;

/// The class of a size: how often it can be divided by [`FAN`] until it is in the lowest.
fn class(bytes: u64) -> u32 {
    let mut class = 0;
    let mut rest = bytes / CLASS_BYTES;
    while rest > 0 {
        class += 1;
        rest /= FAN as u64;
    }
    class
}

/// How many of the newest sheets are to be merged into one, given the sizes of all, newest first.
/// Only neighbours can be merged, for a newer entry hides an older one.
pub(super) fn plan(sizes: &[u64]) -> Option<usize> {
    let highest = sizes.iter().map(|bytes| class(*bytes)).max()?;
    (0..=highest).find_map(|limit| {
        let newest = sizes.iter().take_while(|bytes| class(**bytes) <= limit).count();
        let alike = sizes[..newest].iter().filter(|bytes| class(**bytes) == limit).count();
        (alike >= FAN || newest >= CROWD).then_some(newest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1 << 20;
    const M: u64 = 10 << 20;
    const L: u64 = 40 << 20;

    #[test]
    fn four_of_a_size_become_one() {
        assert_eq!(plan(&[]), None);
        assert_eq!(plan(&[S, S, S]), None);
        assert_eq!(plan(&[S, S, S, S]), Some(4));
        assert_eq!(plan(&[S, S, S, S, M, L]), Some(4));
        assert_eq!(plan(&[S, S, S, M, M, M]), None);
    }

    #[test]
    fn small_ones_in_front_go_along_and_large_ones_behind_stay() {
        assert_eq!(plan(&[S, M, M, M, M, L]), Some(5));
        assert_eq!(plan(&[M, S, S, S, S]), None, "four alike, but not the newest");
        assert_eq!(plan(&[M, M, S, M, M]), Some(5));
    }

    #[test]
    fn a_crowd_of_any_sizes_is_merged() {
        let mixed = [M, S, L, S, M, S, L, S, M, S, L];
        assert_eq!(plan(&mixed), None);
        assert_eq!(plan(&[&[S], mixed.as_slice()].concat()), Some(12));
    }

    #[test]
    fn every_entry_is_written_a_few_times_and_sheets_stay_few() {
        let (mut sizes, mut written, mut most) = (Vec::new(), 0, 0);
        for _ in 0..1_000 {
            sizes.insert(0, 4 * S);
            while let Some(count) = plan(&sizes) {
                let merged = sizes.drain(..count).sum();
                written += merged;
                sizes.insert(0, merged);
            }
            most = most.max(sizes.len());
        }
        assert!(most <= CROWD, "{most} sheets");
        assert!(written < 6 * 4_000 * S, "{} times", written / (4_000 * S));
    }
}
