//! Fills a calendar or an address book: each object under a name that follows from its UID.

use std::collections::{HashMap, HashSet};

use super::super::journal::Row;
use super::{Books, LARGEST_OBJECT, Step, concerns_item, name_of, wanted};
use crate::archive::Archive;
use crate::dav::{Body, Client, Object, Put, When, join, last_name, resource_name};
use crate::error::{Kind, Result};
use crate::model::{Digest, Placement};
use crate::objects::{Fitted, Likeness, compare, fit, uid_of};
use crate::replay::plan::{NO_OBJECT, Part, SAME_UID, part_of, too_large};

pub(super) fn fill(archive: &Archive, books: &mut Books<'_>, client: &mut Client, path: &str) -> Result<()> {
    let there = client.list(path)?.into_iter().map(|entry| last_name(&entry.path)).collect();
    let mut folder = Folder { archive, client, path, there, by_uid: None, firsts: HashMap::new() };
    let (collection, part) = (books.job.collection, books.job.part);
    archive.placements(collection, &mut |item| {
        if part_of(collection.head.kind, item.component.as_deref()) != part {
            return Ok(());
        }
        folder.item(books, &item)
    })
}

struct Folder<'a> {
    archive: &'a Archive,
    client: &'a mut Client,
    path: &'a str,
    /// Names in the collection before this run.
    there: HashSet<String>,
    /// Paths of all objects in it by UID, once that was needed.
    by_uid: Option<HashMap<String, String>>,
    /// The first item of each UID in this collection.
    firsts: HashMap<String, Digest>,
}

/// What an object of that part is called after the dot, and its media type.
pub fn form_of(part: Part) -> (&'static str, &'static str) {
    match part {
        Part::Contacts => ("vcf", "text/vcard; charset=utf-8"),
        Part::Notes => ("vnt", "text/x-vnote; charset=utf-8"),
        _ => ("ics", "text/calendar; charset=utf-8"),
    }
}

/// What a server made of an object.
struct Back {
    href: String,
    etag: Option<String>,
    likeness: Likeness,
    uid: Option<String>,
}

impl Back {
    fn of(fitted: &Fitted, object: Object) -> Self {
        let likeness = compare(&fitted.bytes, &object.bytes);
        Back { uid: uid_of(&object.bytes), href: object.path, etag: object.etag, likeness }
    }

    /// What reads back otherwise, for the journal.
    fn changed(&self) -> Option<String> {
        let Likeness::Changed(changes) = &self.likeness else { return None };
        let names: Vec<&str> = changes.iter().map(|c| c.name.as_str()).collect();
        Some(format!("changed by the server: {}", names.join(", ")))
    }
}

impl Folder<'_> {
    fn item(&mut self, books: &mut Books<'_>, item: &Placement) -> Result<()> {
        let name = name_of(books.job.part, &books.job.collection.head, item);
        let (key, nth) = books.names.key(&name);
        let href = join(self.path, &resource_name(&name, form_of(books.job.part).0));
        let first = *self.firsts.entry(name).or_insert(item.sha256);
        let (row, ours, over) = match books.step(key, item, &href) {
            Step::Done => return Ok(()),
            Step::Send { row, ours } => (row, ours, None),
            Step::Replace(row) => {
                let etag = row.remote.etag.clone().unwrap_or_default();
                (row, true, Some(etag))
            }
        };
        if item.size > LARGEST_OBJECT {
            return books.refuse(row, item, too_large(item.size, LARGEST_OBJECT));
        }
        let bytes = match self.archive.read(item.sha256, LARGEST_OBJECT) {
            Err(e) if e.kind() == Kind::Damage => {
                books.tell_damaged(item, &e);
                return Ok(());
            }
            bytes => bytes?,
        };
        let Some(fitted) = fit(&bytes) else {
            return books.refuse(row, item, NO_OBJECT.to_owned());
        };
        let size = fitted.bytes.len() as u64;
        if let Some(most) = books.job.largest.filter(|most| size > *most) {
            return books.refuse(row, item, too_large(size, most));
        }
        if nth > 0 {
            return if first == item.sha256 {
                books.confirm(row, &href, None, None, false)
            } else {
                books.refuse(row, item, SAME_UID.to_owned())
            };
        }
        match over {
            Some(etag) => self.replace(books, row, item, &fitted, &etag),
            None => self.send(books, row, item, &fitted, ours),
        }
    }

    fn put(&mut self, books: &Books<'_>, href: &str, fitted: &Fitted, when: When<'_>) -> Result<Put> {
        let media = form_of(books.job.part).1;
        books.job.pace.wait(1);
        self.client.put(href, Body::Bytes(&fitted.bytes, media), when, None)
    }

    fn get(&mut self, href: &str, fitted: &Fitted) -> Result<Option<Back>> {
        // A server may make it longer by folds and escapes, but not by much.
        let object = self.client.get(href, 2 * LARGEST_OBJECT)?;
        Ok(object.map(|object| Back::of(fitted, object)))
    }

    fn send(&mut self, books: &mut Books<'_>, row: Row, item: &Placement, fitted: &Fitted, ours: bool) -> Result<()> {
        let href = row.remote.href.clone().unwrap_or_default();
        // Whatever has this name and was not here when the run began is what a lost answer was about.
        let ours = ours || !self.there.contains(&last_name(&href));
        books.write(row.clone())?;
        let put = match self.put(books, &href, fitted, When::New) {
            Err(e) if concerns_item(&e) => return books.refuse(row, item, e.to_string()),
            put => put?,
        };
        match put {
            Put::Stored(_) => self.read_back(books, row, item, fitted, &href),
            Put::Exists | Put::Differs => match self.client.get(&href, 2 * LARGEST_OBJECT)? {
                Some(there) => self.take_or_renew(books, row, item, fitted, there, ours),
                None => books.refuse(row, item, "the server says that its name is taken, and has nothing there".to_owned()),
            },
            Put::UidTaken(other) => {
                let other = match other {
                    Some(other) => Some(other),
                    None => self.holder_of(books, &fitted.uid)?,
                };
                match other.map(|other| self.client.get(&other, 2 * LARGEST_OBJECT)).transpose()?.flatten() {
                    Some(there) => self.take_or_renew(books, row, item, fitted, there, false),
                    None => books.refuse(row, item, "the server says that its UID is taken elsewhere".to_owned()),
                }
            }
        }
    }

    /// Takes what is there for the item, or puts the item over it where it still says what the earlier snapshot says.
    fn take_or_renew(
        &mut self,
        books: &mut Books<'_>,
        row: Row,
        item: &Placement,
        fitted: &Fitted,
        there: Object,
        ours: bool,
    ) -> Result<()> {
        let is_earlier = match books.job.since.and_then(|since| since.get(&row.key)) {
            Some(earlier) => fit(&self.archive.read(*earlier, LARGEST_OBJECT)?)
                .is_some_and(|earlier| !matches!(compare(&earlier.bytes, &there.bytes), Likeness::Changed(_))),
            None => false,
        };
        let back = Back::of(fitted, there);
        let Some(etag) = back.etag.clone().filter(|_| is_earlier && back.changed().is_some()) else {
            return claim(books, row, item, fitted, back, ours);
        };
        match self.put(books, &back.href, fitted, When::Still(&etag)) {
            Err(e) if concerns_item(&e) => books.refuse(row, item, e.to_string()),
            Ok(Put::Stored(_)) => {
                books.filled.restated += 1;
                self.read_back(books, row, item, fitted, &back.href)
            }
            Ok(_) => books.refuse(row, item, "somebody else writes to it".to_owned()),
            Err(e) => Err(e),
        }
    }

    /// Reads an object back that the server says it has stored; stores it once more when it is not there.
    fn read_back(&mut self, books: &mut Books<'_>, row: Row, item: &Placement, fitted: &Fitted, href: &str) -> Result<()> {
        let mut back = self.get(href, fitted)?;
        if back.is_none() {
            self.put(books, href, fitted, When::New)?;
            back = self.get(href, fitted)?;
        }
        match back {
            Some(back) => {
                let changed = back.changed();
                books.confirm(row, href, back.etag, changed, true)
            }
            None => books.refuse(row, item, "the server said that it was stored, and it is not there".to_owned()),
        }
    }

    /// Puts a newer form over one that floe put there, if nobody has touched it since.
    fn replace(&mut self, books: &mut Books<'_>, row: Row, item: &Placement, fitted: &Fitted, etag: &str) -> Result<()> {
        let href = row.remote.href.clone().unwrap_or_default();
        let put = match self.put(books, &href, fitted, When::Still(etag)) {
            Err(e) if concerns_item(&e) => {
                books.tell_refused(item, e.to_string());
                return Ok(());
            }
            put => put?,
        };
        let row = Row { sha256: item.sha256, size: item.size, ..row };
        match put {
            Put::Stored(_) => {
                books.filled.restated += 1;
                self.read_back(books, row, item, fitted, &href)
            }
            Put::Exists | Put::Differs | Put::UidTaken(_) => match self.get(&href, fitted)? {
                // The answer to an earlier try was lost.
                Some(back) if !matches!(back.likeness, Likeness::Changed(_)) => books.confirm(row, &href, back.etag, None, false),
                _ => {
                    books.tell_refused(item, "it was changed on the server since it was put there, and is left so".to_owned());
                    Ok(())
                }
            },
        }
    }

    /// The path of the object with that UID, by reading the whole collection once.
    fn holder_of(&mut self, books: &Books<'_>, uid: &str) -> Result<Option<String>> {
        if self.by_uid.is_none() {
            let paths: Vec<String> = self.client.list(self.path)?.into_iter().map(|entry| entry.path).collect();
            let (is, _) = wanted(books.job.part);
            let mut by_uid = HashMap::new();
            self.client.multiget(self.path, is, &paths, &mut |object| {
                by_uid.extend(uid_of(&object.bytes).map(|uid| (uid, object.path)));
            })?;
            self.by_uid = Some(by_uid);
        }
        Ok(self.by_uid.as_ref().and_then(|all| all.get(uid)).cloned())
    }
}

/// Takes what is there for the item, if it says the same, or if it is what floe had sent and the server changed.
fn claim(books: &mut Books<'_>, row: Row, item: &Placement, fitted: &Fitted, back: Back, ours: bool) -> Result<()> {
    let changed = back.changed();
    if changed.is_none() || (ours && back.uid.as_deref() == Some(fitted.uid.as_str())) {
        return books.confirm(row, &back.href, back.etag, changed, false);
    }
    let reason = format!("another object is there already, at {}, and is left as it is", crate::model::printable(&back.href));
    books.refuse(row, item, reason)
}
