//! Is the archive intact? Names what is damaged and which items it touches.

use std::collections::HashMap;

use rayon::prelude::*;

use super::Archive;
use super::bag::{TAG_FILES, parse_manifest};
use super::pack::pack_digest;
use crate::error::Result;
use crate::model::{Digest, Hasher};
use crate::monitor::Monitor;
use crate::store::Store;

/// What a check found.
#[derive(Debug, Default, serde::Serialize)]
pub struct Findings {
    /// Files checked.
    pub files: u64,
    /// Objects rebuilt and hashed (full checks only).
    pub objects: u64,
    /// Placements that resolve (full checks only).
    pub placements: u64,
    /// What is wrong, and where.
    pub damage: Vec<String>,
}

fn digest_of(store: &dyn Store, name: &str, size: u64) -> Result<Digest> {
    let mut hasher = Hasher::new();
    let mut buffer = vec![0u8; 1 << 20];
    let mut at = 0;
    while at < size {
        let n = (size - at).min(buffer.len() as u64) as usize;
        store.read_at(name, at, &mut buffer[..n])?;
        hasher.update(&buffer[..n]);
        at += n as u64;
    }
    Ok(hasher.finish())
}

/// What to check.
#[derive(Clone, Debug, Default)]
pub struct Check {
    /// Rebuild and hash every object, and resolve every placement; else bag files, digests of packs, index and listings.
    pub full: bool,
    /// Only this snapshot's listings and items (any unambiguous part of its name); the packs are checked all the same.
    pub snapshot: Option<String>,
}

/// Checks the bag files and every pack's digest; a full check every object and every placement too.
///
/// # Errors
/// When the check itself cannot be done. Damage is no error but a finding.
pub fn verify(archive: &Archive, check: &Check, monitor: &dyn Monitor) -> Result<Findings> {
    let full = check.full;
    monitor.phase("verify", None);
    let mut found = Findings { damage: archive.damage().to_vec(), ..Findings::default() };
    bag_files(archive, &mut found)?;
    let mut broken = HashMap::new();
    if full {
        let digests = archive.digests_in_place();
        found.objects = digests.len() as u64;
        broken = digests
            .par_iter()
            .filter_map(|d| archive.copy(*d, &mut std::io::sink()).err().map(|e| (*d, e.to_string())))
            .collect::<HashMap<Digest, String>>();
        found.damage.extend(broken.values().cloned());
    }
    let snapshots = match &check.snapshot {
        Some(id) => archive.snapshot(Some(id)).map(|s| vec![s]),
        None => archive.snapshots(),
    };
    match snapshots {
        Ok(snapshots) if snapshots.is_empty() => found.damage.push("no snapshot is committed".into()),
        Ok(snapshots) if full => {
            for snapshot in &snapshots {
                for account in &snapshot.root.accounts {
                    account_items(archive, &broken, &snapshot.id, account, &mut found);
                }
            }
        }
        Ok(_) => {}
        Err(e) => found.damage.push(e.to_string()),
    }
    found.damage.sort();
    found.damage.dedup();
    monitor.done();
    Ok(found)
}

/// Does every placement lead to an object that was found whole?
fn account_items(
    archive: &Archive,
    broken: &HashMap<Digest, String>,
    snapshot: &str,
    account: &super::AccountEntry,
    found: &mut Findings,
) {
    let collections = match archive.collections(account) {
        Ok(collections) => collections,
        Err(e) => return found.damage.push(format!("snapshot {snapshot}, account {}: its listing: {e}", account.account)),
    };
    for collection in collections {
        let place = format!("snapshot {snapshot}, account {}, {}", account.account, collection.head.path);
        let read = archive.placements(&collection, &mut |p| {
            found.placements += 1;
            match broken.get(&p.sha256) {
                Some(why) => found.damage.push(format!("{place}, {}: {why}", p.source)),
                None if !archive.contains(p.sha256) => {
                    found.damage.push(format!("{place}, {}: its object {} is missing", p.source, p.sha256));
                }
                None => {}
            }
            Ok(())
        });
        if let Err(e) = read {
            found.damage.push(format!("{place}: its listing: {e}"));
        }
    }
}

fn bag_files(archive: &Archive, found: &mut Findings) -> Result<()> {
    let store = archive.store();
    let tags = store.read("tagmanifest-sha256.txt", 1 << 20)?.unwrap_or_default();
    let listed = parse_manifest(&tags).unwrap_or_default();
    for name in TAG_FILES {
        let bytes = store.read(name, 1 << 30)?;
        let want = listed.iter().find(|(_, n)| n == name).map(|(d, _)| *d);
        match (bytes, want) {
            (Some(bytes), Some(want)) if Digest::of(&bytes) == want => found.files += 1,
            (None, _) => found.damage.push(format!("{name} is missing")),
            _ => found.damage.push(format!("{name} does not have the digest in tagmanifest-sha256.txt")),
        }
    }
    let manifest = store.read("manifest-sha256.txt", 1 << 30)?.unwrap_or_default();
    let manifest = match parse_manifest(&manifest) {
        Ok(manifest) => manifest,
        Err(e) => {
            found.damage.push(format!("manifest-sha256.txt: {e}"));
            Vec::new()
        }
    };
    let mut there = store.list("data/packs")?;
    there.extend(store.list("data/snapshots")?);
    for (_, name) in &manifest {
        if !there.iter().any(|f| f.name == *name) {
            found.damage.push(format!("{name} is missing"));
        }
    }
    let results: Vec<Result<Option<String>>> = there
        .par_iter()
        .map(|file| {
            let listed = manifest.iter().find(|(_, n)| *n == file.name).map(|(d, _)| *d);
            // A pack that is not listed belongs to an interrupted run; its name says what it must be.
            let Some(want) = listed.or_else(|| pack_digest(&file.name)) else {
                return Ok(Some(format!("{} is in no manifest", file.name)));
            };
            let got = if pack_digest(&file.name).is_some() {
                digest_of(store, &file.name, file.size)?
            } else {
                Digest::of(&store.read(&file.name, super::bag::ROOT_MAX_BYTES)?.unwrap_or_default())
            };
            Ok((got != want).then(|| format!("{} does not have the digest that it should", file.name)))
        })
        .collect();
    for result in results {
        found.files += 1;
        found.damage.extend(result.unwrap_or_else(|e| Some(e.to_string())));
    }
    Ok(())
}
