//! Is the recovery data whole, and is there some for every file? For `floe verify`: quick, since only recovery data is read.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

use super::name::{last, parity_of, place_of};
use super::protect::stored;
use super::set::{State, read_sets, state_of};
use crate::archive::{Findings, bag, spare};
use crate::error::Result;
use crate::store::{Store, StoredFile};

/// Adds what is to be known of the recovery data of an archive that has any. What lacks of it is no damage but a warning; a file that only
/// recovery data still knows is damage.
///
/// # Errors
/// `Kind::Storage` when the folders cannot be read.
pub fn check(store: &dyn Store, found: &mut Findings) -> Result<()> {
    let parity = store.list("parity")?;
    if parity.is_empty() {
        return Ok(());
    }
    spare::check(store, found)?;
    let listed = bag::payload(store)?.unwrap_or_default();
    let there: BTreeMap<String, StoredFile> = stored(store)?.into_iter().map(|file| (parity_of(&file.name), file)).collect();
    let by_name: BTreeSet<&str> = parity.iter().map(|file| file.name.as_str()).collect();
    let bare = there.iter().filter(|(parity, file)| listed.contains(&file.name) && !by_name.contains(parity.as_str()));
    found.warnings.extend(bare.map(|(_, file)| format!("{} has no recovery data; 'floe protect' makes some", file.name)));
    let broken = |(file, protects): (&StoredFile, &StoredFile)| match state_of(
        store,
        (&file.name, file.size),
        (last(&protects.name), protects.size),
    ) {
        State::Whole(_) => None,
        State::Broken(why) => Some(format!("{}: {why}; 'floe protect' makes it anew", file.name)),
    };
    let known: Vec<(&StoredFile, &StoredFile)> = parity.iter().filter_map(|file| Some((file, there.get(&file.name)?))).collect();
    found.warnings.extend(known.into_par_iter().filter_map(broken).collect::<Vec<String>>());
    // The rest belongs to files that are not there, or was made by other programs.
    if parity.iter().any(|file| !there.contains_key(&file.name) && file.name != spare::FILE) {
        let names: BTreeSet<&str> = there.values().map(|file| file.name.as_str()).collect();
        for place in read_sets(store)?.iter().flat_map(|set| &set.files).filter_map(|file| place_of(&file.name)) {
            if !names.contains(place.as_str()) && !listed.contains(&place) {
                found.damage.push(format!("{place} is missing: it has recovery data, so it was there"));
            }
        }
    }
    Ok(())
}
