#![no_main]
//! See `floe_fuzz::recipe`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| floe_fuzz::recipe(bytes));
