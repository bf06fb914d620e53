#![no_main]
//! See `floe_fuzz::modified_utf7`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| floe_fuzz::modified_utf7(bytes));
