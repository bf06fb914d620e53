//! Index files: which frame of which pack holds an object (docs/format.md section 8). A cache; the packs are the truth.
//!
//! An index file covers one or more packs. Its records are sorted by digest and are looked up where they lie on disk, so that
//! an archive of any size opens in little memory. Packs that no index file covers are read and indexed in memory.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{self, BufWriter, Write as _};

use rayon::prelude::*;

use super::bag::{self, MANIFEST, MANIFEST_MAX_BYTES};
use super::pack::{self, EntrySpan, FrameSpan, ObjectForm, SealedPack};
use super::tags;
use crate::error::{Error, Kind, Result};
use crate::model::{Digest, Hasher};
use crate::store::{Store, StoredFile};

const MAGIC: &[u8; 8] = b"floeidx1";
const HEADER_BYTES: u64 = 24;
const PACK_ROW_BYTES: u64 = 40;
const FRAME_ROW_BYTES: u64 = 24;
const RECORD_BYTES: usize = 48;
const TAIL_BYTES: u64 = 32;
/// Records for each of which one is kept in memory, to know where to look.
const SAMPLE_RECORDS: u64 = 16;
/// Records read at a time where many are read; a multiple of the above.
const BLOCK_RECORDS: u64 = 4096;
/// Index files of about one size that are made into one.
const MERGE_AT: usize = 4;
/// The pack of a frame whose pack was forgotten.
const FORGOTTEN: u32 = u32::MAX;

/// Where the data of an object lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// The pack.
    pub pack: Digest,
    /// The frame in it.
    pub frame: FrameSpan,
    /// First byte of the data in the decompressed frame.
    pub start: u32,
    /// Bytes of the data.
    pub len: u32,
    /// How the object is stored.
    pub form: ObjectForm,
}

/// One record: an object in a frame, which is a number in a table of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The object.
    pub digest: Digest,
    frame: u32,
    start: u32,
    len: u32,
    form: ObjectForm,
}

impl Record {
    /// The record of an entry in the frame of that number.
    pub fn new(frame: u32, entry: &EntrySpan) -> Self {
        // A frame is far smaller than 4 GiB, so its places fit.
        Record { digest: entry.digest, frame, start: entry.start as u32, len: entry.len as u32, form: entry.form }
    }

    fn to_bytes(self) -> [u8; RECORD_BYTES] {
        let mut bytes = [0u8; RECORD_BYTES];
        bytes[..32].copy_from_slice(self.digest.as_bytes());
        bytes[32..36].copy_from_slice(&self.frame.to_le_bytes());
        bytes[36..40].copy_from_slice(&self.start.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.len.to_le_bytes());
        bytes[44] = self.form as u8;
        bytes
    }

    fn from_bytes(bytes: &[u8; RECORD_BYTES]) -> Option<Self> {
        let (digest, rest) = bytes.split_first_chunk::<32>()?;
        let form = match rest.get(12)? {
            0 => ObjectForm::Blob,
            1 => ObjectForm::Recipe,
            2 => ObjectForm::Listing,
            _ => return None,
        };
        Some(Record {
            digest: Digest::from_bytes(*digest),
            frame: u32_at(rest, 0)?,
            start: u32_at(rest, 4)?,
            len: u32_at(rest, 8)?,
            form,
        })
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes)
}

#[derive(Clone, Copy)]
struct FrameRow {
    pack: u32,
    span: FrameSpan,
}

enum Records {
    /// In the index file, from this byte on.
    File {
        name: String,
        at: u64,
    },
    Memory(Vec<Record>),
}

/// The objects of some packs.
struct Part {
    packs: Vec<(Digest, u64)>,
    frames: Vec<FrameRow>,
    count: u64,
    records: Records,
    samples: Vec<u64>,
    /// Its records tell of packs that were forgotten, so that it has to be written anew.
    is_stale: bool,
}

impl Part {
    fn new(store: &dyn Store, packs: Vec<(Digest, u64)>, frames: Vec<FrameRow>, count: u64, records: Records) -> Result<Self> {
        let mut part = Part { packs, frames, count, records, samples: Vec::new(), is_stale: false };
        part.sample(store)?;
        Ok(part)
    }

    /// Reads and checks an index file; `None` when it is not whole.
    fn open(store: &dyn Store, file: &StoredFile) -> Result<Option<Self>> {
        let mut header = [0u8; HEADER_BYTES as usize];
        let file = &StoredFile { size: store.content_bytes(&file.name, file.size)?, ..file.clone() };
        if file.size < HEADER_BYTES + TAIL_BYTES {
            return Ok(None);
        }
        store.read_at(&file.name, 0, &mut header)?;
        let counts = (u32_at(&header, 8), u32_at(&header, 12), u64_at(&header, 16));
        let (true, (Some(packs), Some(frames), Some(count))) = (header.starts_with(MAGIC), counts) else { return Ok(None) };
        let at = HEADER_BYTES + u64::from(packs) * PACK_ROW_BYTES + u64::from(frames) * FRAME_ROW_BYTES;
        let size = count.checked_mul(RECORD_BYTES as u64).and_then(|b| b.checked_add(at + TAIL_BYTES));
        if size != Some(file.size) || !is_whole(store, file)? {
            return Ok(None);
        }
        let mut tables = vec![0u8; (at - HEADER_BYTES) as usize];
        store.read_at(&file.name, HEADER_BYTES, &mut tables)?;
        let (pack_rows, frame_rows) = tables.split_at(packs as usize * PACK_ROW_BYTES as usize);
        let pack_of = |row: &[u8]| Some((Digest::from_bytes(*row.first_chunk()?), u64_at(row, 32)?));
        let frame_of = |row: &[u8]| {
            let span = FrameSpan { compressed: u32_at(row, 4)?, offset: u64_at(row, 8)?, bytes: u32_at(row, 16)? };
            Some(FrameRow { pack: u32_at(row, 0).filter(|p| *p < packs)?, span })
        };
        let packs: Option<Vec<_>> = pack_rows.chunks_exact(PACK_ROW_BYTES as usize).map(pack_of).collect();
        let frames: Option<Vec<_>> = frame_rows.chunks_exact(FRAME_ROW_BYTES as usize).map(frame_of).collect();
        let records = Records::File { name: file.name.clone(), at };
        packs.zip(frames).map(|(packs, frames)| Part::new(store, packs, frames, count, records)).transpose()
    }

    /// The index file that it is, if it is one.
    fn file(&self) -> Option<&str> {
        match &self.records {
            Records::File { name, .. } => Some(name),
            Records::Memory(_) => None,
        }
    }

    /// Reads a pack and indexes it; what of it cannot be read goes to `damage`.
    fn of_pack(store: &dyn Store, file: &StoredFile, digest: Digest, damage: &mut Vec<String>) -> Result<Self> {
        let spans = pack::seek_table(store, &file.name, file.size).unwrap_or_else(|e| {
            damage.push(e.to_string());
            pack::walk_frames(store, &file.name, file.size)
        });
        let walked: Vec<Result<Vec<EntrySpan>>> =
            spans.par_iter().map(|span| pack::read_frame(store, &file.name, span).and_then(|f| pack::entries(&f))).collect();
        let mut records = Vec::new();
        for (number, entries) in (0u32..).zip(walked) {
            match entries {
                Ok(entries) => records.extend(entries.iter().map(|e| Record::new(number, e))),
                Err(e) => damage.push(e.to_string()),
            }
        }
        records.sort_unstable_by_key(|r| r.digest);
        records.dedup_by_key(|r| r.digest);
        let frames = spans.into_iter().map(|span| FrameRow { pack: 0, span }).collect();
        let (packs, count) = (vec![(digest, file.size)], records.len() as u64);
        Part::new(store, packs, frames, count, Records::Memory(records))
    }

    /// Fills `window` with the records from number `from` on.
    fn read(&self, store: &dyn Store, from: u64, count: u64, window: &mut Vec<Record>) -> Result<()> {
        window.clear();
        match &self.records {
            Records::Memory(records) => window.extend_from_slice(&records[from as usize..(from + count) as usize]),
            Records::File { name, at } => {
                let mut bytes = vec![0u8; count as usize * RECORD_BYTES];
                store.read_at(name, at + from * RECORD_BYTES as u64, &mut bytes)?;
                let (rows, _) = bytes.as_chunks::<RECORD_BYTES>();
                for row in rows {
                    let record = Record::from_bytes(row).filter(|r| (r.frame as usize) < self.frames.len());
                    window.push(record.ok_or_else(|| stale(name))?);
                }
            }
        }
        Ok(())
    }

    /// The records of an object; there are several where several packs hold it.
    fn find(&self, store: &dyn Store, digest: &Digest) -> Result<Vec<Record>> {
        let wanted = leading(digest);
        let first = self.samples.partition_point(|s| *s < wanted).saturating_sub(1) as u64;
        let end = self.samples.partition_point(|s| *s <= wanted) as u64;
        let (mut at, end) = (first * SAMPLE_RECORDS, (end * SAMPLE_RECORDS).min(self.count));
        let (mut found, mut block) = (Vec::new(), Vec::new());
        // One block, unless many digests begin alike.
        while at < end {
            let count = (end - at).min(BLOCK_RECORDS);
            self.read(store, at, count, &mut block)?;
            found.extend(block.iter().filter(|r| r.digest == *digest));
            at += count;
        }
        Ok(found)
    }

    /// The first bytes of every sixteenth digest, from which a lookup knows where to read.
    fn sample(&mut self, store: &dyn Store) -> Result<()> {
        let (mut at, mut block) = (0, Vec::new());
        while at < self.count {
            let count = (self.count - at).min(BLOCK_RECORDS);
            self.read(store, at, count, &mut block)?;
            self.samples.extend(block.iter().step_by(SAMPLE_RECORDS as usize).map(|r| leading(&r.digest)));
            at += count;
        }
        Ok(())
    }

    /// Leaves out the packs that are gone: nothing lies in them any more.
    fn forget(&mut self, gone: &HashSet<Digest>) {
        let kept: Vec<Digest> = self.packs.iter().map(|(pack, _)| *pack).filter(|pack| !gone.contains(pack)).collect();
        if kept.len() == self.packs.len() {
            return;
        }
        for row in &mut self.frames {
            let pack = self.packs.get(row.pack as usize).and_then(|(pack, _)| kept.iter().position(|k| k == pack));
            row.pack = pack.map_or(FORGOTTEN, |number| number as u32);
        }
        self.packs.retain(|(pack, _)| !gone.contains(pack));
        self.is_stale = true;
    }

    /// Where a record's object lies, and the size that its pack was written with.
    fn locate(&self, record: &Record) -> Option<(Location, u64)> {
        let row = self.frames.get(record.frame as usize)?;
        let (pack, size) = self.packs.get(row.pack as usize)?;
        Some((Location { pack: *pack, frame: row.span, start: record.start, len: record.len, form: record.form }, *size))
    }
}

/// The first bytes of a digest as a number of the same order.
fn leading(digest: &Digest) -> u64 {
    digest.as_bytes().first_chunk().map_or(0, |b| u64::from_be_bytes(*b))
}

fn stale(name: &str) -> Error {
    Error::damage("an index file holds what cannot be").with("file", name).hint("make the index anew with 'floe index --rebuild'")
}

/// Does the file end with the digest of everything before?
fn is_whole(store: &dyn Store, file: &StoredFile) -> Result<bool> {
    let mut hasher = Hasher::new();
    let mut block = vec![0u8; 1 << 20];
    let (mut at, end) = (0, file.size - TAIL_BYTES);
    while at < end {
        let bytes = (end - at).min(block.len() as u64) as usize;
        store.read_at(&file.name, at, &mut block[..bytes])?;
        hasher.update(&block[..bytes]);
        at += bytes as u64;
    }
    let mut tail = [0u8; TAIL_BYTES as usize];
    store.read_at(&file.name, end, &mut tail)?;
    Ok(hasher.finish() == Digest::from_bytes(tail))
}

/// Writes a file while hashing it.
struct Sealing {
    /// A record has 48 bytes: too few for a call of the system each.
    upload: BufWriter<Box<dyn crate::store::Upload>>,
    hasher: Hasher,
}

impl Sealing {
    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        self.upload.write_all(bytes).map_err(unwritten)
    }

    fn finish(mut self, suffix: &str) -> Result<String> {
        let inside = std::mem::take(&mut self.hasher).finish();
        self.put(inside.as_bytes())?;
        // Of an encrypted file nothing is to be told by its name, so it is called after the bytes on the disk.
        let name =
            |outside: &Digest| format!("index/{:.32}.idx{suffix}", if suffix.is_empty() { inside } else { *outside }.to_string());
        let upload = self.upload.into_inner().map_err(|e| unwritten(e.into_error()))?;
        let (outside, _) = upload.finish_as(&name)?;
        Ok(name(&outside))
    }
}

fn unwritten(why: io::Error) -> Error {
    Error::new(Kind::Storage, "cannot write an index file").because(why)
}

/// Writes one index file for several parts, without what was forgotten; gives the part that it is.
fn write(store: &dyn Store, parts: &[Part]) -> Result<Part> {
    let mut file = Sealing { upload: BufWriter::with_capacity(64 << 10, store.upload()?), hasher: Hasher::new() };
    let packs: Vec<(Digest, u64)> = parts.iter().flat_map(|p| p.packs.iter().copied()).collect();
    let (mut frames, mut numbers) = (Vec::new(), Vec::new());
    let mut pack_base = 0;
    for part in parts {
        for row in &part.frames {
            let number = (row.pack != FORGOTTEN).then_some(frames.len() as u32);
            numbers.push(number);
            frames.extend(number.map(|_| FrameRow { pack: row.pack + pack_base, span: row.span }));
        }
        pack_base += part.packs.len() as u32;
    }
    let kept = |record: Record| Some(Record { frame: numbers.get(record.frame as usize).copied().flatten()?, ..record });
    let mut count = parts.iter().map(|p| p.count).sum();
    if parts.iter().any(|p| p.is_stale) {
        count = 0;
        merge(store, parts, &mut |record| {
            count += u64::from(kept(record).is_some());
            Ok(())
        })?;
    }
    let header = header(&packs, &frames, count);
    file.put(&header)?;
    merge(store, parts, &mut |record| kept(record).map_or(Ok(()), |record| file.put(&record.to_bytes())))?;
    let name = file.finish(store.suffix())?;
    Part::new(store, packs, frames, count, Records::File { name, at: header.len() as u64 })
}

fn header(packs: &[(Digest, u64)], frames: &[FrameRow], count: u64) -> Vec<u8> {
    let mut header = MAGIC.to_vec();
    header.extend_from_slice(&(packs.len() as u32).to_le_bytes());
    header.extend_from_slice(&(frames.len() as u32).to_le_bytes());
    header.extend_from_slice(&count.to_le_bytes());
    for (digest, size) in packs {
        header.extend_from_slice(digest.as_bytes());
        header.extend_from_slice(&size.to_le_bytes());
    }
    for row in frames {
        header.extend_from_slice(&row.pack.to_le_bytes());
        header.extend_from_slice(&row.span.compressed.to_le_bytes());
        header.extend_from_slice(&row.span.offset.to_le_bytes());
        header.extend_from_slice(&row.span.bytes.to_le_bytes());
        header.extend_from_slice(&[0; 4]);
    }
    header
}

/// One part's records in order, a block at a time, with frames numbered as in the merged table.
struct Run<'a> {
    part: &'a Part,
    frame_base: u32,
    next: u64,
    block: Vec<Record>,
    at: usize,
}

impl Run<'_> {
    fn head(&self) -> Option<&Record> {
        self.block.get(self.at)
    }

    fn advance(&mut self, store: &dyn Store) -> Result<()> {
        self.at += 1;
        if self.at >= self.block.len() {
            let count = (self.part.count - self.next).min(BLOCK_RECORDS);
            self.part.read(store, self.next, count, &mut self.block)?;
            self.next += count;
            self.at = 0;
        }
        Ok(())
    }
}

/// Goes through the records of all parts in the order of their digests.
fn merge(store: &dyn Store, parts: &[Part], each: &mut dyn FnMut(Record) -> Result<()>) -> Result<()> {
    let mut runs = Vec::new();
    let mut frame_base = 0;
    for part in parts {
        let mut run = Run { part, frame_base, next: 0, block: Vec::new(), at: 0 };
        run.advance(store)?;
        runs.push(run);
        frame_base += part.frames.len() as u32;
    }
    // There are few parts, so the smallest head is looked for one by one.
    while let Some(run) = runs.iter_mut().filter(|r| r.head().is_some()).min_by_key(|r| r.head().map(|h| h.digest)) {
        if let Some(head) = run.head() {
            each(Record { frame: head.frame + run.frame_base, ..*head })?;
        }
        run.advance(store)?;
    }
    Ok(())
}

/// The index files of the store's sort: encrypted or not.
pub(super) fn index_files(store: &dyn Store) -> Result<Vec<StoredFile>> {
    let end = format!(".idx{}", store.suffix());
    Ok(store.list("index")?.into_iter().filter(|f| f.name.ends_with(&end)).collect())
}

/// All objects of an archive.
pub struct Index {
    parts: Vec<Part>,
    /// The packs that are there.
    packs: Vec<StoredFile>,
    sizes: HashMap<Digest, u64>,
    /// What could not be read of packs that had to be indexed anew.
    damage: Vec<String>,
    /// Index files that are of no use.
    useless: Vec<String>,
}

impl Index {
    /// Reads the index files; packs that none of them covers are read themselves. Where the store is locked only the packs' names are known.
    ///
    /// # Errors
    /// `Kind::Storage` when the folder cannot be read. Damage is noted instead, see [`Index::damage`].
    pub fn open(store: &dyn Store) -> Result<Self> {
        let mut index =
            Index { parts: Vec::new(), packs: Vec::new(), sizes: HashMap::new(), damage: Vec::new(), useless: Vec::new() };
        for file in store.list("data/packs")? {
            if let Some(digest) = pack::pack_digest(&file.name).filter(|d| file.name == pack::pack_name(d, store.suffix())) {
                index.sizes.insert(digest, file.size);
                index.packs.push(file);
            }
        }
        if !store.is_readable() {
            return Ok(index);
        }
        for file in index_files(store)? {
            // What cannot be read of a cache is as good as not there.
            match Part::open(store, &file) {
                Ok(Some(part)) => index.parts.push(part),
                Ok(None) | Err(_) => index.useless.push(file.name),
            }
        }
        index.forget_unlisted(store)?;
        index.drop_covered();
        let covered: HashSet<Digest> = index.parts.iter().flat_map(|p| p.packs.iter().map(|(d, _)| *d)).collect();
        for file in &index.packs {
            if let Some(digest) = pack::pack_digest(&file.name).filter(|d| !covered.contains(d)) {
                index.parts.push(Part::of_pack(store, file, digest, &mut index.damage)?);
            }
        }
        Ok(index)
    }

    /// Forgets packs that are neither there nor listed by any commit: an interrupted run left them, and a later writer removed them. Else they
    /// would look like a loss for ever. A manifest that is in doubt itself makes nothing forgotten.
    fn forget_unlisted(&mut self, store: &dyn Store) -> Result<()> {
        let known = self.parts.iter().flat_map(|p| &p.packs).map(|(pack, _)| *pack);
        let mut gone: HashSet<Digest> = known.filter(|pack| !self.sizes.contains_key(pack)).collect();
        if gone.is_empty() {
            return Ok(());
        }
        let Some(manifest) = store.read(MANIFEST, MANIFEST_MAX_BYTES)? else { return Ok(()) };
        if !tags::agrees(store, MANIFEST, Some(&manifest))? {
            return Ok(());
        }
        let Ok(listed) = bag::parse_manifest(&manifest) else { return Ok(()) };
        for pack in listed.iter().filter_map(|(_, name)| pack::pack_digest(name)) {
            gone.remove(&pack);
        }
        self.parts.iter_mut().for_each(|part| part.forget(&gone));
        Ok(())
    }

    /// Leaves out index files whose packs others cover too: a merge that was cut short leaves such.
    fn drop_covered(&mut self) {
        self.parts.sort_by_key(|p| (std::cmp::Reverse(p.packs.len()), p.is_stale));
        let mut covered = HashSet::new();
        let useless = &mut self.useless;
        self.parts.retain(|part| {
            let new = part.packs.iter().fold(false, |new, (digest, _)| covered.insert(*digest) || new);
            if !new {
                useless.extend(part.file().map(str::to_owned));
            }
            new
        });
    }

    /// The packs that are there.
    pub fn packs(&self) -> &[StoredFile] {
        &self.packs
    }

    /// What could not be read of packs that had to be indexed anew.
    pub fn damage(&self) -> &[String] {
        &self.damage
    }

    /// Is the pack there with the size that its index file knows?
    fn is_whole(&self, pack: &Digest, size: u64) -> bool {
        self.sizes.get(pack) == Some(&size)
    }

    /// Index files that are damaged or of no use.
    pub fn useless(&self) -> &[String] {
        &self.useless
    }

    /// Are these the frames of the pack, as far as the index knows?
    pub fn frames_are(&self, pack: &Digest, frames: &[FrameSpan]) -> bool {
        self.parts.iter().any(|part| {
            let number = part.packs.iter().position(|(digest, _)| digest == pack);
            number.is_some_and(|n| part.frames.iter().filter(|row| row.pack as usize == n).map(|row| &row.span).eq(frames))
        })
    }

    /// Has each pack that has a seek table the frames that the index knows?
    pub fn agrees(&self, store: &dyn Store) -> bool {
        self.packs.iter().all(|file| match (pack::pack_digest(&file.name), pack::seek_table(store, &file.name, file.size)) {
            (Some(digest), Ok(frames)) => self.frames_are(&digest, &frames),
            _ => true,
        })
    }

    /// Are all packs of the index files there in the size that they were written with?
    pub fn is_all_whole(&self) -> bool {
        self.parts.iter().flat_map(|p| &p.packs).all(|(digest, size)| self.is_whole(digest, *size))
    }

    /// Does the object lie in a pack that is there in the right size?
    ///
    /// # Errors
    /// As [`Index::find`].
    pub fn has_whole(&self, store: &dyn Store, digest: &Digest) -> Result<bool> {
        for part in &self.parts {
            let places = part.find(store, digest)?;
            if places.iter().filter_map(|record| part.locate(record)).any(|(at, size)| self.is_whole(&at.pack, size)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// All places where an object lies, those in packs of the right size first.
    ///
    /// # Errors
    /// `Kind::Storage` or `Kind::Damage` when an index file cannot be read.
    pub fn find(&self, store: &dyn Store, digest: &Digest) -> Result<Vec<Location>> {
        let (mut whole, mut doubtful) = (Vec::new(), Vec::new());
        for part in &self.parts {
            for (location, size) in part.find(store, digest)?.iter().filter_map(|record| part.locate(record)) {
                if self.is_whole(&location.pack, size) { whole.push(location) } else { doubtful.push(location) }
            }
        }
        whole.append(&mut doubtful);
        Ok(whole)
    }

    /// Hands over every object with its place and whether its pack is there in the right size.
    ///
    /// # Errors
    /// What `each` gives, or when an index file cannot be read.
    pub fn each(&self, store: &dyn Store, each: &mut dyn FnMut(Digest, Location, bool) -> Result<()>) -> Result<()> {
        for part in &self.parts {
            merge(store, std::slice::from_ref(part), &mut |record| match part.locate(&record) {
                Some((location, size)) => each(record.digest, location, self.is_whole(&location.pack, size)),
                None => Ok(()),
            })?;
        }
        Ok(())
    }

    /// Adds a pack that was just written, and writes its index file.
    ///
    /// # Errors
    /// `Kind::Storage` when it cannot be written.
    pub fn add(&mut self, store: &dyn Store, sealed: SealedPack, mut records: Vec<Record>) -> Result<()> {
        records.sort_unstable_by_key(|r| r.digest);
        let frames = sealed.frames.into_iter().map(|span| FrameRow { pack: 0, span }).collect();
        let (packs, count) = (vec![(sealed.digest, sealed.bytes)], records.len() as u64);
        let part = Part::new(store, packs, frames, count, Records::Memory(records))?;
        self.packs.push(StoredFile { name: pack::pack_name(&sealed.digest, store.suffix()), size: sealed.bytes });
        self.sizes.insert(sealed.digest, sealed.bytes);
        self.parts.push(write(store, &[part])?);
        Ok(())
    }

    /// Writes index files for packs that had none and those that tell of forgotten packs anew, makes one of several small ones, and removes those
    /// that are of no use.
    ///
    /// # Errors
    /// `Kind::Storage` when they cannot be written.
    pub fn tidy(&mut self, store: &dyn Store) -> Result<()> {
        for part in &mut self.parts {
            if part.is_stale || matches!(part.records, Records::Memory(_)) {
                let old = std::mem::replace(part, write(store, std::slice::from_ref(part))?);
                self.useless.extend(old.file().map(str::to_owned));
            }
        }
        let tier = |part: &Part| part.count.max(1).ilog(MERGE_AT as u64);
        loop {
            let mut tiers: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
            for (i, part) in self.parts.iter().enumerate() {
                tiers.entry(tier(part)).or_default().push(i);
            }
            let Some(full) = tiers.into_values().find(|parts| parts.len() >= MERGE_AT) else { break };
            let (mut old, mut kept) = (Vec::new(), Vec::new());
            for (i, part) in std::mem::take(&mut self.parts).into_iter().enumerate() {
                if full.contains(&i) { old.push(part) } else { kept.push(part) }
            }
            kept.push(write(store, &old)?);
            self.parts = kept;
            self.useless.extend(old.iter().filter_map(|part| part.file().map(str::to_owned)));
        }
        for name in self.useless.drain(..) {
            store.discard(&name)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::LocalStore;

    fn records(numbers: impl Iterator<Item = u32>) -> Vec<Record> {
        let entry =
            |n: u32| EntrySpan { digest: Digest::of(&n.to_le_bytes()), form: ObjectForm::Blob, start: 512, len: n as usize };
        numbers.map(|n| Record::new(n % 3, &entry(n))).collect()
    }

    fn sealed(name: u8, store: &LocalStore) -> SealedPack {
        let span = FrameSpan { offset: u64::from(name), compressed: 10, bytes: 20 };
        let digest = Digest::of(&[name]);
        let folder = store.root().join("data/packs");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(store.root().join(pack::pack_name(&digest, "")), "0123456789").unwrap();
        SealedPack { digest, bytes: 10, frames: vec![span; 3] }
    }

    #[test]
    fn every_object_is_found_in_merged_and_single_files() {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalStore::new(folder.path());
        let _lock = store.lock().unwrap();
        let mut index = Index::open(&store).unwrap();
        for pack in 0..9u32 {
            index.add(&store, sealed(pack as u8, &store), records(pack * 1000..(pack + 1) * 1000)).unwrap();
            index.tidy(&store).unwrap();
        }
        for index in [index, Index::open(&store).unwrap()] {
            assert!(index.parts.len() < MERGE_AT + 2, "{}", index.parts.len());
            for n in 0..9000u32 {
                let found = index.find(&store, &Digest::of(&n.to_le_bytes())).unwrap();
                assert_eq!(found.len(), 1, "{n}");
                assert_eq!((found[0].len, found[0].pack), (n, Digest::of(&[(n / 1000) as u8])));
            }
            assert!(index.find(&store, &Digest::of(b"absent")).unwrap().is_empty());
            let mut seen = 0;
            index
                .each(&store, &mut |_, _, whole| {
                    seen += u32::from(whole);
                    Ok(())
                })
                .unwrap();
            assert_eq!(seen, 9000);
        }
        let files = store.list("index").unwrap().iter().filter(|f| f.name.ends_with(".idx")).count();
        assert!(files < MERGE_AT + 2, "merged files are removed: {files}");
    }

    #[test]
    fn an_object_in_several_packs_is_found_in_all_of_them_those_that_are_there_first() {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalStore::new(folder.path());
        let _lock = store.lock().unwrap();
        let mut index = Index::open(&store).unwrap();
        for pack in 0..MERGE_AT as u8 {
            index.add(&store, sealed(pack, &store), records(0..500)).unwrap();
        }
        index.tidy(&store).unwrap();
        assert_eq!(index.parts.len(), 1);
        std::fs::remove_file(store.root().join(pack::pack_name(&Digest::of(&[0]), ""))).unwrap();
        let index = Index::open(&store).unwrap();
        for n in 0..500u32 {
            let found = index.find(&store, &Digest::of(&n.to_le_bytes())).unwrap();
            assert_eq!(found.len(), MERGE_AT, "{n}");
            assert_eq!(found.last().map(|at| at.pack), Some(Digest::of(&[0])), "{n}");
        }
    }

    #[test]
    fn packs_that_are_neither_there_nor_listed_are_forgotten_and_the_others_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalStore::new(folder.path());
        let _lock = store.lock().unwrap();
        let mut index = Index::open(&store).unwrap();
        for pack in 0..MERGE_AT as u8 {
            let numbers = u32::from(pack) * 1000..u32::from(pack) * 1000 + 500;
            index.add(&store, sealed(pack, &store), records(numbers)).unwrap();
        }
        index.tidy(&store).unwrap();
        assert_eq!(index.parts.len(), 1);
        let name = |pack: u8| pack::pack_name(&Digest::of(&[pack]), "");
        // 0 is there and listed, 1 there, 2 listed, 3 neither.
        let listed = [0, 2].map(|pack| (name(pack), Digest::of(&[pack]), 10));
        let bag = bag::files_of(listed.to_vec(), Vec::new(), false, jiff::Timestamp::now());
        [2, 3].into_iter().for_each(|pack| std::fs::remove_file(store.root().join(name(pack))).unwrap());
        let file = |index: &Index| index.parts[0].file().unwrap().to_owned();
        let merged = file(&index);
        let knows = |index: &Index| {
            let mut seen = [0; MERGE_AT];
            index
                .each(&store, &mut |_, at, whole| {
                    let pack = (0..MERGE_AT).find(|pack| at.pack == Digest::of(&[*pack as u8])).unwrap();
                    assert_eq!(whole, pack < 2);
                    seen[pack] += 1;
                    Ok(())
                })
                .unwrap();
            for n in 0..MERGE_AT as u32 * 1000 {
                let found = index.find(&store, &Digest::of(&n.to_le_bytes())).unwrap();
                let lies_in = (n % 1000 < 500 && seen[n as usize / 1000] > 0).then(|| Digest::of(&[(n / 1000) as u8]));
                assert_eq!(found.first().map(|at| at.pack), lies_in, "{n}");
            }
            seen
        };
        // Without bag files, and with ones in doubt, nothing is forgotten.
        assert_eq!(knows(&Index::open(&store).unwrap()), [500; MERGE_AT]);
        store.commit(&bag).unwrap();
        let (good, manifest) = (std::fs::read(store.root().join(MANIFEST)).unwrap(), store.root().join(MANIFEST));
        std::fs::write(&manifest, [good.as_slice(), b"\n"].concat()).unwrap();
        assert_eq!(knows(&Index::open(&store).unwrap()), [500; MERGE_AT]);
        std::fs::write(&manifest, good).unwrap();
        // Who only reads forgets it for himself; a writer's file tells no more of it.
        let mut index = Index::open(&store).unwrap();
        assert_eq!((knows(&index), file(&index)), ([500, 500, 500, 0], merged.clone()));
        index.tidy(&store).unwrap();
        let index = Index::open(&store).unwrap();
        assert_eq!(knows(&index), [500, 500, 500, 0]);
        assert!(file(&index) != merged && !index.parts[0].is_stale && index.parts[0].count == 1500);
        assert!(!store.root().join(&merged).exists() && index.useless().is_empty() && !index.is_all_whole());
    }

    #[test]
    fn digests_that_are_not_spread_evenly_are_found_too() {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalStore::new(folder.path());
        let _lock = store.lock().unwrap();
        let mut index = Index::open(&store).unwrap();
        let crafted = |n: u32| {
            let mut bytes = [0u8; 32];
            bytes[6..10].copy_from_slice(&n.to_be_bytes());
            bytes[0] = if n == 4999 { 255 } else { 0 };
            Digest::from_bytes(bytes)
        };
        let rows =
            (0..5000).map(|n| Record { digest: crafted(n), frame: 0, start: 0, len: n, form: ObjectForm::Recipe }).collect();
        index.add(&store, sealed(1, &store), rows).unwrap();
        for n in 0..5000 {
            assert_eq!(index.find(&store, &crafted(n)).unwrap()[0].len, n);
        }
    }

    #[test]
    fn a_flipped_byte_makes_an_index_file_useless_and_not_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalStore::new(folder.path());
        let _lock = store.lock().unwrap();
        Index::open(&store).unwrap().add(&store, sealed(1, &store), records(0..10)).unwrap();
        let file = store.list("index").unwrap().into_iter().find(|f| f.name.ends_with(".idx")).unwrap();
        let good = std::fs::read(store.root().join(&file.name)).unwrap();
        for i in 0..good.len() {
            let mut bad = good.clone();
            bad[i] ^= 1 << (i % 8);
            std::fs::write(store.root().join(&file.name), bad).unwrap();
            assert!(Part::open(&LocalStore::new(folder.path()), &file).unwrap().is_none(), "byte {i}");
        }
    }
}
