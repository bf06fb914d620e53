//! Writing an archive: objects into frames, frames into packs, and the commit that makes a snapshot of them.

use std::collections::{HashSet, VecDeque};
use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};

use jiff::Timestamp;

use super::bag;
use super::index::{Index, Record, index_files};
use super::known::Known;
use super::merkle;
use super::pack::{self, EntrySpan, ObjectForm, PackWriter, SORTS, Sort};
use super::reader::{read_root, root_files, root_id};
use super::spare;
use super::{Archive, Root, Snapshot};
use crate::error::{Error, Kind, Result};
use crate::model::Digest;
use crate::proof::{events, tombstone};
use crate::store::{LocalStore, Store, Upload, WriterLock};
use crate::vault::{self, KEY_FILE, Keys, Protection, ROOT_MAX_BYTES, Scratch, Vault};

/// Full frames that are being compressed or wait to be written.
const FRAMES_UNDER_WAY: usize = 8;

#[derive(Default)]
struct Frame {
    bytes: Vec<u8>,
    entries: Vec<EntrySpan>,
    data_bytes: u64,
}

/// A frame on its way into a pack: what is in it, and where its compressed bytes will come from.
struct Compressing {
    bytes: usize,
    data_bytes: u64,
    entries: Vec<EntrySpan>,
    compressed: Receiver<Result<Vec<u8>>>,
}

/// A pack being filled, and the records of what is in it.
struct OpenPack {
    writer: PackWriter,
    records: Vec<Record>,
}

/// The one writer of an archive.
pub struct Writer {
    /// What is there already.
    archive: Archive,
    _lock: WriterLock,
    known: Known,
    previous: Option<Previous>,
    is_whole: bool,
    open: [Frame; SORTS.len()],
    under_way: VecDeque<Compressing>,
    pack: Option<OpenPack>,
    level: i32,
    new_objects: u64,
}

impl Writer {
    /// Opens the archive for writing, or makes a new one. What an interrupted run packed is used again, once its digest is
    /// found right.
    ///
    /// # Errors
    /// `Kind::Locked` when another process writes, `Kind::Storage` when the archive cannot be read or written.
    pub fn open(path: &Path, level: i32) -> Result<Self> {
        Self::open_with(path, level, &Protection::default())
    }

    /// The same, where the archive is or is to be encrypted.
    ///
    /// # Errors
    /// `Kind::Usage` when an archive that is there is encrypted and was not to be, or the other way round, or cannot be read for
    /// want of a key; `Kind::Key` when the key is another's; else as [`Writer::open`].
    pub fn open_with(path: &Path, level: i32, protection: &Protection) -> Result<Self> {
        // Asked before anything is written.
        let files = LocalStore::new(path);
        let was_there = vault::is_there(&files)?;
        let (mut vault, key) = Vault::for_writing(files, protection)?;
        let lock = vault.files().lock()?;
        if vault::is_there(vault.files())? != was_there {
            return Err(Error::new(Kind::Locked, "another floe made this archive at the same moment")
                .with("archive", path.display())
                .hint("run the same command again"));
        }
        let previous = previous(&vault)?;
        vault.recipients_as_before(previous.as_ref().map_or(&[], Previous::recipients))?;
        let files = vault.files();
        tombstone::finish(&vault)?;
        if files.read("bagit.txt", 1 << 10)?.is_none() {
            // A valid bag from the first moment on, also when the first run never ends.
            let key = key.map(|bytes| (KEY_FILE.to_owned(), bytes));
            files.commit(&bag::first(vault.is_sealed(), key, Timestamp::now()))?;
        }
        let listed = bag::payload(files)?;
        if let Some(listed) = &listed {
            // Without a manifest it is not known which packs are committed, and what is left of those is not thrown away.
            bag::discard_useless_packs(files, listed, vault.is_locked())?;
            if vault.is_locked() && !listed.iter().any(|name| pack::pack_digest(name).is_some()) {
                // They tell of those packs, and later nobody would know what they are.
                index_files(&vault)?.iter().try_for_each(|file| files.discard(&file.name))?;
            }
        }
        let mut index = Index::open(&vault)?;
        index.tidy(&vault)?;
        let there: HashSet<&str> = index.packs().iter().map(|f| f.name.as_str()).collect();
        let missing = listed.iter().flatten().any(|name| pack::pack_digest(name).is_some() && !there.contains(name.as_str()));
        let is_whole = !missing && index.is_all_whole();
        let known = Known::of(&index, &vault)?;
        let (open, under_way) = (Default::default(), VecDeque::new());
        let archive = Archive::from_parts(vault, index);
        Ok(Writer { archive, _lock: lock, known, previous, is_whole, open, under_way, pack: None, level, new_objects: 0 })
    }

    /// The newest snapshot whose root is whole.
    pub fn previous(&self) -> Option<&Previous> {
        self.previous.as_ref()
    }

    /// For whom is encrypted; nobody where the archive is not.
    pub fn recipients(&self) -> Vec<String> {
        self.archive.vault.recipients().iter().map(ToString::to_string).collect()
    }

    /// Are all packs there in the size that they were written with? If not, unchanged sources must be read again, so that
    /// what is lost is stored anew.
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Objects stored by this writer.
    pub fn new_objects(&self) -> u64 {
        self.new_objects
    }

    /// What the archive holds so far; the object of a pack that is not sealed yet cannot be read.
    pub fn archive(&self) -> &Archive {
        &self.archive
    }

    /// Everything that is settled, to be read while more is written.
    ///
    /// # Errors
    /// `Kind::Storage` when the archive cannot be read.
    pub fn reader(&self) -> Result<Archive> {
        let vault = self.archive.vault.beside();
        let index = Index::open(&vault)?;
        Ok(Archive::from_parts(vault, index))
    }

    /// Begins a file of the cache (`index/`), which is named when it is finished.
    ///
    /// # Errors
    /// `Kind::Storage` when the disk fails.
    pub fn cache_file(&self) -> Result<Box<dyn Upload>> {
        self.archive.vault.upload()
    }

    /// A file without a name that is gone when it is closed.
    ///
    /// # Errors
    /// `Kind::Storage` when the disk fails.
    pub fn scratch(&self) -> Result<Scratch> {
        self.archive.vault.scratch()
    }

    /// Has the archive this object, in a pack that is whole?
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn contains(&self, digest: &Digest) -> Result<bool> {
        self.known.contains(digest, &self.archive.index, &self.archive.vault)
    }

    /// Stores an object unless the archive has it.
    ///
    /// # Errors
    /// `Kind::Storage` when the disk fails.
    pub fn add(&mut self, sort: Sort, form: ObjectForm, digest: Digest, bytes: &[u8]) -> Result<()> {
        if self.contains(&digest)? {
            return Ok(());
        }
        self.known.insert(digest);
        self.new_objects += 1;
        let frame = &mut self.open[sort as usize];
        if !frame.bytes.is_empty() && frame.bytes.len() + bytes.len() > sort.frame_bytes() {
            self.compress(sort)?;
        }
        let frame = &mut self.open[sort as usize];
        let start = pack::put_entry(&mut frame.bytes, form, &digest, bytes);
        frame.entries.push(EntrySpan { digest, form, start, len: bytes.len() });
        frame.data_bytes += bytes.len() as u64;
        Ok(())
    }

    /// Has the open frame of a sort compressed on another core.
    fn compress(&mut self, sort: Sort) -> Result<()> {
        let Frame { bytes, entries, data_bytes } = std::mem::take(&mut self.open[sort as usize]);
        let level = sort.level(self.level);
        let (sender, compressed) = sync_channel(1);
        let length = bytes.len();
        rayon::spawn(move || {
            // Nobody waits any more when the run has failed elsewhere.
            let _ = sender.send(pack::compress(&bytes, level));
        });
        self.under_way.push_back(Compressing { bytes: length, data_bytes, entries, compressed });
        while self.under_way.len() > FRAMES_UNDER_WAY {
            self.write_frame()?;
        }
        Ok(())
    }

    /// Writes the frame that has been under way for longest. The order in packs is that in which frames filled.
    fn write_frame(&mut self) -> Result<()> {
        let Some(frame) = self.under_way.pop_front() else { return Ok(()) };
        let gone = |_| Error::new(Kind::Internal, "a frame was not compressed");
        let compressed = frame.compressed.recv().map_err(gone)??;
        let pack = match &mut self.pack {
            Some(pack) => pack,
            none => none.insert(OpenPack { writer: PackWriter::new(&self.archive.vault)?, records: Vec::new() }),
        };
        let number = pack.writer.frame(&compressed, frame.bytes, frame.entries.len() as u64, frame.data_bytes)?;
        pack.records.extend(frame.entries.iter().map(|e| Record::new(number, e)));
        if pack.writer.is_full() { self.seal() } else { Ok(()) }
    }

    /// Makes the open pack durable, and then its index file.
    fn seal(&mut self) -> Result<()> {
        if let Some(OpenPack { writer, records }) = self.pack.take() {
            self.known.sealed(&records);
            self.archive.index.add(&self.archive.vault, writer.finish()?, records)?;
        }
        Ok(())
    }

    /// Closes the open pack, so that everything stored so far is durable and can be read.
    ///
    /// # Errors
    /// `Kind::Storage` when the disk fails.
    pub fn settle(&mut self) -> Result<()> {
        for sort in SORTS {
            if !self.open[sort as usize].bytes.is_empty() {
                self.compress(sort)?;
            }
        }
        while !self.under_way.is_empty() {
            self.write_frame()?;
        }
        self.seal()?;
        self.archive.index.tidy(&self.archive.vault)
    }

    /// Closes the last pack and commits a snapshot; returns its name. Until this returns no reader sees the snapshot.
    ///
    /// # Errors
    /// `Kind::Storage` when the disk fails: then the archive is as it was, and whole packs are used by the next run.
    pub fn commit(&mut self, root: &Root) -> Result<Snapshot> {
        self.settle()?;
        let (vault, files) = (&self.archive.vault, self.archive.vault.files());
        let log = events::Log::read(files)?;
        // One that was salvaged names the end of its own record and stays as it is.
        let events = root.events.or_else(|| Some(log.anchor()));
        let root = Root { events, recipients: self.recipients(), ..root.clone() };
        // Where the root is encrypted, one item can be shown to belong to it by this alone.
        let statement = if vault.is_sealed() { merkle::statement(&self.archive, &root)?.map(|s| s.leaf) } else { None };
        let bytes = vault.sealed(root.to_bytes()?, statement)?;
        self.commit_file(root, bytes, log)
    }

    /// Commits a snapshot whose root's file was made before, byte for byte; `root` is what it holds.
    ///
    /// # Errors
    /// As [`Writer::commit`].
    pub fn commit_as_it_was(&mut self, root: &Root, file: Vec<u8>) -> Result<Snapshot> {
        self.settle()?;
        let log = events::Log::read(self.archive.vault.files())?;
        self.commit_file(root.clone(), file, log)
    }

    fn commit_file(&mut self, root: Root, bytes: Vec<u8>, log: events::Log) -> Result<Snapshot> {
        let (vault, files) = (&self.archive.vault, self.archive.vault.files());
        let digest = Digest::of(&bytes);
        let id = format!("{}-{}", root.created.strftime("%Y%m%dT%H%M%SZ"), &digest.to_string()[..12]);
        let events = events::of_snapshot(log, files, &root, digest, &id)?;
        let file = (format!("data/snapshots/{id}.json{}", vault.suffix()), bytes);
        let mut committed = bag::files(files, Some(file), Some(events), Timestamp::now())?;
        committed.extend(spare::renewed(files, &committed)?);
        files.commit(&committed)?;
        let snapshot = Snapshot { id, digest, root };
        self.previous = Some(Previous::of(snapshot.clone()));
        Ok(snapshot)
    }
}

/// What a new snapshot has to know of the one before.
#[derive(Clone, Debug)]
pub struct Previous {
    /// SHA-256 of its root.
    pub digest: Digest,
    /// When its run began.
    pub created: Timestamp,
    /// The root, where it can be read.
    pub root: Option<Root>,
}

impl Previous {
    fn of(snapshot: Snapshot) -> Self {
        Previous { digest: snapshot.digest, created: snapshot.root.created, root: Some(snapshot.root) }
    }

    /// For whom it is encrypted, as far as that can be read.
    pub fn recipients(&self) -> &[String] {
        self.root.as_ref().map_or(&[], |root| &root.recipients)
    }

    /// What the file of a root that cannot be read still tells, if it is whole.
    fn of_locked(vault: &Vault, file: &str) -> Result<Option<Self>> {
        let digest = Digest::of(&vault.files().read(file, ROOT_MAX_BYTES)?.unwrap_or_default());
        let time = root_id(file).strip_suffix(&digest.to_string()[..12]);
        let created = time.and_then(|t| jiff::fmt::strtime::parse("%Y%m%dT%H%M%SZ-", t).ok()?.to_datetime().ok());
        let created = created.and_then(|t| t.to_zoned(jiff::tz::TimeZone::UTC).ok());
        Ok(created.map(|t| Previous { digest, created: t.timestamp(), root: None }))
    }
}

/// The newest snapshot whose root is whole.
fn previous(vault: &Vault) -> Result<Option<Previous>> {
    for file in root_files(vault)?.iter().rev() {
        let read =
            if vault.is_locked() { Previous::of_locked(vault, file)? } else { read_root(vault, file).ok().map(Previous::of) };
        if read.is_some() {
            return Ok(read);
        }
    }
    Ok(None)
}

/// Makes the index files of an archive anew from its packs; returns the packs, the objects, and what could not be read.
///
/// # Errors
/// `Kind::Locked` when another process writes, `Kind::Storage` when the archive cannot be read or written.
pub fn rebuild_index(path: &Path, keys: &Keys) -> Result<(u64, u64, Vec<String>)> {
    let mut store = Vault::open(LocalStore::new(path), keys)?;
    if store.list("data/packs")?.is_empty() && store.read("bagit.txt", 1 << 10)?.is_none() {
        return Err(Error::usage("there is no archive in this folder").with("folder", path.display()));
    }
    if store.is_locked() {
        return Err(store.locked());
    }
    let _lock = store.files().lock()?;
    if store.is_sealed() {
        let before = previous(&store)?;
        store.recipients_as_before(before.as_ref().map_or(&[], Previous::recipients))?;
    }
    for file in index_files(&store)? {
        store.discard(&file.name)?;
    }
    let mut index = Index::open(&store)?;
    index.tidy(&store)?;
    let mut objects = 0;
    index.each(&store, &mut |_, _, _| {
        objects += 1;
        Ok(())
    })?;
    Ok((index.packs().len() as u64, objects, index.damage().to_vec()))
}
