//! Tombstones: what was removed for good, when, by whom and why, signed, in `data/tombstones/` (docs/format.md section 12). In an encrypted
//! archive they are encrypted, and the signature is over the file as it lies there: without the key it holds, and nobody knows of what.

use std::collections::HashSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::signature;
use crate::archive::Findings;
use crate::archive::pack::pack_name;
use crate::error::{Error, Result};
use crate::model::Digest;
use crate::store::Store;
use crate::vault::Vault;

/// Where they lie.
pub const FOLDER: &str = "data/tombstones";
/// The namespace of their signatures.
pub const NAMESPACE: &str = "floe-tombstone";
/// What their `format` member says.
pub(super) const FORMAT: &str = "floe tombstone";
/// Largest one that is read.
const MAX_BYTES: u64 = 1 << 30;

/// An account's listing of one snapshot that was removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gone {
    /// SHA-256 of the snapshot's root.
    pub root: Digest,
    /// The account.
    pub account: String,
}

/// The rule of a policy by which something was removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByRule {
    /// SHA-256 of the policy's file.
    pub sha256: Digest,
    /// The rule's name.
    pub rule: String,
}

/// How much was removed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Placements in the listings that were removed.
    pub items: u64,
    /// Objects.
    pub objects: u64,
    /// Bytes by which the packs became smaller.
    pub bytes: u64,
}

/// One removal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// Always `floe tombstone`.
    pub format: String,
    /// Version of this structure.
    pub version: u32,
    /// When.
    pub at: Timestamp,
    /// Who decided it.
    pub who: String,
    /// Why.
    pub why: String,
    /// The rule that it follows, if it is one of a policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<ByRule>,
    /// Who did it: a user on a machine.
    pub agent: String,
    /// With what program.
    pub tool: String,
    /// Snapshots that were removed as a whole: SHA-256 of their roots.
    pub snapshots: Vec<Digest>,
    /// The listings that were removed.
    pub listings: Vec<Gone>,
    /// How much.
    pub counts: Counts,
    /// Packs that are gone.
    pub old_packs: Vec<Digest>,
    /// Packs that hold what else was in them.
    pub new_packs: Vec<Digest>,
    /// The objects that are gone, sorted.
    pub objects: Vec<Digest>,
}

/// A tombstone whose signature holds, and the fingerprint of the key that signed it.
#[derive(Clone, Debug)]
pub struct Signed {
    /// Its file.
    pub file: String,
    /// What it says; nothing where it is encrypted and no key was given.
    pub tombstone: Option<Tombstone>,
    /// The key.
    pub fingerprint: String,
}

/// The files of tombstones, oldest first: what they say, or why they are not believed.
///
/// # Errors
/// `Kind::Storage` when the archive cannot be read.
pub fn all(vault: &Vault) -> Result<Vec<Result<Signed>>> {
    let files = vault.list(FOLDER)?;
    let stones = files.iter().filter(|file| !file.name.ends_with(signature::ENDING));
    Ok(stones.map(|file| read(vault, &file.name)).collect())
}

/// Those that are good and can be read.
///
/// # Errors
/// `Kind::Storage` when the archive cannot be read.
pub(super) fn told(vault: &Vault) -> Result<impl Iterator<Item = Tombstone>> {
    Ok(all(vault)?.into_iter().filter_map(|signed| signed.ok()?.tombstone))
}

fn read(vault: &Vault, file: &str) -> Result<Signed> {
    let wrong = |why: &str| Error::damage(format!("a tombstone is not believed: {why}")).with("file", file);
    let bytes = vault.files().read(file, MAX_BYTES)?.unwrap_or_default();
    if !is_named_by(vault, file, &Digest::of(&bytes)) {
        return Err(wrong("it is not the one that its name says"));
    }
    let armored = vault.files().read(&format!("{file}{}", signature::ENDING), MAX_BYTES)?.unwrap_or_default();
    let fingerprint =
        signature::check_file(&armored, NAMESPACE, &bytes).map_err(|why| wrong(&format!("its signature: {why}")))?;
    if vault.is_locked() {
        return Ok(Signed { file: file.to_owned(), tombstone: None, fingerprint });
    }
    let bytes = vault.clear(file, bytes)?;
    let tombstone: Tombstone = serde_json::from_slice(&bytes).map_err(|e| wrong("it cannot be read").because(e))?;
    if tombstone.format != FORMAT || tombstone.version != 1 {
        return Err(wrong("it has another format").hint("a newer floe can read it"));
    }
    Ok(Signed { file: file.to_owned(), tombstone: Some(tombstone), fingerprint })
}

/// Does the file of a hold or tombstone have the digest in its name, and the ending of the archive's files?
pub(super) fn is_named_by(vault: &Vault, file: &str, digest: &Digest) -> bool {
    file.ends_with(&format!("-{}.json{}", &digest.to_string()[..12], vault.suffix()))
}

/// Notes what tombstones say, and what is wrong with them.
///
/// # Errors
/// `Kind::Storage` when the archive cannot be read.
pub fn check(vault: &Vault, found: &mut Findings) -> Result<()> {
    for stone in all(vault)? {
        match stone {
            Err(e) => found.damage.push(e.to_string()),
            Ok(Signed { file, tombstone: None, fingerprint }) => found.warnings.push(format!(
                "something was removed for good; what, for whom and why is encrypted (signed with {fingerprint}; {file})"
            )),
            Ok(Signed { file, tombstone: Some(t), fingerprint }) => {
                let by = t.policy.map_or_else(String::new, |by| format!("rule '{}' of the policy {}; ", by.rule, by.sha256));
                found.warnings.push(format!(
                    "{} objects with {} items were removed for good at {} for {}, because: {} ({by}signed with {fingerprint}; {file})",
                    t.counts.objects, t.counts.items, t.at, t.who, t.why
                ));
            }
        }
    }
    Ok(())
}

/// The objects that tombstones name.
///
/// # Errors
/// `Kind::Storage` when the archive cannot be read.
pub fn forgotten(vault: &Vault) -> Result<HashSet<Digest>> {
    Ok(told(vault)?.flat_map(|tombstone| tombstone.objects).collect())
}

/// Names of the packs that tombstones say are removed, as far as they can be read.
///
/// # Errors
/// `Kind::Storage` when the archive cannot be read.
pub fn removed_packs(vault: &Vault) -> Result<HashSet<String>> {
    Ok(told(vault)?.flat_map(|tombstone| tombstone.old_packs).map(|d| pack_name(&d, vault.suffix())).collect())
}

/// Removes what is left of packs that tombstones name, and their recovery data, from which they could be made again; for whoever holds the
/// writer's lock. Were any there?
///
/// # Errors
/// `Kind::Storage` when the archive cannot be read or written.
pub(crate) fn finish(vault: &Vault) -> Result<bool> {
    let (store, old) = (vault.files(), removed_packs(vault)?);
    if old.is_empty() {
        return Ok(false);
    }
    let digests: HashSet<&str> = old.iter().filter_map(|name| digest_in(name)).collect();
    let of_old = |name: &str| digest_in(name).is_some_and(|digest| digests.contains(digest));
    let mut left = Vec::new();
    for folder in ["data/packs", "parity", "damaged"] {
        left.extend(store.list(folder)?.into_iter().map(|file| file.name).filter(|name| of_old(name)));
    }
    if left.is_empty() {
        return Ok(false);
    }
    // The caches first: they would be believed to know where objects are.
    for folder in ["index", "index/seen"] {
        for file in store.list(folder)?.into_iter().filter(|file| !file.name.ends_with("/lock")) {
            store.discard(&file.name)?;
        }
    }
    left.iter().try_for_each(|name| store.discard(name))?;
    Ok(true)
}

/// The digest that a file's name begins with.
fn digest_in(name: &str) -> Option<&str> {
    name.rsplit('/').next().and_then(|name| name.split('.').next()).filter(|digest| digest.len() == 64)
}
