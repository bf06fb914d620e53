//! Is the archive intact? Names what is damaged and which items it touches.

use std::collections::{BTreeSet, HashMap, HashSet};

use rayon::prelude::*;

use super::bag::{MANIFEST, MANIFEST_MAX_BYTES, SMALL_FOLDERS, TAG_FILES, digest_of, parse_manifest};
use super::merkle::TreesCheck;
use super::objects::{self, Broken};
use super::pack::{self, pack_digest};
use super::reader::root_files;
use super::tags;
use super::{AccountEntry, Archive, CollectionEntry, Root, Snapshot};
use crate::error::Result;
use crate::model::{Digest, Ledger};
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
    let broken = if check.full { objects::check(archive, &mut found, monitor)? } else { Broken::new() };
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
