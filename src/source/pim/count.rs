//! Counts objects and cards in another way than they are read: one byte after the other, and without knowing where they lie.
//!
//! Content lines are put together from bytes as they come; of a calendar only BEGIN, END and UID lines matter, of a file of
//! cards BEGIN, END and AGENT. It shares no code with the reading of files, so that an error in one of the two shows.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};

/// Bytes of a content line that are held; two UIDs that do not differ within them are one.
const HELD_BYTES: usize = 2048;

/// A file with more components or cards counts as one: it is only kept whole.
const MOST: u64 = 1_000_000;

/// What is counted in the content lines of a file.
trait Tally {
    fn line(&mut self, text: &[u8]);
}

/// Objects of a calendar file; one for a file that holds no calendar at all.
pub(super) fn objects(file: &File) -> io::Result<u64> {
    let mut tally = Objects::default();
    tell(file, &mut tally)?;
    tally.leave();
    let none_or_too_many = tally.calendars == 0 || tally.entries > MOST;
    Ok(if none_or_too_many { 1 } else { tally.uids.len() as u64 + tally.without_uid })
}

/// Cards of a file; one for a file that holds none.
pub(super) fn cards(file: &File) -> io::Result<u64> {
    let mut tally = Cards::default();
    tell(file, &mut tally)?;
    Ok(if tally.cards > MOST { 1 } else { tally.cards.max(1) })
}

/// Puts lines together.
fn tell(mut file: impl Read, tally: &mut impl Tally) -> io::Result<()> {
    let mut block = Vec::with_capacity(1 << 16);
    file.by_ref().take(1 << 16).read_to_end(&mut block)?;
    let mut unfold = Unfold { ends: if block.contains(&b'\n') { (b'\n', b'\n') } else { (b'\r', b'\n') }, ..Unfold::default() };
    if block.starts_with(&[0xef, 0xbb, 0xbf]) {
        block.drain(..3);
    }
    while !block.is_empty() {
        for &byte in &block {
            unfold.byte(byte, tally);
        }
        block.clear();
        file.by_ref().take(1 << 16).read_to_end(&mut block)?;
    }
    unfold.line_is_whole(tally);
    Ok(())
}

#[derive(Default)]
struct Unfold {
    /// Bytes that end a line.
    ends: (u8, u8),
    text: Vec<u8>,
    /// The line has ended; whether it goes on shows the next byte.
    ended: bool,
    /// Ended by a CR, of which a LF is part.
    by_cr: bool,
    /// CRs that are text if more text follows.
    held_back: usize,
    /// The first line of those that make up this one is over, and empty.
    nothing: bool,
    begun: bool,
    last: Option<u8>,
}

impl Unfold {
    fn byte(&mut self, byte: u8, tally: &mut impl Tally) {
        if self.ended {
            if std::mem::take(&mut self.by_cr) && byte == b'\n' {
                return;
            }
            let soft = self.last == Some(b'=') && self.is_quoted_printable();
            if self.nothing || !(byte == b' ' || byte == b'\t' || soft) {
                self.line_is_whole(tally);
            } else {
                self.ended = false;
                self.last = None;
                if byte == b' ' || byte == b'\t' {
                    return;
                }
                if self.text.len() < HELD_BYTES {
                    self.text.pop();
                }
            }
        }
        if byte == self.ends.0 || byte == self.ends.1 {
            self.nothing = !self.begun && self.last.is_none();
            self.begun = true;
            self.ended = true;
            self.by_cr = byte == b'\r';
            self.held_back = 0;
        } else if byte == b'\r' {
            self.held_back += 1;
        } else {
            self.last = Some(byte);
            for held in std::iter::repeat_n(b'\r', std::mem::take(&mut self.held_back)).chain([byte]) {
                if self.text.len() < HELD_BYTES {
                    self.text.push(held);
                }
            }
        }
    }

    fn line_is_whole(&mut self, tally: &mut impl Tally) {
        tally.line(&self.text);
        let ends = self.ends;
        self.text.clear();
        *self = Unfold { ends, text: std::mem::take(&mut self.text), ..Unfold::default() };
    }

    fn is_quoted_printable(&self) -> bool {
        let head = self.text.split_at(colon(&self.text)).0.to_ascii_lowercase();
        let params = head.iter().position(|&b| b == b';').map_or(&b""[..], |at| &head[at..]);
        params.windows(16).any(|w| w == b"quoted-printable")
    }
}

/// The place of the first colon outside of quotes, or of any colon, or the end.
fn colon(text: &[u8]) -> usize {
    let mut quotes = 0usize;
    for (at, &byte) in text.iter().enumerate() {
        match byte {
            b'"' => quotes += 1,
            b':' if quotes.is_multiple_of(2) => return at,
            _ => {}
        }
    }
    text.iter().position(|&b| b == b':').unwrap_or(text.len())
}

/// Name and value, both in lower case but for the value of a UID.
fn parts(text: &[u8]) -> (Vec<u8>, &[u8]) {
    let (head, value) = text.split_at(colon(text));
    let name = head.split(|&b| b == b';').next().unwrap_or_default();
    (name.trim_ascii_end().to_ascii_lowercase(), value.strip_prefix(b":").unwrap_or_default().trim_ascii())
}

#[derive(Default)]
struct Objects {
    calendars: u64,
    /// Within a VCALENDAR, and not outside of any.
    wrapped: bool,
    /// There are components outside of any since the last VCALENDAR.
    unwrapped: bool,
    /// Name of the component at the top.
    top: Option<Vec<u8>>,
    /// Components that are open in it.
    within: u64,
    uid: Option<Vec<u8>>,
    uids: HashSet<(u64, Vec<u8>)>,
    without_uid: u64,
    /// BEGIN lines of calendars, and components at their tops.
    entries: u64,
}

impl Objects {
    /// Nothing of the component is to come.
    fn leave(&mut self) {
        self.within = 0;
        let uid = self.uid.take();
        match self.top.take() {
            Some(name) if name != b"vtimezone" => {
                self.entries += 1;
                match uid {
                    Some(uid) if self.entries <= MOST => _ = self.uids.insert((self.calendars, uid)),
                    Some(_) => {}
                    None => self.without_uid += 1,
                }
            }
            _ => {}
        }
    }

    fn begin(&mut self, name: Vec<u8>) {
        const ALONE: [&[u8]; 5] = [b"vevent", b"vtodo", b"vjournal", b"vfreebusy", b"vtimezone"];
        let alone = ALONE.contains(&name.as_slice());
        if name == b"vcalendar" {
            self.leave();
            self.calendars += 1;
            self.entries += 1;
            (self.wrapped, self.unwrapped) = (true, false);
        } else if self.top.as_ref().is_some_and(|top| !alone || !ALONE.contains(&top.as_slice())) {
            self.within += 1;
        } else if self.wrapped || alone {
            self.leave();
            if !self.wrapped && !std::mem::replace(&mut self.unwrapped, true) {
                self.calendars += 1;
            }
            self.top = Some(name);
        }
    }
}

impl Tally for Objects {
    fn line(&mut self, text: &[u8]) {
        if !text.first().is_some_and(|b| b"BEUbeu".contains(b)) {
            return;
        }
        let (name, value) = parts(text);
        match (name.as_slice(), value.to_ascii_lowercase()) {
            (b"begin", name) => self.begin(name),
            (b"end", name) if name == b"vcalendar" => {
                self.leave();
                (self.wrapped, self.unwrapped) = (false, false);
            }
            (b"end", name) if self.top.as_ref() == Some(&name) => self.leave(),
            (b"end", _) => self.within = self.within.saturating_sub(1),
            (b"uid", _) if self.top.is_some() && self.within == 0 && self.uid.is_none() && !value.is_empty() => {
                self.uid = Some(value.to_vec());
            }
            _ => {}
        }
    }
}

#[derive(Default)]
struct Cards {
    cards: u64,
    /// Cards that are open, one in the other.
    open: u64,
    agent: bool,
}

impl Tally for Cards {
    fn line(&mut self, text: &[u8]) {
        let (name, value) = parts(text);
        let value = value.to_ascii_lowercase();
        let agent = std::mem::take(&mut self.agent);
        match name.as_slice() {
            b"begin" if value == b"vcard" => {
                let within = agent && self.open > 0;
                self.cards += u64::from(!within);
                self.open = if within { self.open + 1 } else { 1 };
            }
            b"end" if value == b"vcard" => self.open = self.open.saturating_sub(1),
            name if self.open > 0 && (name == b"agent" || name.ends_with(b".agent")) => {
                self.agent = value.is_empty();
                let (inner, card) = parts(&value);
                self.open += u64::from(inner == b"begin" && card == b"vcard");
            }
            _ => {}
        }
    }
}
