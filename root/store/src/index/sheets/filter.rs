//! A filter that says of most keys that a sheet does not have them (Bloom), so that a read looks
//! into hardly more than one sheet.

/// Bits per key. Ten, with seven looks, let one key in a hundred through that is not there.
const BITS_PER_KEY: u64 = 10;
const LOOKS: u64 = 7;

/// The hash of a key that filters use. It is stored in what it sets, so it never changes.
pub(super) fn hash(key: &[u8]) -> u64 {
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut hash = key.len() as u64 ^ MIX;
    let mut add = |word: u64| {
        hash = (hash ^ word).wrapping_mul(MIX);
        hash ^= hash >> 32;
    };
    let (words, rest) = key.as_chunks::<8>();
    words.iter().for_each(|word| add(u64::from_le_bytes(*word)));
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    add(u64::from_le_bytes(last));
    hash.wrapping_mul(MIX) ^ (hash >> 29)
}

/// The bits that are set for the keys of these hashes.
pub(super) fn build(hashes: &[u64]) -> Vec<u8> {
    let bytes = (hashes.len() as u64 * BITS_PER_KEY).div_ceil(8).max(8);
    let mut bits = vec![0; usize::try_from(bytes).expect("a filter fits the memory")];
    for hash in hashes {
        for bit in places(*hash, bytes * 8) {
            bits[bit / 8] |= 1 << (bit % 8);
        }
    }
    bits
}

/// Whether a key of this hash may be among those the filter was built of.
pub(super) fn may_hold(bits: &[u8], hash: u64) -> bool {
    places(hash, bits.len() as u64 * 8).all(|bit| bits[bit / 8] & (1 << (bit % 8)) != 0)
}

fn places(hash: u64, bits: u64) -> impl Iterator<Item = usize> {
    let step = (hash >> 17) | 1;
    // The upper half of a product with a random number is a random place; it is below `bits`.
    let place = move |n: u64| {
        let random = hash.wrapping_add(step.wrapping_mul(n));
        usize::try_from((u128::from(random) * u128::from(bits)) >> 64).unwrap_or(0)
    };
    (0..LOOKS).map(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_let_through_and_hardly_any_other() {
        let key = |n: u32| [b"a key of some length ".as_slice(), &n.to_be_bytes()].concat();
        let hashes: Vec<u64> = (0..10_000).map(|n| hash(&key(n))).collect();
        let bits = build(&hashes);
        assert!(hashes.iter().all(|hash| may_hold(&bits, *hash)));
        let wrong = (10_000..110_000).filter(|n| may_hold(&bits, hash(&key(*n)))).count();
        assert!((200..3_000).contains(&wrong), "{wrong} of 100,000");
    }

    #[test]
    fn stored_hashes_stay_what_they_are() {
        assert_eq!([b"".as_slice(), b"a", b"12345678", b"123456789"].map(hash), [0, 0, 0, 0]);
    }

    #[test]
    fn a_filter_of_nothing_holds_nothing() {
        assert!(!may_hold(&build(&[]), hash(b"x")));
    }
}
