//! `ship`: which file goes to which disk, and then onto it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;

use super::contents::{self, Found};
use super::copy::{Copied, copy, is_whole, put};
use super::medium::{in_words, medium};
use super::receipt::Receipt;
use super::sheet::{Contents, Entry, FILES, ListedFile, README, SHEET, SUMS, Sheet};
use super::state::{Known, Round, State, cache};
use crate::archive::bag::MANIFEST;
use crate::error::{Error, Kind, Result};
use crate::export::dir::Dir;
use crate::model::Digest;
use crate::monitor::Monitor;
use crate::store::LocalStore;

/// What a line of a sheet takes, at most, on a disk: in the sheet and in the list of sums.
const LINE_BYTES: u64 = 640;
/// Room kept on each disk for its sheet, its text and its folders.
const SPARE_BYTES: u64 = 64 << 10;
const README_TEXT: &str = include_str!("README.txt");

/// What to ship and where to.
#[derive(Debug, Default)]
pub struct Request {
    /// The disks, mounted.
    pub to: Vec<PathBuf>,
    /// Bytes to put on a disk at most.
    pub capacity: Option<u64>,
    /// What the receiver has, and the digest of that receipt.
    pub since: Option<(Receipt, Digest)>,
    /// Forget what earlier runs put on other disks.
    pub anew: bool,
}

/// One disk of the run.
#[derive(Debug, Serialize)]
pub struct Disk {
    /// Where it is mounted.
    pub mount: String,
    /// Its number.
    pub disk: u32,
    /// Label and serial of its file system, where the system tells them.
    pub medium: Option<String>,
    /// Files on it.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files written by this run.
    pub written: u64,
    /// Files that were there whole.
    pub already_there: u64,
    /// What was written was read back from the disk itself, not from this machine's memory.
    pub read_back_from_disk: bool,
}

/// What a run did.
#[derive(Debug, Default, Serialize)]
pub struct Shipped {
    /// The archive: the digest of its first root.
    pub archive: Option<Digest>,
    /// Its state: the digest over all its files.
    pub shipment: Option<Digest>,
    /// Files in that state.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that the receiver has, by its receipt.
    pub received: u64,
    /// The disks of this run.
    pub disks: Vec<Disk>,
    /// What the disks of the whole shipment are called, once everything is on disks: number, label and serial.
    pub media: Vec<String>,
    /// The number of the last disk, once everything is on disks.
    pub of: Option<u32>,
    /// Files that are on no disk yet.
    pub left_files: u64,
    /// Their bytes.
    pub left_bytes: u64,
    /// What of the archive's folder is left out, and why.
    pub left_out: Vec<String>,
    /// Files of the archive that are not as its manifest says: nothing is shipped then.
    pub damage: Vec<String>,
    /// Disks that could not be written.
    pub failed: Vec<String>,
}

/// A disk that is being planned and filled.
struct Mount {
    dir: Dir,
    path: PathBuf,
    /// What it says of itself so far.
    before: Option<Sheet>,
    number: u32,
    /// What is to lie on it.
    own: BTreeMap<String, ListedFile>,
    /// Bytes that may still be planned for it under `--capacity`.
    allowed: u64,
}

/// What came of filling a disk.
#[derive(Default)]
struct Filled {
    written: u64,
    there: u64,
    from_memory: bool,
    /// Files that found no room.
    no_room: Vec<String>,
    /// Files of the archive that broke since they were checked, and how.
    bad: Vec<(String, String)>,
}

/// Spreads the files of the archive over disks. Can be repeated: with the same disks it completes and checks them, with the next
/// ones it goes on.
///
/// # Errors
/// `Kind::Usage` when there is no archive or a disk is not fit, `Kind::Locked` when another process writes to the archive,
/// `Kind::Storage` when it cannot be read. Damage, and disks that fail, are no error but findings.
pub fn ship(archive: &Path, request: &Request, monitor: &dyn Monitor) -> Result<Shipped> {
    let store = LocalStore::new(archive);
    let is_archive = ["bagit.txt", MANIFEST, "data/packs"].iter().any(|name| archive.join(name).exists());
    if !is_archive && !store.is_being_received() {
        return Err(Error::usage("there is no archive in this folder").with("folder", archive.display()));
    }
    let _lock = store.lock()?;
    let cache = cache(archive)?;
    let mut state = State::load(&cache);
    let found = contents::look(archive, &store, &mut state.read, monitor)?;
    state.save(&cache)?;
    if !found.damage.is_empty() {
        return Ok(Shipped { damage: found.damage, left_out: found.left_out, ..Shipped::default() });
    }
    let contents = found.contents()?;
    if let Some((receipt, _)) = &request.since {
        receipt.check(&contents)?;
    }
    let mounts = open(archive, &request.to, &contents)?;
    let mut job = Job { archive, contents, request, cache, state, mounts, placed: BTreeMap::new(), left: BTreeSet::new() };
    job.begin();
    job.recall();
    job.plan()?;
    job.write(monitor, found)
}

/// Opens the disks, and reads what they say of themselves.
fn open(archive: &Path, to: &[PathBuf], contents: &Contents) -> Result<Vec<Mount>> {
    let mut mounts: Vec<Mount> = Vec::new();
    let mut seen = BTreeSet::new();
    for path in to {
        let failed = |e| Error::io(Kind::Usage, "cannot open the disk's folder", path, e).hint("is the disk mounted there?");
        let dir = Dir::open_existing(path).map_err(failed)?;
        if path.canonicalize().map_err(failed)?.starts_with(archive.canonicalize().map_err(failed)?) {
            return Err(Error::usage("the disk's folder lies in the archive").with("folder", path.display()));
        }
        if !seen.insert(dir.identity().map_err(failed)?) {
            return Err(Error::usage("the same folder is given twice as a disk").with("folder", path.display()));
        }
        let before = Sheet::read(&dir).map_err(|e| e.hint("empty that disk, or use another one"))?;
        if before.is_none()
            && let Some(taken) = [FILES, README, SUMS].into_iter().find(|name| dir.has(name).unwrap_or(true))
        {
            return Err(Error::usage(format!("something called '{taken}' lies on this disk, and floe did not put it there"))
                .with("disk", path.display())
                .hint("give an empty folder on that disk"));
        }
        if let Some(sheet) = &before
            && sheet.archive != contents.archive
        {
            return Err(Error::usage("this disk belongs to the shipment of another archive")
                .with("disk", path.display())
                .hint("empty it, or use another one"));
        }
        let number = before.as_ref().map_or(0, |s| s.disk);
        if number > 0 && mounts.iter().any(|m| m.number == number) {
            return Err(Error::usage(format!("two of these disks say that they are disk {number}"))
                .hint("empty the one that is a copy, then run the same command again"));
        }
        let own = before.iter().flat_map(Sheet::own).filter(|f| contents.holds(&f.name, f.sha256));
        let own = own.map(|f| (f.name.clone(), f.clone())).collect();
        mounts.push(Mount { dir, path: path.clone(), before, number, own, allowed: 0 });
    }
    Ok(mounts)
}

struct Job<'a> {
    archive: &'a Path,
    contents: Contents,
    request: &'a Request,
    cache: Dir,
    state: State,
    mounts: Vec<Mount>,
    /// The disk of each file that has one.
    placed: BTreeMap<String, u32>,
    /// Files that have none and need one.
    left: BTreeSet<String>,
}

impl Job<'_> {
    fn round(&mut self) -> &mut Round {
        let (since, shipment) = (self.request.since.as_ref().map(|(_, digest)| *digest), self.contents.shipment);
        let last = self.request.since.as_ref().map_or(0, |(receipt, _)| receipt.disks);
        let new = || Round { since, shipment, created: Timestamp::now(), last, disks: BTreeMap::new(), complete: false };
        self.state.round.get_or_insert_with(new)
    }

    /// Goes on with the shipment under way, or begins one.
    fn begin(&mut self) {
        let since = self.request.since.as_ref().map(|(_, digest)| *digest);
        // With an empty disk after the last one, the archive is shipped a second time.
        let again = self.mounts.iter().any(|m| m.before.is_none());
        let is_over = |round: &Round| round.since != since || (round.complete && again);
        if self.request.anew || self.state.round.as_ref().is_some_and(is_over) {
            self.state.round = None;
        }
        let shipment = self.contents.shipment;
        let sheets: Vec<(u32, Option<Timestamp>)> = self
            .mounts
            .iter()
            .filter_map(|m| m.before.as_ref())
            .map(|s| {
                (
                    s.files.iter().filter_map(|e| e.disk).max().unwrap_or(0).max(s.disk),
                    (s.shipment == shipment).then_some(s.created),
                )
            })
            .collect();
        let round = self.round();
        if round.shipment != shipment {
            (round.shipment, round.created) = (shipment, Timestamp::now());
        }
        // The moment tells the order of two states of one archive, so one state has one.
        round.created = sheets.iter().filter_map(|(_, created)| *created).min().unwrap_or(round.created).min(round.created);
        round.last = sheets.iter().map(|(last, _)| *last).max().unwrap_or(0).max(round.last);
    }

    /// Which files have a disk already: by what is remembered, and by what the disks that are here say of the others.
    fn recall(&mut self) {
        let here: BTreeSet<u32> = self.mounts.iter().map(|m| m.number).collect();
        let mut claims: Vec<(String, Digest, u32)> = Vec::new();
        if self.request.since.is_none() && !self.request.anew {
            for entry in self.mounts.iter().filter_map(|m| m.before.as_ref()).flat_map(|s| &s.files) {
                claims.extend(entry.disk.map(|disk| (entry.file.name.clone(), entry.file.sha256, disk)));
            }
        }
        for (number, known) in self.round().disks.iter().filter(|(_, known)| known.finished) {
            claims.extend(known.files.iter().map(|(name, sha256)| (name.clone(), *sha256, *number)));
        }
        // A disk that is here speaks for itself.
        claims.retain(|(name, sha256, disk)| !here.contains(disk) && self.contents.holds(name, *sha256));
        self.placed.extend(claims.into_iter().map(|(name, _, disk)| (name, disk)));
        for mount in &self.mounts {
            self.placed.extend(mount.own.keys().map(|name| (name.clone(), mount.number)));
        }
        // A file lies on one disk; what an earlier run gave to two is left to the one that is named last.
        for mount in &mut self.mounts {
            mount.own.retain(|name, _| self.placed.get(name) == Some(&mount.number));
        }
        let received = self.received();
        self.left =
            self.contents.files.keys().filter(|n| !self.placed.contains_key(*n) && !received.contains(*n)).cloned().collect();
    }

    /// Files that the receiver has, by its receipt.
    fn received(&self) -> BTreeSet<String> {
        let held = self.request.since.iter().flat_map(|(receipt, _)| &receipt.held);
        held.filter(|f| self.contents.holds(&f.name, f.sha256)).map(|f| f.name.clone()).collect()
    }

    /// Gives each file that is left to the first disk with room for it: what is not a pack first, then packs by name.
    fn plan(&mut self) -> Result<()> {
        let mut rooms = self.rooms()?;
        let mut order: Vec<ListedFile> = self.left.iter().filter_map(|name| self.contents.files.get(name)).cloned().collect();
        order.sort_by_key(|f| (f.name.starts_with("data/packs/"), f.name.clone()));
        let mut last = self.round().last;
        for file in order {
            for mount in &mut self.mounts {
                let Some((room, unit)) = rooms.get_mut(&mount.dir.identity().map_or(0, |id| id.0)) else { continue };
                let takes = file.size.next_multiple_of(*unit) + *unit;
                if takes > mount.allowed || takes > *room {
                    continue;
                }
                if mount.number == 0 {
                    last += 1;
                    mount.number = last;
                }
                mount.allowed -= takes;
                *room -= takes;
                self.left.remove(&file.name);
                self.placed.insert(file.name.clone(), mount.number);
                mount.own.insert(file.name.clone(), file);
                break;
            }
        }
        self.round().last = last;
        let unused: Vec<u64> = self.mounts.iter().filter(|m| m.number == 0).map(|m| m.allowed).collect();
        if let (Some(name), false, true) = (self.left.first(), unused.is_empty(), unused.len() == self.mounts.len()) {
            return Err(Error::usage("no file of the archive finds room on these disks")
                .with("file", name)
                .with("bytes", self.contents.files.get(name).map_or(0, |f| f.size))
                .with("room", unused.iter().max().unwrap_or(&0))
                .hint("empty the disk, use a larger one, or give a larger --capacity"));
        }
        Ok(())
    }

    /// Bytes that may be planned on each file system, and its unit; and for each disk what `--capacity` leaves.
    fn rooms(&mut self) -> Result<HashMap<u64, (u64, u64)>> {
        let mut rooms = HashMap::new();
        let sheet = SPARE_BYTES + LINE_BYTES * self.contents.files.len() as u64;
        for mount in &mut self.mounts {
            let failed = |e| Error::io(Kind::Storage, "cannot ask the disk for its room", &mount.path, e);
            let (device, (free, unit)) = (mount.dir.identity().map_err(failed)?.0, mount.dir.room().map_err(failed)?);
            let (mut here, mut to_come) = (0, sheet);
            for file in mount.own.values() {
                let takes = file.size.next_multiple_of(unit) + unit;
                here += takes;
                let there = place(&mount.dir, &file.name, false).and_then(|(dir, leaf)| dir.regular(leaf));
                if !there.is_ok_and(|f| f.and_then(|f| f.metadata().ok()).is_some_and(|m| m.len() == file.size)) {
                    to_come += takes;
                }
            }
            let room: &mut (u64, u64) = rooms.entry(device).or_insert((free, unit));
            room.0 = room.0.saturating_sub(to_come);
            mount.allowed = self.request.capacity.map_or(u64::MAX, |bytes| bytes.saturating_sub(here + sheet));
            if self.request.capacity.is_none() {
                mount.allowed = free;
            }
        }
        Ok(rooms)
    }

    /// Writes what is planned: first what each disk says of itself, then its files, then what it says again where that changed.
    fn write(mut self, monitor: &dyn Monitor, found: Found) -> Result<Shipped> {
        self.mounts.retain(|m| m.number > 0);
        let mut failed = Vec::new();
        self.describe(&BTreeSet::new(), &mut failed);
        // The numbers given out are given out, whatever becomes of these disks.
        self.state.save(&self.cache)?;
        let bytes = self.mounts.iter().flat_map(|m| m.own.values()).map(|f| f.size).sum();
        monitor.phase("ship", Some(bytes));
        let archive = self.archive;
        let results: Vec<Result<Filled>> = std::thread::scope(|scope| {
            let threads: Vec<_> = self.mounts.iter().map(|m| scope.spawn(|| m.fill(archive, monitor))).collect();
            let gone = |_| Err(Error::new(Kind::Internal, "the thread that writes a disk has failed"));
            threads.into_iter().map(|t| t.join().unwrap_or_else(gone)).collect()
        });
        monitor.done();
        let mut shipped = Shipped { left_out: found.left_out, ..Shipped::default() };
        let mut finished = BTreeSet::new();
        for (mount, filled) in self.mounts.iter_mut().zip(results) {
            match filled {
                Err(e) => failed.push(format!("disk {} in {}: {e}", mount.number, mount.path.display())),
                Ok(filled) => {
                    for name in filled.no_room.iter().chain(filled.bad.iter().map(|(name, _)| name)) {
                        mount.own.remove(name);
                        self.placed.remove(name);
                        self.left.insert(name.clone());
                    }
                    shipped.damage.extend(filled.bad.iter().map(|(name, why)| format!("{name}: {why}")));
                    finished.insert(mount.number);
                    shipped.disks.push(mount.done(&filled));
                }
            }
        }
        self.describe(&finished, &mut failed);
        self.finish(&finished, failed, shipped)
    }

    /// Writes the sheets of all disks that are here; a disk that cannot be written is no reason to leave out the others. No disk speaks
    /// of another one's files before these are there: a kill would leave it believed.
    fn describe(&mut self, finished: &BTreeSet<u32>, failed: &mut Vec<String>) {
        let of = self.left.is_empty().then(|| self.placed.values().max().copied()).flatten();
        let under_way: BTreeSet<u32> = self.mounts.iter().map(|m| m.number).filter(|n| !finished.contains(n)).collect();
        let received = self.received();
        let created = self.round().created;
        for mount in &self.mounts {
            let mut sheet = Sheet::new(&self.contents, created, mount.number);
            sheet.of = of;
            sheet.files.extend(self.contents.files.values().map(|file| {
                let disk = self.placed.get(&file.name).copied();
                let disk = disk.filter(|n| *n == mount.number || !under_way.contains(n));
                Entry { file: file.clone(), disk, received: received.contains(&file.name) }
            }));
            if let Err(e) = mount.describe(&sheet) {
                let line = format!("disk {} in {}: {e}", mount.number, mount.path.display());
                if !failed.contains(&line) {
                    failed.push(line);
                }
            }
        }
    }

    /// Remembers how far the shipment is.
    fn finish(mut self, finished: &BTreeSet<u32>, failed: Vec<String>, mut shipped: Shipped) -> Result<Shipped> {
        let complete = self.left.is_empty() && failed.is_empty();
        let disks: Vec<(u32, Known)> = self
            .mounts
            .iter()
            .map(|m| {
                let files = m.own.values().map(|f| (f.name.clone(), f.sha256)).collect();
                (m.number, Known { finished: finished.contains(&m.number), files, medium: medium(&m.path) })
            })
            .collect();
        self.round().disks.extend(disks);
        self.round().complete = complete;
        self.state.save(&self.cache)?;
        shipped.archive = Some(self.contents.archive);
        shipped.shipment = Some(self.contents.shipment);
        shipped.files = self.contents.files.len() as u64;
        shipped.bytes = self.contents.files.values().map(|f| f.size).sum();
        shipped.received = self.received().iter().filter(|name| !self.placed.contains_key(*name)).count() as u64;
        shipped.of = complete.then(|| self.placed.values().max().copied()).flatten();
        shipped.left_files = self.left.len() as u64;
        shipped.left_bytes = self.left.iter().filter_map(|name| self.contents.files.get(name)).map(|f| f.size).sum();
        if complete {
            let named = self.round().disks.iter().map(|(disk, known)| in_words(*disk, known.medium.as_deref()));
            shipped.media = named.collect();
        }
        shipped.failed = failed;
        Ok(shipped)
    }
}

/// The folder of a file on a disk, and its name in it.
pub(super) fn place<'n>(disk: &Dir, name: &'n str, make: bool) -> std::io::Result<(Dir, &'n str)> {
    let (folders, leaf) = name.rsplit_once('/').unwrap_or(("", name));
    let levels = std::iter::once(FILES).chain(folders.split('/').filter(|l| !l.is_empty()));
    let levels: Vec<String> = levels.map(str::to_owned).collect();
    let dir = if make { disk.below(&levels)? } else { disk.existing_below(&levels)? };
    Ok((dir, leaf))
}

impl Mount {
    /// Writes what the disk says of itself.
    fn describe(&self, sheet: &Sheet) -> Result<()> {
        let bytes = sheet.to_bytes()?;
        let disk = sheet.of.map_or(self.number.to_string(), |of| format!("{} of {of}", self.number));
        let readme = README_TEXT.replace("{disk}", &disk);
        let readme = readme.replace("{archive}", &sheet.archive.to_string()).replace("{shipment}", &sheet.shipment.to_string());
        put(&self.dir, SHEET, &bytes)?;
        put(&self.dir, README, readme.as_bytes())?;
        put(&self.dir, SUMS, sheet.sums(&bytes, &readme).as_bytes())
    }

    /// Writes the disk's files; those that are there are read and, where they are not whole, written again.
    fn fill(&self, archive: &Path, monitor: &dyn Monitor) -> Result<Filled> {
        let mut filled = Filled::default();
        self.sweep();
        for old in self.before.iter().flat_map(Sheet::own).filter(|f| !self.own.contains_key(&f.name)) {
            // Of an earlier state of the archive, or on another disk now.
            if let Ok((dir, leaf)) = place(&self.dir, &old.name, false) {
                let _ = dir.remove(leaf);
            }
        }
        for file in self.own.values() {
            let failed = |e| Error::io(Kind::Storage, "cannot write to the disk", &self.path.join(FILES).join(&file.name), e);
            let (dir, leaf) = place(&self.dir, &file.name, true).map_err(failed)?;
            if is_whole(&dir, leaf, file).unwrap_or(false) {
                filled.there += 1;
                monitor.advance(1, file.size);
                continue;
            }
            let from = archive.join(&file.name);
            let from = File::open(&from).map_err(|e| Error::io(Kind::Storage, "cannot read the archive", &from, e))?;
            match copy(from, file, &dir, leaf, monitor)? {
                Copied::Whole { from_disk } => {
                    filled.written += 1;
                    filled.from_memory |= !from_disk;
                    monitor.advance(1, 0);
                }
                Copied::Bad(why) => filled.bad.push((file.name.clone(), why)),
                Copied::Full => filled.no_room.push(file.name.clone()),
            }
        }
        Ok(filled)
    }

    /// Removes what a killed run left half written. What cannot be removed harms nobody: no list has it.
    fn sweep(&self) {
        for entry in walkdir::WalkDir::new(self.path.join(FILES)).into_iter().filter_map(Result::ok) {
            let name = entry.file_name().to_string_lossy();
            if entry.file_type().is_file() && name.starts_with('.') && name.ends_with(".part") {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }

    fn done(&self, filled: &Filled) -> Disk {
        Disk {
            mount: self.path.display().to_string(),
            disk: self.number,
            medium: medium(&self.path),
            files: self.own.len() as u64,
            bytes: self.own.values().map(|f| f.size).sum(),
            written: filled.written,
            already_there: filled.there,
            read_back_from_disk: !filled.from_memory,
        }
    }
}
