//! What the cutter holds to: the frames that went in come out, and claims cost nothing.

use super::*;
use proptest::prelude::*;

/// Cuts `wire`, arriving in pieces of `sizes` bytes (then in one piece), into frames.
fn cut(wire: &[u8], sizes: &[usize]) -> Result<Vec<Bytes>, FrameError> {
    let mut cutter = Cutter::default();
    let mut frames = Vec::new();
    let mut rest = Bytes::copy_from_slice(wire);
    let mut sizes = sizes.iter();
    loop {
        while let Some(frame) = cutter.next()? {
            frames.push(frame);
        }
        if rest.is_empty() {
            return cutter.end().map(|_| frames);
        }
        let size = sizes.next().copied().unwrap_or(usize::MAX).min(rest.len());
        cutter.put(rest.split_to(size));
    }
}

fn wire_of(frames: &[Vec<u8>]) -> Vec<u8> {
    let pieces =
        frames.iter().flat_map(|frame| [header_of(frame).unwrap().to_vec(), frame.clone()]);
    pieces.collect::<Vec<_>>().concat()
}

proptest! {
    #[test]
    fn frames_come_out_as_they_went_in_however_the_stream_was_torn(
        frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..12),
        sizes in prop::collection::vec(1usize..30, 0..40),
    ) {
        let cut = cut(&wire_of(&frames), &sizes).unwrap();
        prop_assert_eq!(cut, frames);
    }

    #[test]
    fn hostile_bytes_are_frames_or_an_error(
        wire in prop::collection::vec(any::<u8>(), 0..200),
        sizes in prop::collection::vec(1usize..30, 0..40),
    ) {
        let _ = cut(&wire, &sizes);
    }
}

#[test]
fn a_length_of_four_gibibytes_is_refused_and_nothing_is_allocated() {
    let mut cutter = Cutter::default();
    cutter.put(Bytes::from_static(&[0xff; 64]));
    let error = cutter.next().unwrap_err();
    assert_eq!(error.to_string(), "frame of 4294967295 bytes is larger than 4194304");
    assert_eq!(cutter.partial.capacity(), 0);
}

#[test]
fn the_largest_frame_passes_and_one_byte_more_does_not() {
    let largest = u32::try_from(FRAME_BYTES_MAX).unwrap();
    let mut cutter = Cutter::default();
    cutter.put(Bytes::copy_from_slice(&largest.to_be_bytes()));
    assert!(cutter.next().unwrap().is_none());
    let mut cutter = Cutter::default();
    cutter.put(Bytes::copy_from_slice(&(largest + 1).to_be_bytes()));
    assert!(cutter.next().is_err());
    assert!(header_of(&vec![0; FRAME_BYTES_MAX]).is_ok());
    assert!(header_of(&vec![0; FRAME_BYTES_MAX + 1]).is_err());
}

#[test]
fn the_buffer_grows_with_what_arrives_not_with_what_is_claimed() {
    let mut cutter = Cutter::default();
    cutter.put(Bytes::copy_from_slice(&(4u32 << 20).to_be_bytes()));
    assert!(cutter.next().unwrap().is_none());
    for _ in 0..10 {
        cutter.put(Bytes::from_static(&[7; 100]));
        assert!(cutter.next().unwrap().is_none());
    }
    assert_eq!(cutter.partial.len(), 1000);
    assert!(cutter.partial.capacity() <= 2048, "{}", cutter.partial.capacity());
}

#[test]
fn a_stream_that_ends_inside_a_frame_says_how_much_is_missing() {
    let wire = wire_of(&[vec![1, 2, 3]]);
    let said = |bytes: usize| cut(&wire[..bytes], &[]).unwrap_err().to_string();
    assert_eq!(said(2), "stream ended 2 bytes before the end of a frame");
    assert_eq!(said(5), "stream ended 2 bytes before the end of a frame");
    assert_eq!(cut(&wire, &[]).unwrap(), [vec![1, 2, 3]]);
}

/// Version 1 of the format: three frames, empty, short, and 300 bytes that count up. Written by
/// `UPDATE_FIXTURES=1 cargo test -p rhizome-net version_1`.
#[test]
fn version_1_of_the_format_is_still_read() {
    let counting = (0u16..300).map(|n| n.to_le_bytes()[0]).collect();
    let frames = [Vec::new(), b"rhizome".to_vec(), counting];
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/frames-v1.bin");
    if std::env::var("UPDATE_FIXTURES").is_ok() {
        std::fs::write(path, wire_of(&frames)).unwrap();
    }
    assert_eq!(cut(&std::fs::read(path).unwrap(), &[]).unwrap(), frames);
}
