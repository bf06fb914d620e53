//! Reading an archive: snapshots, listings, items.

use std::io::Write;
use std::path::Path;

use super::{AccountEntry, CollectionEntry, Snapshot};
use crate::error::{Error, Result};
use crate::model::{Digest, Exception, Placement};

/// An archive opened for reading. Cheap to share between threads; any number of readers may be open while one process writes.
pub struct Archive {}

impl Archive {
    /// Opens the archive in the folder `path`.
    ///
    /// # Errors
    /// `Kind::Usage` when there is no archive, `Kind::Damage` when nothing of it can be read.
    pub fn open(path: &Path) -> Result<Self> {
        Err(Error::usage("no archive here").with("path", path.display()))
    }

    /// All committed snapshots, oldest first.
    pub fn snapshots(&self) -> Result<Vec<Snapshot>> {
        Ok(Vec::new())
    }

    /// The snapshot that `id` names (any unambiguous part of its name), or the newest.
    pub fn snapshot(&self, id: Option<&str>) -> Result<Snapshot> {
        Err(Error::usage("no such snapshot").with("id", id.unwrap_or("newest")))
    }

    /// The collections of an account.
    pub fn collections(&self, account: &AccountEntry) -> Result<Vec<CollectionEntry>> {
        let _ = account;
        Ok(Vec::new())
    }

    /// The placements of a collection, streamed in bounded memory.
    pub fn placements(&self, collection: &CollectionEntry) -> Result<impl Iterator<Item = Result<Placement>> + '_> {
        let _ = collection;
        Ok(std::iter::empty())
    }

    /// The exceptions in a listing.
    pub fn exceptions(&self, listing: Digest) -> Result<impl Iterator<Item = Result<Exception>> + '_> {
        let _ = listing;
        Ok(std::iter::empty())
    }

    /// Writes an object's bytes to `out` in bounded memory and checks its digest; returns the bytes written.
    ///
    /// # Errors
    /// `Kind::Damage` when the object or a part of it is missing or damaged: then `out` has got part of it at most.
    pub fn copy(&self, object: Digest, out: &mut dyn Write) -> Result<u64> {
        let _ = out;
        Err(Error::damage("no such object").with("object", object))
    }

    /// An object's bytes, if they are at most `max_bytes`.
    pub fn read(&self, object: Digest, max_bytes: u64) -> Result<Vec<u8>> {
        let _ = max_bytes;
        Err(Error::damage("no such object").with("object", object))
    }
}
