//! Hostile bytes for [`rhizome_fuzz::car`].
#![no_main]
#![expect(clippy::disallowed_methods, reason = "libFuzzer may write down what it was given")]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    rhizome_fuzz::car::run(bytes);
});
