//! Reading an archive: snapshots, listings, items. Finds objects by walking the packs' frames once when it is opened.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;

use super::bag::ROOT_MAX_BYTES;
use super::pack::{self, FrameSpan, ObjectForm};
use super::recipe::Recipe;
use super::{AccountEntry, CollectionEntry, Root, Snapshot};
use crate::error::{Error, Result};
use crate::model::{Digest, Exception, Hasher, Placement};
use crate::store::{LocalStore, Store, StoredFile};

/// Decompressed frames that are kept at hand.
const CACHED_FRAMES: usize = 24;
/// Longest line of a listing.
const LINE_MAX_BYTES: usize = 64 << 20;

#[derive(Clone, Copy)]
struct Location {
    pack: u32,
    frame: FrameSpan,
    start: usize,
    len: usize,
    form: ObjectForm,
}

type CachedFrames = Vec<((u32, u64), Arc<Vec<u8>>)>;

/// An archive opened for reading; may be shared between threads.
pub struct Archive {
    store: LocalStore,
    packs: Vec<StoredFile>,
    objects: HashMap<Digest, Location>,
    damage: Vec<String>,
    cache: Mutex<CachedFrames>,
}

impl Archive {
    /// Opens the archive in the folder `path`.
    ///
    /// # Errors
    /// `Kind::Usage` when there is no archive.
    pub fn open(path: &Path) -> Result<Self> {
        let archive = Self::open_any(path)?;
        if archive.packs.is_empty() && archive.store.list("data/snapshots")?.is_empty() {
            return Err(Error::usage("there is no archive in this folder").with("folder", path.display()));
        }
        Ok(archive)
    }

    /// Opens it even if nothing is in it yet. Damaged packs are noted in [`Archive::damage`]; what is whole can be read.
    pub fn open_any(path: &Path) -> Result<Self> {
        let store = LocalStore::new(path);
        let packs: Vec<StoredFile> =
            store.list("data/packs")?.into_iter().filter(|f| pack::pack_digest(&f.name).is_some()).collect();
        let mut archive = Archive { store, packs, objects: HashMap::new(), damage: Vec::new(), cache: Mutex::new(Vec::new()) };
        for (number, file) in archive.packs.iter().enumerate() {
            let spans = match pack::seek_table(&archive.store, &file.name, file.size) {
                Ok(spans) => spans,
                Err(e) => {
                    archive.damage.push(e.to_string());
                    continue;
                }
            };
            let store = &archive.store;
            let walked: Vec<_> = spans
                .par_iter()
                .map(|span| pack::read_frame(store, &file.name, span).and_then(|f| pack::entries(&f)).map(|e| (*span, e)))
                .collect();
            for result in walked {
                match result {
                    Ok((frame, entries)) => {
                        for e in entries {
                            let place = Location { pack: number as u32, frame, start: e.start, len: e.len, form: e.form };
                            archive.objects.entry(e.digest).or_insert(place);
                        }
                    }
                    Err(e) => archive.damage.push(e.to_string()),
                }
            }
        }
        Ok(archive)
    }

    /// Packs and frames that could not be read when the archive was opened.
    pub fn damage(&self) -> &[String] {
        &self.damage
    }

    /// The store that it lies in.
    pub fn store(&self) -> &dyn Store {
        &self.store
    }

    /// Is the object there? Says nothing of whether it is whole.
    pub fn contains(&self, object: Digest) -> bool {
        self.objects.contains_key(&object)
    }

    /// All objects.
    pub fn digests(&self) -> impl Iterator<Item = Digest> + '_ {
        self.objects.keys().copied()
    }

    /// All objects in the order in which they lie in the packs, so that going through them reads each frame about once.
    pub fn digests_in_place(&self) -> Vec<Digest> {
        let mut all: Vec<(u32, u64, usize, Digest)> =
            self.objects.iter().map(|(digest, place)| (place.pack, place.frame.offset, place.start, *digest)).collect();
        all.sort_unstable();
        all.into_iter().map(|(.., digest)| digest).collect()
    }

    /// All committed snapshots, oldest first.
    pub fn snapshots(&self) -> Result<Vec<Snapshot>> {
        let mut snapshots = Vec::new();
        for file in self.store.list("data/snapshots")? {
            let bytes = self.store.read(&file.name, ROOT_MAX_BYTES)?.unwrap_or_default();
            let digest = Digest::of(&bytes);
            let id = file.name.trim_start_matches("data/snapshots/").trim_end_matches(".json").to_owned();
            if !id.ends_with(&digest.to_string()[..12]) {
                return Err(Error::damage("a snapshot root is not the one that its name says").with("file", &file.name));
            }
            snapshots.push(Snapshot { id, digest, root: Root::from_bytes(&bytes).map_err(|e| e.with("file", &file.name))? });
        }
        Ok(snapshots)
    }

    /// The snapshot that `id` names (any unambiguous part of its name), or the newest.
    pub fn snapshot(&self, id: Option<&str>) -> Result<Snapshot> {
        let mut found: Vec<Snapshot> = self.snapshots()?.into_iter().filter(|s| id.is_none_or(|id| s.id.contains(id))).collect();
        if id.is_some() && found.len() > 1 {
            return Err(Error::usage("several snapshots have this in their name").with("id", id.unwrap_or_default()));
        }
        found.pop().ok_or_else(|| Error::usage("no such snapshot").with("id", id.unwrap_or("newest")))
    }

    /// Hands the lines of a listing to `each`, one at a time: a listing may be larger than memory.
    fn lines<T: serde::de::DeserializeOwned>(&self, listing: Digest, each: &mut dyn FnMut(T) -> Result<()>) -> Result<()> {
        let mut lines = Lines {
            line: Vec::new(),
            each: &mut |line| {
                let value = serde_json::from_slice(line)
                    .map_err(|e| Error::damage("a listing has a malformed line").because(e).with("object", listing))?;
                each(value)
            },
            failed: None,
        };
        let copied = self.copy(listing, &mut lines);
        match lines.failed {
            Some(e) => Err(e),
            None => copied.map(|_| ()),
        }
    }

    /// The collections of an account.
    ///
    /// # Errors
    /// `Kind::Damage` when the listing is missing or damaged.
    pub fn collections(&self, account: &AccountEntry) -> Result<Vec<CollectionEntry>> {
        let mut all = Vec::new();
        self.lines(account.listing, &mut |c| {
            all.push(c);
            Ok(())
        })?;
        Ok(all)
    }

    /// Hands the placements of a collection to `each`, in order.
    ///
    /// # Errors
    /// What `each` gives, which ends it at once; `Kind::Damage` when the listing is missing or damaged, and then `each` may have
    /// got some of it.
    pub fn placements(&self, collection: &CollectionEntry, each: &mut dyn FnMut(Placement) -> Result<()>) -> Result<()> {
        self.lines(collection.listing, each)
    }

    /// Hands the exceptions of a listing to `each`, in order.
    ///
    /// # Errors
    /// As [`Archive::placements`].
    pub fn exceptions(&self, listing: Digest, each: &mut dyn FnMut(Exception) -> Result<()>) -> Result<()> {
        self.lines(listing, each)
    }

    fn entry(&self, object: Digest) -> Result<(Arc<Vec<u8>>, Location)> {
        let place = *self.objects.get(&object).ok_or_else(|| Error::damage("an object is missing").with("object", object))?;
        let key = (place.pack, place.frame.offset);
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(i) = cache.iter().position(|(k, _)| *k == key) {
            let hit = cache.remove(i);
            let frame = Arc::clone(&hit.1);
            cache.push(hit);
            return Ok((frame, place));
        }
        drop(cache);
        let frame = Arc::new(pack::read_frame(&self.store, &self.packs[place.pack as usize].name, &place.frame)?);
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= CACHED_FRAMES {
            cache.remove(0);
        }
        cache.push((key, Arc::clone(&frame)));
        Ok((frame, place))
    }

    /// Writes an object's bytes to `out` and checks its digest; returns the bytes written.
    ///
    /// # Errors
    /// `Kind::Damage` when the object or a part of it is missing or damaged: then `out` has got part of it at most.
    pub fn copy(&self, object: Digest, out: &mut dyn Write) -> Result<u64> {
        let mut out = Hashing { out, hasher: Hasher::new(), bytes: 0 };
        let (frame, place) = self.entry(object)?;
        let data = &frame[place.start..place.start + place.len];
        if place.form == ObjectForm::Recipe {
            let mut fetch = |blob: &super::recipe::BlobRef, give: &mut dyn FnMut(&[u8])| {
                let (frame, place) = self.entry(blob.digest)?;
                give(&frame[place.start..place.start + place.len]);
                Ok(())
            };
            Recipe::parse(data)?.rebuild(&mut fetch, &mut out).map_err(|e| e.with("object", object))?;
        } else {
            out.write_all(data).map_err(|e| Error::new(crate::Kind::Storage, "cannot write an object").because(e))?;
        }
        if out.hasher.finish() != object {
            return Err(Error::damage("an object's bytes do not have its digest").with("object", object));
        }
        Ok(out.bytes)
    }

    /// An object's bytes, if they are at most `max_bytes`.
    pub fn read(&self, object: Digest, max_bytes: u64) -> Result<Vec<u8>> {
        let mut bytes = Capped { bytes: Vec::new(), max_bytes };
        self.copy(object, &mut bytes)?;
        Ok(bytes.bytes)
    }
}

/// Cuts what is written to it into lines.
struct Lines<'a> {
    line: Vec<u8>,
    each: &'a mut dyn FnMut(&[u8]) -> Result<()>,
    failed: Option<Error>,
}

impl Write for Lines<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut rest = bytes;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            self.line.extend_from_slice(&rest[..end]);
            if !self.line.is_empty()
                && let Err(e) = (self.each)(&self.line)
            {
                self.failed = Some(e);
                return Err(std::io::ErrorKind::Other.into());
            }
            self.line.clear();
            rest = &rest[end + 1..];
        }
        if self.line.len() + rest.len() > LINE_MAX_BYTES {
            self.failed = Some(Error::damage("a listing has a line longer than a listing's line may be"));
            return Err(std::io::ErrorKind::Other.into());
        }
        self.line.extend_from_slice(rest);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

struct Hashing<'a> {
    out: &'a mut dyn Write,
    hasher: Hasher,
    bytes: u64,
}

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        self.out.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

struct Capped {
    bytes: Vec<u8>,
    max_bytes: u64,
}

impl Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if (self.bytes.len() + bytes.len()) as u64 > self.max_bytes {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
