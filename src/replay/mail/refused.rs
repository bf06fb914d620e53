//! A folder that the target does not give: each of its messages that is not there already is named, and the other folders go on.

use std::collections::HashSet;

use super::{MailJob, exception};
use crate::archive::Archive;
use crate::error::{Error, Result};
use crate::monitor::Monitor;
use crate::replay::Filled;
use crate::replay::journal::{Journal, Key, Status};

/// Counts and names what stays behind. The journal keeps quiet about it: once the folder can be had, under this name or another one that
/// the plan gives it, the messages are sent.
pub(super) fn name_all(
    archive: &Archive,
    job: MailJob<'_>,
    journal: &Journal,
    monitor: &dyn Monitor,
    mut filled: Filled,
    error: &Error,
) -> Result<Filled> {
    let mut there = HashSet::new();
    if let Some(collection) = journal.find(job.name())? {
        journal.rows(collection.id, &mut |row| {
            if matches!(row.status, Status::Confirmed | Status::Sent) {
                there.insert(row.key);
            }
            Ok(())
        })?;
    }
    (filled.before, filled.refused) = (0, 0);
    archive.numbered_placements(job.collection, &mut |item, n| {
        let key = Key::of_item(&item.sha256, n);
        if there.contains(&key) || job.since.is_some_and(|since| since.contains_key(&key)) {
            filled.before += 1;
        } else {
            filled.refused += 1;
            monitor.exception(&exception(&job, item, "its folder is refused by the server", error.to_string()));
        }
        Ok(())
    })?;
    // Those of this run are told apart.
    filled.before = filled.before.saturating_sub(filled.sent + filled.claimed);
    Ok(filled)
}
