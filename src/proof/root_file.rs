//! The root files of an archive as bytes: what signatures and time stamps are of. Needs no key.

use crate::error::{Error, Result};
use crate::model::Digest;
use crate::store::Store;

/// Largest root that is read.
const ROOT_MAX_BYTES: u64 = 1 << 30;

/// A root file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootFile {
    /// Its name in the archive, such as `data/snapshots/20261122T210500Z-0123456789ab.json`.
    pub name: String,
    /// The snapshot's name: the file's without its folder and `.json` or `.json.age`.
    pub id: String,
    /// SHA-256 of the file.
    pub digest: Digest,
}

/// All root files, oldest first.
///
/// # Errors
/// `Kind::Storage` when they cannot be read.
pub fn root_files(store: &dyn Store) -> Result<Vec<RootFile>> {
    let mut files = Vec::new();
    for file in store.list("data/snapshots")? {
        let name = file.name.strip_prefix("data/snapshots/").unwrap_or(&file.name);
        if let Some(id) = name.strip_suffix(".json").or_else(|| name.strip_suffix(".json.age")) {
            let bytes = store.read(&file.name, ROOT_MAX_BYTES)?.unwrap_or_default();
            files.push(RootFile { id: id.to_owned(), digest: Digest::of(&bytes), name: file.name });
        }
    }
    Ok(files)
}

/// The root file that `id` names (any unambiguous part of its name), or the newest.
///
/// # Errors
/// `Kind::Usage` when there is none or several, `Kind::Storage` when they cannot be read.
pub fn root_file(store: &dyn Store, id: Option<&str>) -> Result<RootFile> {
    let mut files = root_files(store)?;
    files.retain(|file| id.is_none_or(|id| file.id.contains(id)));
    if id.is_some() && files.len() > 1 {
        return Err(Error::usage("several snapshots have this in their name").with("id", id.unwrap_or_default()));
    }
    files.pop().ok_or_else(|| {
        Error::usage("no such snapshot").with("id", id.unwrap_or("newest")).hint("see 'floe list --snapshots'")
    })
}
