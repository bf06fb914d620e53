//! The line from readers to the archive: batches of items are captured on all cores, and stored in the order in which they came.
//!
//! What a reader hands over becomes steps in a queue. Each step leaves it at the front, one after the other, so that the archive
//! and its listings depend on the source only, and not on which core was faster. The queue is bounded in bytes.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, sync_channel};

use super::capture::{Captured, Task, WHOLE_BYTES, capture_stream, original_stream, size_of};
use super::dissect::NewObject;
use super::seen::{Key, OldLines, Records, SeenCollection, SeenWriter};
use crate::archive::merkle::{ListingTree, Merkle, TreesWriter};
use crate::archive::{AccountEntry, CollectionEntry, ListingWriter, Original, Writer, line};
use crate::error::{Error, Kind, Result};
use crate::model::{CollectionHead, CollectionKind, Digest, Exception, Ledger, Outcome, Place};
use crate::monitor::Monitor;
use crate::source::{Content, FoundItem, Grown, ItemSink};

/// Bytes of items that one core works on at a time.
const BATCH_BYTES: u64 = 1 << 20;
/// Tasks that one core works on at a time.
const BATCH_TASKS: usize = 256;
/// Bytes of items in the queue.
const QUEUE_BYTES: u64 = 24 << 20;
/// Steps in the queue.
const QUEUE_STEPS: usize = 64;

/// What a batch gives: for each task its place and what came of it.
type Results = Vec<(Place, Result<Captured>)>;

enum Step {
    Begin(Box<Beginning>),
    Batch {
        bytes: u64,
        results: Receiver<Results>,
    },
    /// Too large for memory: read when its turn comes.
    Stream(Box<FoundItem>),
    /// A file to be kept whole that is too large for memory.
    StreamOriginal(Place, PathBuf),
    Exception {
        place: Place,
        outcome: Outcome,
        reason: String,
        detail: String,
    },
    /// All that an earlier run got out of this collection's file, which has only grown.
    Resumed(Box<CollectionEntry>),
    ReadUpTo(Grown),
    End,
    /// A collection that is as it was, with its records.
    Unchanged(Box<SeenCollection>, Vec<u8>),
    /// All collections of this account came before.
    EndAccount(String),
}

/// A collection about to be captured.
pub(super) struct Beginning {
    /// The account.
    pub(super) account: String,
    /// What the source says of the collection.
    pub(super) head: CollectionHead,
    /// Format of the store.
    pub(super) format: String,
    /// Folder of the store.
    pub(super) store: PathBuf,
    /// Digest of its files' stamps.
    pub(super) stamps: Option<Digest>,
    /// Items by the second count.
    pub(super) found: u64,
}

/// A collection whose steps are at the front.
struct Open {
    from: Box<Beginning>,
    listing: ListingWriter,
    tree: ListingTree,
    exceptions: ListingWriter,
    originals: Vec<Original>,
    ledger: Ledger,
    records: Records,
    grown: Option<Grown>,
}

/// The line; see the module.
pub(super) struct Pipeline<'a> {
    writer: &'a mut Writer,
    monitor: &'a dyn Monitor,
    queue: VecDeque<Step>,
    queued_bytes: u64,
    open: Option<Open>,
    /// Finished collections of the account at the front, in order.
    finished: Vec<CollectionEntry>,
    accounts: Vec<AccountEntry>,
    /// Collections whose ledger does not balance, in words.
    unbalanced: Vec<String>,
    seen: SeenWriter,
    trees: TreesWriter,
}

impl<'a> Pipeline<'a> {
    pub(super) fn new(writer: &'a mut Writer, monitor: &'a dyn Monitor) -> Result<Self> {
        let seen = SeenWriter::new(writer)?;
        let trees = TreesWriter::open(writer)?;
        let (queue, finished, accounts, unbalanced) = Default::default();
        Ok(Pipeline { writer, monitor, queue, queued_bytes: 0, open: None, finished, accounts, unbalanced, seen, trees })
    }

    /// The archive.
    pub(super) fn writer(&mut self) -> &mut Writer {
        self.writer
    }

    /// Ends the trees of the snapshot; what its root says of them, or why it can say nothing.
    pub(super) fn end_trees(&mut self) -> Result<Result<Merkle>> {
        self.trees.finish(self.writer)
    }

    /// What this run saw, to be kept when the snapshot is committed.
    pub(super) fn into_seen(self) -> SeenWriter {
        self.seen
    }

    /// A sink for the items of a collection; `old` are the lines of those that an earlier run captured.
    pub(super) fn begin(
        &mut self,
        from: Beginning,
        old: Option<OldLines>,
        before: Option<CollectionEntry>,
    ) -> Result<Sink<'_, 'a>> {
        let mail = from.head.kind == CollectionKind::Mail;
        self.push(Step::Begin(Box::new(from)))?;
        Ok(Sink { line: self, mail, batch: Vec::new(), bytes: 0, old, before, broken: false })
    }

    /// A collection that is as it was.
    pub(super) fn unchanged(&mut self, seen: SeenCollection, records: Vec<u8>) -> Result<()> {
        self.push(Step::Unchanged(Box::new(seen), records))
    }

    /// All collections of the account were handed over.
    pub(super) fn end_account(&mut self, account: &str) -> Result<()> {
        self.push(Step::EndAccount(account.to_owned()))
    }

    /// Waits for everything in the queue; gives the accounts, and the collections whose ledger does not balance, in words.
    pub(super) fn end_accounts(&mut self) -> Result<(Vec<AccountEntry>, Vec<String>)> {
        while !self.queue.is_empty() {
            self.take()?;
        }
        Ok((std::mem::take(&mut self.accounts), std::mem::take(&mut self.unbalanced)))
    }

    fn push(&mut self, step: Step) -> Result<()> {
        if let Step::Batch { bytes, .. } = &step {
            self.queued_bytes += bytes;
        }
        self.queue.push_back(step);
        while self.queued_bytes > QUEUE_BYTES || self.queue.len() > QUEUE_STEPS {
            self.take()?;
        }
        Ok(())
    }

    /// Takes the step at the front.
    fn take(&mut self) -> Result<()> {
        match self.queue.pop_front() {
            None => Ok(()),
            Some(Step::Begin(from)) => {
                let ledger = Ledger { found: from.found, ..Ledger::default() };
                let (listing, exceptions) = Default::default();
                self.open = Some(Open {
                    from,
                    listing,
                    tree: self.trees.begin(),
                    exceptions,
                    originals: Vec::new(),
                    ledger,
                    records: Records::default(),
                    grown: None,
                });
                Ok(())
            }
            Some(Step::Batch { bytes, results }) => {
                self.queued_bytes -= bytes;
                let results = results.recv().map_err(|_| Error::new(Kind::Internal, "a batch of items was lost"))?;
                results.into_iter().try_for_each(|(place, result)| self.captured(place, result))
            }
            Some(Step::Stream(item)) => {
                let place = item.place.clone();
                let mail = self.open()?.from.head.kind == CollectionKind::Mail;
                let streamed = self.streaming(|store| capture_stream(*item, mail, store))?;
                let (line, size, key) = match streamed {
                    Ok(streamed) => streamed,
                    Err(e) => return self.captured(place, Err(e)),
                };
                self.placed(&line, size, key)
            }
            Some(Step::StreamOriginal(place, path)) => {
                let original = self.streaming(|store| original_stream(place.clone(), &path, store))?;
                self.captured(place, original.map(|original| Captured::Original(original, Vec::new())))
            }
            Some(Step::Exception { place, outcome, reason, detail }) => self.exception(place, outcome, reason, detail),
            Some(Step::Resumed(before)) => self.resumed(*before),
            Some(Step::ReadUpTo(grown)) => {
                self.open()?.grown = Some(grown);
                Ok(())
            }
            Some(Step::End) => self.end(),
            Some(Step::Unchanged(seen, records)) => {
                self.monitor.advance(seen.entry.items, seen.entry.ledger.bytes);
                self.trees.unchanged(self.writer.archive(), seen.entry.listing);
                self.finished.push(seen.entry.clone());
                self.seen.keep(*seen, &records)
            }
            Some(Step::EndAccount(account)) => self.account(account),
        }
    }

    fn open(&mut self) -> Result<&mut Open> {
        self.open.as_mut().ok_or_else(|| Error::new(Kind::Internal, "an item belongs to no collection"))
    }

    fn captured(&mut self, place: Place, result: Result<Captured>) -> Result<()> {
        match result {
            Ok(Captured::Placed { line, size, key, objects }) => {
                objects.into_iter().try_for_each(|object| store(self.writer, object))?;
                self.placed(&line, size, key)
            }
            Ok(Captured::Original(original, objects)) => {
                objects.into_iter().try_for_each(|object| store(self.writer, object))?;
                self.open()?.originals.push(original);
                Ok(())
            }
            Err(e) => self.exception(place, Outcome::Failed, "the item could not be read".to_owned(), e.to_string()),
        }
    }

    fn placed(&mut self, line: &[u8], size: u64, key: Option<Key>) -> Result<()> {
        self.monitor.advance(1, size);
        let Some(open) = &mut self.open else { return Ok(()) };
        open.ledger.captured += 1;
        open.ledger.bytes += size;
        if let Some(key) = key {
            open.records.add(key, open.listing.bytes(), line);
        }
        open.tree.push(line);
        open.listing.push(self.writer, line)
    }

    /// Runs what hands over objects one by one; the outer result is of the archive, the inner one of the source.
    fn streaming<T>(&mut self, run: impl FnOnce(&mut dyn FnMut(NewObject) -> Result<()>) -> Result<T>) -> Result<Result<T>> {
        let mut disk = None;
        let writer = &mut *self.writer;
        let streamed = run(&mut |object| {
            store(writer, object).map_err(|e| {
                disk = Some(e);
                Error::new(Kind::Storage, "the archive cannot be written")
            })
        });
        disk.map_or(Ok(streamed), Err)
    }

    fn exception(&mut self, source: Place, outcome: Outcome, reason: String, detail: String) -> Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        open.ledger.note(outcome, &reason);
        let (account, collection) = (open.from.account.clone(), open.from.head.path.to_string());
        let exception = Exception { account, collection, source, outcome, reason, detail };
        self.monitor.exception(&exception);
        open.exceptions.push(self.writer, &line(&exception)?)
    }

    /// Copies the listings of the earlier run.
    fn resumed(&mut self, before: CollectionEntry) -> Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        open.ledger = Ledger { found: open.ledger.found, ..before.ledger };
        open.originals = before.originals;
        copy_listing(self.writer, before.listing, &mut open.listing, Some(&mut open.tree))?;
        match before.exceptions {
            Some(listing) => copy_listing(self.writer, listing, &mut open.exceptions, None),
            None => Ok(()),
        }
    }

    fn end(&mut self) -> Result<()> {
        let Some(Open { from, listing, tree, exceptions, originals, ledger, records, grown }) = self.open.take() else {
            return Ok(());
        };
        let exceptions = if exceptions.bytes() == 0 { None } else { Some(exceptions.finish(self.writer)?) };
        let listing = listing.finish(self.writer)?;
        self.trees.end(listing, &tree);
        let Beginning { head, format, store, stamps, .. } = *from;
        let entry = CollectionEntry { head, format, listing, items: ledger.captured, ledger, exceptions, originals };
        // What failed may succeed the next time.
        let stamps = stamps.filter(|_| entry.ledger.failed_total() == 0 && entry.ledger.balances());
        self.finished.push(entry.clone());
        self.seen.collection(&store, stamps, entry, grown, records)
    }

    /// Writes the account's listing.
    fn account(&mut self, account: String) -> Result<()> {
        self.seen.account(&account)?;
        self.trees.account(&account, &self.finished)?;
        let (mut listing, mut ledger) = (ListingWriter::default(), Ledger::default());
        let collections = self.finished.len() as u64;
        for entry in std::mem::take(&mut self.finished) {
            self.balance(&account, &entry);
            ledger.add(&entry.ledger);
            listing.push(self.writer, &line(&entry)?)?;
        }
        let listing = listing.finish(self.writer)?;
        self.accounts.push(AccountEntry { account, listing, collections, ledger });
        Ok(())
    }

    fn balance(&mut self, account: &str, entry: &CollectionEntry) {
        let l = &entry.ledger;
        if !l.balances() {
            let (skipped, failed) = (l.skipped_total(), l.failed_total());
            let text = format!(
                "{account} {}: found {}, but captured {} + skipped {skipped} + failed {failed}",
                entry.head.path, l.found, l.captured
            );
            self.monitor.note(&format!("the ledger does not balance: {text}"));
            self.unbalanced.push(text);
        }
    }
}

fn store(writer: &mut Writer, object: NewObject) -> Result<()> {
    writer.add(object.sort, object.form, object.digest, &object.bytes)
}

/// Appends a listing of the archive to one that is being written.
fn copy_listing(writer: &mut Writer, from: Digest, to: &mut ListingWriter, mut tree: Option<&mut ListingTree>) -> Result<()> {
    let mut lines = writer.scratch()?;
    writer.archive().copy(from, &mut lines)?;
    let mut block = vec![0u8; 1 << 20];
    let mut at = 0;
    while at < lines.bytes() {
        let n = (lines.bytes() - at).min(block.len() as u64) as usize;
        lines.read_exact_at(&mut block[..n], at)?;
        if let Some(tree) = &mut tree {
            tree.push(&block[..n]);
        }
        to.push(writer, &block[..n])?;
        at += n as u64;
    }
    Ok(())
}

/// Takes the items of one collection.
pub(super) struct Sink<'p, 'a> {
    line: &'p mut Pipeline<'a>,
    mail: bool,
    batch: Vec<Task>,
    bytes: u64,
    old: Option<OldLines>,
    /// The collection as an earlier run left it, where its file may have only grown.
    before: Option<CollectionEntry>,
    /// The archive failed, not the source.
    broken: bool,
}

impl Sink<'_, '_> {
    /// Did the archive fail, so that the run cannot go on?
    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// The collection is read to its end.
    pub(super) fn end(mut self) -> Result<()> {
        self.send()?;
        self.line.push(Step::End)
    }

    fn step(&mut self, step: Step) -> Result<()> {
        self.send()?;
        self.line.push(step).inspect_err(|_| self.broken = true)
    }

    fn task(&mut self, task: Task) -> Result<()> {
        self.bytes += task.bytes();
        self.batch.push(task);
        if self.bytes >= BATCH_BYTES || self.batch.len() >= BATCH_TASKS { self.send() } else { Ok(()) }
    }

    /// Has the batch captured by whichever core is free.
    fn send(&mut self) -> Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let (tasks, bytes, mail) = (std::mem::take(&mut self.batch), std::mem::take(&mut self.bytes), self.mail);
        let (sender, results) = sync_channel(1);
        rayon::spawn(move || {
            // Nobody waits any more when the run has failed elsewhere.
            let _ = sender.send(tasks.into_iter().map(|task| (task.place().clone(), run(task, mail))).collect());
        });
        self.line.push(Step::Batch { bytes, results }).inspect_err(|_| self.broken = true)
    }
}

/// Does a task; a fault of ours costs that item only.
fn run(task: Task, mail: bool) -> Result<Captured> {
    catch_unwind(AssertUnwindSafe(|| task.run(mail)))
        .unwrap_or_else(|_| Err(Error::new(Kind::Internal, "floe failed on this item").hint("please report it with the item")))
}

impl ItemSink for Sink<'_, '_> {
    fn item(&mut self, item: FoundItem) -> Result<()> {
        if let Some(line) = self.old.as_ref().and_then(|old| old.get(&Key::of(&item)?)) {
            return self.task(Task::Seen(item, line));
        }
        if size_of(&item) > WHOLE_BYTES && !matches!(item.content, Content::Bytes(_)) {
            return self.step(Step::Stream(Box::new(item)));
        }
        self.task(Task::Item(item))
    }

    fn exception(&mut self, place: Place, outcome: Outcome, reason: &str, detail: String) -> Result<()> {
        self.step(Step::Exception { place, outcome, reason: reason.to_owned(), detail })
    }

    fn original(&mut self, place: Place, path: PathBuf) -> Result<()> {
        if std::fs::symlink_metadata(&path).is_ok_and(|m| m.len() > WHOLE_BYTES) {
            return self.step(Step::StreamOriginal(place, path));
        }
        self.task(Task::Original(place, path))
    }

    fn read_up_to(&mut self, offset: u64, xxh3: u128) {
        // A failure shows at the next step; nothing else waits for this one.
        let _ = self.step(Step::ReadUpTo(Grown { offset, xxh3 }));
    }

    fn resumed(&mut self) -> Result<()> {
        match self.before.take() {
            Some(before) => self.step(Step::Resumed(Box::new(before))),
            None => Err(Error::new(Kind::Internal, "a reader goes on where no earlier run was")),
        }
    }
}
