//! A heap of files of which nothing is believed: whole frames and whole roots are looked for in each of them.
//!
//! Names, manifests, indexes and seek tables are not needed. After bytes that are no whole frame, the next place where a frame
//! begins is searched for, so that damage costs the frame that it is in and no other. Of an encrypted file what it holds is searched, with
//! zeros where a piece of it does not open.

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
use crate::vault::{self, Keys, Loose, SUFFIX};

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
/// How the header of a key file goes on: with what a passphrase opens.
const PASSPHRASE: &[u8] = b"\n-> scrypt ";
const KEY_FILE_MAX_BYTES: u64 = 1 << 20;

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
    /// The file as it lies there, encrypted or not.
    pub bytes: Vec<u8>,
    /// SHA-256 of the file.
    pub digest: Digest,
    pub root: Root,
    pub encrypted: bool,
}

/// A file, and what is in its way.
struct HeapFile {
    path: PathBuf,
    shown: String,
    state: State,
}

enum State {
    Clear,
    Opened(Box<Loose>),
    /// Encrypted, and nothing opens it. It was told of, or is nothing to tell of.
    Closed,
}

/// What was found.
#[derive(Default)]
pub(super) struct Heap {
    files: Vec<HeapFile>,
    /// Bytes of all of them.
    bytes: u64,
    /// Encrypted files that were opened.
    pub opened: u64,
    /// Those that were not looked into, for no key was given.
    pub skipped: u64,
    /// Files with a key that a passphrase opens.
    pub key_files: Vec<Vec<u8>>,
    pub with_recipes: Vec<FrameAt>,
    pub roots: Vec<FoundRoot>,
}

/// What a file holds, in clear.
struct Content<'a> {
    file: File,
    size: u64,
    loose: Option<&'a Loose>,
}

impl<'a> Content<'a> {
    fn open(file: &'a HeapFile) -> io::Result<Self> {
        let loose = if let State::Opened(loose) = &file.state { Some(&**loose) } else { None };
        let file = File::open(&file.path)?;
        let size = loose.map_or_else(|| Ok(file.metadata()?.len()), |loose| Ok::<u64, io::Error>(loose.bytes()))?;
        Ok(Content { file, size, loose })
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        match self.loose {
            Some(loose) => loose.read_exact_at(&self.file, buffer, offset),
            None => self.file.read_exact_at(buffer, offset),
        }
    }

    /// Its beginning says that it is a root.
    fn is_root(&self, first: &[u8]) -> bool {
        first.starts_with(b"{")
            && self.size <= ROOT_MAX_BYTES
            && memchr::memmem::find(&first[..first.len().min(4096)], b"floe snapshot").is_some()
    }
}

/// A stretch of a file, moved along.
struct Window<'a> {
    file: &'a Content<'a>,
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
    /// Lists all files, opens those that are encrypted as far as the keys do, and reads the roots.
    ///
    /// # Errors
    /// `Kind::Key` when nothing of what was given opens anything. What cannot be read of the heap is noted.
    pub(super) fn survey(broken: &Path, keys: &Keys, done: &mut Salvaged) -> Result<Self> {
        let mut heap = Heap::default();
        let mut encrypted = Vec::new();
        for entry in walkdir::WalkDir::new(broken).sort_by_file_name() {
            match entry {
                Ok(entry) if entry.file_type().is_file() => {
                    let bytes = entry.metadata().map_or(0, |m| m.len());
                    heap.bytes += bytes;
                    let path = entry.into_path();
                    let shown = path.strip_prefix(broken).unwrap_or(&path).display().to_string();
                    if begins(&path).is_ok_and(|first| first.starts_with(vault::MAGIC)) {
                        encrypted.push((heap.files.len(), bytes));
                    }
                    heap.files.push(HeapFile { path, shown, state: State::Clear });
                }
                Ok(_) => {}
                Err(e) => done.damage.push(printable(&e.to_string())),
            }
        }
        heap.open(&encrypted, keys, done)?;
        for number in 0..heap.files.len() {
            // What cannot be read is told of when it is searched.
            if let Ok(Some(root)) = heap.root_in(&heap.files[number], done)
                && heap.roots.iter().all(|r| r.digest != root.digest)
            {
                heap.roots.push(root);
            }
        }
        Ok(heap)
    }

    /// Opens the files that are encrypted.
    fn open(&mut self, encrypted: &[(usize, u64)], keys: &Keys, done: &mut Salvaged) -> Result<()> {
        let (mut keys, mut closed) = (keys.clone(), Vec::new());
        for (number, bytes) in encrypted.iter().filter(|(_, bytes)| *bytes <= KEY_FILE_MAX_BYTES) {
            let file = &mut self.files[*number];
            let is_key = |first: Vec<u8>| first[vault::MAGIC.len()..].starts_with(PASSPHRASE);
            if begins(&file.path).is_ok_and(is_key)
                && let Ok(content) = std::fs::read(&file.path)
                && content.len() as u64 == *bytes
            {
                file.state = State::Closed;
                keys = keys.and_of(&content).map_err(|e| e.with("file", &file.shown))?;
                self.key_files.push(content);
            }
        }
        for (number, bytes) in encrypted {
            let file = &mut self.files[*number];
            if matches!(file.state, State::Closed) {
                continue;
            }
            file.state = State::Closed;
            if keys.is_empty() {
                self.skipped += 1;
                continue;
            }
            match File::open(&file.path).and_then(|f| Loose::open(&f, *bytes, &keys)) {
                Ok(Ok(loose)) => {
                    file.state = State::Opened(Box::new(loose));
                    self.opened += 1;
                }
                Ok(Err(why)) => closed.push(format!("{} is lost: it is encrypted, and {why}", file.shown)),
                Err(e) => {
                    done.damage.push(Error::io(Kind::Source, "a file cannot be read", Path::new(&file.shown), e).to_string())
                }
            }
        }
        if self.opened == 0 && !closed.is_empty() {
            return Err(Error::new(Kind::Key, "the files are encrypted for others: none of the keys given opens any of them")
                .with("files", closed.len())
                .hint("give the key of one of their recipients; a passphrase needs the file keys/archive.key.age too"));
        }
        if self.skipped > 0 {
            done.damage.push(format!(
                "{} encrypted files were skipped, for no key was given: --identity or --passphrase-file opens them",
                self.skipped
            ));
        }
        done.damage.extend(closed);
        Ok(())
    }

    /// The root that a file is, if it is one; what is wrong with it is noted.
    fn root_in(&self, file: &HeapFile, done: &mut Salvaged) -> io::Result<Option<FoundRoot>> {
        if matches!(file.state, State::Closed) {
            return Ok(None);
        }
        let content = Content::open(file)?;
        let mut first = vec![0; content.size.min(4096) as usize];
        content.read_exact_at(&mut first, 0)?;
        if !content.is_root(&first) {
            return Ok(None);
        }
        let mut clear = vec![0; content.size as usize];
        content.read_exact_at(&mut clear, 0)?;
        let bytes = if content.loose.is_some() { std::fs::read(&file.path)? } else { clear.clone() };
        Ok(root(&file.shown, bytes, &clear, content.loose, done))
    }

    /// Reads everything once; stores each blob and listing whose digest is right.
    ///
    /// # Errors
    /// `Kind::Storage` when the new archive cannot be written. What cannot be read of the heap is noted.
    pub(super) fn scan(&mut self, writer: &mut Writer, done: &mut Salvaged, monitor: &dyn Monitor) -> Result<()> {
        monitor.phase("salvage", Some(self.bytes));
        for number in 0..self.files.len() {
            done.files += 1;
            match self.file(number, writer, done, monitor) {
                Ok(()) => {}
                Err(e) if e.kind() == Kind::Source => done.damage.push(e.to_string()),
                Err(e) => return Err(e),
            }
        }
        monitor.done();
        Ok(())
    }

    fn file(&mut self, number: usize, writer: &mut Writer, done: &mut Salvaged, monitor: &dyn Monitor) -> Result<()> {
        let Some(file) = self.files.get(number).filter(|file| !matches!(file.state, State::Closed)) else { return Ok(()) };
        let shown = file.shown.as_str();
        let unreadable = |e| Error::io(Kind::Source, "a file cannot be read", Path::new(shown), e);
        let content = Content::open(file).map_err(unreadable)?;
        let mut window = Window { file: &content, size: content.size, start: 0, bytes: Vec::new() };
        let first = if content.size == 0 { &[] } else { window.at(0).map_err(unreadable)? };
        if content.is_root(first) {
            return Ok(());
        }
        if content.loose.is_none() && shown.ends_with(SUFFIX) {
            done.damage.push(format!("{shown} has lost its header, without which nothing that is encrypted in it can be opened"));
        }
        let looks_like_pack = first.starts_with(&FRAME_MAGIC) || shown.trim_end_matches(SUFFIX).ends_with(".tar.zst");
        let found = frames(number, shown, &mut window, looks_like_pack, writer, done, monitor)?;
        done.damage.extend(content.loose.and_then(Loose::damage).map(|damage| format!("{shown}: {damage}")));
        self.with_recipes.extend(found);
        Ok(())
    }

    /// Reads a frame again.
    pub(super) fn read(&self, at: &FrameAt) -> Result<(Vec<u8>, Vec<EntrySpan>)> {
        let file = self.files.get(at.file).ok_or_else(|| Error::new(Kind::Internal, "a file of the heap is not known"))?;
        let mut compressed = vec![0; at.compressed];
        let read = Content::open(file).and_then(|content| content.read_exact_at(&mut compressed, at.offset));
        read.map_err(|e| Error::io(Kind::Source, "a file cannot be read again", &file.path, e))?;
        let frame = pack::decompress(&compressed, at.bytes)?;
        let entries = pack::entries(&frame)?;
        Ok((frame, entries))
    }
}

/// The first bytes of a file, as many as tell what it is.
fn begins(path: &Path) -> io::Result<Vec<u8>> {
    let mut first = vec![0; vault::MAGIC.len() + PASSPHRASE.len()];
    File::open(path)?.read_exact_at(&mut first, 0)?;
    Ok(first)
}

/// The root that a file holds: `bytes` is the file, `clear` what it holds.
fn root(shown: &str, bytes: Vec<u8>, clear: &[u8], loose: Option<&Loose>, done: &mut Salvaged) -> Option<FoundRoot> {
    let digest = Digest::of(&bytes);
    let stem = shown.rsplit('/').next().unwrap_or(shown).trim_end_matches(SUFFIX).trim_end_matches(".json");
    // A root's own name ends in the first digits of its digest; under any other name it speaks for itself.
    let named = stem.rsplit_once('-').map(|(_, hex)| hex).filter(|hex| hex.len() == 12);
    let is_other = named.is_some_and(|hex| !digest.to_string().starts_with(hex));
    let wrong = match (loose.and_then(Loose::damage), Root::from_bytes(clear)) {
        (Some(damage), _) => format!("that cannot be read: {damage}"),
        (None, Err(e)) => format!("that cannot be read: {e}"),
        (None, Ok(_)) if is_other => "that was changed: it is not the one that its name says".to_owned(),
        (None, Ok(root)) if Root::tree_of(&root.accounts) != root.tree => {
            "that was changed: its accounts are not those of its tree".to_owned()
        }
        (None, Ok(root)) => {
            return Some(FoundRoot { file: shown.to_owned(), bytes, digest, root, encrypted: loose.is_some() });
        }
    };
    done.damage.push(format!("{shown} is a snapshot root {wrong}"));
    None
}

/// Stores the whole frames of a file; gives those with recipes.
fn frames(
    number: usize,
    shown: &str,
    window: &mut Window<'_>,
    looks_like_pack: bool,
    writer: &mut Writer,
    done: &mut Salvaged,
    monitor: &dyn Monitor,
) -> Result<Vec<FrameAt>> {
    let (mut offset, mut good, mut bad) = (0, 0, Vec::<(u64, u64)>::new());
    let mut with_recipes = Vec::new();
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
                    with_recipes.push(at);
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
        done.damage
            .push(format!("{shown}: too much of it looks like a frame and is none; {left} bytes at its end were not searched"));
    }
    if good > 0 || looks_like_pack {
        done.packs += 1;
        done.frames += good;
        done.damage.extend(bad.iter().map(|(from, bytes)| format!("{shown}: {bytes} bytes at {from} are no whole frame")));
        if good == 0 && bad.is_empty() {
            done.damage.push(format!("{shown} is a pack with nothing in it"));
        }
    }
    Ok(with_recipes)
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
