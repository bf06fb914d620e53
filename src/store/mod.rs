//! Where an archive's files live: put once, read ranges, list. A local folder today.
//!
//! Names are relative, with `/` between levels and only `A-Z a-z 0-9 . - _` in them. Everything under `data/` is written
//! once and never changed; the files of a commit become visible together.

mod local;

use std::io::Write;

use crate::error::Result;
use crate::model::Digest;

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

    /// The same under a name that comes of the digest of the file as it lies there; gives the digest and the file's bytes.
    ///
    /// # Errors
    /// As [`Upload::finish`].
    fn finish_as(self: Box<Self>, name: &dyn Fn(&Digest) -> String) -> Result<(Digest, u64)>;
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

    /// Fills the beginning of `buffer` from `offset` on, as far as what lies there is whole; gives the bytes that were filled.
    ///
    /// # Errors
    /// As [`Store::read_at`], when nothing was filled.
    fn read_whole_part(&self, name: &str, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        self.read_at(name, offset, buffer).map(|()| buffer.len())
    }

    /// Bytes that a file of `size` bytes holds: fewer than it has where it is encrypted.
    ///
    /// # Errors
    /// As [`Store::read_at`].
    fn content_bytes(&self, _name: &str, size: u64) -> Result<u64> {
        Ok(size)
    }

    /// What the names of files end in that are encrypted; nothing where none is.
    fn suffix(&self) -> &'static str {
        ""
    }

    /// Can the content of files be read? Not where they are encrypted and there is no key.
    fn is_readable(&self) -> bool {
        true
    }

    /// Begins a file that gets its name at the end.
    fn upload(&self) -> Result<Box<dyn Upload>>;

    /// The same for a file that takes the place of `name`, and can be read by exactly those who can read that one.
    ///
    /// # Errors
    /// As [`Store::read_at`], when that one has to be read for this.
    fn upload_for_readers_of(&self, _name: &str) -> Result<Box<dyn Upload>> {
        self.upload()
    }

    /// Removes a file that no snapshot needs: one of the cache (`index/`), or what an interrupted run left.
    fn discard(&self, name: &str) -> Result<()>;

    /// Makes all these files durable and visible together: after a crash either all of them are there or none.
    fn commit(&self, files: &[(String, Vec<u8>)]) -> Result<()>;
}
