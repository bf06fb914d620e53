//! The packets of PAR 2.0: how they are written, and how they are found in a file that may be damaged.

use md5::{Digest as _, Md5};

use crate::error::{Error, Result};
use crate::store::Store;

/// A digest of PAR 2.0.
pub type Hash = [u8; 16];

/// The MD5 of some bytes.
pub fn md5(bytes: &[u8]) -> Hash {
    Md5::digest(bytes).into()
}

const MAGIC: &[u8; 8] = b"PAR2\0PKT";
/// Bytes of a packet before its body.
const HEADER_BYTES: usize = 64;
/// Most bytes of a packet that is no recovery slice: digests of 32768 slices and room.
const BODY_MAX_BYTES: u64 = 1 << 20;
/// Bytes that are looked at together while looking for the next packet.
const WINDOW_BYTES: u64 = 1 << 20;

/// Which packet it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The slice size and the files.
    Main,
    /// One file: its digests, size and name.
    File,
    /// The digests of a file's slices.
    Slices,
    /// A recovery slice.
    Recovery,
    /// What made the set.
    Creator,
    /// What this code does not know, and passes over.
    Other,
}

/// The kinds that are known, and what they are called in packets.
const KINDS: [(Kind, &[u8; 16]); 5] = [
    (Kind::Main, b"PAR 2.0\0Main\0\0\0\0"),
    (Kind::File, b"PAR 2.0\0FileDesc"),
    (Kind::Slices, b"PAR 2.0\0IFSC\0\0\0\0"),
    (Kind::Recovery, b"PAR 2.0\0RecvSlic"),
    (Kind::Creator, b"PAR 2.0\0Creator\0"),
];

/// A whole packet that was found in a file.
#[derive(Clone, Debug)]
pub struct Packet {
    /// The set that it belongs to.
    pub set: Hash,
    /// Which packet it is.
    pub kind: Kind,
    /// Where its body begins in the file.
    pub at: u64,
    /// Bytes of its body.
    pub bytes: u64,
    /// The body; of a recovery slice only the exponent.
    pub body: Vec<u8>,
}

/// The packets of a file.
pub struct Packets {
    /// Those that are whole.
    pub whole: Vec<Packet>,
    /// Are there no bytes but those of whole packets?
    pub gapless: bool,
}

/// A packet's bytes. The body is a multiple of four bytes long.
pub fn packet(set: &Hash, kind: Kind, body: &[u8]) -> Vec<u8> {
    let name = KINDS.iter().find(|(k, _)| *k == kind).map_or(b"PAR 2.0\0Creator\0", |(_, name)| *name);
    let hash = Md5::new().chain_update(set).chain_update(name).chain_update(body).finalize();
    let length = (HEADER_BYTES + body.len()) as u64;
    [MAGIC.as_slice(), &length.to_le_bytes(), &hash, set, name, body].concat()
}

/// Text as a body has it: with zeros up to a multiple of four bytes.
pub fn padded(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// The number that begins at `at` in a body.
pub fn number<const N: usize>(body: &[u8], at: usize) -> Option<[u8; N]> {
    body.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// Finds the whole packets of a file, whatever else is in it. What cannot be read is as good as damaged.
pub fn packets(store: &dyn Store, name: &str, size: u64) -> Packets {
    let mut found = Packets { whole: Vec::new(), gapless: true };
    // A file made to be slow has headers everywhere, each of a packet up to its end.
    let mut budget = size.saturating_mul(4);
    let mut at = 0;
    while at < size {
        if let Ok(Some(packet)) = read_packet(store, name, (at, size), &mut budget) {
            at = packet.at + packet.bytes;
            found.whole.push(packet);
        } else {
            found.gapless = false;
            at = next_magic(store, name, at + 1, size);
        }
    }
    found
}

/// Where the next packet may begin, or the end.
fn next_magic(store: &dyn Store, name: &str, mut at: u64, size: u64) -> u64 {
    let finder = memchr::memmem::Finder::new(MAGIC);
    let mut window = vec![0; WINDOW_BYTES as usize];
    while at < size {
        let window = &mut window[..(size - at).min(WINDOW_BYTES) as usize];
        if store.read_at(name, at, window).is_err() {
            window.fill(0);
        }
        if let Some(found) = finder.find(window) {
            return at + found as u64;
        }
        if at + window.len() as u64 == size {
            return size;
        }
        at += (window.len() + 1 - MAGIC.len()) as u64;
    }
    size
}

/// The packet that begins here, if there is a whole one.
fn read_packet(store: &dyn Store, name: &str, (at, size): (u64, u64), budget: &mut u64) -> Result<Option<Packet>> {
    if size - at < HEADER_BYTES as u64 {
        return Ok(None);
    }
    let mut header = [0; HEADER_BYTES];
    store.read_at(name, at, &mut header)?;
    let length = number(&header, 8).map_or(0, u64::from_le_bytes);
    let (Some(hash), Some(set), Some(kind)) = (number::<16>(&header, 16), number(&header, 32), number::<16>(&header, 48)) else {
        return Ok(None);
    };
    if !header.starts_with(MAGIC) || length < HEADER_BYTES as u64 || length % 4 != 0 || length > size - at || length > *budget {
        return Ok(None);
    }
    *budget -= length;
    let kind = KINDS.iter().find(|(_, name)| **name == kind).map_or(Kind::Other, |(kind, _)| *kind);
    let (begin, bytes) = (at + HEADER_BYTES as u64, length - HEADER_BYTES as u64);
    let kept = match kind {
        Kind::Recovery => 4,
        Kind::Other => 0,
        _ if bytes > BODY_MAX_BYTES => return Ok(None),
        _ => bytes,
    };
    let mut hasher = Md5::new().chain_update(&header[32..]);
    let mut body = Vec::new();
    each_piece(store, name, (begin, bytes), &mut |piece| {
        hasher.update(piece);
        let more = (kept as usize).saturating_sub(body.len()).min(piece.len());
        body.extend_from_slice(&piece[..more]);
    })?;
    let is_whole = hasher.finalize().as_slice() == hash;
    Ok(is_whole.then_some(Packet { set, kind, at: begin, bytes, body }))
}

/// Hands a stretch of a file to `each`, piece by piece.
///
/// # Errors
/// When it cannot be read.
pub fn each_piece(store: &dyn Store, name: &str, (at, bytes): (u64, u64), each: &mut dyn FnMut(&[u8])) -> Result<()> {
    let mut piece = vec![0; bytes.min(WINDOW_BYTES) as usize];
    let mut done = 0;
    while done < bytes {
        let n = (bytes - done).min(WINDOW_BYTES) as usize;
        let piece = piece.get_mut(..n).ok_or_else(|| Error::new(crate::Kind::Internal, "a piece is longer than its buffer"))?;
        store.read_at(name, at + done, piece)?;
        each(piece);
        done += n as u64;
    }
    Ok(())
}
