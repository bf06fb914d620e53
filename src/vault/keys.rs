//! What encrypts and what opens: recipients, identities, passphrases. They come from files, never from a command line.

use std::fmt;
use std::io::Read as _;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use age::secrecy::{ExposeSecret as _, SecretString};

use crate::error::{Error, Kind, Result};
use crate::net::Secret;

/// Largest file of identities or recipients that is read.
const FILE_MAX_BYTES: u64 = 1 << 20;
/// How hard a passphrase is to guess: 2^18 rounds of scrypt, as the age command has it; a second of a core.
const WORK_FACTOR: u8 = 18;
/// What a header may ask for at most.
const WORK_FACTOR_MAX: u8 = 22;
/// What every age file begins with.
pub const MAGIC: &[u8] = b"age-encryption.org/v1";
const ARMOR: &[u8] = b"-----BEGIN AGE ENCRYPTED FILE-----";

/// Someone for whom is encrypted.
#[derive(Clone)]
pub struct Recipient {
    text: String,
    inner: Arc<dyn age::Recipient + Send + Sync>,
}

impl Recipient {
    pub(super) fn inner(&self) -> &(dyn age::Recipient + Send + Sync + 'static) {
        &*self.inner
    }

    /// Each argument is a recipient, or the name of a file with one a line; lines that begin with # are passed over.
    ///
    /// # Errors
    /// `Kind::Usage` when one is neither.
    pub fn all(arguments: &[String]) -> Result<Vec<Self>> {
        let mut all: Vec<Self> = Vec::new();
        let mut add = |recipient: Self| {
            if !all.contains(&recipient) {
                all.push(recipient);
            }
        };
        for argument in arguments {
            if looks_like_one(argument) {
                add(argument.parse()?);
                continue;
            }
            let path = Path::new(argument);
            let text = text_of(path, "cannot read the file of recipients").map_err(|e| {
                e.hint("a recipient begins with age1; anything else is taken for the name of a file with one recipient a line")
            })?;
            let lines = text.expose_secret().lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
            let before = all_of(lines, path)?;
            if before.is_empty() {
                return Err(Error::usage("the file of recipients has none").with("path", path.display()));
            }
            before.into_iter().for_each(&mut add);
        }
        Ok(all)
    }
}

fn all_of<'a>(lines: impl Iterator<Item = &'a str>, path: &Path) -> Result<Vec<Recipient>> {
    lines.map(|line| line.parse().map_err(|e: Error| e.with("path", path.display()))).collect()
}

fn looks_like_one(text: &str) -> bool {
    text.starts_with("age1") || text.starts_with("ssh-") || text.to_ascii_uppercase().starts_with("AGE-SECRET-KEY-")
}

impl FromStr for Recipient {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text.to_ascii_uppercase().starts_with("AGE-SECRET-KEY-") {
            // It is not shown again.
            return Err(Error::usage("this is a secret key, not a recipient")
                .hint("the recipient is the line 'public key: age1...' of the key file; take a new key: this one stood on a command line"));
        }
        match text.parse::<age::x25519::Recipient>() {
            Ok(inner) => Ok(Recipient { text: text.to_owned(), inner: Arc::new(inner) }),
            Err(why) => Err(Error::usage("this is no age recipient")
                .with("recipient", text)
                .with("why", why)
                .hint("it is one word that begins with age1, as 'age-keygen' prints it")),
        }
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for Recipient {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// A secret key.
#[derive(Clone)]
pub struct Identity(Arc<dyn age::Identity + Send + Sync>);

impl Identity {
    #[cfg(test)]
    pub(super) fn of(key: age::x25519::Identity) -> Self {
        Identity(Arc::new(key))
    }

    pub(super) fn inner(&self) -> &(dyn age::Identity + Send + Sync + 'static) {
        &*self.0
    }
}

/// All that was given to open an archive with.
#[derive(Clone, Default)]
pub struct Keys {
    /// Secret keys of recipients.
    pub(super) identities: Vec<Identity>,
    /// The archive's passphrase.
    pub(super) passphrase: Option<Secret>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({} identities, passphrase: {})", self.identities.len(), self.passphrase.is_some())
    }
}

impl Keys {
    /// The keys in these files; `passphrase` opens those that are encrypted themselves, and archives that have one.
    ///
    /// # Errors
    /// `Kind::Usage` when a file cannot be read or holds no key, `Kind::Key` when the passphrase does not open it.
    pub fn new(files: &[impl AsRef<Path>], passphrase: Option<Secret>) -> Result<Self> {
        let mut keys = Keys { identities: Vec::new(), passphrase };
        for file in files {
            keys.identities.extend(read(file.as_ref(), keys.passphrase.as_ref())?);
        }
        Ok(keys)
    }

    /// These, and the key that a file encrypted with the passphrase holds (as `keys/archive.key.age` of an archive).
    ///
    /// # Errors
    /// `Kind::Key` when the passphrase does not open it, `Kind::Damage` when it is damaged.
    pub fn and_of(&self, key_file: &[u8]) -> Result<Self> {
        let mut keys = self.clone();
        if let Some(passphrase) = &self.passphrase {
            keys.identities.push(ArchiveKey::open(key_file, passphrase)?.identity);
        }
        Ok(keys)
    }

    /// Only the passphrase of these, if there is one.
    pub fn of_passphrase(&self) -> Option<Self> {
        self.passphrase.clone().map(|passphrase| Keys { identities: Vec::new(), passphrase: Some(passphrase) })
    }

    /// Was nothing given?
    pub fn is_empty(&self) -> bool {
        self.identities.is_empty() && self.passphrase.is_none()
    }

    /// Does this file of keys need a passphrase itself?
    pub fn is_encrypted(file: &Path) -> bool {
        let mut beginning = Vec::new();
        let read = std::fs::File::open(file).and_then(|f| f.take(64).read_to_end(&mut beginning));
        read.is_ok() && (beginning.starts_with(MAGIC) || beginning.starts_with(ARMOR))
    }
}

fn text_of(path: &Path, what: &str) -> Result<SecretString> {
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|f| f.take(FILE_MAX_BYTES).read_to_string(&mut text))
        .map_err(|e| Error::io(Kind::Usage, what, path, e))?;
    Ok(SecretString::from(text))
}

/// The keys in a file of identities.
fn read(path: &Path, passphrase: Option<&Secret>) -> Result<Vec<Identity>> {
    let text = if Keys::is_encrypted(path) {
        let passphrase = passphrase.ok_or_else(|| {
            Error::usage("the key file is encrypted with a passphrase, and none was given")
                .with("path", path.display())
                .hint("give --passphrase-file too")
        })?;
        let mut bytes = Vec::new();
        std::fs::File::open(path)
            .and_then(|f| f.take(FILE_MAX_BYTES).read_to_end(&mut bytes))
            .map_err(|e| Error::io(Kind::Usage, "cannot read the key file", path, e))?;
        open_with(&bytes, passphrase).map_err(|e| e.with("path", path.display()))?
    } else {
        text_of(path, "cannot read the key file")?
    };
    let found: Result<Vec<Identity>> = lines(&text).map(|(number, line)| identity(line, number, path)).collect();
    let found = found?;
    if found.is_empty() {
        return Err(Error::usage("there is no key in this file").with("path", path.display()).hint(WHAT_A_KEY_IS));
    }
    Ok(found)
}

const WHAT_A_KEY_IS: &str = "it must have a line AGE-SECRET-KEY-1..., as 'age-keygen' writes it";

fn lines(text: &SecretString) -> impl Iterator<Item = (usize, &str)> {
    let numbered = (1..).zip(text.expose_secret().lines().map(str::trim));
    numbered.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

fn identity(line: &str, number: usize, path: &Path) -> Result<Identity> {
    let parsed = line.parse::<age::x25519::Identity>();
    // The line is not shown: it may be a key with a slip in it.
    parsed.map(|key| Identity(Arc::new(key))).map_err(|why| {
        Error::usage("a line of the key file is no age key")
            .with("path", path.display())
            .with("line", number)
            .with("why", why)
            .hint(WHAT_A_KEY_IS)
    })
}

/// A new key for one archive: itself, whom it opens for, and as a file that a passphrase opens.
pub(super) struct ArchiveKey {
    pub(super) identity: Identity,
    pub(super) recipient: Recipient,
}

impl ArchiveKey {
    /// Makes one, and the file that keeps it.
    pub(super) fn new(passphrase: &Secret) -> Result<(Self, Vec<u8>)> {
        let failed = |e: &dyn fmt::Display| Error::new(Kind::Internal, "cannot encrypt the archive's key").with("why", e);
        let key = age::x25519::Identity::generate();
        let text = format!("# public key: {}\n{}\n", key.to_public(), key.to_string().expose_secret());
        let text = SecretString::from(text);
        let mut scrypt = age::scrypt::Recipient::new(SecretString::from(passphrase.expose()));
        scrypt.set_work_factor(WORK_FACTOR);
        let encryptor =
            age::Encryptor::with_recipients(std::iter::once(&scrypt as &dyn age::Recipient)).map_err(|e| failed(&e))?;
        let mut file = Vec::new();
        let mut writer = encryptor.wrap_output(&mut file).map_err(|e| failed(&e))?;
        std::io::Write::write_all(&mut writer, text.expose_secret().as_bytes()).map_err(|e| failed(&e))?;
        writer.finish().map_err(|e| failed(&e))?;
        Ok((Self::of(key), file))
    }

    /// Opens that file.
    pub(super) fn open(file: &[u8], passphrase: &Secret) -> Result<Self> {
        let text = open_with(file, passphrase)?;
        let key = lines(&text).find_map(|(_, line)| line.parse().ok());
        key.map(Self::of).ok_or_else(|| Error::damage("the archive's key file holds no key"))
    }

    fn of(key: age::x25519::Identity) -> Self {
        let public = key.to_public();
        let recipient = Recipient { text: public.to_string(), inner: Arc::new(public) };
        ArchiveKey { identity: Identity(Arc::new(key)), recipient }
    }
}

/// The text of a file that was encrypted with a passphrase.
fn open_with(file: &[u8], passphrase: &Secret) -> Result<SecretString> {
    let damaged = |e: &dyn fmt::Display| {
        Error::damage("the key file is damaged").with("why", e).hint("take it from another copy of the archive")
    };
    let decryptor = age::Decryptor::new_buffered(std::io::BufReader::new(age::armor::ArmoredReader::new(file)));
    let decryptor = decryptor.map_err(|e| damaged(&e))?;
    let mut scrypt = age::scrypt::Identity::new(SecretString::from(passphrase.expose()));
    scrypt.set_max_work_factor(WORK_FACTOR_MAX);
    let mut reader = decryptor.decrypt(std::iter::once(&scrypt as &dyn age::Identity)).map_err(|e| match e {
        age::DecryptError::DecryptionFailed | age::DecryptError::KeyDecryptionFailed => {
            Error::new(Kind::Key, "the passphrase is not the right one")
                .hint("capital letters, spaces and the end of the line count; without it nobody can open the archive")
        }
        e => damaged(&e),
    })?;
    let mut text = String::new();
    reader.by_ref().take(FILE_MAX_BYTES).read_to_string(&mut text).map_err(|e| damaged(&e))?;
    Ok(SecretString::from(text))
}
