#![no_main]
//! See `floe_fuzz::listing`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| floe_fuzz::listing(bytes));
