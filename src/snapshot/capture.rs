//! One item at a time: read it, take it apart, and write its line of the listing. Runs on all cores side by side.

use std::cell::{Cell, RefCell};
use std::io::{Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use super::dissect::{Dissected, NewObject, dissect, verbatim};
use super::forms::{self, Crlf, Stateless, TEXT_MAX_BYTES, crlf_text, stateless_text};
use super::seen::Key;
use crate::archive::cut::pieces_of_stream;
use crate::archive::pack::{ObjectForm, Sort};
use crate::archive::recipe::{BlobRef, RecipeBuilder, Transform};
use crate::archive::{Original, line};
use crate::error::{Error, Kind, Result};
use crate::mime;
use crate::model::{Digest, Form, Hasher, Place, Placement};
use crate::source::disk::open_regular;
use crate::source::{Coding, Content, FileStamp, FoundItem, ItemState};

/// Larger items are streamed without looking into them.
pub(super) const WHOLE_BYTES: u64 = 32 << 20;
/// A compressed item that unpacks to more is refused: it is a bomb.
const UNPACKED_MAX_BYTES: u64 = 4 << 30;
/// Times that a file is read again because it changed meanwhile.
const READS: u32 = 3;

thread_local! {
    /// For the bytes of the next file: memory that is used again costs no page faults.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    /// For its CRLF form, and for the one without state lines.
    static FORMS: RefCell<[Vec<u8>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
}

/// What there is to do.
pub(super) enum Task {
    /// An item to be read.
    Item(FoundItem),
    /// An item that was captured before, and its line in the listing of that time.
    Seen(FoundItem, Vec<u8>),
    /// A file to be kept whole beside its items.
    Original(Place, PathBuf),
}

/// What came of a task.
pub(super) enum Captured {
    /// A placement.
    Placed {
        /// Its line.
        line: Vec<u8>,
        /// The item's bytes.
        size: u64,
        /// What the next run knows it by, if it is a file of its own.
        key: Option<Key>,
        /// What the archive must hold.
        objects: Vec<NewObject>,
    },
    /// A file kept whole.
    Original(Original, Vec<NewObject>),
}

impl Task {
    /// Bytes that it will take in memory.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Task::Item(item) => size_of(item),
            Task::Seen(_, line) => line.len() as u64,
            Task::Original(..) => 1 << 20,
        }
    }

    /// Where it lies.
    pub(super) fn place(&self) -> &Place {
        match self {
            Task::Item(item) | Task::Seen(item, _) => &item.place,
            Task::Original(place, _) => place,
        }
    }

    /// Does it.
    ///
    /// # Errors
    /// `Kind::Source` when the item cannot be read.
    pub(super) fn run(self, mail: bool) -> Result<Captured> {
        match self {
            Task::Item(item) => capture(item, mail),
            Task::Seen(item, line) => seen(item, &line),
            Task::Original(place, path) => original(place, &path),
        }
    }
}

/// Bytes of an item as it lies in the source.
pub(super) fn size_of(item: &FoundItem) -> u64 {
    match &item.content {
        Content::Bytes(bytes) => bytes.len() as u64,
        Content::File { stamp, .. } => stamp.size,
        Content::Range { length, .. } => *length,
    }
}

/// Reads an item and takes it apart.
fn capture(mut item: FoundItem, mail: bool) -> Result<Captured> {
    let mut key = Key::of(&item);
    let stored = match std::mem::replace(&mut item.content, Content::Bytes(Vec::new())) {
        Content::Bytes(bytes) => bytes,
        Content::File { path, stamp } => {
            let (bytes, now) = read_whole(&path, stamp, BUFFER.take(), &mut item.state.notes)?;
            key = key.filter(|_| now == stamp);
            bytes
        }
        Content::Range { path, offset, length } => read_range(&path, offset, length)?,
    };
    let bytes = item
        .coding
        .undo(&stored, 4 * WHOLE_BYTES)
        .map_err(|e| Error::source("cannot undo the store's own coding").because(e).with("item", &item.place))?;
    let (mut placement, objects) = if mail { message(item, &bytes) } else { whole(item, &bytes) };
    if matches!(bytes, std::borrow::Cow::Owned(_)) {
        placement.stored = Some(Form { sha256: Digest::of(&stored), size: stored.len() as u64 });
    }
    if let std::borrow::Cow::Borrowed(_) = bytes {
        BUFFER.set(stored);
    }
    Ok(Captured::Placed { line: line(&placement)?, size: placement.size, key, objects })
}

/// A message's placement, and what holds it.
fn message(item: FoundItem, bytes: &[u8]) -> (Placement, Vec<NewObject>) {
    let (dissected, [crlf, stateless]) =
        if bytes.len() > TEXT_MAX_BYTES { (dissect(bytes, [None; 2]), forms::hashed(bytes)) } else { dissect_with_forms(bytes) };
    let placement = placement(item, dissected.digest, bytes.len() as u64, Some(mime::header_facts(bytes)));
    (Placement { crlf, stateless, ..placement }, dissected.objects)
}

/// The message taken apart, and its other forms, which are hashed beside it.
fn dissect_with_forms(bytes: &[u8]) -> (Dissected, [Option<Form>; 2]) {
    FORMS.with_borrow_mut(|[crlf, stateless]| {
        let there = [crlf_text(bytes, crlf), stateless_text(bytes, stateless)];
        let texts = [crlf.as_slice(), stateless.as_slice()];
        let dissected = dissect(bytes, std::array::from_fn(|n| there[n].then_some(texts[n])));
        let form = |n: usize| dissected.forms[n].map(|sha256| Form { sha256, size: texts[n].len() as u64 });
        let forms = [form(0), form(1)];
        (dissected, forms)
    })
}

/// The placement of what is no message, and what holds it.
fn whole(item: FoundItem, bytes: &[u8]) -> (Placement, Vec<NewObject>) {
    let digest = Digest::of(bytes);
    (placement(item, digest, bytes.len() as u64, None), verbatim(bytes, digest))
}

/// The placement of an item of which nothing is known but its bytes.
pub(crate) fn known_by_bytes(bytes: &[u8], mail: bool, place: Place) -> Placement {
    let item = FoundItem { place, content: Content::Bytes(Vec::new()), coding: Coding::Plain, state: ItemState::default() };
    let mut placement = placement(item, Digest::of(bytes), bytes.len() as u64, mail.then(|| mime::header_facts(bytes)));
    if mail {
        [placement.crlf, placement.stateless] = forms::hashed(bytes);
    }
    placement
}

/// An item that was captured before: the facts of its bytes from then, its state as it is now.
fn seen(item: FoundItem, old: &[u8]) -> Result<Captured> {
    let old: Placement = serde_json::from_slice(old)
        .map_err(|e| Error::damage("a line of an earlier listing cannot be read").because(e).hint("run again with --reread"))?;
    let key = Key::of(&item);
    let (sha256, size) = (old.sha256, old.size);
    let mut placement = placement(item, sha256, size, None);
    placement.notes.extend(old.notes.into_iter().filter(|note| mime::HEADER_NOTES.contains(&note.as_str())));
    let date = placement.date.or(old.date);
    let placement =
        Placement { crlf: old.crlf, stored: old.stored, stateless: old.stateless, message_id: old.message_id, date, ..placement };
    Ok(Captured::Placed { line: line(&placement)?, size, key, objects: Vec::new() })
}

fn original(place: Place, path: &Path) -> Result<Captured> {
    let (_, stamp) = open_regular(path)?;
    let (bytes, _) = read_whole(path, stamp, Vec::new(), &mut Vec::new())?;
    let sha256 = Digest::of(&bytes);
    let original = Original { path: place.path, sha256, size: bytes.len() as u64 };
    Ok(Captured::Original(original, verbatim(&bytes, sha256)))
}

/// A file to be kept whole that is too large for memory. `store` takes the objects one by one.
///
/// # Errors
/// As [`capture_stream`].
pub(super) fn original_stream(place: Place, path: &Path, store: &mut dyn FnMut(NewObject) -> Result<()>) -> Result<Original> {
    let (file, before) = open_regular(path)?;
    let streamed = stream((&file).take(before.size), path, false, u64::MAX, store)?;
    let after = file.metadata().map_err(|e| Error::io(Kind::Source, "cannot read the file's state", path, e))?;
    if FileStamp::of(&after) != before {
        return Err(Error::source("the file changed while it was read")
            .with("path", path.display())
            .hint("run the snapshot again"));
    }
    Ok(Original { path: place.path, sha256: streamed.sha256, size: streamed.size })
}

/// An item too large for memory: cut by content as it streams by. `store` takes the objects one by one.
///
/// # Errors
/// `Kind::Source` when it cannot be read, and what `store` gives.
pub(super) fn capture_stream(
    mut item: FoundItem,
    mail: bool,
    store: &mut dyn FnMut(NewObject) -> Result<()>,
) -> Result<(Vec<u8>, u64, Option<Key>)> {
    let key = Key::of(&item);
    let (path, offset, length) = match std::mem::replace(&mut item.content, Content::Bytes(Vec::new())) {
        Content::File { path, stamp } => (path, 0, stamp.size),
        Content::Range { path, offset, length } => (path, offset, length),
        Content::Bytes(_) => return Err(Error::new(Kind::Internal, "an item in memory needs no streaming")),
    };
    let failed = |e| Error::io(Kind::Source, "cannot read the item", &path, e);
    let (mut file, before) = open_regular(&path)?;
    file.seek(SeekFrom::Start(offset)).map_err(failed)?;
    let mut lying = Lying { inner: (&file).take(length), hasher: Hasher::new(), bytes: 0 };
    let coding = item.coding;
    let limit = if coding.is_compressed() { UNPACKED_MAX_BYTES } else { u64::MAX };
    let streamed = stream(coding.reader(&mut lying).map_err(failed)?, &path, mail, limit, store)?;
    let after = FileStamp::of(&file.metadata().map_err(failed)?);
    if lying.bytes != length && coding == Coding::Plain {
        return Err(Error::source("the file was cut while it was read")
            .with("path", path.display())
            .hint("run the snapshot again"));
    }
    if before != after {
        item.state.notes.push("changed while it was read".to_owned());
    }
    let mut placement = placement(item, streamed.sha256, streamed.size, mail.then(|| mime::header_facts(&streamed.first)));
    placement.crlf = streamed.crlf;
    placement.stateless = streamed.stateless;
    if coding != Coding::Plain {
        placement.stored = Some(Form { sha256: lying.hasher.finish(), size: lying.bytes });
    }
    Ok((line(&placement)?, placement.size, key.filter(|_| before == after)))
}

/// Hashes what is read through it: the bytes as they lie in the source.
struct Lying<R> {
    inner: R,
    hasher: Hasher,
    bytes: u64,
}

impl<R: Read> Read for Lying<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..n]);
        self.bytes += n as u64;
        Ok(n)
    }
}

struct Streamed {
    sha256: Digest,
    size: u64,
    crlf: Option<Form>,
    stateless: Option<Form>,
    /// The first piece, which has the header in it.
    first: Vec<u8>,
}

/// Cuts a stream of at most `limit` bytes into blobs and ends with the recipe for the whole.
fn stream(
    reader: impl Read,
    path: &Path,
    mail: bool,
    limit: u64,
    store: &mut dyn FnMut(NewObject) -> Result<()>,
) -> Result<Streamed> {
    let (mut whole, mut crlf, mut refs, mut size) = (Hasher::new(), Crlf::default(), Vec::new(), 0u64);
    let (mut first, mut stateless) = (Vec::new(), None::<Stateless>);
    for piece in pieces_of_stream(reader) {
        let bytes = piece.map_err(|e| Error::source("cannot read the item").with("path", path.display()).because(e))?;
        whole.update(&bytes);
        if mail {
            crlf.update(&bytes);
            match &mut stateless {
                Some(form) => form.update(&bytes),
                none => *none = Some(Stateless::new(&bytes)),
            }
        }
        size += bytes.len() as u64;
        if size > limit {
            return Err(Error::source("a compressed item unpacks to more than 4 GiB").with("path", path.display()));
        }
        if first.is_empty() {
            first.clone_from(&bytes);
        }
        let blob = BlobRef { digest: Digest::of(&bytes), size: bytes.len() as u64 };
        refs.push(blob);
        store(NewObject { digest: blob.digest, form: ObjectForm::Blob, sort: Sort::Binary, bytes })?;
    }
    let mut recipe = RecipeBuilder::new(size);
    recipe.blobs(Transform::Copy, &refs);
    let sha256 = whole.finish();
    store(NewObject { digest: sha256, form: ObjectForm::Recipe, sort: Sort::Head, bytes: recipe.finish() })?;
    Ok(Streamed { sha256, size, crlf: crlf.finish(), stateless: stateless.and_then(Stateless::finish), first })
}

/// Reads a file that holds still while it is read; one that had changed since it was listed is noted.
fn read_whole(path: &Path, listed: FileStamp, mut bytes: Vec<u8>, notes: &mut Vec<String>) -> Result<(Vec<u8>, FileStamp)> {
    for _ in 0..READS {
        let (file, before) = open_regular(path)?;
        if before.size > WHOLE_BYTES {
            return Err(Error::source("the file grew after it was listed")
                .with("path", path.display())
                .hint("run the snapshot again"));
        }
        bytes.clear();
        bytes.reserve(before.size as usize + 1);
        let failed = |e| Error::io(Kind::Source, "cannot read the item", path, e);
        (&file).take(WHOLE_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
        let after = FileStamp::of(&file.metadata().map_err(failed)?);
        if before == after && bytes.len() as u64 == before.size {
            if before != listed {
                notes.push("changed after it was listed".to_owned());
            }
            return Ok((bytes, after));
        }
    }
    Err(Error::source("the file keeps changing while it is read").with("path", path.display()).hint("run the snapshot again"))
}

fn read_range(path: &Path, offset: u64, length: u64) -> Result<Vec<u8>> {
    let failed = |e| Error::io(Kind::Source, "cannot read the item", path, e);
    let (mut file, _) = open_regular(path)?;
    file.seek(SeekFrom::Start(offset)).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 != length {
        return Err(Error::source("the file was cut while it was read")
            .with("path", path.display())
            .hint("run the snapshot again"));
    }
    Ok(bytes)
}

fn placement(item: FoundItem, sha256: Digest, size: u64, facts: Option<mime::HeaderFacts>) -> Placement {
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
        crlf: None,
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
