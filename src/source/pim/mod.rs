//! Calendars (`.ics`, RFC 5545) and address books (`.vcf`, vCard 2.1 to 4.0): single files, vdirs, Radicale, Google Takeout.
//!
//! A file that holds one object and nothing else is that object as it is. Of any other file each object is cut out with what
//! it needs (see `calendar` and `cards`), and the file is kept whole as well, so that not a byte of it is lost. Only
//! structure, UIDs and names of time zones are read; nothing is decoded and nothing made up.

mod about;
mod calendar;
mod cards;
mod count;
mod lines;
mod read;
mod tree;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use self::tree::{Book, Listing, Tree, kind_of};
use super::{Evidence, FileStamp, Format, Grown, ItemSink, Reader, disk};
use crate::error::{Error, Kind, Result};
use crate::model::{CollectionHead, CollectionKind};

pub(super) use self::tree::is_collection;

/// Is the file called like a calendar or a file of cards?
pub(super) fn is_named_so(name: &OsStr) -> bool {
    kind_of(name).is_some()
}

/// Files of a folder that are looked at for evidence, and bytes of each.
const EVIDENCE_FILES: usize = 16;
const EVIDENCE_BYTES: u64 = 4096;
/// Folders of a store that are looked at for evidence.
const EVIDENCE_FOLDERS: usize = 5;

/// Looks at a path and says whether calendars or address books lie at its top, and why.
///
/// # Errors
/// `Kind::Source` when the path cannot be read.
pub fn detect(path: &Path) -> Result<Option<Evidence>> {
    let failed = |e| Error::io(Kind::Source, "cannot look at the path", path, e);
    let metadata = fs::metadata(path).map_err(failed)?;
    let mut because = Vec::new();
    if metadata.is_file() {
        if let (Some(kind), Some(name)) = (path.file_name().and_then(kind_of), path.file_name()) {
            because.extend(seen_in(path.parent().unwrap_or(path), &[name.to_owned()], kind));
        }
    } else if metadata.is_dir() {
        let listing = Listing::of(path).map_err(failed)?;
        if listing.is_store() {
            because.extend(seen_in(path, &listing.calendars, CollectionKind::Calendar));
            because.extend(seen_in(path, &listing.cards, CollectionKind::AddressBook));
        }
    }
    Ok((!because.is_empty()).then_some(Evidence { format: Format::Pim, because }))
}

/// Why a store that was opened with all that lies below it is one: what lies at its top, or else in its first folders.
pub(super) fn evidence_below(root: &Path) -> Result<Option<Evidence>> {
    if let Some(evidence) = detect(root)? {
        return Ok(Some(evidence));
    }
    let mut dirs: Vec<PathBuf> = Tree::of_folder(root, false)?.books.into_iter().map(|book| book.dir).collect();
    dirs.dedup();
    let mut because = Vec::new();
    for dir in dirs.iter().take(EVIDENCE_FOLDERS) {
        let name = disk::place_of(root, dir);
        because.extend(detect(dir)?.into_iter().flat_map(|e| e.because).map(|b| format!("{name} has {b}")));
    }
    Ok((!because.is_empty()).then_some(Evidence { format: Format::Pim, because }))
}

/// What files begin with, in words; nothing if none begins as it should.
fn seen_in(dir: &Path, names: &[OsString], kind: CollectionKind) -> Option<String> {
    let begin = if kind == CollectionKind::Calendar { "BEGIN:VCALENDAR" } else { "BEGIN:VCARD" };
    let (mut versions, mut seen) = (BTreeSet::new(), 0usize);
    for name in names.iter().take(EVIDENCE_FILES) {
        let Ok((file, _)) = disk::open_regular(&dir.join(name)) else { continue };
        let Ok(mut lines) = lines::Lines::new(file.take(EVIDENCE_BYTES)) else { continue };
        let mut begun = false;
        while let Ok(Some(line)) = lines.next() {
            begun |= line.text.trim_ascii().eq_ignore_ascii_case(begin.as_bytes());
            let property = lines::Property::of(line.text);
            if begun && property.is("VERSION") {
                versions.insert(crate::model::printable(&lines::text_of(property.value)));
            }
        }
        seen += usize::from(begun);
    }
    if seen == 0 {
        return None;
    }
    let what = match (kind, names.len()) {
        (CollectionKind::Calendar, 1) => "a calendar file".to_owned(),
        (CollectionKind::Calendar, n) => format!("{n} calendar files"),
        (_, 1) => "a file of cards".to_owned(),
        (_, n) => format!("{n} files of cards"),
    };
    let versions = Vec::from_iter(versions).join(", ");
    Some(if versions.is_empty() { format!("{what}, {begin}") } else { format!("{what}, {begin} with VERSION {versions}") })
}

/// Opens the store at `root`: a file, or a folder with all that lies below it. Other files are left to other readers.
///
/// # Errors
/// `Kind::Source` when the path cannot be read.
pub fn open(root: &Path, format: Format) -> Result<Box<dyn Reader>> {
    let tree = if root.is_file() { Tree::of_file(root) } else { Tree::of_folder(root, false)? };
    Ok(Box::new(Pim { root: root.to_owned(), format, books: tree.books }))
}

/// Opens the store at `root` and takes every file that is called like a calendar or a file of cards, also among many others.
///
/// # Errors
/// `Kind::Source` when the path cannot be read.
pub fn open_every(root: &Path) -> Result<Box<dyn Reader>> {
    let tree = if root.is_file() { Tree::of_file(root) } else { Tree::of_folder(root, true)? };
    Ok(Box::new(Pim { root: root.to_owned(), format: Format::Pim, books: tree.books }))
}

struct Pim {
    root: PathBuf,
    format: Format,
    books: Vec<Book>,
}

impl Pim {
    fn book(&self, head: &CollectionHead) -> Result<&Book> {
        let known = self.books.iter().find(|b| b.head.path == head.path && b.head.kind == head.kind);
        known.ok_or_else(|| Error::new(Kind::Internal, "no such collection in this store").with("collection", &head.path))
    }

    /// Places are relative to this: the folder that holds the file, or they would be empty.
    fn base(&self) -> &Path {
        match self.books.as_slice() {
            [Book { dir, only: Some(name), .. }] if dir.join(name) == self.root => dir,
            _ => &self.root,
        }
    }
}

/// The files of a collection and those beside them, sorted.
fn names_in(book: &Book) -> Result<(Vec<OsString>, Vec<OsString>)> {
    if let Some(only) = &book.only {
        return Ok((vec![only.clone()], Vec::new()));
    }
    let listing = Listing::of(&book.dir).map_err(|e| Error::io(Kind::Source, "cannot list the folder", &book.dir, e))?;
    let names = if book.head.kind == CollectionKind::Calendar { listing.calendars } else { listing.cards };
    Ok((names, listing.sides))
}

impl Reader for Pim {
    fn format(&self) -> Format {
        self.format
    }

    fn root(&self) -> &Path {
        &self.root
    }

    fn covers(&self, path: &Path) -> bool {
        self.books.iter().any(|book| book.covers(path))
    }

    fn collections(&self) -> Result<Vec<CollectionHead>> {
        Ok(self.books.iter().map(|b| b.head.clone()).collect())
    }

    fn stamps(&self, head: &CollectionHead) -> Result<Vec<(String, FileStamp)>> {
        let book = self.book(head)?;
        let (names, sides) = names_in(book)?;
        let stamp = |name: &OsString| {
            let stamp = fs::symlink_metadata(book.dir.join(name)).as_ref().map(FileStamp::of).unwrap_or_default();
            (disk::stamp_name(name), stamp)
        };
        let mut stamps: Vec<_> = names.iter().chain(&sides).map(stamp).collect();
        stamps.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        Ok(stamps)
    }

    fn count(&self, head: &CollectionHead) -> Result<u64> {
        let book = self.book(head)?;
        if let Some(only) = &book.only {
            return Ok(count_file(&book.dir, only, head.kind));
        }
        let Ok(entries) = fs::read_dir(&book.dir) else { return Ok(1) };
        let mut found = 0;
        for entry in entries.flatten() {
            let name = entry.file_name();
            let hidden = name.to_string_lossy().starts_with('.');
            if !hidden && kind_of(&name) == Some(head.kind) && entry.file_type().is_ok_and(|t| t.is_file()) {
                found += count_file(&book.dir, &name, head.kind);
            }
        }
        Ok(found)
    }

    fn read(&self, head: &CollectionHead, _: Option<Grown>, sink: &mut dyn ItemSink) -> Result<()> {
        let book = self.book(head)?;
        read::book(book, self.base(), sink)
    }
}

/// A file that cannot be read counts as one.
fn count_file(dir: &Path, name: &OsStr, kind: CollectionKind) -> u64 {
    let Ok((file, _)) = disk::open_regular(&dir.join(name)) else { return 1 };
    let counted = if kind == CollectionKind::Calendar { count::objects(&file) } else { count::cards(&file) };
    counted.unwrap_or(1)
}
