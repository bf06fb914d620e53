//! Packs and frames: tar entries in independent zstd frames with a seek table (docs/format.md section 3).
//!
//! A frame is about 4 MiB of whole tar entries of one sort and can be read by itself. Everything here treats the bytes of a
//! pack as hostile: sizes are checked before anything is allocated.

use std::cell::RefCell;
use std::io::Write;

use crate::error::{Error, Kind, Result};
use crate::model::Digest;
use crate::store::{Store, Upload};
use crate::vault::SUFFIX;

/// Entries of one sort share frames and a compression level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sort {
    /// Recipes and small messages: mostly headers.
    Head,
    /// Text bodies.
    Text,
    /// Other bytes that may compress.
    Binary,
    /// Bytes that do not compress.
    Packed,
    /// Listings.
    Listing,
}

/// All sorts.
pub const SORTS: [Sort; 5] = [Sort::Head, Sort::Text, Sort::Binary, Sort::Packed, Sort::Listing];

impl Sort {
    /// Bytes of entries after which a frame is closed. Text gains by the group; other bytes do not, and a small frame makes one
    /// attachment cheap to get at.
    pub fn frame_bytes(self) -> usize {
        match self {
            Sort::Head | Sort::Text | Sort::Listing => 4 << 20,
            Sort::Binary => 2 << 20,
            Sort::Packed => 1 << 20,
        }
    }

    /// The zstd level for this sort when `level` is that for text. Headers repeat themselves most and are few, so they get more
    /// time; bytes that hardly compress are not worth it.
    pub fn level(self, level: i32) -> i32 {
        match self {
            Sort::Head => (level + HEAD_LEVELS_MORE).min(MAX_LEVEL),
            Sort::Text | Sort::Listing => level,
            Sort::Binary => level.min(3),
            Sort::Packed => level.min(2),
        }
    }
}

/// How an object is stored; the numbers are those of index files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectForm {
    /// As it is.
    Blob = 0,
    /// As a recipe.
    Recipe = 1,
    /// As it is; it is a listing.
    Listing = 2,
}

impl ObjectForm {
    fn folder(self) -> &'static str {
        match self {
            ObjectForm::Blob => "blob",
            ObjectForm::Recipe => "recipe",
            ObjectForm::Listing => "listing",
        }
    }
}

/// Most bytes that a frame may hold decompressed.
pub const FRAME_MAX_BYTES: usize = 16 << 20;
/// Bytes after which a pack is closed.
const PACK_BYTES: u64 = 256 << 20;
/// Entries after which a pack is closed, so that what is known of an open one stays small.
const PACK_ENTRIES: u64 = 1 << 18;
/// Most bytes that a frame may take in its pack: zstd makes incompressible bytes hardly longer.
pub const FRAME_STORED_MAX_BYTES: usize = FRAME_MAX_BYTES + (1 << 20);
const BLOCK: usize = 512;
const TRAILER: &str = "pack.json";
/// Most bytes of a block of a frame.
const BLOCK_MAX_BYTES: usize = 128 << 10;
/// What a frame begins with.
pub const FRAME_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const SEEK_MAGIC: u32 = 0x184D_2A5E;
const SEEK_FOOTER: u32 = 0x8F92_EAB1;

/// Levels that headers get beyond that of text.
const HEAD_LEVELS_MORE: i32 = 5;
/// The highest level of zstd.
const MAX_LEVEL: i32 = 22;

/// Appends one tar entry and returns where its data begins.
pub fn put_entry(frame: &mut Vec<u8>, form: ObjectForm, digest: &Digest, data: &[u8]) -> usize {
    put_named(frame, &format!("{}/{digest}", form.folder()), data)
}

// Written by hand because tar::Builder copies whatever a reader yields and never compares it with the header; here the header's
// size is the slice's own length.
fn put_named(frame: &mut Vec<u8>, name: &str, data: &[u8]) -> usize {
    let mut header = tar::Header::new_ustar();
    if let Some(field) = header.as_mut_bytes().get_mut(..name.len()) {
        field.copy_from_slice(name.as_bytes());
    }
    header.set_size(data.len() as u64);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_cksum();
    frame.extend_from_slice(header.as_bytes());
    let start = frame.len();
    frame.extend_from_slice(data);
    frame.resize(frame.len().next_multiple_of(BLOCK), 0);
    start
}

/// One entry in a decompressed frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntrySpan {
    /// The object's name.
    pub digest: Digest,
    /// How it is stored.
    pub form: ObjectForm,
    /// First byte of its data in the frame.
    pub start: usize,
    /// Bytes of its data.
    pub len: usize,
}

/// The entries of a decompressed frame.
///
/// # Errors
/// `Kind::Damage` where the bytes are not whole tar entries of the kinds that a pack holds.
pub fn entries(frame: &[u8]) -> Result<Vec<EntrySpan>> {
    let mut spans = Vec::new();
    let mut archive = tar::Archive::new(frame);
    let bad = |e: std::io::Error| Error::damage("a frame does not hold whole tar entries").because(e);
    for entry in archive.entries().map_err(bad)? {
        let entry = entry.map_err(bad)?;
        let (start, len) = (entry.raw_file_position() as usize, entry.size() as usize);
        if start.checked_add(len).is_none_or(|end| end > frame.len()) {
            return Err(Error::damage("a tar entry is longer than its frame"));
        }
        let name = entry.path_bytes();
        if &*name == TRAILER.as_bytes() {
            continue;
        }
        let found = [ObjectForm::Blob, ObjectForm::Recipe, ObjectForm::Listing].into_iter().find_map(|form| {
            let hex = name.strip_prefix(form.folder().as_bytes())?.strip_prefix(b"/")?;
            Some(EntrySpan { digest: Digest::from_hex(hex)?, form, start, len })
        });
        spans.push(found.ok_or_else(|| Error::damage("a tar entry has a name that no pack holds"))?);
    }
    Ok(spans)
}

/// Compresses a frame.
///
/// # Errors
/// `Kind::Internal` if zstd refuses.
pub fn compress(frame: &[u8], level: i32) -> Result<Vec<u8>> {
    thread_local! {
        // Setting one up costs as much as compressing a small frame.
        static COMPRESSOR: RefCell<zstd::bulk::Compressor<'static>> = RefCell::default();
    }
    let failed = |e| Error::new(Kind::Internal, "cannot compress a frame").because(e);
    COMPRESSOR.with_borrow_mut(|compressor| {
        compressor.set_compression_level(level).map_err(failed)?;
        compressor.include_checksum(true).map_err(failed)?;
        compressor.compress(frame).map_err(failed)
    })
}

/// Decompresses a frame that holds exactly `bytes`.
///
/// # Errors
/// `Kind::Damage` if it does not.
pub fn decompress(frame: &[u8], bytes: u32) -> Result<Vec<u8>> {
    if bytes as usize > FRAME_MAX_BYTES {
        return Err(Error::damage("a frame says that it is larger than a frame may be"));
    }
    thread_local! {
        static DECOMPRESSOR: RefCell<zstd::bulk::Decompressor<'static>> = RefCell::default();
    }
    let out = DECOMPRESSOR.with_borrow_mut(|d| d.decompress(frame, bytes as usize));
    let out = out.map_err(|e| Error::damage("a frame does not decompress").because(e))?;
    if out.len() != bytes as usize {
        return Err(Error::damage("a frame has another size than it should"));
    }
    Ok(out)
}

/// Where a frame lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameSpan {
    /// First byte in the pack.
    pub offset: u64,
    /// Compressed bytes.
    pub compressed: u32,
    /// Decompressed bytes.
    pub bytes: u32,
}

/// A pack that is durable under its name.
pub struct SealedPack {
    /// Its digest, which is its name.
    pub digest: Digest,
    /// Its size.
    pub bytes: u64,
    /// Its frames.
    pub frames: Vec<FrameSpan>,
}

/// A pack being written.
pub struct PackWriter {
    upload: Box<dyn Upload>,
    /// What the file's name ends in.
    suffix: &'static str,
    offset: u64,
    frames: Vec<FrameSpan>,
    entries: u64,
    data_bytes: u64,
}

impl PackWriter {
    /// Begins a pack.
    pub fn new(store: &dyn Store) -> Result<Self> {
        Ok(Self::of(store.upload()?, store.suffix()))
    }

    /// Begins a pack that takes the place of `name`, for those who can read that one.
    pub fn instead_of(store: &dyn Store, name: &str) -> Result<Self> {
        Ok(Self::of(store.upload_for_readers_of(name)?, store.suffix()))
    }

    fn of(upload: Box<dyn Upload>, suffix: &'static str) -> Self {
        PackWriter { upload, suffix, offset: 0, frames: Vec::new(), entries: 0, data_bytes: 0 }
    }

    /// Is it so large that another should be begun?
    pub fn is_full(&self) -> bool {
        self.offset >= PACK_BYTES || self.entries >= PACK_ENTRIES
    }

    /// Appends a compressed frame that holds so many entries and bytes of data; returns its number.
    pub fn frame(&mut self, compressed: &[u8], bytes: usize, entries: u64, data_bytes: u64) -> Result<u32> {
        let span = FrameSpan { offset: self.offset, compressed: compressed.len() as u32, bytes: bytes as u32 };
        self.write(compressed)?;
        self.frames.push(span);
        self.entries += entries;
        self.data_bytes += data_bytes;
        Ok(self.frames.len() as u32 - 1)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.offset += bytes.len() as u64;
        self.upload.write_all(bytes).map_err(|e| Error::new(Kind::Storage, "cannot write a pack").because(e))
    }

    /// Writes trailer and seek table and makes the pack durable under its name.
    pub fn finish(mut self) -> Result<SealedPack> {
        let trailer = serde_json::json!({"format": "floe pack", "version": 1, "frames": self.frames.len() + 1,
            "entries": self.entries, "bytes": self.data_bytes});
        let mut last = Vec::new();
        put_named(&mut last, TRAILER, trailer.to_string().as_bytes());
        last.resize(last.len() + 2 * BLOCK, 0);
        self.frame(&compress(&last, 3)?, last.len(), 0, 0)?;
        let mut table = Vec::with_capacity(self.frames.len() * 8 + 17);
        table.extend_from_slice(&SEEK_MAGIC.to_le_bytes());
        table.extend_from_slice(&((self.frames.len() * 8 + 9) as u32).to_le_bytes());
        for frame in &self.frames {
            table.extend_from_slice(&frame.compressed.to_le_bytes());
            table.extend_from_slice(&frame.bytes.to_le_bytes());
        }
        table.extend_from_slice(&(self.frames.len() as u32).to_le_bytes());
        table.push(0);
        table.extend_from_slice(&SEEK_FOOTER.to_le_bytes());
        self.write(&table)?;
        let suffix = self.suffix;
        let (digest, bytes) = self.upload.finish_as(&|digest| pack_name(digest, suffix))?;
        Ok(SealedPack { digest, bytes, frames: self.frames })
    }
}

/// The file of a pack; `suffix` is the store's.
pub fn pack_name(digest: &Digest, suffix: &str) -> String {
    format!("data/packs/{digest}.tar.zst{suffix}")
}

/// The pack that a file name names.
pub fn pack_digest(name: &str) -> Option<Digest> {
    let name = name.strip_prefix("data/packs/")?;
    name.strip_suffix(SUFFIX).unwrap_or(name).strip_suffix(".tar.zst")?.parse().ok()
}

/// Reads the seek table of a pack whose file has `size` bytes.
///
/// # Errors
/// `Kind::Damage` when the pack was cut or its table does not fit its size.
pub fn seek_table(store: &dyn Store, name: &str, size: u64) -> Result<Vec<FrameSpan>> {
    let bad = || Error::damage("a pack has no valid seek table: it is cut short or damaged").with("file", name);
    let size = store.content_bytes(name, size)?;
    let word = |b: &[u8], at: usize| b.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes);
    let mut footer = [0u8; 9];
    store.read_at(name, size.checked_sub(9).ok_or_else(bad)?, &mut footer)?;
    let count = u64::from(word(&footer, 0).ok_or_else(bad)?);
    let table_bytes = count * 8 + 17;
    if word(&footer, 5) != Some(SEEK_FOOTER) || table_bytes > size || count > size / 9 {
        return Err(bad());
    }
    let mut table = vec![0u8; table_bytes as usize];
    store.read_at(name, size - table_bytes, &mut table)?;
    if word(&table, 0) != Some(SEEK_MAGIC) || u64::from(word(&table, 4).ok_or_else(bad)?) != table_bytes - 8 {
        return Err(bad());
    }
    let mut offset = 0;
    let mut frames = Vec::with_capacity(count as usize);
    for i in 0..count as usize {
        let (compressed, bytes) = (word(&table, 8 + i * 8).ok_or_else(bad)?, word(&table, 12 + i * 8).ok_or_else(bad)?);
        frames.push(FrameSpan { offset, compressed, bytes });
        offset += u64::from(compressed);
    }
    if offset + table_bytes != size {
        return Err(bad());
    }
    Ok(frames)
}

/// The frames of a pack without a valid seek table, as far as they are whole: they say themselves how long they are.
pub fn walk_frames(store: &dyn Store, name: &str, size: u64) -> Vec<FrameSpan> {
    let mut frames = Vec::new();
    let mut offset = 0;
    let mut bytes = Vec::new();
    let size = store.content_bytes(name, size).unwrap_or_default();
    while offset < size {
        bytes.resize((size - offset).min(FRAME_STORED_MAX_BYTES as u64) as usize, 0);
        match store.read_whole_part(name, offset, &mut bytes) {
            Ok(whole) if whole > 0 => bytes.truncate(whole),
            _ => break,
        }
        let Ok(compressed) = zstd::zstd_safe::find_frame_compressed_size(&bytes) else { break };
        if let Ok(Some(content)) = zstd::zstd_safe::get_frame_content_size(&bytes)
            && content <= FRAME_MAX_BYTES as u64
            && !bytes.starts_with(&SEEK_MAGIC.to_le_bytes())
        {
            frames.push(FrameSpan { offset, compressed: compressed as u32, bytes: content as u32 });
        }
        offset += compressed as u64;
    }
    frames
}

/// What was found where a frame may begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beginning {
    /// Bytes that the frame takes, compressed and decompressed; `None` where none begins that a pack could hold.
    pub frame: Option<(usize, u32)>,
    /// Blocks that were looked at for this, which is what it cost.
    pub blocks: u64,
}

/// Looks for a frame at the beginning of these bytes, block by block (RFC 8878 3.1.1), without decompressing anything.
pub fn frame_at(bytes: &[u8]) -> Beginning {
    let mut found = Beginning::default();
    let bytes = bytes.get(..FRAME_STORED_MAX_BYTES).unwrap_or(bytes);
    found.frame = frame_header(bytes).and_then(|(mut at, content, checksum)| {
        loop {
            found.blocks += 1;
            let header = bytes.get(at..at + 3).map(|b| u32::from_le_bytes([b[0], b[1], b[2], 0]))?;
            let size = (header >> 3) as usize;
            if size > BLOCK_MAX_BYTES {
                return None;
            }
            at += 3 + match header >> 1 & 3 {
                0 | 2 => size,
                1 => 1,
                _ => return None,
            };
            if header & 1 == 1 {
                let end = at + if checksum { 4 } else { 0 };
                return (end <= bytes.len()).then_some((end, content));
            }
        }
    });
    found
}

/// Where the blocks of a frame begin, its content's size, and whether a checksum follows it.
fn frame_header(bytes: &[u8]) -> Option<(usize, u32, bool)> {
    let rest = bytes.strip_prefix(&FRAME_MAGIC)?;
    let flags = *rest.first()?;
    let single = flags >> 5 & 1 == 1;
    let window = usize::from(!single);
    let dictionary = [0, 1, 2, 4][usize::from(flags & 3)];
    let size_bytes = [usize::from(single), 2, 4, 8][usize::from(flags >> 6)];
    let at = 1 + window + dictionary;
    let field = rest.get(at..at + size_bytes).filter(|f| !f.is_empty())?;
    let mut content = [0; 8];
    content[..size_bytes].copy_from_slice(field);
    // Two bytes count from 256 on.
    let content = u64::from_le_bytes(content) + if size_bytes == 2 { 256 } else { 0 };
    (content <= FRAME_MAX_BYTES as u64).then_some((4 + at + size_bytes, content as u32, flags >> 2 & 1 == 1))
}

/// How many bytes the seek table takes that begins here.
pub fn seek_table_at(bytes: &[u8]) -> Option<usize> {
    let size = bytes.strip_prefix(&SEEK_MAGIC.to_le_bytes())?.first_chunk().map(|b| u32::from_le_bytes(*b) as usize + 8)?;
    (size <= bytes.len()).then_some(size)
}

/// Reads and decompresses one frame.
pub fn read_frame(store: &dyn Store, name: &str, span: &FrameSpan) -> Result<Vec<u8>> {
    if span.compressed as usize > FRAME_STORED_MAX_BYTES {
        return Err(Error::damage("a frame is larger than a frame may be").with("file", name).with("offset", span.offset));
    }
    thread_local! {
        // Used again, it need not be cleared for every frame.
        static COMPRESSED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    COMPRESSED.with_borrow_mut(|buffer| {
        let length = span.compressed as usize;
        if buffer.len() < length {
            buffer.resize(length, 0);
        }
        let compressed = &mut buffer[..length];
        store.read_at(name, span.offset, compressed)?;
        decompress(compressed, span.bytes).map_err(|e| e.with("file", name).with("offset", span.offset))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn entries_read_back() {
        let mut frame = Vec::new();
        let data = [vec![], vec![1; 511], vec![2; 512], vec![3; 513]];
        for bytes in &data {
            put_entry(&mut frame, ObjectForm::Blob, &Digest::of(bytes), bytes);
        }
        let spans = entries(&decompress(&compress(&frame, 3).unwrap(), frame.len() as u32).unwrap()).unwrap();
        let got: Vec<&[u8]> = spans.iter().map(|s| &frame[s.start..s.start + s.len]).collect();
        assert_eq!(got, data);
    }

    #[test]
    fn a_frame_is_as_long_as_zstd_says() {
        for (n, level) in [(0, 3), (1, 3), (200, 19), (300, 1), (70_000, 3), (3 << 20, 1)] {
            let noise: Vec<u8> = (0..n).map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 20) as u8).collect();
            for frame in [noise, vec![7; n as usize]] {
                let mut bytes = compress(&frame, level).unwrap();
                let whole = bytes.len();
                bytes.extend_from_slice(b"what follows");
                assert_eq!(frame_at(&bytes).frame, Some((whole, frame.len() as u32)), "{n}");
                assert_eq!(zstd::zstd_safe::find_frame_compressed_size(&bytes), Ok(whole));
                assert_eq!(frame_at(&bytes[..whole - 1]).frame, None, "{n}");
            }
        }
    }

    #[test]
    fn every_flipped_bit_of_a_frame_is_noticed() {
        let mut frame = Vec::new();
        put_entry(&mut frame, ObjectForm::Blob, &Digest::of(b"x"), b"some text that compresses, some text that compresses");
        let good = compress(&frame, 3).unwrap();
        for i in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[i / 8] ^= 1 << (i % 8);
            assert!(!decompress(&bad, frame.len() as u32).is_ok_and(|f| f != frame), "bit {i}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_entries_or_an_error(bytes in any::<Vec<u8>>()) {
            let _ = entries(&bytes);
            let _ = decompress(&bytes, 1000);
        }
    }
}
