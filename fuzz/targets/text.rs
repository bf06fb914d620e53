#![no_main]
//! See `floe_fuzz::text`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| floe_fuzz::text(bytes));
