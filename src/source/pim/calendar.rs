//! What lies in a calendar file (RFC 5545, vCalendar 1.0), as stretches of it: an object for each UID.
//!
//! An object is all components of one UID in one VCALENDAR, in the file's order, between that VCALENDAR's first and last line,
//! with the properties that say how to read them and the time zones that they name. Every component at the top of a VCALENDAR
//! belongs to an object, whatever it is called, but for time zones. Nothing is put into memory but where things lie.

use std::collections::HashMap;
use std::io::{self, Read};
use std::ops::Range;

use super::lines::{Line, Lines, Property, text_of};

/// Properties of a VCALENDAR that say how to read what is in it; the others describe the calendar.
const KEPT: [&str; 5] = ["VERSION", "PRODID", "CALSCALE", "METHOD", "X-WR-TIMEZONE"];
/// Components that never lie in one another, so that each of them ends one that is not closed.
const TOP: [&str; 5] = ["VEVENT", "VTODO", "VJOURNAL", "VFREEBUSY", "VTIMEZONE"];

/// VCALENDARs and components of a file together; one that holds more is kept whole only, or their places would fill the memory.
pub(super) const MAX_ENTRIES: usize = 1_000_000;
/// Kept properties of a VCALENDAR, time zones in it, and time zones that a component names; more are in the whole file only.
const MAX_KEPT: usize = 100;
const MAX_ZONES: usize = 10_000;
const MAX_ZONES_NAMED: usize = 100;
const NOT_CLOSED: &str = "a component is not closed";

/// All that lies in a file.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// The VCALENDARs, and what lies outside of any.
    pub calendars: Vec<Calendar>,
    /// There is text that belongs to no VCALENDAR and no component.
    pub stray: bool,
    /// There are more than [`MAX_ENTRIES`], and not all of them are here.
    pub too_many: bool,
}

impl Index {
    /// Reads a file.
    pub fn of(file: impl Read) -> io::Result<Self> {
        let (mut scan, mut at) = (Scan::default(), 0);
        let mut lines = Lines::new(file)?;
        while scan.entries <= MAX_ENTRIES
            && let Some(line) = lines.next()?
        {
            at = line.range.end;
            scan.line(&line);
        }
        scan.end_calendar(at);
        scan.index.too_many = scan.entries > MAX_ENTRIES;
        Ok(scan.index)
    }

    /// The file's only object, when there is nothing else in it.
    pub fn only(&self) -> Option<&Object> {
        match self.calendars.as_slice() {
            [calendar] if !self.stray => match calendar.objects.as_slice() {
                [object] => Some(object),
                _ => None,
            },
            _ => None,
        }
    }
}

/// A VCALENDAR, or components that lie outside of any.
#[derive(Debug, Default)]
pub(super) struct Calendar {
    /// Its first line, its properties that are kept, its last line; none for what lies outside of any.
    pub wrapper: Vec<Range<u64>>,
    /// Time zones by the number of their name.
    pub zones: Vec<(u32, Range<u64>)>,
    /// Its objects in the order of their first components.
    pub objects: Vec<Object>,
    /// Its END is missing.
    open: bool,
    /// It has an END of something that did not begin.
    odd: bool,
    zone_names: HashMap<Box<[u8]>, u32>,
    by_uid: HashMap<Box<[u8]>, usize>,
}

impl Calendar {
    /// The number of a time zone's name, unless there are too many.
    fn zone_number(&mut self, name: &[u8]) -> Option<u32> {
        let name = text_of(name).into_bytes();
        if let Some(number) = self.zone_names.get(name.as_slice()) {
            return Some(*number);
        }
        let next = u32::try_from(self.zone_names.len()).ok().filter(|_| self.zone_names.len() < MAX_ZONES)?;
        self.zone_names.insert(name.into(), next);
        Some(next)
    }

    fn object(&mut self, uid: Option<Vec<u8>>) -> Option<&mut Object> {
        let at = match uid {
            None => self.objects.len(),
            Some(uid) => *self.by_uid.entry(uid.into()).or_insert(self.objects.len()),
        };
        if at == self.objects.len() {
            self.objects.push(Object::default());
        }
        self.objects.get_mut(at)
    }

    /// Is it a VCALENDAR, and not what lies outside of any?
    pub fn is_wrapped(&self) -> bool {
        !self.wrapper.is_empty()
    }
}

/// The components of one UID.
#[derive(Debug, Default)]
pub(super) struct Object {
    /// Its UID as it is written.
    pub uid: Option<Box<[u8]>>,
    /// Name of its first component.
    pub component: Box<str>,
    /// Its components.
    pub parts: Vec<Range<u64>>,
    /// Numbers of the time zones that it names.
    pub zones: Vec<u32>,
    /// What is odd about it.
    pub notes: Vec<&'static str>,
    /// It has a component without RECURRENCE-ID.
    has_master: bool,
}

impl Object {
    fn add(&mut self, part: Part, end: u64, closed: bool) {
        if self.parts.is_empty() {
            self.component = String::from_utf8_lossy(&part.name).into();
            self.parts.reserve_exact(1);
        } else if !self.component.as_bytes().eq_ignore_ascii_case(&part.name) {
            self.note("components of several kinds under one UID");
        }
        if part.is_master && std::mem::replace(&mut self.has_master, true) {
            self.note("several components without RECURRENCE-ID under one UID");
        }
        if !closed {
            self.note(NOT_CLOSED);
        }
        if !part.has_uid {
            self.note("no UID");
        }
        self.parts.push(part.start..end);
        for zone in part.zones {
            if !self.zones.contains(&zone) && self.zones.len() < MAX_ZONES_NAMED {
                self.zones.push(zone);
            }
        }
    }

    fn note(&mut self, note: &'static str) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Has every component of it an end?
    pub fn is_closed(&self) -> bool {
        !self.notes.contains(&NOT_CLOSED)
    }

    /// First byte, and bytes of all components.
    pub fn extent(&self) -> (u64, u64) {
        let first = self.parts.first().map_or(0, |p| p.start);
        (first, self.parts.iter().map(|p| p.end - p.start).sum())
    }

    /// The UID as text.
    pub fn uid_text(&self) -> Option<String> {
        self.uid.as_deref().map(text_of)
    }
}

/// A component that is being read.
struct Part {
    name: Vec<u8>,
    start: u64,
    /// Components in it that are not closed yet.
    depth: u32,
    uid: Option<Vec<u8>>,
    has_uid: bool,
    is_master: bool,
    zones: Vec<u32>,
}

impl Part {
    fn is_zone(&self) -> bool {
        self.name == b"VTIMEZONE"
    }

    /// Does the component end where another begins at whose place only another top component can stand?
    fn ends_before(&self, name: &[u8]) -> bool {
        is_top(name) && is_top(&self.name)
    }
}

fn is_top(name: &[u8]) -> bool {
    TOP.iter().any(|top| name.eq_ignore_ascii_case(top.as_bytes()))
}

#[derive(Default)]
struct Scan {
    index: Index,
    calendar: Option<Calendar>,
    part: Option<Part>,
    /// VCALENDARs and components so far, but for time zones.
    entries: usize,
}

impl Scan {
    fn line(&mut self, line: &Line<'_>) {
        let property = Property::of(line.text);
        if property.is("BEGIN") {
            self.begin(property.value, line);
        } else if property.is("END") {
            self.end(property.value, line);
        } else if self.part.is_some() {
            self.property_of_part(&property);
        } else if let Some(calendar) = self.calendar.as_mut().filter(|c| c.is_wrapped()) {
            if calendar.wrapper.len() < MAX_KEPT && KEPT.iter().any(|name| property.is(name)) {
                calendar.wrapper.push(line.range.clone());
            }
        } else if !line.is_blank() {
            self.index.stray = true;
        }
    }

    fn begin(&mut self, name: &[u8], line: &Line<'_>) {
        if name.eq_ignore_ascii_case(b"VCALENDAR") {
            self.end_calendar(line.range.start);
            self.entries += 1;
            self.calendar = Some(Calendar { wrapper: vec![line.range.clone()], open: true, ..Calendar::default() });
            return;
        }
        match &mut self.part {
            Some(part) if !part.ends_before(name) => part.depth = part.depth.saturating_add(1),
            None if !self.calendar.as_ref().is_some_and(Calendar::is_wrapped) && !is_top(name) => self.index.stray = true,
            _ => {
                self.end_part(line.range.start, false);
                self.calendar.get_or_insert_default();
                self.part = Some(Part {
                    name: name.to_ascii_uppercase(),
                    start: line.range.start,
                    depth: 0,
                    uid: None,
                    has_uid: false,
                    is_master: true,
                    zones: Vec::new(),
                });
            }
        }
    }

    fn end(&mut self, name: &[u8], line: &Line<'_>) {
        if name.eq_ignore_ascii_case(b"VCALENDAR") {
            self.end_part(line.range.start, false);
            match self.calendar.as_mut().filter(|c| c.is_wrapped()) {
                Some(calendar) => {
                    calendar.wrapper.push(line.range.clone());
                    calendar.open = false;
                }
                None => self.index.stray = true,
            }
            self.end_calendar(line.range.start);
            return;
        }
        match (&mut self.part, &mut self.calendar) {
            (Some(part), _) if part.name.eq_ignore_ascii_case(name) => self.end_part(line.range.end, true),
            (Some(part), _) if part.depth > 0 => part.depth -= 1,
            (Some(_), Some(calendar)) => calendar.odd = true,
            (None, Some(calendar)) if calendar.is_wrapped() => calendar.odd = true,
            _ => self.index.stray = true,
        }
    }

    fn property_of_part(&mut self, property: &Property<'_>) {
        let (Some(part), Some(calendar)) = (&mut self.part, &mut self.calendar) else { return };
        let own = part.depth == 0;
        if own && property.is("UID") && !part.has_uid && !property.value.is_empty() {
            part.has_uid = true;
            part.uid = Some(property.value.to_vec());
        } else if own && property.is("RECURRENCE-ID") {
            part.is_master = false;
        }
        // A time zone says its own name, other components those that they need.
        let zone = if part.is_zone() { (own && property.is("TZID")).then_some(property.value) } else { property.param("TZID") };
        if let Some(number) = zone.and_then(|zone| calendar.zone_number(zone))
            && !part.zones.contains(&number)
            && part.zones.len() < MAX_ZONES_NAMED
        {
            part.zones.push(number);
        }
    }

    fn end_part(&mut self, at: u64, closed: bool) {
        let (Some(mut part), Some(calendar)) = (self.part.take(), &mut self.calendar) else { return };
        if part.is_zone() {
            let room = MAX_ZONES.saturating_sub(calendar.zones.len());
            calendar.zones.extend(part.zones.first().filter(|_| room > 0).map(|&zone| (zone, part.start..at)));
        } else {
            self.entries += 1;
            let uid = part.uid.take();
            if let Some(object) = calendar.object(uid) {
                object.add(part, at, closed);
            }
        }
    }

    fn end_calendar(&mut self, at: u64) {
        self.end_part(at, false);
        let Some(mut calendar) = self.calendar.take() else { return };
        for (uid, at) in calendar.by_uid.drain() {
            if let Some(object) = calendar.objects.get_mut(at) {
                object.uid = Some(uid);
            }
        }
        calendar.zone_names = HashMap::new();
        let note = match (calendar.is_wrapped(), calendar.open, calendar.odd) {
            (false, ..) => Some("outside of any VCALENDAR"),
            (_, true, _) => Some("the VCALENDAR around it is not closed"),
            (.., true) => Some("an END without BEGIN in the VCALENDAR around it"),
            _ => None,
        };
        for object in &mut calendar.objects {
            object.notes.extend(note);
        }
        calendar.objects.shrink_to_fit();
        self.index.calendars.push(calendar);
    }
}
