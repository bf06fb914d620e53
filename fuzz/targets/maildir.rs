#![no_main]
//! See `floe_fuzz::maildir_names`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| floe_fuzz::maildir_names(bytes));
