//! What a container did to an item's bytes, and how to undo it: From-quoting in mboxes, compression in Maildirs.
//!
//! Undoing is always exact: applying the coding to the result gives the stored bytes again (for compression: decompressing
//! does, the compressed bytes themselves are not kept).

use std::borrow::Cow;
use std::io::{self, BufRead, BufReader, Read};

use memchr::memmem;

/// What must be undone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Coding {
    /// Nothing: the stored bytes are the item.
    #[default]
    Plain,
    /// In the body, lines of `>`s and `From ` carry one `>` too many (mboxrd, and mboxcl by some programs).
    FromQuoted,
    /// In the body, lines that begin with `>From ` carry one `>` too many, those with more of them do not (mboxo).
    FromQuotedOnce,
    /// gzip (RFC 1952).
    Gzip,
    /// Zstandard (RFC 8878).
    Zstd,
    /// bzip2.
    Bzip2,
}

impl Coding {
    /// The coding that a file's first bytes announce; `Plain` when none.
    pub fn of_magic(first: &[u8]) -> Self {
        match first {
            [0x1f, 0x8b, 8, ..] => Coding::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Coding::Zstd,
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, 0x53, 0x59, ..] => Coding::Bzip2,
            _ => Coding::Plain,
        }
    }

    /// Can undoing it give far more bytes than are stored?
    pub fn is_compressed(self) -> bool {
        matches!(self, Coding::Gzip | Coding::Zstd | Coding::Bzip2)
    }

    /// Undoes the coding of bytes in memory, to at most `max_bytes`.
    ///
    /// # Errors
    /// `InvalidData` for a damaged stream, `FileTooLarge` when the result would be over `max_bytes`.
    pub fn undo<'a>(self, stored: &'a [u8], max_bytes: u64) -> io::Result<Cow<'a, [u8]>> {
        match self {
            Coding::Plain => Ok(Cow::Borrowed(stored)),
            Coding::FromQuoted => Ok(unquote_from(stored, usize::MAX)),
            Coding::FromQuotedOnce => Ok(unquote_from(stored, 1)),
            Coding::Gzip | Coding::Zstd | Coding::Bzip2 => {
                let mut out = Vec::new();
                self.reader(stored)?.take(max_bytes.saturating_add(1)).read_to_end(&mut out)?;
                if out.len() as u64 > max_bytes {
                    return Err(io::Error::new(io::ErrorKind::FileTooLarge, "decompresses to more than the limit"));
                }
                Ok(Cow::Owned(out))
            }
        }
    }

    /// Undoes the coding of a stream in bounded memory.
    ///
    /// # Errors
    /// When the decompressor cannot be set up; damage shows as errors of the reader.
    pub fn reader<'a>(self, stored: impl Read + Send + 'a) -> io::Result<Box<dyn Read + Send + 'a>> {
        Ok(match self {
            Coding::Plain => Box::new(stored),
            Coding::FromQuoted => Box::new(Unquoting::new(stored, usize::MAX)),
            Coding::FromQuotedOnce => Box::new(Unquoting::new(stored, 1)),
            Coding::Gzip => Box::new(flate2::read::MultiGzDecoder::new(stored)),
            Coding::Bzip2 => Box::new(bzip2::read::MultiBzDecoder::new(stored)),
            Coding::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::new(stored)?;
                decoder.window_log_max(27)?;
                Box::new(decoder)
            }
        })
    }
}

/// Where the body begins: after the first empty line, or at the end.
pub(super) fn body_start(message: &[u8]) -> usize {
    let mut at = 0;
    while at < message.len() {
        let end = memchr::memchr(b'\n', &message[at..]).map_or(message.len(), |i| at + i + 1);
        if matches!(&message[at..end], b"\n" | b"\r\n") {
            return end;
        }
        at = end;
    }
    message.len()
}

/// True if the bytes are `>` at least once and at most `max_quotes` times, then `From `.
fn is_quoted_from(line: &[u8], max_quotes: usize) -> bool {
    let quotes = line.iter().take_while(|&&b| b == b'>').count();
    quotes > 0 && quotes <= max_quotes && line[quotes..].starts_with(b"From ")
}

/// Takes one `>` off every `From ` line of the body that has no more than `max_quotes` of them.
fn unquote_from(message: &[u8], max_quotes: usize) -> Cow<'_, [u8]> {
    let body = body_start(message);
    let finder = memmem::Finder::new(b">From ");
    let mut cuts = Vec::new();
    for hit in finder.find_iter(&message[body..]) {
        let hit = body + hit;
        let start = message[body..hit].iter().rposition(|&b| b != b'>').map_or(body, |i| body + i + 1);
        if (start == body || message[start - 1] == b'\n') && hit - start < max_quotes {
            cuts.push(start);
        }
    }
    if cuts.is_empty() {
        return Cow::Borrowed(message);
    }
    let mut out = Vec::with_capacity(message.len() - cuts.len());
    let mut at = 0;
    for cut in cuts {
        out.extend_from_slice(&message[at..cut]);
        at = cut + 1;
    }
    out.extend_from_slice(&message[at..]);
    Cow::Owned(out)
}

/// Streaming form of [`unquote_from`].
struct Unquoting<R: Read> {
    inner: BufReader<R>,
    max_quotes: usize,
    in_body: bool,
    at_line_start: bool,
    line: Vec<u8>,
    given: usize,
}

impl<R: Read> Unquoting<R> {
    /// Bytes of a line that are looked at in one piece; longer lines pass in several.
    const PIECE_BYTES: u64 = 64 * 1024;

    fn new(inner: R, max_quotes: usize) -> Self {
        Unquoting {
            inner: BufReader::with_capacity(1 << 16, inner),
            max_quotes,
            in_body: false,
            at_line_start: true,
            line: Vec::new(),
            given: 0,
        }
    }

    fn next_piece(&mut self) -> io::Result<()> {
        self.line.clear();
        self.given = 0;
        (&mut self.inner).take(Self::PIECE_BYTES).read_until(b'\n', &mut self.line)?;
        if self.at_line_start {
            if self.in_body && is_quoted_from(&self.line, self.max_quotes) {
                self.given = 1;
            } else if matches!(self.line.as_slice(), b"\n" | b"\r\n") {
                self.in_body = true;
            }
        }
        self.at_line_start = self.line.last() == Some(&b'\n');
        Ok(())
    }
}

impl<R: Read> Read for Unquoting<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.given >= self.line.len() {
            self.next_piece()?;
        }
        let rest = &self.line[self.given..];
        let n = rest.len().min(out.len());
        out[..n].copy_from_slice(&rest[..n]);
        self.given += n;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_quote_comes_off_in_the_body_only() {
        let stored = b">From x: y\nA: b\n\n>From a\n>>From b\n >From c\nx>From d\n>From";
        let want = b">From x: y\nA: b\n\nFrom a\n>From b\n >From c\nx>From d\n>From";
        assert_eq!(&*Coding::FromQuoted.undo(stored, u64::MAX).unwrap(), want);
        let once = b">From x: y\nA: b\n\nFrom a\n>>From b\n >From c\nx>From d\n>From";
        assert_eq!(&*Coding::FromQuotedOnce.undo(stored, u64::MAX).unwrap(), once);
    }

    proptest! {
        #[test]
        fn stream_and_memory_agree(parts in proptest::collection::vec(prop_oneof![
            Just(b">From ".to_vec()), Just(b"\n".to_vec()), Just(b"\r\n".to_vec()), Just(b">".to_vec()), any::<Vec<u8>>()], 0..60)) {
            let stored = parts.concat();
            for coding in [Coding::FromQuoted, Coding::FromQuotedOnce] {
                let mut streamed = Vec::new();
                coding.reader(stored.as_slice()).unwrap().read_to_end(&mut streamed).unwrap();
                prop_assert_eq!(&*coding.undo(&stored, u64::MAX).unwrap(), streamed.as_slice());
            }
        }
    }

    #[test]
    fn what_is_compressed_is_known_by_its_first_bytes_and_comes_back() {
        use std::io::Write as _;
        let text = b"Subject: a\n\nb\n".repeat(50);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&text).unwrap();
        let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        bzip2.write_all(&text).unwrap();
        let zstd = zstd::bulk::compress(&text, 3).unwrap();
        for (coding, stored) in
            [(Coding::Gzip, gzip.finish().unwrap()), (Coding::Bzip2, bzip2.finish().unwrap()), (Coding::Zstd, zstd)]
        {
            assert_eq!(Coding::of_magic(&stored), coding);
            assert_eq!(*coding.undo(&stored, 1 << 20).unwrap(), text);
            assert!(coding.is_compressed() && coding.undo(stored.get(..20).unwrap(), 1 << 20).is_err());
        }
        assert_eq!(Coding::of_magic(b"BZh9 is a word"), Coding::Plain);
    }

    #[test]
    fn a_compressed_bomb_stops_at_the_limit() {
        let bomb = zstd::bulk::compress(&vec![0; 1 << 20], 3).unwrap();
        assert_eq!(Coding::of_magic(&bomb), Coding::Zstd);
        assert_eq!(Coding::Zstd.undo(&bomb, 1 << 20).unwrap().len(), 1 << 20);
        assert_eq!(Coding::Zstd.undo(&bomb, (1 << 20) - 1).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }
}
