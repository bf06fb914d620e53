//! Is the archive intact? Names what is damaged and which items it touches.

use std::collections::{BTreeSet, HashMap, HashSet};

use rayon::prelude::*;

use super::bag::{MANIFEST, MANIFEST_MAX_BYTES, SMALL_FOLDERS, TAG_FILES, digest_of, parse_manifest};
use super::merkle::TreesCheck;
use super::pack::{self, EntrySpan, FrameSpan, ObjectForm, pack_digest};
use super::reader::root_files;
use super::recipe::{BlobRef, Recipe};
use super::tags;
use super::{AccountEntry, Archive, CollectionEntry, Root, Snapshot};
use crate::error::{Error, Result};
use crate::model::{Digest, Hasher, Ledger};
use crate::monitor::Monitor;
use crate::proof::events::FILE as EVENTS;
use crate::proof::signature::ENDING;
use crate::store::Store;
use crate::vault::{ROOT_MAX_BYTES, SUFFIX};

/// What a check found.
#[derive(Debug, Default, serde::Serialize)]
pub struct Findings {
    /// Files checked.
    pub files: u64,
    /// Snapshots checked.
    pub snapshots: u64,
    /// Objects rebuilt and hashed (full checks only).
    pub objects: u64,
    /// Placements looked at; in full checks each leads to an object that is whole.
    pub placements: u64,
    /// The archive is encrypted and no key was given: only digests of files were checked.
    pub locked: bool,
    /// What is wrong, and where.
    pub damage: Vec<String>,
    /// What loses nothing, but should be known: index files to be made anew, no snapshot yet.
    pub warnings: Vec<String>,
}

/// What to check.
#[derive(Clone, Debug, Default)]
pub struct Check {
    /// Rebuild and hash every object, and resolve every placement; else bag files, digests of packs, index and listings.
    pub full: bool,
    /// Resolve every placement also in a quick check: is its object in one of the packs?
    pub present: bool,
    /// Objects that may be missing, because a tombstone names them.
    pub forgotten: HashSet<Digest>,
    /// Only this snapshot's listings and items (any unambiguous part of its name); the packs are checked all the same.
    pub snapshot: Option<String>,
}

/// Objects that are not whole, and why.
type Broken = HashMap<Digest, String>;

impl Findings {
    fn add(&mut self, other: Findings) {
        self.files += other.files;
        self.objects += other.objects;
        self.placements += other.placements;
        self.damage.extend(other.damage);
        self.warnings.extend(other.warnings);
    }
}

/// Checks the bag files and every pack's digest; a full check every object and every placement too.
///
/// # Errors
/// When the check itself cannot be done. Damage is no error but a finding.
pub fn verify(archive: &Archive, check: &Check, monitor: &dyn Monitor) -> Result<Findings> {
    let mut found = Findings { damage: archive.index().damage().to_vec(), ..Findings::default() };
    let bytes: u64 = archive.index().packs().iter().map(|f| f.size).sum();
    monitor.phase("verify", Some(if check.full { 2 * bytes } else { bytes }));
    bag_files(archive, &mut found, monitor)?;
    if archive.is_locked() {
        return without_key(archive, check, found, monitor);
    }
    index_files(archive, &mut found);
    let broken = if check.full { objects(archive, &mut found, monitor)? } else { Broken::new() };
    let snapshots = match &check.snapshot {
        Some(id) => vec![archive.snapshot(Some(id))?],
        None => chain(archive, &mut found)?,
    };
    found.snapshots = snapshots.len() as u64;
    if snapshots.is_empty() && found.damage.is_empty() {
        found.warnings.push("no snapshot is committed yet".to_owned());
    }
    let listings = Listings { archive, broken: &broken, check };
    let (mut seen, mut trees) = (HashSet::new(), TreesCheck::new(&check.forgotten));
    for snapshot in &snapshots {
        root(snapshot, &mut found);
        if check.full {
            trees.snapshot(archive, snapshot, &mut found);
        }
        // Snapshots share the listings of what did not change; each is read once.
        let new: Vec<&AccountEntry> = snapshot.root.accounts.iter().filter(|a| seen.insert(a.listing)).collect();
        let checked: Vec<Findings> = new.par_iter().map(|account| listings.account(&snapshot.id, account)).collect();
        checked.into_iter().for_each(|f| found.add(f));
        if let Some(listing) = snapshot.root.leftovers.filter(|listing| !listings.is_forgotten(listing)) {
            let place = format!("snapshot {}, what belongs to no account", snapshot.id);
            listings.exceptions(&place, listing, None, &mut found);
        }
        let directory = snapshot.root.directory.filter(|object| !listings.is_forgotten(object));
        if let Some(Err(e)) = directory.map(|object| archive.copy(object, &mut std::io::sink())) {
            found.damage.push(format!("snapshot {}: its directory: {e}", snapshot.id));
        }
    }
    for texts in [&mut found.damage, &mut found.warnings] {
        texts.sort();
        texts.dedup();
    }
    monitor.done();
    Ok(found)
}

/// What can be said without the key: the digests are right, or not.
fn without_key(archive: &Archive, check: &Check, mut found: Findings, monitor: &dyn Monitor) -> Result<Findings> {
    if check.full || check.snapshot.is_some() {
        return Err(archive.vault.locked());
    }
    found.locked = true;
    found.snapshots = root_files(archive.contents())?.len() as u64;
    if found.snapshots == 0 && found.damage.is_empty() {
        found.warnings.push("no snapshot is committed yet".to_owned());
    }
    found.damage.sort();
    monitor.done();
    Ok(found)
}

/// The snapshots whose roots are whole. Each root names the one before, so that a root that is gone is missed.
fn chain(archive: &Archive, found: &mut Findings) -> Result<Vec<Snapshot>> {
    let mut snapshots = Vec::new();
    for root in archive.roots()? {
        match root {
            Ok(snapshot) => snapshots.push(snapshot),
            Err(e) => found.damage.push(e.to_string()),
        }
    }
    let there: HashSet<Digest> = snapshots.iter().map(|s| s.digest).collect();
    for snapshot in &snapshots {
        if let Some(previous) = snapshot.root.previous.filter(|p| !there.contains(p)) {
            found
                .damage
                .push(format!("the snapshot before {} is missing or damaged: its root has the SHA-256 {previous}", snapshot.id));
        }
    }
    Ok(snapshots)
}

/// Do the sums in a root agree?
fn root(snapshot: &Snapshot, found: &mut Findings) {
    let root = &snapshot.root;
    if Root::tree_of(&root.accounts) != root.tree {
        found.damage.push(format!("snapshot {}: its tree digest is not that of its account listings", snapshot.id));
    }
    let mut sum = Ledger::default();
    root.accounts.iter().for_each(|a| sum.add(&a.ledger));
    if sum.captured != root.ledger.captured || sum.bytes != root.ledger.bytes {
        found.damage.push(format!("snapshot {}: its ledger is not the sum of its accounts' ledgers", snapshot.id));
    }
}

/// Reads listings and compares them with what is said of them.
struct Listings<'a> {
    archive: &'a Archive,
    broken: &'a Broken,
    check: &'a Check,
}

impl Listings<'_> {
    /// Is it missing, and names a tombstone it?
    fn is_forgotten(&self, object: &Digest) -> bool {
        self.check.forgotten.contains(object) && !self.archive.index().has_whole(self.archive.contents(), object).unwrap_or(true)
    }

    fn account(&self, snapshot: &str, account: &AccountEntry) -> Findings {
        let mut found = Findings::default();
        if self.is_forgotten(&account.listing) {
            return found;
        }
        let place = format!("snapshot {snapshot}, account {}", account.account);
        let collections = match self.archive.collections(account) {
            Ok(collections) => collections,
            Err(e) => {
                found.damage.push(format!("{place}: its listing: {e}"));
                return found;
            }
        };
        let mut sum = Ledger::default();
        for collection in &collections {
            sum.add(&collection.ledger);
            self.collection(&format!("{place}, {}", collection.head.path), collection, &mut found);
        }
        if sum != account.ledger || collections.len() as u64 != account.collections {
            found.damage.push(format!("{place}: its ledger is not the sum of its collections' ledgers"));
        }
        found
    }

    fn collection(&self, place: &str, collection: &CollectionEntry, found: &mut Findings) {
        let (mut items, mut bytes) = (0, 0);
        let read = self.archive.placements(collection, &mut |p| {
            items += 1;
            bytes += p.size;
            self.object(&p.sha256, &|| format!("{place}, {}", p.source), found)
        });
        found.placements += items;
        match read {
            Err(e) => found.damage.push(format!("{place}: its listing: {e}")),
            Ok(()) if items != collection.items || items != collection.ledger.captured || bytes != collection.ledger.bytes => {
                found.damage.push(format!(
                    "{place}: its listing has {items} items of {bytes} bytes, but its ledger says {} of {}",
                    collection.ledger.captured, collection.ledger.bytes
                ));
            }
            Ok(()) => {}
        }
        for original in &collection.originals {
            if let Err(e) = self.object(&original.sha256, &|| format!("{place}, {}", original.path), found) {
                found.damage.push(e.to_string());
            }
        }
        if let Some(listing) = collection.exceptions {
            let expected = collection.ledger.skipped_total() + collection.ledger.failed_total();
            self.exceptions(place, listing, Some(expected), found);
        }
    }

    fn exceptions(&self, place: &str, listing: Digest, expected: Option<u64>, found: &mut Findings) {
        let mut count = 0;
        let read = self.archive.exceptions(listing, &mut |_| {
            count += 1;
            Ok(())
        });
        match read {
            Err(e) => found.damage.push(format!("{place}: its exceptions listing: {e}")),
            Ok(()) if expected.is_some_and(|n| n != count) => {
                found.damage.push(format!("{place}: its exceptions listing has {count} lines, but its ledger has other counts"));
            }
            Ok(()) => {}
        }
    }

    /// In a full check: can it be read all the same, from a pack of another size than it should have?
    fn is_readable(&self, object: &Digest) -> bool {
        self.check.full && self.archive.contains(object).unwrap_or(false)
    }

    /// Does this lead to an object that is there and, in a full check, was found whole?
    fn object(&self, object: &Digest, place: &dyn Fn() -> String, found: &mut Findings) -> Result<()> {
        if !(self.check.full || self.check.present) || self.is_forgotten(object) {
            return Ok(());
        }
        match self.broken.get(object) {
            Some(why) => found.damage.push(format!("{}: {why}", place())),
            None if !self.archive.index().has_whole(self.archive.contents(), object)? && !self.is_readable(object) => {
                found.damage.push(format!("{}: its object {object} is missing", place()))
            }
            None => {}
        }
        Ok(())
    }
}

/// One frame of one pack.
struct Work {
    pack: Digest,
    name: String,
    frame: FrameSpan,
}

/// Frames that are read before recipes are followed; a few on each core.
const FRAMES_AT_ONCE: usize = 16;
/// Bytes of recipes that are gathered before they are followed.
const RECIPES_BYTES: usize = 32 << 20;
/// Larger objects are hashed while they are rebuilt, smaller ones side by side.
const SMALL_BYTES: u64 = 4 << 20;

/// Rebuilds and hashes every object; gives those that are not whole.
fn objects(archive: &Archive, found: &mut Findings, monitor: &dyn Monitor) -> Result<Broken> {
    let mut work = Vec::new();
    for file in archive.index().packs() {
        let Some(pack) = pack_digest(&file.name) else { continue };
        let spans = pack::seek_table(archive.contents(), &file.name, file.size)
            .unwrap_or_else(|_| pack::walk_frames(archive.contents(), &file.name, file.size));
        work.extend(spans.into_iter().map(|frame| Work { pack, name: file.name.clone(), frame }));
    }
    let (mut broken, mut read, mut recipes) = (Broken::new(), HashSet::new(), Vec::new());
    for some in work.chunks(FRAMES_AT_ONCE) {
        let frames: Vec<Frame> = some.par_iter().map(|work| frame(archive, work, monitor)).collect();
        for (frame, work) in frames.into_iter().zip(some) {
            found.objects += frame.objects;
            broken.extend(frame.broken);
            recipes.extend(frame.recipes);
            match frame.damage {
                Some(damage) => found.damage.push(damage),
                None => _ = read.insert((work.pack, work.frame.offset)),
            }
        }
        if recipes.iter().map(|r: &Found| r.recipe.len()).sum::<usize>() > RECIPES_BYTES {
            broken.extend(follow(archive, std::mem::take(&mut recipes)));
        }
    }
    broken.extend(follow(archive, recipes));
    archive.index().each(archive.contents(), &mut |digest, at, _| {
        if !read.contains(&(at.pack, at.frame.offset)) {
            broken.entry(digest).or_insert_with(|| format!("object {digest} lies in a frame that cannot be read"));
        }
        Ok(())
    })?;
    // What another copy still gives is not broken.
    broken.retain(|digest, _| archive.copy(*digest, &mut std::io::sink()).is_err());
    found.damage.extend(broken.values().cloned());
    Ok(broken)
}

/// What was found in a frame.
#[derive(Default)]
struct Frame {
    objects: u64,
    /// Why it could not be read.
    damage: Option<String>,
    broken: Vec<(Digest, String)>,
    recipes: Vec<Found>,
}

/// A recipe, and what it should make.
struct Found {
    object: Digest,
    recipe: Vec<u8>,
}

/// Reads a frame; hashes what is stored as it is, and hands the recipes out.
fn frame(archive: &Archive, work: &Work, monitor: &dyn Monitor) -> Frame {
    let read = pack::read_frame(archive.contents(), &work.name, &work.frame);
    let read = read.and_then(|frame| Ok((pack::entries(&frame)?, frame)));
    monitor.advance(0, u64::from(work.frame.compressed));
    let (spans, frame) = match read {
        Ok(read) => read,
        Err(e) => return Frame { damage: Some(e.to_string()), ..Frame::default() },
    };
    let data = |span: &EntrySpan| frame.get(span.start..span.start + span.len).unwrap_or_default();
    let (recipes, stored): (Vec<&EntrySpan>, Vec<&EntrySpan>) = spans.iter().partition(|s| s.form == ObjectForm::Recipe);
    let digests = Digest::of_each(&stored.iter().map(|span| data(span)).collect::<Vec<_>>());
    let wrong = stored.iter().zip(digests).filter(|(span, digest)| span.digest != *digest);
    Frame {
        objects: spans.len() as u64,
        damage: None,
        broken: wrong.map(|(span, _)| not_whole(span.digest, Error::damage(WRONG_DIGEST))).collect(),
        recipes: recipes.iter().map(|span| Found { object: span.digest, recipe: data(span).to_vec() }).collect(),
    }
}

const WRONG_DIGEST: &str = "an object's bytes do not have its digest";

fn not_whole(object: Digest, why: Error) -> (Digest, String) {
    (object, why.with("object", object).to_string())
}

/// Follows recipes, those together that need the same frame, which is then decompressed once; gives what they do not make.
fn follow(archive: &Archive, recipes: Vec<Found>) -> Vec<(Digest, String)> {
    let main_frame = |found: &Found| {
        let largest = Recipe::parse(&found.recipe).ok()?.refs().copied().max_by_key(|blob| blob.size)?;
        let place = archive.index().find(archive.contents(), &largest.digest).ok()?.pop()?;
        Some((place.pack, place.frame.offset))
    };
    let mut placed: Vec<(Option<(Digest, u64)>, Found)> = recipes.into_par_iter().map(|r| (main_frame(&r), r)).collect();
    placed.sort_by_key(|(frame, found)| (*frame, found.object));
    placed.par_chunk_by(|a, b| a.0 == b.0).flat_map_iter(|same| make(archive, same.iter().map(|(_, found)| found))).collect()
}

/// Makes the objects; gives those that are not what they should be.
fn make<'a>(archive: &Archive, recipes: impl Iterator<Item = &'a Found>) -> Vec<(Digest, String)> {
    let (mut broken, mut made, mut bytes) = (Vec::new(), Vec::new(), 0);
    for found in recipes {
        match rebuilt(archive, found) {
            Ok(Some(object)) => {
                bytes += object.len() as u64;
                made.push((found.object, object));
            }
            Ok(None) => {}
            Err(e) => broken.push(not_whole(found.object, e)),
        }
        if bytes > SMALL_BYTES {
            broken.extend(hash(std::mem::take(&mut made)));
            bytes = 0;
        }
    }
    broken.extend(hash(made));
    broken
}

/// Hashes objects; gives those that have another digest.
fn hash(made: Vec<(Digest, Vec<u8>)>) -> impl Iterator<Item = (Digest, String)> {
    let digests = Digest::of_each(&made.iter().map(|(_, bytes)| bytes.as_slice()).collect::<Vec<_>>());
    let wrong = made.into_iter().zip(digests).filter(|((object, _), digest)| object != digest);
    wrong.map(|((object, _), _)| not_whole(object, Error::damage(WRONG_DIGEST)))
}

/// The bytes of a small object, not hashed yet; of a large one nothing, for it is hashed here.
fn rebuilt(archive: &Archive, found: &Found) -> Result<Option<Vec<u8>>> {
    let recipe = Recipe::parse(&found.recipe)?;
    let fetch = &mut |blob: &BlobRef, give: &mut dyn FnMut(&[u8])| archive.fetch(blob, give);
    if recipe.size <= SMALL_BYTES {
        let mut bytes = Vec::with_capacity(recipe.size as usize);
        recipe.rebuild(fetch, &mut bytes)?;
        return Ok(Some(bytes));
    }
    let mut hasher = Hasher::new();
    recipe.rebuild(fetch, &mut hasher)?;
    if hasher.finish() == found.object { Ok(None) } else { Err(Error::damage(WRONG_DIGEST)) }
}

/// Do the index files and the seek tables of the packs agree? A useless index loses nothing: the packs are read instead.
fn index_files(archive: &Archive, found: &mut Findings) {
    let index = archive.index();
    for file in index.packs() {
        match pack::seek_table(archive.contents(), &file.name, file.size) {
            Ok(frames) if pack_digest(&file.name).is_some_and(|d| !index.frames_are(&d, &frames)) => found
                .warnings
                .push(format!("the index knows other frames of {}; make it anew with 'floe index --rebuild'", file.name)),
            Ok(_) => {}
            Err(e) => found.damage.push(e.to_string()),
        }
    }
    for name in index.useless() {
        found.warnings.push(format!("{name} is damaged or of no use; make the index anew with 'floe index --rebuild'"));
    }
}

fn bag_files(archive: &Archive, found: &mut Findings, monitor: &dyn Monitor) -> Result<()> {
    let store = archive.store();
    tag_files(store, found)?;
    let manifest = match parse_manifest(&store.read(MANIFEST, MANIFEST_MAX_BYTES)?.unwrap_or_default()) {
        Ok(manifest) => manifest,
        Err(e) => {
            found.damage.push(format!("{MANIFEST}: {e}"));
            Vec::new()
        }
    };
    let mut there = store.list("data/packs")?;
    for folder in SMALL_FOLDERS {
        there.extend(store.list(folder)?);
    }
    let names: BTreeSet<&str> = there.iter().map(|f| f.name.as_str()).collect();
    let missing = manifest.iter().filter(|(_, name)| !names.contains(name.as_str()));
    found.damage.extend(missing.map(|(_, name)| format!("{name} is missing: {MANIFEST} lists it")));
    // A signature shows nothing of what it signs, and goes by the name of that.
    let signed = |name: &str| name.strip_suffix(ENDING).unwrap_or(name).ends_with(SUFFIX);
    let misfits = there.iter().filter(|f| signed(&f.name) != archive.is_encrypted());
    let how =
        if archive.is_encrypted() { "is not encrypted, but the archive is" } else { "is encrypted, but the archive is not" };
    found.damage.extend(misfits.map(|f| format!("{} {how}", f.name)));
    let listed: HashMap<&str, Digest> = manifest.iter().map(|(digest, name)| (name.as_str(), *digest)).collect();
    let results: Vec<Result<Option<String>>> = there
        .par_iter()
        .map(|file| {
            monitor.advance(0, file.size);
            // A pack that is not listed belongs to an interrupted run; its name says what it must be.
            let Some(want) = listed.get(file.name.as_str()).copied().or_else(|| pack_digest(&file.name)) else {
                return Ok(Some(format!("{} is in no manifest", file.name)));
            };
            let got = if pack_digest(&file.name).is_some() {
                digest_of(store, &file.name, file.size)?
            } else {
                Digest::of(&store.read(&file.name, ROOT_MAX_BYTES)?.unwrap_or_default())
            };
            Ok((got != want).then(|| format!("{} does not have the digest that it should", file.name)))
        })
        .collect();
    for result in results {
        found.files += 1;
        found.damage.extend(result.unwrap_or_else(|e| Some(e.to_string())));
    }
    Ok(())
}

fn tag_files(store: &dyn Store, found: &mut Findings) -> Result<()> {
    let listed = tags::lines(store).unwrap_or_default();
    let others = listed.iter().map(|(_, name)| name.as_str()).filter(|name| !TAG_FILES.contains(name));
    let (plain, strange): (Vec<&str>, Vec<&str>) = others.partition(|name| tags::is_plain(name));
    found.damage.extend(strange.iter().map(|name| format!("{} lists '{name}', which can be no file of an archive", tags::FILE)));
    if store.read(EVENTS, MANIFEST_MAX_BYTES)?.is_some() && !plain.contains(&EVENTS) {
        found.damage.push(format!("{EVENTS} is not listed in {}", tags::FILE));
    }
    for name in TAG_FILES.into_iter().chain(plain) {
        let bytes = store.read(name, MANIFEST_MAX_BYTES)?;
        let want = listed.iter().find(|(_, n)| n == name).map(|(d, _)| *d);
        match (bytes, want) {
            (Some(bytes), Some(want)) if Digest::of(&bytes) == want => found.files += 1,
            (None, Some(_)) => found.damage.push(format!("{name} is missing: {} lists it", tags::FILE)),
            (None, None) => found.damage.push(format!("{name} is missing")),
            _ => found.damage.push(format!("{name} does not have the digest in tagmanifest-sha256.txt")),
        }
    }
    Ok(())
}
