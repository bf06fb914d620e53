//! Gives recovery data to every committed pack and root that has none, or none that is whole.

use std::collections::BTreeSet;
use std::path::Path;

use super::encode::{Encoded, Layout, encode};
use super::name::{PACKS, ROOTS, Said, last, parity_of};
use super::set::{State, state_of};
use crate::archive::{bag, spare};
use crate::error::{Error, Result};
use crate::model::Digest;
use crate::monitor::Monitor;
use crate::store::{LocalStore, Store, StoredFile};

/// What was done.
#[derive(Debug, Default, serde::Serialize)]
pub struct Done {
    /// Files that got recovery data now.
    pub added: u64,
    /// Bytes of those files.
    pub protected_bytes: u64,
    /// Bytes of the recovery data that was written.
    pub parity_bytes: u64,
    /// Files whose recovery data is whole and enough.
    pub kept: u64,
    /// Recovery files that were damaged, and were made anew.
    pub renewed: Vec<String>,
    /// Was the copy of the small files made, or made anew?
    pub spare: bool,
    /// Files that are damaged or missing, so that nothing could be made of them.
    pub damaged: Vec<String>,
}

/// Makes recovery data for so many percent of each file.
///
/// # Errors
/// `Kind::Locked` when another process writes, `Kind::Storage` when the disk fails, `Kind::Damage` when it is not known which
/// files are committed.
pub fn protect(path: &Path, percent: u8, monitor: &dyn Monitor) -> Result<Done> {
    let store = LocalStore::new(path);
    if store.list(PACKS.trim_end_matches('/'))?.is_empty() && store.read("bagit.txt", 1 << 10)?.is_none() {
        return Err(Error::usage("there is no archive in this folder").with("folder", path.display()));
    }
    let _lock = store.lock()?;
    let listed = bag::payload(&store)?
        .ok_or_else(|| Error::damage("the manifest is missing or damaged").hint("run 'floe repair' first, then protect again"))?;
    let there = stored(&store)?;
    let names: BTreeSet<&str> = there.iter().map(|f| f.name.as_str()).collect();
    // Holds and tombstones are small files, of which there is a copy.
    let is_protected = |name: &&String| Said::by(name).is_some();
    let mut missing: Vec<&String> = listed.iter().filter(is_protected).filter(|name| !names.contains(name.as_str())).collect();
    missing.sort();
    let mut done = Done { damaged: missing.iter().map(|name| format!("{name} is missing")).collect(), ..Done::default() };
    let parity = store.list("parity")?;
    let mut needy = Vec::new();
    for file in there.iter().filter(|f| listed.contains(&f.name)) {
        let known = parity.iter().find(|p| p.name == parity_of(&file.name));
        if needs(&store, file, known, percent, &mut done) {
            needy.push(file);
        }
    }
    monitor.phase("protect", Some(needy.iter().map(|f| f.size).sum()));
    for file in needy {
        one(&store, file, percent, &mut done)?;
        monitor.advance(1, file.size);
    }
    monitor.done();
    done.spare = spare::write(&store)?;
    Ok(done)
}

/// The packs and roots that are there.
pub(super) fn stored(store: &dyn Store) -> Result<Vec<StoredFile>> {
    let mut files = store.list(PACKS.trim_end_matches('/'))?;
    files.extend(store.list(ROOTS.trim_end_matches('/'))?);
    Ok(files)
}

/// Has the file no recovery data yet that is whole and enough?
fn needs(store: &LocalStore, file: &StoredFile, known: Option<&StoredFile>, percent: u8, done: &mut Done) -> bool {
    let Some(known) = known else { return true };
    match state_of(store, (&known.name, known.size), (last(&file.name), file.size)) {
        State::Whole(recovery) if recovery as u64 >= Layout::of(file.size, percent).recovery => {
            done.kept += 1;
            false
        }
        State::Whole(_) => true,
        State::Broken(_) => {
            done.renewed.push(known.name.clone());
            true
        }
    }
}

fn one(store: &LocalStore, file: &StoredFile, percent: u8, done: &mut Done) -> Result<()> {
    let said = Said::by(&file.name);
    let fits = |digest: &Digest| said.as_ref().is_some_and(|said| said.fits(digest));
    match encode(store, file, percent, &fits)? {
        Encoded::Written(bytes) => {
            done.added += 1;
            done.protected_bytes += file.size;
            done.parity_bytes += bytes;
        }
        Encoded::Damaged(why) => {
            done.renewed.retain(|name| *name != parity_of(&file.name));
            done.damaged.push(why);
        }
    }
    Ok(())
}
