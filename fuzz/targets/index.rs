#![no_main]
//! See `floe_fuzz::index_file`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| floe_fuzz::index_file(bytes));
