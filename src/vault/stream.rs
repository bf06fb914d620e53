//! The payload of an age file: chunks of 64 KiB, each sealed by itself (the STREAM of age-encryption.org/v1), so that any stretch of
//! it can be read alone.
//!
//! The `age` crate makes and opens the headers. The chunks are done here because its reader goes through a file with one position,
//! while the cores read frames of one pack side by side, and because *ring* seals two to three times as fast.

use age_core::format::{FILE_KEY_BYTES, FileKey};
use age_core::secrecy::ExposeSecret as _;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::error::{Error, Kind, Result};

/// Bytes of a chunk in clear.
pub const CHUNK_BYTES: usize = 64 << 10;
/// Bytes that sealing adds to a chunk.
pub const TAG_BYTES: usize = 16;
/// Bytes of a whole chunk in the file.
pub const SEALED_BYTES: usize = CHUNK_BYTES + TAG_BYTES;
/// Bytes of the nonce between header and payload.
pub const NONCE_BYTES: usize = 16;

/// The key of one file's payload.
pub struct StreamKey(LessSafeKey);

impl StreamKey {
    /// The key that the header's file key and the nonce behind the header give.
    pub fn derive(file_key: &FileKey, nonce: &[u8]) -> Result<Self> {
        let secret: &[u8; FILE_KEY_BYTES] = file_key.expose_secret();
        let expanded = Salt::new(HKDF_SHA256, nonce).extract(secret);
        let key = expanded.expand(&[b"payload"], &CHACHA20_POLY1305).map_err(|_| internal("cannot derive a file's key"))?;
        Ok(StreamKey(LessSafeKey::new(UnboundKey::from(key))))
    }

    /// A key that nobody knows, for a file that only this process reads.
    pub fn random() -> Result<Self> {
        let mut bytes = [0u8; 32];
        SystemRandom::new().fill(&mut bytes).map_err(|_| internal("the system gives no random numbers"))?;
        let key = UnboundKey::new(&CHACHA20_POLY1305, &bytes).map_err(|_| internal("cannot make a key"))?;
        Ok(StreamKey(LessSafeKey::new(key)))
    }

    /// Seals a chunk in its place. No number may be used twice with one key.
    pub fn seal(&self, number: u64, last: bool, chunk: &mut Vec<u8>) -> Result<()> {
        let sealed = self.0.seal_in_place_append_tag(nonce(number, last), Aad::empty(), chunk);
        sealed.map_err(|_| internal("cannot encrypt"))
    }

    /// Opens a chunk in its place; `None` when it is not what was sealed, whole and in this place.
    pub fn open<'a>(&self, number: u64, last: bool, chunk: &'a mut [u8]) -> Option<&'a [u8]> {
        self.0.open_in_place(nonce(number, last), Aad::empty(), chunk).ok().map(|clear| &*clear)
    }
}

/// Eleven bytes of the chunk's number, and whether it is the last.
fn nonce(number: u64, last: bool) -> Nonce {
    let mut bytes = [0u8; 12];
    bytes[3..11].copy_from_slice(&number.to_be_bytes());
    bytes[11] = u8::from(last);
    Nonce::assume_unique_for_key(bytes)
}

fn internal(what: &str) -> Error {
    Error::new(Kind::Internal, what)
}

/// What a payload of so many bytes holds in clear; `None` when no payload has that size.
pub fn clear_bytes(sealed: u64) -> Option<u64> {
    let chunks = sealed.div_ceil(SEALED_BYTES as u64);
    let tags = chunks * TAG_BYTES as u64;
    // The last chunk has a tag at least, and no file but an empty one ends with an empty chunk.
    let before = chunks.checked_sub(1)?;
    let rest = sealed - before * SEALED_BYTES as u64;
    (rest > TAG_BYTES as u64 || (rest == TAG_BYTES as u64 && before == 0)).then(|| sealed - tags)
}

/// All that a payload holds in clear; `None` when it was changed or cut. Also the tag of an empty payload is looked at: a longer one
/// may have been cut down to it.
///
/// # Errors
/// What `read` gives for the first chunk.
pub fn read_whole(key: &StreamKey, sealed: u64, read: &mut dyn FnMut(u64, &mut [u8]) -> Result<()>) -> Result<Option<Vec<u8>>> {
    let Some(size) = clear_bytes(sealed) else { return Ok(None) };
    if size == 0 {
        let mut tag = [0u8; TAG_BYTES];
        read(0, &mut tag)?;
        return Ok(key.open(0, true, &mut tag).map(<[u8]>::to_vec));
    }
    let mut clear = vec![0u8; size as usize];
    let filled = read_at(key, sealed, 0, &mut clear, read)?;
    Ok((filled == clear.len()).then_some(clear))
}

/// Fills `buffer` from `offset` of the clear text on, as far as the chunks are whole; `read` reads the sealed payload. Gives the bytes
/// that were filled.
///
/// # Errors
/// What `read` gives before anything was filled.
pub fn read_at(
    key: &StreamKey,
    sealed: u64,
    offset: u64,
    buffer: &mut [u8],
    read: &mut dyn FnMut(u64, &mut [u8]) -> Result<()>,
) -> Result<usize> {
    let chunks = sealed.div_ceil(SEALED_BYTES as u64);
    let mut chunk = vec![0u8; SEALED_BYTES];
    let mut filled = 0;
    while filled < buffer.len() {
        let at = offset + filled as u64;
        let (number, skip) = (at / CHUNK_BYTES as u64, (at % CHUNK_BYTES as u64) as usize);
        let begins = number * SEALED_BYTES as u64;
        if number >= chunks {
            break;
        }
        let length = (sealed - begins).min(SEALED_BYTES as u64) as usize;
        match read(begins, &mut chunk[..length]) {
            Err(e) if filled == 0 => return Err(e),
            Err(_) => break,
            Ok(()) => {}
        }
        let Some(clear) = key.open(number, number + 1 == chunks, &mut chunk[..length]) else { break };
        let Some(wanted) = clear.get(skip..).filter(|c| !c.is_empty()) else { break };
        let bytes = wanted.len().min(buffer.len() - filled);
        buffer[filled..filled + bytes].copy_from_slice(&wanted[..bytes]);
        filled += bytes;
    }
    Ok(filled)
}

/// Cuts what is written into chunks and seals them.
pub struct Sealer {
    key: StreamKey,
    chunk: Vec<u8>,
    number: u64,
}

impl Sealer {
    /// Begins a payload.
    pub fn new(key: StreamKey) -> Self {
        Sealer { key, chunk: Vec::with_capacity(SEALED_BYTES), number: 0 }
    }

    /// Hands whole chunks to `give`. One is kept back until more comes, for the last one is sealed as the last.
    pub fn push(&mut self, mut bytes: &[u8], give: &mut dyn FnMut(&[u8]) -> std::io::Result<()>) -> std::io::Result<()> {
        while !bytes.is_empty() {
            if self.chunk.len() == CHUNK_BYTES {
                self.seal(false, give)?;
            }
            let taken = bytes.len().min(CHUNK_BYTES - self.chunk.len());
            self.chunk.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
        }
        Ok(())
    }

    fn seal(&mut self, last: bool, give: &mut dyn FnMut(&[u8]) -> std::io::Result<()>) -> std::io::Result<()> {
        self.key.seal(self.number, last, &mut self.chunk).map_err(std::io::Error::other)?;
        give(&self.chunk)?;
        self.chunk.clear();
        self.number += 1;
        Ok(())
    }

    /// Hands the last chunk to `give`; the key serves for reading.
    pub fn finish(mut self, give: &mut dyn FnMut(&[u8]) -> std::io::Result<()>) -> std::io::Result<StreamKey> {
        self.seal(true, give)?;
        Ok(self.key)
    }
}
