//! Was anything changed since a root that somebody has seen? Each root names the one before it, down to the first.

use std::collections::HashMap;
use std::path::Path;

use serde::Serialize;

use super::RootFile;
use crate::archive::{Archive, Snapshot};
use crate::error::{Error, Kind, Result};
use crate::model::{Digest, Hasher};

/// What the chain of roots says about one that was seen before.
#[derive(Debug, Serialize)]
pub struct Since {
    /// SHA-256 of the root that was seen before.
    pub root: Digest,
    /// Its snapshot, when the chain leads to it.
    pub snapshot: Option<String>,
    /// Snapshots that were made after it.
    pub later: u64,
    /// Snapshots that were there before it.
    pub earlier: u64,
}

/// What `--since` names: the digest itself, a file that begins with it (as sha256sum writes it), or a copy of the root's file.
///
/// # Errors
/// `Kind::Usage` when it is none of these.
pub fn digest_of(given: &str) -> Result<Digest> {
    if let Ok(digest) = given.to_ascii_lowercase().parse() {
        return Ok(digest);
    }
    let failed = |e| {
        Error::io(Kind::Usage, "this is no SHA-256, and no file that can be read", Path::new(given), e)
            .hint("give the 64 hex digits of the root, a file of them, or a copy of the root's file")
    };
    let mut file = std::fs::File::open(given).map_err(failed)?;
    let mut hasher = Hasher::new();
    let (mut buffer, mut beginning) = (vec![0; 1 << 16], Vec::new());
    loop {
        let n = std::io::Read::read(&mut file, &mut buffer).map_err(failed)?;
        if n == 0 {
            break;
        }
        if beginning.len() < 256 {
            beginning.extend_from_slice(&buffer[..n.min(256)]);
        }
        hasher.update(&buffer[..n]);
    }
    let word = beginning.trim_ascii_start().split(|b| b.is_ascii_whitespace()).next().unwrap_or_default();
    Ok(Digest::from_hex(&word.to_ascii_lowercase()).unwrap_or_else(|| hasher.finish()))
}

/// Follows the chain from the newest root to the first; what breaks it goes to `damage`. That the roots' listings and items are there
/// is for the check of the archive to say.
///
/// # Errors
/// `Kind::Storage` when the archive cannot be read.
pub fn check(archive: &Archive, since: Digest, damage: &mut Vec<String>) -> Result<Since> {
    let mut newest = None;
    RootFile::each(archive.store(), &mut |root| newest = Some(root.digest))?;
    let snapshots = archive.snapshots()?;
    let by_digest: HashMap<Digest, &Snapshot> = snapshots.iter().map(|s| (s.digest, s)).collect();
    let mut found = Since { root: since, snapshot: None, later: 0, earlier: 0 };
    let mut next = newest;
    let mut after: Option<&Snapshot> = None;
    while let Some(digest) = next {
        let Some(snapshot) = by_digest.get(&digest).copied() else {
            damage.push(match after {
                Some(after) => {
                    format!("the chain of roots breaks at {}: the root before it, {digest}, is missing or changed", after.id)
                }
                None => format!("the newest root, {digest}, cannot be read, so there is no chain to follow"),
            });
            break;
        };
        match &found.snapshot {
            Some(_) => found.earlier += 1,
            None if digest == since => found.snapshot = Some(snapshot.id.clone()),
            None => found.later += 1,
        }
        (next, after) = (snapshot.root.previous, Some(snapshot));
    }
    if found.snapshot.is_none() {
        damage.push(match by_digest.get(&since) {
            Some(there) => format!("the root {since} is there (snapshot {}), but the newest does not descend from it", there.id),
            None => format!(
                "the root {since} is not in this archive's chain of roots: it was removed or changed, the archive is an older state, or \
                 it is another archive"
            ),
        });
    }
    Ok(found)
}
