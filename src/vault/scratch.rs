//! A nameless file for the time of a run. Beside an encrypted archive it is encrypted too, with a key that only this process has.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt as _;
use std::sync::{Mutex, PoisonError};

use super::stream::{CHUNK_BYTES, SEALED_BYTES, StreamKey};
use crate::error::{Error, Kind, Result};

/// Written from beginning to end, then read anywhere.
pub struct Scratch {
    file: File,
    bytes: u64,
    sealed: Option<Sealed>,
}

struct Sealed {
    key: StreamKey,
    /// Chunks in the file.
    chunks: u64,
    /// What does not fill a chunk yet.
    rest: Vec<u8>,
    /// The chunk read last: lines are mostly asked for in their order.
    last: Mutex<Option<(u64, Vec<u8>)>>,
}

impl Scratch {
    /// In this file; `sealed` if nothing may lie there in clear.
    pub(super) fn new(file: File, sealed: bool) -> Result<Self> {
        let seal = || Ok(Sealed { key: StreamKey::random()?, chunks: 0, rest: Vec::new(), last: Mutex::default() });
        Ok(Scratch { file, bytes: 0, sealed: sealed.then(seal).transpose()? })
    }

    /// Bytes written.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Fills the buffer from `offset` on.
    ///
    /// # Errors
    /// `Kind::Storage` when the file cannot be read or ends before.
    pub fn read_exact_at(&self, mut buffer: &mut [u8], mut offset: u64) -> Result<()> {
        let failed = |e: std::io::Error| Error::new(Kind::Storage, "cannot read a file of this run").because(e);
        let Some(sealed) = &self.sealed else { return self.file.read_exact_at(buffer, offset).map_err(failed) };
        while !buffer.is_empty() {
            let (number, skip) = (offset / CHUNK_BYTES as u64, (offset % CHUNK_BYTES as u64) as usize);
            let copied = sealed.chunk(&self.file, number, &mut |chunk| {
                let from = chunk.get(skip..).unwrap_or_default();
                let bytes = from.len().min(buffer.len());
                buffer[..bytes].copy_from_slice(&from[..bytes]);
                bytes
            });
            match copied.map_err(failed)? {
                0 => return Err(failed(std::io::ErrorKind::UnexpectedEof.into())),
                bytes => {
                    buffer = &mut buffer[bytes..];
                    offset += bytes as u64;
                }
            }
        }
        Ok(())
    }
}

impl Sealed {
    fn chunk(&self, file: &File, number: u64, give: &mut dyn FnMut(&[u8]) -> usize) -> std::io::Result<usize> {
        if number >= self.chunks {
            return Ok(if number == self.chunks { give(&self.rest) } else { 0 });
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref().is_none_or(|(n, _)| *n != number) {
            let mut chunk = vec![0u8; SEALED_BYTES];
            file.read_exact_at(&mut chunk, number * SEALED_BYTES as u64)?;
            let clear = self.key.open(number, false, &mut chunk).ok_or(std::io::ErrorKind::InvalidData)?.len();
            chunk.truncate(clear);
            *last = Some((number, chunk));
        }
        Ok(last.as_ref().map_or(0, |(_, chunk)| give(chunk)))
    }
}

impl Write for Scratch {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let Some(sealed) = &mut self.sealed else {
            let n = self.file.write(bytes)?;
            self.bytes += n as u64;
            return Ok(n);
        };
        let taken = bytes.len().min(CHUNK_BYTES - sealed.rest.len());
        sealed.rest.extend_from_slice(&bytes[..taken]);
        if sealed.rest.len() == CHUNK_BYTES {
            sealed.key.seal(sealed.chunks, false, &mut sealed.rest).map_err(std::io::Error::other)?;
            self.file.write_all(&sealed.rest)?;
            sealed.chunks += 1;
            sealed.rest.clear();
        }
        self.bytes += taken as u64;
        Ok(taken)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_anywhere_and_lies_nowhere_in_clear() {
        let text: Vec<u8> = (0..200_000u32).flat_map(|n| format!("{n} words\n").into_bytes()).collect();
        for sealed in [false, true] {
            let file = tempfile::NamedTempFile::new().expect("file");
            let mut scratch = Scratch::new(file.reopen().expect("file"), sealed).expect("scratch");
            for piece in text.chunks(7001) {
                scratch.write_all(piece).expect("written");
            }
            assert_eq!(scratch.bytes(), text.len() as u64);
            for (at, length) in
                [(0, text.len()), (65_535, 2), (65_536, 65_536), (text.len() - 5, 5), (text.len(), 0), (100_000, 1)]
            {
                let mut got = vec![0; length];
                scratch.read_exact_at(&mut got, at as u64).expect("read");
                assert!(got == text[at..at + length], "{at} {length}");
            }
            assert!(scratch.read_exact_at(&mut [0; 6], text.len() as u64 - 5).is_err());
            let there = std::fs::read(file.path()).expect("read");
            assert_eq!(memchr::memmem::find(&there, b"words").is_none(), sealed);
        }
    }
}
