#![no_main]
//! See `floe_fuzz::mbox_file`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| floe_fuzz::mbox_file(bytes));
