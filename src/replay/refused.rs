//! A folder that the target does not give: each of its items that is not there already is named, and the other folders go on.

use std::collections::HashMap;

use super::Filled;
use super::journal::{CollectionName, Journal, Key, Status};
use crate::error::{Error, Result};
use crate::model::{Digest, Exception, Outcome, Place, Placement};
use crate::monitor::Monitor;

/// That an item stays behind, and why.
pub(super) fn exception(name: CollectionName<'_>, source: Place, reason: &str, detail: String) -> Exception {
    Exception {
        account: name.route.account.to_owned(),
        collection: name.path.to_string(),
        source,
        outcome: Outcome::Failed,
        reason: reason.to_owned(),
        detail,
    }
}

/// Counts and names what stays behind of the folder's `placements`. The journal keeps quiet about it: once the folder can be had, under this
/// name or another one that the plan gives it, the items are sent. `is_before` says of each, and of the digest with which the journal has it
/// on the target, whether nothing is to be done.
pub(super) fn name_all(
    journal: &Journal,
    name: CollectionName<'_>,
    filled: &mut Filled,
    error: &Error,
    monitor: &dyn Monitor,
    is_before: impl Fn(&Key, &Placement, Option<&Digest>) -> bool,
    placements: impl FnOnce(&mut dyn FnMut(Key, Placement) -> Result<()>) -> Result<()>,
) -> Result<()> {
    let mut there = HashMap::new();
    if let Some(collection) = journal.find(name)? {
        journal.rows(collection.id, &mut |row| {
            if matches!(row.status, Status::Confirmed | Status::Sent) {
                there.insert(row.key, row.sha256);
            }
            Ok(())
        })?;
    }
    (filled.before, filled.refused) = (0, 0);
    placements(&mut |key, item| {
        if is_before(&key, &item, there.get(&key)) {
            filled.before += 1;
        } else {
            filled.refused += 1;
            monitor.exception(&exception(name, item.source, "its folder is refused by the server", error.to_string()));
        }
        Ok(())
    })?;
    // Those of this run are told apart.
    filled.before = filled.before.saturating_sub(filled.sent + filled.claimed);
    Ok(())
}
