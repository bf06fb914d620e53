//! The files of an archive, encrypted or not: of those that end in `.age` it gives the content, and what is written is encrypted for the
//! archive's recipients on its way to the disk (docs/format.md section 18).
//!
//! An archive is encrypted or it is not, from its first snapshot on. Without a key an encrypted one is locked: its files can be
//! listed and their digests checked, and no more.

mod header;
mod keys;
mod loose;
mod scratch;
mod stream;

use std::collections::HashMap;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

pub use self::keys::{Identity, Keys, MAGIC, Recipient};
pub use self::loose::Loose;
pub use self::scratch::Scratch;

use self::header::{Closed, HEADER_MAX_BYTES};
use self::keys::ArchiveKey;
use self::stream::{Sealer, StreamKey};
use crate::error::{Error, Kind, Result};
use crate::model::Digest;
use crate::store::{LocalStore, Store, StoredFile, Upload};

/// What the names of encrypted files end in.
pub const SUFFIX: &str = ".age";
/// The key of an archive that has a passphrase, encrypted with it.
pub const KEY_FILE: &str = "keys/archive.key.age";
/// The line of `bag-info.txt` that says that an archive is encrypted.
pub const INFO: &str = "Floe-Encryption: age";
/// Largest key file that is read.
const KEY_FILE_MAX_BYTES: u64 = 1 << 20;
/// Largest root that is read.
pub const ROOT_MAX_BYTES: u64 = 1 << 30;
/// Bytes of index files that are kept in clear in memory; each lookup in one costs a chunk where they are more.
const INDEX_KEPT_BYTES: u64 = 256 << 20;

/// What the header of an encrypted root commits to in clear, where it does: the leaf of the root's statement
/// ([`crate::archive::merkle::statement`]).
pub fn statement_in(file: &[u8]) -> Option<Digest> {
    header::statement(file)
}

/// Does the archive in this store keep its files encrypted?
///
/// # Errors
/// `Kind::Storage` when the folder cannot be read; `Kind::Damage` when it is encrypted in a way that this floe does not know.
pub fn is_encrypted(store: &dyn Store) -> Result<bool> {
    let info = store.read("bag-info.txt", 1 << 16)?.unwrap_or_default();
    let info = String::from_utf8_lossy(&info);
    match info.lines().find_map(|line| line.strip_prefix("Floe-Encryption:")).map(str::trim) {
        Some("age") => return Ok(true),
        Some(other) => {
            return Err(Error::damage("the archive is encrypted in a way that this floe does not know")
                .with("Floe-Encryption", other)
                .hint("a newer floe can read it"));
        }
        None => {}
    }
    let (encrypted, clear) = kinds(store)?;
    Ok(encrypted && !clear)
}

/// Are there encrypted packs or roots, and are there others? A file that has no name of theirs is neither.
fn kinds(store: &dyn Store) -> Result<(bool, bool)> {
    let mut kinds = (false, false);
    for (folder, end) in [("data/packs/", ".tar.zst"), ("data/snapshots/", ".json")] {
        for file in store.list(folder.trim_end_matches('/'))? {
            let name = file.name.strip_prefix(folder).unwrap_or_default();
            let (inner, encrypted) = name.strip_suffix(SUFFIX).map_or((name, false), |inner| (inner, true));
            let named_so = inner
                .strip_suffix(end)
                .is_some_and(|n| n.len() >= 29 && n.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'));
            kinds.0 |= named_so && encrypted;
            kinds.1 |= named_so && !encrypted;
        }
    }
    Ok(kinds)
}

/// Is there an archive in this store?
///
/// # Errors
/// `Kind::Storage` when the folder cannot be read.
pub fn is_there(store: &dyn Store) -> Result<bool> {
    Ok(store.read("bagit.txt", 1 << 10)?.is_some() || !store.list("data/packs")?.is_empty())
}

/// Does a passphrase open the archive in this store?
///
/// # Errors
/// `Kind::Storage` when it cannot be read.
pub fn has_passphrase(store: &dyn Store) -> Result<bool> {
    Ok(store.read(KEY_FILE, KEY_FILE_MAX_BYTES)?.is_some())
}

/// How a snapshot is to be encrypted.
#[derive(Debug, Default)]
pub struct Protection {
    /// What opens the archive, where there is one; a passphrase also makes a new one encrypted.
    pub keys: Keys,
    /// For whom is encrypted; as in the snapshot before where there are none.
    pub recipients: Vec<Recipient>,
    /// Go on without a key: nothing that the archive has can be known again.
    pub store_again: bool,
    /// The key file of another archive, which a new one is to have as well; the passphrase, if there is one, opens it.
    pub key_file: Option<Vec<u8>>,
}

impl Protection {
    /// Is a new archive to be encrypted?
    pub fn encrypts(&self) -> bool {
        !self.recipients.is_empty() || self.keys.passphrase.is_some()
    }
}

/// An archive's files, and what is needed to read and write those that are encrypted.
pub struct Vault {
    files: LocalStore,
    seal: Option<Seal>,
}

#[derive(Default)]
struct Seal {
    identities: Vec<Identity>,
    recipients: Vec<Recipient>,
    /// The recipient that the passphrase stands for.
    archive: Option<Recipient>,
    opened: Arc<Opened>,
    index: Mutex<Kept>,
    /// It reads what another one wrote.
    is_beside: bool,
}

/// The payload of a file: its key and where it lies.
struct Payload {
    key: StreamKey,
    begins: u64,
    bytes: u64,
}

type Opened = Mutex<HashMap<String, Arc<Payload>>>;

/// Index files in clear.
#[derive(Default)]
struct Kept {
    files: HashMap<String, Arc<Vec<u8>>>,
    bytes: u64,
}

impl Vault {
    /// The archive in `files`, opened with what was given; locked when nothing was.
    ///
    /// # Errors
    /// `Kind::Key` when it is encrypted and nothing of what was given opens it, `Kind::Storage` when it cannot be read.
    pub fn open(files: LocalStore, keys: &Keys) -> Result<Self> {
        if !is_encrypted(&files)? {
            return Ok(Vault { files, seal: None });
        }
        let mut seal = Seal { identities: keys.identities.clone(), ..Seal::default() };
        match (files.read(KEY_FILE, KEY_FILE_MAX_BYTES)?, &keys.passphrase) {
            (Some(file), Some(passphrase)) => {
                let key = ArchiveKey::open(&file, passphrase).map_err(|e| e.with("archive", files.root().display()))?;
                seal.identities.push(key.identity);
                seal.archive = Some(key.recipient);
            }
            (None, Some(_)) if keys.identities.is_empty() => {
                return Err(Error::new(Kind::Key, "the archive is encrypted, but no passphrase opens it")
                    .with("archive", files.root().display())
                    .hint("give --identity FILE with the age key of one of its recipients"));
            }
            _ => {}
        }
        let vault = Vault { files, seal: Some(seal) };
        vault.check_keys()?;
        Ok(vault)
    }

    /// The archive in `files` for a new snapshot, and the key file of a new archive that is to have a passphrase. Nothing is
    /// written yet.
    ///
    /// # Errors
    /// `Kind::Usage` when what is there and what is wanted do not fit; else as [`Vault::open`].
    pub fn for_writing(files: LocalStore, wanted: &Protection) -> Result<(Self, Option<Vec<u8>>)> {
        let root = files.root().display().to_string();
        let there = is_there(&files)?;
        match (is_encrypted(&files)?, there) {
            (false, true) if wanted.encrypts() => {
                Err(Error::usage("the archive is not encrypted, and no archive is half encrypted")
                    .with("archive", root)
                    .hint("name another folder for a new archive, which is then encrypted from its first snapshot on"))
            }
            // If its bag-info.txt lost the word, the next snapshot would lie there readable.
            (false, true) if kinds(&files)?.0 => {
                Err(Error::damage("some of the archive's files are encrypted, and some are not")
                    .with("archive", root)
                    .hint("'floe verify' names those that do not belong there; nothing is added before they are gone"))
            }
            (false, true) => Ok((Vault { files, seal: None }, None)),
            (false, false) if wanted.encrypts() => Self::new(files, wanted),
            (false, false) if !wanted.keys.is_empty() => Err(Error::usage("there is no archive yet that this key could open")
                .with("archive", root)
                .hint("a new archive is encrypted with --recipient or --passphrase-file")),
            (false, false) => Ok((Vault { files, seal: None }, None)),
            (true, _) => Ok((Self::again(files, wanted)?, None)),
        }
    }

    /// A new archive.
    fn new(files: LocalStore, wanted: &Protection) -> Result<(Self, Option<Vec<u8>>)> {
        let mut seal =
            Seal { identities: wanted.keys.identities.clone(), recipients: wanted.recipients.clone(), ..Seal::default() };
        let mut file = wanted.key_file.clone();
        if let Some(passphrase) = &wanted.keys.passphrase {
            let key = match &file {
                Some(file) => ArchiveKey::open(file, passphrase)?,
                None => {
                    let (key, bytes) = ArchiveKey::new(passphrase)?;
                    file = Some(bytes);
                    key
                }
            };
            seal.identities.push(key.identity);
            if !seal.recipients.contains(&key.recipient) {
                seal.recipients.push(key.recipient.clone());
            }
            seal.archive = Some(key.recipient);
        }
        Ok((Vault { files, seal: Some(seal) }, file))
    }

    /// An encrypted archive that is there.
    fn again(files: LocalStore, wanted: &Protection) -> Result<Self> {
        let mut vault = Self::open(files, &wanted.keys)?;
        let nothing_committed = vault.files.list("data/snapshots")?.is_empty();
        let passphrase = has_passphrase(&vault.files)?;
        if vault.is_locked() && !(nothing_committed || wanted.store_again) {
            let hint = "give --identity FILE or --passphrase-file FILE; or --store-again to store everything anew, without what the \
                        archive has already";
            return Err(vault.locked().hint(hint));
        }
        if let Some(seal) = &mut vault.seal {
            if passphrase && seal.archive.is_none() {
                return Err(Error::usage(
                    "the archive has a passphrase, and what is stored without it could not be opened with it",
                )
                .hint("give --passphrase-file FILE"));
            }
            seal.recipients = wanted.recipients.clone();
            if let Some(archive) =
                seal.archive.clone().filter(|a| !wanted.recipients.is_empty() && !wanted.recipients.contains(a))
            {
                seal.recipients.push(archive);
            }
        }
        Ok(vault)
    }

    /// Encrypts for these, where nobody was named: those of the snapshot before.
    ///
    /// # Errors
    /// `Kind::Usage` when there is nobody to encrypt for.
    pub fn recipients_as_before(&mut self, before: &[String]) -> Result<()> {
        let Some(seal) = &mut self.seal else { return Ok(()) };
        if seal.recipients.is_empty() {
            seal.recipients = before.iter().map(|text| text.parse()).collect::<Result<_>>()?;
            if let Some(archive) = seal.archive.clone().filter(|a| !seal.recipients.contains(a)) {
                seal.recipients.push(archive);
            }
        }
        if seal.recipients.is_empty() {
            return Err(Error::usage("the archive is encrypted, and it is not known for whom").hint("give --recipient again"));
        }
        Ok(())
    }

    /// The same files once more, to be read beside the one writer: what this process wrote it can read, also with nobody's key.
    pub fn beside(&self) -> Self {
        let seal = self.seal.as_ref().map(|seal| Seal {
            identities: seal.identities.clone(),
            opened: Arc::clone(&seal.opened),
            is_beside: true,
            ..Seal::default()
        });
        Vault { files: LocalStore::new(self.files.root()), seal }
    }

    /// The files as they lie on the disk.
    pub fn files(&self) -> &LocalStore {
        &self.files
    }

    /// Is the archive encrypted?
    pub fn is_sealed(&self) -> bool {
        self.seal.is_some()
    }

    /// Is it encrypted, and nothing was given to open it with?
    pub fn is_locked(&self) -> bool {
        self.seal.as_ref().is_some_and(|seal| seal.identities.is_empty() && !seal.is_beside)
    }

    /// For whom is encrypted now.
    pub fn recipients(&self) -> &[Recipient] {
        self.seal.as_ref().map_or(&[], |seal| &seal.recipients)
    }

    /// Why nothing can be read.
    pub fn locked(&self) -> Error {
        let error = Error::usage("the archive is encrypted, and no key was given").with("archive", self.files.root().display());
        if has_passphrase(&self.files).unwrap_or_default() {
            error.hint("give --passphrase-file FILE, or --identity FILE; 'floe verify --quick' needs neither")
        } else {
            error.hint("give --identity FILE with the age key of one of its recipients; 'floe verify --quick' needs none")
        }
    }

    /// Does one of the keys open anything? The newest root decides, where one is whole.
    fn check_keys(&self) -> Result<()> {
        let mut roots = self.files.list("data/snapshots")?;
        roots.reverse();
        let (packs, mut refused) = (self.files.list("data/packs")?, false);
        let Some(seal) = self.seal.as_ref().filter(|s| !s.identities.is_empty()) else { return Ok(()) };
        for file in roots.iter().chain(&packs).filter(|f| f.name.ends_with(SUFFIX)) {
            match self.head(file).map(|head| header::open(&head, &seal.identities)) {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(Closed::NoKey)) => refused = true,
                // What is damaged says nothing of the key.
                Ok(Err(Closed::Damaged(_))) | Err(_) => {}
            }
        }
        if refused { Err(self.wrong_key()) } else { Ok(()) }
    }

    /// The beginning of a file, with the header in it. A root may lie in `pending`.
    fn head(&self, file: &StoredFile) -> Result<Vec<u8>> {
        if file.name.starts_with("data/snapshots/") {
            return Ok(self.files.read(&file.name, ROOT_MAX_BYTES)?.unwrap_or_default());
        }
        let mut head = vec![0u8; file.size.min(HEADER_MAX_BYTES as u64) as usize];
        self.files.read_at(&file.name, 0, &mut head)?;
        Ok(head)
    }

    fn wrong_key(&self) -> Error {
        Error::new(Kind::Key, "the archive is encrypted for others: none of the keys given opens it")
            .with("archive", self.files.root().display())
            .hint("give the key of one of its recipients; without one nobody can read it, but 'floe verify --quick' can still check it")
    }

    /// Begins an encrypted file.
    fn begin(&self, seal: &Seal, header: &[u8], key: StreamKey) -> Result<Box<dyn Upload>> {
        let mut upload = self.files.upload()?;
        let failed = |e| Error::new(Kind::Storage, "cannot begin a file of the archive").because(e);
        upload.write_all(header).map_err(failed)?;
        let begins = header.len() as u64;
        Ok(Box::new(SealedUpload { upload, sealer: Sealer::new(key), begins, opened: Arc::clone(&seal.opened) }))
    }

    /// A file for the time of the run.
    ///
    /// # Errors
    /// `Kind::Storage` when the disk fails.
    pub fn scratch(&self) -> Result<Scratch> {
        Scratch::new(self.files.scratch()?, self.is_sealed())
    }

    /// The bytes as they are to lie on the disk. The header of a file that is encrypted commits to `statement`.
    ///
    /// # Errors
    /// `Kind::Internal` when they cannot be encrypted.
    pub fn sealed(&self, bytes: Vec<u8>, statement: Option<Digest>) -> Result<Vec<u8>> {
        let Some(seal) = &self.seal else { return Ok(bytes) };
        let (mut file, key) = header::new(&seal.recipients, statement)?;
        let mut sealer = Sealer::new(key);
        let mut give = |chunk: &[u8]| {
            file.extend_from_slice(chunk);
            Ok(())
        };
        let failed = |e| Error::new(Kind::Internal, "cannot encrypt").because(e);
        sealer.push(&bytes, &mut give).map_err(failed)?;
        sealer.finish(&mut give).map_err(failed)?;
        Ok(file)
    }

    /// What a whole file holds, whose bytes on the disk these are.
    ///
    /// # Errors
    /// As [`Store::read_at`].
    pub fn clear(&self, name: &str, bytes: Vec<u8>) -> Result<Vec<u8>> {
        let Some(seal) = self.seal.as_ref().filter(|_| name.ends_with(SUFFIX)) else { return Ok(bytes) };
        if self.is_locked() {
            return Err(self.locked().with("file", name));
        }
        let (begins, key) = header::open(&bytes, &seal.identities).map_err(|e| closed(e, name))?;
        let payload = &bytes[begins..];
        let clear = stream::read_whole(&key, payload.len() as u64, &mut |at, buffer| {
            buffer.copy_from_slice(&payload[at as usize..at as usize + buffer.len()]);
            Ok(())
        })?;
        clear.ok_or_else(|| changed(name))
    }

    /// Key and place of a file's payload; each header is opened once.
    fn payload(&self, seal: &Seal, name: &str) -> Result<Arc<Payload>> {
        if let Some(payload) = seal.opened.lock().unwrap_or_else(PoisonError::into_inner).get(name) {
            return Ok(Arc::clone(payload));
        }
        if self.is_locked() {
            return Err(self.locked().with("file", name));
        }
        let size = self.files.size(name)?;
        let head = self.head(&StoredFile { name: name.to_owned(), size })?;
        let (begins, key) = header::open(&head, &seal.identities).map_err(|e| closed(e, name))?;
        let payload = Arc::new(Payload { key, begins: begins as u64, bytes: size - begins as u64 });
        seal.opened.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), Arc::clone(&payload));
        Ok(payload)
    }

    fn read_clear(&self, seal: &Seal, name: &str, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let payload = self.payload(seal, name)?;
        stream::read_at(&payload.key, payload.bytes, offset, buffer, &mut |at, chunk| {
            self.files.read_at(name, payload.begins + at, chunk)
        })
    }

    /// An index file in clear, if there is room for it.
    fn kept(&self, seal: &Seal, name: &str) -> Result<Option<Arc<Vec<u8>>>> {
        if !(name.starts_with("index/") && name.ends_with(".idx.age")) {
            return Ok(None);
        }
        let mut kept = seal.index.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = kept.files.get(name) {
            return Ok(Some(Arc::clone(file)));
        }
        let payload = self.payload(seal, name)?;
        let size = stream::clear_bytes(payload.bytes).ok_or_else(|| changed(name))?;
        if kept.bytes + size > INDEX_KEPT_BYTES {
            return Ok(None);
        }
        let clear = stream::read_whole(&payload.key, payload.bytes, &mut |at, chunk| {
            self.files.read_at(name, payload.begins + at, chunk)
        })?;
        let clear = Arc::new(clear.ok_or_else(|| changed(name))?);
        kept.bytes += size;
        kept.files.insert(name.to_owned(), Arc::clone(&clear));
        Ok(Some(clear))
    }
}

fn closed(why: Closed, name: &str) -> Error {
    match why {
        Closed::NoKey => {
            Error::new(Kind::Key, "none of the keys given opens this file, or its header is damaged").with("file", name)
        }
        Closed::Damaged(why) => Error::damage("an encrypted file has a damaged header").with("file", name).with("why", why),
    }
}

fn changed(name: &str) -> Error {
    Error::damage("an encrypted file was changed or is cut short").with("file", name)
}

impl Store for Vault {
    fn list(&self, folder: &str) -> Result<Vec<StoredFile>> {
        self.files.list(folder)
    }

    fn read(&self, name: &str, max_bytes: u64) -> Result<Option<Vec<u8>>> {
        self.files.read(name, max_bytes)?.map(|bytes| self.clear(name, bytes)).transpose()
    }

    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let Some(seal) = self.seal.as_ref().filter(|_| name.ends_with(SUFFIX)) else {
            return self.files.read_at(name, offset, buffer);
        };
        if let Some(file) = self.kept(seal, name)? {
            let end = offset.checked_add(buffer.len() as u64);
            let from = end.and_then(|end| file.get(offset as usize..end as usize)).ok_or_else(|| changed(name))?;
            buffer.copy_from_slice(from);
            return Ok(());
        }
        let filled = self.read_clear(seal, name, offset, buffer)?;
        if filled == buffer.len() { Ok(()) } else { Err(changed(name).with("offset", offset + filled as u64)) }
    }

    fn read_whole_part(&self, name: &str, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        match self.seal.as_ref().filter(|_| name.ends_with(SUFFIX)) {
            Some(seal) => self.read_clear(seal, name, offset, buffer),
            None => self.files.read_whole_part(name, offset, buffer),
        }
    }

    fn content_bytes(&self, name: &str, size: u64) -> Result<u64> {
        let Some(seal) = self.seal.as_ref().filter(|_| name.ends_with(SUFFIX)) else { return Ok(size) };
        let payload = self.payload(seal, name)?;
        // Of a file that is cut, what is left of it; reading finds the cut.
        Ok(stream::clear_bytes(payload.bytes).unwrap_or(payload.bytes))
    }

    fn suffix(&self) -> &'static str {
        if self.is_sealed() { SUFFIX } else { "" }
    }

    fn is_readable(&self) -> bool {
        !self.is_locked()
    }

    fn upload(&self) -> Result<Box<dyn Upload>> {
        let Some(seal) = &self.seal else { return self.files.upload() };
        let (header, key) = header::new(&seal.recipients, None)?;
        self.begin(seal, &header, key)
    }

    fn upload_for_readers_of(&self, name: &str) -> Result<Box<dyn Upload>> {
        let Some(seal) = self.seal.as_ref().filter(|_| name.ends_with(SUFFIX)) else { return self.files.upload() };
        let head = self.head(&StoredFile { name: name.to_owned(), size: self.files.size(name)? })?;
        let (header, key) = header::again(&head, &seal.identities).map_err(|e| closed(e, name))?;
        self.begin(seal, &header, key)
    }

    fn discard(&self, name: &str) -> Result<()> {
        if let Some(seal) = &self.seal {
            seal.opened.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
            let mut kept = seal.index.lock().unwrap_or_else(PoisonError::into_inner);
            kept.bytes -= kept.files.remove(name).map_or(0, |file| file.len() as u64);
        }
        self.files.discard(name)
    }

    /// Takes files as they are to lie there; see [`Vault::sealed`].
    fn commit(&self, files: &[(String, Vec<u8>)]) -> Result<()> {
        self.files.commit(files)
    }
}

/// A file that is encrypted while it is written.
struct SealedUpload {
    upload: Box<dyn Upload>,
    sealer: Sealer,
    begins: u64,
    opened: Arc<Opened>,
}

impl Write for SealedUpload {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let upload = &mut self.upload;
        self.sealer.push(bytes, &mut |chunk| upload.write_all(chunk))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.upload.flush()
    }
}

impl Upload for SealedUpload {
    fn finish(self: Box<Self>, name: &str) -> Result<()> {
        self.finish_as(&|_| name.to_owned()).map(|_| ())
    }

    fn finish_as(self: Box<Self>, name: &dyn Fn(&Digest) -> String) -> Result<(Digest, u64)> {
        let SealedUpload { mut upload, sealer, begins, opened } = *self;
        let failed = |e| Error::new(Kind::Storage, "cannot write a file of the archive").because(e);
        let key = sealer.finish(&mut |chunk| upload.write_all(chunk)).map_err(failed)?;
        let (digest, size) = upload.finish_as(name)?;
        // This process reads what it wrote also where it has nobody's key.
        let payload = Arc::new(Payload { key, begins, bytes: size - begins });
        opened.lock().unwrap_or_else(PoisonError::into_inner).insert(name(&digest), payload);
        Ok((digest, size))
    }
}
