//! Hostile bytes for [`rhizome_fuzz::raft`].
#![no_main]
#![expect(clippy::disallowed_methods, reason = "libFuzzer may write down what it was given")]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    rhizome_fuzz::raft::run(bytes);
});
