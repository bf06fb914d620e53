//! The spare copy of the small files around the packs: signatures, time stamps, events, the key file, holds and tombstones, in
//! `parity/spare.tar` (docs/format.md section 17).
//!
//! They are too small for recovery data of some percent, so there is all of them once more, where an archive is protected. Each commit that
//! changes one of them renews the copy. A copy is believed only where it has the digest that a manifest says.

use std::collections::{BTreeMap, HashMap};
use std::io::Read as _;

use super::bag::{MANIFEST, MANIFEST_MAX_BYTES, SMALL_FOLDERS, TAG_FILES, good_lines};
use super::{Findings, tags};
use crate::error::{Error, Kind, Result};
use crate::model::Digest;
use crate::store::{LocalStore, Store};

/// The copy.
pub const FILE: &str = "parity/spare.tar";
/// Largest copy, and largest file in it: what is larger has no copy.
const MAX_BYTES: u64 = 512 << 20;
/// Where what lay in the place of a mended file goes, until the archive is found intact.
pub(crate) const DAMAGED: &str = "damaged";

/// Is there a copy?
///
/// # Errors
/// `Kind::Storage` when the folder cannot be read.
pub(crate) fn is_there(store: &dyn Store) -> Result<bool> {
    Ok(store.list("parity")?.iter().any(|file| file.name == FILE))
}

/// The copy as it has to be once these files are committed, where the archive has one.
///
/// # Errors
/// `Kind::Storage` when the archive cannot be read.
pub(crate) fn renewed(store: &dyn Store, files: &[(String, Vec<u8>)]) -> Result<Option<(String, Vec<u8>)>> {
    if is_there(store)? { of(store, files).map(Some) } else { Ok(None) }
}

/// The copy of the small files as they are listed, with these ones about to be committed. What is damaged is taken from the old copy.
///
/// # Errors
/// `Kind::Storage` when the archive cannot be read.
pub(crate) fn of(store: &dyn Store, files: &[(String, Vec<u8>)]) -> Result<(String, Vec<u8>)> {
    let new = |name: &str| files.iter().find(|(n, _)| n == name).map(|(_, bytes)| bytes.clone());
    let read = |name: &str| new(name).map_or_else(|| read(store, name), |bytes| Ok(Some(bytes)));
    let old = entries(store)?;
    let mut tar = tar::Builder::new(Vec::new());
    for (name, digest) in small(&read(tags::FILE)?.unwrap_or_default(), &read(MANIFEST)?.unwrap_or_default()) {
        let fits = |bytes: &Vec<u8>| Digest::of(bytes) == digest && bytes.len() as u64 <= MAX_BYTES;
        let Some(bytes) = read(&name)?.filter(fits).or_else(|| old.get(&name).cloned().filter(fits)) else { continue };
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        let put = tar.append_data(&mut header, &name, bytes.as_slice());
        put.map_err(|e| Error::new(Kind::Internal, "cannot make the copy of the small files").with("file", &name).because(e))?;
    }
    let bytes = tar.into_inner().map_err(|e| Error::new(Kind::Internal, "cannot make the copy of the small files").because(e))?;
    Ok((FILE.to_owned(), bytes))
}

/// Makes the copy, or makes it anew where it is not what it has to be; was that needed? For whoever holds the writer's lock.
///
/// # Errors
/// `Kind::Storage` when the archive cannot be read or written.
pub(crate) fn write(store: &LocalStore) -> Result<bool> {
    let copy = of(store, &[])?;
    let is_right = store.read(FILE, MAX_BYTES).ok().flatten().as_ref() == Some(&copy.1);
    if !is_right {
        store.commit(&[copy])?;
    }
    Ok(!is_right)
}

/// A file that may be too large or unreadable, which is as good as damaged here.
fn read(store: &dyn Store, name: &str) -> Result<Option<Vec<u8>>> {
    match store.read(name, MANIFEST_MAX_BYTES) {
        Err(e) if e.kind() == Kind::Damage => Ok(None),
        read => read,
    }
}

/// The small files that the manifests list, and the digests that they must have.
fn small(tag_manifest: &[u8], manifest: &[u8]) -> BTreeMap<String, Digest> {
    let (tag_lines, payload) = (good_lines(tag_manifest), good_lines(manifest));
    let around = tag_lines.into_iter().filter(|(_, name)| !TAG_FILES.contains(&name.as_str()) && !name.starts_with("data/"));
    // Roots have recovery data of their own.
    let folders = SMALL_FOLDERS.map(|folder| format!("{folder}/")).into_iter().filter(|folder| folder != "data/snapshots/");
    let folders: Vec<String> = folders.collect();
    let payload = payload.into_iter().filter(|(_, name)| folders.iter().any(|folder| name.starts_with(folder)));
    around.chain(payload).filter(|(_, name)| tags::is_plain(name)).map(|(digest, name)| (name, digest)).collect()
}

/// What the copy holds, as far as it can be read.
fn entries(store: &dyn Store) -> Result<HashMap<String, Vec<u8>>> {
    let bytes = match store.read(FILE, MAX_BYTES) {
        Err(e) if e.kind() == Kind::Damage => None,
        read => read?,
    };
    let mut held = HashMap::new();
    let mut archive = tar::Archive::new(bytes.as_deref().unwrap_or_default());
    let Ok(entries) = archive.entries() else { return Ok(held) };
    for entry in entries {
        // Behind a damaged header nothing can be found any more.
        let Ok(mut entry) = entry else { break };
        let (name, mut content) = (String::from_utf8_lossy(&entry.path_bytes()).into_owned(), Vec::new());
        if entry.read_to_end(&mut content).is_ok() {
            held.insert(name, content);
        }
    }
    Ok(held)
}

/// A name that is free for what lies in the place of a file.
///
/// # Errors
/// Never in practice.
pub(crate) fn aside(name: &str, is_free: &dyn Fn(&str) -> bool) -> Result<String> {
    let last = name.rsplit('/').next().unwrap_or(name);
    let aside = (1..).map(|n| format!("{DAMAGED}/{last}.{n}")).find(|aside| is_free(aside));
    aside.ok_or_else(|| Error::new(Kind::Internal, "no name is free for a damaged file"))
}

/// Puts back what is not as a manifest lists it and lies in the copy so; what lay there goes to `damaged/`. Gives the files. For whoever
/// holds the writer's lock.
///
/// # Errors
/// `Kind::Storage` when the archive cannot be read or written.
pub(crate) fn mend(store: &LocalStore) -> Result<Vec<String>> {
    let mut copies = entries(store)?;
    let listed = small(&read(store, tags::FILE)?.unwrap_or_default(), &read(store, MANIFEST)?.unwrap_or_default());
    let mut mended = Vec::new();
    for (name, digest) in listed {
        let is = read(store, &name)?;
        if is.as_deref().map(Digest::of) == Some(digest) {
            continue;
        }
        let Some(bytes) = copies.remove(&name).filter(|bytes| Digest::of(bytes) == digest) else { continue };
        if is.is_some() {
            let taken = store.list(DAMAGED)?;
            store.rename(&name, &aside(&name, &|aside| taken.iter().all(|file| file.name != aside))?)?;
        }
        mended.push((name, bytes));
    }
    if !mended.is_empty() {
        store.commit(&mended)?;
    }
    Ok(mended.into_iter().map(|(name, _)| name).collect())
}

/// Notes where the copy of a protected archive is not what it should be.
///
/// # Errors
/// `Kind::Storage` when the archive cannot be read.
pub(crate) fn check(store: &dyn Store, found: &mut Findings) -> Result<()> {
    if !is_there(store)? {
        found.warnings.push(format!("the small files have no copy, {FILE} is missing; 'floe protect' makes it"));
    } else if store.read(FILE, MAX_BYTES).ok().flatten() != Some(of(store, &[])?.1) {
        found.warnings.push(format!("{FILE} is not a copy of the small files as they are listed; 'floe protect' makes it anew"));
    }
    Ok(())
}
