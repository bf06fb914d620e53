//! Keys for signing: made, read from OpenSSH's files, and lists of those whose signatures are demanded.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use ssh_key::rand_core::OsRng;
use ssh_key::{Algorithm, LineEnding, PrivateKey, PublicKey};
use tempfile::NamedTempFile;

use crate::error::{Error, Kind, Result};
use crate::net::Secret;

/// Largest file of keys that is read.
const MAX_BYTES: u64 = 4 << 20;

/// The file of the public key that belongs to that of a private key.
pub fn public_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".pub");
    PathBuf::from(name)
}

/// Makes an Ed25519 key in OpenSSH's format: the private key in `path`, for its owner only, the public one in `path.pub`.
///
/// # Errors
/// `Kind::Usage` when one of the files is there already, `Kind::Storage` when they cannot be written.
pub fn make(path: &Path, comment: &str, passphrase: Option<&Secret>) -> Result<PublicKey> {
    let public = public_path(path);
    for there in [path, &public] {
        if there.symlink_metadata().is_ok() {
            return Err(Error::usage("there is a file of this name already, and a key is never overwritten")
                .with("path", there.display())
                .hint("name another file with --out"));
        }
    }
    let failed = |e: ssh_key::Error| Error::new(Kind::Internal, "cannot make a key").because(e);
    let mut key = PrivateKey::random(&mut OsRng, Algorithm::Ed25519).map_err(failed)?;
    key.set_comment(comment);
    let sealed = match passphrase {
        Some(secret) => key.encrypt(&mut OsRng, secret.expose()).map_err(failed)?,
        None => key.clone(),
    };
    let text = sealed.to_openssh(LineEnding::LF).map_err(failed)?;
    put(path, text.as_bytes(), 0o600)?;
    let line = key.public_key().to_openssh().map_err(failed)?;
    put(&public, format!("{line}\n").as_bytes(), 0o644)?;
    Ok(key.public_key().clone())
}

/// Writes a new file that appears whole or not at all.
fn put(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let failed = |e: std::io::Error| Error::io(Kind::Storage, "cannot write the key", path, e);
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut file = NamedTempFile::new_in(folder).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(mode)).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist_noclobber(path).map_err(|e| failed(e.error))?;
    std::fs::File::open(folder).and_then(|f| f.sync_all()).map_err(failed)
}

fn read_text(path: &Path) -> Result<String> {
    use std::io::Read as _;
    let failed = |e| Error::io(Kind::Usage, "cannot read the key file", path, e);
    let mut text = String::new();
    std::fs::File::open(path).map_err(failed)?.take(MAX_BYTES).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

/// Reads a private key in OpenSSH's format; `ask` gives the passphrase of an encrypted one.
///
/// # Errors
/// `Kind::Usage` when it is no such key or the passphrase is not its own.
pub fn read(path: &Path, ask: &dyn Fn() -> Result<Secret>) -> Result<PrivateKey> {
    let text = secrecy::SecretString::from(read_text(path)?);
    let text = secrecy::ExposeSecret::expose_secret(&text);
    let wrong = |what: &str| Error::usage(what).with("path", path.display());
    if PublicKey::from_openssh(text.trim_end()).is_ok() {
        return Err(wrong("this is a public key").hint("signing needs the private one, in the file without .pub"));
    }
    if text.contains("PRIVATE KEY-----") && !text.contains("OPENSSH PRIVATE KEY-----") {
        return Err(
            wrong("the private key is not in OpenSSH's format").hint("ssh-keygen -p -f FILE writes it anew in that format")
        );
    }
    let unreadable = |e: ssh_key::Error| {
        let hint = if is_ecdsa(text) {
            "OpenSSH shortens some ECDSA keys (half of those with 521 bits, one in 256 of the others) in a way that floe does not \
             read; sign with ssh-keygen -Y sign (docs/format.md section 10), or take another key"
        } else {
            "floe key new makes one, and so does ssh-keygen"
        };
        wrong("this is no private key that floe can read").because(e).hint(hint)
    };
    let key = PrivateKey::from_openssh(text).map_err(unreadable)?;
    if !key.is_encrypted() {
        return Ok(key);
    }
    let passphrase = ask()?;
    key.decrypt(passphrase.expose()).map_err(|e| match e {
        ssh_key::Error::Crypto => wrong("the passphrase is not the one of this key"),
        e => unreadable(e),
    })
}

/// Does the file of a private key hold one of the ECDSA kind? Its public part is never encrypted.
fn is_ecdsa(text: &str) -> bool {
    let body: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
    let bytes = base64::engine::general_purpose::STANDARD.decode(body).unwrap_or_default();
    memchr::memmem::find(&bytes, b"ecdsa-sha2-").is_some()
}

/// A key whose signature is demanded, and for what.
#[derive(Clone, Debug)]
pub struct Demanded {
    /// The key.
    pub key: PublicKey,
    /// Who has it, as its file says; for people.
    pub who: String,
    /// Namespaces that its file allows it, as patterns; all when empty.
    namespaces: Vec<String>,
}

impl Demanded {
    /// May the key sign in this namespace, by its own file?
    pub fn may_sign(&self, namespace: &str) -> bool {
        self.namespaces.is_empty() || self.namespaces.iter().any(|pattern| matches(pattern, namespace))
    }
}

/// Does the pattern of OpenSSH (`*` and `?`) fit?
fn matches(pattern: &str, text: &str) -> bool {
    match (pattern.chars().next(), text.chars().next()) {
        (None, None) => true,
        (Some('*'), _) => {
            let rest = &pattern[1..];
            text.char_indices().map(|(at, _)| at).chain([text.len()]).any(|at| matches(rest, &text[at..]))
        }
        (Some(p), Some(c)) if p == '?' || p == c => matches(&pattern[p.len_utf8()..], &text[c.len_utf8()..]),
        _ => false,
    }
}

/// Reads a `.pub` file, or a list of keys as `authorized_keys` or `allowed_signers` has them: a key a line.
///
/// # Errors
/// `Kind::Usage` when a line holds no key, or says something of its key that floe does not know how to heed.
pub fn read_public(path: &Path) -> Result<Vec<Demanded>> {
    let text = read_text(path)?;
    let mut keys = Vec::new();
    for (number, line) in text.lines().enumerate().map(|(n, line)| (n + 1, line.trim())) {
        if !line.is_empty() && !line.starts_with('#') {
            keys.push(demanded(line).map_err(|e| e.with("path", path.display()).with("line", number))?);
        }
    }
    if keys.is_empty() {
        return Err(Error::usage("there is no public key in this file").with("path", path.display()));
    }
    Ok(keys)
}

fn demanded(line: &str) -> Result<Demanded> {
    let words = words(line);
    let found = words.windows(2).enumerate().find_map(|(at, pair)| {
        let key = PublicKey::from_openssh(&format!("{} {}", pair[0], pair[1])).ok()?;
        Some((at, key))
    });
    let (at, key) = found.ok_or_else(|| {
        Error::usage("this line holds no public key that floe can read")
            .hint("name the .pub file of the key, or an allowed_signers file")
    })?;
    let before = &words[..at];
    let mut namespaces = Vec::new();
    for option in before.iter().flat_map(|word| options(word)) {
        let (name, value) = option.split_once('=').unwrap_or((&option, ""));
        match name.to_ascii_lowercase().as_str() {
            "namespaces" => namespaces.extend(value.trim_matches('"').split(',').map(|n| n.trim().to_owned())),
            "cert-authority" | "valid-after" | "valid-before" => {
                return Err(Error::usage("floe does not heed this option of a key")
                    .with("option", name)
                    .hint("check the signature with ssh-keygen -Y verify, which does"));
            }
            _ => {}
        }
    }
    let comment = words[at + 2..].join(" ");
    let principal = before.first().filter(|word| word.contains('@') && !word.contains('='));
    let who = principal.cloned().unwrap_or(comment);
    Ok(Demanded { key, who, namespaces })
}

/// The words of a line; a quoted part with spaces belongs to its word.
fn words(line: &str) -> Vec<String> {
    split(line, |c| c == ' ' || c == '\t')
}

/// The options in a word.
fn options(word: &str) -> Vec<String> {
    split(word, |c| c == ',')
}

fn split(text: &str, at: impl Fn(char) -> bool) -> Vec<String> {
    let mut quoted = false;
    let parts = text.split(|c: char| {
        quoted ^= c == '"';
        !quoted && at(c)
    });
    parts.filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_as_openssh_has_them() {
        for (pattern, text, fits) in [
            ("floe-root-*", "floe-root-operator", true),
            ("floe-root-auditor", "floe-root-operator", false),
            ("*", "", true),
            ("f?oe*r", "floe-root-operator", true),
            ("", "x", false),
            ("*x", "ab", false),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn lines_of_all_three_sorts_give_their_key() {
        let key = PrivateKey::random(&mut OsRng, Algorithm::Ed25519).unwrap().public_key().to_openssh().unwrap();
        let free = demanded(&format!("{key} Anna at work")).unwrap();
        assert_eq!((free.who.as_str(), free.may_sign("floe-root-auditor")), ("Anna at work", true));
        let listed = demanded(&format!("anna@acme.example,*@x namespaces=\"file,floe-root-operator\" {key}")).unwrap();
        assert_eq!(listed.who, "anna@acme.example,*@x");
        assert!(listed.may_sign("floe-root-operator") && !listed.may_sign("floe-root-auditor"));
        let authorized = demanded(&format!("command=\"echo a b\",no-pty {key}")).unwrap();
        assert!(authorized.key == listed.key && authorized.may_sign("floe-root-courier"));
        for bad in
            ["ssh-ed25519 AAAA", "nothing", &format!("anna@x cert-authority {key}"), &format!("a valid-before=\"2020\" {key}")]
        {
            assert!(demanded(bad).is_err(), "{bad}");
        }
    }
}
