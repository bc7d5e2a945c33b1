//! Envelopes open as they were sealed, and tell nothing but a step of length.

use super::*;
use proptest::prelude::*;

const AAD: &[u8] = b"header";

fn key() -> EventKey {
    EventKey::derive(&EpochSecret::from_bytes([1; 32]), &[2; 16])
}

proptest! {
    #[test]
    fn what_is_sealed_opens(
        plaintext in proptest::collection::vec(any::<u8>(), 0..2_000),
        aad in proptest::collection::vec(any::<u8>(), 0..60),
        nonce: [u8; 24],
    ) {
        let body = key().seal(&aad, nonce, &plaintext);
        prop_assert_eq!(body.len(), body_bytes(plaintext.len()));
        prop_assert_eq!(key().open(&aad, &body).unwrap(), plaintext);
    }

    #[test]
    fn any_flipped_bit_is_noticed(
        plaintext in proptest::collection::vec(any::<u8>(), 0..200),
        place: proptest::sample::Index,
        bit in 0..8_u32,
    ) {
        let mut body = key().seal(AAD, [3; 24], &plaintext);
        let place = place.index(body.len() + AAD.len());
        let mut aad = AAD.to_vec();
        match body.get_mut(place) {
            Some(byte) => *byte ^= 1 << bit,
            None => aad[place - body.len()] ^= 1 << bit,
        }
        let expected =
            if place < CIPHERTEXT_AT { EnvelopeError::Commitment } else { EnvelopeError::Tag };
        prop_assert_eq!(key().open(&aad, &body).unwrap_err(), expected);
    }

    #[test]
    fn hostile_bodies_never_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(key().open(AAD, &body).is_err());
    }

    #[test]
    fn every_cut_is_noticed(length in 0..200_usize, cut: proptest::sample::Index) {
        let body = key().seal(AAD, [3; 24], &vec![5; length]);
        prop_assert!(key().open(AAD, &body[..cut.index(body.len())]).is_err());
    }
}

#[test]
fn another_epoch_or_app_is_another_key() {
    let body = key().seal(AAD, [3; 24], b"text");
    let others = [
        EventKey::derive(&EpochSecret::from_bytes([9; 32]), &[2; 16]),
        EventKey::derive(&EpochSecret::from_bytes([1; 32]), &[9; 16]),
    ];
    for other in others {
        assert_eq!(other.open(AAD, &body), Err(EnvelopeError::Commitment));
    }
}

#[test]
fn a_body_tells_only_the_step_its_length_falls_into() {
    let lengths = |range: std::ops::Range<usize>| -> Vec<usize> {
        let mut lengths: Vec<_> =
            range.map(|length| key().seal(AAD, [3; 24], &vec![0; length]).len()).collect();
        lengths.dedup();
        lengths
    };
    assert_eq!(lengths(0..29), [104]);
    assert_eq!(lengths(29..61), [136]);
    assert_eq!(lengths(61..125), [168, 200]);
}

/// Seals raw bytes where length, plaintext and zeros belong.
fn seal_padded(mut plain: Vec<u8>) -> Vec<u8> {
    let nonce = [3; 24];
    let tag = cipher::seal(&key().cipher, &nonce, AAD, &mut plain);
    let mut body = nonce.to_vec();
    body.extend_from_slice(key().commitment(&nonce).as_bytes());
    body.extend_from_slice(&plain);
    body.extend_from_slice(&tag);
    body
}

#[test]
fn one_plaintext_has_one_padding() {
    let with_length = |length: u32, size: usize| {
        let mut plain = length.to_le_bytes().to_vec();
        plain.resize(size, 0);
        plain
    };
    assert_eq!(key().open(AAD, &seal_padded(with_length(5, 32))), Ok(vec![0; 5]));
    let mut marked = with_length(5, 32);
    marked[31] = 1;
    for plain in [
        with_length(5, 64),
        with_length(29, 32),
        with_length(u32::MAX, 32),
        with_length(5, 33),
        marked,
    ] {
        assert_eq!(key().open(AAD, &seal_padded(plain)), Err(EnvelopeError::Padding));
    }
}

#[test]
fn keys_are_not_printed() {
    assert_eq!(format!("{:?}", key()), "EventKey(..)");
}

#[cfg(not(feature = "unsealed"))]
#[test]
fn version_1_reads_as_it_was_written() {
    let secret = EpochSecret::from_bytes([1; 32]);
    let body = seal_event(&secret, &[2; 16], AAD, [3; 24], b"a note from version 1");
    let stored = crate::fixture::check("envelope-v1.bin", &body);
    assert_eq!(key().open(AAD, &stored).unwrap(), b"a note from version 1");
}

#[test]
fn plaintext_shows_only_in_a_build_that_says_so() {
    let canary = b"CANARY-1234567890";
    let body = key().seal(AAD, [3; 24], canary);
    let shows = body.windows(canary.len()).any(|window| window == canary);
    assert_eq!(shows, crate::UNSEALED);
}
