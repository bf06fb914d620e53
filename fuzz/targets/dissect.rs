#![no_main]
//! See `floe_fuzz::dissect`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| floe_fuzz::dissect(bytes));
