//! Folders of notes: vNotes (`.vnt`, IrMC 1.1) and the notes of Google Keep (`.json`, as Takeout has them).
//!
//! A file is a note, as it lies there. Folders in the folder, and what lies beside the notes (pictures, pages), are left to others.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use memchr::memmem;

use super::{Coding, Content, Evidence, FileStamp, Format, FoundItem, Grown, ItemSink, ItemState, Reader, disk};
use crate::error::{Error, Kind, Result};
use crate::model::{CollectionHead, CollectionKind, CollectionPath, DateRule, InternalDate, Outcome};
use crate::objects::uid_of;

/// A larger file is no note.
const NOTE_MAX_BYTES: u64 = 1 << 20;
/// What a vNote begins with.
const VNOTE: &[u8] = b"BEGIN:VNOTE";
/// What every note of Google Keep says of itself, and hardly any other JSON.
const KEEP: &[u8] = b"\"userEditedTimestampUsec\"";

/// What kind of note a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Note {
    V,
    Keep,
}

/// What the file would be by its name.
fn by_name(name: &OsStr) -> Option<Note> {
    let extension = Path::new(name).extension()?;
    let is = |other: &str| extension.eq_ignore_ascii_case(other);
    if is("vnt") { Some(Note::V) } else { is("json").then_some(Note::Keep) }
}

/// A file's state and bytes; no bytes of one that is too large for a note.
fn read_small(path: &Path) -> Result<(FileStamp, Vec<u8>)> {
    let (file, stamp) = disk::open_regular(path)?;
    let mut bytes = Vec::new();
    if stamp.size <= NOTE_MAX_BYTES {
        let failed = |e| Error::io(Kind::Source, "cannot read the file", path, e);
        file.take(NOTE_MAX_BYTES).read_to_end(&mut bytes).map_err(failed)?;
    }
    Ok((stamp, bytes))
}

/// What note these bytes of a file of that name are: name and content have to agree.
fn note_of(name: &OsStr, bytes: &[u8]) -> Option<Note> {
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
    by_name(name).filter(|note| match note {
        Note::V => text.get(..VNOTE.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(VNOTE)),
        Note::Keep => text.starts_with(b"{") && memmem::find(text, KEEP).is_some(),
    })
}

/// What note the file is.
fn note_in(path: &Path) -> Option<Note> {
    let name = path.file_name().filter(|name| by_name(name).is_some())?;
    note_of(name, &read_small(path).ok()?.1)
}

/// The files in a folder that are called like notes, sorted. Nothing is read of them.
fn named_so(dir: &Path) -> std::io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if by_name(&entry.file_name()).is_some() && entry.file_type()?.is_file() {
            names.push(entry.file_name());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Looks at a path and says whether notes lie right in it, and why.
///
/// # Errors
/// `Kind::Source` when the path cannot be read.
pub fn detect(path: &Path) -> Result<Option<Evidence>> {
    let failed = |e| Error::io(Kind::Source, "cannot look at the path", path, e);
    let metadata = fs::metadata(path).map_err(failed)?;
    let mut because = Vec::new();
    if metadata.is_dir() {
        let notes: Vec<Note> = named_so(path).map_err(failed)?.iter().filter_map(|name| note_in(&path.join(name))).collect();
        for (note, words) in [(Note::V, "vNotes (.vnt)"), (Note::Keep, "notes of Google Keep (.json)")] {
            let count = notes.iter().filter(|other| **other == note).count();
            because.extend((count > 0).then(|| format!("{words}: {count}")));
        }
    } else if let Some(note) = note_in(path) {
        because.push(if note == Note::V { "a vNote" } else { "a note of Google Keep" }.to_owned());
    }
    Ok((!because.is_empty()).then_some(Evidence { format: Format::Notes, because }))
}

/// Opens the folder at `root`, or the one note that it is.
///
/// # Errors
/// `Kind::Source` when the path cannot be read.
pub fn open(root: &Path) -> Result<Box<dyn Reader>> {
    let metadata = fs::metadata(root).map_err(|e| Error::io(Kind::Source, "cannot look at the path", root, e))?;
    let (dir, only) = match (metadata.is_dir(), root.parent(), root.file_name()) {
        (false, Some(dir), Some(name)) => (dir, Some(name.to_owned())),
        _ => (root, None),
    };
    Ok(Box::new(Notes { root: root.to_owned(), dir: dir.to_owned(), only }))
}

struct Notes {
    root: PathBuf,
    dir: PathBuf,
    only: Option<OsString>,
}

impl Notes {
    /// Files that may be notes.
    fn names(&self) -> Result<Vec<OsString>> {
        match &self.only {
            Some(only) => Ok(vec![only.clone()]),
            None => named_so(&self.dir).map_err(|e| Error::io(Kind::Source, "cannot list the folder", &self.dir, e)),
        }
    }
}

impl Reader for Notes {
    fn format(&self) -> Format {
        Format::Notes
    }

    fn root(&self) -> &Path {
        &self.root
    }

    fn covers(&self, path: &Path) -> bool {
        let is_only = self.only.as_ref().is_none_or(|only| path.file_name() == Some(only));
        path.parent() == Some(&self.dir) && is_only && note_in(path).is_some()
    }

    fn collections(&self) -> Result<Vec<CollectionHead>> {
        let path = CollectionPath::new([super::name_of(&self.dir)]);
        Ok(vec![CollectionHead::new(path, CollectionKind::Notes, ".")])
    }

    fn stamps(&self, _: &CollectionHead) -> Result<Vec<(String, FileStamp)>> {
        let stamp = |name: &OsString| {
            let stamp = fs::symlink_metadata(self.dir.join(name)).as_ref().map(FileStamp::of).unwrap_or_default();
            (disk::stamp_name(name), stamp)
        };
        Ok(self.names()?.iter().map(stamp).collect())
    }

    fn count(&self, _: &CollectionHead) -> Result<u64> {
        if self.only.is_some() {
            return Ok(1);
        }
        let Ok(entries) = fs::read_dir(&self.dir) else { return Ok(1) };
        Ok(entries.flatten().filter(|entry| entry.file_type().is_ok_and(|t| t.is_file()) && is_counted(&entry.path())).count()
            as u64)
    }

    fn read(&self, _: &CollectionHead, _: Option<Grown>, sink: &mut dyn ItemSink) -> Result<()> {
        for path in self.names()?.into_iter().map(|name| self.dir.join(name)) {
            let place = disk::place_of(&self.dir, &path);
            let name = path.file_name().unwrap_or_default();
            let (stamp, note, bytes) = match read_small(&path) {
                Ok((stamp, bytes)) => (stamp, note_of(name, &bytes), bytes),
                Err(e) if self.only.is_some() => return sink.exception(place, Outcome::Failed, "cannot be read", e.to_string()),
                // What is no note is left to others, and so is what cannot be read.
                Err(_) => continue,
            };
            let date = Timestamp::from_second(stamp.mtime_s()).ok().map(|at| InternalDate { at, rule: DateRule::FileTime });
            let state = match note {
                Some(Note::V) => ItemState { uid: uid_of(&bytes), component: Some("VNOTE".to_owned()), ..ItemState::default() },
                Some(Note::Keep) => ItemState::default(),
                None if self.only.is_some() => return sink.exception(place, Outcome::Failed, "holds no note", String::new()),
                None => continue,
            };
            let content = Content::File { path, stamp };
            sink.item(FoundItem { place, content, coding: Coding::Plain, state: ItemState { date, ..state } })?;
        }
        Ok(())
    }
}

/// The second count's view of a file: what has a note's mark in it, wherever that stands.
fn is_counted(path: &Path) -> bool {
    let name = path.as_os_str().to_string_lossy().to_ascii_lowercase();
    let marks: [(&str, &[u8]); 2] = [(".vnt", b"begin:vnote"), (".json", b"\"usereditedtimestampusec\"")];
    let Some((_, mark)) = marks.into_iter().find(|(ending, _)| name.ends_with(ending)) else { return false };
    let Ok((_, mut bytes)) = read_small(path) else { return false };
    bytes.make_ascii_lowercase();
    memmem::find(&bytes, mark).is_some()
}

#[cfg(test)]
mod tests {
    use super::super::sinks::read_all;
    use super::*;

    const V: &str = "BEGIN:VNOTE\r\nVERSION:1.1\r\nX-IRMC-LUID:7\r\nUID:n1\r\nBODY:milk\r\nEND:VNOTE\r\n";
    const KEEP_NOTE: &str = r#"{"title":"a","textContent":"b","userEditedTimestampUsec":1690866236591000}"#;

    #[test]
    fn files_that_are_notes_are_taken_and_others_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let files = [
            ("one.vnt", V),
            ("two.VNT", &V.replace("BEGIN:VNOTE", "begin:vnote")),
            ("a.json", KEEP_NOTE),
            ("b.json", "{\"title\":\"a table\"}"),
            ("c.vnt", "no note"),
            ("a.html", "<p>b</p>"),
            ("sub/d.vnt", V),
        ];
        fs::create_dir(dir.path().join("sub")).unwrap();
        files.iter().for_each(|(name, text)| fs::write(dir.path().join(name), text).unwrap());
        std::os::unix::fs::symlink("one.vnt", dir.path().join("link.vnt")).unwrap();
        let evidence = detect(dir.path()).unwrap().unwrap();
        assert_eq!(evidence.because, ["vNotes (.vnt): 2", "notes of Google Keep (.json): 1"]);
        let reader = open(dir.path()).unwrap();
        let (heads, kept) = read_all(reader.as_ref());
        assert_eq!(heads, [dir.path().file_name().unwrap().to_str().unwrap()]);
        assert_eq!(kept.places(), ["a.json", "one.vnt", "two.VNT"]);
        assert_eq!((kept.items[1].state.uid.as_deref(), kept.items[1].state.component.as_deref()), (Some("n1"), Some("VNOTE")));
        assert!(reader.covers(&dir.path().join("a.json")) && !reader.covers(&dir.path().join("a.html")));
        assert!(!reader.covers(&dir.path().join("sub/d.vnt")) && !reader.covers(&dir.path().join("c.vnt")));
    }

    #[test]
    fn a_single_file_is_one_note() {
        let dir = tempfile::tempdir().unwrap();
        let (one, none) = (dir.path().join("one.vnt"), dir.path().join("none.vnt"));
        fs::write(&one, V).unwrap();
        fs::write(&none, "x").unwrap();
        assert_eq!(detect(&one).unwrap().unwrap().because, ["a vNote"]);
        assert!(detect(&none).unwrap().is_none());
        assert_eq!(read_all(open(&one).unwrap().as_ref()).1.places(), ["one.vnt"]);
        assert_eq!(read_all(open(&none).unwrap().as_ref()).1.reasons(), ["holds no note"]);
    }
}
