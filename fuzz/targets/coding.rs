#![no_main]
//! See `floe_fuzz::coding`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| floe_fuzz::coding(bytes));
