//! The archive: objects, recipes, frames, packs, listings, roots. Knows nothing of source formats.
//!
//! The only place that uses `tar` and `zstd` for the archive's own files. docs/format.md is the specification that this code
//! follows.

pub mod pack;
pub mod recipe;
mod root;

pub use root::{AccountEntry, CollectionEntry, Options, Original, Root, Snapshot, SourceNote, Tool};
