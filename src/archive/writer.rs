//! Writing an archive: objects into frames, frames into packs, and the commit that makes a snapshot of them.

use std::collections::HashSet;

use jiff::Timestamp;
use rayon::prelude::*;

use super::cut::pieces;
use super::pack::{self, FRAME_BYTES, ObjectForm, PACK_BYTES, PackWriter, SORTS, Sort};
use super::reader::Archive;
use super::recipe::{BlobRef, RecipeBuilder, Transform};
use super::{Root, bag};
use crate::error::Result;
use crate::model::Digest;
use crate::store::{LocalStore, Store, WriterLock};

/// Frames that are compressed side by side.
const FRAMES_AT_ONCE: usize = 4;
/// Listings up to this size are one entry.
const LISTING_BYTES: usize = 4 << 20;

#[derive(Default)]
struct Frame {
    bytes: Vec<u8>,
    entries: u64,
    data_bytes: u64,
    level: i32,
}

/// The one writer of an archive.
pub struct Writer {
    store: LocalStore,
    _lock: WriterLock,
    known: HashSet<Digest>,
    previous: Option<Digest>,
    open: [Frame; SORTS.len()],
    full: Vec<Frame>,
    pack: Option<PackWriter>,
    level: i32,
    new_objects: u64,
}

impl Writer {
    /// Opens the archive for writing, or makes a new one. What an interrupted run packed is used again.
    ///
    /// # Errors
    /// `Kind::Locked` when another process writes, `Kind::Damage` or `Kind::Storage` when the archive cannot be read.
    pub fn open(path: &std::path::Path, level: i32) -> Result<Self> {
        let store = LocalStore::new(path);
        let lock = store.lock()?;
        let archive = Archive::open_any(path)?;
        let previous = archive.snapshots()?.last().map(|s| s.digest);
        Ok(Writer {
            store,
            _lock: lock,
            known: archive.digests().collect(),
            previous,
            open: Default::default(),
            full: Vec::new(),
            pack: None,
            level,
            new_objects: 0,
        })
    }

    /// The newest root's digest.
    pub fn previous(&self) -> Option<Digest> {
        self.previous
    }

    /// Objects stored by this writer.
    pub fn new_objects(&self) -> u64 {
        self.new_objects
    }

    /// Stores an object unless the archive has it.
    pub fn add(&mut self, sort: Sort, form: ObjectForm, digest: Digest, bytes: &[u8]) -> Result<()> {
        if !self.known.insert(digest) {
            return Ok(());
        }
        self.new_objects += 1;
        let level = if matches!(sort, Sort::Binary | Sort::Packed) { self.level.min(3) } else { self.level };
        let frame = &mut self.open[sort as usize];
        if !frame.bytes.is_empty() && frame.bytes.len() + bytes.len() > FRAME_BYTES {
            self.full.push(std::mem::take(frame));
        }
        frame.level = level;
        pack::put_entry(&mut frame.bytes, form, &digest, bytes);
        frame.entries += 1;
        frame.data_bytes += bytes.len() as u64;
        if self.full.len() >= FRAMES_AT_ONCE { self.write_frames() } else { Ok(()) }
    }

    /// Stores a listing of any length.
    pub fn listing(&mut self, bytes: &[u8]) -> Result<Digest> {
        let digest = Digest::of(bytes);
        if bytes.len() <= LISTING_BYTES {
            self.add(Sort::Listing, ObjectForm::Listing, digest, bytes)?;
            return Ok(digest);
        }
        let mut refs = Vec::new();
        for piece in pieces(bytes) {
            let blob = BlobRef { digest: Digest::of(piece), size: piece.len() as u64 };
            self.add(Sort::Listing, ObjectForm::Blob, blob.digest, piece)?;
            refs.push(blob);
        }
        let mut recipe = RecipeBuilder::new(bytes.len() as u64);
        recipe.blobs(Transform::Copy, &refs);
        self.add(Sort::Listing, ObjectForm::Recipe, digest, &recipe.finish())?;
        Ok(digest)
    }

    fn write_frames(&mut self) -> Result<()> {
        let full = std::mem::take(&mut self.full);
        let compressed: Vec<Result<Vec<u8>>> = full.par_iter().map(|f| pack::compress(&f.bytes, f.level)).collect();
        for (frame, compressed) in full.iter().zip(compressed) {
            let pack = match &mut self.pack {
                Some(pack) => pack,
                none => none.insert(PackWriter::new(&self.store)?),
            };
            pack.frame(&compressed?, frame.bytes.len(), frame.entries, frame.data_bytes)?;
            if pack.bytes() >= PACK_BYTES
                && let Some(pack) = self.pack.take()
            {
                pack.finish()?;
            }
        }
        Ok(())
    }

    /// Closes the last pack and commits a snapshot; returns its name. Until this returns no reader sees the snapshot.
    ///
    /// # Errors
    /// `Kind::Storage` when the disk fails: then the archive is as it was, and whole packs are used by the next run.
    pub fn commit(&mut self, root: &Root) -> Result<String> {
        self.full.extend(self.open.iter_mut().map(std::mem::take).filter(|f| !f.bytes.is_empty()));
        self.write_frames()?;
        if let Some(pack) = self.pack.take() {
            pack.finish()?;
        }
        let bytes = root.to_bytes()?;
        let id = format!("{}-{}", root.created.strftime("%Y%m%dT%H%M%SZ"), &Digest::of(&bytes).to_string()[..12]);
        let files = bag::files(&self.store, (format!("data/snapshots/{id}.json"), bytes), Timestamp::now())?;
        self.store.commit(&files)?;
        Ok(id)
    }
}
