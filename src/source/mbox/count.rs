//! Counting messages by a second way, which shares no code with the splitter.
//!
//! Every line start with `From ` is a candidate; small files get them from the crate mbox-reader, which maps the file and
//! so works on a private copy, large ones from a scan of our own. What mbox-reader cannot know is decided here with rules
//! simpler than the splitter's: an empty line before, a date by the look of its words, and lengths that land on a
//! candidate. Where both ways differ, one of them is wrong, and the ledger says so.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use memchr::{memchr, memmem};

/// Files up to this size go through mbox-reader.
const SMALL_BYTES: u64 = 1 << 20;
/// Bytes read at a time.
const BLOCK_BYTES: usize = 1 << 20;
/// Longest From_ line, as in other mail programs.
const LINE_BYTES: u64 = 4096;
/// Longest header in which a length is looked for.
const HEADER_BYTES: u64 = 256 << 10;

/// Counts the messages among the first `size` bytes of a file, and what stands before the first as one more.
///
/// # Errors
/// When the file cannot be read, or is shorter than `size`.
pub(super) fn count(file: &File, size: u64) -> io::Result<u64> {
    count_with(file, size, SMALL_BYTES)
}

/// Counts; files up to `small_bytes` with mbox-reader, others with the scan.
pub(super) fn count_with(file: &File, size: u64, small_bytes: u64) -> io::Result<u64> {
    let bytes = Bytes { file, size, old_mac: is_old_mac(file, size)? };
    let Some(first) = bytes.first_visible()? else { return Ok(0) };
    // Blank space may stand before the first line, but not in it.
    let at_line_start =
        bytes.get(first.saturating_sub(1), u64::from(first > 0))?.last().is_none_or(|b| matches!(b, b'\n' | 0xbf));
    let first = at_line_start.then_some(first);
    if let Some(first) = first
        && let Some(length) = bytes.delimiter_at(first)?
    {
        return bytes.count_delimited(first + length);
    }
    let mut tally = Tally { bytes: &bytes, first, count: 0, before: true, text_until: 0 };
    // After a byte order mark no scan sees a line start.
    if let Some(first) = first {
        tally.look_at(first)?;
    }
    if size <= small_bytes {
        for at in candidates_of_crate(&bytes)? {
            tally.look_at(at)?;
        }
    } else {
        bytes.each_line_start(b"From ", |at| tally.look_at(at))?;
    }
    // A file without any separator is junk from end to end.
    Ok(if tally.before { 1 } else { tally.count })
}

/// Where mbox-reader finds `From ` at line starts.
fn candidates_of_crate(bytes: &Bytes<'_>) -> io::Result<Vec<u64>> {
    // Mapping a file that another program cuts short kills the process, so a copy that nobody knows is mapped. It lies in memory only, so
    // that nothing of a source is left readable on a disk where the archive is encrypted, also when the run is killed.
    let mut copy = File::from(rustix::fs::memfd_create("floe", rustix::fs::MemfdFlags::CLOEXEC)?);
    let content = bytes.get(0, bytes.size)?;
    copy.write_all(&content)?;
    let mapped = mbox_reader::MboxFile::from_file(Path::new(&format!("/proc/self/fd/{}", copy.as_raw_fd())))?;
    // It gives the offset of the entry after the one it yields, and never yields the last: so these are all but the first.
    let first = content.starts_with(b"From ").then_some(0);
    Ok(first.into_iter().chain(mapped.iter().map(|entry| entry.offset() as u64)).collect())
}

/// Has the file CR and nowhere LF?
fn is_old_mac(file: &File, size: u64) -> io::Result<bool> {
    let plain = Bytes { file, size, old_mac: false };
    let (mut at, mut any) = (0, false);
    while at < size {
        let block = plain.get(at, 64 << 10)?;
        any |= block.contains(&b'\r');
        if !any || block.contains(&b'\n') {
            return Ok(false);
        }
        at += block.len() as u64;
    }
    Ok(any)
}

/// The file as far as it is counted.
struct Bytes<'a> {
    file: &'a File,
    size: u64,
    /// Lines end in CR alone; it is read as LF then.
    old_mac: bool,
}

impl Bytes<'_> {
    fn read(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, at)?;
        for byte in buffer.iter_mut().filter(|_| self.old_mac) {
            *byte = if *byte == b'\r' { b'\n' } else { *byte };
        }
        Ok(())
    }

    /// Up to `length` bytes at `at`.
    fn get(&self, at: u64, length: u64) -> io::Result<Vec<u8>> {
        let length = length.min(self.size.saturating_sub(at));
        let mut buffer = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        self.read(&mut buffer, at)?;
        Ok(buffer)
    }

    /// The first byte that is neither blank nor a byte order mark.
    fn first_visible(&self) -> io::Result<Option<u64>> {
        let mut at = if self.get(0, 3)? == b"\xef\xbb\xbf" { 3 } else { 0 };
        while at < self.size {
            let block = self.get(at, BLOCK_BYTES as u64)?;
            if let Some(n) = block.iter().position(|b| !b.is_ascii_whitespace()) {
                return Ok(Some(at + n as u64));
            }
            at += block.len() as u64;
        }
        Ok(None)
    }

    /// Calls `look` for every place where a line starts with `word`.
    fn each_line_start(&self, word: &[u8], mut look: impl FnMut(u64) -> io::Result<()>) -> io::Result<()> {
        let finder = memmem::Finder::new(word);
        let overlap = word.len();
        let mut block = vec![0; BLOCK_BYTES];
        let mut at = 0;
        loop {
            let length = usize::try_from(self.size - at).unwrap_or(usize::MAX).min(BLOCK_BYTES);
            let view = block.get_mut(..length).unwrap_or_default();
            self.read(view, at)?;
            for hit in finder.find_iter(view) {
                let before = hit.checked_sub(1).and_then(|i| view.get(i));
                if before == Some(&b'\n') || (hit == 0 && at == 0) {
                    look(at + hit as u64)?;
                }
            }
            if at + length as u64 >= self.size {
                return Ok(());
            }
            at += (length - overlap) as u64;
        }
    }

    /// The length of the MMDF delimiter line at `at`, if there is one.
    fn delimiter_at(&self, at: u64) -> io::Result<Option<u64>> {
        let view = self.get(at, 6)?;
        Ok(match view.strip_prefix(b"\x01\x01\x01\x01") {
            Some([b'\n', ..]) => Some(5),
            Some(b"\r\n") => Some(6),
            Some([]) if at < self.size => Some(4),
            _ => None,
        })
    }

    /// Counts the stretches between delimiter lines that hold anything.
    fn count_delimited(&self, start: u64) -> io::Result<u64> {
        let mut count = 0;
        let mut since = start;
        let tell = |from: u64, to: u64| -> io::Result<u64> {
            let length = to.saturating_sub(from);
            let seen = self.get(from, length.min(HEADER_BYTES))?;
            Ok(u64::from(length > HEADER_BYTES || seen.iter().any(|b| !b.is_ascii_whitespace())))
        };
        self.each_line_start(b"\x01\x01\x01\x01", |at| {
            if let Some(length) = self.delimiter_at(at)?
                && at >= since
            {
                count += tell(since, at)?;
                since = at + length;
            }
            Ok(())
        })?;
        Ok(count + tell(since, self.size)?)
    }

    /// The line at `at` without its end, and what follows it.
    fn lines_at(&self, at: u64) -> io::Result<Option<(Vec<u8>, Vec<u8>)>> {
        let view = self.get(at, LINE_BYTES + 200)?;
        let end = match memchr(b'\n', &view) {
            Some(n) => n,
            None if at + view.len() as u64 == self.size => view.len(),
            None => return Ok(None),
        };
        let (line, rest) = view.split_at(end);
        let next = rest.get(1..).unwrap_or_default().to_vec();
        Ok((line.len() as u64 <= LINE_BYTES + 1).then(|| (line.strip_suffix(b"\r").unwrap_or(line).to_vec(), next)))
    }

    fn is_separator(&self, at: u64, first: bool) -> io::Result<bool> {
        Ok(self.lines_at(at)?.is_some_and(|(line, next)| {
            line.starts_with(b"From ") && (looks_like_from_line(&line, &next) || first && has_colon_name(&next))
        }))
    }

    /// Does an empty line stand before `at`?
    fn empty_line_before(&self, at: u64) -> io::Result<bool> {
        let before = self.get(at.saturating_sub(3), at.min(3))?;
        Ok(before.ends_with(b"\n\n") || before.ends_with(b"\n\r\n"))
    }

    /// Where the text of the message whose header starts at `at` ends by its own word, if a separator or the end is there.
    fn stated_end(&self, at: u64) -> io::Result<Option<u64>> {
        let mut length = 8 << 10;
        let header = loop {
            let header = self.get(at, length)?;
            match end_of_header(&header) {
                Some(end) => break header.get(..end).unwrap_or_default().to_vec(),
                None if length >= HEADER_BYTES || at + length >= self.size => return Ok(None),
                None => length = HEADER_BYTES,
            }
        };
        let lines = header.split(|&b| b == b'\n');
        let stated = lines.clone().zip(lines.skip(1)).filter_map(|(line, next)| {
            let (name, value) = line.split_at_checked(14)?;
            let value = value.trim_ascii_start().strip_prefix(b":")?.trim_ascii();
            // A value that goes on in the next line is no number.
            let folded = next.starts_with(b" ") || next.starts_with(b"\t");
            let number = std::str::from_utf8(value).ok().filter(|_| !folded).and_then(|v| v.parse::<u64>().ok());
            name.eq_ignore_ascii_case(b"content-length").then_some(number)
        });
        let Some(end) =
            stated.last().flatten().and_then(|n| n.checked_add(at + header.len() as u64)).filter(|end| *end <= self.size)
        else {
            return Ok(None);
        };
        let around = self.get(end - 1, 3)?;
        let next = match around.get(1..) {
            Some([b'\n', ..]) => end + 1,
            Some(b"\r\n") => end + 2,
            _ if around.first() == Some(&b'\n') || end == self.size => end,
            _ => return Ok(None),
        };
        Ok((next == self.size || self.is_separator(next, false)?).then_some(next))
    }
}

/// Goes from candidate to candidate.
struct Tally<'a> {
    bytes: &'a Bytes<'a>,
    first: Option<u64>,
    count: u64,
    before: bool,
    /// Everything before this belongs to a message whose length is known.
    text_until: u64,
}

impl Tally<'_> {
    fn look_at(&mut self, at: u64) -> io::Result<()> {
        if self.count > 0 && Some(at) == self.first {
            return Ok(());
        }
        let known = at == self.text_until && self.text_until > 0;
        if at < self.text_until {
            return Ok(());
        }
        let leads = Some(at) == self.first;
        if !(leads || known || self.bytes.empty_line_before(at)?) || !self.bytes.is_separator(at, leads)? {
            return Ok(());
        }
        if self.before && !leads {
            self.count += 1;
        }
        self.before = false;
        self.count += 1;
        let line = self.bytes.get(at, LINE_BYTES + 1)?;
        let header = at + memchr(b'\n', &line).map_or(line.len(), |n| n + 1) as u64;
        self.text_until = self.bytes.stated_end(header)?.unwrap_or_default();
        Ok(())
    }
}

fn end_of_header(header: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let rest = header.get(at..)?;
        match rest {
            [b'\n', ..] => return Some(at + 1),
            [b'\r', b'\n', ..] => return Some(at + 2),
            _ => at += memchr(b'\n', rest)? + 1,
        }
    }
}

fn has_colon_name(line: &[u8]) -> bool {
    line.iter().take(80).position(|&b| b == b':').is_some_and(|n| n > 0 && line.iter().take(n).all(u8::is_ascii_graphic))
}

/// Does the line end in words that make a date, with one sender before them?
fn looks_like_from_line(line: &[u8], next: &[u8]) -> bool {
    let text = String::from_utf8_lossy(line.get(5..).unwrap_or_default());
    let mut words: Vec<&str> = text.split_ascii_whitespace().take(41).collect();
    if words.len() > 40 {
        return false;
    }
    if words.len() >= 3 && words.get(words.len() - 3..words.len() - 1) == Some(&["remote", "from"]) {
        words.truncate(words.len() - 3);
    }
    let header_follows = has_colon_name(next);
    let Some(time) = words.iter().position(|w| is_time(w) || is_iso(w) && w.contains('T')) else {
        return words.len() == 1
            && header_follows
            && words.iter().all(|w| w.contains('@') && !w.starts_with(':') || *w == "-" || *w == "MAILER-DAEMON");
    };
    let (head, tail) = words.split_at(time);
    let tail_fits = tail.iter().skip(1).all(|w| is_number(w) || is_zone(w));
    let date_words = head.iter().rev().take_while(|w| is_number(w) || is_month(w) || is_weekday(w) || is_dated(w)).count();
    let (sender, date) = head.split_at(head.len() - date_words);
    let month = date.iter().any(|w| is_month(w) || is_dated(w)) || tail.first().is_some_and(|w| is_iso(w));
    // A day and a year, before or after the time; a dashed date holds both.
    let numbers = date.iter().chain(tail.iter().skip(1)).filter(|w| is_number(w)).count();
    let complete = month && (numbers >= 2 || date.iter().any(|w| is_dated(w)) || tail.first().is_some_and(|w| is_iso(w)));
    let one_sender = match sender {
        [] | [_] | [_, "at", _] => true,
        [first, .., last] => first.starts_with('"') && last.contains('"'),
    };
    tail_fits && complete && (one_sender || header_follows)
}

fn is_time(word: &str) -> bool {
    let mut parts = word.split(':');
    let digits = |part: Option<&str>| part.is_some_and(|p| (1..=2).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_digit()));
    digits(parts.next()) && digits(parts.next()) && !word.contains(['@', '-'])
}

fn is_iso(word: &str) -> bool {
    let bytes = word.as_bytes();
    bytes.len() >= 10
        && bytes.get(4) == Some(&b'-')
        && bytes.get(7) == Some(&b'-')
        && bytes.iter().take(4).all(u8::is_ascii_digit)
}

fn is_dated(word: &str) -> bool {
    is_iso(word) || word.split('-').count() == 3 && word.split('-').nth(1).is_some_and(is_month)
}

fn is_number(word: &str) -> bool {
    let word = word.trim_end_matches(',');
    matches!(word.len(), 1 | 2 | 4) && word.bytes().all(|b| b.is_ascii_digit())
}

fn is_name(word: &str, names: &[&str]) -> bool {
    let word = word.trim_end_matches(',').to_ascii_lowercase();
    word.len() >= 3 && names.iter().any(|name| *name == word || word.len() == 3 && name.starts_with(&word))
}

fn is_month(word: &str) -> bool {
    const MONTHS: [&str; 12] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    is_name(word, &MONTHS)
}

fn is_weekday(word: &str) -> bool {
    is_name(word, &["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"])
}

fn is_zone(word: &str) -> bool {
    let word = word.trim_matches(|c| matches!(c, '(' | ')'));
    let letters = !word.is_empty() && word.len() <= 6 && word.bytes().all(|b| b.is_ascii_alphabetic());
    letters || word.contains(['+', '-']) && word.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len() >= 5
}
