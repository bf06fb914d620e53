//! Where an archive's files live: put once, read ranges, list. A local folder today.
//!
//! Names are relative, with `/` between levels and only `A-Z a-z 0-9 . - _` in them. Everything under `data/` is written
//! once and never changed; the files of a commit become visible together.

mod local;

use std::io::Write;

use crate::error::Result;

pub use local::{LocalStore, RECEIVING, WriterLock};

/// A file of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFile {
    /// Name, relative to the store.
    pub name: String,
    /// Bytes.
    pub size: u64,
}

/// A file being written whose name is not known yet (its digest). Dropped without [`Upload::finish`] it is gone.
pub trait Upload: Write + Send {
    /// Makes the file durable under `name`, unless a file of that name is there already.
    ///
    /// # Errors
    /// `Kind::Storage` if any step fails; then no file of that name appears.
    fn finish(self: Box<Self>, name: &str) -> Result<()>;
}

/// Keeps an archive's files.
pub trait Store: Send + Sync {
    /// The files directly in a folder, sorted by name; a folder that is not there is empty.
    fn list(&self, folder: &str) -> Result<Vec<StoredFile>>;

    /// A whole file of at most `max_bytes`; `None` when it is not there.
    fn read(&self, name: &str, max_bytes: u64) -> Result<Option<Vec<u8>>>;

    /// Fills `buffer` from `offset` on.
    ///
    /// # Errors
    /// `Kind::Storage` when it cannot be read, `Kind::Damage` when it ends before.
    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> Result<()>;

    /// Begins a file that gets its name at the end.
    fn upload(&self) -> Result<Box<dyn Upload>>;

    /// Removes a file that no snapshot needs: one of the cache (`index/`), or what an interrupted run left.
    fn discard(&self, name: &str) -> Result<()>;

    /// Makes all these files durable and visible together: after a crash either all of them are there or none.
    fn commit(&self, files: &[(String, Vec<u8>)]) -> Result<()>;
}
