//! Mends an archive: each pack and root that is not what its name says is found elsewhere or made from recovery data.
//!
//! A mended file is written under another name, checked, and takes its place by a rename. What lay there goes to the folder `damaged/` and is
//! removed only when a full check has found the whole archive intact. Killed at any moment, the next run finds everything by content.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io::Write as _;
use std::path::Path;

use jiff::Timestamp;
use rayon::prelude::*;

use super::mend::Located;
use super::name::{ROOTS, Said, last, place_of};
use super::packet::each_piece;
use super::protect::stored;
use super::set::{Set, read_sets};
use crate::archive::{self, Archive, Check, Findings, bag, rebuild_index, spare, tags};
use crate::error::{Error, Kind, Result};
use crate::model::{Digest, Hasher};
use crate::monitor::Monitor;
use crate::proof::signature::{self, Signature};
use crate::proof::tombstone;
use crate::proof::{
    self,
    events::{self, Doubted},
};
use crate::store::{LocalStore, Store, StoredFile, Upload};
use crate::vault::{self, Keys, Vault};

/// A file that was mended.
#[derive(Debug, serde::Serialize)]
pub struct Mended {
    /// The file.
    pub file: String,
    /// Its slices that were made from recovery data.
    pub slices: usize,
    /// Where its bytes lay under another name, if they did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub was: Option<String>,
}

/// A file that cannot be mended.
#[derive(Debug, serde::Serialize)]
pub struct Lacking {
    /// The file.
    pub file: String,
    /// Slices that are missing in the set that it belongs to, and how many could be made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slices: Option<Shortage>,
    /// Why not, in words.
    pub why: String,
}

/// Slices of a set that lacks too many.
#[derive(Debug, serde::Serialize)]
pub struct Shortage {
    /// Slices that were protected.
    pub protected: usize,
    /// Of those, what was not found whole anywhere.
    pub missing: usize,
    /// Recovery slices that are whole.
    pub recovery: usize,
}

/// What was done, and how the archive is now.
#[derive(Debug, Default, serde::Serialize)]
pub struct Repaired {
    /// Files that were mended.
    pub mended: Vec<Mended>,
    /// Files that cannot be mended.
    pub lacking: Vec<Lacking>,
    /// Were the bag files made anew?
    pub bag_files: bool,
    /// Was the index made anew?
    pub index: bool,
    /// Files that nothing needs, which were set aside: copies under a wrong name, and what an interrupted run left broken.
    pub set_aside: Vec<String>,
    /// What a full check found afterwards.
    pub findings: Findings,
}

/// Mends what can be mended, and checks the whole archive; of an encrypted one without a key only the files.
///
/// # Errors
/// `Kind::Locked` when another process writes, `Kind::Storage` when the disk fails, `Kind::Key` when the key is another's.
pub fn repair(path: &Path, keys: &Keys, monitor: &dyn Monitor) -> Result<Repaired> {
    let store = LocalStore::new(path);
    let is_there =
        !stored(&store)?.is_empty() || !store.list("parity")?.is_empty() || store.read("bagit.txt", 1 << 10)?.is_some();
    if !is_there {
        return Err(Error::usage("there is no archive in this folder").with("folder", path.display()));
    }
    let lock = store.lock()?;
    let mut report = Repaired::default();
    let copied = spare::mend(&store)?;
    report.mended.extend(copied.into_iter().map(|file| Mended { file, slices: 0, was: Some(spare::FILE.to_owned()) }));
    let sets = read_sets(&store)?;
    let removed = tombstone::removed_packs(&Vault::open(LocalStore::new(path), keys)?)?;
    let mut bench = Bench::look(&store, &sets, removed, monitor)?;
    bench.mend(&mut report, monitor)?;
    if report.lacking.is_empty() {
        bench.clear(&mut report)?;
    }
    bench.bag_files(&mut report)?;
    drop(lock);
    // While something is missing, an index that still knows of it is worth more than a new one.
    report.index = report.lacking.is_empty() && index_is_stale(path, keys)?;
    if report.index {
        rebuild_index(path, keys)?;
    }
    let archive = Archive::open_or_locked(path, keys)?;
    // Of an encrypted archive the digests of files are what can be checked without the key.
    let check = Check { full: !archive.is_locked(), forgotten: tombstone::forgotten(archive.vault())?, ..Check::default() };
    report.findings = archive::verify(&archive, &check, monitor)?;
    super::check(archive.store(), &mut report.findings)?;
    proof::check(&archive, &mut report.findings)?;
    if report.findings.damage.is_empty() && report.lacking.is_empty() {
        let _lock = store.lock()?;
        for file in store.list(spare::DAMAGED)? {
            store.discard(&file.name)?;
        }
        store.remove_empty(spare::DAMAGED)?;
    }
    Ok(report)
}

/// Does the index know other frames than the packs have? It may have been made while a pack was damaged.
fn index_is_stale(path: &Path, keys: &Keys) -> Result<bool> {
    let archive = Archive::open_or_locked(path, keys)?;
    if archive.is_locked() {
        return Ok(false);
    }
    Ok(!archive.index().useless().is_empty() || !archive.index().agrees(archive.contents()))
}

/// A file that lies there, and its digest if it can be read.
struct Seen {
    file: StoredFile,
    digest: Option<Digest>,
}

/// What a file that must be there has to be.
#[derive(Clone)]
struct Wanted {
    said: Said,
    /// Its digest where the manifest says it.
    listed: Option<Digest>,
    /// Its size where a set says it.
    bytes: Option<u64>,
}

impl Wanted {
    fn fits(&self, digest: &Digest) -> bool {
        self.said.fits(digest) && self.listed.is_none_or(|listed| listed == *digest)
    }
}

/// Everything that is known of the archive.
struct Bench<'a> {
    store: &'a LocalStore,
    sets: &'a [Set],
    seen: Vec<Seen>,
    wanted: BTreeMap<String, Wanted>,
    /// Packs that were removed for good: nothing makes them again.
    removed: HashSet<String>,
    /// The lines of the manifest that make sense.
    manifest: Vec<(Digest, String)>,
    /// Are all bag files what the tag manifest says?
    bag_is_whole: bool,
}

impl<'a> Bench<'a> {
    fn look(store: &'a LocalStore, sets: &'a [Set], removed: HashSet<String>, monitor: &dyn Monitor) -> Result<Self> {
        let mut files = stored(store)?;
        files.extend(store.list(spare::DAMAGED)?);
        monitor.phase("look", Some(files.iter().map(|f| f.size).sum()));
        let seen: Vec<Seen> = files
            .into_par_iter()
            .map(|file| {
                // What cannot be read is as good as damaged.
                let digest = bag::digest_of(store, &file.name, file.size).ok();
                monitor.advance(1, file.size);
                Seen { file, digest }
            })
            .collect();
        monitor.done();
        let (manifest, bag_is_whole) = read_bag(store)?;
        let mut bench = Bench { store, sets, seen, wanted: BTreeMap::new(), manifest, bag_is_whole, removed };
        bench.list_wanted();
        Ok(bench)
    }

    /// What must be there: what the manifest lists and what recovery data was made for.
    fn list_wanted(&mut self) {
        let known = self.known();
        for (digest, name) in &self.manifest {
            let Some(said) = Said::by(name).filter(|said| said.fits(digest)) else { continue };
            // In a damaged manifest a root's time may be wrong; then the root is known under its right name.
            let elsewhere = || known.iter().any(|known| Said::by(known).as_ref() == Some(&said));
            if self.bag_is_whole || known.contains(name) || !elsewhere() {
                self.wanted.insert(name.clone(), Wanted { said, listed: Some(*digest), bytes: None });
            }
        }
        for file in self.sets.iter().flat_map(|set| &set.files) {
            let Some(place) = place_of(&file.name).filter(|place| !self.removed.contains(place)) else { continue };
            let Some(said) = Said::by(&place) else { continue };
            self.wanted.entry(place).or_insert(Wanted { said, listed: None, bytes: None }).bytes = Some(file.bytes);
        }
        if !self.bag_is_whole {
            // What the manifest says of files without recovery data is not known.
            for seen in &self.seen {
                if let Some(said) = Said::by(&seen.file.name) {
                    self.wanted.entry(seen.file.name.clone()).or_insert(Wanted { said, listed: None, bytes: None });
                }
            }
        }
    }

    /// Names of packs and roots that lie there or have recovery data.
    fn known(&self) -> BTreeSet<String> {
        let protected = self.sets.iter().flat_map(|set| &set.files).filter_map(|file| place_of(&file.name));
        self.seen.iter().map(|s| s.file.name.clone()).chain(protected).collect()
    }

    fn is_intact(&self, name: &str, said: &Said) -> bool {
        self.seen.iter().any(|s| s.file.name == name && s.digest.is_some_and(|d| said.fits(&d)))
    }

    fn mend(&mut self, report: &mut Repaired, monitor: &dyn Monitor) -> Result<()> {
        let damaged = self.wanted.iter().filter(|(name, wanted)| !self.is_intact(name, &wanted.said));
        let needy: Vec<(String, Wanted)> = damaged.map(|(name, wanted)| (name.clone(), wanted.clone())).collect();
        monitor.phase("mend", None);
        for (name, wanted) in needy {
            let outcome = match self.elsewhere(&name, &wanted)? {
                Some(mended) => Ok(mended),
                None => self.make(&name, &wanted, report)?,
            };
            match outcome {
                Ok(mended) => report.mended.push(mended),
                Err(lacking) => report.lacking.push(lacking),
            }
            monitor.advance(1, 0);
        }
        monitor.done();
        Ok(())
    }

    /// Takes the bytes from a file that has them under another name.
    fn elsewhere(&mut self, name: &str, wanted: &Wanted) -> Result<Option<Mended>> {
        let twin = self.seen.iter().find(|s| s.digest.is_some_and(|d| wanted.fits(&d)));
        let Some((file, digest)) = twin.and_then(|s| Some((s.file.clone(), s.digest?))) else { return Ok(None) };
        let mut upload = self.store.upload()?;
        let (mut written, mut hasher) = (Ok(()), Hasher::new());
        each_piece(self.store, &file.name, (0, file.size), &mut |piece| {
            hasher.update(piece);
            if written.is_ok() {
                written = upload.write_all(piece);
            }
        })?;
        written.map_err(|e| Error::new(Kind::Storage, "cannot write a mended file").because(e))?;
        if hasher.finish() != digest {
            return Err(Error::damage("a file changed while it was copied").with("file", &file.name).hint("repair again"));
        }
        self.put(upload, name, (digest, file.size))?;
        Ok(Some(Mended { file: name.to_owned(), slices: 0, was: Some(file.name) }))
    }

    /// Makes the file from what is left of it and recovery data, with the first set that suffices.
    fn make(&mut self, name: &str, wanted: &Wanted, report: &mut Repaired) -> Result<std::result::Result<Mended, Lacking>> {
        let mut lacking = Lacking { file: name.to_owned(), slices: None, why: "it has no recovery data".to_owned() };
        let sets = self.sets;
        for set in sets {
            let Some(number) = set.files.iter().position(|f| place_of(&f.name).as_deref() == Some(name)) else { continue };
            match self.make_with((set, number), name, wanted, report) {
                Ok(Ok(mended)) => return Ok(Ok(mended)),
                Ok(Err(shortage)) => {
                    let (missing, recovery) = (shortage.missing, shortage.recovery);
                    lacking.why = format!(
                        "{missing} of {} slices are damaged or missing and the recovery data makes {recovery}: {} lack",
                        shortage.protected,
                        missing.saturating_sub(recovery).max(1)
                    );
                    lacking.slices = Some(shortage);
                }
                // A set that is wrong is no reason to stop; a disk that is full is one.
                Err(e) if e.kind() == Kind::Damage => lacking.why = e.to_string(),
                Err(e) => return Err(e),
            }
        }
        Ok(Err(lacking))
    }

    fn make_with(
        &mut self,
        (set, number): (&Set, usize),
        name: &str,
        wanted: &Wanted,
        report: &mut Repaired,
    ) -> Result<std::result::Result<Mended, Shortage>> {
        let there: HashMap<String, StoredFile> = self.seen.iter().map(|s| (s.file.name.clone(), s.file.clone())).collect();
        let located = Located::find(self.store, set, &there, &self.suspects(name));
        let (protected, missing, recovery) = (set.inputs(), located.missing().len(), set.recovery.len());
        let Some(solved) = located.solve(self.store)? else { return Ok(Err(Shortage { protected, missing, recovery })) };
        let mut upload = self.store.upload()?;
        let digest = solved.write(self.store, number, &mut upload)?;
        if !wanted.fits(&digest) {
            return Err(Error::damage("its recovery data was made for other bytes"));
        }
        let bytes = set.files.get(number).map_or(0, |f| f.bytes);
        let slices = solved.made(number);
        // What it was made of is what is left of it, when it lies there under a name that nothing has.
        for used in solved.sources().into_iter().filter(|used| used.starts_with("data/") && Said::by(used).is_none()) {
            self.set_aside(&used)?;
            report.set_aside.push(used);
        }
        self.put(upload, name, (digest, bytes))?;
        Ok(Ok(Mended { file: name.to_owned(), slices, was: None }))
    }

    /// Files that may hold slices of a file: first what lies at its place or was set aside from there, then all that are not right.
    fn suspects(&self, name: &str) -> Vec<StoredFile> {
        let mut suspects: Vec<StoredFile> = self.seen.iter().filter(|s| !is_right(s)).map(|s| s.file.clone()).collect();
        suspects.sort_by_key(|f| (f.name != name, !last(&f.name).starts_with(last(name))));
        suspects
    }

    /// Gives a checked file its place, and sets aside what lay there.
    fn put(&mut self, upload: Box<dyn Upload>, name: &str, (digest, size): (Digest, u64)) -> Result<()> {
        let aside = self.set_aside(name)?;
        if let Err(e) = upload.finish(name) {
            // What is damaged is still better than nothing.
            if let Some(aside) = aside {
                self.store.rename(&aside, name)?;
            }
            return Err(e);
        }
        self.seen.push(Seen { file: StoredFile { name: name.to_owned(), size }, digest: Some(digest) });
        Ok(())
    }

    /// Moves a file to the folder for damaged ones, under a name that is free there.
    fn set_aside(&mut self, name: &str) -> Result<Option<String>> {
        let Some(at) = self.seen.iter().position(|s| s.file.name == name) else { return Ok(None) };
        let free = |aside: &str| self.seen.iter().all(|s| s.file.name != aside);
        let aside = spare::aside(name, &free)?;
        self.store.rename(name, &aside)?;
        if let Some(seen) = self.seen.get_mut(at) {
            seen.file.name.clone_from(&aside);
        }
        Ok(Some(aside))
    }

    /// Sets aside what nothing needs: second copies under wrong names, and what an interrupted run left broken.
    fn clear(&mut self, report: &mut Repaired) -> Result<()> {
        let right: Vec<Digest> = self.seen.iter().filter(|s| is_right(s)).filter_map(|s| s.digest).collect();
        let useless: Vec<String> = self
            .seen
            .iter()
            .filter(|s| s.file.name.starts_with("data/") && !is_right(s) && !self.wanted.contains_key(&s.file.name))
            .filter(|s| s.digest.is_some_and(|d| right.contains(&d)) || self.bag_is_whole && Said::by(&s.file.name).is_some())
            .map(|s| s.file.name.clone())
            .collect();
        for name in useless {
            self.set_aside(&name)?;
            report.set_aside.push(name);
        }
        Ok(())
    }

    /// Makes the bag files anew where they are damaged. What must be there stays listed also when it cannot be mended.
    fn bag_files(&self, report: &mut Repaired) -> Result<()> {
        let mut written = Vec::new();
        let tags = other_tags(self.store, &mut written)?;
        let listed: HashSet<(Digest, String)> = tag_lines(self.store)?.into_iter().collect();
        if self.bag_is_whole && tags.iter().all(|line| listed.contains(line)) {
            return Ok(());
        }
        let mut payload = Vec::new();
        for (name, wanted) in &self.wanted {
            let seen = self.seen.iter().find(|s| s.file.name == *name);
            let right = seen.filter(|s| is_right(s)).and_then(|s| s.digest);
            let said = if let Said::Whole(digest) = wanted.said { Some(digest) } else { None };
            let size = seen.filter(|_| right.is_some()).map(|s| s.file.size).or(wanted.bytes);
            let size = size.or(seen.map(|s| s.file.size)).unwrap_or(0);
            if let Some(digest) = right.or(wanted.listed).or(said) {
                payload.push((name.clone(), digest, size));
            }
        }
        payload.extend(self.small_files()?);
        let encrypted = vault::is_encrypted(self.store).unwrap_or_default()
            || payload.iter().any(|(name, _, _)| name.ends_with(vault::SUFFIX));
        let mut files = bag::files_of(payload, tags, encrypted, Timestamp::now());
        files.extend(written);
        files.extend(spare::renewed(self.store, &files)?);
        self.store.commit(&files)?;
        report.bag_files = true;
        Ok(())
    }
}

impl Bench<'_> {
    /// The holds and tombstones that lie there or that the manifest lists.
    fn small_files(&self) -> Result<Vec<(String, Digest, u64)>> {
        let folders: Vec<&str> = bag::SMALL_FOLDERS.into_iter().filter(|folder| format!("{folder}/") != ROOTS).collect();
        let is_small = |name: &str| folders.iter().any(|f| name.strip_prefix(f).is_some_and(|rest| rest.starts_with('/')));
        let mut files = Vec::new();
        for folder in &folders {
            for file in self.store.list(folder)? {
                if let Ok(digest) = bag::digest_of(self.store, &file.name, file.size) {
                    files.push((file.name, digest, file.size));
                }
            }
        }
        for (digest, name) in self.manifest.iter().filter(|(_, name)| is_small(name) && tags::is_plain(name)) {
            match files.iter_mut().find(|(there, _, _)| there == name) {
                // A line of a damaged manifest is believed where the file itself is not what its name says.
                Some(file) if !is_named(&file.0, &file.1) => file.1 = *digest,
                Some(_) => {}
                None => files.push((name.clone(), *digest, 0)),
            }
        }
        Ok(files)
    }
}

/// Is the hold or tombstone what its name says? A signature is held against what it signs.
fn is_named(name: &str, digest: &Digest) -> bool {
    let name = name.strip_suffix(vault::SUFFIX).unwrap_or(name);
    name.ends_with(".sig") || name.ends_with(&format!("-{}.json", &digest.to_string()[..12]))
}

/// What the tag manifest lists besides the bag files, and in `written` what has changed. It is taken as it is listed: made anew from what lies
/// there it would cover up what was changed or taken away. Only where a file proves itself right is the line taken for the damage: a
/// signature holds or not, and a record of events that is whole gets an event that tells of the difference. What is not listed any more
/// is listed as it lies there.
fn other_tags(store: &dyn Store, written: &mut Vec<(String, Vec<u8>)>) -> Result<Vec<(Digest, String)>> {
    let mut tags = tag_lines(store)?;
    // Beside the bag files only records of events lie at the top: another name there, of which there is no file, is one of these with damage in
    // its line.
    let top: HashSet<String> = store.list("")?.into_iter().map(|file| file.name).collect();
    let is_record = |name: &str| name.strip_prefix("events.").is_some_and(|rest| rest.ends_with("jsonl"));
    let is_bag_file = |name: &str| bag::TAG_FILES.contains(&name);
    tags.retain(|(_, name)| {
        tags::is_plain(name) && !is_bag_file(name) && (name.contains('/') || is_record(name) || top.contains(name))
    });
    let good: HashSet<String> = signature::all(store)?.0.into_iter().filter(Signature::holds).map(|s| s.file).collect();
    for (digest, name) in bag::in_tag_folders(store)? {
        match tags.iter_mut().find(|(_, listed)| *listed == name) {
            Some(line) if good.contains(&name) => line.0 = digest,
            Some(_) => {}
            None => tags.push((digest, name)),
        }
    }
    let listed = tags.iter_mut().find(|(_, name)| name == events::FILE);
    match (events::doubted(store, listed.as_ref().map(|line| line.0))?, listed) {
        (Doubted::No, _) => {}
        (Doubted::Unlisted(digest), _) => tags.push((digest, events::FILE.to_owned())),
        (Doubted::Told(bytes), Some(line)) => {
            line.0 = Digest::of(&bytes);
            written.push((events::FILE.to_owned(), bytes));
        }
        (Doubted::Told(_), None) => {}
    }
    Ok(tags)
}

/// The lines of the tag manifest that make sense.
fn tag_lines(store: &dyn Store) -> Result<Vec<(Digest, String)>> {
    Ok(bag::good_lines(&store.read(tags::FILE, bag::MANIFEST_MAX_BYTES)?.unwrap_or_default()))
}

/// Is the file what its name says?
fn is_right(seen: &Seen) -> bool {
    Said::by(&seen.file.name).is_some_and(|said| seen.digest.is_some_and(|d| said.fits(&d)))
}

/// The lines of the manifest that make sense, and whether all bag files are what the tag manifest says.
fn read_bag(store: &dyn Store) -> Result<(Vec<(Digest, String)>, bool)> {
    let tags = store.read(tags::FILE, bag::MANIFEST_MAX_BYTES)?.unwrap_or_default();
    let tags = bag::parse_manifest(&tags).unwrap_or_default();
    let mut is_whole = true;
    let mut lines = Vec::new();
    for name in bag::TAG_FILES {
        let bytes = store.read(name, bag::MANIFEST_MAX_BYTES)?;
        let wanted = tags.iter().find(|(_, n)| n == name).map(|(d, _)| *d);
        is_whole &= bytes.as_ref().map(|b| Digest::of(b)) == wanted && wanted.is_some();
        if name == bag::MANIFEST {
            lines = bag::good_lines(&bytes.unwrap_or_default());
        }
    }
    Ok((lines, is_whole))
}
