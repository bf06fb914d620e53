//! What the tests of robustness share: running the binary under limits, made-up mail whose every byte is known, and looking
//! into archives from outside.

#![allow(dead_code, reason = "each test binary uses its share")]
#![allow(clippy::print_stdout, reason = "tests print their seeds")]

pub mod archives;
pub mod authority;
pub mod keys;
pub mod mail;
pub mod program;
pub mod proxy;
pub mod servers;
pub mod way;

/// Says why a test did not run; past the harness, which would keep it back.
pub fn skipped(why: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}
