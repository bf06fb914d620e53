#![no_main]
//! See `floe_fuzz::card_file`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| floe_fuzz::card_file(bytes));
