//! All files of an archive as they are shipped, each with the digest that it has and that it should have.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::sheet::{Contents, FILE_MAX_BYTES, ListedFile, NOT_SHIPPED, check_names, is_payload, unfit};
use crate::archive::bag::{MANIFEST, MANIFEST_MAX_BYTES, parse_manifest};
use crate::archive::tags;
use crate::error::{Error, Kind, Result};
use crate::export::dir::digest_of;
use crate::model::{Digest, printable};
use crate::monitor::Monitor;
use crate::store::Store;

/// Digests of files that were read by an earlier run, with what would change if the file did.
pub(super) type Read = BTreeMap<String, Stamp>;

/// A file as it was when it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    size: u64,
    modified: (i64, i64),
    inode: u64,
    sha256: Digest,
}

/// What lies in the archive's folder.
pub(super) struct Found {
    pub files: Vec<ListedFile>,
    /// What is not as the manifests say, or cannot be shipped.
    pub damage: Vec<String>,
    /// What is left out, and why.
    pub left_out: Vec<String>,
}

/// Reads all files of the archive but caches, and compares them with its manifests. Files that are as they were when `read` was
/// written are not read again.
///
/// # Errors
/// `Kind::Storage` when the folder cannot be read.
pub(super) fn look(folder: &Path, store: &dyn Store, read: &mut Read, monitor: &dyn Monitor) -> Result<Found> {
    let mut found = Found { files: Vec::new(), damage: Vec::new(), left_out: Vec::new() };
    let listed = manifests(store, &mut found.damage)?;
    let names = names(folder, &listed, &mut found)?;
    monitor.phase("check", Some(names.values().map(|stamp| stamp.size).sum()));
    let known = std::mem::take(read);
    let hashed: Vec<(String, Result<Stamp>)> = names
        .into_par_iter()
        .map(|(name, mut stamp)| {
            let before = known.get(&name).filter(|k| Stamp { sha256: stamp.sha256, ..**k } == stamp);
            let sha256 = match before {
                Some(before) => Ok(before.sha256),
                None => File::open(folder.join(&name)).and_then(digest_of),
            };
            monitor.advance(1, stamp.size);
            let stamp = sha256.map(|sha256| {
                stamp.sha256 = sha256;
                stamp
            });
            let failed = |e| Error::io(Kind::Storage, "cannot read the file", &folder.join(&name), e);
            let stamp = stamp.map_err(failed);
            (name, stamp)
        })
        .collect();
    monitor.done();
    for (name, stamp) in hashed {
        match stamp {
            Err(e) => found.damage.push(e.to_string()),
            Ok(stamp) if listed.get(&name).is_some_and(|want| *want != stamp.sha256) => {
                found.damage.push(format!("{name} has not the SHA-256 that the manifest says"));
            }
            Ok(stamp) => {
                read.insert(name.clone(), stamp);
                found.files.push(ListedFile { name, size: stamp.size, sha256: stamp.sha256 });
            }
        }
    }
    if let Err(e) = check_names(found.files.iter().map(|f| f.name.as_str())) {
        found.damage.push(e.to_string());
    }
    Ok(found)
}

/// What the manifests say: the digest that a file must have.
fn manifests(store: &dyn Store, damage: &mut Vec<String>) -> Result<HashMap<String, Digest>> {
    let mut listed = HashMap::new();
    for manifest in [MANIFEST, tags::FILE] {
        match store.read(manifest, MANIFEST_MAX_BYTES)?.map(|bytes| parse_manifest(&bytes)) {
            None => damage.push(format!("{manifest} is missing")),
            Some(Err(e)) => damage.push(format!("{manifest}: {e}")),
            Some(Ok(lines)) => listed.extend(lines.into_iter().map(|(digest, name)| (name, digest))),
        }
    }
    Ok(listed)
}

/// The files to read, with what is known of each without reading it.
fn names(folder: &Path, listed: &HashMap<String, Digest>, found: &mut Found) -> Result<BTreeMap<String, Stamp>> {
    let mut names = BTreeMap::new();
    let walk = walkdir::WalkDir::new(folder).min_depth(1).sort_by_file_name().into_iter();
    let shipped = |e: &walkdir::DirEntry| e.depth() > 1 || !NOT_SHIPPED.iter().any(|name| e.file_name() == *name);
    for entry in walk.filter_entry(shipped) {
        let failed = |e: walkdir::Error| Error::io(Kind::Storage, "cannot read the archive's folder", folder, e.into());
        let entry = entry.map_err(failed)?;
        let name = entry.path().strip_prefix(folder).unwrap_or(entry.path()).to_string_lossy().into_owned();
        if entry.file_type().is_dir() {
            continue;
        }
        let metadata = entry.metadata().map_err(failed)?;
        let is_listed = listed.contains_key(&name);
        if !metadata.is_file() {
            found.damage.push(format!("{} is neither a file nor a folder", printable(&name)));
        } else if !is_listed && name.starts_with("data/packs/") {
            found.left_out.push(format!("{}: no snapshot is committed that needs it", printable(&name)));
        } else if !is_listed && is_payload(&name) {
            found.damage.push(format!("{} is in no manifest", printable(&name)));
        } else if let Some(why) = unfit(&name) {
            found.damage.push(format!("{}: {why}; move it out of the archive's folder", printable(&name)));
        } else if metadata.len() > FILE_MAX_BYTES {
            found
                .damage
                .push(format!("{name}: FAT disks hold no file of 4 GiB or more, and no file of an archive should be one"));
        } else {
            let modified = (metadata.mtime(), metadata.mtime_nsec());
            let sha256 = Digest::from_bytes([0; 32]);
            names.insert(name, Stamp { size: metadata.len(), modified, inode: metadata.ino(), sha256 });
        }
    }
    let missing = listed.keys().filter(|name| !folder.join(name).is_file());
    let mut missing: Vec<String> = missing.map(|name| format!("{} is missing", printable(name))).collect();
    missing.sort();
    found.damage.extend(missing);
    Ok(names)
}

impl Found {
    /// # Errors
    /// `Kind::Usage` when there is no snapshot.
    pub(super) fn contents(&self) -> Result<Contents> {
        Contents::of(self.files.clone())
    }
}
