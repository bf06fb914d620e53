//! What an earlier run saw of the sources, so that unchanged files are not read again.
//!
//! One file in the cache (`index/seen/`), named after the snapshot that it belongs to. For each collection it has the digest of
//! its files' stamps, its entry in the account listing, and for each item that is a file of its own a key with the place of
//! its line in the collection listing. A file whose time is too young to tell a later change from it is not remembered.
//!
//! ```text
//! "floeseen1" LF | records and collections of each account | accounts, JSON | u64 where that begins | SHA-256 of that JSON
//! ```

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::archive::{Archive, CollectionEntry, Findings, Writer};
use crate::error::{Error, Kind, Result};
use crate::model::{CollectionHead, Digest, Hasher};
use crate::source::{Content, FileStamp, FoundItem, Grown, Reader};
use crate::store::{Store, StoredFile, Upload};
use crate::vault::Scratch;

const FOLDER: &str = "index/seen";
const MAGIC: &[u8; 10] = b"floeseen1\n";
const KEY_BYTES: usize = 16;
const RECORD_BYTES: usize = KEY_BYTES + 12;
const TAIL_BYTES: u64 = 40;
/// Largest part that is read into memory at once.
const PART_MAX_BYTES: u64 = 2 << 30;
/// A file changed so shortly before it was seen may change again without showing it, where times are whole seconds.
const COARSE_NS: i64 = 2_000_000_000;
/// The same where times are finer.
const FINE_NS: i64 = 100_000_000;

/// What a file is known by: its stamp, and its name without what a server changes in it. Cut SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key([u8; KEY_BYTES]);

impl Key {
    /// The key of an item that is a whole file, unless the file is too young.
    pub(super) fn of(item: &FoundItem) -> Option<Self> {
        let Content::File { stamp, .. } = &item.content else { return None };
        is_settled(stamp).then(|| Self::new(stamp, &item.place.path))
    }

    fn new(stamp: &FileStamp, path: &str) -> Self {
        let name = path.rsplit('/').next().unwrap_or(path);
        // A Maildir's flags are behind this; a message keeps the part before.
        let name = name.split(":2,").next().unwrap_or(name);
        let mut hasher = Hasher::new();
        hasher.update(&stamp.size.to_le_bytes());
        hasher.update(&stamp.mtime_ns.to_le_bytes());
        hasher.update(&stamp.inode.to_le_bytes());
        hasher.update(name.as_bytes());
        let mut key = [0; KEY_BYTES];
        key.copy_from_slice(&hasher.finish().as_bytes()[..KEY_BYTES]);
        Key(key)
    }
}

/// Has the file been at rest for so long that a later change shows in its stamp?
fn is_settled(stamp: &FileStamp) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_nanos()).unwrap_or(i64::MAX));
    let margin = if stamp.mtime_ns % 1_000_000_000 == 0 { COARSE_NS } else { FINE_NS };
    stamp.mtime_ns < now.saturating_sub(margin)
}

/// One collection as an earlier run saw it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SeenCollection {
    /// Folder of the store.
    store: String,
    /// Digest of the stamps of all files that the listing comes from; none where one was too young.
    stamps: Option<Digest>,
    /// Its entry in the account listing.
    pub(super) entry: CollectionEntry,
    /// How far a file of many items was read.
    grown: Option<(u64, u128)>,
    /// The records: where they begin in the file, and how many.
    records: (u64, u64),
    /// SHA-256 of the records.
    sha256: Digest,
}

impl SeenCollection {
    /// How far a file of many items was read.
    pub(super) fn grown(&self) -> Option<Grown> {
        self.grown.map(|(offset, xxh3)| Grown { offset, xxh3 })
    }
}

/// Where an account's collections lie in the file.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Section {
    at: u64,
    bytes: u64,
    sha256: Digest,
}

/// The stamps of a collection as one digest, unless a file is too young.
pub(super) fn stamps(reader: &dyn Reader, head: &CollectionHead) -> Option<Digest> {
    let stamps = reader.stamps(head).ok()?;
    let mut hasher = Hasher::new();
    for (name, stamp) in &stamps {
        if !is_settled(stamp) {
            return None;
        }
        hasher.update(name.as_bytes());
        hasher.update(&[0]);
        hasher.update(&stamp.size.to_le_bytes());
        hasher.update(&stamp.mtime_ns.to_le_bytes());
        hasher.update(&stamp.inode.to_le_bytes());
    }
    Some(hasher.finish())
}

/// What the newest run that finished saw.
#[derive(Default)]
pub(super) struct Earlier {
    name: String,
    accounts: BTreeMap<String, Section>,
}

impl Earlier {
    /// Reads the table of accounts. Nothing is known when there is no such file, or it is not whole, or of another version.
    pub(super) fn open(archive: &Archive) -> Self {
        Self::read(archive).unwrap_or_default()
    }

    fn read(archive: &Archive) -> Option<Self> {
        let store = archive.contents();
        let file = store.list(FOLDER).ok()?.into_iter().rfind(|f| f.name.ends_with(store.suffix()))?;
        let (version, accounts) = table(store, &file)?;
        (version == env!("CARGO_PKG_VERSION")).then_some(Earlier { name: file.name, accounts })
    }

    /// The collections of an account.
    pub(super) fn account(&self, archive: &Archive, account: &str) -> Vec<SeenCollection> {
        let read = || {
            let section = self.accounts.get(account)?;
            let bytes = part(archive.contents(), &self.name, section.at, section.bytes)?;
            (Digest::of(&bytes) == section.sha256).then_some(())?;
            serde_json::from_slice(&bytes).ok()
        };
        read().unwrap_or_default()
    }

    /// The records of a collection, sorted by key.
    pub(super) fn records(&self, archive: &Archive, seen: &SeenCollection) -> Vec<u8> {
        let (at, count) = seen.records;
        let bytes = part(archive.contents(), &self.name, at, count.saturating_mul(RECORD_BYTES as u64)).unwrap_or_default();
        if Digest::of(&bytes) == seen.sha256 { bytes } else { Vec::new() }
    }
}

/// The version that wrote the file, and its table of accounts, if that is whole.
fn table(store: &dyn Store, file: &StoredFile) -> Option<(String, BTreeMap<String, Section>)> {
    let mut tail = [0u8; TAIL_BYTES as usize];
    let size = store.content_bytes(&file.name, file.size).ok()?;
    store.read_at(&file.name, size.checked_sub(TAIL_BYTES)?, &mut tail).ok()?;
    let (at, digest) = tail.split_first_chunk::<8>()?;
    let at = u64::from_le_bytes(*at);
    let table = part(store, &file.name, at, (size - TAIL_BYTES).checked_sub(at)?)?;
    if Digest::of(&table) != Digest::from_bytes(*digest.first_chunk()?) {
        return None;
    }
    serde_json::from_slice(&table).ok()
}

/// Names what is damaged of what earlier runs saw. Nothing is lost by it: the next run reads everything again.
///
/// # Errors
/// `Kind::Storage` when the folder cannot be read.
pub fn check(archive: &Archive, found: &mut Findings) -> Result<()> {
    let store = archive.contents();
    if !store.is_readable() {
        return Ok(());
    }
    for file in store.list(FOLDER)?.into_iter().filter(|f| f.name.ends_with(store.suffix())) {
        if is_whole(store, &file).is_none() {
            found.warnings.push(format!("{} is damaged: the next snapshot reads everything again and makes it anew", file.name));
        }
    }
    Ok(())
}

/// Has every part of the file the digest that it should?
fn is_whole(store: &dyn Store, file: &StoredFile) -> Option<()> {
    let right = |at: u64, bytes: u64, sha256: Digest| part(store, &file.name, at, bytes).filter(|b| Digest::of(b) == sha256);
    right(0, MAGIC.len() as u64, Digest::of(MAGIC))?;
    for section in table(store, file)?.1.into_values() {
        let collections = right(section.at, section.bytes, section.sha256)?;
        for seen in serde_json::from_slice::<Vec<SeenCollection>>(&collections).ok()? {
            let (at, count) = seen.records;
            right(at, count.checked_mul(RECORD_BYTES as u64)?, seen.sha256)?;
        }
    }
    Some(())
}

fn part(store: &dyn Store, name: &str, at: u64, bytes: u64) -> Option<Vec<u8>> {
    let mut part = vec![0u8; usize::try_from(bytes).ok().filter(|b| *b as u64 <= PART_MAX_BYTES)?];
    store.read_at(name, at, &mut part).ok()?;
    Some(part)
}

/// The collection of these that is this one.
pub(super) fn find<'a>(all: &'a [SeenCollection], store: &Path, head: &CollectionHead) -> Option<&'a SeenCollection> {
    let store = store.to_string_lossy();
    all.iter().find(|c| c.store == store && c.entry.head.path == head.path && c.entry.head.source_path == head.source_path)
}

impl SeenCollection {
    /// Are all its files as they were?
    pub(super) fn is_unchanged(&self, stamps: Option<Digest>) -> bool {
        stamps.is_some() && self.stamps == stamps
    }
}

/// The lines of an earlier listing by the keys of their items' files.
pub(super) struct OldLines {
    records: Vec<u8>,
    listing: Scratch,
}

impl OldLines {
    /// Of a listing copied to a file, and its records.
    pub(super) fn new(records: Vec<u8>, listing: Scratch) -> Self {
        OldLines { records, listing }
    }

    /// The line of the file with this key.
    pub(super) fn get(&self, key: &Key) -> Option<Vec<u8>> {
        let (rows, _) = self.records.as_chunks::<RECORD_BYTES>();
        let row = &rows[rows.binary_search_by(|row| row[..KEY_BYTES].cmp(&key.0)).ok()?];
        let (at, length) = row[KEY_BYTES..].split_first_chunk::<8>()?;
        let mut line = vec![0u8; u32::from_le_bytes(*length.first_chunk()?) as usize];
        self.listing.read_exact_at(&mut line, u64::from_le_bytes(*at)).ok()?;
        Some(line)
    }
}

/// Records of a collection being captured.
#[derive(Default)]
pub(super) struct Records(Vec<[u8; RECORD_BYTES]>);

impl Records {
    /// The file with this key has this line.
    pub(super) fn add(&mut self, key: Key, at: u64, line: &[u8]) {
        let mut row = [0u8; RECORD_BYTES];
        row[..KEY_BYTES].copy_from_slice(&key.0);
        row[KEY_BYTES..KEY_BYTES + 8].copy_from_slice(&at.to_le_bytes());
        row[KEY_BYTES + 8..].copy_from_slice(&(line.len() as u32).to_le_bytes());
        self.0.push(row);
    }

    fn into_bytes(mut self) -> Vec<u8> {
        self.0.sort_unstable();
        // Two files with one key cannot be told apart, so both are read again.
        let doubled: Vec<Key> = self
            .0
            .windows(2)
            .filter(|w| w[0][..KEY_BYTES] == w[1][..KEY_BYTES])
            .filter_map(|w| w[0].first_chunk().copied().map(Key))
            .collect();
        self.0.retain(|row| doubled.binary_search_by(|key| key.0[..].cmp(&row[..KEY_BYTES])).is_err());
        self.0.into_flattened()
    }
}

/// Writes what this run saw.
pub(super) struct SeenWriter {
    upload: Box<dyn Upload>,
    at: u64,
    accounts: BTreeMap<String, Section>,
    collections: Vec<SeenCollection>,
}

impl SeenWriter {
    /// Begins the file; it counts only when it is finished.
    pub(super) fn new(writer: &Writer) -> Result<Self> {
        let mut seen = SeenWriter { upload: writer.cache_file()?, at: 0, accounts: BTreeMap::new(), collections: Vec::new() };
        seen.put(MAGIC)?;
        Ok(seen)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.at += bytes.len() as u64;
        self.upload.write_all(bytes).map_err(|e| Error::new(Kind::Storage, "cannot write what was seen").because(e))
    }

    /// A collection that was read.
    pub(super) fn collection(
        &mut self,
        store: &Path,
        stamps: Option<Digest>,
        entry: CollectionEntry,
        grown: Option<Grown>,
        records: Records,
    ) -> Result<()> {
        let grown = grown.map(|g| (g.offset, g.xxh3));
        let store = store.to_string_lossy().into_owned();
        self.keep(SeenCollection { store, stamps, entry, grown, records: (0, 0), sha256: Digest::of(&[]) }, &records.into_bytes())
    }

    /// A collection that is as it was, with its records.
    pub(super) fn keep(&mut self, seen: SeenCollection, records: &[u8]) -> Result<()> {
        let count = (records.len() / RECORD_BYTES) as u64;
        self.collections.push(SeenCollection { records: (self.at, count), sha256: Digest::of(records), ..seen });
        self.put(records)
    }

    /// The account is complete.
    pub(super) fn account(&mut self, account: &str) -> Result<()> {
        let bytes = to_json(&std::mem::take(&mut self.collections))?;
        self.accounts.insert(account.to_owned(), Section { at: self.at, bytes: bytes.len() as u64, sha256: Digest::of(&bytes) });
        self.put(&bytes)
    }

    /// Gives the file its name and removes those of earlier runs. Only after the snapshot is committed: what is remembered must be in it.
    pub(super) fn finish(mut self, archive: &Archive, snapshot: &str) -> Result<()> {
        let table = to_json(&(env!("CARGO_PKG_VERSION"), &self.accounts))?;
        let at = self.at;
        self.put(&table)?;
        self.put(&at.to_le_bytes())?;
        self.put(Digest::of(&table).as_bytes())?;
        let name = format!("{FOLDER}/{snapshot}{}", archive.contents().suffix());
        self.upload.finish(&name)?;
        for old in archive.store().list(FOLDER)?.into_iter().filter(|f| f.name != name) {
            archive.store().discard(&old.name)?;
        }
        Ok(())
    }
}

fn to_json(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|e| Error::new(Kind::Internal, "cannot write what was seen").because(e))
}
