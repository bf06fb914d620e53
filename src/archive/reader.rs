//! Reading an archive: snapshots, listings, items.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use super::cache::FrameCache;
use super::index::{Index, Location};
use super::pack::{self, FrameSpan, ObjectForm};
use super::recipe::{BlobRef, Recipe};
use super::{AccountEntry, CollectionEntry, Root, Snapshot};
use crate::error::{Error, Result};
use crate::model::{Digest, Exception, Hasher, Placement};
use crate::store::{LocalStore, Store};
use crate::vault::{Keys, ROOT_MAX_BYTES, SUFFIX, Vault};

/// Characters of a snapshot's name: its time and twelve digits of its root's digest.
const ROOT_ID_LENGTH: usize = "20261122T210500Z-0123456789ab".len();
/// Longest line of a listing.
const LINE_MAX_BYTES: usize = 64 << 20;

/// An archive opened for reading; may be shared between threads.
pub struct Archive {
    pub(super) vault: Vault,
    pub(super) index: Index,
    cache: FrameCache,
}

impl Archive {
    /// Opens the archive in the folder `path`, which is not encrypted.
    ///
    /// # Errors
    /// As [`Archive::open_with`].
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_with(path, &Keys::default())
    }

    /// Opens the archive in the folder `path` with these keys, which one that is not encrypted does not need.
    ///
    /// # Errors
    /// `Kind::Usage` when there is no archive or it is encrypted and no key was given, `Kind::Key` when the keys do not open it,
    /// `Kind::Storage` when it cannot be read. Damaged packs are no error: what is whole can be read.
    pub fn open_with(path: &Path, keys: &Keys) -> Result<Self> {
        let archive = Self::open_or_locked(path, keys)?;
        if archive.is_locked() { Err(archive.vault.locked()) } else { Ok(archive) }
    }

    /// The same; without keys an encrypted archive is locked. Then the digests of its files can be checked, and nothing be read.
    ///
    /// # Errors
    /// As [`Archive::open_with`].
    pub fn open_or_locked(path: &Path, keys: &Keys) -> Result<Self> {
        let files = LocalStore::new(path);
        // What was complete before a later shipment's disks came stays readable while they do.
        if files.is_being_received() && files.read("bagit.txt", 1 << 10)?.is_none() {
            return Err(Error::damage("this archive is being received: not all of the shipment is here yet")
                .with("archive", path.display())
                .hint("'floe receive MOUNT --archive DIR' takes the next disk; without a MOUNT it says what is missing"));
        }
        let vault = Vault::open(files, keys)?;
        let index = Index::open(&vault)?;
        if index.packs().is_empty() && vault.list("data/snapshots")?.is_empty() && vault.read("bagit.txt", 1 << 10)?.is_none() {
            return Err(Error::usage("there is no archive in this folder").with("folder", path.display()));
        }
        Ok(Self::from_parts(vault, index))
    }

    pub(super) fn from_parts(vault: Vault, index: Index) -> Self {
        Archive { vault, index, cache: FrameCache::default() }
    }

    /// What its files lie in, as they are and as what they hold.
    pub fn vault(&self) -> &Vault {
        &self.vault
    }

    /// Makes an encrypted archive ready for new files: they are for the recipients of the newest root that can be read.
    ///
    /// # Errors
    /// `Kind::Usage` when that is nobody, `Kind::Storage` when the roots cannot be read.
    pub fn for_its_recipients(&mut self) -> Result<()> {
        if !self.is_encrypted() {
            return Ok(());
        }
        let newest = self.snapshots()?.pop();
        self.vault.recipients_as_before(newest.as_ref().map_or(&[], |newest| &newest.root.recipients))
    }

    /// Its files as they lie on the disk.
    pub fn store(&self) -> &dyn Store {
        self.vault.files()
    }

    /// What its files hold, also where they are encrypted. The index and what deals with packs needs this one.
    pub fn contents(&self) -> &dyn Store {
        &self.vault
    }

    /// Is it encrypted, and no key was given?
    pub fn is_locked(&self) -> bool {
        self.vault.is_locked()
    }

    /// Is it encrypted?
    pub fn is_encrypted(&self) -> bool {
        self.vault.is_sealed()
    }

    /// Where its objects are.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Is the object there? Says nothing of whether it is whole.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn contains(&self, object: &Digest) -> Result<bool> {
        Ok(!self.index.find(&self.vault, object)?.is_empty())
    }

    /// All files that should be snapshot roots, oldest first: the snapshot, or what is wrong with the file.
    ///
    /// # Errors
    /// `Kind::Storage` when the folder cannot be read.
    pub fn roots(&self) -> Result<Vec<Result<Snapshot>>> {
        Ok(root_files(&self.vault)?.iter().map(|file| read_root(&self.vault, file)).collect())
    }

    /// All committed snapshots whose roots are whole, oldest first.
    ///
    /// # Errors
    /// `Kind::Storage` when the folder cannot be read.
    pub fn snapshots(&self) -> Result<Vec<Snapshot>> {
        Ok(self.roots()?.into_iter().filter_map(Result::ok).collect())
    }

    /// The snapshot that `id` names (any unambiguous part of its name), or the newest.
    ///
    /// # Errors
    /// `Kind::Usage` when there is none or several, `Kind::Damage` when its root is damaged.
    pub fn snapshot(&self, id: Option<&str>) -> Result<Snapshot> {
        let mut names = root_files(&self.vault)?;
        names.retain(|name| id.is_none_or(|id| root_id(name).contains(id)));
        if id.is_some() && names.len() > 1 {
            return Err(Error::usage("several snapshots have this in their name").with("id", id.unwrap_or_default()));
        }
        let name = names.pop().ok_or_else(|| {
            Error::usage("no such snapshot").with("id", id.unwrap_or("newest")).hint("see 'floe list --snapshots'")
        })?;
        read_root(&self.vault, &name)
    }

    /// Hands the values in a listing to `each`, one at a time: a listing may be larger than memory.
    pub(super) fn lines<T: serde::de::DeserializeOwned>(
        &self,
        listing: Digest,
        each: &mut dyn FnMut(T) -> Result<()>,
    ) -> Result<()> {
        self.raw_lines(listing, &mut |line| {
            let value = serde_json::from_slice(line)
                .map_err(|e| Error::damage("a listing has a malformed line").because(e).with("object", listing))?;
            each(value)
        })
    }

    /// Hands the lines of a listing to `each` as they are, without their line ends.
    ///
    /// # Errors
    /// As [`Archive::placements`].
    pub fn raw_lines(&self, listing: Digest, each: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut lines = Lines { line: Vec::new(), each, failed: None };
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

    /// Hands out the placements as [`Archive::placements`] does, each with its number, from 0, among those of the same item: by it two
    /// placements of one item are told apart.
    ///
    /// # Errors
    /// As [`Archive::placements`].
    pub fn numbered_placements(
        &self,
        collection: &CollectionEntry,
        each: &mut dyn FnMut(Placement, u32) -> Result<()>,
    ) -> Result<()> {
        // Half of a digest tells items apart as well, in half of the memory.
        let mut times: HashMap<[u8; 16], u32> = HashMap::new();
        self.placements(collection, &mut |item| {
            let next = times.entry(item.sha256.half()).or_default();
            let n = *next;
            *next += 1;
            each(item, n)
        })
    }

    /// Hands the exceptions of a listing to `each`, in order.
    ///
    /// # Errors
    /// As [`Archive::placements`].
    pub fn exceptions(&self, listing: Digest, each: &mut dyn FnMut(Exception) -> Result<()>) -> Result<()> {
        self.lines(listing, each)
    }

    /// A frame, decompressed.
    pub(super) fn frame(&self, pack: Digest, span: &FrameSpan) -> Result<Arc<Vec<u8>>> {
        let read = || pack::read_frame(&self.vault, &pack::pack_name(&pack, self.vault.suffix()), span);
        self.cache.get((pack, span.offset), read)
    }

    /// The decompressed frame that holds an object, from any place where it can be read, and the object's place in it.
    fn entry(&self, object: Digest) -> Result<(Arc<Vec<u8>>, Location)> {
        let mut failed = None;
        for place in self.index.find(&self.vault, &object)? {
            match self.frame(place.pack, &place.frame) {
                Ok(frame) if frame.len() as u64 >= u64::from(place.start) + u64::from(place.len) => return Ok((frame, place)),
                Ok(_) => failed = Some(Error::damage("an object lies outside of its frame")),
                Err(e) => failed = Some(e),
            }
        }
        Err(failed.unwrap_or_else(|| Error::damage("an object is missing")).with("object", object))
    }

    /// The blobs of which an object is made, wherever it lies; none when it is stored as it is.
    pub(crate) fn blobs_of(&self, object: Digest) -> Result<Vec<Digest>> {
        let mut blobs = Vec::new();
        for place in self.index.find(&self.vault, &object)?.into_iter().filter(|place| place.form == ObjectForm::Recipe) {
            let frame = self.frame(place.pack, &place.frame)?;
            let recipe = Recipe::parse(data(&frame, &place)).map_err(|e| e.with("object", object))?;
            blobs.extend(recipe.refs().map(|blob| blob.digest));
        }
        Ok(blobs)
    }

    /// Hands a blob that a recipe refers to over to `give`.
    pub(crate) fn fetch(&self, blob: &BlobRef, give: &mut dyn FnMut(&[u8])) -> Result<()> {
        let (frame, place) = self.entry(blob.digest)?;
        give(data(&frame, &place));
        Ok(())
    }

    /// Writes an object's bytes to `out` and checks its digest; returns the bytes written.
    ///
    /// # Errors
    /// `Kind::Damage` when the object or a part of it is missing or damaged: then `out` has got part of it at most.
    pub fn copy(&self, object: Digest, out: &mut dyn Write) -> Result<u64> {
        let mut out = Hashing { out, hasher: Hasher::new(), bytes: 0 };
        self.copy_unchecked(object, &mut out)?;
        if out.hasher.finish() != object {
            return Err(Error::damage("an object's bytes do not have its digest").with("object", object));
        }
        Ok(out.bytes)
    }

    /// Writes an object's bytes to `out` and does not check its digest: for who checks the digest of another form of them.
    ///
    /// # Errors
    /// `Kind::Damage` when the object or a part of it is missing or seen to be damaged: then `out` has got part of it at most.
    pub fn copy_unchecked(&self, object: Digest, out: &mut dyn Write) -> Result<()> {
        let (frame, place) = self.entry(object)?;
        let data = data(&frame, &place);
        if place.form == ObjectForm::Recipe {
            let rebuilt = Recipe::parse(data).and_then(|r| r.rebuild(&mut |blob, give| self.fetch(blob, give), out));
            return rebuilt.map_err(|e| e.with("object", object));
        }
        out.write_all(data).map_err(|e| Error::new(crate::Kind::Storage, "cannot write an object").because(e))
    }

    /// An object's bytes, if they are at most `max_bytes`.
    pub fn read(&self, object: Digest, max_bytes: u64) -> Result<Vec<u8>> {
        let mut bytes = Capped { bytes: Vec::new(), max_bytes };
        self.copy(object, &mut bytes)?;
        Ok(bytes.bytes)
    }
}

fn data<'a>(frame: &'a [u8], place: &Location) -> &'a [u8] {
    frame.get(place.start as usize..place.start as usize + place.len as usize).unwrap_or_default()
}

/// The files that are called like roots, oldest first.
pub(super) fn root_files(store: &dyn Store) -> Result<Vec<String>> {
    let mut names: Vec<String> = store.list("data/snapshots")?.into_iter().map(|f| f.name).collect();
    let end = format!(".json{}", store.suffix());
    names.retain(|name| name.ends_with(&end) && root_id(name).len() == ROOT_ID_LENGTH);
    Ok(names)
}

/// The name of the snapshot in a root's file.
pub(super) fn root_id(file: &str) -> &str {
    file.trim_start_matches("data/snapshots/").trim_end_matches(SUFFIX).trim_end_matches(".json")
}

/// Reads a root file and checks that it is the one that its name says.
pub(super) fn read_root(vault: &Vault, file: &str) -> Result<Snapshot> {
    let bytes = vault.files().read(file, ROOT_MAX_BYTES)?.unwrap_or_default();
    let digest = Digest::of(&bytes);
    let id = root_id(file).to_owned();
    if !id.ends_with(&digest.to_string()[..12]) {
        return Err(Error::damage("a snapshot root is not the one that its name says").with("file", file));
    }
    let bytes = vault.clear(file, bytes)?;
    Ok(Snapshot { id, digest, root: Root::from_bytes(&bytes).map_err(|e| e.with("file", file))? })
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
