//! What is known of a shipment while its disks come in: the files wanted, where they are, and which arrived whole.
//!
//! It lies in the folder `receiving` of the archive, which also marks the archive as not complete: `shipment.json` has the list,
//! `held` a line for each file found whole (as `sha256sum` writes it), `files/` all but packs until everything is there.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::copy::{is_whole, put};
use super::sheet::{Contents, ListedFile, ROOTS, SHEET_MAX_BYTES, Sheet, check_names, is_payload, read_small, to_json};
use crate::archive::bag::{MANIFEST, MANIFEST_MAX_BYTES, TAG_FILES, parse_manifest};
use crate::archive::{spare, tags};
use crate::error::{Error, Kind, Result};
use crate::export::dir::Dir;
use crate::model::{Digest, printable};
use crate::store::{LocalStore, RECEIVING, Store as _};

const FILE: &str = "shipment.json";
const HELD: &str = "held";
/// What of the session becomes the commit.
pub(super) const FILES: &str = "files";

/// Largest file around the payload of which two histories are compared.
pub(super) const TOLD_MAX_BYTES: u64 = 256 << 20;
/// Stands for the time of a shipment where what is wanted is what the archive itself lists.
const OWN: Timestamp = Timestamp::UNIX_EPOCH;

/// What is wanted, as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Plan {
    pub created: Timestamp,
    pub files: Vec<ListedFile>,
    /// The disks that should have a file, by what all disks seen so far say.
    pub disks: BTreeMap<String, BTreeSet<u32>>,
    /// Disks that were here.
    pub seen: BTreeSet<u32>,
    /// Files that were not whole on their disk, and how.
    pub bad: BTreeMap<String, String>,
    /// Everything is here and is being put in its place.
    pub committing: bool,
}

/// A session of receiving.
pub(super) struct Session {
    pub archive: Dir,
    pub folder: Dir,
    pub plan: Plan,
    pub contents: Contents,
    pub held: BTreeSet<String>,
    log: File,
}

/// The files that the archive's own manifests list; none where these are missing or damaged.
pub(super) fn of_archive(store: &LocalStore) -> Result<BTreeMap<String, Digest>> {
    let mut listed = BTreeMap::new();
    for manifest in [tags::FILE, MANIFEST] {
        let Some(bytes) = store.read(manifest, MANIFEST_MAX_BYTES)? else { return Ok(BTreeMap::new()) };
        let (digest, lines) = (Digest::of(&bytes), parse_manifest(&bytes));
        // The tag manifest has the other one's digest.
        let is_other = listed.get(manifest).is_some_and(|want| *want != digest);
        let Some(lines) = lines.ok().filter(|_| !is_other) else { return Ok(BTreeMap::new()) };
        listed.extend(lines.into_iter().map(|(digest, name)| (name, digest)));
        listed.insert(manifest.to_owned(), digest);
    }
    Ok(listed)
}

/// Could the roots in the folder be those of this shipment, by their names? Asked where no manifest can be read.
fn check_roots(store: &LocalStore, contents: &Contents) -> Result<()> {
    let there = store.list(ROOTS.trim_end_matches('/'))?;
    let first = there.first().and_then(|f| f.name.strip_prefix(ROOTS)?.split('.').next()?.rsplit_once('-'));
    let other = first.is_some_and(|(_, hex)| !contents.archive.to_string().starts_with(hex));
    if other || there.iter().any(|f| !contents.files.contains_key(&f.name)) {
        return Err(Error::usage("the folder has snapshots that this shipment has not, and no manifest that can be read")
            .with("archive", store.root().display())
            .hint("receive the disks into a new folder"));
    }
    Ok(())
}

/// What the archive should hold by its own word, with sizes from what is there and from the disks.
fn own_contents(folder: &Path, listed: &BTreeMap<String, Digest>, sheets: &[&Sheet]) -> Result<Contents> {
    check_names(listed.keys().map(String::as_str))?;
    let told = |name: &str, sha256: Digest| {
        let mut all = sheets.iter().flat_map(|s| &s.files).map(|e| &e.file);
        all.find(|f| f.name == name && f.sha256 == sha256).map(|f| f.size)
    };
    let file = |(name, sha256): (&String, &Digest)| {
        let there = || std::fs::metadata(folder.join(name)).map_or(0, |m| m.len());
        ListedFile { name: name.clone(), size: told(name, *sha256).unwrap_or_else(there), sha256: *sha256 }
    };
    Contents::of(listed.iter().map(file).collect())
}

/// What is wanted once this disk's sheet is known too.
fn newer(wanted: Option<(Contents, Timestamp)>, sheet: &Sheet) -> Result<(Contents, Timestamp)> {
    let offered = Contents::of(sheet.files.iter().map(|e| e.file.clone()).collect())?;
    let digests = |c: &Contents| c.files.values().map(|f| (f.name.clone(), f.sha256)).collect::<BTreeMap<_, _>>();
    let Some((wanted, created)) = wanted else { return Ok((offered, sheet.created)) };
    let (later, earlier) = (offered.continues(&digests(&wanted)), wanted.continues(&digests(&offered)));
    match (later, earlier) {
        (true, false) => Ok((offered, sheet.created)),
        (true, true) if sheet.created > created => Ok((offered, sheet.created)),
        (_, true) => Ok((wanted, created)),
        (false, false) => Err(Error::usage(
            "this disk's shipment and what is here have different histories: each has files that the other has not",
        )
        .with("disk", sheet.disk)
        .hint("receive it into a new folder")),
    }
}

impl Session {
    /// Opens the session under way, or begins one; what is wanted is what the newest of all sheets says.
    ///
    /// # Errors
    /// `Kind::Usage` when the disks do not belong to what is here, `Kind::Storage` when it cannot be read or written.
    pub(super) fn open(store: &LocalStore, sheets: &[&Sheet]) -> Result<Option<Self>> {
        let root = store.root();
        let failed = |e| Error::io(Kind::Storage, "cannot open the archive's folder", root, e);
        let archive = Dir::open(root).map_err(failed)?;
        let before = archive.existing_below(&[RECEIVING.to_owned()]).ok().map(|folder| load(&folder)).transpose()?.flatten();
        if before.as_ref().is_some_and(|p| p.committing)
            && archive.existing_below(&[RECEIVING.to_owned(), FILES.to_owned()]).is_err()
        {
            clear(&archive)?;
            return Self::open(store, sheets);
        }
        let listed = of_archive(store)?;
        let is_complete = listed.keys().any(|name| name.starts_with(ROOTS));
        let mut wanted = match &before {
            Some(plan) => Some((Contents::of(plan.files.clone())?, plan.created)),
            None => is_complete.then(|| own_contents(root, &listed, sheets)).transpose()?.map(|c| (c, OWN)),
        };
        if let Some((wanted, _)) = &wanted
            && let Some(sheet) = sheets.iter().find(|s| s.archive != wanted.archive)
        {
            return Err(Error::usage("this disk belongs to another archive than what is in this folder")
                .with("disk", sheet.disk)
                .with("archive", root.display())
                .hint("receive it into a folder of its own"));
        }
        for sheet in sheets {
            wanted = Some(match wanted.take() {
                Some((own, created)) if created == OWN => with_additions(own, sheet)?,
                other => newer(other, sheet)?,
            });
        }
        let Some((contents, created)) = wanted else { return Ok(None) };
        if !is_complete {
            check_roots(store, &contents)?;
        }
        if is_complete && !contents.continues(&listed) {
            return Err(Error::usage("the archive has files under data/ that the shipment has not: their histories parted")
                .with("archive", root.display())
                .hint("receive the disks into a new folder"));
        }
        let folder = archive.below(&[RECEIVING.to_owned()]).map_err(failed)?;
        let mut plan = before.unwrap_or(Plan {
            created,
            files: Vec::new(),
            disks: BTreeMap::new(),
            seen: BTreeSet::new(),
            bad: BTreeMap::new(),
            committing: false,
        });
        plan.created = created;
        plan.files = contents.files.values().cloned().collect();
        for sheet in sheets {
            plan.seen.insert(sheet.disk);
            for entry in sheet.files.iter().filter(|e| contents.holds(&e.file.name, e.file.sha256)) {
                if let Some(disk) = entry.disk {
                    plan.disks.entry(entry.file.name.clone()).or_default().insert(disk);
                }
            }
        }
        put(&folder, FILE, &to_json(&plan)?)?;
        archive.sync_names().map_err(failed)?;
        let path = folder.path().join(HELD);
        let log = File::options().append(true).create(true).open(&path);
        let log = log.map_err(|e| Error::io(Kind::Storage, "cannot open the list of what arrived", &path, e))?;
        Ok(Some(Session { archive, folder, plan, contents, held: BTreeSet::new(), log }))
    }

    /// Finds what is here already: by the list of what was found whole, and by reading what is not on it.
    pub(super) fn look(&mut self, advance: &dyn Fn(u64)) -> Result<()> {
        let logged = read_small(&self.folder, HELD, SHEET_MAX_BYTES)?.unwrap_or_default();
        // The last line may have been cut by a kill; then its file is read again.
        let logged: HashSet<(Digest, &str)> = std::str::from_utf8(&logged)
            .unwrap_or_default()
            .split_inclusive('\n')
            .filter_map(|line| line.strip_suffix('\n')?.split_once("  "))
            .filter_map(|(digest, name)| Some((digest.parse().ok()?, name)))
            .collect();
        let files: Vec<ListedFile> = self.contents.files.values().cloned().collect();
        for file in files {
            let places = [self.place(&file.name, false), split(&self.archive, &file.name, false)];
            for (dir, leaf) in places.into_iter().flatten() {
                let there =
                    dir.regular(leaf).ok().flatten().and_then(|f| f.metadata().ok()).is_some_and(|m| m.len() == file.size);
                if !there {
                    continue;
                }
                let is_logged = logged.contains(&(file.sha256, file.name.as_str()));
                if is_logged && is_pack(&file.name) {
                    self.held.insert(file.name.clone());
                } else if is_whole(&dir, leaf, &file).unwrap_or(false) {
                    self.hold(&file, !is_logged)?;
                }
                if self.held.contains(&file.name) {
                    break;
                }
            }
            if !self.held.contains(&file.name) && self.own_longer(&file)?.is_some() {
                self.hold(&file, false)?;
            }
            advance(file.size);
        }
        Ok(())
    }

    /// The bytes of a file around the payload that the archive has of its own, if they begin with the file wanted and go on.
    pub(super) fn own_longer(&self, file: &ListedFile) -> Result<Option<Vec<u8>>> {
        if is_payload(&file.name) || is_bag_file(&file.name) {
            return Ok(None);
        }
        let Ok((dir, leaf)) = split(&self.archive, &file.name, false) else { return Ok(None) };
        let own = if dir.has(leaf).unwrap_or(false) { read_small(&dir, leaf, TOLD_MAX_BYTES)? } else { None };
        let begins = |own: &Vec<u8>| own.get(..file.size as usize).is_some_and(|b| Digest::of(b) == file.sha256);
        Ok(own.filter(|own| own.len() as u64 > file.size && file.size > 0).filter(begins))
    }

    /// Notes that a file is here and whole.
    pub(super) fn hold(&mut self, file: &ListedFile, write: bool) -> Result<()> {
        if write {
            let line = format!("{}  {}\n", file.sha256, file.name);
            let written = self.log.write_all(line.as_bytes()).and_then(|()| self.log.sync_data());
            let path = self.folder.path().join(HELD);
            written.map_err(|e| Error::io(Kind::Storage, "cannot write the list of what arrived", &path, e))?;
        }
        self.plan.bad.remove(&file.name);
        self.held.insert(file.name.clone());
        Ok(())
    }

    /// Where a file goes: a pack to its place, where it harms nobody; all else aside until everything is there.
    pub(super) fn place<'n>(&self, name: &'n str, make: bool) -> std::io::Result<(Dir, &'n str)> {
        if is_pack(name) {
            return split(&self.archive, name, make);
        }
        let files = [FILES.to_owned()];
        let files = if make { self.folder.below(&files)? } else { self.folder.existing_below(&files)? };
        split(&files, name, make)
    }

    /// Was the archive complete before, and do the disks bring no later snapshot? Then it stays in use, whatever is still wanted.
    pub(super) fn is_own(&self) -> bool {
        self.plan.created == OWN
    }

    /// Writes down what is known.
    pub(super) fn save(&self) -> Result<()> {
        put(&self.folder, FILE, &to_json(&self.plan)?)
    }

    /// The bytes of a small file, as they will be after the commit.
    fn bytes_of(&self, name: &str) -> Result<Vec<u8>> {
        for (dir, leaf) in [self.place(name, false), split(&self.archive, name, false)].into_iter().flatten() {
            if let Some(bytes) = read_small(&dir, leaf, MANIFEST_MAX_BYTES)? {
                return Ok(bytes);
            }
        }
        Err(Error::damage("the shipment has no such file").with("name", name))
    }

    /// Do the files make a bag, whose manifests say the same as the sheets?
    pub(super) fn check_bag(&self) -> Result<()> {
        let refuse = |name: &str, why: &str| {
            Err(Error::damage(format!("the shipment makes no valid archive: {why}"))
                .with("name", printable(name))
                .hint("have it shipped again; do not use what is here"))
        };
        let manifest = parse_manifest(&self.bytes_of(MANIFEST)?)?;
        let listed: BTreeMap<&str, Digest> = manifest.iter().map(|(digest, name)| (name.as_str(), *digest)).collect();
        if let Some((name, _)) = listed.iter().find(|(name, digest)| !self.contents.holds(name, **digest)) {
            return refuse(name, "the manifest lists a file that the disks have not, or with another digest");
        }
        let unlisted = self.contents.files.keys().find(|name| is_payload(name) && !listed.contains_key(name.as_str()));
        if let Some(name) = unlisted {
            return refuse(name, "the manifest does not list a file");
        }
        for (digest, name) in parse_manifest(&self.bytes_of(tags::FILE)?)? {
            if !self.contents.holds(&name, digest) {
                return refuse(&name, "the tag manifest lists a file that the disks have not, or with another digest");
            }
        }
        Ok(())
    }
}

/// What a disk adds to a complete archive: all of a later state, or else what lies around the payload and is not here. The archive's
/// own bag files and events stay where nothing under `data/` is new.
fn with_additions(own: Contents, sheet: &Sheet) -> Result<(Contents, Timestamp)> {
    let offered = Contents::of(sheet.files.iter().map(|e| e.file.clone()).collect())?;
    let new_payload = offered.files.values().any(|f| is_payload(&f.name) && !own.files.contains_key(&f.name));
    if new_payload {
        return newer(Some((own, OWN)), sheet);
    }
    if let Some(other) = offered.files.values().find(|f| is_payload(&f.name) && !own.holds(&f.name, f.sha256)) {
        return Err(Error::usage("the disk has another file under a name that the archive has").with("name", &other.name));
    }
    let mut files = offered.files;
    files.extend(own.files);
    Ok((Contents::of(files.into_values().collect())?, OWN))
}

fn load(folder: &Dir) -> Result<Option<Plan>> {
    let Some(bytes) = read_small(folder, FILE, SHEET_MAX_BYTES)? else { return Ok(None) };
    let bad = || {
        Error::damage("the list of what is being received cannot be read")
            .with("file", folder.path().join(FILE).display())
            .hint("remove that file, then run the same command again: what arrived is found again")
    };
    let plan: Plan = serde_json::from_slice(&bytes).map_err(|e| bad().because(e))?;
    check_names(plan.files.iter().map(|f| f.name.as_str()))?;
    Ok(Some(plan))
}

/// Ends the session: the archive is marked as being received no more.
pub(super) fn clear(archive: &Dir) -> Result<()> {
    let path = archive.path().join(RECEIVING);
    let failed = |e| Error::io(Kind::Storage, "cannot remove the finished session", &path, e);
    match std::fs::remove_dir_all(&path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(failed(e)),
        _ => archive.sync_names().map_err(failed),
    }
}

/// Is it one of the files that every commit writes anew?
pub(super) fn is_bag_file(name: &str) -> bool {
    TAG_FILES.contains(&name) || [tags::FILE, spare::FILE].contains(&name)
}

pub(super) fn is_pack(name: &str) -> bool {
    name.starts_with("data/packs/")
}

/// The folder of a file, and its name in it.
pub(super) fn split<'n>(root: &Dir, name: &'n str, make: bool) -> std::io::Result<(Dir, &'n str)> {
    let (folders, leaf) = name.rsplit_once('/').unwrap_or(("", name));
    let levels: Vec<String> = folders.split('/').filter(|l| !l.is_empty()).map(str::to_owned).collect();
    Ok((if make { root.below(&levels)? } else { root.existing_below(&levels)? }, leaf))
}
