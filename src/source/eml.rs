//! Trees of files of one message each: `.eml`, the numbered files (`1.`, `2.`) of the Enron release, and files of any name
//! that begin with the header of a message.
//!
//! A folder's path is the collection's. There are no flags; the internal date is the file's modification time. A From_ line
//! before the header stays part of the message. Other files are left to other readers; opened with [`open_every`], every
//! file counts as a message.

use std::collections::{BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs::{self, DirEntry};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use walkdir::WalkDir;

use super::apart::Apart;
use super::mail_file::{self, MailFile};
use super::{Coding, Content, Evidence, FileStamp, Format, FoundItem, Grown, ItemSink, ItemState, Reader, disk};
use crate::error::{Error, Kind, Result};
use crate::model::{CollectionHead, CollectionKind, DateRule, InternalDate, Outcome};

/// Folders lie at most so deep.
const MAX_DEPTH: usize = 64;
/// Entries of a folder that are looked at for evidence.
const EVIDENCE_ENTRIES: usize = 20_000;
/// Files of a folder that are opened for evidence, where names say nothing.
const SAMPLE_FILES: usize = 8;

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
        let words = match mail_file::by_name(path.file_name().unwrap_or_default()) {
            Some(MailFile::Message) => "a file named like a message",
            None if mail_file::of(path, false) == MailFile::Message => "a file that begins with the header of a message",
            _ => return Ok(None),
        };
        return Ok(Some(Evidence { format: Format::Eml, because: vec![words.to_owned()] }));
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
    let (mut eml, mut numbered, mut other, mut inboxes) = (0u64, Vec::new(), Vec::new(), Vec::new());
    for entry in fs::read_dir(dir)?.take(EVIDENCE_ENTRIES) {
        let entry = entry?;
        let (name, kind) = (entry.file_name(), entry.file_type()?);
        if kind.is_dir() && name.eq_ignore_ascii_case("inbox") {
            inboxes.push(name);
        } else if kind.is_file() && !is_hidden(&name) {
            match mail_file::by_name(&name) {
                Some(MailFile::Message) if mail_file::is_numbered(&name) => numbered.push(name),
                Some(MailFile::Message) => eml += 1,
                Some(_) => {}
                None => other.push(name),
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
    if because.is_empty() {
        because.extend(messages_of_any_name(dir, other));
    }
    Ok((because, inboxes))
}

/// Are files messages whose names do not say so? Most of those that are looked at must begin like one.
fn messages_of_any_name(dir: &Path, mut names: Vec<OsString>) -> Option<String> {
    names.sort_unstable();
    let from_are_messages = mail_file::from_are_messages(dir);
    let step = names.len().div_ceil(SAMPLE_FILES).max(1);
    let sample: Vec<&OsString> = names.iter().step_by(step).collect();
    let messages = sample.iter().filter(|name| mail_file::of(&dir.join(name), from_are_messages) == MailFile::Message).count();
    let words = || format!("{messages} of {} files that were looked at begin with the header of a message", sample.len());
    (messages > 0 && 2 * messages >= sample.len()).then(words)
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
    open_beside(root, format, &|_| false)
}

/// Opens the store at `root` without the folders that another reader answers for.
///
/// # Errors
/// `Kind::Source` when the path cannot be read.
pub fn open_beside(root: &Path, format: Format, taken: &dyn Fn(&Path) -> bool) -> Result<Box<dyn Reader>> {
    EmlTree::open(root, format, false, taken).map(|tree| Box::new(tree) as Box<dyn Reader>)
}

/// Opens the store at `root` and takes every file in it for a message.
///
/// # Errors
/// `Kind::Source` when the path cannot be read.
pub fn open_every(root: &Path) -> Result<Box<dyn Reader>> {
    EmlTree::open(root, Format::Eml, true, &|_| false).map(|tree| Box::new(tree) as Box<dyn Reader>)
}

struct Folder {
    head: CollectionHead,
    dir: PathBuf,
    /// Files that begin with a From_ line are messages here.
    from_are_messages: bool,
}

struct EmlTree {
    root: PathBuf,
    format: Format,
    every: bool,
    /// The only file, when the store is a file.
    only: Option<OsString>,
    folders: Vec<Folder>,
    /// Places of the folders in `folders` by where they lie.
    by_dir: HashMap<PathBuf, usize>,
}

impl EmlTree {
    fn open(root: &Path, format: Format, every: bool, taken: &dyn Fn(&Path) -> bool) -> Result<Self> {
        let failed = |e| Error::io(Kind::Source, "cannot look at the path", root, e);
        let mut tree = EmlTree { root: root.to_owned(), format, every, only: None, folders: Vec::new(), by_dir: HashMap::new() };
        if fs::metadata(root).map_err(failed)?.is_file() {
            let dir = root.parent().unwrap_or(root).to_owned();
            tree.only = root.file_name().map(OsStr::to_owned);
            tree.folders.push(folder_of(&dir, &dir, &mut Apart::default()));
            return Ok(tree);
        }
        fs::read_dir(root).map_err(failed)?;
        let (mut dirs, mut empty) = (BTreeSet::new(), Vec::new());
        let walk = WalkDir::new(root).max_depth(MAX_DEPTH).sort_by_file_name().into_iter();
        let enter = |e: &walkdir::DirEntry| e.file_type().is_dir() && !is_hidden(e.file_name()) && !taken(e.path());
        for entry in walk.filter_entry(|e| e.depth() == 0 || enter(e)) {
            match entry.map(walkdir::DirEntry::into_path) {
                Ok(dir) => match tree.content_of(&dir) {
                    Holds::Messages => drop(dirs.insert(dir)),
                    Holds::Nothing => empty.push(dir),
                    Holds::Others => {}
                },
                // What cannot be listed still becomes a collection, and says so when it is read.
                Err(e) => dirs.extend(e.path().map(Path::to_owned)),
            }
        }
        // A folder that is empty is still a folder, if it lies in or beside a folder of messages.
        let mut around = dirs.clone();
        around.extend(dirs.iter().filter_map(|dir| dir.parent().map(Path::to_owned)));
        dirs.extend(empty.into_iter().filter(|dir| every || dir.parent().is_some_and(|parent| around.contains(parent))));
        let mut apart = Apart::default();
        tree.folders = dirs.iter().map(|dir| folder_of(root, dir, &mut apart)).collect();
        tree.folders.sort_by(|a, b| a.head.path.cmp(&b.head.path));
        tree.by_dir = tree.folders.iter().enumerate().map(|(at, folder)| (folder.dir.clone(), at)).collect();
        Ok(tree)
    }

    fn content_of(&self, dir: &Path) -> Holds {
        let Ok(entries) = fs::read_dir(dir) else { return Holds::Messages };
        let (mut any, mut unnamed) = (false, Vec::new());
        for entry in entries.flatten().filter(|e| !is_hidden(&e.file_name())) {
            any = true;
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            match mail_file::by_name(&entry.file_name()) {
                _ if self.every => return Holds::Messages,
                Some(MailFile::Message) => return Holds::Messages,
                Some(_) => {}
                None => unnamed.push(entry.path()),
            }
        }
        let from_are_messages = !unnamed.is_empty() && mail_file::from_are_messages(dir);
        let messages = unnamed.iter().any(|path| mail_file::of(path, from_are_messages) == MailFile::Message);
        match (any, messages) {
            (false, _) => Holds::Nothing,
            (true, true) => Holds::Messages,
            (true, false) => Holds::Others,
        }
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

    /// Is it one of this store's: a message, or something in the place of one that must be reported?
    fn is_ours(&self, folder: &Folder, path: &Path, kind: fs::FileType) -> bool {
        !kind.is_dir()
            && (self.every
                || self.only.is_some()
                || !kind.is_file()
                || mail_file::of(path, folder.from_are_messages) == MailFile::Message)
    }

    /// The names in a folder, sorted, without hidden ones, subfolders and what is left to other readers.
    fn names(&self, folder: &Folder) -> io::Result<Vec<OsString>> {
        if let Some(only) = &self.only {
            return Ok(vec![only.clone()]);
        }
        let mut names = Vec::new();
        for entry in fs::read_dir(&folder.dir)? {
            let entry = entry?;
            let name = entry.file_name();
            if !is_hidden(&name) && self.is_ours(folder, &entry.path(), entry.file_type()?) {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }
}

/// What a folder holds besides subfolders.
enum Holds {
    Messages,
    Others,
    /// Not even subfolders.
    Nothing,
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
    let head = CollectionHead::new(path, CollectionKind::Mail, source_path);
    Folder { head, dir: dir.to_owned(), from_are_messages: mail_file::from_are_messages(dir) }
}

impl Reader for EmlTree {
    fn format(&self) -> Format {
        self.format
    }

    fn root(&self) -> &Path {
        &self.root
    }

    fn covers(&self, path: &Path) -> bool {
        if let Some(only) = &self.only {
            return path.file_name() == Some(only) && path.parent() == Some(self.base());
        }
        if self.by_dir.contains_key(path) {
            return fs::read_dir(path).is_err();
        }
        let folder = path.parent().and_then(|dir| self.by_dir.get(dir)).and_then(|at| self.folders.get(*at));
        let kind = || fs::symlink_metadata(path).map(|m| m.file_type());
        !is_hidden(path.file_name().unwrap_or_default())
            && folder.is_some_and(|folder| kind().is_ok_and(|kind| self.is_ours(folder, path, kind)))
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
        let states = disk::ask(&entries, |entry| {
            let name = entry.file_name();
            let metadata = entry.metadata().ok().filter(|m| !m.is_dir() && !is_hidden(&name))?;
            Some((disk::stamp_name(&name), FileStamp::of(&metadata)))
        });
        let mut stamps: Vec<(String, FileStamp)> = states.into_iter().flatten().collect();
        stamps.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        Ok(stamps)
    }

    fn count(&self, head: &CollectionHead) -> Result<u64> {
        if self.only.is_some() {
            return Ok(1);
        }
        let folder = self.folder(head)?;
        let Ok(entries) = fs::read_dir(&folder.dir) else { return Ok(1) };
        let ours = |e: DirEntry| {
            let hidden = e.file_name().to_string_lossy().starts_with('.');
            !hidden && e.file_type().map_or(true, |kind| self.is_ours(folder, &e.path(), kind))
        };
        Ok(entries.map(|e| u64::from(e.map_or(true, ours))).sum())
    }

    fn read(&self, head: &CollectionHead, _: Option<Grown>, sink: &mut dyn ItemSink) -> Result<()> {
        let folder = self.folder(head)?;
        let names = match self.names(folder) {
            Ok(names) => names,
            Err(e) => {
                let place = disk::place_of(self.base(), &folder.dir);
                return sink.exception(place, Outcome::Failed, "the folder cannot be listed", e.to_string());
            }
        };
        for batch in names.chunks(disk::ASK_BATCH) {
            for (path, metadata) in disk::states(batch, |name| folder.dir.join(name)) {
                let place = disk::place_of(self.base(), &path);
                match metadata {
                    Err(e) => sink.exception(place, Outcome::Failed, "the file's state cannot be read", e.to_string())?,
                    Ok(m) if m.is_symlink() => sink.exception(place, Outcome::Skipped, "link, not followed", String::new())?,
                    Ok(m) if !m.is_file() => sink.exception(place, Outcome::Skipped, "not a regular file", String::new())?,
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
    fn other_files_are_left_or_taken_as_told() {
        let dir = tree_of(&["a.eml", "b.txt", "c", ".hidden.eml", "3."]);
        std::os::unix::fs::symlink("a.eml", dir.path().join("link.eml")).unwrap();
        let (_, kept) = read_all(open(dir.path(), Format::Eml).unwrap().as_ref());
        assert_eq!(kept.places(), ["3.", "a.eml"]);
        assert_eq!(kept.reasons(), ["link, not followed"]);
        let reader = open(dir.path(), Format::Eml).unwrap();
        let covered = ["a.eml", "link.eml", "b.txt", "c", ".hidden.eml"].map(|name| reader.covers(&dir.path().join(name)));
        assert_eq!(covered, [true, true, false, false, false]);
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
