//! `receive`: takes what is wanted from the disks that are here, and says what is still wanted from which.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::copy::{Copied, copy, put};
use super::medium::{in_words, medium};
use super::receipt::{Missing, Receipt};
use super::send;
use super::session::{self, Session, TOLD_MAX_BYTES, clear, is_bag_file, split};
use super::sheet::{ListedFile, NOT_SHIPPED, SHEET, Sheet, is_payload, read_small};
use crate::archive::{spare, tags};
use crate::error::{Error, Kind, Result};
use crate::export::dir::Dir;
use crate::model::Digest;
use crate::monitor::Monitor;
use crate::store::{LocalStore, RECEIVING};

/// A disk of the run.
#[derive(Debug, Serialize)]
pub struct Taken {
    /// Where it is mounted.
    pub mount: String,
    /// Its number.
    pub disk: u32,
    /// Label and serial of its file system, where the system tells them.
    pub medium: Option<String>,
    /// Files on it that belong to what is wanted.
    pub files: u64,
    /// Files copied by this run.
    pub copied: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What was copied was read back from the archive's disk itself, not from this machine's memory.
    pub read_back_from_disk: bool,
}

/// A disk that is still awaited.
#[derive(Debug, Serialize)]
pub struct Awaited {
    /// Its number; none for files that no disk seen so far knows a disk for.
    pub disk: Option<u32>,
    /// Files wanted from it.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What a run did, and what is still to be done.
#[derive(Debug, Serialize)]
pub struct Received {
    /// The archive: the digest of its first root.
    pub archive: Digest,
    /// The state that is wanted: the digest over all its files.
    pub shipment: Digest,
    /// Is everything there?
    pub complete: bool,
    /// Files of that state.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that are there and whole.
    pub held: u64,
    /// The disks of this run.
    pub disks: Vec<Taken>,
    /// Files that have to be sent again: their disk was here, and they were not whole on it.
    pub send_again: Vec<Missing>,
    /// What is awaited from disks that were not here yet.
    pub awaited: Vec<Awaited>,
    /// The archive's own files that others took the place of, and the names under which they are kept.
    pub kept_aside: Vec<String>,
    /// Where the receipt was written.
    pub receipt: PathBuf,
}

/// A disk that is here.
struct Mount {
    dir: Dir,
    path: PathBuf,
    sheet: Sheet,
}

/// Takes disks in, in any order and any number of runs; without disks, says what is missing. The receipt goes beside the archive
/// unless a file is named for it.
///
/// # Errors
/// `Kind::Usage` when there is no disk or it belongs elsewhere, `Kind::Damage` when a disk's sheet cannot be believed,
/// `Kind::Storage` when the archive cannot be written. Damaged files on a disk are no error but a finding.
pub fn receive(disks: &[PathBuf], archive: &Path, receipt: Option<&Path>, monitor: &dyn Monitor) -> Result<Received> {
    let mounts = disks.iter().map(|path| open(path, archive)).collect::<Result<Vec<Mount>>>()?;
    if let Some(other) = mounts.iter().find(|m| m.sheet.archive != mounts[0].sheet.archive) {
        return Err(Error::usage("these disks belong to different archives")
            .with("disk", mounts[0].path.display())
            .with("other", other.path.display())
            .hint("receive each archive into a folder of its own"));
    }
    fit_to_receive(archive, mounts.is_empty())?;
    let store = LocalStore::new(archive);
    let _lock = store.lock_to_receive()?;
    let sheets: Vec<&Sheet> = mounts.iter().map(|m| &m.sheet).collect();
    let mut session = Session::open(&store, &sheets)?.ok_or_else(|| nothing(archive))?;
    monitor.phase("look", Some(session.contents.files.values().map(|f| f.size).sum()));
    session.look(&|bytes| monitor.advance(1, bytes))?;
    monitor.done();
    room(&session, &mounts)?;
    let mut taken = Vec::new();
    let bytes = mounts.iter().flat_map(|m| wanted(&session, &m.sheet)).map(|f| f.size).sum();
    monitor.phase("receive", Some(bytes));
    for mount in &mounts {
        taken.push(mount.take(&mut session, monitor)?);
        session.save()?;
    }
    monitor.done();
    finish(&store, session, taken, receipt)
}

fn nothing(archive: &Path) -> Error {
    Error::usage("there is no archive in this folder that can be read, and no disk was given").with("folder", archive.display())
}

/// Opens a disk and reads its sheet.
fn open(path: &Path, archive: &Path) -> Result<Mount> {
    let dir = Dir::open_existing(path)
        .map_err(|e| Error::io(Kind::Usage, "cannot open the disk's folder", path, e).hint("is the disk mounted there?"))?;
    if let (Ok(disk), Ok(archive)) = (path.canonicalize(), archive.canonicalize())
        && disk.starts_with(&archive)
    {
        return Err(Error::usage("the disk's folder lies in the archive").with("folder", path.display()));
    }
    let sheet = Sheet::read(&dir)?.ok_or_else(|| {
        Error::usage(format!("this is no disk that floe shipped: it has no {SHEET}"))
            .with("folder", path.display())
            .hint("give the folder in which that file lies; if it is lost, ship the disk's files again")
    })?;
    Ok(Mount { dir, path: path.to_owned(), sheet })
}

/// Is the folder an archive, one being received, or empty?
fn fit_to_receive(archive: &Path, must_be_there: bool) -> Result<()> {
    let entries = match std::fs::read_dir(archive) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && !must_be_there => return Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Err(nothing(archive)),
        Err(e) => return Err(Error::io(Kind::Storage, "cannot read the archive's folder", archive, e)),
    };
    let names: BTreeSet<_> = entries.filter_map(Result::ok).map(|e| e.file_name()).collect();
    let known = ["bagit.txt", RECEIVING, "pending"].iter().any(|name| names.contains(std::ffi::OsStr::new(name)));
    if !known && names.iter().any(|name| !NOT_SHIPPED.iter().any(|cache| name == cache)) {
        return Err(Error::usage("this folder has things in it that are no archive")
            .with("folder", archive.display())
            .hint("give a folder that is empty or not there yet"));
    }
    Ok(())
}

/// The files that a disk has, and that are wanted and not here yet.
fn wanted(session: &Session, sheet: &Sheet) -> Vec<ListedFile> {
    let own = sheet.own().filter(|f| session.contents.files.get(&f.name) == Some(f) && !session.held.contains(&f.name));
    own.cloned().collect()
}

/// Is there room for what these disks bring?
fn room(session: &Session, mounts: &[Mount]) -> Result<()> {
    let files: BTreeMap<String, u64> = mounts.iter().flat_map(|m| wanted(session, &m.sheet)).map(|f| (f.name, f.size)).collect();
    let needed: u64 = files.values().sum();
    let (free, _) = session
        .archive
        .room()
        .map_err(|e| Error::io(Kind::Storage, "cannot ask the archive's disk for its room", session.archive.path(), e))?;
    if needed > free {
        return Err(Error::new(Kind::Storage, "there is no room for what these disks bring")
            .with("archive", session.archive.path().display())
            .with("bytes needed", needed)
            .with("bytes free", free)
            .hint("free some space, then run the same command again; nothing was changed"));
    }
    Ok(())
}

impl Received {
    /// What the disks of this run are called: number, label and serial.
    pub fn media(&self) -> Vec<String> {
        self.disks.iter().map(|taken| in_words(taken.disk, taken.medium.as_deref())).collect()
    }
}

impl Mount {
    /// Copies what is wanted from this disk.
    fn take(&self, session: &mut Session, monitor: &dyn Monitor) -> Result<Taken> {
        let disk = self.sheet.disk;
        let mut taken = Taken {
            mount: self.path.display().to_string(),
            disk,
            medium: medium(&self.path),
            files: self.sheet.own().filter(|f| session.contents.files.get(&f.name) == Some(f)).count() as u64,
            copied: 0,
            bytes: 0,
            read_back_from_disk: true,
        };
        for file in wanted(session, &self.sheet) {
            match self.copy(session, &file, monitor)? {
                Copied::Whole { from_disk } => {
                    session.hold(&file, true)?;
                    taken.copied += 1;
                    taken.bytes += file.size;
                    taken.read_back_from_disk &= from_disk;
                    monitor.advance(1, 0);
                }
                Copied::Bad(why) => {
                    session.plan.bad.insert(file.name, format!("on disk {disk} {why}"));
                }
                Copied::Full => {
                    return Err(Error::new(Kind::Storage, "the archive's disk is full")
                        .with("archive", session.archive.path().display())
                        .hint("free some space, then run the same command again: what was copied is kept"));
                }
            }
        }
        Ok(taken)
    }

    fn copy(&self, session: &Session, file: &ListedFile, monitor: &dyn Monitor) -> Result<Copied> {
        let from = send::place(&self.dir, &file.name, false).and_then(|(dir, leaf)| dir.regular(leaf));
        let from = match from {
            Ok(Some(from)) => from,
            Ok(None) => return Ok(Copied::Bad("it is no file".to_owned())),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Copied::Bad("it is missing".to_owned())),
            Err(e) => return Ok(Copied::Bad(format!("it cannot be opened: {e}"))),
        };
        let failed = |e| Error::io(Kind::Storage, "cannot make the folder of", &session.archive.path().join(&file.name), e);
        let (dir, leaf) = session.place(&file.name, true).map_err(failed)?;
        copy(from, file, &dir, leaf, monitor)
    }
}

/// Commits when everything is there, and writes the receipt in any case.
fn finish(store: &LocalStore, mut session: Session, disks: Vec<Taken>, receipt: Option<&Path>) -> Result<Received> {
    let missing = missing(&session);
    let mut kept_aside = Vec::new();
    if missing.is_empty() || session.is_own() {
        if !session.is_own() {
            session.check_bag()?;
        }
        kept_aside = commit(store, &mut session)?;
    }
    let receipt = match receipt {
        Some(path) => path.to_owned(),
        None => beside(store.root())?,
    };
    let held: Vec<ListedFile> = session.contents.files.values().filter(|f| session.held.contains(&f.name)).cloned().collect();
    let last = session.plan.disks.values().flatten().chain(&session.plan.seen).max().copied().unwrap_or(0);
    Receipt::new(&session.contents, last, held, missing.clone()).write(&receipt)?;
    let (send_again, rest): (Vec<Missing>, Vec<Missing>) =
        missing.into_iter().partition(|m| session.plan.bad.contains_key(&m.name) || session.is_own());
    let mut awaited: BTreeMap<Option<u32>, (u64, u64)> = BTreeMap::new();
    for file in &rest {
        let sum = awaited.entry(file.disks.first().copied()).or_default();
        *sum = (sum.0 + 1, sum.1 + file.size.unwrap_or(0));
    }
    Ok(Received {
        archive: session.contents.archive,
        shipment: session.contents.shipment,
        complete: send_again.is_empty() && rest.is_empty(),
        files: session.contents.files.len() as u64,
        bytes: session.contents.files.values().map(|f| f.size).sum(),
        held: session.held.len() as u64,
        disks,
        send_again,
        awaited: awaited.into_iter().map(|(disk, (files, bytes))| Awaited { disk, files, bytes }).collect(),
        kept_aside,
        receipt,
    })
}

fn missing(session: &Session) -> Vec<Missing> {
    let of = |file: &ListedFile| {
        let disks: Vec<u32> = session.plan.disks.get(&file.name).into_iter().flatten().copied().collect();
        let why = match (session.plan.bad.get(&file.name), disks.first()) {
            (Some(why), _) => why.clone(),
            (None, _) if session.is_own() => "in the archive it is missing or damaged".to_owned(),
            (None, Some(disk)) => format!("disk {disk} was not here yet"),
            (None, None) => "no disk that was here knows which one has it".to_owned(),
        };
        Missing { name: file.name.clone(), size: (file.size > 0).then_some(file.size), sha256: file.sha256, disks, why }
    };
    session.contents.files.values().filter(|f| !session.held.contains(&f.name)).map(of).collect()
}

/// The receipt's place where none is given.
fn beside(archive: &Path) -> Result<PathBuf> {
    let path = archive.canonicalize().map_err(|e| Error::io(Kind::Storage, "cannot find the archive's folder", archive, e))?;
    let name = path.file_name().map_or_else(|| "archive".into(), |name| name.to_string_lossy().into_owned());
    Ok(path.with_file_name(format!("{name}.receipt.json")))
}

/// Puts everything in its place at once; gives the archive's own files that were kept under another name.
fn commit(store: &LocalStore, session: &mut Session) -> Result<Vec<String>> {
    let files = store.root().join(RECEIVING).join(session::FILES);
    let mut kept = Vec::new();
    if files.is_dir() {
        tidy(&files, session)?;
        kept = keep(session)?;
        session.plan.committing = true;
        session.save()?;
        store.commit_folder(&files)?;
        // Where the archive keeps more of its own than was brought, so does its copy.
        if spare::is_there(store)? {
            spare::write(store)?;
        }
    }
    clear(&session.archive)?;
    Ok(kept)
}

/// Removes what an earlier state of the shipment left aside, and half-written files.
fn tidy(files: &Path, session: &Session) -> Result<()> {
    let failed = |e: walkdir::Error| Error::io(Kind::Storage, "cannot read what was received", files, e.into());
    for entry in walkdir::WalkDir::new(files) {
        let entry = entry.map_err(failed)?;
        let name = entry.path().strip_prefix(files).unwrap_or(entry.path()).to_string_lossy().into_owned();
        if !entry.file_type().is_dir() && !session.held.contains(&name) {
            std::fs::remove_file(entry.path())
                .map_err(|e| Error::io(Kind::Storage, "cannot remove what is wanted no more", entry.path(), e))?;
        }
    }
    Ok(())
}

/// Looks after files of the archive's own around the payload (events, mostly) that others would take the place of: where the own one
/// only says more, it stays; where both say something of their own, it is kept under a name with its digest.
fn keep(session: &Session) -> Result<Vec<String>> {
    let mut kept = Vec::new();
    for file in session.contents.files.values() {
        if is_payload(&file.name) || is_bag_file(&file.name) {
            continue;
        }
        if let Some(own) = session.own_longer(file)? {
            if let Ok((folder, leaf)) = session.place(&file.name, false) {
                // It may not have been brought at all.
                let _ = folder.remove(leaf);
            }
            relist(session, file, Digest::of(&own))?;
            continue;
        }
        let Ok((new_in, leaf)) = session.place(&file.name, false) else { continue };
        let Ok((own_in, _)) = split(&session.archive, &file.name, false) else { continue };
        let (Some(own), Some(new)) = (read_small(&own_in, leaf, TOLD_MAX_BYTES)?, read_small(&new_in, leaf, TOLD_MAX_BYTES)?)
        else {
            continue;
        };
        if new.starts_with(&own) {
            continue;
        }
        let digest = Digest::of(&own).to_string();
        let (stem, ending) = leaf.rsplit_once('.').unwrap_or((leaf, "old"));
        let name = format!("{stem}.{}.{ending}", &digest[..16]);
        put(&new_in, &name, &own)?;
        kept.push(format!("{} is kept as {name}", file.name));
    }
    Ok(kept)
}

/// Says in the tag manifest that is about to be committed that a file has the archive's own digest.
fn relist(session: &Session, file: &ListedFile, own: Digest) -> Result<()> {
    // Where no new one was brought, the archive's own says it already.
    let Ok((folder, leaf)) = session.place(tags::FILE, false) else { return Ok(()) };
    let Some(text) = read_small(&folder, leaf, TOLD_MAX_BYTES)? else { return Ok(()) };
    let (from, to) = (format!("{}  {}\n", file.sha256, file.name), format!("{own}  {}\n", file.name));
    put(&folder, leaf, String::from_utf8_lossy(&text).replace(&from, &to).as_bytes())
}
