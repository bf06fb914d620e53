#![no_main]
//! See `floe_fuzz::calendar_file`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| floe_fuzz::calendar_file(bytes));
