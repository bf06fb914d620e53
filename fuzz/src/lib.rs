//! What must hold for any bytes at all: a property a function, used by the fuzz targets and by `tests/fuzz_twins.rs`.
//!
//! Each function panics where its property does not hold.

use std::fs;
use std::io::{Read as _, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use floe::archive::index::{Index, Location};
use floe::archive::pack::{self, FrameSpan, ObjectForm};
use floe::archive::recipe::{Op, Recipe, RecipeBuilder};
use floe::archive::{CollectionEntry, Root};
use floe::mime;
use floe::model::{Digest, Exception, Outcome, Place, Placement, printable, safe_file_name};
use floe::snapshot;
use floe::source::{Coding, Content, Format, FoundItem, ItemSink, Reader, maildir, mbox, mutf7, pim};
use floe::store::LocalStore;
use floe::{Error, Result};

/// A property of any bytes.
pub type Property = fn(&[u8]);

/// All properties by the names of their targets.
pub const ALL: &[(&str, Property)] = &[
    ("coding", coding),
    ("date", date),
    ("dissect", dissect),
    ("ics", calendar_file),
    ("index", index_file),
    ("listing", listing),
    ("maildir", maildir_names),
    ("mbox", mbox_file),
    ("mutf7", modified_utf7),
    ("pack", pack_file),
    ("recipe", recipe),
    ("text", text),
    ("vcf", card_file),
];

/// More than this is never kept in memory by a property.
const MAX_BYTES: usize = 1 << 20;

/// A folder for the files that readers want; in memory where the system has such a place.
fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.expect("a folder can be made")
}

/// Keeps what a reader hands on.
#[derive(Default)]
struct Kept {
    items: Vec<FoundItem>,
    exceptions: Vec<(Place, Outcome)>,
    originals: usize,
}

impl ItemSink for Kept {
    fn item(&mut self, item: FoundItem) -> Result<()> {
        self.items.push(item);
        Ok(())
    }

    fn exception(&mut self, place: Place, outcome: Outcome, _: &str, _: String) -> Result<()> {
        self.exceptions.push((place, outcome));
        Ok(())
    }

    fn original(&mut self, _: Place, _: PathBuf) -> Result<()> {
        self.originals += 1;
        Ok(())
    }

    fn read_up_to(&mut self, _: u64, _: u128) {}

    fn resumed(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Reads all of a store, and how many items the second way of counting finds.
fn read_all(reader: &dyn Reader) -> (Kept, u64) {
    let mut all = Kept::default();
    let mut found = 0;
    for head in reader.collections().expect("collections are listed") {
        found += reader.count(&head).expect("items are counted");
        reader.read(&head, None, &mut all).expect("items are read");
    }
    (all, found)
}

/// An mbox: every byte belongs to an item, to an exception or to a separator, and each item has the bytes of its place.
pub fn mbox_file(bytes: &[u8]) {
    let folder = folder();
    let path = folder.path().join("a.mbox");
    fs::write(&path, bytes).expect("the file is written");
    let reader = mbox::open(&path, Format::Mbox).expect("any file can be read as an mbox");
    // No balance is asked for: whether a line with an absurd date parts messages is judged by two rules on purpose, and where
    // they differ the ledger has to say so.
    let (kept, _) = read_all(reader.as_ref());
    let mut ranges = Vec::new();
    for item in &kept.items {
        let (offset, length) = span(&item.place);
        if let Content::Bytes(content) = &item.content {
            assert_eq!(bytes.get(offset..offset + length), Some(content.as_slice()), "an item has the bytes of its place");
        }
        ranges.push((offset, length));
    }
    ranges.extend(kept.exceptions.iter().map(|(place, _)| span(place)));
    ranges.sort_unstable();
    let mut at = 0;
    for (offset, length) in ranges {
        assert!(offset >= at && offset + length <= bytes.len(), "places lie in order and inside the file");
        separates(&bytes[at..offset]);
        at = offset + length;
    }
    separates(&bytes[at..]);
}

fn span(place: &Place) -> (usize, usize) {
    (place.offset.expect("a place in an mbox has an offset") as usize, place.length.expect("and a length") as usize)
}

/// Only From_ lines, delimiters, blank space and a byte order mark may stand between items.
fn separates(gap: &[u8]) {
    let gap = gap.strip_prefix(b"\xef\xbb\xbf").unwrap_or(gap);
    for line in gap.split(|&b| b == b'\n') {
        let line = line.trim_ascii_start();
        let mark = line.trim_ascii_end() == b"\x01\x01\x01\x01";
        assert!(line.is_empty() || line.starts_with(b"From ") || mark, "bytes of no item: {line:?}");
    }
}

/// A Maildir whose files have these names: every file is handed on or reported, once.
pub fn maildir_names(bytes: &[u8]) {
    let folder = folder();
    for sub in ["cur", "new", "tmp"] {
        fs::create_dir(folder.path().join(sub)).expect("the folder is made");
    }
    let mut made = std::collections::BTreeSet::new();
    for name in bytes.split(|b| matches!(b, 0 | b'/')).filter(|n| !n.is_empty() && n.len() < 200 && !of_a_server(n)).take(20) {
        let path = folder.path().join("cur").join(std::ffi::OsStr::from_bytes(name));
        // Different content, so that two files of one base name are two messages.
        fs::write(&path, format!("Subject: {}\n\n", made.len())).expect("the file is written");
        made.insert(name.to_vec());
    }
    let reader = maildir::open(folder.path(), Format::MaildirPlusPlus).expect("the Maildir is opened");
    let (kept, found) = read_all(reader.as_ref());
    assert_eq!(kept.items.len() + kept.exceptions.len(), made.len(), "every file is handed on or reported");
    assert_eq!(found, made.len() as u64, "the ledger balances");
    for item in &kept.items {
        let Content::File { path, .. } = &item.content else { panic!("a message is a file") };
        let name = path.file_name().expect("with a name").as_bytes();
        assert!(made.remove(name), "a file is handed on once");
        let mut flags = item.state.flags.clone();
        flags.dedup();
        assert_eq!(flags, item.state.flags, "a flag is set once");
    }
}

/// Hidden files and what servers keep beside mail are no messages.
fn of_a_server(name: &[u8]) -> bool {
    [&b"."[..], b"dovecot", b"courierimap", b"maildirsize", b"maildirfolder"].iter().any(|prefix| name.starts_with(prefix))
}

/// A recipe: parsing allocates no more than it was given, rebuilding gives no more than was announced, and what was parsed
/// can be written again.
pub fn recipe(bytes: &[u8]) {
    let Ok(parsed) = Recipe::parse(bytes) else { return };
    assert!(parsed.ops.len() + 33 * parsed.refs().count() <= bytes.len());
    let mut again = RecipeBuilder::new(parsed.size);
    for op in &parsed.ops {
        match op {
            Op::Literal(bytes) => again.literal(bytes),
            Op::Blobs(transform, refs) => again.blobs(*transform, refs),
        }
    }
    let again = again.finish();
    let again = Recipe::parse(&again).expect("what is written can be parsed");
    let ops = parsed.ops.iter().filter(|op| !matches!(op, Op::Literal([])));
    assert!(again.size == parsed.size && again.ops.iter().eq(ops), "the same recipe is written again");
    let mut out = Bounded { bytes: 0 };
    let outcome = parsed.rebuild(
        &mut |blob, give| match blob.size {
            0..=4096 => {
                give(&vec![b'\n'; blob.size as usize]);
                Ok(())
            }
            _ => Err(Error::damage("no such blob")),
        },
        &mut out,
    );
    assert!(out.bytes as u64 <= parsed.size, "no more comes out than was announced");
    assert!(outcome.is_err() || out.bytes as u64 == parsed.size, "a recipe that succeeds gives what it announced");
}

/// Counts, and refuses more than `MAX_BYTES`.
struct Bounded {
    bytes: usize,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.bytes + bytes.len() > MAX_BYTES {
            return Err(std::io::ErrorKind::Other.into());
        }
        self.bytes += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A pack's parts: entries lie inside their frame, a frame decompresses to what it should or not at all, a seek table covers
/// the file exactly; and entries of these bytes read back.
pub fn pack_file(bytes: &[u8]) {
    if let Ok(spans) = pack::entries(bytes) {
        let mut at = 0;
        for span in spans {
            assert!(span.start >= at + 512 && span.start + span.len <= bytes.len(), "entries lie in order and inside the frame");
            at = span.start + span.len;
        }
    }
    for size in [0, 1, 1000, MAX_BYTES as u32, u32::MAX] {
        if let Ok(out) = pack::decompress(bytes, size) {
            assert_eq!(out.len(), size as usize);
        }
    }
    let folder = folder();
    fs::write(folder.path().join("pack"), bytes).expect("the file is written");
    let size = bytes.len() as u64;
    if let Ok(spans) = pack::seek_table(&LocalStore::new(folder.path()), "pack", size) {
        let mut at = 0;
        for span in &spans {
            assert_eq!(span.offset, at, "frames lie one after the other");
            at += u64::from(span.compressed);
        }
        assert_eq!(at + spans.len() as u64 * 8 + 17, size, "the seek table covers the file");
    }
    let mut frame = Vec::new();
    let forms = [ObjectForm::Blob, ObjectForm::Recipe, ObjectForm::Listing];
    let put: Vec<_> = bytes
        .chunks(700)
        .zip(forms.into_iter().cycle())
        .map(|(data, form)| (Digest::of(data), form, pack::put_entry(&mut frame, form, &Digest::of(data), data), data.len()))
        .collect();
    let got: Vec<_> =
        pack::entries(&frame).expect("what was put can be read").iter().map(|s| (s.digest, s.form, s.start, s.len)).collect();
    assert_eq!(put, got, "entries read back");
    let packed = pack::compress(&frame, 1).expect("any frame compresses");
    assert_eq!(pack::decompress(&packed, frame.len() as u32).expect("and decompresses"), frame);
}

/// An index file: it is of use or it is not, and whatever is found in it lies in a frame and a pack of its tables. A mutated
/// file seldom ends with its own digest, so it is tried once more with the right one.
pub fn index_file(bytes: &[u8]) {
    let folder = folder();
    fs::create_dir(folder.path().join("index")).expect("the folder is made");
    let mut bytes = bytes.to_vec();
    look_up(folder.path(), &bytes);
    if let Some((body, tail)) = bytes.split_last_chunk_mut::<32>() {
        *tail = *Digest::of(body).as_bytes();
        look_up(folder.path(), &bytes);
    }
}

fn look_up(folder: &Path, bytes: &[u8]) {
    fs::write(folder.join("index/a.idx"), bytes).expect("the file is written");
    let store = LocalStore::new(folder);
    let index = Index::open(&store).expect("an archive opens whatever its index files hold");
    let useless = !index.useless().is_empty();
    let tables = tables(bytes);
    let in_tables = |at: &Location| tables.as_ref().is_some_and(|t| t.frames.contains(&(at.pack, at.frame)));
    let mut seen = 0;
    let whole = index.each(&store, &mut |_, at, whole| {
        assert!(in_tables(&at) && !whole, "{at:?} is not in the tables, or in a pack that is there");
        seen += 1;
        Ok(())
    });
    assert!(!useless || seen == 0, "a useless file gives nothing");
    let records = tables.as_ref().map_or(&[][..], |t| t.records);
    // In order and each once, as floe writes them: then each is found.
    let sound = !useless && whole.is_ok() && records.is_sorted_by(|a, b| a[..32] < b[..32]);
    for record in records.iter().take(100) {
        let digest = Digest::from_bytes(*record.first_chunk().expect("a record begins with a digest"));
        let found = index.find(&store, &digest).unwrap_or_default();
        assert!(found.iter().all(in_tables), "{found:?} is not in the tables");
        assert!(!sound || found.len() == 1, "{digest} is found {} times", found.len());
    }
    for absent in [Digest::of(b"absent"), Digest::from_bytes([0; 32]), Digest::from_bytes([255; 32])] {
        let found = index.find(&store, &absent).unwrap_or_default();
        assert!(found.is_empty() || records.iter().any(|r| r[..32] == *absent.as_bytes()), "{found:?} of an absent object");
    }
}

/// The tables of an index file, read after docs/format.md alone.
struct Tables<'a> {
    frames: Vec<(Digest, FrameSpan)>,
    records: &'a [[u8; 48]],
}

fn tables(bytes: &[u8]) -> Option<Tables<'_>> {
    let u32_at = |row: &[u8], at: usize| Some(u32::from_le_bytes(*row.get(at..)?.first_chunk()?));
    let u64_at = |row: &[u8], at: usize| Some(u64::from_le_bytes(*row.get(at..)?.first_chunk()?));
    let (packs, frames) = (u32_at(bytes, 8)? as usize, u32_at(bytes, 12)? as usize);
    let (packs, rest) = bytes.get(24..)?.split_at_checked(packs * 40)?;
    let (frames, rest) = rest.split_at_checked(frames * 24)?;
    let digest_of = |number: u32| Some(Digest::from_bytes(*packs.get(number as usize * 40..)?.first_chunk()?));
    let frame = |row: &[u8]| {
        Some((
            digest_of(u32_at(row, 0)?)?,
            FrameSpan { compressed: u32_at(row, 4)?, offset: u64_at(row, 8)?, bytes: u32_at(row, 16)? },
        ))
    };
    let frames = frames.chunks_exact(24).map(frame).collect::<Option<_>>()?;
    Some(Tables { frames, records: rest.split_at_checked(rest.len().checked_sub(32)?)?.0.as_chunks().0 })
}

/// A calendar file: the ledger balances, and an object consists of lines of the file in the file's order.
pub fn calendar_file(bytes: &[u8]) {
    for item in pim_items("a.ics", bytes) {
        let Content::Bytes(object) = &item.content else { continue };
        let mut lines = lines(bytes);
        for line in self::lines(object) {
            assert!(
                lines.any(|l| l == line),
                "{:?} is not a line of the file, or not in its place",
                line.escape_ascii().to_string()
            );
        }
        let (offset, length) = span(&item.place);
        assert!(offset + length <= bytes.len(), "the components lie in the file");
    }
}

/// Lines with their ends, whichever the ends are.
fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).split_inclusive(|b| matches!(b, b'\r' | b'\n'))
}

/// A file of cards: the ledger balances, and the cards are stretches of the file in its order.
pub fn card_file(bytes: &[u8]) {
    let mut at = 0;
    for item in pim_items("a.vcf", bytes) {
        let Content::Bytes(card) = &item.content else { continue };
        let (offset, length) = span(&item.place);
        assert!(offset >= at && bytes.get(offset..offset + length) == Some(card), "a card has the bytes of its place");
        at = offset + length;
    }
}

/// Reads a calendar or a file of cards; not a byte of it may be lost.
fn pim_items(name: &str, bytes: &[u8]) -> Vec<FoundItem> {
    let folder = folder();
    let path = folder.path().join(name);
    fs::write(&path, bytes).expect("the file is written");
    let (kept, found) = read_all(pim::open(&path, Format::Pim).expect("any file can be opened").as_ref());
    // UIDs are counted by their beginnings.
    if bytes.len() <= 2048 {
        assert_eq!(found as usize, kept.items.len() + kept.exceptions.len(), "the ledger balances");
    }
    let alone = matches!(kept.items.as_slice(), [FoundItem { content: Content::File { .. }, .. }]);
    assert!(bytes.is_empty() || alone != (kept.originals == 1), "the file is an item or kept whole");
    kept.items
}

/// Lines of listings and roots: what can be read can be written and read again, and is fit to be shown.
pub fn listing(bytes: &[u8]) {
    fn again<T: serde::de::DeserializeOwned + serde::Serialize + PartialEq + std::fmt::Debug>(line: &[u8]) -> Option<T> {
        let value: T = serde_json::from_slice(line).ok()?;
        let text = serde_json::to_vec(&value).expect("what was read can be written");
        assert_eq!(serde_json::from_slice::<T>(&text).expect("and read again"), value);
        Some(value)
    }
    for line in bytes.split(|&b| b == b'\n') {
        if let Some(placement) = again::<Placement>(line) {
            fit_to_be_shown(&placement.source.to_string());
        }
        if let Some(exception) = again::<Exception>(line) {
            fit_to_be_shown(&exception.source.to_string());
        }
        again::<CollectionEntry>(line);
    }
    if let Ok(root) = Root::from_bytes(bytes) {
        let text = root.to_bytes().expect("a root can be written");
        assert_eq!(Root::from_bytes(&text).expect("and read again"), root);
    }
}

fn fit_to_be_shown(text: &str) {
    assert!(!text.chars().any(char::is_control), "{text:?}");
}

/// Modified UTF-7 both ways.
pub fn modified_utf7(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let name = mutf7::encode(&text);
    assert!(name.bytes().all(|b| (0x20..0x7f).contains(&b)));
    assert_eq!(mutf7::decode(&name).as_deref(), Some(&*text), "every text comes back");
    if let Some(decoded) = mutf7::decode(&text) {
        assert_eq!(mutf7::encode(&decoded), text, "no two names become one text");
    }
}

/// Dates and header facts: never a panic, and what is kept of the header is short and fit to be shown.
pub fn date(bytes: &[u8]) {
    let _ = mime::parse_date(bytes);
    let facts = mime::header_facts(bytes);
    if let Some(id) = facts.message_id {
        assert!(id.len() <= 998);
        fit_to_be_shown(&id);
    }
}

/// A message taken apart: leaf bodies lie in order, and the objects give the message back.
pub fn dissect(message: &[u8]) {
    let mut at = 0;
    for leaf in mime::leaves(message) {
        assert!(leaf.range.start >= at && leaf.range.start <= leaf.range.end && leaf.range.end <= message.len());
        at = leaf.range.end;
    }
    let digest = Digest::of(message);
    for objects in [snapshot::dissect(message, [None; 2]).objects, snapshot::verbatim(message, digest)] {
        let whole = objects.last().expect("a message is at least one object");
        assert_eq!(whole.digest, digest);
        if whole.form != ObjectForm::Recipe {
            assert_eq!(whole.bytes, message);
            continue;
        }
        let mut out = Vec::new();
        let parsed = Recipe::parse(&whole.bytes).expect("a recipe that was made can be parsed");
        let mut fetch = |blob: &floe::archive::recipe::BlobRef, give: &mut dyn FnMut(&[u8])| {
            let object = objects.iter().find(|o| o.digest == blob.digest).expect("a recipe refers to what was made");
            assert!(object.form == ObjectForm::Blob && Digest::of(&object.bytes) == blob.digest);
            give(&object.bytes);
            Ok(())
        };
        parsed.rebuild(&mut fetch, &mut out).expect("a recipe that was made can be followed");
        assert_eq!(out, message, "the objects give the message back");
    }
}

/// Codings of the store: the stream and the bytes in memory give the same, within the bound.
pub fn coding(stored: &[u8]) {
    for coding in [Coding::Plain, Coding::FromQuoted, Coding::Gzip, Coding::Zstd, Coding::of_magic(stored)] {
        let mut streamed = Vec::new();
        let stream = coding.reader(stored).and_then(|r| r.take(MAX_BYTES as u64 + 1).read_to_end(&mut streamed));
        match coding.undo(stored, MAX_BYTES as u64) {
            Ok(bytes) => assert_eq!(&*bytes, streamed.as_slice(), "{coding:?}"),
            Err(_) => assert!(stream.is_err() || streamed.len() > MAX_BYTES, "{coding:?}"),
        }
    }
}

/// Hostile text: shown without control characters, and as a file name one that is safe everywhere.
pub fn text(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    fit_to_be_shown(&printable(&text));
    let name = safe_file_name(&text);
    fit_to_be_shown(&name);
    assert!(!name.is_empty() && name.len() <= 130 && name != "." && name != "..", "{name:?}");
    assert!(!name.contains(['/', '\\', ':', '*', '?', '"', '<', '>', '|']) && !name.ends_with(['.', ' ']), "{name:?}");
}
