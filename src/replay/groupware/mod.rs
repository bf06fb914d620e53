//! Fills calendars, address books and folders of files of the target over DAV: every item once, whatever breaks on the way.
//!
//! An item has a name on the target that follows from its UID or path, is written into the journal before it is sent, is sent only
//! where nothing has that name, and is read back and compared. After a break it is either there under its name, or not at all.

mod files;
mod objects;
mod place;

use std::collections::{HashMap, HashSet};

pub use self::files::{relative_path, resource_path};
pub use self::objects::form_of;
pub use self::place::{find, home_of, wanted};
use super::Filled;
use super::journal::{Change, Collection, CollectionName, Journal, Key, Remote, Row, Status};
use super::plan::{Part, Route, part_of};
use super::refused::{exception, name_all};
use crate::archive::{Archive, CollectionEntry};
use crate::dav::{Client, Homes};
use crate::error::{Error, Kind, Result};
use crate::model::{CollectionHead, Digest, Placement};
use crate::monitor::Monitor;
use crate::net::Pace;

/// An object of a calendar or address book is held in memory; a larger one is not sent.
pub const LARGEST_OBJECT: u64 = 64 << 20;

/// What is to be done with one part of a collection.
#[derive(Clone, Copy, Debug)]
pub struct DavJob<'a> {
    /// The account, and where it goes.
    pub route: Route<'a>,
    /// The collection in the archive.
    pub collection: &'a CollectionEntry,
    /// Which part of it.
    pub part: Part,
    /// The folder on the target, from the user's home.
    pub to: &'a [String],
    /// Larger items are not tried; of objects the form that is sent counts.
    pub largest: Option<u64>,
    /// What an earlier snapshot held of it, where only what is new since then is wanted.
    pub since: Option<&'a HashMap<Key, Digest>>,
    /// Is what the source has no more removed, as far as it is as floe left it?
    pub remove: bool,
    /// How fast.
    pub pace: &'a Pace,
}

impl<'a> DavJob<'a> {
    /// By what the journal knows the folder.
    fn name(&self) -> CollectionName<'a> {
        CollectionName { route: self.route, part: self.part, path: &self.collection.head.path }
    }
}

/// What an item is known by in its collection: the UID, the path of a file, or its digest. Another one of the same name is told apart by its
/// number.
pub fn name_of(part: Part, head: &CollectionHead, item: &Placement) -> String {
    match part {
        Part::Files => relative_path(head, item).join("/"),
        // The same for the same item always, also without reading it.
        _ => item.uid.clone().unwrap_or_else(|| item.sha256.to_string()),
    }
}

/// Names as they come up, and how often so far.
#[derive(Default)]
struct Names(HashMap<String, u32>);

impl Names {
    /// The key of the next item of this name, and which of them it is, from 0.
    fn key(&mut self, name: &str) -> (Key, u32) {
        let nth = *self.0.entry(name.to_owned()).and_modify(|n| *n += 1).or_insert(0);
        (if nth == 0 { Key::of_name(name) } else { Key::of_name(&format!("{name}\0{nth}")) }, nth)
    }
}

/// What a collection holds of a part: each item by its key.
///
/// # Errors
/// As [`Archive::placements`].
pub fn held(archive: &Archive, collection: &CollectionEntry, part: Part) -> Result<HashMap<Key, Digest>> {
    let mut held = HashMap::new();
    keyed(archive, collection, part, &mut |key, item| {
        held.insert(key, item.sha256);
        Ok(())
    })?;
    Ok(held)
}

/// Hands each item of a part over with its key.
fn keyed(
    archive: &Archive,
    collection: &CollectionEntry,
    part: Part,
    each: &mut dyn FnMut(Key, Placement) -> Result<()>,
) -> Result<()> {
    let (head, mut names) = (&collection.head, Names::default());
    archive.placements(collection, &mut |item| {
        if part_of(head.kind, item.component.as_deref()) != part {
            return Ok(());
        }
        each(names.key(&name_of(part, head, &item)).0, item)
    })
}

/// Fills one folder; `filled` has what an attempt before this one did, which broke off.
///
/// # Errors
/// When the target cannot be reached, refuses the login or the folder, or when archive or journal fail. What was done until then is in
/// the journal; call again to go on.
pub fn fill(
    archive: &Archive,
    job: DavJob<'_>,
    journal: &Journal,
    client: &mut Client,
    homes: &Homes,
    filled: &mut Filled,
    monitor: &dyn Monitor,
) -> Result<()> {
    let Filled { sent, claimed, bytes, restated, removed, .. } = *filled;
    // Counted anew on every attempt is what it finds to be so.
    *filled = Filled { sent, claimed, bytes, restated, removed, ..Filled::default() };
    let head = &job.collection.head;
    let before = journal.find(job.name())?;
    let place = place::find_or_make(client, homes, job.part, job.to, head, before.as_ref().map(|c| c.remote.as_str()))?;
    let collection = journal.collection(job.name(), &place.path)?;
    let mut books = Books {
        job,
        journal,
        collection,
        known: HashMap::new(),
        asked: HashSet::new(),
        names: Names::default(),
        monitor,
        filled,
    };
    books.recall(place.is_new)?;
    match job.part {
        Part::Files => files::fill(archive, &mut books, client, &place.path)?,
        _ => objects::fill(archive, &mut books, client, &place.path)?,
    }
    books.removals(client)?;
    // What earlier attempts have sent or claimed is among it.
    filled.before = filled.before.saturating_sub(sent + claimed);
    Ok(())
}

/// Counts and names what stays behind of a folder that the target refuses with that error.
///
/// # Errors
/// Those of archive and journal.
pub fn name_refused(
    archive: &Archive,
    job: DavJob<'_>,
    journal: &Journal,
    filled: &mut Filled,
    error: &Error,
    monitor: &dyn Monitor,
) -> Result<()> {
    // An older form under the same name is not the item.
    let is_before = |key: &Key, item: &Placement, there: Option<&Digest>| {
        [there, job.since.and_then(|since| since.get(key))].contains(&Some(&item.sha256))
    };
    name_all(journal, job.name(), filled, error, monitor, is_before, |each| keyed(archive, job.collection, job.part, each))
}

/// The journal's view of the folder that is being filled, and the count.
struct Books<'a> {
    job: DavJob<'a>,
    journal: &'a Journal,
    collection: Collection,
    known: HashMap<Key, Row>,
    /// What the source has.
    asked: HashSet<Key>,
    names: Names,
    monitor: &'a dyn Monitor,
    filled: &'a mut Filled,
}

/// What is to be done with an item.
enum Step {
    /// Nothing: it is there, or was refused before.
    Done,
    /// Send it. `ours`: an earlier run had begun to.
    Send { row: Row, ours: bool },
    /// It is there in an older form; put the new one over it.
    Replace(Row),
}

impl Books<'_> {
    /// Recalls what the journal knows. In a folder that had to be made anew nothing is where it was.
    fn recall(&mut self, made_anew: bool) -> Result<()> {
        let known = &mut self.known;
        self.journal.rows(self.collection.id, &mut |mut row| {
            if made_anew && row.status != Status::Failed {
                row.status = Status::Intent;
            }
            known.insert(row.key, row);
            Ok(())
        })
    }

    /// Looks an item up, and counts it where nothing is to be done.
    fn step(&mut self, key: Key, item: &Placement, href: &str) -> Step {
        let fresh = Row {
            number: self.collection.next,
            key,
            sha256: item.sha256,
            size: item.size,
            status: Status::Intent,
            state: 0,
            remote: Remote { href: Some(href.to_owned()), ..Remote::default() },
            reason: None,
            again: false,
        };
        self.asked.insert(key);
        let Some(row) = self.known.get(&key) else {
            if self.job.since.is_some_and(|since| since.get(&key) == Some(&item.sha256)) {
                self.filled.before += 1;
                return Step::Done;
            }
            return Step::Send { row: fresh, ours: false };
        };
        let same = row.sha256 == item.sha256;
        match row.status {
            Status::Confirmed | Status::Sent if same => {
                self.filled.before += 1;
                self.filled.changed += u64::from(row.reason.is_some());
                Step::Done
            }
            Status::Confirmed | Status::Sent => Step::Replace(row.clone()),
            Status::Failed if same => {
                self.filled.refused += 1;
                Step::Done
            }
            // What was removed and is at the source again is sent like anything new; so is another form of what was refused.
            Status::Gone | Status::Failed => Step::Send { row: Row { number: row.number, ..fresh }, ours: false },
            Status::Intent => Step::Send { row: Row { number: row.number, ..fresh }, ours: true },
        }
    }

    /// Writes a row down, whether it is new or not.
    fn write(&mut self, row: Row) -> Result<()> {
        let change = if self.known.contains_key(&row.key) { Change::Update(&row) } else { Change::Insert(&row) };
        self.journal.change(self.collection.id, false, &[change])?;
        self.collection.next = self.collection.next.max(row.number.saturating_add(1));
        self.known.insert(row.key, row);
        Ok(())
    }

    /// Writes down that the target holds the item; `changed` says what reads back otherwise.
    fn confirm(&mut self, mut row: Row, href: &str, etag: Option<String>, changed: Option<String>, sent: bool) -> Result<()> {
        row.status = Status::Confirmed;
        row.remote = Remote { uid: None, href: Some(href.to_owned()), etag };
        self.filled.changed += u64::from(changed.is_some());
        row.reason = changed;
        if sent {
            self.filled.sent += 1;
            self.filled.bytes += row.size;
        } else {
            self.filled.claimed += 1;
        }
        self.monitor.advance(1, row.size);
        self.write(row)
    }

    /// Removes what the source has no more, if that is asked for and it still is what floe put there; otherwise counts it.
    fn removals(&mut self, client: &mut Client) -> Result<()> {
        // What went before the earlier snapshot was taken did not go since.
        let since = |row: &Row| self.job.since.is_none_or(|since| since.contains_key(&row.key));
        let gone = |row: &&Row| row.status == Status::Confirmed && !self.asked.contains(&row.key) && since(row);
        let gone: Vec<Row> = self.known.values().filter(gone).cloned().collect();
        for mut row in gone {
            let (Some(href), Some(etag), true) = (&row.remote.href, &row.remote.etag, self.job.remove) else {
                self.filled.kept += 1;
                continue;
            };
            match client.delete(href, Some(etag)) {
                Err(e) if concerns_item(&e) => self.filled.unproven += 1,
                removed => {
                    removed?;
                    self.filled.removed += 1;
                    row.status = Status::Gone;
                    self.write(row)?;
                }
            }
        }
        Ok(())
    }

    /// Writes down that the target does not take it, and tells the person.
    fn refuse(&mut self, mut row: Row, item: &Placement, reason: String) -> Result<()> {
        row.status = Status::Failed;
        row.reason = Some(reason.clone());
        self.write(row)?;
        self.tell_refused(item, reason);
        Ok(())
    }

    fn tell_refused(&mut self, item: &Placement, reason: String) {
        self.filled.refused += 1;
        self.tell(item, "refused by the server", reason);
    }

    /// The archive does not give the item; that is not for the journal, for the archive can be mended.
    fn tell_damaged(&mut self, item: &Placement, e: &Error) {
        self.filled.damaged += 1;
        self.tell(item, "damaged in the archive", e.to_string());
    }

    fn tell(&self, item: &Placement, reason: &str, detail: String) {
        self.monitor.exception(&exception(self.job.name(), item.source.clone(), reason, detail));
    }
}

/// Is it an answer about this one item, after which the others can go on?
fn concerns_item(e: &Error) -> bool {
    matches!(e.kind(), Kind::Refused | Kind::Protocol)
}
