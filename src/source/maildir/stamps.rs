//! Stamps of everything that a folder's listing comes from, to tell without reading whether it is still the same.

use std::fs::{self, DirEntry, Metadata};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::subscriptions;
use crate::source::{FileStamp, disk};

/// Stamps of the files in a folder's three parts, of the server's files beside them, and of those at the store's top.
pub(super) fn stamps(root: &Path, dir: &Path, in_trouble: bool) -> Vec<(String, FileStamp)> {
    let mut stamps = Vec::new();
    if in_trouble {
        stamps.extend(fs::symlink_metadata(dir).ok().map(|m| (".".to_owned(), changed(&m))));
        return stamps;
    }
    for part in ["cur", "new", "tmp"] {
        let path = dir.join(part);
        match fs::read_dir(&path) {
            Ok(entries) => {
                let mut entries = entries.flatten();
                loop {
                    let batch: Vec<DirEntry> = entries.by_ref().take(disk::ASK_BATCH).collect();
                    if batch.is_empty() {
                        break;
                    }
                    stamps.extend(disk::ask(&batch, |entry| stamp(part, entry)).into_iter().flatten());
                }
            }
            // Also of what cannot be listed, so that a change of its rights shows.
            Err(_) => stamps.extend(fs::symlink_metadata(&path).ok().map(|m| (part.to_owned(), changed(&m)))),
        }
    }
    let beside = ["dovecot-uidlist", "dovecot-keywords", "courierimapuiddb", "courierimapkeywords/:list"];
    let at_top = subscriptions::FILES.iter().map(|name| (root.join(name), format!("store: {name}")));
    for (path, name) in beside.iter().map(|name| (dir.join(name), (*name).to_owned())).chain(at_top) {
        stamps.extend(fs::symlink_metadata(path).ok().map(|m| (name, FileStamp::of(&m))));
    }
    stamps.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    stamps
}

/// A stamp of something without content: its last change of any kind, rights included.
fn changed(metadata: &Metadata) -> FileStamp {
    let ns = metadata.ctime().saturating_mul(1_000_000_000).saturating_add(metadata.ctime_nsec());
    FileStamp { mtime_ns: ns, ..FileStamp::of(metadata) }
}

fn stamp(part: &str, entry: &DirEntry) -> Option<(String, FileStamp)> {
    let name = entry.file_name();
    if name.as_bytes().starts_with(b".") {
        return None;
    }
    let mut metadata = entry.metadata().ok()?;
    if metadata.is_symlink() {
        // What a link leads to may change while the link does not.
        metadata = fs::metadata(entry.path()).unwrap_or(metadata);
    }
    Some((format!("{part}/{}", disk::stamp_name(&name)), FileStamp::of(&metadata)))
}
