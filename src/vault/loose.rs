//! An age file by itself, under whatever name and in whatever state: each of its chunks that is whole can be read, for each is sealed by
//! itself. Only its header has to be there.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use super::header::{self, Closed, HEADER_MAX_BYTES};
use super::keys::Keys;
use super::stream::{CHUNK_BYTES, SEALED_BYTES, StreamKey, TAG_BYTES};

/// What is encrypted in a file.
pub struct Loose {
    key: StreamKey,
    begins: u64,
    /// Bytes of the chunks with their tags.
    sealed: u64,
    /// Chunks that were read and are not whole.
    broken: RefCell<BTreeSet<u64>>,
    /// Was the last chunk that is there not written as the last one?
    cut: Cell<bool>,
}

impl Loose {
    /// Opens a file of `bytes` bytes; or says why that cannot be done with these keys.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn open(file: &File, bytes: u64, keys: &Keys) -> io::Result<Result<Self, String>> {
        let mut head = vec![0u8; bytes.min(HEADER_MAX_BYTES as u64) as usize];
        file.read_exact_at(&mut head, 0)?;
        Ok(match header::open_damaged(&head, &keys.identities) {
            Ok((begins, key)) => {
                let (begins, broken, cut) = (begins as u64, RefCell::default(), Cell::new(false));
                Ok(Loose { key, begins, sealed: bytes - begins, broken, cut })
            }
            Err(Closed::NoKey) => Err("none of the keys given opens it, or its header is damaged".to_owned()),
            Err(Closed::Damaged(why)) => Err(format!("its header is damaged ({why})")),
        })
    }

    /// Bytes that it holds in clear, with those that are lost.
    pub fn bytes(&self) -> u64 {
        let (whole, rest) = (self.sealed / SEALED_BYTES as u64, self.sealed % SEALED_BYTES as u64);
        whole * CHUNK_BYTES as u64 + rest.saturating_sub(TAG_BYTES as u64)
    }

    /// Fills the buffer from `offset` of the clear text on; what is lost of it becomes zeros.
    ///
    /// # Errors
    /// When the file cannot be read, or ends before.
    pub fn read_exact_at(&self, file: &File, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        let mut chunk = vec![0u8; SEALED_BYTES];
        while !buffer.is_empty() {
            let (number, skip) = (offset / CHUNK_BYTES as u64, (offset % CHUNK_BYTES as u64) as usize);
            let begins = number * SEALED_BYTES as u64;
            let length = self.sealed.saturating_sub(begins).min(SEALED_BYTES as u64) as usize;
            let clear = length.saturating_sub(TAG_BYTES).saturating_sub(skip).min(buffer.len());
            if clear == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let (piece, rest) = buffer.split_at_mut(clear);
            file.read_exact_at(&mut chunk[..length], self.begins + begins)?;
            match self.chunk(number, begins + length as u64 == self.sealed, &mut chunk[..length]) {
                Some(bytes) if bytes >= skip + clear => piece.copy_from_slice(&chunk[skip..skip + clear]),
                _ => piece.fill(0),
            }
            offset += clear as u64;
            buffer = rest;
        }
        Ok(())
    }

    /// Opens a chunk in its place: the bytes at its beginning that are clear then.
    fn chunk(&self, number: u64, at_end: bool, sealed: &mut [u8]) -> Option<usize> {
        // Opening destroys what does not open, so the less likely way gets a copy.
        let mut again = if at_end { sealed.to_vec() } else { Vec::new() };
        if let Some(clear) = self.key.open(number, at_end, sealed) {
            return Some(clear.len());
        }
        if at_end && let Some(clear) = self.key.open(number, false, &mut again) {
            // The end of the file is missing, but not within a chunk.
            self.cut.set(true);
            sealed[..clear.len()].copy_from_slice(clear);
            return Some(clear.len());
        }
        self.broken.borrow_mut().insert(number);
        None
    }

    /// What of it was not whole, as far as it was read.
    pub fn damage(&self) -> Option<String> {
        let (broken, chunks) = (self.broken.borrow().len(), self.sealed.div_ceil(SEALED_BYTES as u64));
        match (broken, self.cut.get()) {
            (0, false) => None,
            (0, true) => Some("its end is missing".to_owned()),
            (broken, _) => Some(format!("{broken} of its {chunks} encrypted pieces of 64 KiB are damaged")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::keys::{Identity, Recipient};
    use super::super::stream::Sealer;
    use super::*;

    /// A file of these bytes for the keys' one identity.
    fn sealed(clear: &[u8]) -> (Vec<u8>, Keys) {
        let key = age::x25519::Identity::generate();
        let recipient: Recipient = key.to_public().to_string().parse().expect("recipient");
        let (mut file, stream) = header::new(&[recipient], None).expect("header");
        let mut sealer = Sealer::new(stream);
        let mut give = |chunk: &[u8]| {
            file.extend_from_slice(chunk);
            Ok(())
        };
        sealer.push(clear, &mut give).expect("sealed");
        sealer.finish(&mut give).expect("sealed");
        (file, Keys { identities: vec![Identity::of(key)], passphrase: None })
    }

    fn read(bytes: &[u8], keys: &Keys) -> Result<(Vec<u8>, Option<String>), String> {
        let file = tempfile::tempfile().expect("file");
        file.write_all_at(bytes, 0).expect("written");
        let loose = Loose::open(&file, bytes.len() as u64, keys).expect("read")?;
        let mut clear = vec![1; loose.bytes() as usize];
        loose.read_exact_at(&file, &mut clear, 0).expect("read");
        // The same in small pieces.
        for at in (0..clear.len()).step_by(50_001) {
            let mut piece = vec![1; 50_001.min(clear.len() - at)];
            loose.read_exact_at(&file, &mut piece, at as u64).expect("read");
            assert!(clear[at..at + piece.len()] == piece, "{at}");
        }
        assert!(loose.read_exact_at(&file, &mut [0; 2], loose.bytes().saturating_sub(1)).is_err());
        Ok((clear, loose.damage()))
    }

    #[test]
    fn damage_costs_the_chunks_that_it_is_in() {
        let text: Vec<u8> = (0..300_000u32).map(|n| (n % 251) as u8 | 1).collect();
        let (file, keys) = sealed(&text);
        assert_eq!(read(&file, &keys), Ok((text.clone(), None)));
        let begins = file.len() - (300_000 + 5 * TAG_BYTES);
        let mut bad = file.clone();
        bad[begins + SEALED_BYTES + 10] ^= 1;
        let (clear, damage) = read(&bad, &keys).expect("opened");
        assert!(damage.is_some_and(|d| d.starts_with("1 of its 5 ")));
        assert!(clear[CHUNK_BYTES..2 * CHUNK_BYTES].iter().all(|b| *b == 0));
        assert!(clear[..CHUNK_BYTES] == text[..CHUNK_BYTES] && clear[2 * CHUNK_BYTES..] == text[2 * CHUNK_BYTES..]);
        // Cut within a chunk, and between two.
        let (clear, damage) = read(&file[..begins + 2 * SEALED_BYTES + 100], &keys).expect("opened");
        assert!(damage.is_some_and(|d| d.starts_with("1 of its 3 ")) && clear[..2 * CHUNK_BYTES] == text[..2 * CHUNK_BYTES]);
        let (clear, damage) = read(&file[..begins + 2 * SEALED_BYTES], &keys).expect("opened");
        assert!(damage.is_some_and(|d| d == "its end is missing") && clear == text[..2 * CHUNK_BYTES]);
        // Nothing of a header that is cut, or of another one's file.
        assert!(read(&file[..begins - 20], &keys).is_err());
        assert!(read(&file, &sealed(b"").1).is_err());
    }

    #[test]
    fn a_header_that_is_damaged_elsewhere_than_in_its_own_stanza_still_opens() {
        let (file, keys) = sealed(b"text");
        // The last digit but one of the MAC, which stands before the line's end, the nonce and the one chunk.
        let at = file.len() - (4 + TAG_BYTES) - super::super::stream::NONCE_BYTES - 3;
        let mut bad = file.clone();
        bad[at] = if bad[at] == b'A' { b'B' } else { b'A' };
        assert!(header::open(&bad, &keys.identities).is_err(), "a reader that is not saving what is left refuses it");
        assert_eq!(read(&bad, &keys), Ok((b"text".to_vec(), None)));
    }
}
