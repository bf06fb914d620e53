//! Reading one mbox file: pieces become items with their state, or exceptions that say what was left out.

use std::fs::File;
use std::io;
use std::path::Path;

use xxhash_rust::xxh3::Xxh3;

use super::dialect::{self, Survey};
use super::from_line::FromLine;
use super::scan::{Limits, Opening, Piece, Splitter};
use super::window::{Lines, read_full_at};
use super::{labels, scan, state};
use crate::error::{Error, Kind, Result};
use crate::model::{DateRule, Flag, InternalDate, Outcome, Place};
use crate::source::{Coding, Content, FileStamp, Format, FoundItem, Grown, ItemSink, ItemState};

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
    /// What all files of the store show of the program that wrote them.
    pub store_survey: &'a dyn Fn() -> Survey,
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
        let lines = match Lines::of(&self.file, size) {
            Ok(lines) => lines,
            Err(e) => return self.broken(self.place.clone(), &e, sink),
        };
        let mut splitter = Splitter::new(&lines, start, size, Limits::READ, (!lines.cr_only()).then_some(hash));
        let mut survey = None;
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
            self.hand_over(piece, &lines, &mut survey, sink)?;
        }
        // A file of an old Mac does not grow any more, so nothing is remembered of it.
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
            || scan::continues_at(&self.file, grown.offset, size)? && self.decides_as_before(grown.offset)?;
        Ok(goes_on.then_some((grown.offset, hash)))
    }

    /// What has come since may show that quoting should have been undone otherwise in what came before.
    fn decides_as_before(&self, offset: u64) -> io::Result<bool> {
        let (old, new) = (Survey::of(&self.file, 0, offset)?, Survey::of(&self.file, offset, self.stamp.size)?);
        Ok(old.decides_like(old.plus(new)))
    }

    /// What the file shows, or where that is too little, all files of the store: one program wrote them.
    fn survey(&self, lines: &Lines<'_>) -> io::Result<Survey> {
        Ok(Survey::of(lines, 0, self.stamp.size)?.or(self.store_survey))
    }

    fn hand_over(&self, piece: Piece, lines: &Lines<'_>, survey: &mut Option<Survey>, sink: &mut dyn ItemSink) -> Result<()> {
        let length = piece.content.end - piece.content.start;
        let mut place = Place { offset: Some(piece.content.start), length: Some(length), ..self.place.clone() };
        let from = match &piece.opening {
            Opening::Nothing => FromLine::default(),
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
        let coding = dialect::coding_of(&piece, || match *survey {
            Some(known) => Ok(known),
            None => self.survey(lines).inspect(|found| *survey = Some(*found)),
        });
        let (mut coding, mut note) = match coding {
            Ok(known) => known,
            Err(e) => return self.broken(place, &e, sink),
        };
        if lines.cr_only() && coding != Coding::Plain {
            (coding, note) = (Coding::Plain, Some("quoted From lines in a file with CR line ends: kept as stored"));
        }
        let note = match piece.opening {
            Opening::Nothing if piece.content.end == self.stamp.size => {
                Some("no From_ line in the whole file: taken as one message")
            }
            Opening::Nothing => Some("stands before the first From_ line: perhaps no message"),
            _ => note,
        };
        let state = self.item_state(header, &from, note);
        let content = if piece.whole && !lines.cr_only() {
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
                let by_labels = labels::state(&state.labels);
                for flag in by_labels.flags {
                    add_flag(&mut state.flags, flag);
                }
                if by_labels.unknown {
                    state.notes.push("labels in a language that is not known: whether it was read is not known".to_owned());
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

/// What a file shows of the program that wrote it. A file that cannot be read shows nothing.
pub(super) fn survey(path: &Path) -> Survey {
    let look = || -> Result<Survey> {
        let (file, stamp) = crate::source::disk::open_regular(path)?;
        let failed = |e| Error::io(Kind::Source, "cannot read the file", path, e);
        let lines = Lines::of(&file, stamp.size).map_err(failed)?;
        Survey::of(&lines, 0, stamp.size).map_err(failed)
    };
    look().unwrap_or_default()
}
