//! Trees of files of one message each: `.eml`, and the numbered files (`1.`, `2.`) of the Enron release.
//!
//! A folder's path is the collection's. There are no flags; the internal date is the file's modification time. Opened with
//! [`open_every`], every file counts as a message, whatever it is called.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirEntry, Metadata};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rayon::prelude::*;
use walkdir::WalkDir;

use super::apart::Apart;
use super::{Coding, Content, Evidence, FileStamp, Format, FoundItem, Grown, ItemSink, ItemState, Reader, disk};
use crate::error::{Error, Kind, Result};
use crate::model::{CollectionHead, CollectionKind, DateRule, InternalDate, Outcome};

/// Folders lie at most so deep.
const MAX_DEPTH: usize = 64;
/// Entries of a folder that are looked at for evidence.
const EVIDENCE_ENTRIES: usize = 20_000;
/// Files whose state is asked for at a time, on all cores.
const STAT_BATCH: usize = 2048;

/// Is it called like a file of one message?
fn is_message_name(name: &OsStr) -> bool {
    let eml = Path::new(name).extension().is_some_and(|e| e.eq_ignore_ascii_case("eml"));
    eml || is_numbered(name)
}

/// `1.`, `23.`: digits and a dot.
fn is_numbered(name: &OsStr) -> bool {
    name.as_bytes().strip_suffix(b".").is_some_and(|n| !n.is_empty() && n.iter().all(u8::is_ascii_digit))
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b".")
}

/// Looks at a path and says whether it is such a store, and why.
///
/// A folder is one if messages lie in it directly or in an inbox right below it; a folder of such folders could as well
/// be a folder of accounts.
///
/// # Errors
/// `Kind::Source` when the path cannot be read.
pub fn detect(path: &Path) -> Result<Option<Evidence>> {
    let failed = |e| Error::io(Kind::Source, "cannot look at the path", path, e);
    let metadata = fs::metadata(path).map_err(failed)?;
    if metadata.is_file() {
        let named = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("eml"));
        return Ok(named.then(|| Evidence { format: Format::Eml, because: vec!["a file named .eml".to_owned()] }));
    }
    if !metadata.is_dir() {
        return Ok(None);
    }
    let (mut because, inboxes) = messages_in(path).map_err(failed)?;
    for inbox in inboxes {
        // An inbox that cannot be listed proves nothing; it is reported when the store is read.
        let (below, _) = messages_in(&path.join(&inbox)).unwrap_or_default();
        let name = inbox.to_string_lossy();
        because.extend(below.into_iter().map(|b| format!("{} has {b}", crate::model::printable(&name))));
    }
    Ok((!because.is_empty()).then_some(Evidence { format: Format::Eml, because }))
}

/// What messages lie in the folder, in words, and which folders in it are called inbox.
fn messages_in(dir: &Path) -> io::Result<(Vec<String>, Vec<OsString>)> {
    let (mut eml, mut numbered, mut inboxes) = (0u64, Vec::new(), Vec::new());
    for entry in fs::read_dir(dir)?.take(EVIDENCE_ENTRIES) {
        let entry = entry?;
        let (name, kind) = (entry.file_name(), entry.file_type()?);
        if kind.is_dir() && name.eq_ignore_ascii_case("inbox") {
            inboxes.push(name);
        } else if kind.is_file() && !is_hidden(&name) {
            if is_numbered(&name) {
                numbered.push(name);
            } else if is_message_name(&name) {
                eml += 1;
            }
        }
    }
    inboxes.sort();
    let mut because = Vec::new();
    if eml > 0 {
        because.push(format!("{eml} files named .eml"));
    }
    // Numbers are used for much else, so one of these files has to begin like a message.
    if let Some(first) = numbered.iter().min()
        && begins_like_mail(&dir.join(first))
    {
        because.push(format!("{} files named by number, as in the Enron release", numbered.len()));
    }
    Ok((because, inboxes))
}

/// Does the file begin with a header line: a name without spaces, then a colon?
fn begins_like_mail(path: &Path) -> bool {
    let mut first = Vec::new();
    let read = disk::open_regular(path).is_ok_and(|(file, _)| file.take(256).read_to_end(&mut first).is_ok());
    let name = first.split(|&b| b == b':').next().unwrap_or_default();
    read && name.len() < first.len() && !name.is_empty() && name.iter().all(u8::is_ascii_graphic)
}

/// Opens the store at `root`.
///
/// # Errors
/// `Kind::Source` when the path cannot be read.
pub fn open(root: &Path, format: Format) -> Result<Box<dyn Reader>> {
    EmlTree::open(root, format, false).map(|tree| Box::new(tree) as Box<dyn Reader>)
}

/// Opens the store at `root` and takes every file in it for a message.
///
/// # Errors
/// `Kind::Source` when the path cannot be read.
pub fn open_every(root: &Path) -> Result<Box<dyn Reader>> {
    EmlTree::open(root, Format::Eml, true).map(|tree| Box::new(tree) as Box<dyn Reader>)
}

struct Folder {
    head: CollectionHead,
    dir: PathBuf,
}

struct EmlTree {
    root: PathBuf,
    format: Format,
    every: bool,
    /// The only file, when the store is a file.
    only: Option<OsString>,
    folders: Vec<Folder>,
}

impl EmlTree {
    fn open(root: &Path, format: Format, every: bool) -> Result<Self> {
        let failed = |e| Error::io(Kind::Source, "cannot look at the path", root, e);
        let mut tree = EmlTree { root: root.to_owned(), format, every, only: None, folders: Vec::new() };
        if fs::metadata(root).map_err(failed)?.is_file() {
            let dir = root.parent().unwrap_or(root).to_owned();
            tree.only = root.file_name().map(OsStr::to_owned);
            tree.folders.push(folder_of(&dir, &dir, &mut Apart::default()));
            return Ok(tree);
        }
        fs::read_dir(root).map_err(failed)?;
        let mut apart = Apart::default();
        let dirs = WalkDir::new(root).max_depth(MAX_DEPTH).sort_by_file_name().into_iter();
        for entry in dirs.filter_entry(|e| e.depth() == 0 || e.file_type().is_dir() && !is_hidden(e.file_name())) {
            // What cannot be listed still becomes a collection, and says so when it is read.
            let dir = match entry {
                Ok(entry) => entry.into_path(),
                Err(e) => match e.path() {
                    Some(path) if !tree.folders.iter().any(|f| f.dir == path) => path.to_owned(),
                    _ => continue,
                },
            };
            if holds_items(&dir) {
                tree.folders.push(folder_of(root, &dir, &mut apart));
            }
        }
        tree.folders.sort_by(|a, b| a.head.path.cmp(&b.head.path));
        Ok(tree)
    }

    fn folder(&self, head: &CollectionHead) -> Result<&Folder> {
        let at = self.folders.binary_search_by(|f| f.head.path.cmp(&head.path)).ok();
        at.and_then(|at| self.folders.get(at))
            .ok_or_else(|| Error::new(Kind::Internal, "no such collection in this store").with("collection", &head.path))
    }

    /// Places are relative to this: the folder that holds the file, or they would be empty.
    fn base(&self) -> &Path {
        if self.only.is_some() { self.root.parent().unwrap_or(&self.root) } else { &self.root }
    }

    fn is_message(&self, name: &OsStr) -> bool {
        self.every || self.only.is_some() || is_message_name(name)
    }

    /// The names in a folder, sorted, without hidden ones and subfolders.
    fn names(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        if let Some(only) = &self.only {
            return Ok(vec![only.clone()]);
        }
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let name = entry.file_name();
            if !is_hidden(&name) && !entry.file_type()?.is_dir() {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }
}

/// Has it anything but subfolders in it, or nothing at all (a folder that is empty is still a folder)?
fn holds_items(dir: &Path) -> bool {
    let Ok(entries) = fs::read_dir(dir) else { return true };
    let mut subfolders = false;
    for entry in entries.flatten().filter(|e| !is_hidden(&e.file_name())) {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => subfolders = true,
            _ => return true,
        }
    }
    !subfolders
}

fn folder_of(root: &Path, dir: &Path, apart: &mut Apart) -> Folder {
    let relative = dir.strip_prefix(root).unwrap_or(dir);
    let mut segments: Vec<String> = relative.iter().map(|s| s.to_string_lossy().into_owned()).collect();
    if segments.is_empty() {
        segments.push(super::name_of(dir));
    }
    let path = apart.path(segments, dir.file_name());
    let place = disk::place_of(root, dir).path;
    let source_path = if place.is_empty() { ".".to_owned() } else { place };
    Folder { head: CollectionHead::new(path, CollectionKind::Mail, source_path), dir: dir.to_owned() }
}

impl Reader for EmlTree {
    fn format(&self) -> Format {
        self.format
    }

    fn root(&self) -> &Path {
        &self.root
    }

    fn collections(&self) -> Result<Vec<CollectionHead>> {
        Ok(self.folders.iter().map(|f| f.head.clone()).collect())
    }

    fn stamps(&self, head: &CollectionHead) -> Result<Vec<(String, FileStamp)>> {
        let folder = self.folder(head)?;
        if let Some(only) = &self.only {
            let metadata = fs::symlink_metadata(&self.root);
            return Ok(metadata.iter().map(|m| (only.to_string_lossy().into_owned(), FileStamp::of(m))).collect());
        }
        let failed = |e| Error::io(Kind::Source, "cannot list the folder", &folder.dir, e);
        let entries: Vec<DirEntry> = fs::read_dir(&folder.dir).map_err(failed)?.flatten().collect();
        let mut stamps: Vec<(String, FileStamp)> = entries
            .into_par_iter()
            .filter_map(|entry| {
                let name = entry.file_name();
                let metadata = entry.metadata().ok().filter(|m| !m.is_dir() && !is_hidden(&name))?;
                Some((disk::stamp_name(&name), FileStamp::of(&metadata)))
            })
            .collect();
        stamps.par_sort_unstable_by(|a, b| a.0.cmp(&b.0));
        Ok(stamps)
    }

    fn count(&self, head: &CollectionHead) -> Result<u64> {
        if self.only.is_some() {
            return Ok(1);
        }
        let Ok(entries) = fs::read_dir(&self.folder(head)?.dir) else { return Ok(1) };
        let other = |e: DirEntry| !e.file_type().is_ok_and(|t| t.is_dir()) && !e.file_name().to_string_lossy().starts_with('.');
        Ok(entries.map(|e| u64::from(e.map_or(true, other))).sum())
    }

    fn read(&self, head: &CollectionHead, _: Option<Grown>, sink: &mut dyn ItemSink) -> Result<()> {
        let folder = self.folder(head)?;
        let names = match self.names(&folder.dir) {
            Ok(names) => names,
            Err(e) => {
                let place = disk::place_of(self.base(), &folder.dir);
                return sink.exception(place, Outcome::Failed, "the folder cannot be listed", e.to_string());
            }
        };
        for batch in names.chunks(STAT_BATCH) {
            let states: Vec<(PathBuf, io::Result<Metadata>)> = batch
                .par_iter()
                .map(|name| {
                    let path = folder.dir.join(name);
                    let metadata = fs::symlink_metadata(&path);
                    (path, metadata)
                })
                .collect();
            for (name, (path, metadata)) in batch.iter().zip(states) {
                let place = disk::place_of(self.base(), &path);
                match metadata {
                    Err(e) => sink.exception(place, Outcome::Failed, "the file's state cannot be read", e.to_string())?,
                    Ok(m) if m.is_symlink() => sink.exception(place, Outcome::Skipped, "link, not followed", String::new())?,
                    Ok(m) if !m.is_file() => sink.exception(place, Outcome::Skipped, "not a regular file", String::new())?,
                    Ok(_) if !self.is_message(name) => {
                        sink.exception(place, Outcome::Skipped, "not a message file", String::new())?;
                    }
                    Ok(m) => {
                        let stamp = FileStamp::of(&m);
                        let at = Timestamp::from_second(stamp.mtime_s()).ok();
                        let date = at.map(|at| InternalDate { at, rule: DateRule::FileTime });
                        let state = ItemState { date, ..ItemState::default() };
                        let content = Content::File { path, stamp };
                        sink.item(FoundItem { place, content, coding: Coding::Plain, state })?;
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::sinks::{read_all, tree_of};
    use super::*;

    #[test]
    fn folders_are_collections_and_dates_are_file_times() {
        let dir = tree_of(&["inbox/2.eml", "inbox/10.EML", "Archive/2023/a b.eml", "Empty/", ".git/x.eml"]);
        assert_eq!(detect(dir.path()).unwrap().unwrap().because, ["inbox has 2 files named .eml"]);
        let (heads, kept) = read_all(open(dir.path(), Format::Eml).unwrap().as_ref());
        assert_eq!(heads, ["Archive/2023", "Empty", "INBOX"]);
        assert_eq!(kept.places(), ["Archive/2023/a b.eml", "inbox/10.EML", "inbox/2.eml"]);
        assert!(kept.items.iter().all(|i| i.state.date.is_some_and(|d| d.rule == DateRule::FileTime)));
        assert!(kept.exceptions.is_empty());
    }

    #[test]
    fn other_files_are_reported_or_taken_as_told() {
        let dir = tree_of(&["a.eml", "b.txt", "c", ".hidden.eml", "3."]);
        std::os::unix::fs::symlink("a.eml", dir.path().join("link.eml")).unwrap();
        let (_, kept) = read_all(open(dir.path(), Format::Eml).unwrap().as_ref());
        assert_eq!(kept.places(), ["3.", "a.eml"]);
        assert_eq!(kept.reasons(), ["not a message file", "not a message file", "link, not followed"]);
        let (_, kept) = read_all(open_every(dir.path()).unwrap().as_ref());
        assert_eq!(kept.places(), ["3.", "a.eml", "b.txt", "c"]);
    }

    #[test]
    fn numbered_files_are_evidence_only_if_they_begin_like_mail() {
        let dir = tree_of(&["1."]);
        fs::write(dir.path().join("1."), "12.5 is a number\nA: b").unwrap();
        assert_eq!(detect(dir.path()).unwrap(), None);
        fs::write(dir.path().join("1."), "Message-ID: <1@x>\n").unwrap();
        assert!(detect(dir.path()).unwrap().is_some());
    }

    #[test]
    fn a_single_file_is_a_store_of_one() {
        let dir = tree_of(&["a.eml", "b.eml"]);
        let reader = open(&dir.path().join("a.eml"), Format::Eml).unwrap();
        let (heads, kept) = read_all(reader.as_ref());
        assert_eq!((heads.len(), kept.places()), (1, vec!["a.eml".to_owned()]));
        let head = &reader.collections().unwrap()[0];
        assert_eq!(reader.stamps(head).unwrap().len(), 1);
    }

    #[test]
    fn stamps_show_every_change() {
        let dir = tree_of(&["a.eml"]);
        let reader = open(dir.path(), Format::Eml).unwrap();
        let head = &reader.collections().unwrap()[0];
        let before = reader.stamps(head).unwrap();
        assert_eq!(before, reader.stamps(head).unwrap());
        fs::write(dir.path().join("b.txt"), "x").unwrap();
        assert_ne!(before, reader.stamps(head).unwrap());
    }
}
