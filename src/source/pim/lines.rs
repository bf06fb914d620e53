//! Content lines of iCalendar (RFC 5545 3.1) and vCard (RFC 6350 3.2, vCard 2.1) as stretches of a file.
//!
//! A content line is a line with those that continue it: folded ones, which begin with a space or a tab, and in values in
//! quoted-printable those after a `=` at the end. Only its first [`MAX_TEXT`] bytes are held, however long it is.

use std::io::{self, BufRead, BufReader, Chain, Cursor, Read};
use std::ops::Range;

use memchr::{memchr, memchr2, memmem};

/// Bytes of a content line that are looked at, without line ends and folds.
pub(super) const MAX_TEXT: usize = 2048;
/// Bytes at the start of a file in which its kind of line end is looked for.
const FIRST_BYTES: u64 = 64 << 10;
const BOM: &[u8] = b"\xef\xbb\xbf";

/// A content line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// Where it lies, with its line end.
    pub range: Range<u64>,
    /// Its text, unfolded, at most [`MAX_TEXT`] bytes.
    pub text: &'a [u8],
}

impl Line<'_> {
    /// Is there nothing but white space in it?
    pub fn is_blank(&self) -> bool {
        self.text.trim_ascii().is_empty()
    }
}

/// Reads content lines.
pub(super) struct Lines<R> {
    from: BufReader<Chain<Cursor<Vec<u8>>, R>>,
    /// A CR alone ends a line: there is no LF at the start of the file.
    bare_cr: bool,
    at: u64,
    text: Vec<u8>,
}

/// How a line of the file ended.
struct Tail {
    blank: bool,
    /// Its last byte is a `=`.
    soft: bool,
}

impl<R: Read> Lines<R> {
    /// Reads from the start of a file; a byte order mark belongs to no line.
    pub fn new(mut from: R) -> io::Result<Self> {
        let mut first = Vec::new();
        from.by_ref().take(FIRST_BYTES).read_to_end(&mut first)?;
        let bare_cr = memchr(b'\n', &first).is_none();
        let start = if first.starts_with(BOM) { BOM.len() } else { 0 };
        let mut first = Cursor::new(first);
        first.set_position(start as u64);
        let from = BufReader::with_capacity(FIRST_BYTES as usize, first.chain(from));
        Ok(Lines { from, bare_cr, at: start as u64, text: Vec::new() })
    }

    /// The next content line.
    pub fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        self.text.clear();
        let start = self.at;
        let mut tail = self.physical()?;
        // Nothing goes on after an empty line.
        let mut open = matches!(tail, Some(Tail { blank: false, .. }));
        if tail.is_none() {
            return Ok(None);
        }
        while open {
            let soft = tail.as_ref().is_some_and(|t| t.soft);
            match self.from.fill_buf()?.first() {
                Some(b' ' | b'\t') => self.skip(1),
                Some(_) if soft && is_quoted_printable(&self.text) => {
                    if self.text.len() < MAX_TEXT {
                        self.text.pop();
                    }
                }
                _ => break,
            }
            tail = self.physical()?;
            open = tail.is_some();
        }
        Ok(Some(Line { range: start..self.at, text: &self.text }))
    }

    /// Reads up to a line end, nothing at the end of the file.
    fn physical(&mut self) -> io::Result<Option<Tail>> {
        let begin = self.text.len();
        let (mut last, mut some) = (None, false);
        loop {
            let buffer = self.from.fill_buf()?;
            if buffer.is_empty() {
                break;
            }
            some = true;
            let end = if self.bare_cr { memchr2(b'\r', b'\n', buffer) } else { memchr(b'\n', buffer) };
            let content = buffer.get(..end.unwrap_or(buffer.len())).unwrap_or_default();
            last = content.iter().rfind(|&&b| b != b'\r').copied().or(last);
            let room = MAX_TEXT.saturating_sub(self.text.len());
            self.text.extend_from_slice(content.get(..room).unwrap_or(content));
            let cr = end.is_some_and(|end| buffer.get(end) == Some(&b'\r'));
            let used = content.len() + usize::from(end.is_some());
            self.skip(used);
            if cr && self.from.fill_buf()?.first() == Some(&b'\n') {
                self.skip(1);
            }
            if end.is_some() {
                break;
            }
        }
        while self.text.len() > begin && self.text.ends_with(b"\r") {
            self.text.pop();
        }
        Ok(some.then_some(Tail { blank: last.is_none(), soft: last == Some(b'=') }))
    }

    fn skip(&mut self, bytes: usize) {
        self.from.consume(bytes);
        self.at += bytes as u64;
    }
}

fn is_quoted_printable(text: &[u8]) -> bool {
    let params = Property::of(text).params.to_ascii_uppercase();
    memmem::find(&params, b"QUOTED-PRINTABLE").is_some()
}

/// The parts of a content line; nothing is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Property<'a> {
    /// Before the first `;` or `:`.
    pub name: &'a [u8],
    /// Between name and value.
    pub params: &'a [u8],
    /// After the first `:` that is not in quotes.
    pub value: &'a [u8],
}

impl<'a> Property<'a> {
    /// Takes a line apart.
    pub fn of(text: &'a [u8]) -> Self {
        let mut in_quotes = false;
        let colon = text.iter().position(|&b| {
            in_quotes ^= b == b'"';
            b == b':' && !in_quotes
        });
        // A quote that is never closed quotes nothing.
        let colon = colon.or_else(|| memchr(b':', text)).unwrap_or(text.len());
        let (left, value) = text.split_at(colon);
        let (name, params) = left.split_at(memchr(b';', left).unwrap_or(left.len()));
        Property { name: name.trim_ascii_end(), params, value: value.get(1..).unwrap_or_default().trim_ascii() }
    }

    /// Is it called so, in any case?
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// The value of a parameter, without its quotes.
    pub fn param(&self, name: &str) -> Option<&'a [u8]> {
        let mut in_quotes = false;
        let parts = self.params.split(move |&b| {
            in_quotes ^= b == b'"';
            b == b';' && !in_quotes
        });
        parts.into_iter().find_map(|part| {
            let (key, value) = part.split_at_checked(memchr(b'=', part)?)?;
            let value = value.get(1..)?.trim_ascii();
            let value = value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value);
            key.trim_ascii().eq_ignore_ascii_case(name.as_bytes()).then_some(value)
        })
    }
}

/// A text value as people read it: backslashes undone (RFC 5545 3.3.11), whatever is not UTF-8 replaced.
pub(super) fn text_of(value: &[u8]) -> String {
    let mut text = String::with_capacity(value.len());
    let lossy = String::from_utf8_lossy(value);
    let mut chars = lossy.chars();
    while let Some(c) = chars.next() {
        text.push(match c {
            '\\' => match chars.next() {
                Some('n' | 'N') => '\n',
                Some(c) => c,
                None => '\\',
            },
            c => c,
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(file: &[u8]) -> Vec<(u64, String)> {
        let mut lines = Lines::new(file).unwrap();
        let mut texts = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            texts.push((line.range.end, String::from_utf8_lossy(line.text).into_owned()));
        }
        texts
    }

    fn only_texts(file: &[u8]) -> Vec<String> {
        texts(file).into_iter().map(|t| t.1).collect()
    }

    #[test]
    fn folds_are_undone_whatever_ends_the_lines() {
        for end in ["\n", "\r\n", "\r", "\r\r\n"] {
            let file = ["A:1", " 2", "\t3", "", " x", "B:4"].join(end);
            assert_eq!(only_texts(file.as_bytes()), ["A:123", "", " x", "B:4"], "{end:?}");
            assert_eq!(texts(file.as_bytes()).last().unwrap().0, file.len() as u64);
        }
        assert_eq!(only_texts(b"A:1\rB:2\nC:3"), ["A:1\rB:2", "C:3"], "a CR inside of a line ends nothing");
    }

    #[test]
    fn a_byte_order_mark_belongs_to_no_line() {
        let mut lines = Lines::new(&b"\xef\xbb\xbfA:1\n"[..]).unwrap();
        assert_eq!(lines.next().unwrap().unwrap(), Line { range: 3..7, text: b"A:1" });
    }

    #[test]
    fn quoted_printable_goes_on_after_an_equals_sign() {
        assert_eq!(
            only_texts(b"NOTE;QUOTED-PRINTABLE:a=\r\nEND:VCARD=\r\n\r\nX:1=\nY:2"),
            ["NOTE;QUOTED-PRINTABLE:aEND:VCARD", "X:1=", "Y:2"]
        );
    }

    #[test]
    fn a_line_of_any_length_takes_little_memory() {
        let mut lines = Lines::new(io::repeat(b'x').take(10 << 20).chain(&b"=\nEND:X"[..])).unwrap();
        let line = lines.next().unwrap().unwrap();
        assert_eq!((line.text.len(), line.range), (MAX_TEXT, 0..(10 << 20) + 2));
        assert_eq!(lines.next().unwrap().unwrap().text, b"END:X");
    }

    #[test]
    fn quotes_hide_colons_and_semicolons() {
        let line = Property::of(b"dtstart;X=1;tzid=\"a:b;c\":20240101");
        assert!(line.is("DTSTART"));
        assert_eq!((line.param("TZID"), line.value), (Some(&b"a:b;c"[..]), &b"20240101"[..]));
        assert_eq!(Property::of(b"A;B=\"c:d").value, b"d", "a quote that is never closed quotes nothing");
        assert_eq!(Property::of(b"BEGIN : VEVENT ").value, b"VEVENT");
        assert_eq!(text_of(b"a\\, b\\nc\\\\ \xff\\"), "a, b\nc\\ \u{fffd}\\");
    }
}
