//! Messages that the journal put on the target and the source has no more: moved to another folder there, or removed.
//!
//! A message that is in another folder of the account now is taken out of the one that it left: nothing is lost by that. What is nowhere
//! in the account any more is removed only when the person asks for it. Whatever is removed is proven to be floe's own: its place is in the
//! journal, under the folder's UIDVALIDITY, and its bytes are read back and hashed first.

use std::collections::{HashMap, HashSet};

use super::bytes::Found;
use super::{Folder, Known};
use crate::error::{Kind, Result};
use crate::imap::{Connection, Want};
use crate::model::{CollectionKind, CollectionPath, Digest, printable};
use crate::monitor::Monitor;
use crate::net::patiently;
use crate::replay::Filled;
use crate::replay::journal::{Change, Journal, Key, Row, Status};
use crate::replay::plan::Route;

/// A message that is on the target and no more at the source, in that folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gone {
    /// The collection in the journal.
    collection: i64,
    /// Its row.
    number: u32,
    /// Its bytes.
    sha256: Digest,
    /// Their number.
    size: u64,
    /// Where it is, as far as that is known.
    uid: Option<u32>,
}

/// What may be removed, and where.
pub struct Removal<'a> {
    /// The journal.
    pub journal: &'a Journal,
    /// The account, and where it goes.
    pub route: Route<'a>,
    /// The mail collections that the account has at the source now.
    pub collections: &'a HashSet<CollectionPath>,
    /// Remove what is nowhere in the account any more?
    pub remove: bool,
}

impl Folder<'_> {
    /// What of this folder is no more at the source.
    pub(super) fn gone(&mut self) -> Result<Vec<Gone>> {
        // What went before the earlier snapshot was taken did not go since.
        let since = |key: &Key| self.job.since.is_none_or(|since| since.contains_key(key));
        let gone =
            |key: &Key, known: &Known| !known.there && matches!(known.status, Status::Confirmed | Status::Sent) && since(key);
        let numbers: Vec<u32> =
            self.known.iter().filter(|(key, known)| gone(key, known)).map(|(_, known)| known.number).collect();
        if numbers.is_empty() {
            return Ok(Vec::new());
        }
        self.locate(&numbers)?;
        numbers
            .iter()
            .map(|number| self.journal.row(self.collection.id, *number).map(|row| of_row(self.collection.id, &row)))
            .collect()
    }
}

fn of_row(collection: i64, row: &Row) -> Gone {
    Gone { collection, number: row.number, sha256: row.sha256, size: row.size, uid: row.remote.uid }
}

/// Carries over what left its folder at the source; `gone` is what the account's folders found to be so. To be called when all of them are
/// filled, so that whatever moved is in its new place already.
///
/// # Errors
/// Those of the journal and of the connection.
pub fn carry_removals(
    removal: &Removal<'_>,
    mut gone: Vec<Gone>,
    connect: &mut dyn FnMut() -> Result<Connection>,
    connection: &mut Option<Connection>,
    monitor: &dyn Monitor,
) -> Result<Filled> {
    gone.extend(removal.whole_folders()?);
    if gone.is_empty() {
        return Ok(Filled::default());
    }
    let held = removal.held(&gone)?;
    gone.sort_unstable_by_key(|g| (g.collection, g.uid));
    patiently(
        monitor,
        connection,
        |_| 0,
        |connection| {
            let mut open = Connection::kept_or_new(connection, connect)?;
            let done = removal.carry(&gone, &held, &mut open, monitor)?;
            *connection = Some(open);
            Ok(done)
        },
    )
}

impl Removal<'_> {
    fn carry(&self, gone: &[Gone], held: &HashSet<Digest>, connection: &mut Connection, monitor: &dyn Monitor) -> Result<Filled> {
        let mut done = Filled::default();
        for of_folder in gone.chunk_by(|a, b| a.collection == b.collection) {
            let (moved, lost): (Vec<&Gone>, Vec<&Gone>) = of_folder.iter().partition(|g| held.contains(&g.sha256));
            let removed = self.remove(&moved, connection, monitor)?;
            done.moved += removed;
            done.unproven += moved.len() as u64 - removed;
            if self.remove {
                let removed = self.remove(&lost, connection, monitor)?;
                done.removed += removed;
                done.unproven += lost.len() as u64 - removed;
            } else {
                done.kept += lost.len() as u64;
            }
        }
        Ok(done)
    }

    /// The messages of folders that are no more at the source.
    fn whole_folders(&self) -> Result<Vec<Gone>> {
        let mut gone = Vec::new();
        for (id, kind, path) in self.journal.collections(self.route)? {
            if kind != CollectionKind::Mail.to_string() || self.collections.contains(&CollectionPath::parse(&path)) {
                continue;
            }
            self.journal.rows(id, &mut |row| {
                if matches!(row.status, Status::Confirmed | Status::Sent) {
                    gone.push(of_row(id, &row));
                }
                Ok(())
            })?;
        }
        Ok(gone)
    }

    /// The contents that the account holds on the target besides what is gone.
    fn held(&self, gone: &[Gone]) -> Result<HashSet<Digest>> {
        let rows: HashSet<(i64, u32)> = gone.iter().map(|g| (g.collection, g.number)).collect();
        let wanted: HashSet<Digest> = gone.iter().map(|g| g.sha256).collect();
        let mut held = HashSet::new();
        for (id, kind, _) in self.journal.collections(self.route)? {
            if kind != CollectionKind::Mail.to_string() {
                continue;
            }
            self.journal.rows(id, &mut |row| {
                let there = matches!(row.status, Status::Confirmed | Status::Sent);
                if there && wanted.contains(&row.sha256) && !rows.contains(&(id, row.number)) {
                    held.insert(row.sha256);
                }
                Ok(())
            })?;
        }
        Ok(held)
    }

    /// Removes messages of one folder; how many of them are not there any more.
    fn remove(&self, gone: &[&Gone], connection: &mut Connection, monitor: &dyn Monitor) -> Result<u64> {
        let Some(first) = gone.first() else { return Ok(0) };
        let (mailbox, validity) = self.journal.place(first.collection)?;
        let stays = |g: &Gone, why: &str| monitor.note(&format!("{} stays in {}: {why}", g.sha256, printable(&mailbox)));
        match connection.select(&mailbox, false) {
            Ok(selected) if Some(selected.uid_validity) == validity => {}
            Ok(_) => {
                gone.iter().for_each(|g| stays(g, "the folder was made anew since"));
                return Ok(0);
            }
            // The folder went with all that was in it.
            Err(e) if e.kind() == Kind::Refused => return self.write_down(gone),
            Err(e) => return Err(e),
        }
        let uids: Vec<u32> = gone.iter().filter_map(|g| g.uid).collect();
        let mut found = Found::default();
        connection.fetch(&uids, Want { flags: false, date: false, size: false, body: true }, &mut found)?;
        let there: HashMap<u32, (u64, Digest)> =
            found.messages.iter().map(|(uid, size, sha256, _)| (*uid, (*size, *sha256))).collect();
        let (mut ours, mut away) = (Vec::new(), Vec::new());
        for &g in gone {
            match g.uid.map(|uid| there.get(&uid)) {
                Some(Some(bytes)) if *bytes == (g.size, g.sha256) => ours.push(g),
                Some(Some(_)) => stays(g, "the server has changed its bytes"),
                Some(None) => away.push(g),
                None => stays(g, "its place is not known"),
            }
        }
        let mut done = self.write_down(&away)?;
        let uids: Vec<u32> = ours.iter().filter_map(|g| g.uid).collect();
        match connection.remove(&uids) {
            Ok(()) => done += self.write_down(&ours)?,
            Err(e) if e.kind() == Kind::Refused => ours.iter().for_each(|g| stays(g, &e.to_string())),
            Err(e) => return Err(e),
        }
        Ok(done)
    }

    /// Writes down that these messages of one folder are not there any more.
    fn write_down(&self, gone: &[&Gone]) -> Result<u64> {
        let Some(first) = gone.first() else { return Ok(0) };
        let mut rows = Vec::new();
        for g in gone {
            let mut row = self.journal.row(g.collection, g.number)?;
            row.status = Status::Gone;
            row.remote.uid = None;
            rows.push(row);
        }
        let changes: Vec<Change<'_>> = rows.iter().map(Change::Update).collect();
        self.journal.change(first.collection, false, &changes)?;
        Ok(gone.len() as u64)
    }
}
