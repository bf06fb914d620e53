#![no_main]
//! See `floe_fuzz::date`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| floe_fuzz::date(bytes));
