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

const INFO: &str = "bag-info.txt";
/// Folders of the payload whose files are small.
pub const SMALL_FOLDERS: [&str; 3] = ["data/holds", "data/snapshots", "data/tombstones"];
/// Folders outside of the payload whose files the tag manifest lists.
const TAG_FOLDERS: [&str; 3] = ["keys", "signatures", "timestamps"];

/// The files of a new archive, which has nothing in it yet: those of an empty bag, and the key file where it has one.
pub fn first(encrypted: bool, key: Option<(String, Vec<u8>)>, now: Timestamp) -> Vec<(String, Vec<u8>)> {
    let tags = key.iter().map(|(name, bytes)| (Digest::of(bytes), name.clone())).collect();
    let mut files = files_of(Vec::new(), tags, encrypted, now);
    files.extend(key);
    files
}

/// All files of a commit: the new root, if there is one, the new record of events, and the bag files that list them and
/// everything before them.
pub fn files(
    store: &dyn Store,
    root: Option<(String, Vec<u8>)>,
    events: Option<(String, Vec<u8>)>,
    now: Timestamp,
) -> Result<Vec<(String, Vec<u8>)>> {
    whole(store, root.into_iter().collect(), events, &[], now)
}

/// As [`files`], for new files of the payload, and without some packs that are there. The record of events is the caller's.
///
/// # Errors
/// As [`files`].
pub fn without_packs(
    store: &dyn Store,
    new: Vec<(String, Vec<u8>)>,
    packs: &[Digest],
    now: Timestamp,
) -> Result<Vec<(String, Vec<u8>)>> {
    whole(store, new, None, packs, now)
}

fn whole(
    store: &dyn Store,
    new: Vec<(String, Vec<u8>)>,
    events: Option<(String, Vec<u8>)>,
    without: &[Digest],
    now: Timestamp,
) -> Result<Vec<(String, Vec<u8>)>> {
    let mut payload: Vec<(String, Digest, u64)> = Vec::new();
    for file in store.list("data/packs")? {
        if let Some(digest) = pack_digest(&file.name).filter(|digest| !without.contains(digest)) {
            payload.push((file.name, digest, file.size));
        }
    }
    let mut small = Vec::new();
    for folder in SMALL_FOLDERS {
        small.extend(store.list(folder)?);
    }
    for file in small {
        let bytes = store.read(&file.name, ROOT_MAX_BYTES)?.ok_or_else(|| Error::damage("a snapshot root vanished"))?;
        payload.push((file.name, Digest::of(&bytes), file.size));
    }
    payload.extend(new.iter().map(|(name, bytes)| (name.clone(), Digest::of(bytes), bytes.len() as u64)));
    let mut tags = kept_tags(store)?;
    tags.extend(events.iter().map(|(name, bytes)| (Digest::of(bytes), name.clone())));
    let mut files = files_of(payload, tags, vault::is_encrypted(store)?, now);
    files.extend(events);
    files.extend(new);
    Ok(files)
}

/// The lines of the files around the payload that a commit leaves as they are: as they were listed, so that nothing that was changed or taken away
/// since is covered up, and as they lie there where they were not.
fn kept_tags(store: &dyn Store) -> Result<Vec<(Digest, String)>> {
    let in_folder = |name: &str| TAG_FOLDERS.iter().any(|f| name.strip_prefix(f).is_some_and(|rest| rest.starts_with('/')));
    let mut kept = tags::lines(store).unwrap_or_default();
    kept.retain(|(_, name)| in_folder(name) && tags::is_plain(name));
    let there = in_tag_folders(store)?;
    kept.extend(there.into_iter().filter(|(_, name)| !kept.iter().any(|(_, listed)| listed == name)).collect::<Vec<_>>());
    Ok(kept)
}

/// Digests and names of the files in the folders that the tag manifest lists.
///
/// # Errors
/// `Kind::Storage` when they cannot be read.
pub fn in_tag_folders(store: &dyn Store) -> Result<Vec<(Digest, String)>> {
    let mut listed = Vec::new();
    for folder in TAG_FOLDERS {
        for file in store.list(folder)?.into_iter().filter(|file| tags::is_plain(&file.name)) {
            listed.push((digest_of(store, &file.name, file.size)?, file.name));
        }
    }
    Ok(listed)
}

/// The bag files that list this payload (name, digest and size of each file) and these other files around it; they say whether the archive is
/// encrypted.
pub fn files_of(
    mut payload: Vec<(String, Digest, u64)>,
    mut tags: Vec<(Digest, String)>,
    encrypted: bool,
    now: Timestamp,
) -> Vec<(String, Vec<u8>)> {
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
    tags.extend(files.iter().map(|(name, bytes)| (Digest::of(bytes), name.clone())));
    files.push((tags::FILE.to_owned(), tags::text(tags)));
    files
}

/// Bag files for some more files of the payload, and these: the lines of all others stay as they are, damaged or not.
///
/// # Errors
/// `Kind::Damage` when the manifest or `bag-info.txt` cannot be read.
pub fn added(store: &dyn Store, new: Vec<(String, Vec<u8>)>) -> Result<Vec<(String, Vec<u8>)>> {
    let read = |name: &'static str| {
        let bytes = store.read(name, MANIFEST_MAX_BYTES)?.unwrap_or_default();
        if tags::agrees(store, name, Some(&bytes))? {
            return Ok(bytes);
        }
        Err(Error::damage("a bag file is not the one that the tag manifest lists").with("file", name).hint("see floe verify"))
    };
    let mut lines = parse_manifest(&read(MANIFEST)?)?;
    lines.extend(new.iter().map(|(name, bytes)| (Digest::of(bytes), name.clone())));
    let info = String::from_utf8(read(INFO)?).map_err(|e| Error::damage("bag-info.txt is no text").because(e))?;
    let bytes: u64 = new.iter().map(|(_, bytes)| bytes.len() as u64).sum();
    let mut renewed = String::new();
    for line in info.lines() {
        let oxum = line.strip_prefix("Payload-Oxum: ").and_then(|oxum| oxum.split_once('.'));
        match oxum.and_then(|(b, n)| Some((b.parse::<u64>().ok()?, n.parse::<usize>().ok()?))) {
            Some((b, n)) => _ = writeln!(renewed, "Payload-Oxum: {}.{}", b + bytes, n + new.len()),
            None => _ = writeln!(renewed, "{line}"),
        }
    }
    let mut files = vec![(MANIFEST.to_owned(), tags::text(lines)), (INFO.to_owned(), renewed.into_bytes())];
    files.extend(new);
    Ok(files)
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

/// The lines of a manifest that make sense: one that is damaged does not spoil the others.
pub fn good_lines(text: &[u8]) -> Vec<(Digest, String)> {
    text.split_inclusive(|b| *b == b'\n').filter_map(|line| parse_manifest(line).ok()).flatten().collect()
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
    // Not `lines`, which passes over a CR before the end of a line and over an empty line behind the last.
    text.split('\n')
        .map(|line| {
            let (digest, name) = line.split_once("  ").ok_or_else(|| Error::damage("a manifest line is malformed"))?;
            Ok((digest.parse().map_err(|e| Error::damage("a manifest line is malformed").because(e))?, name.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_what_floe_writes_and_nothing_else() {
        let line = format!("{}  data/a\n", Digest::of(b"a"));
        assert_eq!(parse_manifest(line.as_bytes()).expect("a line"), [(Digest::of(b"a"), "data/a".to_owned())]);
        assert!(parse_manifest(b"").expect("no line").is_empty());
        for bad in [format!("{line}\n"), format!("\n{line}"), format!("{line}x"), line.replace("  ", " "), "\n".to_owned()] {
            assert!(parse_manifest(bad.as_bytes()).is_err(), "{bad:?}");
        }
        assert_ne!(parse_manifest(line.replace('\n', "\r\n").as_bytes()).expect("a line")[0].1, "data/a");
    }
}
