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

/// What the file is: its name and what is in it have to agree.
fn note_in(path: &Path) -> Option<(Note, Vec<u8>)> {
    let note = by_name(path.file_name()?)?;
    let (file, stamp) = disk::open_regular(path).ok()?;
    let mut bytes = Vec::new();
    if stamp.size > NOTE_MAX_BYTES || file.take(NOTE_MAX_BYTES).read_to_end(&mut bytes).is_err() {
        return None;
    }
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes).trim_ascii_start();
    let is_so = match note {
        Note::V => text.get(..VNOTE.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(VNOTE)),
        Note::Keep => text.starts_with(b"{") && memmem::find(text, KEEP).is_some(),
    };
    is_so.then_some((note, bytes))
}

/// The notes in a folder, sorted by name.
fn names_in(dir: &Path) -> std::io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if by_name(&name).is_some() && entry.file_type()?.is_file() && note_in(&dir.join(&name)).is_some() {
            names.push(name);
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
    let names = if metadata.is_dir() { names_in(path).map_err(failed)? } else { Vec::new() };
    let mut because = Vec::new();
    for (note, words) in [(Note::V, "vNotes (.vnt)"), (Note::Keep, "notes of Google Keep (.json)")] {
        let count = names.iter().filter(|name| by_name(name) == Some(note)).count();
        because.extend((count > 0).then(|| format!("{words}: {count}")));
    }
    if let Some((note, _)) = note_in(path).filter(|_| metadata.is_file()) {
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
    fn names(&self) -> Result<Vec<OsString>> {
        match &self.only {
            Some(only) => Ok(vec![only.clone()]),
            None => names_in(&self.dir).map_err(|e| Error::io(Kind::Source, "cannot list the folder", &self.dir, e)),
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
            let found = disk::open_regular(&path).map(|(_, stamp)| (stamp, note_in(&path)));
            match found {
                Ok((stamp, Some((note, bytes)))) => {
                    let date =
                        Timestamp::from_second(stamp.mtime_s()).ok().map(|at| InternalDate { at, rule: DateRule::FileTime });
                    let state = match note {
                        Note::V => ItemState { uid: uid_of(&bytes), component: Some("VNOTE".to_owned()), ..ItemState::default() },
                        Note::Keep => ItemState::default(),
                    };
                    let content = Content::File { path, stamp };
                    sink.item(FoundItem { place, content, coding: Coding::Plain, state: ItemState { date, ..state } })?;
                }
                Ok((_, None)) => sink.exception(place, Outcome::Failed, "holds no note", String::new())?,
                Err(e) => sink.exception(place, Outcome::Failed, "cannot be read", e.to_string())?,
            }
        }
        Ok(())
    }
}

/// The second count's view of a file: what has a note's mark in it, wherever that stands.
fn is_counted(path: &Path) -> bool {
    let name = path.as_os_str().to_string_lossy().to_ascii_lowercase();
    let marks: [(&str, &[u8]); 2] = [(".vnt", b"begin:vnote"), (".json", b"\"usereditedtimestampusec\"")];
    let Some((_, mark)) = marks.into_iter().find(|(ending, _)| name.ends_with(ending)) else { return false };
    let Ok((file, stamp)) = disk::open_regular(path) else { return false };
    let mut bytes = Vec::new();
    if stamp.size > NOTE_MAX_BYTES || file.take(NOTE_MAX_BYTES).read_to_end(&mut bytes).is_err() {
        return false;
    }
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
