//! One snapshot run: every account, every collection, the ledger, and the root that commits to them.

use jiff::{Timestamp, ToSpan as _};

use super::pipeline::{Beginning, Pipeline};
use super::seen::{self, Earlier, OldLines, SeenCollection};
use crate::archive::{CollectionEntry, ListingWriter, Options, Previous, Root, Snapshot, SourceNote, Writer, line};
use crate::directory::{self, Directory};
use crate::error::Result;
use crate::model::{CollectionHead, Digest, Exception, Outcome, Place};
use crate::monitor::Monitor;
use crate::source::{AccountSource, Discovery, ItemSink as _, Reader};

/// What a run did.
#[derive(Debug)]
pub struct Done {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// Objects that the archive did not have before.
    pub new_objects: u64,
    /// Collections whose ledger does not balance, in words.
    pub unbalanced: Vec<String>,
}

/// Captures all accounts, and the directory, into the archive and commits one snapshot. Collections that are as an earlier run saw
/// them are not read again, unless `options` ask for it.
///
/// # Errors
/// When the archive cannot be written. What cannot be read of the source is an exception in the ledger instead.
pub fn run(
    discovery: &Discovery,
    directory: Option<&Directory>,
    writer: &mut Writer,
    options: Options,
    monitor: &dyn Monitor,
) -> Result<Done> {
    let previous = writer.previous();
    let mut root = Root::new(next_moment(previous), previous.map(|s| s.digest));
    let earlier = if options.reread || !writer.is_whole() { Earlier::default() } else { Earlier::open(writer.archive()) };
    root.options = options;
    monitor.phase("snapshot", None);
    let mut run = Run { pipeline: Pipeline::new(writer, monitor)?, earlier, monitor, root, nobodys: Vec::new() };
    for account in &discovery.accounts {
        run.account(account)?;
    }
    let (accounts, unbalanced) = run.pipeline.end_accounts()?;
    accounts.iter().for_each(|account| run.root.ledger.add(&account.ledger));
    run.root.accounts = accounts;
    run.nobodys.extend(discovery.leftovers.iter().map(crate::source::Leftover::exception));
    if let Some(directory) = directory {
        run.nobodys.extend(directory.exceptions());
        run.root.directory = Some(directory::store(directory, run.pipeline.writer())?);
    }
    run.leftovers()?;
    let Run { mut pipeline, mut root, .. } = run;
    root.accounts.sort_by(|a, b| a.account.cmp(&b.account));
    root.tree = Root::tree_of(&root.accounts);
    match pipeline.end_trees()? {
        Ok(merkle) => root.merkle = Some(merkle),
        // What could not be read is damage that verify names; the snapshot is good for everything but evidence bundles.
        Err(e) => monitor.note(&format!("the snapshot has no Merkle tree, so it gives no evidence bundles: {e}")),
    }
    let seen = pipeline.into_seen();
    let snapshot = writer.commit(&root)?;
    if let Err(e) = seen.finish(writer.archive(), &snapshot.id) {
        // The snapshot is committed; what was seen only saves the next run some reading.
        monitor.note(&format!("the next run will read everything again: {e}"));
    }
    monitor.done();
    Ok(Done { snapshot, new_objects: writer.new_objects(), unbalanced })
}

/// The time of a new root: later than that of the one before, also within one second and with a clock that went back.
fn next_moment(previous: Option<&Previous>) -> Timestamp {
    let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default();
    match previous.and_then(|s| s.created.checked_add(1.second()).ok()) {
        Some(earliest) => now.max(earliest),
        None => now,
    }
}

struct Run<'a> {
    pipeline: Pipeline<'a>,
    earlier: Earlier,
    monitor: &'a dyn Monitor,
    root: Root,
    /// What was not captured and belongs to no collection.
    nobodys: Vec<Exception>,
}

impl Run<'_> {
    fn account(&mut self, account: &AccountSource) -> Result<()> {
        self.root.sources.push(SourceNote {
            path: account.root.display().to_string(),
            format: account.readers.first().map(|r| r.format().to_string()),
        });
        let seen = self.earlier.account(self.pipeline.writer().archive(), &account.account);
        for reader in &account.readers {
            match reader.collections() {
                Ok(heads) => heads.into_iter().try_for_each(|head| self.collection(account, reader.as_ref(), head, &seen))?,
                Err(e) => self.nobodys.push(Exception {
                    account: account.account.clone(),
                    collection: String::new(),
                    source: Place::file(reader.root().display().to_string()),
                    outcome: Outcome::Failed,
                    reason: "the store could not be opened".to_owned(),
                    detail: e.to_string(),
                }),
            }
        }
        self.pipeline.end_account(&account.account)
    }

    fn collection(
        &mut self,
        account: &AccountSource,
        reader: &dyn Reader,
        head: CollectionHead,
        seen: &[SeenCollection],
    ) -> Result<()> {
        // Taken before anything is read, so that a change meanwhile shows the next time.
        let stamps = seen::stamps(reader, &head);
        let before = seen::find(seen, reader.root(), &head).filter(|s| self.is_kept(&s.entry).unwrap_or(false));
        if let Some(before) = before.filter(|b| b.is_unchanged(stamps)) {
            let records = self.earlier.records(self.pipeline.writer().archive(), before);
            let mut same = before.clone();
            same.entry.head = head;
            return self.pipeline.unchanged(same, records);
        }
        let (found, uncounted) = match reader.count(&head) {
            Ok(found) => (found, None),
            Err(e) => (1, Some(e)),
        };
        let old = before.map(|b| self.old_lines(b)).transpose()?.flatten();
        let grown = before.and_then(SeenCollection::grown);
        let place = Place::file(&head.source_path);
        let (format, store) = (reader.format().to_string(), reader.root().to_owned());
        let from = Beginning { account: account.account.clone(), head: head.clone(), format, store, stamps, found };
        let mut sink = self.pipeline.begin(from, old, before.map(|b| b.entry.clone()))?;
        match uncounted {
            Some(e) => sink.exception(place, Outcome::Failed, "the items could not be counted", e.to_string())?,
            None => {
                if let Err(e) = reader.read(&head, grown, &mut sink) {
                    if sink.is_broken() {
                        return Err(e);
                    }
                    sink.exception(place, Outcome::Failed, "the store could not be read to its end", e.to_string())?;
                }
            }
        }
        sink.end()
    }

    /// Are the listings of an earlier run still in the archive?
    fn is_kept(&mut self, entry: &CollectionEntry) -> Result<bool> {
        let writer = self.pipeline.writer();
        let listings = [Some(entry.listing), entry.exceptions];
        let all: Result<Vec<bool>> = listings.iter().flatten().map(|digest: &Digest| writer.contains(digest)).collect();
        Ok(all?.into_iter().all(|there| there))
    }

    /// The lines of the items that an earlier run captured as files of their own.
    fn old_lines(&mut self, before: &SeenCollection) -> Result<Option<OldLines>> {
        let writer = self.pipeline.writer();
        let records = self.earlier.records(writer.archive(), before);
        if records.is_empty() {
            return Ok(None);
        }
        let mut listing = writer.scratch()?;
        // Damage only means that the files are read again.
        Ok(writer.archive().copy(before.entry.listing, &mut listing).is_ok().then(|| OldLines::new(records, listing)))
    }

    /// Lists what belongs to no account, so that it is counted and named too.
    fn leftovers(&mut self) -> Result<()> {
        let mut listing = ListingWriter::default();
        for exception in std::mem::take(&mut self.nobodys) {
            self.root.ledger.found += 1;
            self.root.ledger.note(exception.outcome, &exception.reason);
            self.monitor.exception(&exception);
            listing.push(self.pipeline.writer(), &line(&exception)?)?;
        }
        if listing.bytes() > 0 {
            self.root.leftovers = Some(listing.finish(self.pipeline.writer())?);
        }
        Ok(())
    }
}
