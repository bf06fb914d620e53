//! One snapshot run: readers hand over items, cores take them apart side by side, one writer stores them in order.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;

use jiff::Timestamp;
use rayon::prelude::*;

use super::{NewObject, dissect, verbatim};
use crate::archive::cut::pieces_of_stream;
use crate::archive::pack::{ObjectForm, Sort};
use crate::archive::recipe::{BlobRef, RecipeBuilder, Transform};
use crate::archive::{AccountEntry, CollectionEntry, Options, Original, Root, SourceNote, Writer};
use crate::error::{Error, Kind, Result};
use crate::mime;
use crate::model::{CollectionHead, CollectionKind, Digest, Exception, Form, Hasher, Ledger, Outcome, Place, Placement};
use crate::monitor::Monitor;
use crate::source::disk::open_regular;
use crate::source::{AccountSource, Content, Discovery, FileStamp, FoundItem, ItemSink, Reader};

/// Bytes of items that are in work at a time.
const BATCH_BYTES: u64 = 16 << 20;
/// Larger items are streamed without looking into them.
const WHOLE_BYTES: u64 = 32 << 20;
/// A compressed item that unpacks to more is refused: it is a bomb.
const UNPACKED_MAX_BYTES: u64 = 4 << 30;
/// Times that a file is read again because it changed meanwhile.
const READS: u32 = 3;

/// What a run did.
#[derive(Debug)]
pub struct Done {
    /// Name of the snapshot.
    pub id: String,
    /// Its root.
    pub root: Root,
    /// Objects that the archive did not have before.
    pub new_objects: u64,
    /// Collections whose ledger does not balance, in words.
    pub unbalanced: Vec<String>,
}

/// Captures all accounts into the archive and commits one snapshot.
///
/// # Errors
/// When the archive cannot be written. What cannot be read of the source is an exception in the ledger instead.
pub fn run(discovery: &Discovery, writer: &mut Writer, options: Options, monitor: &dyn Monitor) -> Result<Done> {
    let mut root = Root::new(Timestamp::now(), writer.previous());
    root.options = options;
    let mut unbalanced = Vec::new();
    monitor.phase("snapshot", None);
    for account in &discovery.accounts {
        root.sources.push(SourceNote {
            path: account.root.display().to_string(),
            format: account.readers.first().map(|r| r.format().to_string()),
        });
        let mut listing = Vec::new();
        let mut total = Ledger::default();
        let mut collections = 0;
        for reader in &account.readers {
            for head in reader.collections()? {
                let entry = collection(account, reader.as_ref(), head, writer, monitor)?;
                if !entry.ledger.balances() {
                    let l = &entry.ledger;
                    let text = format!(
                        "{} {}: found {}, but captured {} + skipped {} + failed {}",
                        account.account,
                        entry.head.path,
                        l.found,
                        l.captured,
                        l.skipped_total(),
                        l.failed_total()
                    );
                    monitor.note(&format!("the ledger does not balance: {text}"));
                    unbalanced.push(text);
                }
                total.add(&entry.ledger);
                collections += 1;
                json_line(&mut listing, &entry)?;
            }
        }
        let listing = writer.listing(&listing)?;
        root.ledger.add(&total);
        root.accounts.push(AccountEntry { account: account.account.clone(), listing, collections, ledger: total });
    }
    root.leftovers = leftovers(discovery, &mut root.ledger, writer, monitor)?;
    root.accounts.sort_by(|a, b| a.account.cmp(&b.account));
    root.tree = Root::tree_of(&root.accounts);
    let id = writer.commit(&root)?;
    monitor.done();
    Ok(Done { id, root, new_objects: writer.new_objects(), unbalanced })
}

fn json_line(out: &mut Vec<u8>, value: &impl serde::Serialize) -> Result<()> {
    serde_json::to_writer(&mut *out, value).map_err(|e| Error::new(Kind::Internal, "cannot write a listing").because(e))?;
    out.push(b'\n');
    Ok(())
}

/// Lists what belongs to no account, so that it is counted and named too.
fn leftovers(discovery: &Discovery, ledger: &mut Ledger, writer: &mut Writer, monitor: &dyn Monitor) -> Result<Option<Digest>> {
    let mut listing = Vec::new();
    for leftover in &discovery.leftovers {
        let exception = leftover.exception();
        ledger.found += 1;
        ledger.note(exception.outcome, &exception.reason);
        monitor.exception(&exception);
        json_line(&mut listing, &exception)?;
    }
    if listing.is_empty() { Ok(None) } else { writer.listing(&listing).map(Some) }
}

fn collection(
    account: &AccountSource,
    reader: &dyn Reader,
    head: CollectionHead,
    writer: &mut Writer,
    monitor: &dyn Monitor,
) -> Result<CollectionEntry> {
    let mut sink = Sink {
        account: &account.account,
        name: head.path.to_string(),
        mail: head.kind == CollectionKind::Mail,
        writer,
        monitor,
        batch: Vec::new(),
        batch_bytes: 0,
        listing: Vec::new(),
        exceptions: Vec::new(),
        originals: Vec::new(),
        ledger: Ledger::default(),
        stop: false,
    };
    sink.ledger.found = reader.count(&head)?;
    if let Err(e) = reader.read(&head, None, &mut sink) {
        if sink.stop {
            return Err(e);
        }
        sink.exception(Place::file(&head.source_path), Outcome::Failed, "the store could not be read to its end", e.to_string())?;
    }
    sink.flush()?;
    let Sink { listing, exceptions, originals, ledger, .. } = sink;
    let exceptions = if exceptions.is_empty() { None } else { Some(writer.listing(&exceptions)?) };
    let listing = writer.listing(&listing)?;
    Ok(CollectionEntry {
        head,
        format: reader.format().to_string(),
        listing,
        items: ledger.captured,
        ledger,
        exceptions,
        originals,
    })
}

/// A placement and the objects that hold its item.
type Captured = (Placement, Vec<NewObject>);

struct Sink<'a> {
    account: &'a str,
    name: String,
    mail: bool,
    writer: &'a mut Writer,
    monitor: &'a dyn Monitor,
    batch: Vec<FoundItem>,
    batch_bytes: u64,
    listing: Vec<u8>,
    exceptions: Vec<u8>,
    originals: Vec<Original>,
    ledger: Ledger,
    /// The archive failed, not the source.
    stop: bool,
}

impl Sink<'_> {
    fn flush(&mut self) -> Result<()> {
        self.batch_bytes = 0;
        let mail = self.mail;
        let batch = std::mem::take(&mut self.batch);
        let results: Vec<(Place, Result<Captured>)> =
            batch.into_par_iter().map(|item| (item.place.clone(), capture(item, mail))).collect();
        for (place, result) in results {
            match result {
                Ok((placement, objects)) => {
                    for o in objects {
                        self.store(o.sort, o.form, o.digest, &o.bytes)?;
                    }
                    self.placed(&placement)?;
                }
                Err(e) => self.exception(place, Outcome::Failed, "the item could not be read", e.to_string())?,
            }
        }
        Ok(())
    }

    fn store(&mut self, sort: Sort, form: ObjectForm, digest: Digest, bytes: &[u8]) -> Result<()> {
        self.writer.add(sort, form, digest, bytes).inspect_err(|_| self.stop = true)
    }

    fn placed(&mut self, placement: &Placement) -> Result<()> {
        self.ledger.captured += 1;
        self.ledger.bytes += placement.size;
        self.monitor.advance(1, placement.size);
        json_line(&mut self.listing, placement)
    }

    /// An item too large for memory: cut by content as it streams by.
    fn stream(&mut self, item: FoundItem, path: &std::path::Path, offset: u64, length: u64) -> Result<()> {
        let failed = |e| Error::io(Kind::Source, "cannot read the item", path, e);
        let (mut file, _) = open_regular(path)?;
        file.seek(SeekFrom::Start(offset)).map_err(failed)?;
        let reader = item.coding.reader(file.take(length)).map_err(failed)?;
        let (mut whole, mut crlf, mut refs, mut size) = (Hasher::new(), Crlf::default(), Vec::new(), 0u64);
        let mut first = Vec::new();
        for piece in pieces_of_stream(reader) {
            let piece = piece.map_err(|e| Error::source("cannot read the item").with("path", path.display()).because(e))?;
            whole.update(&piece);
            if self.mail {
                crlf.update(&piece);
            }
            size += piece.len() as u64;
            if size > UNPACKED_MAX_BYTES && item.coding.is_compressed() {
                return Err(Error::source("a compressed item unpacks to more than 4 GiB").with("path", path.display()));
            }
            let blob = BlobRef { digest: Digest::of(&piece), size: piece.len() as u64 };
            self.store(Sort::Binary, ObjectForm::Blob, blob.digest, &piece)?;
            refs.push(blob);
            if first.is_empty() {
                first = piece;
            }
        }
        let mut recipe = RecipeBuilder::new(size);
        recipe.blobs(Transform::Copy, &refs);
        let digest = whole.finish();
        self.store(Sort::Head, ObjectForm::Recipe, digest, &recipe.finish())?;
        let placement = placement(item, digest, size, crlf.finish(), self.mail.then(|| mime::header_facts(&first)));
        self.placed(&placement)
    }
}

impl ItemSink for Sink<'_> {
    fn item(&mut self, item: FoundItem) -> Result<()> {
        let size = match &item.content {
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::File { stamp, .. } => stamp.size,
            Content::Range { length, .. } => *length,
        };
        if size > WHOLE_BYTES {
            let (path, offset) = match &item.content {
                Content::File { path, .. } => (path.clone(), 0),
                Content::Range { path, offset, .. } => (path.clone(), *offset),
                Content::Bytes(_) => (PathBuf::new(), 0),
            };
            if !path.as_os_str().is_empty() {
                self.flush()?;
                let place = item.place.clone();
                return match self.stream(item, &path, offset, size) {
                    Err(e) if !self.stop => self.exception(place, Outcome::Failed, "the item could not be read", e.to_string()),
                    other => other,
                };
            }
        }
        self.batch_bytes += size;
        self.batch.push(item);
        if self.batch_bytes >= BATCH_BYTES || self.batch.len() >= 4096 { self.flush() } else { Ok(()) }
    }

    fn exception(&mut self, source: Place, outcome: Outcome, reason: &str, detail: String) -> Result<()> {
        self.ledger.note(outcome, reason);
        let exception = Exception {
            account: self.account.into(),
            collection: self.name.clone(),
            source,
            outcome,
            reason: reason.into(),
            detail,
        };
        self.monitor.exception(&exception);
        json_line(&mut self.exceptions, &exception)
    }

    fn original(&mut self, place: Place, path: PathBuf) -> Result<()> {
        let bytes = std::fs::read(&path).map_err(|e| Error::io(Kind::Source, "cannot read the file", &path, e))?;
        let digest = Digest::of(&bytes);
        for o in verbatim(&bytes, digest) {
            self.store(o.sort, o.form, o.digest, &o.bytes)?;
        }
        self.originals.push(Original { path: place.path, sha256: digest, size: bytes.len() as u64 });
        Ok(())
    }

    fn read_up_to(&mut self, _: u64, _: u128) {}

    fn resumed(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Reads an item and takes it apart.
fn capture(mut item: FoundItem, mail: bool) -> Result<Captured> {
    let stored = match std::mem::replace(&mut item.content, Content::Bytes(Vec::new())) {
        Content::Bytes(bytes) => bytes,
        Content::File { path, stamp } => read_whole(&path, stamp, &mut item.state.notes)?,
        Content::Range { path, offset, length } => read_range(&path, offset, length)?,
    };
    let bytes = item
        .coding
        .undo(&stored, 4 * WHOLE_BYTES)
        .map_err(|e| Error::source("cannot undo the store's own coding").because(e).with("item", &item.place))?;
    let digest = Digest::of(&bytes);
    let objects = if mail { dissect(&bytes, digest) } else { verbatim(&bytes, digest) };
    let crlf = mail.then(|| crlf_form(&bytes)).flatten();
    let changed = matches!(bytes, std::borrow::Cow::Owned(_));
    let mut placement = placement(item, digest, bytes.len() as u64, crlf, mail.then(|| mime::header_facts(&bytes)));
    placement.stored = changed.then(|| Form { sha256: Digest::of(&stored), size: stored.len() as u64 });
    Ok((placement, objects))
}

/// Reads a file that holds still while it is read; one that had changed since it was listed is noted.
fn read_whole(path: &std::path::Path, listed: FileStamp, notes: &mut Vec<String>) -> Result<Vec<u8>> {
    for _ in 0..READS {
        let (file, before) = open_regular(path)?;
        if before.size > WHOLE_BYTES {
            return Err(Error::source("the file grew after it was listed")
                .with("path", path.display())
                .hint("run the snapshot again"));
        }
        let mut bytes = Vec::with_capacity(before.size as usize);
        let failed = |e| Error::io(Kind::Source, "cannot read the item", path, e);
        (&file).take(WHOLE_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
        let after = FileStamp::of(&file.metadata().map_err(failed)?);
        if before == after && bytes.len() as u64 == before.size {
            if before != listed {
                notes.push("changed after it was listed".to_owned());
            }
            return Ok(bytes);
        }
    }
    Err(Error::source("the file keeps changing while it is read").with("path", path.display()).hint("run the snapshot again"))
}

fn read_range(path: &std::path::Path, offset: u64, length: u64) -> Result<Vec<u8>> {
    let failed = |e| Error::io(Kind::Source, "cannot read the item", path, e);
    let (mut file, _) = open_regular(path)?;
    file.seek(SeekFrom::Start(offset)).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn placement(item: FoundItem, sha256: Digest, size: u64, crlf: Option<Form>, facts: Option<mime::HeaderFacts>) -> Placement {
    let state = item.state;
    let facts = facts.unwrap_or_default();
    let date = mime::internal_date(state.date, &facts, None);
    let mut notes = state.notes;
    notes.extend(facts.notes);
    let mut flags = state.flags;
    flags.sort();
    flags.dedup();
    Placement {
        sha256,
        size,
        crlf,
        stored: None,
        stateless: None,
        date,
        flags,
        keywords: state.keywords,
        labels: state.labels,
        message_id: facts.message_id,
        uid: state.uid,
        component: state.component,
        mode: state.mode,
        guid: state.guid,
        source: item.place,
        notes,
    }
}

/// The CRLF form of a message in memory, when it differs.
fn crlf_form(message: &[u8]) -> Option<Form> {
    let mut crlf = Crlf::default();
    crlf.update(message);
    crlf.finish()
}

/// Hashes the form with every bare LF as CR LF.
#[derive(Default)]
struct Crlf {
    hasher: Hasher,
    size: u64,
    after_cr: bool,
    bare: bool,
    text: Vec<u8>,
}

impl Crlf {
    fn update(&mut self, bytes: &[u8]) {
        self.text.clear();
        let mut at = 0;
        for lf in memchr::memchr_iter(b'\n', bytes) {
            let cr = if lf == 0 { self.after_cr } else { bytes[lf - 1] == b'\r' };
            self.text.extend_from_slice(&bytes[at..lf]);
            if !cr {
                self.bare = true;
                self.text.push(b'\r');
            }
            at = lf;
            if self.text.len() > 1 << 16 {
                self.take();
            }
        }
        self.text.extend_from_slice(&bytes[at..]);
        self.take();
        if let Some(last) = bytes.last() {
            self.after_cr = *last == b'\r';
        }
    }

    fn take(&mut self) {
        self.hasher.update(&self.text);
        self.size += self.text.len() as u64;
        self.text.clear();
    }

    fn finish(self) -> Option<Form> {
        self.bare.then(|| Form { sha256: self.hasher.finish(), size: self.size })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crlf_form_is_the_same_however_the_bytes_come() {
        let text = b"a\nb\r\nc\r\r\n\nd";
        for cut in 0..text.len() {
            let mut crlf = Crlf::default();
            crlf.update(&text[..cut]);
            crlf.update(&text[cut..]);
            assert_eq!(crlf.finish().unwrap().sha256, Digest::of(b"a\r\nb\r\nc\r\r\n\r\nd"), "cut at {cut}");
        }
        let mut same = Crlf::default();
        same.update(b"a\r\n");
        assert_eq!(same.finish(), None);
    }
}
