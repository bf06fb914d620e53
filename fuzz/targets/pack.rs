#![no_main]
//! See `floe_fuzz::pack_file`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| floe_fuzz::pack_file(bytes));
