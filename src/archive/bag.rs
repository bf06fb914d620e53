//! The BagIt files around the payload (RFC 8493), written anew at every commit.

use std::collections::HashSet;
use std::fmt::Write as _;

use jiff::Timestamp;

use super::pack::pack_digest;
use super::tags;
use crate::error::{Error, Result};
use crate::model::{Digest, Hasher};
use crate::store::Store;
use crate::vault::{self, ROOT_MAX_BYTES};

/// The payload manifest.
pub const MANIFEST: &str = "manifest-sha256.txt";
/// Largest manifest that is read.
pub const MANIFEST_MAX_BYTES: u64 = 1 << 30;
/// The files that `tagmanifest-sha256.txt` lists in any case.
pub const TAG_FILES: [&str; 5] = ["README.txt", "bag-info.txt", "bagit.txt", MANIFEST, "restore.py"];
const BAGIT: &str = "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n";
const README: &str = include_str!("README.txt");
const RESTORE: &str = include_str!("restore.py");

/// Folders outside of the payload whose files the tag manifest lists.
const TAG_FOLDERS: [&str; 2] = ["keys", "signatures"];

/// All files of a commit: the `new` ones (a root, the record of events, a key), and the bag files that list them and
/// everything before them. `store` has the files as they lie there; `encrypted` says whether the archive is.
pub fn files(store: &dyn Store, encrypted: bool, new: Vec<(String, Vec<u8>)>, now: Timestamp) -> Result<Vec<(String, Vec<u8>)>> {
    let mut payload: Vec<(String, Digest, u64)> = Vec::new();
    for file in store.list("data/packs")? {
        if let Some(digest) = pack_digest(&file.name) {
            payload.push((file.name, digest, file.size));
        }
    }
    for file in store.list("data/snapshots")? {
        let bytes = store.read(&file.name, ROOT_MAX_BYTES)?.ok_or_else(|| Error::damage("a snapshot root vanished"))?;
        payload.push((file.name, Digest::of(&bytes), file.size));
    }
    let root = new.iter().filter(|(name, _)| is_payload(name));
    payload.extend(root.map(|(name, bytes)| (name.clone(), Digest::of(bytes), bytes.len() as u64)));
    payload.sort();
    payload.dedup();
    let oxum: u64 = payload.iter().map(|p| p.2).sum();
    let manifest = payload.iter().fold(String::new(), |mut text, (name, digest, _)| {
        let _ = writeln!(text, "{digest}  {name}");
        text
    });
    let info = format!(
        "Bag-Software-Agent: floe {}\nBagging-Date: {}\nFloe-Archive-Version: 1\n{}Payload-Oxum: {oxum}.{}\n",
        env!("CARGO_PKG_VERSION"),
        now.strftime("%Y-%m-%d"),
        if encrypted { format!("{}\n", vault::INFO) } else { String::new() },
        payload.len()
    );
    let contents = [README, &info, BAGIT, &manifest, RESTORE];
    let mut files: Vec<(String, Vec<u8>)> =
        TAG_FILES.iter().zip(contents).map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect();
    let (root, beside): (Vec<_>, Vec<_>) = new.into_iter().partition(|(name, _)| is_payload(name));
    files.extend(beside);
    let mut listed: Vec<(Digest, String)> = files.iter().map(|(name, bytes)| (Digest::of(bytes), name.clone())).collect();
    for folder in TAG_FOLDERS {
        for file in store.list(folder)?.into_iter().filter(|file| tags::is_plain(&file.name)) {
            listed.push((digest_of(store, &file.name, file.size)?, file.name));
        }
    }
    files.push((tags::FILE.to_owned(), tags::text(listed)));
    files.extend(root);
    Ok(files)
}

fn is_payload(name: &str) -> bool {
    name.starts_with("data/")
}

/// The files that the manifest lists; nothing is known when it is missing or damaged.
///
/// # Errors
/// `Kind::Storage` when the disk fails.
pub fn payload(store: &dyn Store) -> Result<Option<HashSet<String>>> {
    let manifest = store.read(MANIFEST, MANIFEST_MAX_BYTES)?;
    Ok(manifest.and_then(|m| parse_manifest(&m).ok()).map(|lines| lines.into_iter().map(|(_, name)| name).collect()))
}

/// Removes packs that no commit lists and that are not what their name says: an interrupted run left them, and they broke since. Where
/// nothing can be read, as without a key, `all` that no commit lists are removed: nothing will ever lead to what is in them.
///
/// # Errors
/// `Kind::Storage` when the disk fails.
pub fn discard_useless_packs(store: &dyn Store, listed: &HashSet<String>, all: bool) -> Result<()> {
    for file in store.list("data/packs")? {
        if !listed.contains(&file.name)
            && let Some(digest) = pack_digest(&file.name)
            && (all || digest_of(store, &file.name, file.size)? != digest)
        {
            store.discard(&file.name)?;
        }
    }
    Ok(())
}

/// The digest of a file of the store.
///
/// # Errors
/// `Kind::Storage` or `Kind::Damage` when it cannot be read.
pub fn digest_of(store: &dyn Store, name: &str, size: u64) -> Result<Digest> {
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

/// The lines of a manifest: digest and name.
///
/// # Errors
/// `Kind::Damage` when it is cut or malformed.
pub fn parse_manifest(text: &[u8]) -> Result<Vec<(Digest, String)>> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let text = std::str::from_utf8(text)
        .ok()
        .and_then(|t| t.strip_suffix('\n'))
        .ok_or_else(|| Error::damage("a manifest is cut short"))?;
    text.lines()
        .map(|line| {
            let (digest, name) = line.split_once("  ").ok_or_else(|| Error::damage("a manifest line is malformed"))?;
            Ok((digest.parse().map_err(|e| Error::damage("a manifest line is malformed").because(e))?, name.to_owned()))
        })
        .collect()
}
