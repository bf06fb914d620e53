//! The header of an age file: wraps a new file key for all recipients, and finds it again with one of the identities.

use std::cell::RefCell;
use std::collections::HashSet;

use age::{DecryptError, Decryptor, EncryptError, Encryptor};
use age_core::format::{FileKey, Stanza};
use age_core::secrecy::ExposeSecret as _;

use super::keys::{Identity, Recipient};
use super::stream::{NONCE_BYTES, StreamKey};
use crate::error::{Error, Kind, Result};

/// Most bytes of a header with its nonce: room for some hundred recipients.
pub const HEADER_MAX_BYTES: usize = 64 << 10;

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

/// A new header, with the nonce behind it, and the key of the payload that is to follow.
pub fn new(recipients: &[Recipient]) -> Result<(Vec<u8>, StreamKey)> {
    let failed = |e: &dyn std::fmt::Display| Error::new(Kind::Internal, "cannot encrypt to these recipients").with("why", e);
    let key = RefCell::new(None);
    let watching: Vec<_> = recipients.iter().map(|r| Watching { inner: r.inner(), key: &key }).collect();
    let encryptor = Encryptor::with_recipients(watching.iter().map(|w| w as &dyn age::Recipient)).map_err(|e| failed(&e))?;
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
    let damaged = |e: &dyn std::fmt::Display| Closed::Damaged(e.to_string());
    let mut rest = bytes;
    let decryptor = Decryptor::new_buffered(&mut rest).map_err(|e| damaged(&e))?;
    let key = RefCell::new(None);
    let watching: Vec<_> = identities.iter().map(|i| Watching { inner: i.inner(), key: &key }).collect();
    // Checks the header's MAC too.
    match decryptor.decrypt(watching.iter().map(|w| w as &dyn age::Identity)) {
        Ok(_) => {}
        Err(DecryptError::NoMatchingKeys) => return Err(Closed::NoKey),
        Err(e) => return Err(damaged(&e)),
    }
    let begins = bytes.len() - rest.len();
    let nonce = bytes[..begins].last_chunk::<NONCE_BYTES>();
    let file_key = key.take().ok_or(Closed::NoKey)?;
    let key = StreamKey::derive(&file_key, nonce.ok_or(Closed::NoKey)?).map_err(|e| damaged(&e))?;
    Ok((begins, key))
}
