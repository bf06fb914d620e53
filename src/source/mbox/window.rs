//! A window that slides over a file: bounded memory, never mapped, so that a file cut short while it is read is an error
//! and not a signal.

use std::fs::File;
use std::io;

use xxhash_rust::xxh3::Xxh3;

/// Bytes that can be read at a position.
pub(super) trait ReadAt {
    /// Reads up to `buf.len()` bytes at `offset`; 0 only at the end.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
}

impl ReadAt for File {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(self, buf, offset)
    }
}

/// A file whose lines end in LF for whoever reads it: in one that has CR only, as on an old Mac, each CR is seen as LF.
/// No byte moves, so positions are those of the file.
pub(super) struct Lines<'a> {
    file: &'a File,
    cr_only: bool,
}

impl<'a> Lines<'a> {
    /// Bytes at the start that tell; only where they have CR and no LF is the rest looked through.
    const FIRST_BYTES: usize = 64 << 10;

    /// Over the first `size` bytes of a file.
    pub fn of(file: &'a File, size: u64) -> io::Result<Self> {
        let mut buffer = vec![0; usize::try_from(size).unwrap_or(usize::MAX).min(Self::FIRST_BYTES)];
        let mut at = 0;
        let mut cr_only = size > 0;
        while cr_only && at < size {
            let n = read_full_at(file, &mut buffer, at, size)?;
            let seen = buffer.get(..n).unwrap_or_default();
            cr_only = memchr::memchr(b'\n', seen).is_none() && (at > 0 || memchr::memchr(b'\r', seen).is_some());
            at += n as u64;
        }
        Ok(Lines { file, cr_only })
    }

    /// Do lines end in CR alone?
    pub fn cr_only(&self) -> bool {
        self.cr_only
    }
}

impl ReadAt for Lines<'_> {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let n = ReadAt::read_at(self.file, buf, offset)?;
        if self.cr_only {
            cr_as_lf(buf.get_mut(..n).unwrap_or_default());
        }
        Ok(n)
    }
}

/// Makes each CR an LF.
pub(super) fn cr_as_lf(bytes: &mut [u8]) {
    bytes.iter_mut().filter(|b| **b == b'\r').for_each(|b| *b = b'\n');
}

impl<S: ReadAt + ?Sized> ReadAt for &S {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        (**self).read_at(buf, offset)
    }
}

impl ReadAt for [u8] {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|at| self.get(at..)).unwrap_or_default();
        let n = rest.len().min(buf.len());
        if let (Some(to), Some(from)) = (buf.get_mut(..n), rest.get(..n)) {
            to.copy_from_slice(from);
        }
        Ok(n)
    }
}

/// Reads as much of `buf` as there is before `end`; a source that ends earlier is `UnexpectedEof`.
pub(super) fn read_full_at(source: &(impl ReadAt + ?Sized), buf: &mut [u8], offset: u64, end: u64) -> io::Result<usize> {
    let want = usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX).min(buf.len());
    let mut done = 0;
    while let Some(rest) = buf.get_mut(done..want).filter(|r| !r.is_empty()) {
        match source.read_at(rest, offset.saturating_add(done as u64)) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}

/// The bytes `base..base + bytes.len()` of a source, moving forward.
pub(super) struct Window<S> {
    source: S,
    buffer: Vec<u8>,
    filled: usize,
    base: u64,
    end: u64,
    hash: Option<Box<Xxh3>>,
}

impl<S: ReadAt> Window<S> {
    /// A window of `capacity` bytes over `source` from `start` to `end`. `hash` takes in every byte that is read.
    pub fn new(source: S, start: u64, end: u64, capacity: usize, hash: Option<Box<Xxh3>>) -> Self {
        // No more memory than the file needs: a store may have thousands of small files.
        let capacity = usize::try_from(end.saturating_sub(start)).unwrap_or(usize::MAX).min(capacity);
        Window { source, buffer: vec![0; capacity], filled: 0, base: start, end, hash }
    }

    /// The bytes in the window.
    pub fn bytes(&self) -> &[u8] {
        self.buffer.get(..self.filled).unwrap_or_default()
    }

    /// Position of the window's first byte.
    pub fn base(&self) -> u64 {
        self.base
    }

    /// Position after the window's last byte.
    pub fn limit(&self) -> u64 {
        self.base.saturating_add(self.filled as u64)
    }

    /// Position after the source's last byte.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Does the window reach the end of the source?
    pub fn at_end(&self) -> bool {
        self.limit() >= self.end
    }

    /// The bytes from `from` up to `to`, as far as they are in the window.
    pub fn slice(&self, from: u64, to: u64) -> &[u8] {
        let at = |position: u64| usize::try_from(position.saturating_sub(self.base)).unwrap_or(usize::MAX).min(self.filled);
        self.buffer.get(at(from)..at(to)).unwrap_or_default()
    }

    /// Lets go of everything before `keep_from` and reads on until the window is full or the source ends.
    pub fn slide(&mut self, keep_from: u64) -> io::Result<()> {
        let drop = usize::try_from(keep_from.saturating_sub(self.base)).unwrap_or(usize::MAX).min(self.filled);
        self.buffer.copy_within(drop..self.filled, 0);
        self.filled -= drop;
        self.base = self.base.saturating_add(drop as u64);
        let from = self.filled;
        let limit = self.limit();
        let read = read_full_at(&self.source, self.buffer.get_mut(from..).unwrap_or_default(), limit, self.end)?;
        self.filled = from.saturating_add(read);
        if let Some(hash) = &mut self.hash {
            hash.update(self.buffer.get(from..self.filled).unwrap_or_default());
        }
        Ok(())
    }

    /// Reads somewhere else, without moving.
    pub fn peek(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        read_full_at(&self.source, buf, offset, self.end)
    }

    /// The hash of everything read, once the window has reached the end.
    pub fn finish(self) -> Option<u128> {
        self.hash.filter(|_| self.base.saturating_add(self.filled as u64) >= self.end).map(|h| h.digest128())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_ends_early_is_an_error_not_a_signal() {
        let mut window = Window::new(b"abc".as_slice(), 0, 10, 4, None);
        assert_eq!(window.slide(0).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn sliding_keeps_what_is_asked_for() {
        let mut window = Window::new(b"abcdefgh".as_slice(), 0, 8, 4, Some(Box::default()));
        window.slide(0).unwrap();
        assert_eq!((window.bytes(), window.base()), (b"abcd".as_slice(), 0));
        window.slide(3).unwrap();
        assert_eq!((window.bytes(), window.at_end()), (b"defg".as_slice(), false));
        assert_eq!(window.slice(4, 6), b"ef");
        window.slide(7).unwrap();
        assert_eq!((window.bytes(), window.at_end()), (b"h".as_slice(), true));
        assert_eq!(window.finish(), Some(xxhash_rust::xxh3::xxh3_128(b"abcdefgh")));
    }
}
