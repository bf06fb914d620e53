//! Splitting: where messages begin and end in an mbox or MMDF file of any size, in one pass and bounded memory.
//!
//! An mbox message begins after a From_ line that stands at the file's start or after an empty line; that empty line
//! belongs to the separator. A `Content-Length` counts only if it ends right before a From_ line or at the file's end; then
//! From_ lines inside that length are text. An MMDF message lies between lines of four control-A.

use std::io;
use std::ops::Range;

use memchr::memmem::Finder;

use super::from_line::{self, FromLine, MAX_LINE_BYTES};
use super::state;
use super::window::{ReadAt, Window, read_full_at};

const MMDF_MARK: &[u8] = b"\x01\x01\x01\x01";

/// How much is held in memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Bytes read at a time.
    pub window_bytes: usize,
    /// Bytes looked at after the start of a From_ line: the line and the beginning of the next one.
    pub look_bytes: usize,
    /// A message longer than this is not kept, only its head.
    pub keep_bytes: usize,
    /// Bytes of a message that are kept in any case, to find state in its header.
    pub head_bytes: usize,
}

impl Limits {
    /// For reading items.
    pub const READ: Limits =
        Limits { window_bytes: 1 << 20, look_bytes: MAX_LINE_BYTES + 256, keep_bytes: 32 << 20, head_bytes: 256 << 10 };
}

/// What stands before a stretch of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// A From_ line.
    From(FromLine),
    /// An MMDF delimiter, with the From_ line after it if there is one.
    Mmdf(Option<FromLine>),
    /// Nothing: bytes before the first message.
    Nothing,
}

/// One message, or the bytes before the first.
#[derive(Debug)]
pub(super) struct Piece {
    /// What opens it.
    pub opening: Opening,
    /// Where that stands, with the empty line before it.
    pub separator: Range<u64>,
    /// Where its bytes are.
    pub content: Range<u64>,
    /// Its bytes if `whole`, else the first of them.
    pub bytes: Vec<u8>,
    /// All bytes are here.
    pub whole: bool,
    /// There is nothing to see in it; known of MMDF only.
    pub blank: bool,
    /// Its `Content-Length` ends where it ends.
    pub length_holds: bool,
    /// Lines in its body that start with `From ` unquoted.
    pub bare_count: u32,
    /// From_ lines in it that lack only the empty line before them.
    pub unparted_count: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Length {
    Unsettled,
    Untrusted,
    Holds { content_end: u64, next_from: u64 },
}

struct Current {
    opening: Opening,
    separator: Range<u64>,
    start: u64,
    taken: u64,
    bytes: Vec<u8>,
    whole: bool,
    blank: bool,
    length: Length,
    /// Where the body begins, as soon as that matters.
    body: Option<u64>,
    bare_count: u32,
    unparted_count: u32,
}

impl Current {
    fn new(opening: Opening, separator: Range<u64>) -> Self {
        let start = separator.end;
        let length = if matches!(opening, Opening::From(_)) { Length::Unsettled } else { Length::Untrusted };
        Current {
            opening,
            separator,
            start,
            taken: start,
            bytes: Vec::new(),
            whole: true,
            blank: true,
            length,
            body: None,
            bare_count: 0,
            unparted_count: 0,
        }
    }

    /// Takes the bytes up to `to`.
    fn take(&mut self, window: &Window<impl ReadAt>, to: u64, limits: &Limits) {
        let more = window.slice(self.taken, to);
        self.taken = self.taken.max(to);
        if self.blank && matches!(self.opening, Opening::Mmdf(None)) {
            self.blank = more.iter().all(u8::is_ascii_whitespace);
        }
        if self.whole && self.bytes.len().saturating_add(more.len()) > limits.keep_bytes {
            self.whole = false;
            self.bytes.truncate(limits.head_bytes);
            self.bytes.shrink_to_fit();
        }
        let room = if self.whole { more.len() } else { limits.head_bytes.saturating_sub(self.bytes.len()).min(more.len()) };
        self.bytes.extend_from_slice(more.get(..room).unwrap_or_default());
    }

    fn into_piece(mut self, content_end: u64) -> Piece {
        let content = self.start..content_end.max(self.start);
        let length = usize::try_from(content.end - content.start).unwrap_or(usize::MAX);
        self.bytes.truncate(if self.opening == Opening::Nothing { 0 } else { length });
        Piece {
            opening: self.opening,
            separator: self.separator,
            content,
            bytes: self.bytes,
            whole: self.whole,
            blank: self.blank,
            length_holds: matches!(self.length, Length::Holds { .. }),
            bare_count: self.bare_count,
            unparted_count: self.unparted_count,
        }
    }
}

/// Gives out the pieces of a file in order.
pub(super) struct Splitter<S> {
    window: Window<S>,
    limits: Limits,
    finder: Finder<'static>,
    mmdf: bool,
    begun: bool,
    search_at: u64,
    current: Option<Current>,
}

impl<S: ReadAt> Splitter<S> {
    /// Bytes before a line start that tell whether an empty line is there.
    const CONTEXT: u64 = 4;

    /// Over the window's source, from where the window starts.
    pub fn new(source: S, start: u64, end: u64, limits: Limits, hash: Option<Box<xxhash_rust::xxh3::Xxh3>>) -> Self {
        let capacity = limits.window_bytes.max(limits.look_bytes.saturating_mul(2).saturating_add(64));
        Splitter {
            window: Window::new(source, start, end, capacity, hash),
            limits,
            finder: Finder::new(b"\nFrom "),
            mmdf: false,
            begun: false,
            search_at: start,
            current: None,
        }
    }

    /// The hash of everything read, after the last piece.
    pub fn finish(self) -> Option<u128> {
        self.window.finish()
    }

    /// How far reading has come; where the message now being read begins.
    pub fn position(&self) -> u64 {
        self.current.as_ref().map_or(self.window.base(), |c| c.start)
    }

    /// The next piece.
    ///
    /// # Errors
    /// `UnexpectedEof` when the source is shorter than it was said to be.
    pub fn next(&mut self) -> io::Result<Option<Piece>> {
        if !self.begun {
            self.begun = true;
            self.begin()?;
        }
        loop {
            let Some(piece) = self.next_stretch()? else { return Ok(None) };
            // What lies between a closing and an opening MMDF delimiter is no message.
            let gap = piece.blank && piece.opening == Opening::Mmdf(None);
            if !gap {
                return Ok(Some(piece));
            }
            if let Some(current) = &mut self.current {
                current.separator.start = piece.separator.start;
            }
        }
    }

    fn next_stretch(&mut self) -> io::Result<Option<Piece>> {
        if self.current.is_none() {
            return Ok(None);
        }
        let needle_bytes = self.finder.needle().len() as u64;
        loop {
            match self.finder.find(self.window.slice(self.search_at, self.window.limit())) {
                Some(found) => {
                    let newline = self.search_at.saturating_add(found as u64);
                    let line = newline.saturating_add(1);
                    if self.window.limit() < line.saturating_add(self.limits.look_bytes as u64) && !self.window.at_end() {
                        self.advance(newline)?;
                        continue;
                    }
                    self.search_at = line;
                    let piece = if self.mmdf { self.judge_mark(newline) } else { self.judge_from(newline)? };
                    if piece.is_some() {
                        return Ok(piece);
                    }
                }
                None if self.window.at_end() => return self.last(),
                None => self.advance(self.search_at.max(self.window.limit().saturating_sub(needle_bytes - 1)))?,
            }
        }
    }

    /// Moves the window so that it begins a little before `to`.
    fn advance(&mut self, to: u64) -> io::Result<()> {
        if let Some(current) = &mut self.current {
            current.take(&self.window, to, &self.limits);
        }
        self.search_at = to;
        self.window.slide(to.saturating_sub(Self::CONTEXT))
    }

    /// Finds what the file begins with: blank space and a byte order mark are passed over.
    fn begin(&mut self) -> io::Result<()> {
        let origin = self.window.base();
        self.window.slide(origin)?;
        let mut at = origin;
        if origin == 0 && self.window.bytes().starts_with(b"\xef\xbb\xbf") {
            at = 3;
        }
        let mut line_start = true;
        loop {
            let rest = self.window.slice(at, self.window.limit());
            match rest.iter().position(|b| !b.is_ascii_whitespace()) {
                Some(n) => {
                    if let Some(last) = rest.get(..n).and_then(<[u8]>::last) {
                        line_start = *last == b'\n';
                    }
                    at = at.saturating_add(n as u64);
                    break;
                }
                None => {
                    line_start = rest.last().map_or(line_start, |b| *b == b'\n');
                    at = self.window.limit();
                    if self.window.at_end() {
                        return Ok(());
                    }
                    self.window.slide(at)?;
                }
            }
        }
        self.window.slide(at)?;
        let view = self.window.slice(at, at.saturating_add(self.limits.look_bytes as u64));
        let complete = self.window.limit() >= self.window.end();
        let (opening, end) = if !line_start {
            (Opening::Nothing, origin)
        } else if let Some((from, mark_bytes)) = read_mark(view, complete) {
            self.mmdf = true;
            self.finder = Finder::new(b"\n\x01\x01\x01\x01");
            (Opening::Mmdf(from), at.saturating_add(mark_bytes))
        } else if let Some((from, line_bytes)) = read_from(view, complete, true) {
            (Opening::From(from), at.saturating_add(line_bytes))
        } else {
            (Opening::Nothing, origin)
        };
        self.search_at = if end > origin { end.saturating_sub(1) } else { at };
        let mut current = Current::new(opening, origin..end);
        if matches!(current.opening, Opening::Nothing) {
            // Not a message, and the window may have left its first bytes behind already.
            current.whole = false;
            current.taken = at;
        }
        self.current = Some(current);
        Ok(())
    }

    /// Is the `From ` after `newline` a separator? Then the message before it is complete.
    fn judge_from(&mut self, newline: u64) -> io::Result<Option<Piece>> {
        let line = newline.saturating_add(1);
        let view = self.window.slice(line, line.saturating_add(self.limits.look_bytes as u64));
        let parsed = read_from(view, self.window.at_end(), false);
        if self.current.as_ref().is_some_and(|c| c.length == Length::Unsettled) {
            self.settle_length(line)?;
        }
        let Some(current) = &mut self.current else { return Ok(None) };
        let before = self.window.slice(newline.saturating_sub(2).max(current.start.saturating_sub(1)), newline);
        let empty_line = match before {
            [.., b'\n', b'\r'] => Some(newline.saturating_sub(1)),
            [.., b'\n'] => Some(newline),
            _ => None,
        };
        let content_end = match (current.length, &parsed) {
            (Length::Holds { content_end, next_from }, Some(_)) if next_from == line => Some(content_end),
            (Length::Holds { .. }, _) | (_, None) => None,
            (_, Some(_)) => empty_line.filter(|end| *end >= current.start),
        };
        let (Some(content_end), Some((from, line_bytes))) = (content_end, &parsed) else {
            if current.body.is_none_or(|body| line >= body) {
                current.bare_count = current.bare_count.saturating_add(1);
            }
            if parsed.is_some() && current.length == Length::Untrusted {
                current.unparted_count = current.unparted_count.saturating_add(1);
            }
            return Ok(None);
        };
        let separator = content_end..line.saturating_add(*line_bytes);
        Ok(self.turn(content_end, Current::new(Opening::From(from.clone()), separator)))
    }

    /// Is the mark after `newline` an MMDF delimiter?
    fn judge_mark(&mut self, newline: u64) -> Option<Piece> {
        let line = newline.saturating_add(1);
        let view = self.window.slice(line, line.saturating_add(self.limits.look_bytes as u64));
        let (from, mark_bytes) = read_mark(view, self.window.at_end())?;
        self.turn(line, Current::new(Opening::Mmdf(from), line..line.saturating_add(mark_bytes)))
    }

    /// Ends the current message and begins the next.
    fn turn(&mut self, content_end: u64, next: Current) -> Option<Piece> {
        self.search_at = next.start.saturating_sub(1);
        let mut done = self.current.replace(next)?;
        done.take(&self.window, content_end, &self.limits);
        Some(done.into_piece(content_end))
    }

    /// The message that the end of the file ends.
    fn last(&mut self) -> io::Result<Option<Piece>> {
        let end = self.window.end();
        if self.current.as_ref().is_some_and(|c| c.length == Length::Unsettled) {
            self.settle_length(end)?;
        }
        let Some(mut current) = self.current.take() else { return Ok(None) };
        current.take(&self.window, end, &self.limits);
        let from_line = matches!(current.opening, Opening::From(_));
        let content_end = match current.length {
            Length::Holds { content_end, next_from } if next_from == end => content_end,
            _ if !from_line => end,
            // The byte before the start is a line end, so the message's own first line can be the empty one.
            _ => match self.window.slice(end.saturating_sub(3).max(current.start.saturating_sub(1)), end) {
                [.., b'\n', b'\r', b'\n'] => end.saturating_sub(2),
                [.., b'\n', b'\n'] => end.saturating_sub(1),
                _ => end,
            },
        };
        Ok(Some(current.into_piece(content_end)))
    }

    /// Finds out whether the current message's `Content-Length` can be trusted, if it ends at `upto` or later.
    fn settle_length(&mut self, upto: u64) -> io::Result<()> {
        let Some(current) = &mut self.current else { return Ok(()) };
        current.length = Length::Untrusted;
        let seen = if current.start >= self.window.base() {
            self.window.slice(current.start, current.start.saturating_add(self.limits.head_bytes as u64))
        } else {
            current.bytes.get(..self.limits.head_bytes).unwrap_or(&current.bytes)
        };
        let mut header = state::content_length(seen);
        if header.is_none() && seen.len() < self.limits.head_bytes {
            // The header goes on where the window does not reach yet.
            let mut head = vec![0; self.limits.head_bytes];
            let n = self.window.peek(&mut head, current.start)?;
            header = state::content_length(head.get(..n).unwrap_or_default());
        }
        let Some((header_bytes, length)) = header else { return Ok(()) };
        current.body = current.start.checked_add(header_bytes);
        let Some(length) = length else { return Ok(()) };
        let Some(content_end) = current.start.checked_add(header_bytes).and_then(|at| at.checked_add(length)) else {
            return Ok(());
        };
        if let Some(next_from) = landing(&self.window, content_end, self.limits.look_bytes)?
            && next_from >= upto
        {
            current.length = Length::Holds { content_end, next_from };
        }
        Ok(())
    }
}

/// Where a message that ends at `content_end` is followed by a From_ line or by the end, an empty line between allowed.
fn landing(window: &Window<impl ReadAt>, content_end: u64, look_bytes: usize) -> io::Result<Option<u64>> {
    let end = window.end();
    if content_end > end || content_end == 0 {
        return Ok(None);
    }
    let from = content_end - 1;
    let mut buffer = vec![0; look_bytes.saturating_add(4)];
    let n = window.peek(&mut buffer, from)?;
    let Some([before, rest @ ..]) = buffer.get(..n) else { return Ok(None) };
    let skip: u64 = match rest {
        [b'\n', ..] => 1,
        [b'\r', b'\n', ..] => 2,
        _ => 0,
    };
    let at = content_end.saturating_add(skip);
    if at == end {
        return Ok(Some(end));
    }
    let line = rest.get(usize::try_from(skip).unwrap_or_default()..).unwrap_or_default();
    let line = line.get(..look_bytes).unwrap_or(line);
    let complete = content_end.saturating_add(rest.len() as u64) >= end;
    let parted = skip > 0 || *before == b'\n';
    Ok((parted && read_from(line, complete, false).is_some()).then_some(at))
}

/// Can a reader go on at `offset`, where the file ended once? Only where a separator stands, and where the message before
/// it ends exactly as it did then.
pub(super) fn continues_at(source: &(impl ReadAt + ?Sized), offset: u64, end: u64) -> io::Result<bool> {
    let from = offset.saturating_sub(6);
    let mut buffer = vec![0; Limits::READ.look_bytes.saturating_add(8)];
    let n = read_full_at(source, &mut buffer, from, end)?;
    let (before, view) = buffer
        .get(..n)
        .unwrap_or_default()
        .split_at_checked(usize::try_from(offset - from).unwrap_or_default())
        .unwrap_or_default();
    let complete = from.saturating_add(n as u64) >= end;
    let mut first = [0; 5];
    let first_bytes = read_full_at(source, &mut first, 0, end)?;
    if first.get(..first_bytes).is_some_and(|first| first.starts_with(MMDF_MARK)) {
        let closed =
            before.strip_suffix(b"\n").map(|b| b.strip_suffix(b"\r").unwrap_or(b)).is_some_and(|b| b.ends_with(MMDF_MARK));
        return Ok(closed && read_mark(view, complete).is_some());
    }
    let after_empty_line = before.ends_with(b"\n\n") || before.ends_with(b"\n\r\n");
    let from_line = match view {
        _ if after_empty_line => view,
        [b'\n', line @ ..] | [b'\r', b'\n', line @ ..] if before.ends_with(b"\n") => line,
        _ => return Ok(false),
    };
    Ok(read_from(from_line, complete, false).is_some())
}

/// Reads the From_ line that `view` begins with, and its length with the line end. `complete`: the file ends with `view`.
fn read_from(view: &[u8], complete: bool, first: bool) -> Option<(FromLine, u64)> {
    if !view.starts_with(b"From ") {
        return None;
    }
    let (line, next, bytes) = match memchr::memchr(b'\n', view) {
        Some(at) => (view.get(..at)?, view.get(at + 1..)?, at + 1),
        None if complete => (view, [].as_slice(), view.len()),
        None => return None,
    };
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let from = from_line::parse(line, next);
    // At the very start there is nothing else that such a line could be.
    let from = from.or_else(|| (first && line.len() <= MAX_LINE_BYTES && from_line::is_header(next)).then(FromLine::default))?;
    Some((from, bytes as u64))
}

/// Reads the MMDF delimiter that `view` begins with, the From_ line after it if there is one, and the length of both.
fn read_mark(view: &[u8], complete: bool) -> Option<(Option<FromLine>, u64)> {
    let after = match view.strip_prefix(MMDF_MARK)? {
        [b'\n', after @ ..] | [b'\r', b'\n', after @ ..] => after,
        [] if complete => [].as_slice(),
        _ => return None,
    };
    let mark_bytes = (view.len() - after.len()) as u64;
    Some(match read_from(after, complete, false) {
        Some((from, line_bytes)) => (Some(from), mark_bytes + line_bytes),
        None => (None, mark_bytes),
    })
}
