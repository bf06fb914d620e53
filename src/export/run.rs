//! One export run: through the placements in listing order, in chunks, side by side inside a chunk; nothing is overwritten,
//! what is there already is counted, and what cannot be written is listed while the rest goes on.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;

use super::deliver::{Delivery, Fate, Loss, Outcome, deliver_all, ends_all, part_name};
use super::dir::{Dir, Settled};
use super::maildir;
use super::mbox::Mbox;
use super::plan::{AccountPlan, Destination, Plan};
use super::select::{Selection, Wanted};
use super::separate::Separate;
use super::{Format, damaged_listing};
use crate::archive::{AccountEntry, Archive, CollectionEntry, Snapshot};
use crate::error::{Error, Kind, Result};
use crate::model::{CollectionHead, CollectionKind, Exception, Outcome as Sort, Place, Placement};
use crate::monitor::Monitor;

/// Placements that are in work at a time, and their bytes.
const CHUNK_ITEMS: usize = 1024;
const CHUNK_BYTES: u64 = 32 << 20;

/// What is taken out and how.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// How mail is written.
    pub format: Format,
    /// What is wanted.
    pub selection: Selection,
}

/// What a run did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Done {
    /// Items written.
    pub written: u64,
    /// Items that were there already, byte for byte.
    pub already_there: u64,
    /// Items that could not be written.
    pub failed: u64,
    /// Items written without something that the target cannot keep.
    pub altered: u64,
    /// Collections that have another name there; `collections.jsonl` has both.
    pub renamed: u64,
    /// Files of several items that were written, or were there, whole.
    pub originals: u64,
    /// Bytes of the items written or there.
    pub bytes: u64,
    /// Exceptions by reason.
    pub reasons: BTreeMap<String, u64>,
    /// Name of the file in the target folder that lists the exceptions.
    pub exceptions: Option<String>,
}

/// A placement in its turn.
pub(super) struct Item {
    /// Its number in the collection, from 1.
    pub number: u64,
    pub placement: Placement,
    /// Names depend on all items, so the others come along.
    pub wanted: bool,
}

/// What came of a collection as a whole.
pub(super) struct Finished {
    pub settled: Settled,
    pub losses: Vec<Loss>,
}

/// Writes the items of one collection.
pub(super) trait Writer {
    /// Writes these items; what became of each, in order, None for those that are not wanted.
    ///
    /// # Errors
    /// When nothing more can be written.
    fn write(&mut self, archive: &Archive, plan: &mut AccountPlan, items: &[Item]) -> Result<Vec<Option<Outcome>>>;

    /// Writes what stands beside the items.
    fn finish(&mut self) -> io::Result<Finished>;
}

fn writer<'a>(home: &'a Dir, to: &Destination, head: &CollectionHead) -> io::Result<Box<dyn Writer + 'a>> {
    Ok(match to {
        Destination::Maildir(name) => Box::new(maildir::Folder::new(home, name.as_deref(), head)?),
        Destination::Mbox { folder, file } => Box::new(Mbox::new(home, folder, file)?),
        other => Box::new(Separate::new(home, other.clone())?),
    })
}

fn storage(what: &str, dir: &Dir, e: io::Error) -> Error {
    Error::io(Kind::Storage, what, dir.path(), e)
}

/// Takes the selected items of a snapshot out into the folder `out`.
///
/// # Errors
/// `Kind::Usage` when an account or a collection that is asked for is not in the snapshot; `Kind::Storage` when nothing can be
/// written (any more): what is written by then is whole, and the same call goes on from there.
pub fn export(archive: &Archive, snapshot: &Snapshot, request: &Request, out: &Path, monitor: &dyn Monitor) -> Result<Done> {
    let mut accounts = Vec::new();
    let mut plan = Plan::default();
    for account in &snapshot.root.accounts {
        let account_plan = plan.account(&account.account);
        if request.selection.wants_account(&account.account) {
            accounts.push((account, account_plan, archive.collections(account)));
        }
    }
    check_names(request, snapshot, &accounts)?;
    let total: u64 = accounts
        .iter()
        .flat_map(|(.., collections)| collections.iter().flatten())
        .filter(|c| request.selection.wants_collection(&c.head.path))
        .map(|c| c.ledger.bytes)
        .sum();
    let root = Dir::open(out).map_err(|e| Error::io(Kind::Storage, "cannot open the target folder", out, e))?;
    let mut run =
        Run { archive, request, root: &root, monitor, done: Done::default(), exceptions: None, matched: HashSet::new() };
    monitor.phase("export", (!request.selection.is_by_item()).then_some(total));
    for (account, plan, collections) in accounts {
        match collections {
            Ok(collections) => run.account(account, plan, &collections)?,
            Err(e) => {
                let lost = account.ledger.captured;
                run.done.failed += lost;
                let loss = damaged_listing(lost, &e);
                run.exception(&account.account, "", Place::default(), Sort::Failed, &loss)?;
            }
        }
    }
    run.missing()?;
    root.sync().map_err(|e| storage("cannot make the files durable", &root, e))?;
    monitor.done();
    run.finish()
}

type Planned<'a> = (&'a AccountEntry, AccountPlan, Result<Vec<CollectionEntry>>);

fn check_names(request: &Request, snapshot: &Snapshot, accounts: &[Planned<'_>]) -> Result<()> {
    let known = |name: &String| snapshot.root.accounts.iter().any(|a| a.account == *name);
    if let Some(name) = request.selection.accounts.iter().find(|name| !known(name)) {
        return Err(Error::usage("no such account in the snapshot").with("account", name).hint("`floe list` names the accounts"));
    }
    if accounts.iter().any(|(.., collections)| collections.is_err()) {
        return Ok(());
    }
    let known = |path: &crate::model::CollectionPath| {
        let mut heads = accounts.iter().flat_map(|(.., collections)| collections.iter().flatten());
        heads.any(|c| c.head.path.0.starts_with(&path.0))
    };
    match request.selection.collections.iter().find(|path| !known(path)) {
        Some(path) => Err(Error::usage("no such collection in the accounts selected")
            .with("collection", path)
            .hint("`floe list` names the collections, with `/` between levels")),
        None => Ok(()),
    }
}

struct Run<'a> {
    archive: &'a Archive,
    request: &'a Request,
    root: &'a Dir,
    monitor: &'a dyn Monitor,
    done: Done,
    exceptions: Option<BufWriter<File>>,
    /// What of the items asked for by name was found.
    matched: HashSet<String>,
}

/// A line of `placements.jsonl`.
#[derive(Serialize)]
struct Line<'a> {
    file: &'a str,
    collection: &'a crate::model::CollectionPath,
    kind: CollectionKind,
    #[serde(flatten)]
    placement: &'a Placement,
}

/// A line of `collections.jsonl`.
#[derive(Serialize)]
struct CollectionLine<'a> {
    folder: String,
    #[serde(flatten)]
    head: &'a CollectionHead,
}

/// A file of lines that is written while the run goes on.
struct Record<'a> {
    dir: &'a Dir,
    name: &'static str,
    out: BufWriter<File>,
}

impl<'a> Record<'a> {
    fn begin(dir: &'a Dir, name: &'static str) -> Result<Self> {
        let file = dir.create_part(&part_name(name)).map_err(|e| storage("cannot make a file in the folder", dir, e))?;
        Ok(Record { dir, name, out: BufWriter::new(file) })
    }

    fn line(&mut self, value: &impl Serialize) -> Result<()> {
        serde_json::to_writer(&mut self.out, value)
            .map_err(io::Error::from)
            .and_then(|()| self.out.write_all(b"\n"))
            .map_err(|e| storage("cannot write the record", self.dir, e))
    }

    /// Where the record of another export lies already, this one is called after the moment.
    fn finish(mut self) -> Result<()> {
        let part = part_name(self.name);
        let place = |out: &mut BufWriter<File>| {
            out.flush()?;
            if self.dir.try_settle(&part, self.dir, self.name)? == Settled::Conflict {
                let name = named_by_moment(self.dir, self.name.trim_end_matches(".jsonl"))?;
                self.dir.settle(&part, self.dir, &name)?;
            }
            Ok(())
        };
        place(&mut self.out).map_err(|e| storage("cannot write the record", self.dir, e))
    }
}

impl Run<'_> {
    fn account(&mut self, account: &AccountEntry, mut plan: AccountPlan, collections: &[CollectionEntry]) -> Result<()> {
        let name = &account.account;
        let wanted = |c: &CollectionEntry| self.request.selection.wants_collection(&c.head.path) && self.wants_any(c);
        let destinations: Vec<(&CollectionEntry, Destination, bool)> =
            collections.iter().map(|c| (c, plan.collection(&c.head, self.request.format), wanted(c))).collect();
        if destinations.iter().all(|(.., wanted)| !wanted) {
            return Ok(());
        }
        let home = match self.root.sub(&plan.home) {
            Ok(home) => home,
            Err(e) if ends_all(&e) => return Err(storage("cannot make a folder", self.root, e)),
            Err(e) => {
                let items: u64 = destinations.iter().filter(|(.., wanted)| *wanted).map(|(c, ..)| c.items).sum();
                self.done.failed += items;
                let loss = Loss::new("its folder could not be made", format!("{items} items: {e}"));
                return self.exception(name, "", Place::default(), Sort::Failed, &loss);
            }
        };
        let mut placements = Record::begin(&home, "placements.jsonl")?;
        let mut heads = Record::begin(&home, "collections.jsonl")?;
        for (entry, to, _) in destinations.iter().filter(|(.., wanted)| *wanted) {
            self.done.renamed += u64::from(!to.keeps_name(&entry.head));
            heads.line(&CollectionLine { folder: to.shown(), head: &entry.head })?;
            self.collection(name, &home, &mut plan, entry, to, &mut placements)?;
        }
        let mail: Vec<&CollectionHead> =
            collections.iter().map(|c| &c.head).filter(|head| head.kind == CollectionKind::Mail).collect();
        let mut losses = Vec::new();
        if self.request.format == Format::Maildir && !mail.is_empty() {
            match maildir::subscriptions(&home, &mail) {
                Ok(loss) => losses.extend(loss),
                Err(e) if ends_all(&e) => return Err(storage("cannot write the subscriptions", &home, e)),
                Err(e) => losses.push(Loss::new("the subscriptions could not be written", e.to_string())),
            }
        }
        let entries: Vec<&CollectionEntry> = destinations.iter().filter(|(.., wanted)| *wanted).map(|(c, ..)| *c).collect();
        self.originals(name, &home, &mut plan, &entries)?;
        placements.finish()?;
        heads.finish()?;
        losses.iter().try_for_each(|loss| self.exception(name, "", Place::default(), Sort::Failed, loss))
    }

    /// Is any item of the collection wanted? One that is empty is, unless single items are asked for. Of a damaged listing
    /// nobody can say, and what can be read of it is looked at.
    fn wants_any(&self, entry: &CollectionEntry) -> bool {
        let selection = &self.request.selection;
        if !selection.is_by_item() {
            return true;
        }
        let mut any = false;
        let read = self.archive.placements(entry, &mut |placement| {
            any = selection.wants(&placement) != Wanted::No;
            // An error ends the reading.
            if any { Err(Error::new(Kind::Internal, "found")) } else { Ok(()) }
        });
        any || read.is_err()
    }

    fn collection(
        &mut self,
        account: &str,
        home: &Dir,
        plan: &mut AccountPlan,
        entry: &CollectionEntry,
        to: &Destination,
        record: &mut Record<'_>,
    ) -> Result<()> {
        let name = entry.head.path.to_string();
        let place = Place::file(&entry.head.source_path);
        let mut writer = match writer(home, to, &entry.head) {
            Ok(writer) => writer,
            Err(e) if ends_all(&e) => return Err(storage("cannot make a folder", home, e)),
            Err(e) => {
                self.done.failed += entry.items;
                let loss = Loss::new("its folder could not be made", format!("{} items: {e}", entry.items));
                return self.exception(account, &name, place, Sort::Failed, &loss);
            }
        };
        let before = self.done.written;
        let (mut chunk, mut chunk_bytes, mut number, mut stopped) = (Vec::new(), 0u64, 0u64, false);
        let archive = self.archive;
        let read = archive.placements(entry, &mut |placement| {
            number += 1;
            chunk_bytes = chunk_bytes.saturating_add(placement.size);
            let wanted = self.wants(account, &name, &placement).inspect_err(|_| stopped = true)?;
            chunk.push(Item { number, placement, wanted });
            if chunk.len() < CHUNK_ITEMS && chunk_bytes < CHUNK_BYTES {
                return Ok(());
            }
            chunk_bytes = 0;
            let items = std::mem::take(&mut chunk);
            self.chunk(account, entry, writer.as_mut(), plan, &items, record).inspect_err(|_| stopped = true)
        });
        match read {
            Err(e) if stopped => return Err(e),
            Err(e) => {
                let lost = entry.items.saturating_sub(number);
                self.done.failed += lost;
                self.exception(account, &name, place.clone(), Sort::Failed, &damaged_listing(lost, &e))?;
            }
            Ok(()) => {}
        }
        self.chunk(account, entry, writer.as_mut(), plan, &chunk, record)?;
        let written = self.done.written - before;
        let (losses, conflict) = match writer.finish() {
            Ok(Finished { settled: Settled::Placed, losses }) => (losses, None),
            Ok(Finished { settled: Settled::There, losses }) => {
                self.done.written = before;
                self.done.already_there += written;
                (losses, None)
            }
            Ok(Finished { settled: Settled::Conflict, losses }) => {
                (losses, Some(("another file is in its place", String::new())))
            }
            Err(e) if ends_all(&e) => return Err(storage("cannot finish a collection", home, e)),
            Err(e) => (Vec::new(), Some(("the collection could not be finished", e.to_string()))),
        };
        if let Some((reason, why)) = conflict {
            self.done.written = before;
            self.done.failed += written;
            let loss = Loss::new(reason, format!("{}, {written} items {why}", to.shown()).trim_end());
            self.exception(account, &name, place.clone(), Sort::Failed, &loss)?;
        }
        losses.iter().try_for_each(|loss| self.exception(account, &name, place.clone(), Sort::Failed, loss))
    }

    fn wants(&mut self, account: &str, collection: &str, item: &Placement) -> Result<bool> {
        let wanted = self.request.selection.wants(item);
        if wanted == Wanted::Undated {
            let loss = Loss::new("left out: it has no date to compare", "");
            self.exception(account, collection, item.source.clone(), Sort::Skipped, &loss)?;
        }
        if wanted == Wanted::Yes && !(self.request.selection.objects.is_empty() && self.request.selection.message_ids.is_empty())
        {
            self.matched.insert(item.sha256.to_string());
            self.matched.extend(item.message_id.as_deref().map(bare));
        }
        Ok(wanted == Wanted::Yes)
    }

    fn chunk(
        &mut self,
        account: &str,
        entry: &CollectionEntry,
        writer: &mut dyn Writer,
        plan: &mut AccountPlan,
        items: &[Item],
        record: &mut Record<'_>,
    ) -> Result<()> {
        let outcomes = writer.write(self.archive, plan, items)?;
        let name = entry.head.path.to_string();
        for (item, outcome) in items.iter().zip(outcomes) {
            let Some(outcome) = outcome else { continue };
            let placement = &item.placement;
            self.monitor.advance(1, placement.size);
            match &outcome.fate {
                Fate::Written => self.done.written += 1,
                Fate::There => self.done.already_there += 1,
                Fate::Failed(why) => {
                    self.done.failed += 1;
                    let why = Loss::new(why.reason, format!("{} {}", outcome.file, why.detail).trim_end());
                    self.exception(account, &name, placement.source.clone(), Sort::Failed, &why)?;
                    continue;
                }
            }
            self.done.bytes += placement.size;
            self.done.altered += u64::from(!outcome.losses.is_empty());
            for loss in &outcome.losses {
                self.exception(account, &name, placement.source.clone(), Sort::Skipped, loss)?;
            }
            record.line(&Line { file: &outcome.file, collection: &entry.head.path, kind: entry.head.kind, placement })?;
        }
        Ok(())
    }

    /// Writes the files of several items whole, unless single items are asked for.
    fn originals(&mut self, account: &str, home: &Dir, plan: &mut AccountPlan, entries: &[&CollectionEntry]) -> Result<()> {
        if self.request.selection.is_by_item() {
            return Ok(());
        }
        let mut seen = HashSet::new();
        for original in entries.iter().flat_map(|entry| &entry.originals) {
            if !seen.insert((&original.path, original.sha256)) {
                continue;
            }
            let place = Place::file(&original.path);
            let (names, name) = plan.file("originals", &place);
            let file = format!("{}/{name}", names.join("/"));
            let delivery = home.below(&names).map(|folder| {
                let part = part_name(&name);
                let (folder, file) = (std::sync::Arc::new(folder), file.clone());
                let (sha256, size, part_in) = (original.sha256, original.size, folder.clone());
                Delivery { sha256, size, part_in, part, folder, name, modified: None, mode: None, losses: Vec::new(), file }
            });
            let delivery = delivery.map_err(|e| Outcome::failed(file, "its folder could not be made", e.to_string()));
            let outcome = deliver_all(self.archive, vec![Some(delivery)])?.into_iter().flatten().next();
            match outcome.map(|o| o.fate) {
                Some(Fate::Failed(why)) => {
                    self.done.failed += 1;
                    self.exception(account, "", place, Sort::Failed, &why)?;
                }
                _ => self.done.originals += 1,
            }
        }
        Ok(())
    }

    /// Names what was asked for and is not in the snapshot.
    fn missing(&mut self) -> Result<()> {
        let Selection { objects, message_ids, .. } = &self.request.selection;
        let asked = objects.iter().map(|d| (d.to_string(), d.to_string()));
        let asked: Vec<(String, String)> = asked.chain(message_ids.iter().map(|id| (bare(id), id.clone()))).collect();
        for (key, shown) in asked {
            if !self.matched.contains(&key) {
                self.done.failed += 1;
                let loss = Loss::new("asked for, but not in what is selected", shown);
                self.exception("", "", Place::default(), Sort::Failed, &loss)?;
            }
        }
        Ok(())
    }

    fn exception(&mut self, account: &str, collection: &str, source: Place, outcome: Sort, loss: &Loss) -> Result<()> {
        let exception = Exception {
            account: account.to_owned(),
            collection: collection.to_owned(),
            source,
            outcome,
            reason: loss.reason.to_owned(),
            detail: loss.detail.clone(),
        };
        self.monitor.exception(&exception);
        *self.done.reasons.entry(exception.reason.clone()).or_default() += 1;
        let failed = |e| storage("cannot write the list of exceptions", self.root, e);
        if self.exceptions.is_none() {
            let name = named_by_moment(self.root, "exceptions").map_err(failed)?;
            self.exceptions = Some(BufWriter::new(self.root.create_part(&name).map_err(failed)?));
            self.done.exceptions = Some(name);
        }
        let Some(out) = &mut self.exceptions else { return Ok(()) };
        serde_json::to_writer(&mut *out, &exception).map_err(io::Error::from).map_err(failed)?;
        out.write_all(b"\n").map_err(failed)
    }

    fn finish(mut self) -> Result<Done> {
        if let Some(out) = &mut self.exceptions {
            out.flush().map_err(|e| storage("cannot write the list of exceptions", self.root, e))?;
        }
        Ok(self.done)
    }
}

fn bare(message_id: &str) -> String {
    message_id.trim_start_matches('<').trim_end_matches('>').to_owned()
}

/// A name that nothing in the folder has: `stem-TIME.jsonl`.
fn named_by_moment(dir: &Dir, stem: &str) -> io::Result<String> {
    let stamp = Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let mut name = format!("{stem}-{stamp}.jsonl");
    let mut tries = 1u32;
    while dir.has(&name)? {
        tries += 1;
        name = format!("{stem}-{stamp}-{tries}.jsonl");
    }
    Ok(name)
}
