//! Sources: what is here, whose it is, and every item of it, byte for byte.
//!
//! A [`Reader`] covers one store of one account (a Maildir, an mbox, a folder of calendars). It lists collections, counts
//! their items in a second and cheaper way, and hands every item to an [`ItemSink`]. It knows nothing of archives, never
//! writes to the source, and never follows a link out of it. [`discover()`] finds the readers for a path.

pub mod coding;
pub mod disk;
pub mod eml;
pub mod files;
pub mod maildir;
pub mod mbox;
pub mod mutf7;
pub mod notes;
pub mod pim;

mod apart;
mod discover;
mod format;
mod identify;
mod mail_file;
#[cfg(test)]
mod sinks;

use std::path::PathBuf;

use crate::error::Result;
use crate::model::{CollectionHead, Flag, InternalDate, Outcome, Place};

pub use coding::Coding;
pub use discover::{AccountSource, Discovery, Leftover, discover};
pub use disk::FileStamp;
pub use format::Format;
pub use identify::{CollectionFacts, Identification, identify};

/// Why a path is taken to be of a format.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Evidence {
    /// The format.
    pub format: Format,
    /// What was seen, in words, such as `dovecot-uidlist with UIDVALIDITY 1700000001`.
    pub because: Vec<String>,
}

/// Where an item's bytes are.
#[derive(Debug)]
pub enum Content {
    /// Here, already read.
    Bytes(Vec<u8>),
    /// A whole file, to be opened by whoever needs the bytes.
    File {
        /// The file.
        path: PathBuf,
        /// What it was when it was listed; a reader of the bytes compares again afterwards.
        stamp: FileStamp,
    },
    /// A stretch of a file; used for items too large to be read at once.
    Range {
        /// The file.
        path: PathBuf,
        /// First byte.
        offset: u64,
        /// Bytes.
        length: u64,
    },
}

/// What the source says of an item besides its bytes.
#[derive(Clone, Debug, Default)]
pub struct ItemState {
    /// System flags.
    pub flags: Vec<Flag>,
    /// Keywords.
    pub keywords: Vec<String>,
    /// Labels.
    pub labels: Vec<String>,
    /// Internal date, where the source itself supplies one; else the date ladder goes on to the headers.
    pub date: Option<InternalDate>,
    /// UID of a calendar or contact object.
    pub uid: Option<String>,
    /// Component name of a calendar or contact object.
    pub component: Option<String>,
    /// Unix permission bits of a plain file.
    pub mode: Option<u32>,
    /// The source's own lasting id of the item.
    pub guid: Option<String>,
    /// What is odd about it, in words.
    pub notes: Vec<String>,
}

/// One item as a reader finds it.
#[derive(Debug)]
pub struct FoundItem {
    /// Where it lies.
    pub place: Place,
    /// Where its bytes are.
    pub content: Content,
    /// What must be undone to get the item from these bytes.
    pub coding: Coding,
    /// What the source says of it.
    pub state: ItemState,
}

/// Takes what a reader finds. An `Err` means that the run cannot go on (a full disk): the reader returns it at once.
pub trait ItemSink {
    /// An item.
    fn item(&mut self, item: FoundItem) -> Result<()>;

    /// An item that is left out or cannot be read, counted under `reason`, which is a few fixed words.
    fn exception(&mut self, place: Place, outcome: Outcome, reason: &str, detail: String) -> Result<()>;

    /// A file whose items are slices or parts of it, to be kept whole as well (calendars, address books).
    fn original(&mut self, place: Place, path: PathBuf) -> Result<()>;

    /// How far a file of many items was read, and the XXH3-128 of those bytes; lets the next run go on from there.
    fn read_up_to(&mut self, offset: u64, xxh3: u128);

    /// Reading goes on at an earlier run's end (see [`Grown`]); the earlier items stay as they were.
    fn resumed(&mut self) -> Result<()>;
}

/// What an earlier run read of a file that has only grown since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grown {
    /// Bytes read then.
    pub offset: u64,
    /// XXH3-128 of those bytes.
    pub xxh3: u128,
}

/// Reads one store of one account.
pub trait Reader: Send + Sync {
    /// Which format.
    fn format(&self) -> Format;

    /// The store's place on disk.
    fn root(&self) -> &std::path::Path;

    /// Does it answer for what lies at `path`: hand it on, report it, or know it as what a program keeps there for itself?
    /// Of a folder: for everything in it. Files that no reader of an account answers for are kept as plain files.
    fn covers(&self, path: &std::path::Path) -> bool {
        path.starts_with(self.root())
    }

    /// The collections in a fixed order (by path), described without reading items.
    fn collections(&self) -> Result<Vec<CollectionHead>>;

    /// Stamps of every file whose change could change the collection's listing, sorted by name. Equal stamps mean an equal
    /// listing, so that an unchanged collection is not read again.
    fn stamps(&self, head: &CollectionHead) -> Result<Vec<(String, FileStamp)>>;

    /// Counts the items by a way that shares no code with [`Reader::read`].
    fn count(&self, head: &CollectionHead) -> Result<u64>;

    /// Hands every item of a collection to `sink`, in an order that depends on the store only. `grown` asks to go on
    /// after what an earlier run read, if those bytes are still the same; readers of one file per item ignore it.
    fn read(&self, head: &CollectionHead, grown: Option<Grown>, sink: &mut dyn ItemSink) -> Result<()>;
}

/// The name of a folder, also when the path to it ends in `.` or `..`.
fn name_of(path: &std::path::Path) -> String {
    let name = match path.file_name() {
        Some(name) => Some(name.to_owned()),
        None => std::fs::canonicalize(path).ok().and_then(|p| p.file_name().map(ToOwned::to_owned)),
    };
    name.map_or_else(|| "root".to_owned(), |name| name.to_string_lossy().into_owned())
}
