//! A heap of files of which nothing is believed: whole frames and whole roots are looked for in each of them.
//!
//! Names, manifests, indexes and seek tables are not needed. After bytes that are no whole frame, the next place where a frame
//! begins is searched for, so that damage costs the frame that it is in and no other.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::Salvaged;
use crate::archive::pack::{self, EntrySpan, FRAME_MAGIC, FRAME_STORED_MAX_BYTES, ObjectForm, Sort};
use crate::archive::{Root, Writer};
use crate::error::{Error, Kind, Result};
use crate::model::{Digest, printable};
use crate::monitor::Monitor;
use crate::snapshot::sort_of;

/// Bytes of a file that are held in memory; a frame fits several times.
const WINDOW_BYTES: usize = 3 * FRAME_STORED_MAX_BYTES;
/// What may be spent in vain on a file, in bytes decompressed: so much, and so many times its size. Damage costs a frame's worth each
/// time; only a file made for it costs more.
const PATIENCE_BYTES: u64 = 1 << 30;
const PATIENCE_TIMES: u64 = 64;
/// What looking at a block costs.
const BLOCK_COSTS: u64 = 64;
/// Largest root that is looked at.
const ROOT_MAX_BYTES: u64 = 256 << 20;
const AGE: &[u8] = b"age-encryption.org/v1\n";

/// A frame that holds recipes.
pub(super) struct FrameAt {
    file: usize,
    offset: u64,
    compressed: usize,
    bytes: u32,
}

/// A root that was found.
pub(super) struct FoundRoot {
    pub file: String,
    pub bytes: Vec<u8>,
    pub digest: Digest,
    pub root: Root,
}

/// What was found.
#[derive(Default)]
pub(super) struct Heap {
    files: Vec<PathBuf>,
    pub with_recipes: Vec<FrameAt>,
    pub roots: Vec<FoundRoot>,
}

/// A stretch of a file, moved along.
struct Window<'a> {
    file: &'a File,
    size: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl Window<'_> {
    /// The bytes from `offset` on: a frame's worth, unless the file ends before.
    fn at(&mut self, offset: u64) -> io::Result<&[u8]> {
        let end = self.start + self.bytes.len() as u64;
        if offset < self.start || (end < self.size && offset + FRAME_STORED_MAX_BYTES as u64 > end) || offset > end {
            let length = (self.size - offset).min(WINDOW_BYTES as u64) as usize;
            self.bytes.resize(length, 0);
            (self.start, self.size) = (offset, self.size);
            self.file.read_exact_at(&mut self.bytes, offset)?;
        }
        Ok(&self.bytes[(offset - self.start) as usize..])
    }
}

impl Heap {
    /// Reads everything once; stores each blob and listing whose digest is right.
    ///
    /// # Errors
    /// `Kind::Storage` when the new archive cannot be written. What cannot be read of the heap is noted.
    pub(super) fn scan(broken: &Path, writer: &mut Writer, done: &mut Salvaged, monitor: &dyn Monitor) -> Result<Self> {
        let mut heap = Heap::default();
        let walk = walkdir::WalkDir::new(broken).sort_by_file_name();
        let mut bytes = 0;
        for entry in walk {
            match entry {
                Ok(entry) if entry.file_type().is_file() => {
                    bytes += entry.metadata().map_or(0, |m| m.len());
                    heap.files.push(entry.into_path());
                }
                Ok(_) => {}
                Err(e) => done.damage.push(printable(&e.to_string())),
            }
        }
        monitor.phase("salvage", Some(bytes));
        for number in 0..heap.files.len() {
            let path = heap.files[number].clone();
            let shown = path.strip_prefix(broken).unwrap_or(&path).display().to_string();
            done.files += 1;
            match heap.file(number, &path, &shown, writer, done, monitor) {
                Ok(()) => {}
                Err(e) if e.kind() == Kind::Source => done.damage.push(e.to_string()),
                Err(e) => return Err(e),
            }
        }
        monitor.done();
        Ok(heap)
    }

    fn file(
        &mut self,
        number: usize,
        path: &Path,
        shown: &str,
        writer: &mut Writer,
        done: &mut Salvaged,
        monitor: &dyn Monitor,
    ) -> Result<()> {
        let unreadable = |e| Error::io(Kind::Source, "a file cannot be read", Path::new(shown), e);
        let file = File::open(path).map_err(unreadable)?;
        let size = file.metadata().map_err(unreadable)?.len();
        let mut window = Window { file: &file, size, start: 0, bytes: Vec::new() };
        let first = if size == 0 { &[] } else { window.at(0).map_err(unreadable)? };
        if first.starts_with(AGE) {
            done.damage.push(format!("{shown} is encrypted; only what is not can be salvaged"));
            return Ok(());
        }
        if first.starts_with(b"{")
            && size <= ROOT_MAX_BYTES
            && memchr::memmem::find(&first[..first.len().min(4096)], b"floe snapshot").is_some()
        {
            let mut bytes = vec![0; size as usize];
            file.read_exact_at(&mut bytes, 0).map_err(unreadable)?;
            self.root(shown, bytes, done);
            return Ok(());
        }
        let looks_like_pack = first.starts_with(&FRAME_MAGIC) || shown.ends_with(".tar.zst");
        self.frames(number, shown, &mut window, looks_like_pack, writer, done, monitor)
    }

    fn root(&mut self, shown: &str, bytes: Vec<u8>, done: &mut Salvaged) {
        let digest = Digest::of(&bytes);
        let stem = shown.rsplit('/').next().unwrap_or(shown).trim_end_matches(".json");
        // A root's own name ends in the first digits of its digest; under any other name it speaks for itself.
        let named = stem.rsplit_once('-').map(|(_, hex)| hex).filter(|hex| hex.len() == 12);
        match Root::from_bytes(&bytes) {
            Err(e) => done.damage.push(format!("{shown} is a snapshot root that cannot be read: {e}")),
            Ok(_) if named.is_some_and(|hex| !digest.to_string().starts_with(hex)) => {
                done.damage.push(format!("{shown} is a snapshot root that was changed: it is not the one that its name says"));
            }
            Ok(root) if Root::tree_of(&root.accounts) != root.tree => {
                done.damage.push(format!("{shown} is a snapshot root that was changed: its accounts are not those of its tree"));
            }
            Ok(root) if self.roots.iter().all(|r| r.digest != digest) => {
                self.roots.push(FoundRoot { file: shown.to_owned(), bytes, digest, root });
            }
            Ok(_) => {}
        }
    }

    #[allow(clippy::too_many_arguments, reason = "one step of the scan")]
    fn frames(
        &mut self,
        number: usize,
        shown: &str,
        window: &mut Window<'_>,
        looks_like_pack: bool,
        writer: &mut Writer,
        done: &mut Salvaged,
        monitor: &dyn Monitor,
    ) -> Result<()> {
        let (mut offset, mut good, mut bad) = (0, 0, Vec::<(u64, u64)>::new());
        let mut patience = PATIENCE_BYTES + PATIENCE_TIMES * window.size;
        while offset < window.size && patience > 0 {
            let unreadable =
                |e| Error::io(Kind::Source, "a file cannot be read any further", Path::new(shown), e).with("offset", offset);
            let rest = window.at(offset).map_err(unreadable)?;
            let step = match whole_frame(rest, &mut patience) {
                Some((compressed, frame, entries)) => {
                    good += 1;
                    let at = FrameAt { file: number, offset, compressed, bytes: frame.len() as u32 };
                    if store(&frame, &entries, shown, writer, done)? {
                        self.with_recipes.push(at);
                    }
                    compressed
                }
                None => match pack::seek_table_at(rest) {
                    Some(bytes) => bytes,
                    None => {
                        let step = next_frame(rest);
                        match bad.last_mut() {
                            Some((from, bytes)) if *from + *bytes == offset => *bytes += step as u64,
                            _ => bad.push((offset, step as u64)),
                        }
                        step
                    }
                },
            };
            offset += step as u64;
            monitor.advance(0, step as u64);
        }
        if offset < window.size {
            let left = window.size - offset;
            done.damage.push(format!(
                "{shown}: too much of it looks like a frame and is none; {left} bytes at its end were not searched"
            ));
        }
        if good > 0 || looks_like_pack {
            done.packs += 1;
            done.frames += good;
            done.damage.extend(bad.iter().map(|(from, bytes)| format!("{shown}: {bytes} bytes at {from} are no whole frame")));
            if good == 0 && bad.is_empty() {
                done.damage.push(format!("{shown} is a pack with nothing in it"));
            }
        }
        Ok(())
    }

    /// Reads a frame again.
    pub(super) fn read(&self, at: &FrameAt) -> Result<(Vec<u8>, Vec<EntrySpan>)> {
        let path = self.files.get(at.file).ok_or_else(|| Error::new(Kind::Internal, "a file of the heap is not known"))?;
        let mut compressed = vec![0; at.compressed];
        let read = File::open(path).and_then(|file| file.read_exact_at(&mut compressed, at.offset));
        read.map_err(|e| Error::io(Kind::Source, "a file cannot be read again", path, e))?;
        let frame = pack::decompress(&compressed, at.bytes)?;
        let entries = pack::entries(&frame)?;
        Ok((frame, entries))
    }
}

/// The frame that these bytes begin with, if it is whole and one of a pack. What a vain attempt costs is taken from `patience`.
fn whole_frame(bytes: &[u8], patience: &mut u64) -> Option<(usize, Vec<u8>, Vec<EntrySpan>)> {
    let found = pack::frame_at(bytes);
    let content = found.frame.map_or(0, |(_, content)| u64::from(content));
    let whole = decompressed(bytes, found.frame);
    if whole.is_none() {
        *patience = patience.saturating_sub(BLOCK_COSTS * found.blocks + content);
    }
    whole
}

fn decompressed(bytes: &[u8], frame: Option<(usize, u32)>) -> Option<(usize, Vec<u8>, Vec<EntrySpan>)> {
    let (compressed, content) = frame?;
    let frame = pack::decompress(bytes.get(..compressed)?, content).ok()?;
    let entries = pack::entries(&frame).ok()?;
    Some((compressed, frame, entries))
}

/// Bytes to the next place where a frame may begin.
fn next_frame(bytes: &[u8]) -> usize {
    let tail = bytes.get(1..).unwrap_or_default();
    match memchr::memmem::find(tail, &FRAME_MAGIC) {
        Some(at) => at + 1,
        // The beginning of a frame may lie across the end of what is in memory.
        None if bytes.len() > FRAME_STORED_MAX_BYTES / 2 => bytes.len() - FRAME_MAGIC.len(),
        None => bytes.len(),
    }
}

/// Stores the blobs and listings of a frame; has it recipes too?
fn store(frame: &[u8], entries: &[EntrySpan], shown: &str, writer: &mut Writer, done: &mut Salvaged) -> Result<bool> {
    let mut recipes = false;
    for entry in entries {
        let Some(data) = frame.get(entry.start..entry.start + entry.len) else { continue };
        if entry.form == ObjectForm::Recipe {
            recipes = true;
        } else if Digest::of(data) == entry.digest {
            let sort = if entry.form == ObjectForm::Listing { Sort::Listing } else { sort_of(data) };
            writer.add(sort, entry.form, entry.digest, data)?;
        } else {
            done.damage.push(format!("{shown}: the object {} has not the bytes that its name says", entry.digest));
        }
    }
    Ok(recipes)
}
