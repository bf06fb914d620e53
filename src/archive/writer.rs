//! Writing an archive: objects into frames, frames into packs, and the commit that makes a snapshot of them.

use std::collections::{HashSet, VecDeque};
use std::fs::File;
use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};

use jiff::Timestamp;

use super::bag;
use super::index::{Index, Record};
use super::known::Known;
use super::pack::{self, EntrySpan, ObjectForm, PackWriter, SORTS, Sort};
use super::reader::{read_root, root_files};
use super::{Archive, Root, Snapshot};
use crate::error::{Error, Kind, Result};
use crate::model::Digest;
use crate::proof::{events, tombstone};
use crate::store::{LocalStore, Store, Upload, WriterLock};

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
    previous: Option<Snapshot>,
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
        let store = LocalStore::new(path);
        let lock = store.lock()?;
        if store.read("bagit.txt", 1 << 10)?.is_none() {
            // A valid bag from the first moment on, also when the first run never ends.
            store.commit(&bag::files(&store, None, None, Timestamp::now())?)?;
        }
        tombstone::finish(&store)?;
        let listed = bag::payload(&store)?;
        if let Some(listed) = &listed {
            // Without a manifest it is not known which packs are committed, and what is left of those is not thrown away.
            bag::discard_broken_packs(&store, listed)?;
        }
        let mut index = Index::open(&store)?;
        index.tidy(&store)?;
        let there: HashSet<&str> = index.packs().iter().map(|f| f.name.as_str()).collect();
        let missing = listed.iter().flatten().any(|name| pack::pack_digest(name).is_some() && !there.contains(name.as_str()));
        let is_whole = !missing && index.is_all_whole();
        let known = Known::of(&index, &store)?;
        let previous = root_files(&store)?.iter().rev().find_map(|file| read_root(&store, file).ok());
        let (open, under_way) = (Default::default(), VecDeque::new());
        let archive = Archive::from_parts(store, index);
        Ok(Writer { archive, _lock: lock, known, previous, is_whole, open, under_way, pack: None, level, new_objects: 0 })
    }

    /// The newest snapshot whose root is whole.
    pub fn previous(&self) -> Option<&Snapshot> {
        self.previous.as_ref()
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

    /// Begins a file of the cache (`index/`), which is named when it is finished.
    ///
    /// # Errors
    /// `Kind::Storage` when the disk fails.
    pub fn cache_file(&self) -> Result<Box<dyn Upload>> {
        self.archive.store.upload()
    }

    /// A file without a name that is gone when it is closed.
    ///
    /// # Errors
    /// `Kind::Storage` when the disk fails.
    pub fn scratch(&self) -> Result<File> {
        self.archive.store.scratch()
    }

    /// Has the archive this object, in a pack that is whole?
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn contains(&self, digest: &Digest) -> Result<bool> {
        self.known.contains(digest, &self.archive.index, &self.archive.store)
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
            none => none.insert(OpenPack { writer: PackWriter::new(&self.archive.store)?, records: Vec::new() }),
        };
        let number = pack.writer.frame(&compressed, frame.bytes, frame.entries.len() as u64, frame.data_bytes)?;
        pack.records.extend(frame.entries.iter().map(|e| Record::new(number, e)));
        if pack.writer.is_full() { self.seal() } else { Ok(()) }
    }

    /// Makes the open pack durable, and then its index file.
    fn seal(&mut self) -> Result<()> {
        if let Some(OpenPack { writer, records }) = self.pack.take() {
            self.known.sealed(&records);
            self.archive.index.add(&self.archive.store, writer.finish()?, records)?;
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
        self.archive.index.tidy(&self.archive.store)
    }

    /// Closes the last pack and commits a snapshot; returns its name. Until this returns no reader sees the snapshot.
    ///
    /// # Errors
    /// `Kind::Storage` when the disk fails: then the archive is as it was, and whole packs are used by the next run.
    pub fn commit(&mut self, root: &Root) -> Result<Snapshot> {
        self.settle()?;
        let log = events::Log::read(&self.archive.store)?;
        // One that was salvaged names the end of its own record and stays as it is.
        let root = Root { events: root.events.or_else(|| Some(log.anchor())), ..root.clone() };
        let bytes = root.to_bytes()?;
        let digest = Digest::of(&bytes);
        let id = format!("{}-{}", root.created.strftime("%Y%m%dT%H%M%SZ"), &digest.to_string()[..12]);
        let store = &self.archive.store;
        let events = events::of_snapshot(log, store, &root, digest, &id)?;
        let file = (format!("data/snapshots/{id}.json"), bytes);
        store.commit(&bag::files(store, Some(file), Some(events), Timestamp::now())?)?;
        let snapshot = Snapshot { id, digest, root };
        self.previous = Some(snapshot.clone());
        Ok(snapshot)
    }
}

/// Makes the index files of an archive anew from its packs; returns the packs, the objects, and what could not be read.
///
/// # Errors
/// `Kind::Locked` when another process writes, `Kind::Storage` when the archive cannot be read or written.
pub fn rebuild_index(path: &Path) -> Result<(u64, u64, Vec<String>)> {
    let store = LocalStore::new(path);
    if store.list("data/packs")?.is_empty() && store.read("bagit.txt", 1 << 10)?.is_none() {
        return Err(Error::usage("there is no archive in this folder").with("folder", path.display()));
    }
    let _lock = store.lock()?;
    for file in store.list("index")?.into_iter().filter(|f| f.name.ends_with(".idx")) {
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
