//! Saving what is whole from a heap of packs and roots: a damaged archive, cut packs, what a recovery tool found.
//!
//! `heap` finds whole frames and roots, `roots` makes every snapshot anew from what is left of it, `strays` gives names to what
//! no listing names any more. A snapshot of which nothing is lost keeps its root, byte for byte. What was encrypted is encrypted again,
//! unless the person wants it otherwise.

mod heap;
mod roots;
mod strays;

use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use serde::Serialize;

use self::heap::Heap;
use self::roots::Rebuilder;
use crate::archive::pack::{ObjectForm, Sort};
use crate::archive::recipe::Recipe;
use crate::archive::{Archive, Writer};
use crate::error::{Error, Kind, Result};
use crate::model::{Digest, Hasher};
use crate::monitor::Monitor;
use crate::proof::events;
use crate::store::{LocalStore, Store as _};
use crate::vault::{self, Keys, Protection, Recipient};

/// Is there from the first moment of a salvage to its last, so that one that was cut short can be begun again.
const MARK: &str = "index/salvaging";
const LEVEL: i32 = 3;

/// Something that a surviving listing names and that is lost.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Lost {
    /// Account.
    pub account: String,
    /// Collection, in text form; empty where a whole account is lost.
    pub collection: String,
    /// Where it lay in the source, or what it is.
    pub what: String,
    /// Its Message-ID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// Its digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
}

/// What a run saved, and what is lost.
#[derive(Debug, Default, Serialize)]
pub struct Salvaged {
    /// Files looked at.
    pub files: u64,
    /// Files among them with frames of packs in them.
    pub packs: u64,
    /// Whole frames.
    pub frames: u64,
    /// Objects saved.
    pub objects: u64,
    /// Snapshots of which nothing is lost; their roots are as they were.
    pub kept: Vec<String>,
    /// Snapshots made anew of what is left: the name before, and now.
    pub remade: Vec<(String, String)>,
    /// Items under an account that no surviving root names.
    pub strays: u64,
    /// The accounts that hold them.
    pub stray_accounts: Vec<String>,
    /// Items of the newest snapshot of the new archive.
    pub items: u64,
    /// What surviving listings name and is lost, each once however many snapshots name it.
    pub lost: BTreeSet<Lost>,
    /// Recipes whose blobs are lost.
    pub broken_recipes: u64,
    /// For whom the new archive is encrypted; nobody where it is not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recipients: Vec<String>,
    /// Places of the heap that could not be used.
    pub damage: Vec<String>,
}

/// How the new archive is kept.
#[derive(Debug, Default)]
pub enum Cover {
    /// Encrypted for the recipients of the newest root, if what is salvaged was encrypted.
    #[default]
    AsItWas,
    /// Not encrypted, whatever it was.
    Clear,
    /// Encrypted for these.
    For(Protection),
}

/// Saves every whole object from the files under `broken`, which `keys` open where they are encrypted, into the new archive `new`.
///
/// # Errors
/// `Kind::Usage` when there is an archive in `new`, nothing to be saved, or it is not known for whom the new archive is to be encrypted,
/// `Kind::Key` when the keys open nothing, `Kind::Storage` when the new archive cannot be written. Damage is no error but a finding.
pub fn salvage(broken: &Path, new: &Path, keys: &Keys, cover: Cover, monitor: &dyn Monitor) -> Result<Salvaged> {
    check_paths(broken, new)?;
    let mut done = Salvaged::default();
    let mut heap = Heap::survey(broken, keys, &mut done)?;
    let protection = protection(&heap, keys, cover, &mut done)?;
    let mut writer = begin(new, &protection)?;
    heap.scan(&mut writer, &mut done, monitor)?;
    writer.settle()?;
    let parts = recipes(&heap, &mut writer, &mut done, monitor)?;
    writer.settle()?;
    done.recipients = writer.recipients();
    let reader = writer.reader()?;
    let mut rebuilder = Rebuilder::new(&reader, &mut writer, &mut done);
    rebuilder.roots(&heap)?;
    keep_events(broken, new)?;
    strays::name(&mut rebuilder, &parts)?;
    reader.index().each(reader.contents(), &mut |_, _, _| {
        done.objects += 1;
        Ok(())
    })?;
    if done.objects == 0 && done.kept.is_empty() && done.remade.is_empty() {
        let nothing = Error::usage("there is nothing in this folder that could be salvaged: no whole frame of a pack, no root")
            .with("folder", broken.display());
        return Err(match heap.skipped {
            0 => nothing,
            skipped => {
                nothing.hint(format!("{skipped} files are encrypted: give --identity or --passphrase-file, which opens them"))
            }
        });
    }
    LocalStore::new(new).discard(MARK)?;
    done.damage.sort();
    done.damage.dedup();
    Ok(done)
}

/// For whom the new archive is encrypted.
fn protection(heap: &Heap, keys: &Keys, cover: Cover, done: &mut Salvaged) -> Result<Protection> {
    match cover {
        Cover::Clear => return Ok(Protection::default()),
        Cover::For(protection) => return Ok(protection),
        Cover::AsItWas if heap.opened == 0 => return Ok(Protection::default()),
        Cover::AsItWas => {}
    }
    let newest = heap.roots.iter().filter(|found| found.encrypted).max_by_key(|found| found.root.created);
    let Some(newest) = newest.filter(|found| !found.root.recipients.is_empty()) else {
        return Err(Error::usage("what is salvaged was encrypted, and no root is left that says for whom")
            .hint("say for whom the new archive is to be: --recipient, --new-passphrase-file, or --in-clear"));
    };
    let recipients = newest.root.recipients.iter().map(|text| text.parse()).collect::<Result<Vec<Recipient>>>()?;
    // A passphrase goes on opening the archive: its key is one of the recipients.
    let key_file = match heap.key_files.as_slice() {
        [one] => Some(one.clone()),
        [] => None,
        _ => {
            done.damage
                .push("there are several key files, and none was taken over: the new archive has no passphrase".to_owned());
            None
        }
    };
    let passphrase = keys.of_passphrase().filter(|_| key_file.is_some()).unwrap_or_default();
    Ok(Protection { keys: passphrase, recipients, key_file, store_again: false })
}

/// Keeps the record of events of the damaged archive beside that of the new one, under the name that a received one has which differs.
fn keep_events(broken: &Path, new: &Path) -> Result<()> {
    let from = broken.join(events::FILE);
    let Ok(bytes) = std::fs::read(&from) else { return Ok(()) };
    let to = new.join(format!("events.{}.jsonl", &Digest::of(&bytes).to_string()[..16]));
    std::fs::write(&to, bytes).map_err(|e| Error::io(Kind::Storage, "cannot keep the record of events", &to, e))
}

fn check_paths(broken: &Path, new: &Path) -> Result<()> {
    let from = broken.canonicalize().map_err(|e| Error::io(Kind::Usage, "cannot open the folder to salvage from", broken, e))?;
    let to = std::path::absolute(new).ok().and_then(|p| p.ancestors().find_map(|p| p.canonicalize().ok()));
    let is_new = !new.exists();
    if to.as_ref().is_some_and(|to| to.starts_with(&from) || (!is_new && from.starts_with(to))) {
        return Err(Error::usage("the new archive may not lie in the folder that is salvaged, nor that in it")
            .with("archive", new.display())
            .hint("name a folder elsewhere, best on another disk"));
    }
    Ok(())
}

/// Opens the new archive; one that a salvage was cut short in is gone on with, or begun again if it is encrypted: whoever salvages need not
/// have the key of the new one.
fn begin(new: &Path, protection: &Protection) -> Result<Writer> {
    let has_entries = std::fs::read_dir(new).is_ok_and(|mut entries| entries.next().is_some());
    if has_entries && !new.join(MARK).exists() {
        return Err(Error::usage("the new archive's folder has something in it")
            .with("archive", new.display())
            .hint("name a folder that is empty or not there yet"));
    }
    let failed = |e| Error::io(Kind::Storage, "cannot make the new archive's folder", new, e);
    std::fs::create_dir_all(new.join("index")).and_then(|()| std::fs::write(new.join(MARK), "")).map_err(failed)?;
    let store = LocalStore::new(new);
    let was_encrypted = vault::is_encrypted(&store)?;
    if was_encrypted || (vault::is_there(&store)? && protection.encrypts()) {
        // Begun by a salvage that was cut short, and nobody's yet.
        let _lock = store.lock()?;
        clear(&store)?;
    }
    drop(store);
    Writer::open_with(new, LEVEL, protection)
}

/// Removes what a salvage that was cut short has written, but for the mark that says so.
fn clear(store: &LocalStore) -> Result<()> {
    let mut names = Vec::new();
    for folder in ["", "data/packs", "data/snapshots", "index", "index/seen", "keys"] {
        names.extend(store.list(folder)?.into_iter().map(|file| file.name));
    }
    names.retain(|name| name != MARK && !name.ends_with("/lock"));
    names.iter().try_for_each(|name| store.discard(name))
}

/// Stores every recipe whose result can be built from the blobs that were saved; gives the blobs that these recipes use.
fn recipes(heap: &Heap, writer: &mut Writer, done: &mut Salvaged, monitor: &dyn Monitor) -> Result<HashSet<Digest>> {
    let (mut parts, mut broken) = (HashSet::new(), HashSet::new());
    monitor.phase("rebuild", None);
    for at in &heap.with_recipes {
        let (frame, entries) = match heap.read(at) {
            Ok(read) => read,
            Err(e) => {
                done.damage.push(e.to_string());
                continue;
            }
        };
        for entry in entries.iter().filter(|e| e.form == ObjectForm::Recipe) {
            let Some(data) = frame.get(entry.start..entry.start + entry.len) else { continue };
            match rebuilt(data, writer.archive()) {
                Ok((digest, uses)) if digest == entry.digest => {
                    parts.extend(uses);
                    writer.add(Sort::Head, ObjectForm::Recipe, entry.digest, data)?;
                }
                _ => {
                    broken.insert(entry.digest);
                }
            }
        }
        monitor.advance(entries.len() as u64, frame.len() as u64);
    }
    monitor.done();
    for digest in broken {
        done.broken_recipes += u64::from(!writer.contains(&digest)?);
    }
    Ok(parts)
}

/// The digest of what a recipe gives, and the blobs that it uses.
fn rebuilt(data: &[u8], archive: &Archive) -> Result<(Digest, Vec<Digest>)> {
    let recipe = Recipe::parse(data)?;
    let mut hasher = Hasher::new();
    recipe.rebuild(&mut |blob, give| archive.fetch(blob, give), &mut hasher)?;
    Ok((hasher.finish(), recipe.refs().map(|blob| blob.digest).collect()))
}
