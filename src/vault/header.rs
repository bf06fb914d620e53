//! The header of an age file: wraps a new file key for all recipients, and finds it again with one of the identities. That of a root
//! also says in clear, blinded, what the root's trees are (docs/format.md section 18).

use std::cell::RefCell;
use std::collections::HashSet;

use age::{DecryptError, Decryptor, EncryptError, Encryptor};
use age_core::format::{FileKey, Stanza};
use age_core::secrecy::ExposeSecret as _;

use super::keys::{Identity, MAGIC, Recipient};
use super::stream::{NONCE_BYTES, StreamKey};
use crate::error::{Error, Kind, Result};
use crate::model::Digest;

/// Most bytes of a header with its nonce: room for some hundred recipients.
pub const HEADER_MAX_BYTES: usize = 64 << 10;

/// The stanza that commits to the statement of a root. It opens nothing: whoever reads age files passes over what it does not know.
const STATEMENT: &str = "floe-statement";

/// Why a header gives no key.
#[derive(Debug)]
pub enum Closed {
    /// It is for none of the identities (or what it has for them is damaged, which nobody can tell apart).
    NoKey,
    /// It is no header of an age file, or was changed.
    Damaged(String),
}

fn copy(key: &FileKey) -> FileKey {
    FileKey::init_with_mut(|bytes| bytes.copy_from_slice(key.expose_secret()))
}

/// Lets a file key pass and keeps it, on either side of the one joint that age has.
struct Watching<'a, T: ?Sized> {
    inner: &'a T,
    key: &'a RefCell<Option<FileKey>>,
}

impl age::Recipient for Watching<'_, dyn age::Recipient + Send + Sync> {
    fn wrap_file_key(&self, file_key: &FileKey) -> Result<(Vec<Stanza>, HashSet<String>), EncryptError> {
        self.key.replace(Some(copy(file_key)));
        self.inner.wrap_file_key(file_key)
    }
}

impl age::Identity for Watching<'_, dyn age::Identity + Send + Sync> {
    fn unwrap_stanza(&self, stanza: &Stanza) -> Option<Result<FileKey, DecryptError>> {
        let opened = self.inner.unwrap_stanza(stanza);
        if let Some(Ok(file_key)) = &opened {
            self.key.replace(Some(copy(file_key)));
        }
        opened
    }
}

/// A stanza among those of the recipients, for nobody.
struct Committed(Digest);

impl age::Recipient for Committed {
    fn wrap_file_key(&self, _: &FileKey) -> Result<(Vec<Stanza>, HashSet<String>), EncryptError> {
        let stanza = Stanza { tag: STATEMENT.to_owned(), args: vec![self.0.to_string()], body: Vec::new() };
        Ok((vec![stanza], HashSet::new()))
    }
}

/// What the header at the beginning of these bytes commits to: the one line that says so.
pub fn statement(bytes: &[u8]) -> Option<Digest> {
    let header = bytes.strip_prefix(MAGIC).filter(|rest| rest.starts_with(b"\n"))?;
    let header = &header[..memchr::memmem::find(header, b"\n--- ")?];
    let prefix = format!("-> {STATEMENT} ");
    let mut lines = header.split(|b| *b == b'\n').filter_map(|line| line.strip_prefix(prefix.as_bytes()));
    match (lines.next(), lines.next()) {
        (Some(hex), None) => std::str::from_utf8(hex).ok()?.parse().ok(),
        _ => None,
    }
}

/// A new header, with the nonce behind it, and the key of the payload that is to follow; `statement` is what it commits to.
pub fn new(recipients: &[Recipient], statement: Option<Digest>) -> Result<(Vec<u8>, StreamKey)> {
    let failed = |e: &dyn std::fmt::Display| Error::new(Kind::Internal, "cannot encrypt to these recipients").with("why", e);
    let key = RefCell::new(None);
    let watching: Vec<_> = recipients.iter().map(|r| Watching { inner: r.inner(), key: &key }).collect();
    let committed = statement.map(Committed);
    let stanzas = watching.iter().map(|w| w as &dyn age::Recipient).chain(committed.iter().map(|c| c as &dyn age::Recipient));
    let encryptor = Encryptor::with_recipients(stanzas).map_err(|e| failed(&e))?;
    let mut header = Vec::new();
    drop(encryptor.wrap_output(&mut header).map_err(|e| failed(&e))?);
    if header.len() > HEADER_MAX_BYTES {
        return Err(Error::usage("there are too many recipients for one archive").with("recipients", recipients.len()));
    }
    let (nonce, file_key) = (header.last_chunk::<NONCE_BYTES>(), key.take());
    match nonce.zip(file_key) {
        Some((nonce, file_key)) => Ok((header.clone(), StreamKey::derive(&file_key, nonce)?)),
        None => Err(Error::new(Kind::Internal, "a file's header has no key")),
    }
}

/// Where the payload begins behind the header at the beginning of these bytes, and its key.
pub fn open(bytes: &[u8], identities: &[Identity]) -> Result<(usize, StreamKey), Closed> {
    opened(bytes, identities, false)
}

/// The same where the header may be damaged, as long as one of the identities finds its own part of it: what the key opens is proven right
/// by itself.
pub fn open_damaged(bytes: &[u8], identities: &[Identity]) -> Result<(usize, StreamKey), Closed> {
    opened(bytes, identities, true)
}

/// The header at the beginning of these bytes for another payload: the same stanzas, so that it opens for exactly the same keys, a new nonce
/// behind them, and the key that both give.
pub fn again(bytes: &[u8], identities: &[Identity]) -> Result<(Vec<u8>, StreamKey), Closed> {
    let (begins, file_key) = file_key(bytes, identities, false)?;
    let mut nonce = [0u8; NONCE_BYTES];
    getrandom::fill(&mut nonce).map_err(|e| Closed::Damaged(format!("the system gives no random bytes: {e}")))?;
    let mut header = bytes[..begins - NONCE_BYTES].to_vec();
    header.extend_from_slice(&nonce);
    Ok((header, StreamKey::derive(&file_key, &nonce).map_err(|e| Closed::Damaged(e.to_string()))?))
}

fn opened(bytes: &[u8], identities: &[Identity], damaged_too: bool) -> Result<(usize, StreamKey), Closed> {
    let (begins, file_key) = file_key(bytes, identities, damaged_too)?;
    let nonce = bytes[..begins].last_chunk::<NONCE_BYTES>().ok_or(Closed::NoKey)?;
    let key = StreamKey::derive(&file_key, nonce).map_err(|e| Closed::Damaged(e.to_string()))?;
    Ok((begins, key))
}

/// Where the payload begins, and the file key.
fn file_key(bytes: &[u8], identities: &[Identity], damaged_too: bool) -> Result<(usize, FileKey), Closed> {
    let damaged = |e: &dyn std::fmt::Display| Closed::Damaged(e.to_string());
    let mut rest = bytes;
    let decryptor = Decryptor::new_buffered(&mut rest).map_err(|e| damaged(&e))?;
    let key = RefCell::new(None);
    let watching: Vec<_> = identities.iter().map(|i| Watching { inner: i.inner(), key: &key }).collect();
    // Checks the header's MAC too.
    match decryptor.decrypt(watching.iter().map(|w| w as &dyn age::Identity)) {
        Ok(_) => {}
        Err(_) if damaged_too && key.borrow().is_some() => {}
        Err(DecryptError::NoMatchingKeys) => return Err(Closed::NoKey),
        Err(e) => return Err(damaged(&e)),
    }
    let file_key = key.take().ok_or(Closed::NoKey)?;
    Ok((bytes.len() - rest.len(), file_key))
}
