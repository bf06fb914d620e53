//! Hands on the objects of one calendar or address book.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use xxhash_rust::xxh3::xxh3_128;

use super::names_in;
use super::tree::Book;
use super::{calendar, cards};
use crate::error::Result;
use crate::model::{CollectionKind, DateRule, InternalDate, Outcome, Place};
use crate::source::{Coding, Content, FileStamp, FoundItem, ItemSink, ItemState, disk};

/// A larger card is handed on as a stretch of the file, not as bytes.
const BYTES_MAX: u64 = 8 << 20;
/// An object of a calendar is put together in memory, so a larger one is refused; the file is kept whole all the same.
const OBJECT_MAX_BYTES: u64 = 64 << 20;
/// A VCALENDAR's own properties and all of its time zones, which are held while its objects are read.
const AROUND_MAX_BYTES: u64 = 16 << 20;
/// What of these is repeated in an object.
const REPEATED_MAX_BYTES: u64 = 1 << 20;
/// So many times a file's size its objects may be together: a few time zones repeated in small objects are fine, a bomb is not.
const GROWTH_MAX: u64 = 64;
/// Why an object is refused by these limits.
const TOO_LARGE: &str = "too large to be put together";
/// Why a whole file is refused.
const TOO_MANY: &str = "holds more than a million objects";
/// Growth that is always allowed.
const GROWTH_FREE_BYTES: u64 = 64 << 20;

/// Reads all files of a collection.
pub(super) fn book(book: &Book, base: &Path, sink: &mut dyn ItemSink) -> Result<()> {
    let (names, sides) = match names_in(book) {
        Ok(names) => names,
        Err(e) => {
            let place = disk::place_of(base, &book.dir);
            return sink.exception(place, Outcome::Failed, "the folder cannot be listed", e.to_string());
        }
    };
    let mut uids = HashSet::new();
    for name in names {
        let path = book.dir.join(name);
        let place = disk::place_of(base, &path);
        let (file, stamp) = match disk::open_regular(&path) {
            Ok(opened) => opened,
            Err(e) => {
                sink.exception(place, Outcome::Failed, "cannot be read", e.to_string())?;
                continue;
            }
        };
        let mut reading = Reading { file, stamp, path, place, uids: &mut uids, sink };
        match book.head.kind {
            CollectionKind::Calendar => reading.calendar()?,
            _ => reading.cards()?,
        }
    }
    for name in sides {
        let path = book.dir.join(name);
        sink.original(disk::place_of(base, &path), path)?;
    }
    Ok(())
}

/// One file that is being read.
struct Reading<'a> {
    file: File,
    stamp: FileStamp,
    path: PathBuf,
    place: Place,
    /// XXH3-128 of the UIDs met so far in the collection.
    uids: &'a mut HashSet<u128>,
    sink: &'a mut dyn ItemSink,
}

impl Reading<'_> {
    fn calendar(&mut self) -> Result<()> {
        let index = match calendar::Index::of(&self.file) {
            Ok(index) => index,
            Err(e) => return self.sink.exception(self.place.clone(), Outcome::Failed, "cannot be read", e.to_string()),
        };
        if index.too_many {
            return self.nothing(TOO_MANY);
        }
        if index.calendars.is_empty() {
            return self.nothing("holds no calendar");
        }
        if let Some(only) = index.only() {
            return self.whole(only.uid_text(), only.component.clone().into(), &only.notes);
        }
        let mut room = GROWTH_FREE_BYTES.saturating_add(self.stamp.size.saturating_mul(GROWTH_MAX));
        for calendar in &index.calendars {
            let around = Around::of(calendar, &self.file);
            for object in &calendar.objects {
                self.object(&around, object, &mut room)?;
            }
        }
        self.original()
    }

    fn object(&mut self, around: &std::result::Result<Around, String>, object: &calendar::Object, room: &mut u64) -> Result<()> {
        let (offset, length) = object.extent();
        let place = Place { offset: Some(offset), length: Some(length), ..self.place.clone() };
        let fail = |sink: &mut dyn ItemSink, reason: &str, detail: String| {
            sink.exception(place.clone(), Outcome::Failed, reason, detail)
        };
        let around = match around {
            Ok(around) => around,
            Err(why) => return fail(self.sink, TOO_LARGE, why.clone()),
        };
        let repeated = around.size(object);
        let size = length.saturating_add(repeated);
        if repeated > REPEATED_MAX_BYTES || size > OBJECT_MAX_BYTES || size > *room {
            return fail(self.sink, TOO_LARGE, format!("{size} bytes; the file is kept whole"));
        }
        let bytes = match around.put_together(object, &self.file) {
            Ok(bytes) => bytes,
            Err(e) => return fail(self.sink, "cannot be read", e.to_string()),
        };
        if self.has_changed() {
            return fail(self.sink, "the file changed while it was read", String::new());
        }
        *room -= size;
        let state = self.state(object.uid_text(), object.component.clone().into(), &object.notes);
        self.sink.item(FoundItem { place, content: Content::Bytes(bytes), coding: Coding::Plain, state })
    }

    fn cards(&mut self) -> Result<()> {
        let index = match cards::Index::of(&self.file) {
            Ok(index) => index,
            Err(e) => return self.sink.exception(self.place.clone(), Outcome::Failed, "cannot be read", e.to_string()),
        };
        if index.too_many {
            return self.nothing(TOO_MANY);
        }
        if index.cards.is_empty() {
            return self.nothing("holds no vCard");
        }
        if let Some(only) = index.only() {
            return self.whole(only.uid.clone(), "VCARD".to_owned(), &only.notes);
        }
        for card in index.cards {
            let (offset, length) = (card.range.start, card.range.end - card.range.start);
            let place = Place { offset: Some(offset), length: Some(length), ..self.place.clone() };
            let content = if length > BYTES_MAX {
                Content::Range { path: self.path.clone(), offset, length }
            } else {
                match stretch(&self.file, &card.range) {
                    Ok(bytes) => Content::Bytes(bytes),
                    Err(e) => {
                        self.sink.exception(place, Outcome::Failed, "cannot be read", e.to_string())?;
                        continue;
                    }
                }
            };
            if self.has_changed() {
                self.sink.exception(place, Outcome::Failed, "the file changed while it was read", String::new())?;
                continue;
            }
            let state = self.state(card.uid, "VCARD".to_owned(), &card.notes);
            self.sink.item(FoundItem { place, content, coding: Coding::Plain, state })?;
        }
        self.original()
    }

    /// A file that is one object.
    fn whole(&mut self, uid: Option<String>, component: String, notes: &[&'static str]) -> Result<()> {
        let at = Timestamp::from_second(self.stamp.mtime_s()).ok();
        let date = at.map(|at| InternalDate { at, rule: DateRule::FileTime });
        let state = ItemState { date, ..self.state(uid, component, notes) };
        let content = Content::File { path: self.path.clone(), stamp: self.stamp };
        self.sink.item(FoundItem { place: self.place.clone(), content, coding: Coding::Plain, state })
    }

    /// A file of which no object can be told.
    fn nothing(&mut self, reason: &str) -> Result<()> {
        if self.stamp.size == 0 {
            return self.sink.exception(self.place.clone(), Outcome::Skipped, "empty file", String::new());
        }
        let detail = "the file is kept whole".to_owned();
        self.sink.exception(self.place.clone(), Outcome::Failed, reason, detail)?;
        self.original()
    }

    fn original(&mut self) -> Result<()> {
        self.sink.original(self.place.clone(), self.path.clone())
    }

    fn state(&mut self, uid: Option<String>, component: String, notes: &[&'static str]) -> ItemState {
        let mut notes: Vec<String> = notes.iter().map(|note| (*note).to_owned()).collect();
        if uid.as_ref().is_some_and(|uid| !self.uids.insert(xxh3_128(uid.as_bytes()))) {
            notes.push("an earlier object here has the same UID".to_owned());
        }
        ItemState { uid, component: Some(component), notes, ..ItemState::default() }
    }

    /// Is the file another one than when it was opened?
    fn has_changed(&self) -> bool {
        !self.file.metadata().is_ok_and(|m| FileStamp::of(&m) == self.stamp)
    }
}

/// What is repeated around the objects of a VCALENDAR: stretches of it and where they begin.
struct Around {
    wrapper: Vec<(u64, Vec<u8>)>,
    zones: Vec<(u32, u64, Vec<u8>)>,
}

impl Around {
    /// Reads it, or says why not.
    fn of(calendar: &calendar::Calendar, file: &File) -> std::result::Result<Self, String> {
        let ranges = calendar.wrapper.iter().chain(calendar.zones.iter().map(|z| &z.1));
        let bytes = ranges.map(|r| r.end - r.start).fold(0, u64::saturating_add);
        if bytes > AROUND_MAX_BYTES {
            return Err(format!("{bytes} bytes of properties and time zones around it"));
        }
        let read = |range: &Range<u64>| stretch(file, range).map_err(|e| e.to_string());
        let wrapper = calendar.wrapper.iter().map(|r| Ok((r.start, read(r)?))).collect::<std::result::Result<_, String>>()?;
        let zones =
            calendar.zones.iter().map(|(n, r)| Ok((*n, r.start, read(r)?))).collect::<std::result::Result<_, String>>()?;
        Ok(Around { wrapper, zones })
    }

    /// The stretches that an object needs.
    fn of_object<'a>(&'a self, object: &'a calendar::Object) -> impl Iterator<Item = (u64, &'a [u8])> {
        let zones = self.zones.iter().filter(|(number, ..)| object.zones.contains(number));
        let wrapper = self.wrapper.iter().map(|(at, bytes)| (*at, bytes.as_slice()));
        wrapper.chain(zones.map(|(_, at, bytes)| (*at, bytes.as_slice())))
    }

    fn size(&self, object: &calendar::Object) -> u64 {
        self.of_object(object).map(|(_, bytes)| bytes.len() as u64).sum()
    }

    /// All lines of an object in the file's order.
    fn put_together(&self, object: &calendar::Object, file: &File) -> io::Result<Vec<u8>> {
        let mut pieces: Vec<(u64, Cow<'_, [u8]>)> = self.of_object(object).map(|(at, bytes)| (at, bytes.into())).collect();
        for part in &object.parts {
            pieces.push((part.start, stretch(file, part)?.into()));
        }
        pieces.sort_unstable_by_key(|p| p.0);
        let pieces: Vec<Cow<'_, [u8]>> = pieces.into_iter().map(|p| p.1).collect();
        Ok(pieces.concat())
    }
}

fn stretch(file: &File, range: &Range<u64>) -> io::Result<Vec<u8>> {
    let length = usize::try_from(range.end.saturating_sub(range.start)).map_err(io::Error::other)?;
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, range.start)?;
    Ok(bytes)
}
