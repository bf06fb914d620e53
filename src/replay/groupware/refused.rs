//! A folder that the target does not give: each of its items that is not there already is named, and the other folders go on.

use std::collections::HashSet;

use super::{DavJob, Names, name_of};
use crate::archive::Archive;
use crate::error::{Error, Result};
use crate::model::{Exception, Outcome};
use crate::monitor::Monitor;
use crate::replay::Filled;
use crate::replay::journal::{CollectionName, Journal, Status};
use crate::replay::plan::part_of;

/// Counts and names what stays behind. The journal keeps quiet about it: once the folder can be had, under this name or another one that
/// the plan gives it, the items are sent.
///
/// # Errors
/// Those of archive and journal.
pub fn name_refused(
    archive: &Archive,
    job: DavJob<'_>,
    journal: &Journal,
    filled: &mut Filled,
    error: &Error,
    monitor: &dyn Monitor,
) -> Result<()> {
    let head = &job.collection.head;
    let mut there = HashSet::new();
    if let Some(collection) = journal.find(CollectionName { route: job.route, part: job.part, path: &head.path })? {
        journal.rows(collection.id, &mut |row| {
            if row.status == Status::Confirmed {
                there.insert(row.key);
            }
            Ok(())
        })?;
    }
    (filled.before, filled.refused) = (0, 0);
    let mut names = Names::default();
    archive.placements(job.collection, &mut |item| {
        if part_of(head.kind, item.component.as_deref()) != job.part {
            return Ok(());
        }
        let (key, _) = names.key(&name_of(job.part, head, &item));
        if there.contains(&key) || job.since.is_some_and(|since| since.contains_key(&key)) {
            filled.before += 1;
        } else {
            filled.refused += 1;
            monitor.exception(&Exception {
                account: job.route.account.to_owned(),
                collection: head.path.to_string(),
                source: item.source,
                outcome: Outcome::Failed,
                reason: "its folder is refused by the server".to_owned(),
                detail: error.to_string(),
            });
        }
        Ok(())
    })?;
    // Those of this run are told apart.
    filled.before = filled.before.saturating_sub(filled.sent + filled.claimed);
    Ok(())
}
