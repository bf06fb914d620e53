//! Which objects the archive has already, in a few bytes each.
//!
//! The first eight bytes of every digest are kept in memory. Where they match, the index says for certain: two objects may be made
//! to share eight bytes, but then both are stored.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

use super::index::{Index, Record};
use crate::error::Result;
use crate::model::Digest;
use crate::store::Store;

/// Digests are spread evenly, so their first bytes are their hash.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0 << 8 | u64::from(*byte);
        }
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = n;
    }
}

/// The objects of the packs in the index, and those that were added since.
#[derive(Default)]
pub(super) struct Known {
    prefixes: HashSet<u64, BuildHasherDefault<AsItIs>>,
    /// Added, and in no sealed pack yet.
    unsealed: HashSet<Digest>,
}

fn prefix(digest: &Digest) -> u64 {
    digest.as_bytes().first_chunk().map_or(0, |b| u64::from_le_bytes(*b))
}

impl Known {
    /// All objects in packs that are whole.
    pub(super) fn of(index: &Index, store: &dyn Store) -> Result<Self> {
        let mut known = Known::default();
        index.each(store, &mut |digest, _, whole| {
            if whole {
                known.prefixes.insert(prefix(&digest));
            }
            Ok(())
        })?;
        Ok(known)
    }

    /// Is it there?
    pub(super) fn contains(&self, digest: &Digest, index: &Index, store: &dyn Store) -> Result<bool> {
        Ok(self.prefixes.contains(&prefix(digest)) && (self.unsealed.contains(digest) || index.has_whole(store, digest)?))
    }

    /// From now on it is there.
    pub(super) fn insert(&mut self, digest: Digest) {
        self.prefixes.insert(prefix(&digest));
        self.unsealed.insert(digest);
    }

    /// These are in a sealed pack now, and the index knows them.
    pub(super) fn sealed(&mut self, records: &[Record]) {
        for record in records {
            self.unsealed.remove(&record.digest);
        }
        self.unsealed.shrink_to(self.unsealed.len() * 2);
    }
}
