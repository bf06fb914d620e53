//! Reading one mbox file: pieces become items with their state, or exceptions that say what was left out.

use std::fs::File;
use std::io;
use std::path::Path;

use xxhash_rust::xxh3::Xxh3;

use super::from_line::FromLine;
use super::scan::{Limits, Opening, Piece, Splitter};
use super::window::read_full_at;
use super::{dialect, labels, scan, state};
use crate::error::{Error, Kind, Result};
use crate::model::{DateRule, Flag, InternalDate, Outcome, Place};
use crate::source::{Content, FileStamp, Format, FoundItem, Grown, ItemSink, ItemState};

/// One mbox file about to be read.
pub(super) struct MboxFile<'a> {
    /// Where it lies.
    pub path: &'a Path,
    /// Its place, without offsets.
    pub place: Place,
    /// The open file.
    pub file: File,
    /// What it was when it was opened; bytes that come later are left for the next run.
    pub stamp: FileStamp,
    /// Format of the store.
    pub format: Format,
    /// Do the other files of the store prove that nobody quotes `From ` lines there?
    pub store_never_quotes: &'a dyn Fn() -> io::Result<bool>,
}

impl MboxFile<'_> {
    /// Hands every message to `sink`; see [`crate::source::Reader::read`].
    ///
    /// # Errors
    /// Only what the sink returns: trouble with the file becomes an exception, because other files can still be read.
    pub fn read(&self, grown: Option<Grown>, sink: &mut dyn ItemSink) -> Result<()> {
        let size = self.stamp.size;
        let (start, hash) = match grown.and_then(|grown| self.resume(grown).transpose()).transpose() {
            Ok(Some((start, hash))) => {
                sink.resumed()?;
                (start, hash)
            }
            Ok(None) => (0, Box::default()),
            Err(e) => return self.broken(self.place.clone(), &e, sink),
        };
        let mut splitter = Splitter::new(&self.file, start, size, Limits::READ, Some(hash));
        let mut never_quotes = None;
        let mut clean = true;
        loop {
            let piece = match splitter.next() {
                Ok(Some(piece)) => piece,
                Ok(None) => break,
                Err(e) => {
                    let place = Place { offset: Some(splitter.position()), ..self.place.clone() };
                    return self.broken(place, &e, sink);
                }
            };
            // A message whose length does not hold yet may hold once the file has grown: then it must be read again.
            clean = piece.length_holds || state::content_length(&piece.bytes).is_none_or(|(_, length)| length.is_none());
            self.hand_over(piece, &mut never_quotes, sink)?;
        }
        let Some(hash) = splitter.finish() else { return Ok(()) };
        match self.is_unchanged(hash) {
            Ok(true) if clean => sink.read_up_to(size, hash),
            Ok(true) => {}
            Ok(false) => {
                let detail = "the bytes that were read are no longer there".to_owned();
                sink.exception(self.place.clone(), Outcome::Failed, "file changed while it was read", detail)?;
            }
            Err(e) => self.broken(self.place.clone(), &e, sink)?,
        }
        Ok(())
    }

    /// The file cannot be read any further.
    fn broken(&self, place: Place, error: &io::Error, sink: &mut dyn ItemSink) -> Result<()> {
        let (reason, detail) = if error.kind() == io::ErrorKind::UnexpectedEof {
            let now = self.file.metadata().map(|m| m.len()).unwrap_or_default();
            ("file shrank while it was read", format!("it had {} bytes when it was opened, and has {now} now", self.stamp.size))
        } else {
            ("file could not be read to its end", error.to_string())
        };
        sink.exception(place, Outcome::Failed, reason, detail)
    }

    /// Are the bytes that were read still there? Mail that came in meanwhile does no harm.
    fn is_unchanged(&self, hash: u128) -> io::Result<bool> {
        let now = FileStamp::of(&self.file.metadata()?);
        if now == self.stamp {
            return Ok(true);
        }
        if now.size < self.stamp.size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(self.hash_up_to(self.stamp.size)?.digest128() == hash)
    }

    fn hash_up_to(&self, end: u64) -> io::Result<Box<Xxh3>> {
        let mut hash: Box<Xxh3> = Box::default();
        let mut buffer = vec![0; usize::try_from(end).unwrap_or(usize::MAX).min(Limits::READ.window_bytes)];
        let mut at = 0;
        while at < end {
            let n = read_full_at(&self.file, &mut buffer, at, end)?;
            hash.update(buffer.get(..n).unwrap_or_default());
            at += n as u64;
        }
        Ok(hash)
    }

    /// Can reading go on where an earlier run ended? Then from where, and the hash so far.
    fn resume(&self, grown: Grown) -> io::Result<Option<(u64, Box<Xxh3>)>> {
        let size = self.stamp.size;
        if grown.offset == 0 || grown.offset > size {
            return Ok(None);
        }
        let hash = self.hash_up_to(grown.offset)?;
        if hash.digest128() != grown.xxh3 {
            return Ok(None);
        }
        let goes_on = grown.offset == size
            || scan::continues_at(&self.file, grown.offset, size)?
                // What comes now may show that quoting should not have been undone in what came before.
                && (!dialect::never_quotes(&self.file, grown.offset, size)?
                    || dialect::never_quotes(&self.file, 0, grown.offset)?);
        Ok(goes_on.then_some((grown.offset, hash)))
    }

    fn hand_over(&self, piece: Piece, never_quotes: &mut Option<bool>, sink: &mut dyn ItemSink) -> Result<()> {
        let length = piece.content.end - piece.content.start;
        let mut place = Place { offset: Some(piece.content.start), length: Some(length), ..self.place.clone() };
        let from = match &piece.opening {
            Opening::Nothing => {
                let detail = format!("{length} bytes");
                return sink.exception(place, Outcome::Failed, "bytes before the first From_ line", detail);
            }
            Opening::From(from) | Opening::Mmdf(Some(from)) => from.clone(),
            Opening::Mmdf(None) => FromLine::default(),
        };
        let header = state::read(&piece.bytes);
        place.uid = header.uid;
        if header.folder_data {
            return sink.exception(place, Outcome::Skipped, "server's own folder data", String::new());
        }
        let mozilla = header.mozilla.unwrap_or_default();
        let by_thunderbird = self.format == Format::Thunderbird || from.netscape;
        if mozilla & state::MOZILLA_EXPUNGED != 0 && by_thunderbird {
            return sink.exception(place, Outcome::Skipped, "expunged, not compacted", String::new());
        }
        let coding = dialect::coding_of(&piece, || match *never_quotes {
            Some(known) => Ok(known),
            None => {
                let found = dialect::never_quotes(&self.file, 0, self.stamp.size)? || (self.store_never_quotes)()?;
                *never_quotes = Some(found);
                Ok::<_, io::Error>(found)
            }
        });
        let (coding, note) = match coding {
            Ok(known) => known,
            Err(e) => return self.broken(place, &e, sink),
        };
        let state = self.item_state(header, &from, note);
        let content = if piece.whole {
            Content::Bytes(piece.bytes)
        } else {
            Content::Range { path: self.path.to_owned(), offset: piece.content.start, length }
        };
        sink.item(FoundItem { place, content, coding, state })
    }

    fn item_state(&self, header: state::HeaderState, from: &FromLine, note: Option<&str>) -> ItemState {
        let mut state = ItemState {
            flags: header.flags,
            keywords: header.keywords,
            date: from.date.map(|at| InternalDate { at, rule: DateRule::Stored }),
            ..ItemState::default()
        };
        state.notes.extend(note.map(str::to_owned));
        if from.unknown_zone {
            state.notes.push("time zone of the From_ line is not known, taken as UTC".to_owned());
        }
        let mozilla = header.mozilla.unwrap_or_default();
        if mozilla & state::MOZILLA_PARTIAL != 0 {
            state.notes.push("Thunderbird had fetched only part of the body".to_owned());
        }
        if mozilla & state::MOZILLA_EXPUNGED != 0 {
            add_flag(&mut state.flags, Flag::Deleted);
        }
        if self.format == Format::Takeout {
            state.guid.clone_from(&from.gmail_id);
            if let Some(raw) = &header.gmail_labels {
                state.labels = labels::parse(raw);
                for flag in labels::flags(&state.labels) {
                    add_flag(&mut state.flags, flag);
                }
            }
        }
        state
    }
}

fn add_flag(flags: &mut Vec<Flag>, flag: Flag) {
    if !flags.contains(&flag) {
        flags.push(flag);
        flags.sort_unstable();
    }
}

/// Does a file prove that its writer never quotes `From ` lines? A file that cannot be read proves nothing.
pub(super) fn never_quotes(path: &Path) -> bool {
    let proven = || -> Result<bool> {
        let (file, stamp) = crate::source::disk::open_regular(path)?;
        let failed = |e| Error::io(Kind::Source, "cannot read the file", path, e);
        dialect::never_quotes(&file, 0, stamp.size).map_err(failed)
    };
    proven().unwrap_or(false)
}
