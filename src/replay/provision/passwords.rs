//! Passwords of new accounts: made to the server's policy or given in a file, and delivered in a file that only its owner can read.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::directory::local_part;
use crate::error::{Error, Kind, Result};
use crate::icewarp::api::Api;
use crate::net::Secret;

/// Letters, digits and signs that nobody mixes up when typing, and that no shell, CSV or XML needs to quote.
const LETTERS: [&[u8]; 4] = [b"ABCDEFGHJKLMNPQRSTUVWXYZ", b"abcdefghijkmnpqrstuvwxyz", b"23456789", b"-+=.:_"];
/// Characters of a new password, unless the policy asks for more.
const LENGTH: usize = 20;
/// Longest password that is made, whatever the policy says.
const LENGTH_MAX: usize = 120;
/// Largest file of passwords.
const FILE_MAX: u64 = 256 << 20;

/// What the server asks of passwords.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Policy {
    length: usize,
}

/// Reads the policy; without one, what is seen of servers is enough.
pub(super) fn policy(api: &mut Api) -> Result<Policy> {
    // Each new password has a quarter of each sort, so only the sum of what is asked for matters.
    const NAMES: [&str; 5] = [
        "C_Accounts_Policies_Pass_MinLength",
        "C_Accounts_Policies_Pass_Digits",
        "C_Accounts_Policies_Pass_NonAlphaNum",
        "C_Accounts_Policies_Pass_Alpha",
        "C_Accounts_Policies_Pass_UpperAlpha",
    ];
    let told = match api.server_properties(&NAMES) {
        Ok(told) => told,
        // A domain's administrator may not read the server's properties.
        Err(e) if e.kind() == Kind::Refused => BTreeMap::new(),
        Err(e) => return Err(e),
    };
    let number = |name: &&str| told.get(&name.to_lowercase()).and_then(|v| v.value("val").parse::<usize>().ok()).unwrap_or(0);
    let most_of_one_sort = NAMES[1..].iter().map(number).max().unwrap_or(0);
    Ok(Policy { length: LENGTH.max(number(&NAMES[0])).max(most_of_one_sort.saturating_mul(LETTERS.len())).min(LENGTH_MAX) })
}

/// Where new passwords go, and those that were given.
pub struct Passwords {
    path: PathBuf,
    recipient: Option<age::x25519::Recipient>,
    given: BTreeMap<String, Secret>,
}

impl Passwords {
    /// New passwords go into `path`: lines of address and password, for its owner only; or, with a `recipient` (`age1...`), encrypted.
    /// `given` holds passwords for some of the accounts in the same form, and so does `path` if an earlier run wrote it.
    ///
    /// # Errors
    /// `Kind::Usage` when the recipient is none, or a file cannot be read or can be read by others.
    pub fn new(path: &Path, recipient: Option<&str>, given: Option<&Path>) -> Result<Self> {
        let recipient = recipient.map(str::parse).transpose().map_err(|why: &str| {
            Error::usage("this is no age recipient")
                .with("recipient", recipient.unwrap_or_default())
                .with("why", why)
                .hint("it begins with age1")
        })?;
        let mut known = BTreeMap::new();
        if recipient.is_none() && path.symlink_metadata().is_ok() {
            known.extend(read(path)?);
        }
        if let Some(file) = given {
            known.extend(read(file)?);
        }
        Ok(Passwords { path: path.to_owned(), recipient, given: known })
    }

    /// A password for each address, new where none was given. When this returns, all of them are on disk.
    pub(super) fn prepare(&self, addresses: &[String], policy: &Policy) -> Result<BTreeMap<String, Secret>> {
        let mut secrets = BTreeMap::new();
        let mut new = Vec::new();
        for address in addresses {
            let secret = match self.given.get(address) {
                Some(given) => given.clone(),
                None => {
                    let made = new_password(local_part(address), policy)?;
                    new.push((address.as_str(), made.clone()));
                    made
                }
            };
            secrets.insert(address.clone(), secret);
        }
        if !new.is_empty() {
            self.deliver(&new)?;
        }
        Ok(secrets)
    }

    fn deliver(&self, new: &[(&str, Secret)]) -> Result<()> {
        let failed = |e: std::io::Error| Error::io(Kind::Storage, "cannot write the password file", &self.path, e);
        let mut rows = csv::Writer::from_writer(Vec::new());
        for (address, password) in new {
            rows.write_record([address, password.expose()]).map_err(|e| failed(std::io::Error::other(e)))?;
        }
        let rows = rows.into_inner().map_err(|e| failed(std::io::Error::other(e.to_string())))?;
        let mut file = match &self.recipient {
            None => private().append(true).create(true).open(&self.path).map_err(failed)?,
            // What is encrypted cannot be added to: each run that makes accounts has its own file.
            Some(_) => self.unused().map_err(failed)?,
        };
        match &self.recipient {
            None => file.write_all(&rows).map_err(failed)?,
            Some(recipient) => {
                let recipients = std::iter::once(recipient as &dyn age::Recipient);
                let encryptor = age::Encryptor::with_recipients(recipients).map_err(|e| failed(std::io::Error::other(e)))?;
                let mut sealed = encryptor.wrap_output(&mut file).map_err(failed)?;
                sealed.write_all(&rows).and_then(|()| sealed.finish().map(drop)).map_err(failed)?;
            }
        }
        file.sync_all().map_err(failed)
    }

    /// A new file: the one that was named, or the first of `NAME.2`, `NAME.3` that is not there.
    fn unused(&self) -> std::io::Result<std::fs::File> {
        let mut number = 1;
        loop {
            let mut name = self.path.clone().into_os_string();
            if number > 1 {
                name.push(format!(".{number}"));
            }
            match private().write(true).create_new(true).open(&name) {
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists && number < 10_000 => number += 1,
                opened => return opened,
            }
        }
    }
}

/// Files that only their owner can read; no link is followed.
fn private() -> std::fs::OpenOptions {
    let mut options = std::fs::OpenOptions::new();
    options.mode(0o600).custom_flags(libc::O_NOFOLLOW);
    options
}

/// Lines of address and password; the last line of an address stands.
fn read(path: &Path) -> Result<BTreeMap<String, Secret>> {
    let failed = |e| Error::io(Kind::Usage, "cannot read the file of passwords", path, e);
    let file = std::fs::File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.permissions().mode() & 0o077 != 0 {
        return Err(Error::usage("others can read the file of passwords")
            .with("path", path.display())
            .hint("take their rights away: chmod 600"));
    }
    let mut text = String::new();
    file.take(FILE_MAX).read_to_string(&mut text).map_err(failed)?;
    let mut known = BTreeMap::new();
    let mut rows = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
    for (row, number) in rows.records().zip(1..) {
        // The error of a row would show its text.
        let row = row.map_err(|_| Error::usage("a row of the file of passwords cannot be read").with("row", number))?;
        if let (Some(address), Some(password)) = (row.get(0).filter(|a| a.contains('@')), row.get(1).filter(|p| !p.is_empty())) {
            known.insert(address.trim().to_lowercase(), Secret::new(password));
        }
    }
    Ok(known)
}

/// A password with capitals, small letters, digits and signs, that does not hold the account's name.
pub(super) fn new_password(local: &str, policy: &Policy) -> Result<Secret> {
    loop {
        let mut random = vec![0_u8; policy.length * 2];
        rustls::crypto::ring::default_provider()
            .secure_random
            .fill(&mut random)
            .map_err(|_| Error::new(Kind::Internal, "the system gives no random numbers"))?;
        let text: String = random
            .chunks_exact(2)
            .enumerate()
            .map(|(at, two)| {
                let set = LETTERS[at % LETTERS.len()];
                char::from(set[usize::from(u16::from_le_bytes([two[0], two[1]])) % set.len()])
            })
            .collect();
        if !text.to_lowercase().contains(&local.to_lowercase()) {
            return Ok(Secret::new(text));
        }
    }
}

/// What is asked where nobody can be asked.
pub(super) const USUAL: Policy = Policy { length: LENGTH };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_has_every_kind_of_character_and_not_the_name() {
        for _ in 0..200 {
            let password = new_password("a", &Policy { length: 24 }).expect("password");
            let has = |test: fn(&char) -> bool| password.expose().chars().any(|c| test(&c));
            assert!(has(char::is_ascii_uppercase) && has(char::is_ascii_lowercase) && has(char::is_ascii_digit));
            assert!(has(char::is_ascii_punctuation) && !password.expose().to_lowercase().contains('a'));
            assert_eq!(password.expose().len(), 24);
        }
    }

    #[test]
    fn passwords_that_were_written_or_given_are_used_again_and_nothing_is_lost() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("new.csv");
        let addresses = ["a@x.example".to_owned(), "b@x.example".to_owned()];
        let first = Passwords::new(&path, None, None).expect("new").prepare(&addresses[..1], &USUAL).expect("made");
        assert_eq!(path.metadata().expect("file").permissions().mode() & 0o777, 0o600);
        let both = Passwords::new(&path, None, None).expect("again").prepare(&addresses, &USUAL).expect("made");
        assert_eq!(both[&addresses[0]].expose(), first[&addresses[0]].expose());
        assert_eq!(std::fs::read_to_string(&path).expect("text").lines().count(), 2);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("mode");
        assert!(Passwords::new(&path, None, None).is_err());
    }

    #[test]
    fn an_encrypted_file_is_read_by_its_recipient_only_and_never_written_over() {
        let identity = age::x25519::Identity::generate();
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("new.age");
        let addresses = ["a@x.example".to_owned()];
        for file in ["new.age", "new.age.2"] {
            let recipient = identity.to_public().to_string();
            let made = Passwords::new(&path, Some(&recipient), None).expect("new").prepare(&addresses, &USUAL).expect("made");
            let bytes = std::fs::read(folder.path().join(file)).expect("file");
            let opened = age::decrypt(&identity, &bytes).expect("decrypted");
            assert_eq!(String::from_utf8(opened).expect("text"), format!("a@x.example,{}\n", made[&addresses[0]].expose()));
            assert!(age::decrypt(&age::x25519::Identity::generate(), &bytes).is_err());
        }
        assert!(Passwords::new(&path, Some("age1nonsense"), None).is_err());
    }
}
