//! The archive: objects, recipes, frames, packs, listings, roots. Knows nothing of source formats.
//!
//! The only place that uses `tar` and `zstd` for the archive's own files. docs/format.md is the specification that this code
//! follows.

pub(crate) mod bag;
mod cache;
pub mod cut;
pub mod index;
mod known;
mod listing;
pub mod merkle;
mod objects;
pub mod pack;
mod reader;
pub mod recipe;
mod root;
pub(crate) mod spare;
pub(crate) mod tags;
mod verify;
mod without;
mod writer;

pub(crate) use bag::{added, without_packs};
pub use listing::{ListingWriter, line};
pub use reader::Archive;
pub use root::{AccountEntry, CollectionEntry, Options, Original, Root, Snapshot, SourceNote, Tool};
pub use verify::{Check, Findings, verify};
pub(crate) use without::renew;
pub use writer::{Previous, Writer, rebuild_index};
