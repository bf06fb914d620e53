//! Does the target hold what the archive holds? Compares what is read back with what was archived; asks nobody, writes nothing.

pub mod dav;
pub mod mail;
pub mod read;
