//! Handing on the messages of one folder, in order, while the store may be in use.

use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::keywords::{self, Keywords};
use super::listing::{Entry, Listing, Sub};
use super::tree::{Folder, Trouble};
use super::{names, uidlist};
use crate::error::Result;
use crate::model::{DateRule, Flag, InternalDate, Outcome};
use crate::source::{Coding, Content, FileStamp, FoundItem, ItemSink, ItemState, disk};

/// How often a folder is listed again to find files that got other names.
const MAX_RELISTS: u32 = 16;

/// A message that was handed on, to compare others of its base name with.
struct Kept {
    base: Vec<u8>,
    path: PathBuf,
    stamp: FileStamp,
}

/// What a folder's metadata files say, and where to look again for what has moved.
struct Reading<'a> {
    root: &'a Path,
    folder: &'a Folder,
    keywords: Keywords,
    courier_names: Vec<String>,
    /// A note for the first message: what went wrong with the folder's own files.
    note: Option<String>,
    relisted: Option<Listing>,
    relists: u32,
}

/// Hands every message of the folder to `sink`.
pub(super) fn read(root: &Path, folder: &Folder, sink: &mut dyn ItemSink) -> Result<()> {
    if let Some(Trouble { outcome, reason, detail }) = &folder.trouble {
        return sink.exception(disk::place_of(root, &folder.dir), *outcome, reason, detail.clone());
    }
    let mut listing = Listing::of_mail(&folder.dir);
    report_troubles(root, folder, &listing, sink)?;
    let mut reading = Reading {
        root,
        folder,
        keywords: Keywords::load(&folder.dir),
        courier_names: Vec::new(),
        note: None,
        relisted: None,
        relists: 0,
    };
    listing.assign(|by_name| {
        reading.note = uidlist::each(&folder.dir, &mut |line| by_name.uid(line.name, line.uid, line.guid)).err();
        reading.courier_names = keywords::courier(&folder.dir, &mut |name, numbers| by_name.keywords(name, numbers));
    });
    listing.sort_by_uid();
    reading.mail(&listing, sink)?;
    drop(listing);
    unfinished(root, folder, sink)
}

fn report_troubles(root: &Path, folder: &Folder, listing: &Listing, sink: &mut dyn ItemSink) -> Result<()> {
    for (sub, Trouble { outcome, reason, detail }) in &listing.troubles {
        sink.exception(disk::place_of(root, &folder.dir.join(sub.name())), *outcome, reason, detail.clone())?;
    }
    Ok(())
}

/// Reports what lies in `tmp`: deliveries that never ended, and no mail yet.
fn unfinished(root: &Path, folder: &Folder, sink: &mut dyn ItemSink) -> Result<()> {
    let listing = Listing::of(&folder.dir, &[Sub::Tmp]);
    report_troubles(root, folder, &listing, sink)?;
    for entry in listing.entries() {
        let place = disk::place_of(root, &listing.path(&folder.dir, entry));
        sink.exception(place, Outcome::Skipped, "unfinished delivery in tmp", String::new())?;
    }
    Ok(())
}

impl Reading<'_> {
    fn mail(&mut self, listing: &Listing, sink: &mut dyn ItemSink) -> Result<()> {
        let dir = &self.folder.dir;
        let mut kept: Option<Kept> = None;
        let mut missing: Option<&Entry> = None;
        for batch in listing.entries().chunks(disk::ASK_BATCH) {
            let states = disk::states(batch, |entry| listing.path(dir, entry));
            for (entry, (path, metadata)) in batch.iter().zip(states) {
                let base = listing.base(entry);
                if let Some(gone) = missing
                    && listing.base(gone) != base
                {
                    missing = None;
                    self.find_again(listing, gone, sink)?;
                }
                let same = kept.as_ref().is_some_and(|k| k.base == base);
                match metadata {
                    // Another file of the same base name is the same message under its new name.
                    Err(e) if e.kind() == io::ErrorKind::NotFound => {
                        if !same {
                            missing = Some(entry);
                        }
                    }
                    Err(e) => self.unreadable(&path, &e, sink)?,
                    Ok(metadata) => {
                        missing = None;
                        let first = kept.as_ref().filter(|_| same);
                        if let Some(now_kept) = self.file(listing, entry, path, &metadata, first, sink)? {
                            kept = Some(now_kept);
                        }
                    }
                }
            }
        }
        match missing {
            Some(gone) => self.find_again(listing, gone, sink),
            None => Ok(()),
        }
    }

    fn unreadable(&self, path: &Path, error: &io::Error, sink: &mut dyn ItemSink) -> Result<()> {
        let place = disk::place_of(self.root, path);
        sink.exception(place, Outcome::Failed, "the file's state cannot be read", error.to_string())
    }

    /// Looks where a file is now that has gone from where it was listed: it got other flags, or moved from `new` to `cur`.
    fn find_again(&mut self, listing: &Listing, gone: &Entry, sink: &mut dyn ItemSink) -> Result<()> {
        let base = listing.base(gone);
        loop {
            if let Some(again) = self.relisted.take() {
                let mut now = again.find(base).iter().map(|e| (*e, again.path(&self.folder.dir, e)));
                let there = now.find_map(|(e, path)| fs::symlink_metadata(&path).ok().map(|m| (e, path, m)));
                let name = there.as_ref().map(|(e, ..)| again.name(e).to_vec());
                self.relisted = Some(again);
                if let (Some((_, path, metadata)), Some(name)) = (there, name) {
                    return self.message(listing, gone, &name, path, &metadata, Vec::new(), sink).map(|_| ());
                }
            }
            if self.relists >= MAX_RELISTS {
                break;
            }
            self.relists += 1;
            let again = Listing::of(&self.folder.dir, &[Sub::New, Sub::Cur]);
            let lost = again.find(base).is_empty();
            self.relisted = Some(again);
            if lost {
                break;
            }
        }
        let place = disk::place_of(self.root, &listing.path(&self.folder.dir, gone));
        sink.exception(place, Outcome::Skipped, "removed while the store was read", String::new())
    }

    /// A file that is there: a message, or the second file of one that was handed on already.
    fn file(
        &mut self,
        listing: &Listing,
        entry: &Entry,
        path: PathBuf,
        metadata: &Metadata,
        first: Option<&Kept>,
        sink: &mut dyn ItemSink,
    ) -> Result<Option<Kept>> {
        let mut notes = Vec::new();
        if let Some(first) = first {
            let stamp = FileStamp::of(metadata);
            let shown = first.path.strip_prefix(&self.folder.dir).unwrap_or(&first.path).display().to_string();
            if metadata.is_file() && same_content(first, &path, &stamp) {
                let place = disk::place_of(self.root, &path);
                sink.exception(place, Outcome::Skipped, "seen twice while the store changed", format!("the same as {shown}"))?;
                return Ok(None);
            }
            notes.push(format!("has the base name of {shown}, but other content"));
        }
        let stamp = self.message(listing, entry, listing.name(entry), path.clone(), metadata, notes, sink)?;
        Ok(stamp.map(|stamp| Kept { base: listing.base(entry).to_vec(), path, stamp }))
    }

    /// Hands on one file; gives its stamp back if it was a message.
    #[allow(clippy::too_many_arguments)]
    fn message(
        &mut self,
        listing: &Listing,
        entry: &Entry,
        name: &[u8],
        path: PathBuf,
        metadata: &Metadata,
        mut notes: Vec<String>,
        sink: &mut dyn ItemSink,
    ) -> Result<Option<FileStamp>> {
        let mut place = disk::place_of(self.root, &path);
        place.uid = (entry.uid != u32::MAX).then_some(entry.uid);
        let target;
        let (path, metadata) = if metadata.is_symlink() {
            match self.follow(&path) {
                Ok((to, m)) => {
                    notes.push("a link to another file of the store".to_owned());
                    target = m;
                    (to, &target)
                }
                Err(Trouble { outcome, reason, detail }) => {
                    sink.exception(place, outcome, reason, detail)?;
                    return Ok(None);
                }
            }
        } else {
            (path, metadata)
        };
        if !metadata.is_file() {
            let reason = if metadata.is_dir() { "a folder in the place of a message" } else { "not a regular file" };
            sink.exception(place, Outcome::Skipped, reason, String::new())?;
            return Ok(None);
        }
        let stamp = FileStamp::of(metadata);
        notes.extend(self.note.take());
        let (coding, state) = self.state(listing, entry, name, &path, &stamp, notes);
        sink.item(FoundItem { place, content: Content::File { path, stamp }, coding, state })?;
        Ok(Some(stamp))
    }

    /// Where a link leads, if that is a file of the same store.
    fn follow(&self, link: &Path) -> std::result::Result<(PathBuf, Metadata), Trouble> {
        let nowhere = |e: io::Error| Trouble::skipped("link to nothing", e.to_string());
        let to = fs::canonicalize(link).map_err(nowhere)?;
        let root = fs::canonicalize(self.root).map_err(nowhere)?;
        if !to.starts_with(&root) {
            return Err(Trouble::skipped("link out of the store", ""));
        }
        let metadata = fs::symlink_metadata(&to).map_err(nowhere)?;
        Ok((to, metadata))
    }

    fn state(
        &self,
        listing: &Listing,
        entry: &Entry,
        name: &[u8],
        path: &Path,
        stamp: &FileStamp,
        mut notes: Vec<String>,
    ) -> (Coding, ItemState) {
        let info = names::info(name);
        let mut keywords: Vec<String> = Vec::new();
        let mut add = |name: &str| {
            if !keywords.iter().any(|k| k == name) {
                keywords.push(name.to_owned());
            }
        };
        if info.passed {
            add("$Forwarded");
        }
        for &letter in &info.letters {
            match self.keywords.name(letter) {
                Some(name) => add(name),
                None => notes.push(format!("keyword letter {} has no name in dovecot-keywords", char::from(letter))),
            }
        }
        for &number in listing.courier_keywords(entry) {
            if let Some(name) = self.courier_names.get(usize::from(number)) {
                add(name);
            }
        }
        if !info.unknown.is_empty() {
            let letters = crate::model::printable(&String::from_utf8_lossy(&info.unknown));
            notes.push(format!("flag letters that are not known: {letters}"));
        }
        let stated = names::stated_size(name.get(..names::base_len(name)).unwrap_or(name));
        let differs = stated.filter(|&size| size != stamp.size);
        let coding = if info.compressed || differs.is_some() { peek(path) } else { Coding::Plain };
        match (coding, differs) {
            (Coding::Plain, Some(size)) => notes.push(format!("its name says {size} bytes, the file has {}", stamp.size)),
            (Coding::Plain, None) if info.compressed => notes.push("marked as compressed, but is not".to_owned()),
            _ => {}
        }
        let at = Timestamp::from_second(stamp.mtime_s()).ok();
        if at.is_none() {
            notes.push("its modification time is no date".to_owned());
        }
        let date = at.map(|at| InternalDate { at, rule: DateRule::Mtime });
        let flags: Vec<Flag> = info.flags;
        (coding, ItemState { flags, keywords, date, guid: listing.guid(entry), notes, ..ItemState::default() })
    }
}

/// The coding that the first bytes announce. A file that cannot be opened now fails later, where its bytes are wanted.
fn peek(path: &Path) -> Coding {
    let mut first = Vec::with_capacity(18);
    let read = disk::open_regular(path).is_ok_and(|(file, _)| file.take(18).read_to_end(&mut first).is_ok());
    if read { Coding::of_magic(&first) } else { Coding::Plain }
}

/// Are both files one, or of the same bytes?
fn same_content(first: &Kept, path: &Path, stamp: &FileStamp) -> bool {
    if first.stamp == *stamp {
        return true;
    }
    if first.stamp.size != stamp.size {
        return false;
    }
    match (disk::open_regular(&first.path), disk::open_regular(path)) {
        (Ok((a, _)), Ok((b, _))) => same_bytes(a, b).unwrap_or(false),
        _ => false,
    }
}

fn same_bytes(mut a: File, mut b: File) -> io::Result<bool> {
    const PIECE_BYTES: u64 = 1 << 16;
    let (mut left, mut right) = (Vec::new(), Vec::new());
    loop {
        left.clear();
        right.clear();
        (&mut a).take(PIECE_BYTES).read_to_end(&mut left)?;
        (&mut b).take(PIECE_BYTES).read_to_end(&mut right)?;
        if left != right {
            return Ok(false);
        }
        if left.is_empty() {
            return Ok(true);
        }
    }
}
