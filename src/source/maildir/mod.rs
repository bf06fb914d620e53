//! Maildir and Maildir++ (Dovecot, Courier), LAYOUT=fs, and single Maildirs.
//!
//! A folder has `cur`, `new` and `tmp` with a file a message; flags are in the file's name, the internal date is its
//! modification time. UIDs, keyword names and subscriptions are in files beside. Nothing but these small files and, where
//! a name hints at compression, a message's first bytes is read here; the messages are read by whoever takes them.

mod count;
mod keywords;
mod listing;
mod names;
mod read;
mod stamps;
mod subscriptions;
mod tree;
mod uidlist;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use self::tree::Folder;
use super::{Evidence, FileStamp, Format, Grown, ItemSink, Reader};
use crate::error::{Error, Kind, Result};
use crate::model::CollectionHead;

pub use tree::is_maildir;

/// Looks at a path and says whether it is such a store, and why.
///
/// Maildirs side by side, with nothing that shows whose they are, could be the folders of one account or many accounts;
/// that is no store then.
///
/// # Errors
/// `Kind::Source` when the path cannot be read.
pub fn detect(path: &Path) -> Result<Option<Evidence>> {
    Ok(look(path)?.filter(tree::Survey::is_store).map(|survey| survey.evidence(path)))
}

/// Does the folder have what only the top of one account's store has, such as a list of subscriptions?
///
/// # Errors
/// `Kind::Source` when the path cannot be read.
pub fn is_account(path: &Path) -> Result<bool> {
    Ok(look(path)?.is_some_and(|survey| survey.is_account()))
}

fn look(path: &Path) -> Result<Option<tree::Survey>> {
    let failed = |e| Error::io(Kind::Source, "cannot look at the path", path, e);
    if !std::fs::metadata(path).map_err(failed)?.is_dir() {
        return Ok(None);
    }
    tree::survey(path).map(Some).map_err(failed)
}

/// Opens the store at `root`. Its folders are found now; what is in them is read later.
///
/// # Errors
/// `Kind::Source` when the path cannot be read.
pub fn open(root: &Path, format: Format) -> Result<Box<dyn Reader>> {
    let mut folders = tree::folders(root, format)?;
    for folder in &mut folders {
        if folder.trouble.is_none()
            && let Some(header) = uidlist::header(&folder.dir)
        {
            folder.head.uid_validity = header.uid_validity;
            folder.head.uid_next = header.uid_next;
            folder.head.guid = header.guid;
        }
    }
    subscriptions::apply(root, format, &mut folders);
    let at = folders.iter().map(|f| (f.dir.clone(), f.trouble.is_some())).collect();
    Ok(Box::new(Maildir { root: root.to_owned(), format, folders, at }))
}

/// A store and its folders.
struct Maildir {
    root: PathBuf,
    format: Format,
    folders: Vec<Folder>,
    /// Where the folders lie, and whether one is in trouble.
    at: HashMap<PathBuf, bool>,
}

impl Maildir {
    fn folder(&self, head: &CollectionHead) -> Result<&Folder> {
        let at = self.folders.binary_search_by(|f| f.head.path.cmp(&head.path)).ok();
        at.and_then(|at| self.folders.get(at))
            .ok_or_else(|| Error::new(Kind::Internal, "no such collection in this store").with("collection", &head.path))
    }
}

impl Reader for Maildir {
    fn format(&self) -> Format {
        self.format
    }

    fn root(&self) -> &Path {
        &self.root
    }

    fn covers(&self, path: &Path) -> bool {
        let name = path.file_name().unwrap_or_default();
        let in_folder = path.parent().is_some_and(|dir| self.at.get(dir).is_some_and(|in_trouble| !in_trouble));
        let of_mail = || ["cur", "new", "tmp"].iter().any(|sub| name == *sub) && !path.join("cur").is_dir();
        let beside = || path.parent().is_some_and(|dir| dir == self.root || self.at.contains_key(dir));
        path != self.root
            && (self.at.get(path) == Some(&true) || in_folder && of_mail() || names::is_server_data(name) && beside())
    }

    fn collections(&self) -> Result<Vec<CollectionHead>> {
        Ok(self.folders.iter().map(|f| f.head.clone()).collect())
    }

    fn stamps(&self, head: &CollectionHead) -> Result<Vec<(String, FileStamp)>> {
        let folder = self.folder(head)?;
        Ok(stamps::stamps(&self.root, &folder.dir, folder.trouble.is_some()))
    }

    fn count(&self, head: &CollectionHead) -> Result<u64> {
        let folder = self.folder(head)?;
        Ok(if folder.trouble.is_some() { 1 } else { count::count(&folder.dir) })
    }

    fn read(&self, head: &CollectionHead, _: Option<Grown>, sink: &mut dyn ItemSink) -> Result<()> {
        read::read(&self.root, self.folder(head)?, sink)
    }
}
