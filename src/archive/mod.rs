//! The archive: objects, recipes, frames, packs, index, listings, roots, bag. Knows nothing of source formats.
//!
//! The only place that uses `tar` and `zstd`. docs/format.md is the specification that this code follows.

mod reader;
mod root;

pub use reader::Archive;
pub use root::{AccountEntry, CollectionEntry, Options, Original, Root, Snapshot, SourceNote, Tool};
