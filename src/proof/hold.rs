//! Holds: accounts of which nothing may be removed, in `data/holds/` (docs/format.md section 12).

use std::collections::BTreeMap;
use std::path::Path;

use jiff::{Timestamp, ToSpan as _};
use serde::{Deserialize, Serialize};

use super::events::{self, Event, EventType, Outcome};
use super::tombstone::is_named_by;
use crate::archive::{Archive, added};
use crate::error::{Error, Kind, Result};
use crate::model::Digest;
use crate::store::{LocalStore, Store as _};
use crate::vault::{Keys, Vault};

/// Where they lie.
pub const FOLDER: &str = "data/holds";
const FORMAT: &str = "floe hold";
/// Largest one that is read.
const MAX_BYTES: u64 = 1 << 20;

/// An account is held, or released again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Always `floe hold`.
    pub format: String,
    /// Version of this structure.
    pub version: u32,
    /// When.
    pub at: Timestamp,
    /// Who said so: a user on a machine.
    pub agent: String,
    /// The account, as the snapshots name it.
    pub account: String,
    /// Why.
    pub why: String,
    /// Does this end the hold?
    pub release: bool,
}

/// The files of holds, oldest first: what they say, or what is wrong with them. Without the key of an encrypted archive nothing is said.
///
/// # Errors
/// `Kind::Storage` when the archive cannot be read.
pub fn all(vault: &Vault) -> Result<Vec<Result<Hold>>> {
    let files = vault.list(FOLDER)?;
    Ok(files.iter().filter_map(|file| read(vault, &file.name).transpose()).collect())
}

fn read(vault: &Vault, file: &str) -> Result<Option<Hold>> {
    let bytes = vault.files().read(file, MAX_BYTES)?.unwrap_or_default();
    let wrong = || Error::damage("a hold is not the one that its name says, or cannot be read").with("file", file);
    if !is_named_by(vault, file, &Digest::of(&bytes)) {
        return Err(wrong());
    }
    if vault.is_locked() {
        return Ok(None);
    }
    let hold: Hold = serde_json::from_slice(&vault.clear(file, bytes)?).map_err(|e| wrong().because(e))?;
    if hold.format != FORMAT || hold.version != 1 {
        return Err(wrong().hint("a newer floe can read it"));
    }
    Ok(Some(hold))
}

/// The accounts that are held, and why.
///
/// # Errors
/// `Kind::Damage` when one of the files cannot be read: then nobody knows what is held.
pub fn held(vault: &Vault) -> Result<BTreeMap<String, String>> {
    let mut held = BTreeMap::new();
    for hold in all(vault)? {
        let hold = hold?;
        if hold.release {
            held.remove(&hold.account);
        } else {
            held.insert(hold.account, hold.why);
        }
    }
    Ok(held)
}

/// Holds an account, or releases it; gives the name of the new file.
///
/// # Errors
/// `Kind::Usage` when it is released and was not held, or no key was given for an encrypted archive; `Kind::Locked`, `Kind::Storage` or
/// `Kind::Damage` as [`events::append`].
pub fn put(path: &Path, keys: &Keys, account: &str, why: &str, release: bool) -> Result<String> {
    let store = LocalStore::new(path);
    if store.read("bagit.txt", 1 << 10)?.is_none() {
        return Err(Error::usage("there is no archive in this folder").with("folder", path.display()));
    }
    let _lock = store.lock()?;
    let mut archive = Archive::open_with(path, keys)?;
    archive.for_its_recipients()?;
    let vault = archive.vault();
    if release && !held(vault)?.contains_key(account) {
        return Err(Error::usage("this account is not held").with("account", account));
    }
    // Later than the one before, also within one second: the order of the names is that of what was said.
    let last = all(vault)?.into_iter().filter_map(Result::ok).map(|hold| hold.at).max();
    let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default();
    let at = last.and_then(|last| last.checked_add(1.second()).ok()).map_or(now, |earliest| now.max(earliest));
    let event = Event::new(EventType::Other("policy assignment".to_owned()), Outcome::Success);
    let (format, account, why) = (FORMAT.to_owned(), account.to_owned(), why.to_owned());
    let hold = Hold { format, version: 1, at, agent: event.agent.clone(), account, why, release };
    let mut bytes = serde_json::to_vec_pretty(&hold).map_err(|e| Error::new(Kind::Internal, "cannot write a hold").because(e))?;
    bytes.push(b'\n');
    // It names an account.
    let bytes = vault.sealed(bytes, None)?;
    let digest = Digest::of(&bytes).to_string();
    let file = format!("{FOLDER}/{}-{}.json{}", at.strftime("%Y%m%dT%H%M%SZ"), &digest[..12], vault.suffix());
    let event = event
        .detail("file", file.as_str())
        .detail("sha256", digest)
        .detail("policy", if release { "hold released" } else { "hold" });
    events::commit(&store, added(&store, vec![(file.clone(), bytes)])?, event)?;
    Ok(file)
}
