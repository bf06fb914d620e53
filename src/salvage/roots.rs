//! Snapshots made anew from what is left of them: listings without the lines whose items are lost, which become exceptions.
//!
//! The new archive is valid in itself: its ledgers balance, and what is lost is counted and listed in it as failed.

use std::collections::{HashMap, HashSet};

use super::heap::{FoundRoot, Heap};
use super::{Lost, Salvaged};
use crate::archive::{AccountEntry, Archive, CollectionEntry, ListingWriter, Root, Tool, Writer, line};
use crate::error::Result;
use crate::model::{Digest, Exception, Ledger, Outcome, Place, Placement};

/// Under which lost items are counted.
pub(super) const REASON: &str = "lost in the damaged archive";

pub(super) struct Rebuilder<'a> {
    /// What was saved.
    pub reader: &'a Archive,
    pub writer: &'a mut Writer,
    pub done: &'a mut Salvaged,
    /// Objects that a surviving listing or root leads to.
    pub named: HashSet<Digest>,
    /// The newest snapshot so far.
    pub newest: Option<(Root, Digest)>,
    accounts: HashMap<(String, Digest), Option<AccountEntry>>,
}

impl<'a> Rebuilder<'a> {
    pub(super) fn new(reader: &'a Archive, writer: &'a mut Writer, done: &'a mut Salvaged) -> Self {
        Rebuilder { reader, writer, done, named: HashSet::new(), newest: None, accounts: HashMap::new() }
    }

    /// Commits every snapshot whose root was found, oldest first.
    pub(super) fn roots(&mut self, heap: &Heap) -> Result<()> {
        let mut found: Vec<&FoundRoot> = heap.roots.iter().collect();
        found.sort_by_key(|f| (f.root.created, f.digest));
        let there: HashSet<Digest> = found.iter().map(|f| f.digest).collect();
        for root in found {
            if let Some(before) = root.root.previous.filter(|p| !there.contains(p)) {
                self.done.damage.push(format!("the snapshot before {} is lost: its root has the SHA-256 {before}", root.file));
            }
            self.root(root)?;
        }
        Ok(())
    }

    fn root(&mut self, found: &FoundRoot) -> Result<()> {
        let mut root = self.remade(&found.root)?;
        root.previous = self.newest.as_ref().map(|(_, digest)| *digest);
        let snapshot = if root == found.root && self.fits(found) {
            let snapshot = self.writer.commit_as_it_was(&root, found.bytes.clone())?;
            self.done.kept.push(snapshot.id.clone());
            snapshot
        } else {
            let Tool { name, version } = Root::new(root.created, None).tool;
            root.tool = Tool { name, version };
            root.events = None;
            let snapshot = self.writer.commit(&root)?;
            self.done.remade.push((found.file.clone(), snapshot.id.clone()));
            snapshot
        };
        self.done.items = root.ledger.captured;
        self.newest = Some((root, snapshot.digest));
        Ok(())
    }

    /// Can the root's file be one of the new archive? In an encrypted one everybody for whom it is has to be able to open it.
    fn fits(&self, found: &FoundRoot) -> bool {
        let recipients = self.writer.recipients();
        found.encrypted != recipients.is_empty() && recipients.iter().all(|r| found.root.recipients.contains(r))
    }

    /// The root with what is left.
    fn remade(&mut self, old: &Root) -> Result<Root> {
        let mut root = old.clone();
        root.accounts.clear();
        let (mut before, mut after, mut lost) = (Ledger::default(), Ledger::default(), Vec::new());
        for entry in &old.accounts {
            before.add(&entry.ledger);
            match self.account(entry)? {
                Some(entry) => {
                    after.add(&entry.ledger);
                    root.accounts.push(entry);
                }
                None => {
                    let what = format!("all of it: its listing of {} collections is lost", entry.collections);
                    self.lose(&entry.account, "", &what, None);
                    lost.push((entry, what));
                }
            }
        }
        if root.accounts == old.accounts {
            (before, after) = (Ledger::default(), Ledger::default());
        }
        root.ledger = instead(&old.ledger, &before, &after);
        if let Some(directory) = old.directory {
            self.named.insert(directory);
            if !self.reader.contains(&directory)? {
                self.lose("", "", "the directory: who there is, with rights and rules", None);
                root.directory = None;
            }
        }
        if let Some(merkle) = &old.merkle {
            self.named.extend([merkle.key, merkle.collections]);
            let there = self.reader.contains(&merkle.key)? && self.reader.contains(&merkle.collections)?;
            if !there {
                self.lose("", "", "the Merkle tree, without which the snapshot gives no evidence of single items", None);
            }
            // A tree of what was there before is none of what is left.
            root.merkle = old.merkle.clone().filter(|_| there && root.accounts == old.accounts);
        }
        root.leftovers = self.leftovers(old, &lost, &mut root.ledger)?;
        root.tree = Root::tree_of(&root.accounts);
        Ok(root)
    }

    /// The listing of what belongs to no account, with the accounts that are lost as a whole.
    fn leftovers(&mut self, old: &Root, lost: &[(&AccountEntry, String)], ledger: &mut Ledger) -> Result<Option<Digest>> {
        let there = old.leftovers.map(|listing| self.reader.contains(&listing)).transpose()?;
        self.named.extend(old.leftovers);
        if there == Some(false) {
            self.lose("", "", "the listing of what belongs to no account", None);
        }
        if lost.is_empty() {
            return Ok(old.leftovers.filter(|_| there == Some(true)));
        }
        let mut listing = ListingWriter::default();
        if let Some(before) = old.leftovers.filter(|_| there == Some(true)) {
            self.reader.exceptions(before, &mut |e| listing.push(self.writer, &line(&e)?))?;
        }
        for (entry, what) in lost {
            ledger.found += entry.ledger.found;
            *ledger.failed.entry(REASON.to_owned()).or_default() += entry.ledger.found;
            listing.push(self.writer, &line(&gone(&entry.account, "", Place::file(""), what.clone()))?)?;
        }
        listing.finish(self.writer).map(Some)
    }

    /// What is left of an account; nothing where its listing is lost.
    pub(super) fn account(&mut self, entry: &AccountEntry) -> Result<Option<AccountEntry>> {
        let key = (entry.account.clone(), entry.listing);
        if let Some(known) = self.accounts.get(&key) {
            return Ok(known.clone());
        }
        self.named.insert(entry.listing);
        let collections = if self.reader.contains(&entry.listing)? { self.reader.collections(entry).ok() } else { None };
        let left = match collections {
            None => None,
            Some(collections) => {
                let mut left = Vec::with_capacity(collections.len());
                for collection in &collections {
                    left.push(self.collection(&entry.account, collection)?);
                }
                Some(if left == collections { entry.clone() } else { self.account_of(&entry.account, &left)? })
            }
        };
        self.accounts.insert(key, left.clone());
        Ok(left)
    }

    /// An account of these collections.
    pub(super) fn account_of(&mut self, account: &str, collections: &[CollectionEntry]) -> Result<AccountEntry> {
        let (mut listing, mut ledger) = (ListingWriter::default(), Ledger::default());
        for collection in collections {
            ledger.add(&collection.ledger);
            listing.push(self.writer, &line(collection)?)?;
        }
        let listing = listing.finish(self.writer)?;
        Ok(AccountEntry { account: account.to_owned(), listing, collections: collections.len() as u64, ledger })
    }

    /// What is left of a collection.
    pub(super) fn collection(&mut self, account: &str, entry: &CollectionEntry) -> Result<CollectionEntry> {
        let path = entry.head.path.to_string();
        self.named.insert(entry.listing);
        self.named.extend(entry.exceptions);
        let mut missing: Option<Vec<Placement>> = None;
        if self.reader.contains(&entry.listing)? {
            let mut gone = Vec::new();
            let named = &mut self.named;
            let reader = self.reader;
            let read = reader.placements(entry, &mut |item| {
                named.insert(item.sha256);
                if !reader.contains(&item.sha256)? {
                    gone.push(item);
                }
                Ok(())
            });
            missing = read.is_ok().then_some(gone);
        }
        let exceptions_there = entry.exceptions.map_or(Ok(true), |listing| self.reader.contains(&listing))?;
        let mut originals = entry.originals.clone();
        for original in &entry.originals {
            self.named.insert(original.sha256);
            if !self.reader.contains(&original.sha256)? {
                self.lose(account, &path, &format!("the whole file {}", original.path), Some(original.sha256));
                originals.retain(|o| o != original);
            }
        }
        if missing.as_ref().is_some_and(Vec::is_empty) && exceptions_there {
            return Ok(CollectionEntry { originals, ..entry.clone() });
        }
        self.thinned(account, &path, CollectionEntry { originals, ..entry.clone() }, missing, exceptions_there)
    }

    /// The collection without what is missing; all of it is where not even the listing is left.
    fn thinned(
        &mut self,
        account: &str,
        path: &str,
        mut entry: CollectionEntry,
        missing: Option<Vec<Placement>>,
        exceptions_there: bool,
    ) -> Result<CollectionEntry> {
        let (mut listing, mut exceptions) = (ListingWriter::default(), ListingWriter::default());
        let old = entry.clone();
        match old.exceptions.filter(|_| exceptions_there) {
            Some(before) => self.reader.exceptions(before, &mut |e| exceptions.push(self.writer, &line(&e)?))?,
            None => self.count_again(account, path, &old.ledger, &mut exceptions)?,
        }
        let lost: u64 = missing.as_ref().map_or(old.items, |m| m.len() as u64);
        (entry.ledger.captured, entry.ledger.bytes) = (0, 0);
        match missing {
            None => {
                self.lose(account, path, &format!("{lost} items: the collection's listing is lost"), None);
                for n in 1..=lost {
                    let detail = format!("item {n} of {lost}; the listing is lost");
                    exceptions.push(self.writer, &line(&gone(account, path, Place::file(""), detail))?)?;
                }
            }
            Some(missing) => {
                let digests: HashSet<Digest> = missing.iter().map(|m| m.sha256).collect();
                let ledger = &mut entry.ledger;
                self.reader.placements(&old, &mut |item| {
                    if !digests.contains(&item.sha256) {
                        ledger.captured += 1;
                        ledger.bytes += item.size;
                        listing.push(self.writer, &line(&item)?)?;
                    }
                    Ok(())
                })?;
                for item in missing {
                    let detail = item.message_id.clone().unwrap_or_else(|| item.sha256.to_string());
                    exceptions.push(self.writer, &line(&gone(account, path, item.source.clone(), detail))?)?;
                    let what = item.source.to_string();
                    let (message_id, sha256) = (item.message_id, Some(item.sha256));
                    self.done.lost.insert(Lost {
                        account: account.to_owned(),
                        collection: path.to_owned(),
                        what,
                        message_id,
                        sha256,
                    });
                }
            }
        }
        if lost > 0 {
            *entry.ledger.failed.entry(REASON.to_owned()).or_default() += lost;
        }
        entry.items = entry.ledger.captured;
        entry.listing = listing.finish(self.writer)?;
        entry.exceptions = if exceptions.bytes() > 0 { Some(exceptions.finish(self.writer)?) } else { None };
        Ok(entry)
    }

    /// Lines for exceptions that are only counted any more, because their listing is lost.
    fn count_again(&mut self, account: &str, path: &str, ledger: &Ledger, to: &mut ListingWriter) -> Result<()> {
        for (outcome, reasons) in [(Outcome::Skipped, &ledger.skipped), (Outcome::Failed, &ledger.failed)] {
            for (reason, count) in reasons {
                self.lose(account, path, &format!("the places of {count} exceptions ({reason})"), None);
                for _ in 0..*count {
                    let mut exception = gone(account, path, Place::file(""), "where it lay is lost".to_owned());
                    (exception.outcome, exception.reason) = (outcome, reason.clone());
                    to.push(self.writer, &line(&exception)?)?;
                }
            }
        }
        Ok(())
    }

    fn lose(&mut self, account: &str, collection: &str, what: &str, sha256: Option<Digest>) {
        let (account, collection, what) = (account.to_owned(), collection.to_owned(), what.to_owned());
        self.done.lost.insert(Lost { account, collection, what, message_id: None, sha256 });
    }
}

fn gone(account: &str, collection: &str, source: Place, detail: String) -> Exception {
    Exception {
        account: account.to_owned(),
        collection: collection.to_owned(),
        source,
        outcome: Outcome::Failed,
        reason: REASON.to_owned(),
        detail,
    }
}

/// A sum with one part of it taken out and another put in.
fn instead(sum: &Ledger, before: &Ledger, after: &Ledger) -> Ledger {
    let mut new = sum.clone();
    new.found = new.found.saturating_sub(before.found);
    new.captured = new.captured.saturating_sub(before.captured);
    new.bytes = new.bytes.saturating_sub(before.bytes);
    for (counts, before) in [(&mut new.skipped, &before.skipped), (&mut new.failed, &before.failed)] {
        for (reason, n) in before {
            if let Some(count) = counts.get_mut(reason) {
                *count = count.saturating_sub(*n);
            }
        }
        counts.retain(|_, n| *n > 0);
    }
    new.add(after);
    new
}
