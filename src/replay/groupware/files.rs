//! Fills a folder of files: folders made as needed, each file under its own path.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek as _, Write as _};

use jiff::Timestamp;

use super::super::journal::Row;
use super::{Books, Step, concerns_item, name_of};
use crate::archive::Archive;
use crate::dav::{Body, Client, CollectionType, Entry, NewCollection, Put, When, join, last_name};
use crate::error::{Error, Kind, Result};
use crate::model::{CollectionHead, Digest, Hasher, Placement};
use crate::replay::plan::{Part, legal_file_name};

/// A smaller file is held in memory while it is sent.
const HELD: u64 = 4 << 20;

/// The path of a file in its collection, as names.
pub fn relative_path<'a>(head: &CollectionHead, item: &'a Placement) -> Vec<&'a str> {
    let path = item.source.path.as_str();
    let inside = path.strip_prefix(head.source_path.as_str()).and_then(|rest| rest.strip_prefix('/')).unwrap_or(path);
    inside.split('/').filter(|name| !name.is_empty()).collect()
}

/// The path of a file on the target, in percent-encoding; names that servers do not take are made legal.
pub fn resource_path(collection: &str, names: &[&str]) -> String {
    names.iter().fold(collection.to_owned(), |path, name| join(&path, &legal_file_name(name)))
}

pub(super) fn fill(archive: &Archive, books: &mut Books<'_>, client: &mut Client, path: &str) -> Result<()> {
    let mut folder = Folder { archive, client, path, folders: HashMap::new() };
    let collection = books.job.collection;
    archive.placements(collection, &mut |item| folder.item(books, &collection.head, &item))
}

struct Folder<'a> {
    archive: &'a Archive,
    client: &'a mut Client,
    path: &'a str,
    /// Folders that are there, with the files that were in them when the run began.
    folders: HashMap<String, HashMap<String, Entry>>,
}

impl Folder<'_> {
    fn item(&mut self, books: &mut Books<'_>, head: &CollectionHead, item: &Placement) -> Result<()> {
        let names = relative_path(head, item);
        let (key, _) = books.names.key(&name_of(Part::Files, head, item));
        let href = resource_path(self.path, &names);
        let (row, ours, etag) = match books.step(key, item, &href) {
            Step::Done => return Ok(()),
            Step::Send { row, ours } => (row, ours, None),
            Step::Replace(row) => {
                let etag = row.remote.etag.clone().unwrap_or_default();
                (Row { sha256: item.sha256, size: item.size, ..row }, true, Some(etag))
            }
        };
        if let Some(most) = books.job.largest.filter(|most| item.size > *most) {
            return books.refuse(row, item, format!("{} bytes, the server takes {most}", item.size));
        }
        let done =
            self.folder_of(&names).and_then(|above| self.send(books, row.clone(), item, &href, &above, ours, etag.as_deref()));
        match done {
            Err(e) if e.kind() == Kind::Damage => {
                books.tell_damaged(item, &e);
                Ok(())
            }
            Err(e) if concerns_item(&e) => books.refuse(row, item, e.to_string()),
            done => done,
        }
    }

    /// The folder of a file, made if need be, as a key of `folders`.
    fn folder_of(&mut self, names: &[&str]) -> Result<String> {
        let mut path = self.path.to_owned();
        let mut is_new = false;
        for (depth, name) in std::iter::once("").chain(names.iter().take(names.len().saturating_sub(1)).copied()).enumerate() {
            if depth > 0 {
                path = join(&path, &legal_file_name(name));
            }
            if self.folders.contains_key(&path) {
                continue;
            }
            if depth > 0 {
                let new =
                    NewCollection { is: CollectionType::Folder, component: "", display_name: "", color: None, description: None };
                is_new |= self.client.make(&path, &new)? != crate::dav::Made::Exists;
            }
            let there = if is_new { Vec::new() } else { self.client.list(&path)? };
            self.folders.insert(path.clone(), there.into_iter().map(|entry| (last_name(&entry.path), entry)).collect());
        }
        Ok(path)
    }

    #[expect(clippy::too_many_arguments, reason = "one file, where it goes, and what is known of it")]
    fn send(
        &mut self,
        books: &mut Books<'_>,
        row: Row,
        item: &Placement,
        href: &str,
        above: &str,
        ours: bool,
        over: Option<&str>,
    ) -> Result<()> {
        let there = self.folders.get(above).and_then(|files| files.get(&last_name(href))).cloned();
        let ours = ours || there.is_none();
        let mut content = Content::of(self.archive, item)?;
        if over.is_none() {
            books.write(row.clone())?;
        }
        books.job.pace.wait(1);
        let mut put = self.put(href, &mut content, over.map_or(When::New, When::Still), item)?;
        if matches!(put, Put::Exists | Put::Differs) {
            let (digest, size, etag) = self.read(href)?.ok_or_else(|| not_there(href))?;
            if digest == item.sha256 {
                return books.confirm(row, href, etag, None, false);
            }
            // A part of it that a broken connection had left: nobody else writes a file of that name that is no longer than ours.
            let partial = ours && size <= item.size;
            let is_earlier = books.job.since.and_then(|since| since.get(&row.key)) == Some(&digest);
            let Some(etag) = etag.filter(|_| over.is_none() && (partial || is_earlier)) else {
                let reason = "another file is there already, and is left as it is".to_owned();
                if over.is_some() {
                    books.tell_refused(item, reason);
                    return Ok(());
                }
                return books.refuse(row, item, reason);
            };
            put = self.put(href, &mut content, When::Still(&etag), item)?;
        }
        let Put::Stored(_) = put else {
            return Err(Error::new(Kind::Refused, "somebody else writes to this file").with("path", href));
        };
        let mut back = self.read(href)?;
        if back.is_none() {
            // The server says that it has stored what is not there: once more.
            self.put(href, &mut content, When::New, item)?;
            back = self.read(href)?;
        }
        let (digest, size, etag) = back.ok_or_else(|| not_there(href))?;
        let changed = (digest != item.sha256).then(|| format!("changed by the server: {size} bytes came back"));
        books.confirm(row, href, etag, changed, true)
    }

    fn put(&mut self, href: &str, content: &mut Content, when: When<'_>, item: &Placement) -> Result<Put> {
        let modified: Option<Timestamp> = item.date.map(|d| d.at);
        match content {
            Content::Held(bytes) => self.client.put(href, Body::Bytes(bytes, "application/octet-stream"), when, modified),
            Content::OnDisk(file) => {
                let mut open = || {
                    let mut file = file.try_clone().map_err(spool_failed)?;
                    file.rewind().map_err(spool_failed)?;
                    Ok(Box::new(file) as Box<dyn Read>)
                };
                self.client.put(href, Body::File(item.size, &mut open), when, modified)
            }
        }
    }

    /// Digest, size and tag of what is there.
    fn read(&mut self, href: &str) -> Result<Option<(Digest, u64, Option<String>)>> {
        let mut hasher = Hasher::default();
        let there = self.client.get_to(href, &mut hasher)?;
        Ok(there.map(|(size, etag)| (hasher.finish(), size, etag)))
    }
}

fn not_there(href: &str) -> Error {
    Error::new(Kind::Refused, "the server said that it was stored, and it is not there").with("path", href)
}

/// A file's bytes while they are sent.
enum Content {
    Held(Vec<u8>),
    OnDisk(File),
}

impl Content {
    fn of(archive: &Archive, item: &Placement) -> Result<Self> {
        if item.size <= HELD {
            return archive.read(item.sha256, HELD).map(Content::Held);
        }
        let mut file = tempfile::tempfile().map_err(spool_failed)?;
        archive.copy(item.sha256, &mut file)?;
        file.flush().map_err(spool_failed)?;
        Ok(Content::OnDisk(file))
    }
}

fn spool_failed(e: std::io::Error) -> Error {
    Error::new(Kind::Storage, "a file cannot be kept on disk while it is sent").because(e)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CollectionKind, CollectionPath};

    #[test]
    fn a_file_keeps_its_folders_and_leaves_none_of_them() {
        let head = CollectionHead::new(CollectionPath::new(["files"]), CollectionKind::Files, "files");
        let item = |path: &str| {
            serde_json::from_value::<Placement>(
                serde_json::json!({"sha256": Digest::of(b""), "size": 0, "source": {"path": path}}),
            )
            .unwrap()
        };
        let path = |source: &str| resource_path("/home/Documents/", &relative_path(&head, &item(source)));
        assert_eq!(path("files/a b/c.txt"), "/home/Documents/a%20b/c.txt");
        assert_eq!(path("elsewhere/c.txt"), "/home/Documents/elsewhere/c.txt");
        assert_eq!(path("files/../../etc/passwd"), "/home/Documents/_/_/etc/passwd");
        assert_eq!(path("files/a:b"), "/home/Documents/a_b");
    }
}
