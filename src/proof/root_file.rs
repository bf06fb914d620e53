//! The file of a root as it lies in the archive, encrypted or not: what signatures sign and events name.

use crate::error::{Error, Result};
use crate::model::Digest;
use crate::store::Store;
use crate::vault::ROOT_MAX_BYTES;

/// Where roots lie.
const FOLDER: &str = "data/snapshots/";
/// How their names end: the longer ending first.
const ENDINGS: [&str; 2] = [".json.age", ".json"];
/// Digits of its digest in a root's name.
const DIGEST_DIGITS: usize = 12;

/// A root's file.
#[derive(Clone, Debug)]
pub struct RootFile {
    /// The snapshot's name: the file's without its ending.
    pub id: String,
    /// Name in the archive.
    pub file: String,
    /// SHA-256 of its bytes.
    pub digest: Digest,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl RootFile {
    /// Is it the one that its name says?
    pub fn is_whole(&self) -> bool {
        self.id.ends_with(&self.digest.to_string()[..DIGEST_DIGITS])
    }

    fn read(store: &dyn Store, id: &str, file: &str) -> Result<Self> {
        let bytes = store.read(file, ROOT_MAX_BYTES)?.ok_or_else(|| Error::damage("a root has vanished").with("file", file))?;
        Ok(RootFile { id: id.to_owned(), file: file.to_owned(), digest: Digest::of(&bytes), bytes })
    }

    /// Hands over all of them, oldest first, one at a time: a root may be large. What is not called like a root is left out.
    ///
    /// # Errors
    /// `Kind::Storage` when the folder or a file cannot be read.
    pub fn each(store: &dyn Store, give: &mut dyn FnMut(Self)) -> Result<()> {
        names(store)?.iter().try_for_each(|(id, file)| Self::read(store, id, file).map(&mut *give))
    }

    /// The one of the snapshot of exactly this name, if it is there.
    ///
    /// # Errors
    /// As [`RootFile::each`].
    pub fn of(store: &dyn Store, id: &str) -> Result<Option<Self>> {
        let names = names(store)?;
        names.iter().find(|(name, _)| name == id).map(|(id, file)| Self::read(store, id, file)).transpose()
    }

    /// The whole root of the snapshot that `id` names (any unambiguous part of its name), or the newest.
    ///
    /// # Errors
    /// `Kind::Usage` when there is none or several, `Kind::Damage` when it is not the one that its name says.
    pub fn find(store: &dyn Store, id: Option<&str>) -> Result<Self> {
        let mut names = names(store)?;
        names.retain(|(name, _)| id.is_none_or(|id| name.contains(id)));
        if id.is_some() && names.len() > 1 {
            return Err(Error::usage("several snapshots have this in their name").with("id", id.unwrap_or_default()));
        }
        let (name, file) = names.pop().ok_or_else(|| {
            Error::usage("no such snapshot").with("id", id.unwrap_or("newest")).hint("see 'floe list --snapshots'")
        })?;
        let root = Self::read(store, &name, &file)?;
        if !root.is_whole() {
            return Err(Error::damage("a snapshot root is not the one that its name says").with("file", file));
        }
        Ok(root)
    }
}

/// Names and files of the roots, oldest first.
fn names(store: &dyn Store) -> Result<Vec<(String, String)>> {
    let files = store.list(FOLDER.trim_end_matches('/'))?.into_iter();
    Ok(files.filter_map(|f| Some((id(&f.name)?.to_owned(), f.name))).collect())
}

/// The snapshot's name in that of its root's file.
fn id(file: &str) -> Option<&str> {
    let name = file.strip_prefix(FOLDER)?;
    let id = ENDINGS.iter().find_map(|ending| name.strip_suffix(ending))?;
    (id.len() == "20261122T210500Z-0123456789ab".len()).then_some(id)
}
